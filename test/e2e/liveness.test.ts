// Nodes that die, and nodes that only seem to: a controller and four agents before a BIRD and a FRR leaf. A node without power is out
// long before its Lease is old; an agent that is updated or killed, and a controller that hears nobody, take nothing from the routers.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { vip4 } from '../../src/lab/demo/stage.ts'
import type { Probe } from '../../src/lab/demo/story.ts'
import { agentPort, controllerPort, type Lab, repositoryFile, startLab } from '../../src/lab/lab.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { Router } from '../../src/lab/routers/router.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { becomes } from './support-replicas.ts'

const programs = ['iptables', 'curl', 'kubectl', ...programsOf('bird'), ...programsOf('frr')]
const timeout = 120_000

/** The Lease of a node counts for 4 s in the lab and is renewed each second: a node that is out by then is out because of BFD. */
const outWithinMs = 3_500
/** Longer than detection time and Lease together, for what is not to happen. */
const unmovedMs = 6_000

interface RouteChange {
  readonly atMs: number
  readonly leaf: string
  readonly line: string
}

describeWith({ netns: true, programs }, 'Liveness of nodes', () => {
  let lab: Lab
  let controller: LabProcess
  const agents = new Map<string, LabProcess>()
  /** What happened to the VIP's route in the leaves' kernels. */
  let changes: RouteChange[] = []
  /** Opinions of the controller, as it logs them. */
  let opinions: string[] = []

  const nodeAt = (index: number): LabNode => {
    const node = lab.topology.nodes[index]
    if (node === undefined) throw new Error(`the lab has no node ${index + 1}`)
    return node
  }

  const isReady =
    (node: LabNode, port: number): Probe =>
    async () => {
      const { status } = await node.namespace.exec(['curl', '-sf', `http://127.0.0.1:${port}/readyz`])
      return status === 0 ? undefined : `port ${port} of ${node.name} is not ready`
    }

  const startAgent = async (node: LabNode): Promise<void> => {
    agents.set(node.name, lab.startAgent(node))
    await becomes(`the agent of ${node.name}`, isReady(node, agentPort))
  }

  const endAgent = async (node: LabNode, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    const agent = agents.get(node.name)
    agent?.kill(signal)
    await agent?.end
  }

  const leavesHold =
    (nodes: readonly LabNode[]): Probe =>
    async () => {
      const wanted = nodes.map(({ address }) => address.ipv4).sort()
      for (const router of lab.routers) {
        const found = [...(await router.kernelNextHops(hostPrefix(vip4)))].sort()
        if (found.join() !== wanted.join()) return `${router.name} forwards to ${found.join(', ') || 'nobody'}`
      }
      return undefined
    }

  /** The controller has said so of the node, as the last word on it. */
  const isSaid =
    (wanted: string, nodes: readonly LabNode[]): Probe =>
    () => {
      for (const { name } of nodes) {
        const last = opinions.findLast((said) => said.startsWith(`${name} `))
        if (last !== `${name} ${wanted}`) return `of ${name} it was last said: ${last ?? 'nothing'}`
      }
      return undefined
    }

  const followRoutes = async ({ name, namespace }: Router): Promise<void> => {
    const monitor = namespace.spawn(['ip', 'monitor', 'route'])
    let isFollowing = false
    monitor.onLine((line) => {
      isFollowing ||= line.includes('192.0.2.1')
      changes.push({ atMs: performance.now(), leaf: name, line })
    })
    await monitor.waitUntil(
      async () => {
        await namespace.ip(['route replace blackhole 192.0.2.1/32', 'route del blackhole 192.0.2.1/32'])
        return isFollowing
      },
      { what: `the monitor of ${name}` },
    )
  }

  /** What the leaves did with the VIP's route; a route of several next hops is told on several lines, the VIP on the first. */
  const changesOfVip = (): readonly RouteChange[] => changes.filter(({ line }) => line.includes(`${vip4} `))

  const passes = (ms: number): Promise<void> => new Promise((resolve) => void systemClock.setTimer(ms, resolve))

  beforeAll(async () => {
    const leaves = ['bird', 'frr'] as const
    lab = await startLab({ prefix: 'living', leaves, nodes: 4, clock: systemClock, log: silentLog })
    await lab.mustKubectl(['apply', '-f', repositoryFile('deploy/base/namespace.yaml')])
    await lab.mustKubectl(['apply', '-k', repositoryFile('crds')])
    for (const manifest of ['bgp', 'whoami'])
      await lab.mustKubectl(['apply', '-f', repositoryFile(`src/lab/demo/manifests/${manifest}.yaml`)])
    await lab.mustKubectl(['scale', 'deployment', 'whoami', '--replicas=4'])
    controller = lab.startController(nodeAt(0))
    controller.onLine((line) => {
      if (!line.includes('"node-liveness"')) return
      const { node, to } = JSON.parse(line) as { readonly node: string; readonly to: string }
      opinions.push(`${node} ${to}`)
    })
    await Promise.all(lab.topology.nodes.map(startAgent))
    await becomes('the controller', isReady(nodeAt(0), controllerPort))
    await Promise.all(lab.routers.map(followRoutes))
  }, timeout)
  afterAll(() => lab?.destroy())

  beforeEach(async () => {
    const nodes = lab.topology.nodes
    await becomes('all next hops', leavesHold(nodes))
    await becomes('all sessions', isSaid('up', nodes.slice(1)))
    changes = []
    opinions = nodes.slice(1).map(({ name }) => `${name} up`)
  }, timeout)

  test('the agent of a node ends for an update, and starts again: nothing is withdrawn', { timeout }, async () => {
    const node = nodeAt(2)
    await endAgent(node, 'SIGTERM')
    await becomes('no opinion', isSaid('unknown', [node]))
    await passes(unmovedMs)
    await startAgent(node)
    await becomes('its session', isSaid('up', [node]))
    expect(opinions.filter((said) => said.endsWith(' down'))).toEqual([])
    expect(changesOfVip()).toEqual([])
  })

  test('the agent of a node is killed, and stays away: nothing is withdrawn', { timeout }, async () => {
    const node = nodeAt(2)
    await endAgent(node, 'SIGKILL')
    await becomes('no opinion', isSaid('unknown', [node]))
    await passes(unmovedMs)
    await startAgent(node)
    await becomes('its session', isSaid('up', [node]))
    expect(opinions.filter((said) => said.endsWith(' down'))).toEqual([])
    expect(changesOfVip()).toEqual([])
  })

  test('the controller is cut off from all nodes: nothing is withdrawn', { timeout }, async () => {
    const { namespace } = nodeAt(0)
    const others = lab.topology.nodes.slice(1)
    const rules = others.flatMap(({ address: { ipv4 } }) => [
      ['INPUT', '-s', ipv4, '-j', 'DROP'],
      ['OUTPUT', '-d', ipv4, '-j', 'DROP'],
    ])
    for (const rule of rules) await namespace.run(['iptables', '-I', ...rule])
    await becomes('no opinion', isSaid('unknown', others))
    await passes(unmovedMs)
    for (const rule of rules) await namespace.run(['iptables', '-D', ...rule])
    await becomes('the sessions', isSaid('up', others))
    expect(opinions.filter((said) => said.endsWith(' down'))).toEqual([])
    expect(changesOfVip()).toEqual([])
  })

  test('a node loses its power: both leaves forward to the others, sooner than its Lease can tell', {
    timeout,
  }, async () => {
    const node = nodeAt(3)
    const rest = lab.topology.nodes.filter((other) => other !== node)
    const offMs = performance.now()
    // In this order: an agent that is gone while its kernel still answers is no power cut.
    await lab.cutOff(node)
    await endAgent(node, 'SIGKILL')
    const cutMs = performance.now() - offMs
    await becomes('the others', leavesHold(rest))
    await becomes('the controller to have said so', isSaid('down', [node]))
    for (const { name } of lab.routers) {
      const first = changesOfVip().find(({ leaf }) => leaf === name)
      const tookMs = Math.round((first?.atMs ?? Number.POSITIVE_INFINITY) - offMs)
      console.log(
        `${name}: ${tookMs} ms from power-off to the kernel's route (pulling cables took ${Math.round(cutMs)} ms)`,
      )
      expect(tookMs).toBeLessThan(outWithinMs)
    }
    await lab.reconnect(node)
    await startAgent(node)
    await becomes('all next hops', leavesHold(lab.topology.nodes))
    await becomes('its session', isSaid('up', [node]))
  })
})
