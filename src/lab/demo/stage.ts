// What the chapters of the story act on and look at: kubectl, the leaves, the client, and Bellhop's programs on the nodes. Every
// question returns what is wrong, or undefined: the form that a check takes.

import { type Ip, parseIp } from '../../net/ip.ts'
import { hostPrefix } from '../../net/prefix.ts'
import { must } from '../../runtime/result.ts'
import { agentPort, controllerPort, type Lab } from '../lab.ts'
import type { Namespace } from '../netns/namespace.ts'
import type { LabProcess } from '../netns/process.ts'
import type { Router } from '../routers/router.ts'
import { clientAddress } from '../topology/addresses.ts'
import type { RunningLoad } from '../topology/load.ts'
import type { LabNode } from '../topology/topology.ts'
import type { Probe, Story } from './story.ts'

/** The VIPs that the empty pool of the demo gives out first. */
export const vip4 = must(parseIp('203.0.113.10'))
export const vip6 = must(parseIp('2001:db8:1::10'))

export interface Stage {
  readonly lab: Lab
  readonly story: Story
  readonly nodes: readonly [LabNode, LabNode, LabNode]
  /** Running programs of ours, by node. */
  readonly controllers: Map<string, LabProcess>
  readonly agents: Map<string, LabProcess>
  /** Tells the command and runs it; its output. */
  readonly run: (args: string, options?: { readonly input?: string }) => Promise<string>
  /** The same, and shows the output. */
  readonly showRun: (args: string) => Promise<void>
  /** kubectl prints exactly this. */
  readonly kubectlSays: (args: string, expected: string) => Probe
  /** Nodes that host a ready whoami pod, as kubectl sees them. */
  readonly readyNodes: () => Promise<readonly LabNode[]>
  /** Both leaves have both VIPs via exactly these nodes, in BGP and in the kernel. */
  readonly leavesHold: (expected: readonly LabNode[]) => Probe
  /** Tells a command in a namespace, runs it, and shows what it prints. */
  readonly showIn: (namespace: Namespace, argv: readonly string[]) => Promise<void>
  /** What both leaves have for the IPv4 VIP, in their own words. */
  readonly showBgpRoutes: () => Promise<void>
  readonly showKernelRoutes: () => Promise<void>
  /** `count` requests, over IPv4 unless told otherwise: none fails, `pods` pods answer, and all see the client's own address. */
  readonly requestsArrive: (count: number, pods: number, vip?: Ip) => Probe
  /** A load on both VIPs. */
  readonly startLoads: () => Promise<Loads>
  /** Every running controller has a session with every leaf. */
  readonly sessionsAreUp: Probe
  /** Starts a controller and waits until it is ready. */
  readonly startController: (node: LabNode) => Promise<void>
  readonly startAgents: () => Promise<void>
}

/** Several loads as one. */
export interface Loads {
  /** What the load lost so far, or that one of them has asked less than `requestsMin` times (1). */
  readonly nothingFails: (requestsMin?: number) => Probe
  readonly requests: () => number
  readonly reset: () => void
  readonly stop: () => Promise<void>
}

