// The tables that kube-proxy in iptables mode would write for a set of Service ports: the same chains, under the same names,
// jumped to from the same places, because the agent recognises the back end by them and has to live beside them. What the
// lab has no use for (session affinity, topology hints, health check ports) is left out. Pure.

import type { Ip, IpFamily } from '../../net/ip.ts'
import { type ProxiedPort, portSuffix, servesOutside, shortHash, type Target } from './services.ts'

/** What is in a family's tables now, as far as it matters: names of KUBE-* chains, and rules of the built-in chains. */
export interface ObservedTables {
  readonly nat: ObservedTable
  readonly filter: ObservedTable
}

export interface ObservedTable {
  readonly chains: ReadonlySet<string>
  /** Whole lines: `-A FORWARD ...`. */
  readonly builtinRules: ReadonlySet<string>
}

/** Parses iptables-save. */
export function parseTables(saved: string): ObservedTables {
  const tables = new Map<string, { readonly chains: Set<string>; readonly builtinRules: Set<string> }>()
  let current = { chains: new Set<string>(), builtinRules: new Set<string>() }
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) {
      current = { chains: new Set(), builtinRules: new Set() }
      tables.set(line.slice(1), current)
    } else if (line.startsWith(':KUBE-')) current.chains.add(line.slice(1, line.indexOf(' ')))
    else if (/^-A (PREROUTING|POSTROUTING|INPUT|FORWARD|OUTPUT) /.test(line)) current.builtinRules.add(line)
  }
  const none: ObservedTable = { chains: new Set(), builtinRules: new Set() }
  return { nat: tables.get('nat') ?? none, filter: tables.get('filter') ?? none }
}

const masqueradeMark = '0x4000/0x4000'

// Where the fixed chains are called from. kube-proxy puts most of its jumps in front.
const natJumps: readonly string[] = [
  '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
]
const filterJumps: readonly string[] = [
  ...['INPUT', 'FORWARD', 'OUTPUT'].map(
    (chain) =>
      `-A ${chain} -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`,
  ),
  '-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
  '-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
  '-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
  '-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
]

type Chains = Map<string, string[]>

/** iptables-restore text for `--noflush` that makes a family's tables right for `ports`; other people's rules stay. */
export function renderTables(
  family: IpFamily,
  ports: readonly ProxiedPort[],
  options: { readonly podPrefix: string; readonly observed: ObservedTables },
): string {
  const own = ports.filter((port) => port.family === family)
  const nat = natChains(own, options.podPrefix)
  const filter = filterChains(own)
  return [
    '*mangle',
    ':KUBE-PROXY-CANARY - [0:0]',
    'COMMIT',
    ...renderTable('nat', nat, natJumps, options.observed.nat),
    ...renderTable('filter', filter, filterJumps, options.observed.filter),
    '',
  ].join('\n')
}

function renderTable(
  table: string,
  chains: Chains,
  jumps: readonly string[],
  observed: ObservedTable,
): readonly string[] {
  const stale = [...observed.chains].filter((name) => isPerService(name) && !chains.has(name))
  return [
    `*${table}`,
    ...[...chains.keys(), ...stale].map((name) => `:${name} - [0:0]`),
    ...[...chains].flatMap(([name, rules]) => rules.map((rule) => `-A ${name} ${rule}`)),
    ...jumps.filter((rule) => !observed.builtinRules.has(rule)).map((rule) => rule.replace('-A ', '-I ')),
    ...stale.map((name) => `-X ${name}`),
    'COMMIT',
  ]
}

const isPerService = (chain: string): boolean => /^KUBE-(SVC|SVL|EXT|SEP|FW)-/.test(chain)

function natChains(ports: readonly ProxiedPort[], podPrefix: string): Chains {
  const services: string[] = []
  const nodePorts: string[] = []
  const chains: Chains = new Map([
    ['KUBE-MARK-MASQ', [`-j MARK --set-xmark ${masqueradeMark}`]],
    [
      'KUBE-POSTROUTING',
      [
        `-m mark ! --mark ${masqueradeMark} -j RETURN`,
        '-j MARK --set-xmark 0x4000/0x0',
        '-j MASQUERADE --random-fully',
      ],
    ],
    ['KUBE-SERVICES', services],
    ['KUBE-NODEPORTS', nodePorts],
  ])
  for (const port of ports) {
    const names = chainNames(port)
    if (port.targets.length > 0 && port.clusterIP !== undefined)
      services.push(`-d ${port.clusterIP} ${portMatch(port, port.port)} -j ${names.cluster}`)
    if (servesOutside(port)) {
      const isRestricted = port.sourceRanges.length > 0
      const first = isRestricted ? names.firewall : names.external
      for (const vip of port.vips) services.push(`-d ${vip} ${portMatch(port, port.port)} -j ${first}`)
      if (isRestricted)
        chains.set(
          names.firewall,
          port.sourceRanges.map((range) => `-s ${range} -j ${names.external}`),
        )
      if (port.nodePort !== 0) nodePorts.push(`${portMatch(port, port.nodePort)} -j ${names.external}`)
      chains.set(names.external, externalRules(port, podPrefix))
      chains.set(names.local, spread(port, port.localTargets))
    }
    if (port.targets.length > 0)
      chains.set(names.cluster, [...masqueradeForeign(port, podPrefix), ...spread(port, port.targets)])
    for (const target of port.targets.concat(port.localTargets))
      chains.set(targetChain(port, target), toTarget(port, target))
  }
  services.push('-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS')
  return chains
}

