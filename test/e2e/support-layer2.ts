// A cluster without routers: nodes with agents, a controller on the first, and a client on the nodes' own link whose caches are full. What the
// tests of layer 2 look at: who carries an address, what the client believes, and what users are told.

import { agentPort, controllerPort, type Lab, startLab } from '../../src/lab/lab.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { lanPrefixes } from '../../src/lab/topology/addresses.ts'
import { type LabClient, labClient } from '../../src/lab/topology/client.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { prefixLength } from '../../src/net/prefix.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { labCluster } from './support-named-cluster.ts'
import { becomes } from './support-replicas.ts'

export interface Layer2Lab {
  readonly lab: Lab
  /** On the nodes' link. */
  readonly client: LabClient
  readonly agents: ReadonlyMap<string, LabProcess>
  readonly startAgent: (node: LabNode) => Promise<void>
  readonly endAgent: (node: LabNode, signal: 'SIGTERM' | 'SIGKILL') => Promise<void>
  /** Another replica, beside the one on the first node. */
  readonly startController: (node: LabNode) => Promise<LabProcess>
  /** The node whose replica holds the leader's lease. */
  readonly leader: () => Promise<string | undefined>
  /** Makes Services `web1`.. in front of the same pods, each with an address of both families. */
  readonly addServices: (names: readonly string[], over?: Readonly<Record<string, unknown>>) => Promise<void>
  /** Who answers for each VIP, by the Vip objects. */
  readonly owners: () => Promise<ReadonlyMap<Ip, string>>
  /** What the Service shows. */
  readonly addressesOf: (service: string) => Promise<readonly Ip[]>
  /** The nodes that carry the address on their link. */
  readonly holders: (vip: Ip) => Promise<readonly string[]>
  /** The same for all VIPs at once. */
  readonly allHolders: () => Promise<ReadonlyMap<Ip, readonly string[]>>
  /** The node whose MAC the client has for the address; undefined while it has none. */
  readonly believed: (vip: Ip) => Promise<string | undefined>
  readonly nodeNamed: (name: string) => LabNode
  readonly destroy: () => Promise<void>
}

/** Short, so that a test need not wait long for addresses to be lost. */
export const holdSeconds = 5

const addressText = (serial: number): readonly [string, string] => [`10.0.0.${serial}`, `fd00:10::${serial}`]
export const clientOnLink = addressText(200)

/** Outside of what the pool gives out by itself. */
export const foreignAddress = must(parseIp('10.0.0.130'))
export const foreignAddress6 = must(parseIp('fd00:10::130'))

const pool = {
  apiVersion: 'bellhop.io/v1alpha1',
  kind: 'VipPool',
  metadata: { name: 'link' },
  spec: { addresses: ['10.0.0.100-10.0.0.130', 'fd00:10::100-fd00:10::130'], mode: 'layer2' },
}

/** Whose interface is named: it is theirs to answer on, whatever network it is in. */
export const namedPool = {
  ...pool,
  metadata: { name: 'named' },
  spec: { addresses: ['fd00:10::140'], mode: 'layer2', autoAssign: false, layer2: { interfaces: ['lan0'] } },
}

export async function startLayer2Lab(options: {
  readonly prefix: string
  readonly nodes: number
  readonly pods: number
}): Promise<Layer2Lab> {
  const lab = await startLab({
    ...{ prefix: options.prefix, nodes: options.nodes, leaves: ['bird', 'bird'] as const, ...(await labCluster()) },
    ...{ clock: systemClock, log: silentLog },
  })
  try {
    return await build(lab, options.pods)
  } catch (error) {
    await lab.destroy()
    throw error
  }
}

