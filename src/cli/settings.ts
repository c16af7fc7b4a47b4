// Every setting of every verb, once: flag, environment variable, default, meaning. --help, the environment and the documentation
// are read off these rows. A flag wins over the environment, the environment over the default.

import { InvalidArgumentError, Option } from 'commander'
import type { Product } from '../migrate/migrate.ts'

interface Setting<T> {
  readonly flags: string
  readonly env: string
  readonly describe: string
  readonly fallback?: T
  readonly parse: (text: string) => T
}

function text(value: string): string {
  if (value === '') throw new InvalidArgumentError('it is empty.')
  return value
}

function wholeNumber(least: number, most: number): (value: string) => number {
  return (value) => {
    const number = Number(value)
    if (!/^\d+$/.test(value) || number < least || number > most)
      throw new InvalidArgumentError(`a whole number from ${least} to ${most} is needed, not "${value}".`)
    return number
  }
}

function oneOf<const T extends string>(...choices: readonly T[]): (value: string) => T {
  return (value) => {
    const choice = choices.find((c) => c === value)
    if (choice === undefined) throw new InvalidArgumentError(`one of ${choices.join(', ')} is needed, not "${value}".`)
    return choice
  }
}

const yesNo = (value: string): boolean => oneOf('true', 'false')(value) === 'true'

const products = (value: string): readonly Product[] => [
  ...new Set(value.split(',').map((each) => oneOf('openelb', 'metallb')(each.trim()))),
]

const setting = <T>(row: Setting<T>): Setting<T> => row