/** Sets the stage in a lab of three nodes. */
export function setStage(lab: Lab, story: Story): Stage {
  const { topology, routers, kubectl } = lab
  const [node1, node2, node3] = topology.nodes
  if (node1 === undefined || node2 === undefined || node3 === undefined) throw new Error('the story needs three nodes')
  const nodes = [node1, node2, node3] as const
  const controllers = new Map<string, LabProcess>()
  const agents = new Map<string, LabProcess>()

  const run: Stage['run'] = async (args, options) => {
    story.command(`kubectl ${args}`)
    const result = await kubectl(args.split(' '), options)
    return result.stdout + result.stderr
  }
  const showIn: Stage['showIn'] = async (namespace, argv) => {
    story.command(namespace.commandLine(argv))
    story.show((await namespace.exec(argv)).stdout.trim() || '(nothing)')
  }
  return {
    ...{ lab, story, nodes, controllers, agents, run, showIn },
    showRun: async (args) => story.show(await run(args)),
    kubectlSays: (args, expected) => async () => {
      const { stdout, stderr } = await kubectl(args.split(' '))
      return stdout.trim() === expected ? undefined : `kubectl says: ${stdout.trim() || stderr.trim() || '(nothing)'}`
    },
    readyNodes: async () => {
      const text = await lab.mustKubectl(['get', 'pods', '-l', 'app=whoami', '-o', 'json'])
      const ready = new Set((JSON.parse(text) as PodList).items.filter(isReady).map((pod) => pod.spec.nodeName))
      return nodes.filter((node) => ready.has(node.name))
    },
    leavesHold: (expected) => async () => {
      for (const router of routers) {
        const problem =
          (await leafHolds(
            router,
            vip4,
            expected.map(({ address }) => address.ipv4),
          )) ??
          (await leafHolds(
            router,
            vip6,
            expected.map(({ address }) => address.ipv6),
          ))
        if (problem !== undefined) return problem
      }
      return undefined
    },
    showBgpRoutes: async () => {
      for (const { namespace, operator } of routers)
        if (operator !== undefined) await showIn(namespace, operator.showRoute(hostPrefix(vip4)))
    },
    showKernelRoutes: async () => {
      for (const { namespace } of routers) await showIn(namespace, ['ip', 'route', 'show', vip4])
    },
    requestsArrive:
      (count, pods, vip = vip4) =>
      async () => {
        const answers = await topology.client.request(vip, { count })
        if (answers.failed > 0) return `${answers.failed} of ${count} failed: ${[...answers.errors.keys()].join('; ')}`
        const sources = [...answers.bySource.keys()]
        const client = vip === vip4 ? clientAddress.ipv4 : clientAddress.ipv6
        if (sources.join() !== client) return `pods saw the client as ${sources.join(', ')}`
        if (answers.byPod.size !== pods) return `${answers.byPod.size} of ${pods} pods answered`
        story.show(
          [...answers.byPod]
            .map(([pod, n]) => `${String(n).padStart(4)} answers from ${pod}, which saw ${client}`)
            .join('\n'),
        )
        return undefined
      },
    startLoads: async () => {
      const loads = await Promise.all([vip4, vip6].map((vip) => topology.client.startLoad(vip)))
      return {
        nothingFails: (requestsMin) => async () => {
          for (const load of loads) {
            const problem = await nothingFails(load, requestsMin)()
            if (problem !== undefined) return problem
          }
          return undefined
        },
        requests: () => loads.reduce((sum, load) => sum + load.report().requests, 0),
        reset: () => {
          for (const load of loads) load.reset()
        },
        stop: async () => void (await Promise.all(loads.map((load) => load.stop()))),
      }
    },
    sessionsAreUp: async () => {
      for (const router of routers) {
        const up = (await router.sessions()).filter(({ established }) => established)
        if (up.length !== controllers.size) return `${router.name} has ${up.length} of ${controllers.size} sessions`
      }
      return undefined
    },
    startController: async (node) => {
      const controller = lab.startController(node)
      controllers.set(node.name, controller)
      await untilReady(node, controller, controllerPort)
    },
    startAgents: async () => {
      for (const node of nodes) agents.set(node.name, lab.startAgent(node))
      await Promise.all(
        nodes.map(async (node) => {
          const agent = agents.get(node.name)
          if (agent !== undefined) await untilReady(node, agent, agentPort)
        }),
      )
    },
  }
}

/** The load lost nothing so far. */
export const nothingFails =
  (load: RunningLoad, requestsMin = 1): Probe =>
  () => {
    const { requests, failed, errors } = load.report()
    if (failed > 0) return `${failed} of ${requests} requests failed: ${[...new Set(errors)].join('; ')}`
    return requests < requestsMin ? `only ${requests} requests yet` : undefined
  }

async function untilReady(node: LabNode, program: LabProcess, port: number): Promise<void> {
  await program.waitUntil(
    async () => (await node.namespace.exec(['curl', '-sf', `http://127.0.0.1:${port}/readyz`])).status === 0,
    // Three programs start at once on a machine that is busy with a whole cluster.
    { what: `port ${port} of ${node.name} to be ready`, timeoutMs: 60_000, intervalMs: 250 },
  )
}

/** What is wrong with a leaf's idea of a VIP: in its BGP table, and in its kernel where it programs one. */
async function leafHolds(router: Router, vip: Ip, nextHops: readonly Ip[]): Promise<string | undefined> {
  const prefix = hostPrefix(vip)
  const expected = [...nextHops].sort().join(', ')
  const inBgp = [...new Set((await router.routes(prefix)).map(({ nextHop }) => nextHop))].sort().join(', ')
  if (inBgp !== expected) return `${router.name} has ${prefix} via ${inBgp || 'nothing'} in BGP`
  if (!router.programsKernel) return undefined
  const inKernel = [...(await router.kernelNextHops(prefix))].sort().join(', ')
  return inKernel === expected ? undefined : `${router.name} has ${prefix} via ${inKernel || 'nothing'} in its kernel`
}

interface Pod {
  readonly metadata: { readonly deletionTimestamp?: string }
  readonly spec: { readonly nodeName?: string }
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}

interface PodList {
  readonly items: readonly Pod[]
}

const isReady = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True')
