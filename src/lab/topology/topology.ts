// The lab's world: a client, an edge router that spreads over two leaves, a LAN with the leaves and the nodes, and a
// management network on which the nodes reach the API server. Dual stack, in namespaces only. Routing daemons, kubelets,
// proxies, controllers and agents are started by others in the namespaces given out here.
//
//   const topology = await createTopology({ prefix: 'demo' })
//   await topology.publishApi({ host: '127.0.0.1', port })               // as this process reaches it
//   topology.leaves[0].namespace.kernelName                              // for the router drivers
//   topology.nodes[0].namespace.spawn(nodeProgram('src/cli/main.ts', ['controller', ...]))
//   await topology.client.request(vip, { count: 50 })                    // -> by pod, by node, by source address
//   await topology.nodes[2].setLan('down')                               // pull a cable
//   await topology.destroy()
//
//              client 198.51.100.10
//                |
//              edge                        static: the VIPs via both leaves
//             /    \
//        leaf1      leaf2                  10.0.0.1, 10.0.0.2: what they know about VIPs they learn by BGP
//           |          |
//   ----------------------------- LAN      10.0.0.0/24, fd00:10::/64
//       |         |          |
//     node1     node2      node3           10.0.0.11, .12, .13; default route via both leaves
//       |         |          |
//   ----------------------------- mgmt     192.0.2.0/24: the API server at 192.0.2.1
//
// With `families: ['ipv6']` there is no IPv4 on the LAN, on the nodes and behind them; the API server is at [fd00:192::1].

import path from 'node:path'
import type { Ip } from '../../net/ip.ts'
import type { Exec } from '../../runtime/exec.ts'
import { addressIn, type InterfaceAddress, type Namespace } from '../netns/namespace.ts'
import { type Bridge, createNetwork, type LinkEnd, type Network } from '../netns/network.ts'
import { waitFor } from '../netns/wait.ts'
import {
  bothFamilies,
  clientAddress,
  clientPrefixes,
  clusterPodPrefixes,
  type DualStack,
  type DualStackPrefix,
  edgeAtClient,
  edgeAtLeaf,
  type Families,
  lanPrefixes,
  leafAddress,
  leafAtEdge,
  managementAddress,
  managementServer,
  nodeAddress,
  podPrefixes,
  vipPrefixes,
} from './addresses.ts'
import { type LabClient, labClient } from './client.ts'
import { type Relay, startRelay } from './relay.ts'

export interface TopologyOptions {
  /** Lower-case letters and digits, at most 8: part of every namespace's name. */
  readonly prefix: string
  /** How many nodes, 1 to 9; default 3. */
  readonly nodes?: number
  /** What the nodes' FORWARD chain does with what no rule accepts. Default DROP, as on hardened nodes. */
  readonly forwardPolicy?: 'ACCEPT' | 'DROP'
  /** What the LAN, the nodes and their pods have; default both, IPv4 first. */
  readonly families?: Families
  readonly exec?: Exec
}

export interface LabRouter {
  readonly name: string
  readonly namespace: Namespace
  /** On the node LAN: what the BGP sessions go to. */
  readonly address: DualStack
  /** Pulls or plugs the cable to the edge. */
  readonly setUplink: (state: 'up' | 'down') => Promise<void>
  /**
   * The same with the cable to the LAN; both down is a leaf without power. The nodes' default routes follow at once, which
   * stands for the VRRP or routing protocol that would do it on real nodes.
   */
  readonly setLan: (state: 'up' | 'down') => Promise<void>
}

export interface LabNode {
  readonly name: string
  /** From 1. */
  readonly number: number
  readonly namespace: Namespace
  /** On the node LAN: InternalIPs of the Node, as far as it has the families. */
  readonly address: DualStack
  readonly families: Families
  readonly managementAddress: Ip
  readonly podPrefixes: DualStackPrefix
  /** Pulls or plugs the cable to the LAN, at the switch: the node sees its carrier go. */
  readonly setLan: (state: 'up' | 'down') => Promise<void>
  /** The same with the way to the API server. */
  readonly setManagement: (state: 'up' | 'down') => Promise<void>
}

export interface Topology extends AsyncDisposable {
  readonly network: Network
  readonly client: LabClient
  readonly edge: Namespace
  readonly leaves: readonly [LabRouter, LabRouter]
  readonly nodes: readonly LabNode[]
  /** The LAN's switch: tcpdump on `br0` in its namespace sees all traffic between leaves and nodes. */
  readonly lan: Bridge
  /** Makes a TCP port that this process reaches reachable from the nodes; returns where they find it. Once. */
  readonly publishApi: (target: {
    readonly host: string
    readonly port: number
  }) => Promise<{ readonly host: Ip; readonly port: number }>
  /** Removes everything, whatever still runs in it. */
  readonly destroy: () => Promise<void>
}

/** Where the nodes find the API server. */
const apiPort = 6443

/** Builds the world. Needs root. A failure on the way removes what was built. */
export async function createTopology(options: TopologyOptions): Promise<Topology> {
  const network = await createNetwork({
    prefix: options.prefix,
    ...(options.exec === undefined ? {} : { exec: options.exec }),
  })
  try {
    return await build(network, options)
  } catch (error) {
    await network.destroy()
    throw error
  }
}

