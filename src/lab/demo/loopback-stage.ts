// What the chapters on loopback act on and look at: kubectl, two receivers as leaves, controllers as processes of this host, and
// the pods' readiness, which somebody must report where there is no kubelet. Every question returns what is wrong, or undefined.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Ip } from '../../net/ip.ts'
import { hostPrefix } from '../../net/prefix.ts'
import type { LoopbackLab } from '../loopback/loopback-lab.ts'
import { type RunningController, whenReady } from '../loopback/programs.ts'
import type { Receiver } from '../receiver/receiver.ts'
import { type DualStack, nodeAddress, podAddress } from '../topology/addresses.ts'
import { vip4, vip6 } from './stage.ts'
import type { Probe, Story } from './story.ts'

export const nodeNames = ['node1', 'node2', 'node3'] as const
export type NodeName = (typeof nodeNames)[number]
const numberOf = (node: NodeName): number => nodeNames.indexOf(node) + 1
export const addressOf = (node: NodeName): DualStack => nodeAddress(numberOf(node))

export interface Pod {
  readonly metadata: { readonly name: string }
  readonly spec: { readonly nodeName?: NodeName }
}

export interface LoopbackStage {
  readonly lab: LoopbackLab
  readonly story: Story
  /** Running replicas, by node. */
  readonly controllers: Map<NodeName, RunningController>
  /** Tells the command and runs it; its output. */
  readonly run: (args: string) => Promise<string>
  /** The same, and shows the output. */
  readonly showRun: (args: string) => Promise<void>
  /** Writes a manifest into the lab's directory; its path, for `apply -f`. */
  readonly manifest: (name: string, text: string) => string
  /** kubectl prints exactly this. */
  readonly kubectlSays: (args: string, expected: string) => Probe
  /** Both leaves have both VIPs via exactly these nodes. */
  readonly leavesHold: (expected: readonly NodeName[]) => Probe
  readonly showRoutes: () => void
  /** Every running controller has a session with every leaf, and has said all it has to say. */
  readonly sessionsAreUp: Probe
  /** Starts a controller and waits until it is ready. */
  readonly startController: (node: NodeName) => Promise<void>
  readonly pods: () => Promise<readonly Pod[]>
  readonly podOn: (node: NodeName) => Promise<Pod>
  /** What a kubelet would report. */
  readonly report: (pod: Pod, readiness: { readonly ready: boolean }) => Promise<void>
  readonly whenPodsAreScheduled: () => Promise<boolean>
  /** The node whose controller holds the lease. */
  readonly leader: () => Promise<NodeName | undefined>
  /** How often the lease has changed hands. */
  readonly transitions: () => Promise<string>
}