async function build(lab: Lab, pods: number): Promise<Layer2Lab> {
  const { topology } = lab
  const namespace = await topology.network.addNamespace('onlink')
  const [ipv4, ipv6] = clientOnLink
  await topology.network.connect(
    {
      at: namespace,
      interface: 'eth0',
      addresses: [
        `${must(parseIp(ipv4))}/${prefixLength(lanPrefixes.ipv4)}`,
        `${must(parseIp(ipv6))}/${prefixLength(lanPrefixes.ipv6)}`,
      ],
    },
    { at: topology.lan },
  )
  await lab.install()
  await lab.mustKubectl(['apply', '-f', lab.manifest('whoami')])
  await lab.mustKubectl(['delete', 'service', 'whoami'])
  await lab.mustKubectl(['scale', 'deployment', 'whoami', `--replicas=${pods}`])
  await lab.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(pool) })
  const agents = new Map<string, LabProcess>()
  const startAgent = async (node: LabNode): Promise<void> => {
    agents.set(node.name, lab.startAgent(node, { args: ['--layer2-hold-seconds', String(holdSeconds)] }))
    await becomes(`the agent of ${node.name}`, () => isReady(node.namespace, agentPort))
  }
  const startController = async (node: LabNode): Promise<LabProcess> => {
    const controller = lab.startController(node)
    await becomes('a controller', () => isReady(node.namespace, controllerPort))
    return controller
  }
  await Promise.all([...topology.nodes.map(startAgent), ...topology.nodes.slice(0, 1).map(startController)])
  const macs = new Map(
    await Promise.all(topology.nodes.map(async ({ name, namespace: at }) => [await macOf(at), name] as const)),
  )
  const allHolders = async (): Promise<ReadonlyMap<Ip, readonly string[]>> => {
    const holders = new Map<Ip, readonly string[]>()
    for (const { name, namespace: at } of topology.nodes) {
      const [link] = JSON.parse(await at.run(['ip', '-j', 'address', 'show', 'dev', 'lan0'])) as readonly {
        readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[]
      }[]
      for (const { local, prefixlen } of link?.addr_info ?? []) {
        const ip = must(parseIp(local))
        if (prefixlen === 32 || prefixlen === 128) holders.set(ip, [...(holders.get(ip) ?? []), name])
      }
    }
    return holders
  }
  return {
    lab,
    client: labClient(namespace),
    agents,
    startAgent,
    startController,
    leader: async () => {
      const lease = ['get', 'lease', 'bellhop-controller', '-n', 'bellhop-system']
      const holder = await lab.mustKubectl([...lease, '-o', 'jsonpath={.spec.holderIdentity}'])
      return topology.nodes.find(({ name }) => holder.startsWith(`bellhop-controller-${name}_`))?.name
    },
    endAgent: async (node, signal) => {
      const agent = agents.get(node.name)
      agent?.kill(signal)
      await agent?.end
    },
    addServices: async (names, over = {}) => {
      const items = names.map((name) => ({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, ...((over['metadata'] as object) ?? {}) },
        spec: {
          type: 'LoadBalancer',
          ipFamilyPolicy: 'RequireDualStack',
          selector: { app: 'whoami' },
          ports: [{ port: 80, targetPort: 8080 }],
          ...((over['spec'] as object) ?? {}),
        },
      }))
      await lab.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
    },
    owners: async () => {
      const { items } = JSON.parse(await lab.mustKubectl(['get', 'vips', '-o', 'json'])) as {
        readonly items: readonly {
          readonly spec: { readonly address: Ip; readonly layer2?: { readonly node: string } }
        }[]
      }
      return new Map(items.flatMap(({ spec }) => (spec.layer2 ? [[spec.address, spec.layer2.node] as const] : [])))
    },
    addressesOf: async (service) =>
      (await lab.mustKubectl(['get', 'service', service, '-o', 'jsonpath={.status.loadBalancer.ingress[*].ip}']))
        .split(' ')
        .filter((text) => text !== '')
        .map((text) => must(parseIp(text))),
    allHolders,
    holders: async (vip) => (await allHolders()).get(vip) ?? [],
    believed: async (vip) => {
      const entries = JSON.parse((await namespace.run(['ip', '-j', 'neigh', 'show', vip])) || '[]') as readonly {
        readonly lladdr?: string
      }[]
      return macs.get(entries[0]?.lladdr ?? '')
    },
    nodeNamed: (name) => {
      const node = topology.nodes.find((each) => each.name === name)
      if (node === undefined) throw new Error(`there is no node ${name}`)
      return node
    },
    destroy: lab.destroy,
  }
}

async function isReady(namespace: Namespace, port: number): Promise<string | undefined> {
  const { status } = await namespace.exec(['curl', '-sf', `http://127.0.0.1:${port}/readyz`])
  return status === 0 ? undefined : `port ${port} of ${namespace.name} is not ready`
}

async function macOf(namespace: Namespace): Promise<string> {
  const [link] = JSON.parse(await namespace.run(['ip', '-j', 'link', 'show', 'lan0'])) as readonly {
    readonly address: string
  }[]
  return link?.address ?? ''
}
