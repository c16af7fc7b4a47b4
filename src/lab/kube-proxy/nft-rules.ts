// The table that kube-proxy in nftables mode would have for a set of Service ports: base chains at the same hooks and priorities,
// maps from address, protocol and port to a chain for each Service, and the same verdicts, so that the agent meets on a lab node what
// it meets on a real one. Each change is one transaction. Pure.

import { familyOf, type Ip, type IpFamily } from '../../net/ip.ts'
import { type ProxiedPort, portSuffix, servesOutside, type Target } from './services.ts'

export interface NftTableOptions {
  readonly podPrefix: string
  /** Node ports are served on the node's own addresses alone. */
  readonly nodeAddress: Ip
  /** What was written last; without it the table is made anew. Base chains stay: a kernel without any stops translating what stands. */
  readonly previous?: readonly ProxiedPort[]
}

const sets = ['cluster-ips', 'nodeport-ips']
const maps = ['firewall-ips', 'no-endpoint-services', 'no-endpoint-nodeports', 'service-ips', 'service-nodeports']

const masqueradeMark = '0x4000'

/** nft text that makes a family's table right for `ports`. */
export function renderNftTable(family: IpFamily, ports: readonly ProxiedPort[], options: NftTableOptions): string {
  const own = ports.filter((port) => port.family === family)
  const ip = family === 'IPv4' ? 'ip' : 'ip6'
  const address = family === 'IPv4' ? 'ipv4_addr' : 'ipv6_addr'
  const key = `${address} . inet_proto . inet_service`
  const asked = `${ip} daddr . meta l4proto . th dport`
  const clusterIps = own.flatMap(({ clusterIP }) => (clusterIP === undefined ? [] : [clusterIP]))
  const chains = own.flatMap((port) => chainsOf(port, ip, options.podPrefix))
  const stale = options.previous
    ?.filter((port) => port.family === family)
    .flatMap((port) => chainsOf(port, ip, options.podPrefix))
    .filter(({ name }) => !chains.some((chain) => chain.name === name))
  const start =
    stale === undefined
      ? ['add table', 'delete table'].map((verb) => `${verb} ${ip} kube-proxy`)
      : [
          ...maps.map((name) => `flush map ${ip} kube-proxy ${name}`),
          ...sets.map((name) => `flush set ${ip} kube-proxy ${name}`),
          `flush table ${ip} kube-proxy`,
          ...stale.toReversed().map(({ name }) => `delete chain ${ip} kube-proxy ${name}`),
        ]
  return `${start.join('\n')}
table ${ip} kube-proxy {
  set cluster-ips { type ${address}; ${elements([...new Set(clusterIps)])} }
  set nodeport-ips { type ${address}; ${elements([options.nodeAddress].filter((ip) => familyOf(ip) === family))} }
  map firewall-ips { type ${key} : verdict; ${elements(own.flatMap(firewalled))} }
  map no-endpoint-services { type ${key} : verdict; ${elements(own.flatMap(withoutEndpoints))} }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; ${elements(own.flatMap(nodePortsWithoutEndpoints))} }
  map service-ips { type ${key} : verdict; ${elements(own.flatMap(served))} }
  map service-nodeports { type inet_proto . inet_service : verdict; ${elements(own.flatMap(servedNodePorts))} }
  chain reject-chain { reject; }
${chains.map(({ text }) => text).join('\n')}
  chain firewall-check { ${asked} vmap @firewall-ips; }
  chain service-endpoints-check { ${asked} vmap @no-endpoint-services; }
  chain nodeport-endpoints-check { ${ip} daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
  chain cluster-ips-check { ${ip} daddr @cluster-ips reject; }
  chain services {
    ${ip} daddr @cluster-ips ${ip} saddr != ${options.podPrefix} meta mark set meta mark or ${masqueradeMark}
    ${asked} vmap @service-ips
    ${ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain masquerading {
    meta mark and ${masqueradeMark} != 0 meta mark set meta mark xor ${masqueradeMark} masquerade fully-random
${own
  .flatMap((port) => port.targets.concat(port.localTargets))
  .map(
    (target) =>
      `    ct status dnat ${ip} saddr ${target.address} ${ip} daddr ${target.address} masquerade fully-random`,
  )
  .join('\n')}
  }
  chain filter-prerouting-pre-dnat { type filter hook prerouting priority dstnat - 10; ct state new jump firewall-check; }
  chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }
  chain filter-input {
    type filter hook input priority filter
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-forward {
    type filter hook forward priority filter
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-output {
    type filter hook output priority filter
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
}
`
}