/** Sets the stage in a lab. */
export function setLoopbackStage(lab: LoopbackLab, story: Story): LoopbackStage {
  const { kubectl, leaves } = lab
  const controllers = new Map<NodeName, RunningController>()

  const run = async (args: string): Promise<string> => {
    story.command(`kubectl ${args}`)
    const result = await kubectl.run(args.split(' '))
    return result.stdout + result.stderr
  }
  const kubectlSays = (args: string, expected: string) => async (): Promise<string | undefined> => {
    const { stdout, stderr } = await kubectl.run(args.split(' '))
    return stdout.trim() === expected ? undefined : `kubectl says: ${stdout.trim() || stderr.trim() || '(nothing)'}`
  }

  const leavesHold = (expected: readonly NodeName[]) => (): string | undefined => {
    for (const [index, leaf] of leaves.entries())
      for (const vip of [vip4, vip6]) {
        const wanted = expected.map((node) => addressOf(node)[vip === vip4 ? 'ipv4' : 'ipv6'])
        const problem = leafHolds(leaf, vip, wanted)
        if (problem !== undefined) return `leaf${index + 1} ${problem}`
      }
    return undefined
  }
  const showRoutes = (): void => {
    for (const [index, leaf] of leaves.entries()) story.show(`leaf${index + 1}  ${renderRoute(leaf, vip4)}`)
  }
  const sessionsAreUp = (): string | undefined => {
    for (const [index, leaf] of leaves.entries()) {
      const up = leaf.sessions().filter(({ state }) => state === 'Established')
      if (up.length !== controllers.size) return `leaf${index + 1} has ${up.length} of ${controllers.size} sessions`
      const unfinished = up.find(({ endOfRib }) => endOfRib.length < 2)
      if (unfinished !== undefined) return `leaf${index + 1} has no End-of-RIB from ${unfinished.routerId} yet`
    }
    return undefined
  }

  const startController = async (node: NodeName): Promise<void> => {
    story.command(`bellhop controller --node ${node}`)
    const controller = await lab.startController({ name: `bellhop-controller-${node}`, node })
    controllers.set(node, controller)
    await whenReady(controller)
  }

  const pods = async (): Promise<readonly Pod[]> => {
    const text = await kubectl.must(['get', 'pods', '-l', 'app=whoami', '-o', 'json'])
    return (JSON.parse(text) as { readonly items: readonly Pod[] }).items
  }
  const podOn = async (node: NodeName): Promise<Pod> => {
    const found = (await pods()).find((pod) => pod.spec.nodeName === node)
    if (found === undefined) throw new Error(`no pod on ${node}`)
    return found
  }
  /** What a kubelet would report. */
  const report = async (pod: Pod, { ready }: { readonly ready: boolean }): Promise<void> => {
    const { ipv4, ipv6 } = podAddress(numberOf(pod.spec.nodeName ?? 'node1'), 2)
    const status = {
      phase: 'Running',
      podIP: ipv4,
      podIPs: [{ ip: ipv4 }, { ip: ipv6 }],
      conditions: ['ContainersReady', 'Ready'].map((type) => ({ type, status: ready ? 'True' : 'False' })),
    }
    await kubectl.must(patchStatus('pod', pod.metadata.name, status))
  }
  const whenPodsAreScheduled = (): Promise<boolean> =>
    story.check('the pods are on their nodes', async () => {
      const placed = (await pods()).map((pod) => pod.spec.nodeName).sort()
      return placed.join() === nodeNames.join() ? undefined : `pods are on ${placed.join(', ')}`
    })
  const leader = async (): Promise<NodeName | undefined> => {
    const { stdout } = await kubectl.run(
      'get lease bellhop-controller -n bellhop-system -o jsonpath={.spec.holderIdentity}'.split(' '),
    )
    return nodeNames.find((node) => stdout.includes(node))
  }

  const transitions = (): Promise<string> => {
    const lease = 'get lease bellhop-controller -n bellhop-system -o jsonpath={.spec.leaseTransitions}'
    return kubectl.must(lease.split(' '))
  }
  return {
    ...{ lab, story, controllers, run, kubectlSays, leavesHold, showRoutes, sessionsAreUp, startController },
    ...{ pods, podOn, report, whenPodsAreScheduled, leader, transitions },
    showRun: async (args) => story.show(await run(args)),
    manifest: (name, text) => {
      const file = path.join(lab.directory, `${name}.yaml`)
      writeFileSync(file, text)
      return file
    },
  }
}

function leafHolds(leaf: Receiver, vip: Ip, expected: readonly Ip[]): string | undefined {
  const prefix = hostPrefix(vip)
  const actual = leaf.nextHops(prefix)
  return actual.join() === expected.join() ? undefined : `has ${prefix} via ${actual.join(', ') || 'nothing'}`
}

function renderRoute(leaf: Receiver, vip: Ip): string {
  const prefix = hostPrefix(vip)
  const legs = leaf.nextHops(prefix).map((nextHop) => `via ${nextHop}`)
  return `${prefix}  ${legs.join('  ') || '(no route)'}`
}

// Not --type=merge for pods, whose conditions are several writers'; not the strategic one for nodes, where addresses are merged
// by their type and only one InternalIP would be left.
export const patchStatus = (kind: 'node' | 'pod', name: string, status: unknown): readonly string[] => [
  ...['patch', kind, name, '--subresource=status', `--type=${kind === 'node' ? 'merge' : 'strategic'}`, '-p'],
  JSON.stringify({ status }),
]