async function build(network: Network, options: TopologyOptions): Promise<Topology> {
  const { families = bothFamilies } = options
  const server = managementServer[families[0]]
  const [client, edge, lan, mgmt, api] = await Promise.all([
    network.addNamespace('client'),
    network.addNamespace('edge', { forwarding: true, sysctls: routerSysctls }),
    network.addBridge('lan'),
    network.addBridge('mgmt'),
    network.addNamespace('api'),
  ])
  await network.connect(
    { at: client, interface: 'eth0', addresses: inSubnet(clientAddress, clientPrefixes) },
    { at: edge, interface: 'client0', addresses: inSubnet(edgeAtClient, clientPrefixes) },
  )
  await network.connect({ at: api, interface: 'mgmt0', addresses: [onManagement(server)] }, { at: mgmt })
  const cables: Cables = { families, uplinks: new Set(), gateways: new Set([1, 2]), nodes: [] }
  const leaves: [LabRouter, LabRouter] = [
    await addLeaf(1, network, edge, lan, cables),
    await addLeaf(2, network, edge, lan, cables),
  ]
  await setDefaultRoutes(client, [edgeAtClient], bothFamilies)
  const numbers = Array.from({ length: options.nodes ?? 3 }, (_, i) => i + 1)
  const nodes = await Promise.all(
    numbers.map((number) => addNode(number, network, lan, mgmt, { ...options, families })),
  )
  cables.nodes.push(...nodes)
  await routeNodes(cables)
  await Promise.all(nodes.map((node) => routeToPodsOf(node, nodes)))
  await Promise.all([lan, mgmt].map(waitUntilForwarding))

  let relay: Relay | undefined
  const destroy = async (): Promise<void> => {
    const closing = relay
    relay = undefined
    await closing?.close()
    await network.destroy()
  }
  return {
    network,
    client: labClient(client),
    edge,
    leaves,
    nodes,
    lan,
    publishApi: async (target) => {
      if (relay !== undefined) throw new Error('the API server is published already')
      relay = await startRelay({
        namespace: api,
        address: server,
        port: apiPort,
        socketPath: path.join(network.directory, 'api.sock'),
        target,
      })
      return { host: server, port: apiPort }
    },
    destroy,
    [Symbol.asyncDispose]: destroy,
  }
}

// As on a router's ports: a cable without carrier takes its routes out of service.
const routerSysctls: Readonly<Record<string, number>> = {
  'net.ipv4.conf.all.ignore_routes_with_linkdown': 1,
  'net.ipv4.conf.default.ignore_routes_with_linkdown': 1,
  'net.ipv6.conf.all.ignore_routes_with_linkdown': 1,
  'net.ipv6.conf.default.ignore_routes_with_linkdown': 1,
}

/** Leaves whose cables are plugged, and who cares. */
interface Cables {
  readonly families: Families
  readonly uplinks: Set<number>
  readonly gateways: Set<number>
  readonly nodes: LabNode[]
}

async function routeVips(edge: Namespace, { uplinks }: Cables): Promise<void> {
  if (uplinks.size === 0) return
  const leaves = [...uplinks].map(leafAtEdge)
  await edge.setRoute(vipPrefixes.ipv4, { via: leaves.map(({ ipv4 }) => ({ via: ipv4 })) })
  await edge.setRoute(vipPrefixes.ipv6, { via: leaves.map(({ ipv6 }) => ({ via: ipv6 })) })
}

async function routeNodes({ gateways, nodes, families }: Cables): Promise<void> {
  if (gateways.size === 0) return
  await Promise.all(nodes.map(({ namespace }) => setDefaultRoutes(namespace, [...gateways].map(leafAddress), families)))
}

const note = (set: Set<number>, number: number, state: 'up' | 'down'): unknown =>
  state === 'up' ? set.add(number) : set.delete(number)

async function addLeaf(
  number: number,
  network: Network,
  edge: Namespace,
  lan: Bridge,
  cables: Cables,
): Promise<LabRouter> {
  const name = `leaf${number}`
  const namespace = await network.addNamespace(name, { forwarding: true, sysctls: routerSysctls })
  const uplink = await network.connect(
    { at: namespace, interface: 'edge0', addresses: pointToPoint(leafAtEdge(number)) },
    { at: edge, interface: name, addresses: pointToPoint(edgeAtLeaf(number)) },
  )
  const lanCable = await network.connect(
    { at: namespace, interface: 'lan0', addresses: onLan(leafAddress(number), cables.families) },
    { at: lan, interface: name },
  )
  // With its own uplink gone, a leaf sends by way of the other one.
  const other = leafAddress(3 - number)
  await namespace.ip(
    cables.families.map((family) => `route add ${clientPrefixes[family]} via ${other[family]} metric 2000`),
  )
  // No default route: a VIP that is not announced is unreachable here, instead of going back to the edge in circles.
  await namespace.setRoute(clientPrefixes.ipv4, { via: [{ via: edgeAtLeaf(number).ipv4 }] })
  await namespace.setRoute(clientPrefixes.ipv6, { via: [{ via: edgeAtLeaf(number).ipv6 }] })
  // Taken down at the edge's end, where the kernel forgets IPv6 addresses and routes; the leaf loses its carrier.
  const setUplink = async (state: 'up' | 'down'): Promise<void> => {
    await uplink.set('b', state)
    note(cables.uplinks, number, state)
    if (state === 'up') await edge.ip([`addr replace ${edgeAtLeaf(number).ipv6}/64 dev ${name} nodad`])
    await routeVips(edge, cables)
  }
  const setLan = async (state: 'up' | 'down'): Promise<void> => {
    await lanCable.set('b', state)
    note(cables.gateways, number, state)
    await routeNodes(cables)
  }
  await setUplink('up')
  return { name, namespace, address: leafAddress(number), setUplink, setLan }
}

