// The network that the rules are tried in: a client, a node that routes with FORWARD closed and translates the VIP as
// kube-proxy does, and a pod behind it. What the rules mean is told by whether a request gets through.

import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { createNetwork, type Network } from '../../src/lab/netns/network.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import type { Exec } from '../../src/runtime/exec.ts'
import { must } from '../../src/runtime/result.ts'

/** How kube-proxy and a firewall that closes FORWARD wrote their rules: in one of iptables' kernels, or both in nftables. */
export type RulesOfOthers = 'nft' | 'legacy' | 'nftables'

export interface NodeNetworkOptions {
  /** Whether the node forwards what nobody asked for; default closed. */
  readonly forward?: 'open' | 'closed'
  /** Puts a router between the client and the node that sends all VIPs to the node, and is the node's default route. */
  readonly behindRouter?: true
}

export interface NodeNetwork extends AsyncDisposable {
  readonly client: Namespace
  readonly node: Namespace
  readonly pod: Namespace
  /** Between client and node, where there is one; else the client itself. */
  readonly router: Namespace
  /** Runs programs on the node. */
  readonly exec: Exec
  /** The address that the pod saw, or undefined when the request did not get through. */
  readonly request: (from: Namespace, address: string, port: number) => Promise<string | undefined>
  /** What came back from a port of the UDP and SCTP servers in the pod: the address that it saw, `associated`, or `nothing`. */
  readonly ask: (from: Namespace, protocol: 'udp' | 'sctp', address: string, port: number) => Promise<string>
  /** Everything in the tables of a back end, without counters and dates. */
  readonly save: (backend: RulesOfOthers) => Promise<string>
}

export const ip = (text: string): Ip => must(parseIp(text))
export const vip4 = ip('203.0.113.10')
export const vip6 = ip('2001:db8:1::10')
/** Translated to the pod as well, but never one of the VIPs that the rules are for. */
export const other4 = ip('203.0.113.77')
export const other6 = ip('2001:db8:1::77')
export const clientAddresses = ['10.9.1.1', 'fd09:1::1']
export const podAddresses = ['10.9.2.2', 'fd09:2::2']

const protocols = ['tcp', 'udp', 'sctp'] as const

/** Port of the VIP, and port in the pod that it is translated to. */
export const ports = { tcp: [80, 8080], udp: [53, 5353], sctp: [90, 9090] } as const

export async function createNodeNetwork(
  backend: RulesOfOthers,
  options: NodeNetworkOptions = {},
): Promise<NodeNetwork> {
  const network = await createNetwork({ prefix: 'ipt' })
  try {
    return await build(network, backend, options)
  } catch (error) {
    await network.destroy()
    throw error
  }
}