export const settings = {
  kubeconfig: setting({
    flags: '--kubeconfig <path>',
    env: 'KUBECONFIG',
    describe: 'kubeconfig file; without it the pod’s service account, else ~/.kube/config',
    parse: text,
  }),
  namespace: setting({
    flags: '--namespace <name>',
    env: 'POD_NAMESPACE',
    describe: 'Bellhop’s own namespace: Leases, Events and the Secrets of BgpPeers',
    fallback: 'bellhop-system',
    parse: text,
  }),
  name: setting({
    flags: '--name <name>',
    env: 'POD_NAME',
    describe: 'name of this replica, unique among replicas; default the host name',
    parse: text,
  }),
  node: setting({
    flags: '--node <name>',
    env: 'NODE_NAME',
    describe: 'name of the Node this process runs on; default the host name',
    parse: text,
  }),
  serviceClass: setting({
    flags: '--class <name>',
    env: 'BELLHOP_CLASS',
    describe: 'spec.loadBalancerClass of the Services to handle',
    fallback: 'bellhop.io/bgp',
    parse: text,
  }),
  defaultClass: setting({
    flags: '--default-class <true|false>',
    env: 'BELLHOP_DEFAULT_CLASS',
    describe: 'handle Services without a loadBalancerClass too',
    fallback: true,
    parse: yesNo,
  }),
  controllerHttpPort: setting({
    flags: '--http-port <port>',
    env: 'BELLHOP_HTTP_PORT',
    describe: 'port of /healthz, /readyz and /metrics; 0 = none',
    fallback: 7474,
    parse: wholeNumber(0, 65535),
  }),
  adopt: setting({
    flags: '--adopt <openelb,metallb>',
    env: 'BELLHOP_ADOPT',
    describe: 'read the objects of these products in place, beside our own, and take over what they leave behind',
    fallback: [] as readonly Product[],
    parse: products,
  }),
  agentHttpPort: setting({
    flags: '--http-port <port>',
    env: 'BELLHOP_HTTP_PORT',
    describe: 'port of /healthz, /readyz and /metrics; 0 = none',
    fallback: 7475,
    parse: wholeNumber(0, 65535),
  }),
  record: setting({
    flags: '--record <directory>',
    env: 'BELLHOP_RECORD',
    describe: 'record what every BGP session goes through, two files of at most 8 MB a peer, for bellhop replay',
    parse: text,
  }),
  backend: setting({
    flags: '--backend <auto|nft|legacy|nftables>',
    env: 'BELLHOP_BACKEND',
    describe: 'what to write the node’s rules with: iptables (nft or legacy), or nftables alone; auto = what is in use',
    fallback: 'auto' as const,
    parse: oneOf('auto', 'nft', 'legacy', 'nftables'),
  }),
  enforceSourceRanges: setting({
    flags: '--enforce-source-ranges <true|false>',
    env: 'BELLHOP_ENFORCE_SOURCE_RANGES',
    describe: 'refuse clients outside loadBalancerSourceRanges on the node, for proxies that do not; needs nftables',
    fallback: false,
    parse: yesNo,
  }),
  refuseUnusedPorts: setting({
    flags: '--refuse-unused-ports <true|false>',
    env: 'BELLHOP_REFUSE_UNUSED_PORTS',
    describe:
      'refuse what is sent to a VIP on ports that no Service has, so that no default route sends it back; needs nftables',
    fallback: false,
    parse: yesNo,
  }),
  checkSeconds: setting({
    flags: '--check-seconds <seconds>',
    env: 'BELLHOP_CHECK_SECONDS',
    describe: 'how often the node’s rules are compared with what they should be',
    fallback: 10,
    parse: wholeNumber(1, 3600),
  }),
  layer2HoldSeconds: setting({
    flags: '--layer2-hold-seconds <seconds>',
    env: 'BELLHOP_LAYER2_HOLD_SECONDS',
    describe: 'how long a node answers for its VIPs of mode layer2 without a sign of the API server or a controller',
    fallback: 15,
    parse: wholeNumber(5, 15),
  }),
  migrateFrom: setting({
    flags: '--from <openelb|metallb|auto>',
    env: 'BELLHOP_MIGRATE_FROM',
    describe: 'whose objects to convert; auto = those of the one that is there',
    fallback: 'auto' as const,
    parse: oneOf('openelb', 'metallb', 'auto'),
  }),
  migrateSpeaker: setting({
    flags: '--speaker <controller|node>',
    env: 'BELLHOP_MIGRATE_SPEAKER',
    describe: "who is to speak to MetalLB's routers: the controllers, or every node as before (deploy/node-speakers)",
    fallback: 'controller' as const,
    parse: oneOf('controller', 'node'),
  }),
  migrateServices: setting({
    flags: '--services <file|folder|-|cluster>',
    env: 'BELLHOP_MIGRATE_SERVICES',
    describe:
      'Services whose addresses must stay; default those among the converted objects, or of the cluster that is read',
    parse: text,
  }),
  bfd: setting({
    flags: '--bfd <true|false>',
    env: 'BELLHOP_BFD',
    describe: 'BFD between controllers and agents, UDP 7474 and 7475: a dead node is out within about a second',
    fallback: true,
    parse: yesNo,
  }),
  nodeBgp: setting({
    flags: '--node-bgp <true|false>',
    env: 'BELLHOP_NODE_BGP',
    describe: 'speak BGP from this node where a BgpPeer with speaker: node selects it',
    fallback: true,
    parse: yesNo,
  }),
  logLevel: setting({
    flags: '--log-level <level>',
    env: 'BELLHOP_LOG_LEVEL',
    describe: 'debug, info, warn or error',
    fallback: 'info' as const,
    parse: oneOf('debug', 'info', 'warn', 'error'),
  }),
  logFormat: setting({
    flags: '--log-format <auto|json|pretty>',
    env: 'BELLHOP_LOG_FORMAT',
    describe: 'JSON lines, or text for people; auto = text on a terminal',
    fallback: 'auto' as const,
    parse: oneOf('auto', 'json', 'pretty'),
  }),
} as const

/** A variable that is set to nothing is not set: this is how manifests and shells say so. */
export function dropEmptyVariables(): void {
  for (const { env } of Object.values(settings)) if (process.env[env] === '') delete process.env[env]
}

/** The row as a commander option. */
export function optionOf<T>(row: Setting<T>): Option {
  const option = new Option(row.flags, row.describe).env(row.env).argParser(row.parse)
  return row.fallback === undefined ? option : option.default(row.fallback)
}
