// The network that the rules are tried in: a client, a node that routes with FORWARD closed and translates the VIP as
// kube-proxy does, and a pod behind it. What the rules mean is told by whether a request gets through.

import type { BackendName } from '../../src/iptables/backend.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { createNetwork, type Network } from '../../src/lab/netns/network.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import type { Exec } from '../../src/runtime/exec.ts'
import { must } from '../../src/runtime/result.ts'

export interface NodeNetwork extends AsyncDisposable {
  readonly client: Namespace
  readonly node: Namespace
  readonly pod: Namespace
  /** Runs programs on the node. */
  readonly exec: Exec
  /** The address that the pod saw, or undefined when the request did not get through. */
  readonly request: (from: Namespace, address: string, port: number) => Promise<string | undefined>
  /** Everything in the tables of a back end, without counters and dates. */
  readonly save: (backend: BackendName) => Promise<string>
}

export const ip = (text: string): Ip => must(parseIp(text))
export const vip4 = ip('203.0.113.10')
export const vip6 = ip('2001:db8:1::10')
/** Translated to the pod as well, but never one of the VIPs that the rules are for. */
export const other4 = ip('203.0.113.77')
export const other6 = ip('2001:db8:1::77')
export const clientAddresses = ['10.9.1.1', 'fd09:1::1']
export const podAddresses = ['10.9.2.2', 'fd09:2::2']

export async function createNodeNetwork(backend: BackendName): Promise<NodeNetwork> {
  const network = await createNetwork({ prefix: 'ipt' })
  try {
    return await build(network, backend)
  } catch (error) {
    await network.destroy()
    throw error
  }
}

async function build(network: Network, backend: BackendName): Promise<NodeNetwork> {
  const client = await network.addNamespace('client')
  const node = await network.addNamespace('node', { forwarding: true })
  const pod = await network.addNamespace('pod')
  await network.connect(
    { at: client, addresses: ['10.9.1.1/24', 'fd09:1::1/64'] },
    { at: node, interface: 'up0', addresses: ['10.9.1.254/24', 'fd09:1::254/64'] },
  )
  await network.connect(
    { at: pod, addresses: ['10.9.2.2/24', 'fd09:2::2/64'] },
    { at: node, interface: 'pod0', addresses: ['10.9.2.254/24', 'fd09:2::254/64'] },
  )
  for (const [namespace, via4, via6] of [
    [client, '10.9.1.254', 'fd09:1::254'],
    [pod, '10.9.2.254', 'fd09:2::254'],
    [node, '10.9.1.1', 'fd09:1::1'],
  ] as const) {
    await namespace.setRoute('default', { via: [{ via: ip(via4) }] })
    await namespace.setRoute('default6', { via: [{ via: ip(via6) }] })
  }
  for (const [program, vips, target] of [
    ['iptables', [vip4, other4], '10.9.2.2:8080'],
    ['ip6tables', [vip6, other6], '[fd09:2::2]:8080'],
  ] as const) {
    await node.run([`${program}-${backend}-restore`, '--noflush'], { input: nodeTables(vips, target) })
  }
  const server = pod.spawn(nodeProgram('src/lab/kubelet/whoami-program.ts', ['pod', 'node', '8080', '0']))
  await server.waitUntil(() => server.output().includes('listening'), { what: 'the server in the pod' })
  return {
    client,
    node,
    pod,
    exec: (file, args, options) => node.exec([file, ...args], options),
    request,
    save: async (which) => {
      const texts = [await node.run([`iptables-${which}-save`]), await node.run([`ip6tables-${which}-save`])]
      return texts
        .join('')
        .replace(/^#.*\n/gm, '')
        .replace(/\[\d+:\d+\]/g, '[0:0]')
    },
    [Symbol.asyncDispose]: network.destroy,
  }
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
${vips.map((vip) => `-A KUBE-SERVICES -d ${vip} -p tcp --dport 80 -j DNAT --to-destination ${target}`).join('\n')}
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