async function build(
  network: Network,
  backend: RulesOfOthers,
  { forward = 'closed', behindRouter }: NodeNetworkOptions,
): Promise<NodeNetwork> {
  const router = await network.addNamespace('client', { forwarding: behindRouter === true })
  const client = behindRouter === true ? await putBehind(network, router) : router
  const node = await network.addNamespace('node', { forwarding: true })
  const pod = await network.addNamespace('pod')
  await network.connect(
    { at: router, addresses: ['10.9.1.1/24', 'fd09:1::1/64'] },
    { at: node, interface: 'up0', addresses: ['10.9.1.254/24', 'fd09:1::254/64'] },
  )
  await network.connect(
    { at: pod, addresses: ['10.9.2.2/24', 'fd09:2::2/64'] },
    { at: node, interface: 'pod0', addresses: ['10.9.2.254/24', 'fd09:2::254/64'] },
  )
  for (const [namespace, via4, via6] of [
    [router, '10.9.1.254', 'fd09:1::254'],
    [pod, '10.9.2.254', 'fd09:2::254'],
    [node, '10.9.1.1', 'fd09:1::1'],
  ] as const) {
    await namespace.setRoute('default', { via: [{ via: ip(via4) }] })
    await namespace.setRoute('default6', { via: [{ via: ip(via6) }] })
  }
  if (backend === 'nftables') await node.run(['nft', '-f', '-'], { input: nftablesOfOthers })
  else
    for (const [program, vips, target] of [
      ['iptables', [vip4, other4], '10.9.2.2'],
      ['ip6tables', [vip6, other6], '[fd09:2::2]'],
    ] as const)
      await node.run([`${program}-${backend}-restore`, '--noflush'], { input: nodeTables(vips, target) })
  if (forward === 'open') await openForward(node, backend)
  const echo = pod.spawn(
    nodeProgram('test/datapath/echo-program.ts', ['serve', String(ports.sctp[1]), String(ports.udp[1])]),
  )
  await echo.waitUntil(() => echo.output().includes('listening'), { what: 'the UDP and SCTP servers in the pod' })
  const server = pod.spawn(nodeProgram('src/lab/kubelet/whoami-program.ts', ['pod', 'node', '8080', '0']))
  await server.waitUntil(() => server.output().includes('listening'), { what: 'the server in the pod' })
  return {
    client,
    router,
    node,
    pod,
    exec: (file, args, options) => node.exec([file, ...args], options),
    request,
    ask: async (from, protocol, address, port) =>
      (await from.run(nodeProgram('test/datapath/echo-program.ts', ['ask', protocol, address, String(port)]))).trim(),
    save: async (which) => {
      if (which === 'nftables') return (await node.run(['nft', '-s', 'list', 'ruleset'])).replace(/ # handle \d+/g, '')
      const texts = [await node.run([`iptables-${which}-save`]), await node.run([`ip6tables-${which}-save`])]
      return texts
        .join('')
        .replace(/^#.*\n/gm, '')
        .replace(/\[\d+:\d+\]/g, '[0:0]')
    },
    [Symbol.asyncDispose]: network.destroy,
  }
}

/** Of the client behind a router: two of each family. */
export const outsideAddresses = { known: ['10.9.0.1', 'fd09::1'], foreign: ['10.9.0.2', 'fd09::2'] } as const

async function putBehind(network: Network, router: Namespace): Promise<Namespace> {
  const outside = await network.addNamespace('outside')
  await network.connect(
    { at: outside, addresses: ['10.9.0.1/24', '10.9.0.2/24', 'fd09::1/64', 'fd09::2/64'] },
    { at: router, interface: 'down0', addresses: ['10.9.0.254/24', 'fd09::254/64'] },
  )
  await outside.setRoute('default', { via: [{ via: ip('10.9.0.254') }] })
  await outside.setRoute('default6', { via: [{ via: ip('fd09::254') }] })
  return outside
}

async function openForward(node: Namespace, backend: RulesOfOthers): Promise<void> {
  if (backend === 'nftables') await node.run(['nft', 'delete table inet firewall'])
  else
    for (const program of ['iptables', 'ip6tables'])
      await node.run([`${program}-${backend}`, '-P', 'FORWARD', 'ACCEPT'])
}

async function request(from: Namespace, address: string, port: number): Promise<string | undefined> {
  const host = address.includes(':') ? `[${address}]` : address
  const result = await from.exec([
    'curl',
    '-gsS',
    '--connect-timeout',
    '0.7',
    '--max-time',
    '2',
    `http://${host}:${port}/`,
  ])
  if (result.status !== 0) return undefined
  return (JSON.parse(result.stdout) as { readonly client: string }).client
}

// A node as kube-proxy with externalTrafficPolicy Local and a strict firewall leave it, with rules of somebody else around.
const nodeTables = (vips: readonly string[], target: string): string => `*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
${vips.flatMap((vip) => protocols.map((name) => `-A KUBE-SERVICES -d ${vip} -p ${name} --dport ${ports[name][0]} -j DNAT --to-destination ${target}:${ports[name][1]}`)).join('\n')}
COMMIT
*filter
:FORWARD DROP [0:0]
:SOMEBODY-ELSE - [0:0]
:KUBE-FORWARD - [0:0]
-A INPUT -p tcp --dport 9999 -m comment --comment "a firewall's own rule" -j DROP
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -j SOMEBODY-ELSE
-A SOMEBODY-ELSE -p tcp --dport 7777 -j REJECT
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
`

const verdictMap = (vips: readonly string[], name: string): string =>
  `elements = { ${vips.flatMap((vip) => protocols.map((protocol) => `${vip} . ${protocol} . ${ports[protocol][0]} : goto ${name}-${protocol}`)).join(', ')} }`

// The same node as kube-proxy in nftables mode and a firewall of nftables leave it: tables and chains called as kube-proxy's are.
const proxyTable = (family: 'ip' | 'ip6', address: string, vips: readonly string[], target: string): string => `
table ${family} kube-proxy {
  map service-ips { type ${address} . inet_proto . inet_service : verdict; ${verdictMap(vips, 'external')} }
  ${protocols.map((name) => `chain external-${name} { meta l4proto ${name} dnat to ${target}:${ports[name][1]}; }`).join('\n  ')}
  chain services { ${family} daddr . meta l4proto . th dport vmap @service-ips; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
  chain filter-forward { type filter hook forward priority -110; policy accept; ct state new counter; }
}`

const nftablesOfOthers = `
${proxyTable('ip', 'ipv4_addr', [vip4, other4], '10.9.2.2')}
${proxyTable('ip6', 'ipv6_addr', [vip6, other6], '[fd09:2::2]')}
table inet firewall {
  set friends { type ipv4_addr; elements = { 192.0.2.1 }; }
  chain forward {
    type filter hook forward priority filter; policy drop;
    tcp dport 7777 reject
    ip saddr @friends accept
  }
}
`
