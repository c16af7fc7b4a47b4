// Nodes that die, and nodes that only seem to: a controller and four agents before a BIRD and a FRR leaf. A node without power is out
// long before its Lease is old; an agent that is updated or killed, and a controller that hears nobody, take nothing from the routers.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { vip4 } from '../../src/lab/demo/stage.ts'
import type { Probe } from '../../src/lab/demo/story.ts'
import { agentPort, controllerPort, type Lab, startLab } from '../../src/lab/lab.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { Router } from '../../src/lab/routers/router.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { livenessDetectionMs } from '../../src/liveness/watched-sessions.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { labCluster } from './support-named-cluster.ts'
import { becomes } from './support-replicas.ts'

const programs = ['iptables', 'curl', 'kubectl', 'tcpdump', ...programsOf('bird'), ...programsOf('frr')]
const timeout = 120_000

/** The Lease of a node counts for 4 s in the lab and is renewed each second: a node that is out by then is out because of BFD. */
const outWithinMs = 3_500
/** Longer than detection time and Lease together, for what is not to happen. */
const unmovedMs = 6_000

const noSecret = "there is no Secret bellhop-liveness in Bellhop's namespace: what nodes say is believed as it is"
const secretVanished = 'the Secret bellhop-liveness is gone: its keys are used until this process ends'

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

  const giveKeys = (keys: Readonly<Record<string, string>>): Promise<string> =>
    lab.mustKubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        ...{ apiVersion: 'v1', kind: 'Secret' },
        metadata: { name: 'bellhop-liveness', namespace: 'bellhop-system' },
        data: Object.fromEntries(Object.entries(keys).map(([id, key]) => [id, Buffer.from(key).toString('base64')])),
      }),
    })

  /** The condition of the BgpConf, in its words. */
  const isAuthenticated =
    (wanted: string): Probe =>
    async () => {
      const path = 'jsonpath={.status.conditions[?(@.type=="LivenessAuthenticated")].message}'
      const said = await lab.mustKubectl(['get', 'bgpconf', 'default', '-o', path])
      return said === wanted ? undefined : `it says: ${said}`
    }

  /** A metric of the controller, as its own /metrics says; 0 when it is not there. */
  const metric = async (name: string): Promise<number> => {
    const text = await nodeAt(0).namespace.run(['curl', '-sf', `http://127.0.0.1:${controllerPort}/metrics`])
    const line = text.split('\n').find((each) => each.startsWith(`${name} `))
    return Number(line?.split(' ')[1] ?? 0)
  }

  const nothingFell = (): void => {
    expect(opinions.filter((said) => !said.endsWith(' up'))).toEqual([])
    expect(changesOfVip()).toEqual([])
  }

  beforeAll(async () => {
    const leaves = ['bird', 'frr'] as const
    const cluster = await labCluster()
    lab = await startLab({ prefix: 'living', leaves, nodes: 4, ...cluster, clock: systemClock, log: silentLog })
    await lab.install()
    for (const manifest of ['bgp', 'whoami'] as const) await lab.mustKubectl(['apply', '-f', lab.manifest(manifest)])
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

  test('keys come, are added, replaced and lost, and no node falls', { timeout }, async () => {
    const signed = async (): Promise<string | undefined> => {
      const count = await metric('bellhop_liveness_authenticated_sessions')
      return count === 3 ? undefined : `${count} sessions are authenticated`
    }
    await becomes('no key', isAuthenticated(noSecret))
    await giveKeys({ 1: 'the first secret' })
    await becomes('the first key', isAuthenticated('by key 1'))
    await becomes('signed packets', signed)
    await giveKeys({ 1: 'the first secret', 2: 'the second secret' })
    await becomes('both keys', isAuthenticated('by key 2, 1'))
    await giveKeys({ 3: 'the third secret' })
    await becomes('the third key', isAuthenticated('by key 3'))
    await lab.mustKubectl(['delete', 'secret', 'bellhop-liveness', '-n', 'bellhop-system'])
    await becomes('the loss', isAuthenticated(secretVanished))
    await giveKeys({ 3: 'another third secret' })
    await becomes('the last key', isAuthenticated('by key 3'))
    // As long as it takes to miss three packets, should nobody believe anybody any more.
    await passes(2 * livenessDetectionMs)
    await becomes('signed packets', signed)
    nothingFell()
  })

  test('packets that another node forges change nothing', { timeout }, async () => {
    const [watcher, victim, forger] = [nodeAt(0), nodeAt(2), nodeAt(3)]
    // As somebody who sees the wire: the discriminators, the sequence number, everything but the key.
    const filter = `udp and dst port 7474 and src host ${victim.address.ipv4}`
    const dump = await watcher.namespace.run(['tcpdump', '-n', '-p', '-l', '-x', '-c', '1', '-i', 'any', filter])
    const octets = dump.replace(/^\s+0x[0-9a-f]+:|^\S.*$/gm, '').replace(/\s/g, '')
    const seen = Buffer.from(octets.slice(2 * (20 + 8)), 'hex')
    expect(seen).toHaveLength(52)
    const down = Buffer.from(seen).fill(0x44, 1, 2)
    const plain = Buffer.from(seen.subarray(0, 24))
    plain[1] = 0x40
    plain[3] = 24
    const forged = [seen, down, plain].map((bytes) => bytes.toString('hex'))
    const send = `const socket = require('node:dgram').createSocket('udp4')
      socket.bind(0, () => {
        socket.setTTL(255)
        const packets = ${JSON.stringify(forged)}
        for (const hex of packets) socket.send(Buffer.from(hex, 'hex'), 7474, '${watcher.address.ipv4}')
        setTimeout(() => socket.close(), 100)
      })`
    const drops = async (): Promise<readonly number[]> =>
      Promise.all(
        ['replayed', 'wrong-key', 'not-authenticated'].map((reason) =>
          metric(`bellhop_liveness_packets_dropped_total{reason="${reason}"}`),
        ),
      )
    const before = await drops()
    await forger.namespace.run([process.execPath, '-e', send])
    await becomes('them to be refused', async () => {
      const after = await drops()
      const refused = after.map((count, i) => count - (before[i] ?? 0))
      return refused.every((count) => count > 0) ? undefined : `refused: ${refused.join()}`
    })
    nothingFell()
  })

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

  test('the agent of a node is killed, and stays away: nothing is withdrawn, until the node is off, too', {
    timeout,
  }, async () => {
    const node = nodeAt(2)
    await endAgent(node, 'SIGKILL')
    await becomes('no opinion', isSaid('unknown', [node]))
    await passes(unmovedMs)
    expect(opinions.filter((said) => said.endsWith(' down'))).toEqual([])
    expect(changesOfVip()).toEqual([])
    await lab.cutOff(node)
    await becomes('its death', isSaid('down', [node]))
    await becomes('the others', leavesHold(lab.topology.nodes.filter((other) => other !== node)))
    await lab.reconnect(node)
    await startAgent(node)
    await becomes('all next hops', leavesHold(lab.topology.nodes))
    await becomes('its session', isSaid('up', [node]))
  })

  test('the controller is cut off from all nodes: nothing is withdrawn', { timeout }, async () => {
    const { namespace } = nodeAt(0)
    const others = lab.topology.nodes.slice(1)
    // All rules at one moment: on a busy machine one after the other would be nodes that fall one after the other. And where packets
    // arrive: a kernel that refuses to send says so, and nobody has to doubt then who is cut off.
    const cut = (verb: '-A' | '-D'): Promise<string> => {
      const rules = others.map(({ address: { ipv4 } }) => `${verb} INPUT -s ${ipv4} -j DROP`)
      return namespace.run(['iptables-restore', '-w', '-n'], { input: ['*filter', ...rules, 'COMMIT', ''].join('\n') })
    }
    await cut('-A')
    await becomes('no opinion', isSaid('unknown', others))
    await passes(unmovedMs)
    await cut('-D')
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