// Cluster: any endpoint, the node's address as source. Local: endpoints here, the client's address kept; pods and the node
// itself may use all endpoints.
function externalRules(port: ProxiedPort, podPrefix: string): string[] {
  const { cluster, local } = chainNames(port)
  if (port.externalTrafficPolicy === 'Cluster') return ['-j KUBE-MARK-MASQ', `-j ${cluster}`]
  return [
    `-s ${podPrefix} -j ${cluster}`,
    '-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
    `-m addrtype --src-type LOCAL -j ${cluster}`,
    `-j ${local}`,
  ]
}

const masqueradeForeign = (port: ProxiedPort, podPrefix: string): readonly string[] =>
  port.clusterIP === undefined
    ? []
    : [`! -s ${podPrefix} -d ${port.clusterIP} ${portMatch(port, port.port)} -j KUBE-MARK-MASQ`]

// Rule i of n takes its share of what the rules before it left over: 1/n, 1/(n-1), ..., all.
const spread = (port: ProxiedPort, targets: readonly Target[]): string[] =>
  targets.map((target, i) => {
    const left = targets.length - i
    const share = left === 1 ? '' : `-m statistic --mode random --probability ${(1 / left).toFixed(10)} `
    return `${share}-j ${targetChain(port, target)}`
  })

// A pod that reaches itself through its Service must see another source than itself.
const toTarget = (port: ProxiedPort, { address, port: number }: Target): string[] => [
  `-s ${address} -j KUBE-MARK-MASQ`,
  `-p ${port.protocol} -m ${port.protocol} -j DNAT --to-destination ${bracketed(address)}:${number}`,
]

function filterChains(ports: readonly ProxiedPort[]): Chains {
  const services: string[] = []
  const external: string[] = []
  const firewall: string[] = []
  for (const port of ports) {
    // Who comes from a range was translated before: a packet that still carries the VIP comes from outside of all.
    if (port.sourceRanges.length > 0)
      firewall.push(...port.vips.map((vip) => `-d ${vip} ${portMatch(port, port.port)} -j DROP`))
    if (port.targets.length === 0 && port.clusterIP !== undefined)
      services.push(`-d ${port.clusterIP} ${portMatch(port, port.port)} -j REJECT`)
    if (servesOutside(port)) continue
    const verdict = port.anywhere ? 'DROP' : 'REJECT'
    for (const vip of port.vips) external.push(`-d ${vip} ${portMatch(port, port.port)} -j ${verdict}`)
    if (port.nodePort !== 0)
      external.push(`-m addrtype --dst-type LOCAL ${portMatch(port, port.nodePort)} -j ${verdict}`)
  }
  return new Map([
    ['KUBE-SERVICES', services],
    ['KUBE-EXTERNAL-SERVICES', external],
    ['KUBE-PROXY-FIREWALL', firewall],
    [
      'KUBE-FORWARD',
      [
        '-m conntrack --ctstate INVALID -j DROP',
        `-m comment --comment "kubernetes forwarding rules" -m mark --mark ${masqueradeMark} -j ACCEPT`,
        '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      ],
    ],
  ])
}

const portMatch = ({ protocol }: ProxiedPort, number: number): string =>
  `-p ${protocol} -m ${protocol} --dport ${number}`

const bracketed = (address: Ip): string => (address.includes(':') ? `[${address}]` : address)

interface ChainNames {
  readonly cluster: string
  readonly local: string
  readonly external: string
  readonly firewall: string
}

function chainNames(port: ProxiedPort): ChainNames {
  const suffix = portSuffix(port)
  return {
    cluster: `KUBE-SVC-${suffix}`,
    local: `KUBE-SVL-${suffix}`,
    external: `KUBE-EXT-${suffix}`,
    firewall: `KUBE-FW-${suffix}`,
  }
}

const targetChain = (port: ProxiedPort, target: Target): string =>
  `KUBE-SEP-${shortHash(`${port.id} ${port.protocol} ${target.address} ${target.port}`)}`