const elements = (list: readonly string[]): string => (list.length === 0 ? '' : `elements = { ${list.join(', ')} };`)

const at = (address: Ip, { protocol, port }: ProxiedPort): string => `${address} . ${protocol} . ${port}`

const firewalled = (port: ProxiedPort): readonly string[] =>
  port.sourceRanges.length === 0 ? [] : port.vips.map((vip) => `${at(vip, port)} : goto firewall-${portSuffix(port)}`)

// What exists elsewhere is dropped, so that a client tries again and meets another node; what exists nowhere is refused.
const refusal = ({ anywhere }: ProxiedPort): string => (anywhere ? 'drop' : 'goto reject-chain')

function withoutEndpoints(port: ProxiedPort): readonly string[] {
  const outside = servesOutside(port) ? [] : port.vips.map((vip) => `${at(vip, port)} : ${refusal(port)}`)
  const { clusterIP } = port
  return clusterIP === undefined || port.anywhere ? outside : [`${at(clusterIP, port)} : goto reject-chain`, ...outside]
}

const nodePortsWithoutEndpoints = (port: ProxiedPort): readonly string[] =>
  port.nodePort === 0 || servesOutside(port) ? [] : [`${port.protocol} . ${port.nodePort} : ${refusal(port)}`]

function served(port: ProxiedPort): readonly string[] {
  const outside = servesOutside(port)
    ? port.vips.map((vip) => `${at(vip, port)} : goto external-${portSuffix(port)}`)
    : []
  const { clusterIP } = port
  return clusterIP === undefined || port.targets.length === 0
    ? outside
    : [`${at(clusterIP, port)} : goto service-${portSuffix(port)}`, ...outside]
}

const servedNodePorts = (port: ProxiedPort): readonly string[] =>
  port.nodePort === 0 || !servesOutside(port)
    ? []
    : [`${port.protocol} . ${port.nodePort} : goto external-${portSuffix(port)}`]

// In the order in which they go to each other, since a chain has to be there before it is named.
function chainsOf(
  port: ProxiedPort,
  ip: 'ip' | 'ip6',
  podPrefix: string,
): readonly { readonly name: string; readonly text: string }[] {
  const suffix = portSuffix(port)
  const mark = `meta mark set meta mark or ${masqueradeMark}`
  const chains: { readonly name: string; readonly text: string }[] = []
  const chain = (kind: string, rules: readonly string[]): void => {
    const name = `${kind}-${suffix}`
    chains.push({ name, text: `  chain ${name} {\n${rules.map((rule) => `    ${rule}`).join('\n')}\n  }` })
  }
  if (port.sourceRanges.length > 0) chain('firewall', [`${ip} saddr != { ${port.sourceRanges.join(', ')} } drop`])
  if (port.targets.length > 0) chain('service', [spread(port, ip, port.targets)])
  if (!servesOutside(port)) return chains
  if (port.externalTrafficPolicy === 'Cluster') chain('external', [mark, `goto service-${suffix}`])
  else {
    chain('local', [spread(port, ip, port.localTargets)])
    const all = port.targets.length > 0 ? `goto service-${suffix}` : `goto local-${suffix}`
    chain('external', [
      `${ip} saddr ${podPrefix} ${all}`,
      `fib saddr type local ${mark}`,
      `fib saddr type local ${all}`,
      `goto local-${suffix}`,
    ])
  }
  return chains
}

const spread = ({ protocol }: ProxiedPort, ip: 'ip' | 'ip6', targets: readonly Target[]): string =>
  `meta l4proto ${protocol} dnat ${ip} to numgen random mod ${targets.length} map { ${targets.map(({ address, port }, i) => `${i} : ${address} . ${port}`).join(', ')} }`