// The kernel hears of a port's carrier with a delay of up to a second, and until then the bridge drops what goes there.
async function waitUntilForwarding({ name, namespace }: Bridge): Promise<void> {
  const waiting = async (): Promise<readonly string[]> => {
    const ports = JSON.parse(await namespace.run(['bridge', '-j', 'link'])) as readonly {
      ifname: string
      state: string
    }[]
    return ports.filter(({ state }) => state !== 'forwarding').map(({ ifname }) => ifname)
  }
  await waitFor(async () => (await waiting()).length === 0, { what: `all ports of switch ${name} to forward` })
}

// As on a real node.
const nodeSysctls: Readonly<Record<string, number>> = {
  'net.ipv4.conf.all.rp_filter': 1,
  'net.ipv4.conf.default.rp_filter': 1,
}

async function addNode(
  number: number,
  network: Network,
  lan: Bridge,
  mgmt: Bridge,
  { forwardPolicy = 'DROP', families }: TopologyOptions & { readonly families: Families },
): Promise<LabNode> {
  const name = `node${number}`
  const namespace = await network.addNamespace(name, { forwarding: true, sysctls: nodeSysctls })
  const lanCable = await network.connect(
    { at: namespace, interface: 'lan0', addresses: onLan(nodeAddress(number), families) },
    { at: lan, interface: name },
  )
  const management = managementAddress(number)[families[0]]
  const managementCable = await network.connect(
    { at: namespace, interface: 'mgmt0', addresses: [onManagement(management)] },
    { at: mgmt, interface: name },
  )
  await namespace.run(['iptables-restore', '--noflush'], { input: firewallOf('ipv4', forwardPolicy) })
  await namespace.run(['ip6tables-restore', '--noflush'], { input: firewallOf('ipv6', forwardPolicy) })
  return {
    name,
    number,
    namespace,
    address: nodeAddress(number),
    families,
    managementAddress: management,
    podPrefixes: podPrefixes(number),
    setLan: (state) => lanCable.set('b', state),
    setManagement: (state) => managementCable.set('b', state),
  }
}

// What a pod network usually adds to a node's firewall: pods and nodes reach each other, the world
// does not reach pods.
const firewallOf = (family: keyof DualStackPrefix, policy: string): string => `*filter
:FORWARD ${policy} [0:0]
:LAB-CNI-FORWARD - [0:0]
-A FORWARD -m comment --comment "pod network" -j LAB-CNI-FORWARD
-A LAB-CNI-FORWARD -s ${clusterPodPrefixes[family]} -d ${clusterPodPrefixes[family]} -j ACCEPT
-A LAB-CNI-FORWARD -s ${lanPrefixes[family]} -d ${clusterPodPrefixes[family]} -j ACCEPT
-A LAB-CNI-FORWARD -s ${clusterPodPrefixes[family]} -d ${lanPrefixes[family]} -j ACCEPT
COMMIT
`

async function routeToPodsOf(node: LabNode, all: readonly LabNode[]): Promise<void> {
  for (const other of all) {
    if (other === node) continue
    for (const family of node.families)
      await node.namespace.setRoute(other.podPrefixes[family], { via: [{ via: other.address[family] }] })
  }
}

const defaults = { ipv4: 'default', ipv6: 'default6' } as const

async function setDefaultRoutes(
  namespace: Namespace,
  gateways: readonly DualStack[],
  families: Families,
): Promise<void> {
  for (const family of families)
    await namespace.setRoute(defaults[family], { via: gateways.map((gateway) => ({ via: gateway[family] })) })
}

type Addresses = NonNullable<LinkEnd['addresses']>

const inSubnet = ({ ipv4, ipv6 }: DualStack, prefix: DualStackPrefix): Addresses => [
  addressIn(prefix.ipv4, ipv4),
  addressIn(prefix.ipv6, ipv6),
]
const onLan = (address: DualStack, families: Families): Addresses =>
  families.map((family) => addressIn(lanPrefixes[family], address[family]))
const onManagement = (address: Ip): InterfaceAddress => `${address}/${address.includes(':') ? 64 : 24}`
const pointToPoint = ({ ipv4, ipv6 }: DualStack): Addresses => [`${ipv4}/30`, `${ipv6}/64`]
