// Nodes that speak BGP for themselves, to routers that take one path a VIP: a FRR leaf has a session with each of three nodes, with
// MD5, GTSM, BFD and graceful restart; the other leaf has one, with BFD, with the controller that shares a host with the first of them. What
// the leaves' kernels forward by is what counts.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { vip4, vip6 } from '../../src/lab/demo/stage.ts'
import type { Probe } from '../../src/lab/demo/story.ts'
import { agentPort, controllerPort, type Lab, startLab } from '../../src/lab/lab.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { Router } from '../../src/lab/routers/router.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { labCluster } from './support-named-cluster.ts'
import { becomes } from './support-replicas.ts'
import { grantedRights, type RecordedRights, recordRights, refusalsIn } from './support-rights.ts'

const programs = ['iptables', 'curl', 'kubectl', ...programsOf('frr')]
const timeout = 120_000

/** A silent neighbour is gone after 9 s without BFD, and after 1.5 s with it: the rest is what a loaded machine may add. */
const bfdWithinMs = 6_000

interface Session {
  readonly speaker: string
  readonly state: string
  readonly announced?: number
  readonly bfd?: string
}

interface Condition {
  readonly type: string
  readonly status: string
  readonly message: string
}

describeWith({ netns: true, programs }, 'Nodes that speak for themselves', () => {
  let lab: Lab
  const agents = new Map<string, LabProcess>()
  let rights: RecordedRights | undefined

  const nodeAt = (index: number): LabNode => {
    const node = lab.topology.nodes[index]
    if (node === undefined) throw new Error(`the lab has no node ${index + 1}`)
    return node
  }
  const isReady =
    (node: LabNode, port: number): Probe =>
    async () => {
      const { stdout } = await node.namespace.exec(['curl', '-s', `http://127.0.0.1:${port}/readyz`])
      return stdout.startsWith('ok') ? undefined : `port ${port} of ${node.name} says: ${stdout.trim()}`
    }
  const startAgent = async (node: LabNode): Promise<void> => {
    agents.set(node.name, lab.startAgent(node))
    await becomes(`the agent of ${node.name}`, isReady(node, agentPort))
  }
  /** The leaf forwards both VIPs to these nodes and no others. */
  const forwards =
    (router: Router, nodes: readonly LabNode[]): Probe =>
    async () => {
      for (const [vip, family] of [[vip4, 'ipv4'] as const, [vip6, 'ipv6'] as const]) {
        const wanted = nodes.map(({ address }) => address[family]).sort()
        const found = [...(await router.kernelNextHops(hostPrefix(vip)))].sort()
        if (found.join() !== wanted.join()) return `${router.name} forwards ${vip} to ${found.join(', ') || 'nobody'}`
      }
      return undefined
    }
  const get = async (what: string): Promise<Readonly<Record<string, unknown>>> =>
    JSON.parse(await lab.mustKubectl(['get', ...what.split(' '), '-o', 'json']))
  const statusOf = async (what: string): Promise<Readonly<Record<string, unknown>>> =>
    (await get(what))['status'] as Readonly<Record<string, unknown>>
  const sessionsOf = async (peer: string): Promise<readonly Session[]> =>
    ((await statusOf(`bgppeer ${peer}`))['sessions'] ?? []) as readonly Session[]
  const summary =
    (peer: string, wanted: string): Probe =>
    async () => {
      const { sessionsSummary, state, message } = await statusOf(`bgppeer ${peer}`)
      return sessionsSummary === wanted && state === 'Established'
        ? undefined
        : `BgpPeer ${peer}: ${sessionsSummary} ${state} ${message}`
    }
  const conditionOf = async (peer: string, type: string): Promise<Condition | undefined> =>
    ((await statusOf(`bgppeer ${peer}`))['conditions'] as readonly Condition[]).find((each) => each.type === type)
  const isWatched =
    (peer: string): Probe =>
    async () => {
      const states = (await sessionsOf(peer)).map(({ bfd }) => bfd)
      const condition = await conditionOf(peer, 'PathWatched')
      return states.every((state) => state === 'Up') && condition?.status === 'True'
        ? undefined
        : `${states.join()} ${condition?.message}`
    }
  const all =
    (...probes: readonly Probe[]): Probe =>
    async () => {
      for (const probe of probes) {
        const wrong = await probe()
        if (wrong !== undefined) return wrong
      }
      return undefined
    }
  const patchPeer = (name: string, spec: Readonly<Record<string, unknown>>): Promise<string> =>
    lab.mustKubectl(['patch', 'bgppeer', name, '--type=merge', '-p', JSON.stringify({ spec })])

  beforeAll(async () => {
    const neighbor = { addPath: false, bfd: true, password: 'between-racks', ttlSecurityHops: 1 }
    const place = { leaves: ['frr', 'frr'] as const, neighbor, ...(await labCluster()) }
    lab = await startLab({ prefix: 'nodebgp', ...place, clock: systemClock, log: silentLog })
    rights = lab.api && recordRights(lab.api, 'agent')
    await lab.install({ nodeSpeakers: true })
    const secret = ['create', 'secret', 'generic', 'bgp-node-peers', '-n', 'bellhop-system']
    await lab.mustKubectl([...secret, `--from-literal=password=${neighbor.password}`])
    for (const manifest of ['bgp', 'whoami'] as const) await lab.mustKubectl(['apply', '-f', lab.manifest(manifest)])
    const passwordSecretRef = { name: 'bgp-node-peers' }
    // The router notices silence after 1.5 s: a machine that is busy with other tests is silent for 0.3 s.
    const bfd = { transmitMs: 300, receiveMs: 500, multiplier: 5 }
    const gracefulRestart = { enabled: true, restartSeconds: 60 }
    const guarded = { passwordSecretRef, bfd, ttlSecurity: { hops: neighbor.ttlSecurityHops } }
    await patchPeer('leaf1', { speaker: 'node', ...guarded, gracefulRestart })
    await patchPeer('leaf2', guarded)
    lab.startController(nodeAt(0))
    await Promise.all(lab.topology.nodes.map(startAgent))
    await becomes('the controller', isReady(nodeAt(0), controllerPort))
  }, timeout)
  afterAll(() => lab?.destroy())

  test('every node its own session: ECMP in the kernel of a router without ADD-PATH, beside one that speaks with a controller', {
    timeout,
  }, async () => {
    const { nodes, client } = lab.topology
    const [leaf1, leaf2] = lab.routers
    await becomes('all next hops', forwards(leaf1, nodes))
    await becomes('the statuses', all(summary('leaf1', '3/3'), summary('leaf2', '1/1')))
    const sessions = await sessionsOf('leaf1')
    expect(sessions.map(({ speaker, state }) => `${speaker} ${state}`).sort()).toEqual(
      nodes.map(({ name }) => `${name} Established`),
    )
    // The controller has one path a VIP for a router like this: the same router would have one leg.
    expect((await leaf2.kernelNextHops(hostPrefix(vip4))).length).toBe(1)
    await becomes('the Vip', async () => {
      const { announcedTo } = await statusOf(`vip ${vip4}`)
      const told = [...((announcedTo ?? []) as readonly string[])].sort().join()
      return told === 'leaf1,leaf2' ? undefined : `told: ${told}`
    })
    // The controller and the agent of the first node, too, which share UDP port 3784.
    for (const peer of ['leaf1', 'leaf2']) await becomes(`BFD of ${peer}`, isWatched(peer))
    const { failed, byNode } = await client.request(vip4, { count: 60 })
    expect(failed).toBe(0)
    expect([...byNode.keys()].sort()).toEqual(nodes.map(({ name }) => name))
  })

  test('a router that the controller is to speak with, too, stays with the node, and the BgpPeer says why', {
    timeout,
  }, async () => {
    const { spec } = await get('bgppeer leaf1')
    const twin = {
      ...{ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPeer', metadata: { name: 'leaf1-again' } },
      spec: { ...(spec as Readonly<Record<string, unknown>>), speaker: 'controller', nodeSelector: undefined },
    }
    await lab.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(twin) })
    await becomes('the reason', async () => {
      const message = (await conditionOf('leaf1-again', 'Established'))?.message
      return message?.includes('another program of this host has the session with') ? undefined : message
    })
    await becomes('the statuses', all(summary('leaf1', '3/3'), isWatched('leaf1')))
    await lab.mustKubectl(['delete', 'bgppeer', 'leaf1-again'])
    await becomes('all next hops', forwards(lab.routers[0], lab.topology.nodes))
  })

  test('a node without an endpoint is no leg, and keeps its session', { timeout }, async () => {
    const [leaf1] = lab.routers
    await lab.mustKubectl(['scale', 'deployment', 'whoami', '--replicas=2'])
    const hosts = async (): Promise<readonly LabNode[]> => {
      const { items } = await get('pods -l app=whoami')
      const pods = items as readonly {
        readonly metadata: { readonly deletionTimestamp?: string }
        readonly spec: { readonly nodeName?: string }
      }[]
      const names = pods
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .map(({ spec }) => spec.nodeName)
      return lab.topology.nodes.filter(({ name }) => names.includes(name))
    }
    await becomes('two legs', async () => {
      const left = await hosts()
      return left.length === 2 ? forwards(leaf1, left)() : `${left.length} nodes have pods`
    })
    await becomes('the statuses', summary('leaf1', '3/3'))
    await lab.mustKubectl(['scale', 'deployment', 'whoami', '--replicas=3'])
    await becomes('three legs', forwards(leaf1, lab.topology.nodes))
  })

  test('an agent that hangs is a leg less within BFD’s time, graceful restart or not, and a leg again when it is started anew', {
    timeout,
  }, async () => {
    const [leaf1] = lab.routers
    const node = nodeAt(2)
    const rest = [nodeAt(0), nodeAt(1)]
    const agent = agents.get(node.name)
    const sinceMs = performance.now()
    agent?.kill('SIGSTOP')
    await becomes('the others', forwards(leaf1, rest))
    expect(performance.now() - sinceMs).toBeLessThan(bfdWithinMs)
    agent?.kill('SIGKILL')
    await agent?.end
    await startAgent(node)
    await becomes('all next hops', forwards(leaf1, lab.topology.nodes))
  })

  test('an agent that is updated costs no leg where the session restarts gracefully', { timeout }, async () => {
    const [leaf1] = lab.routers
    const node = nodeAt(1)
    await becomes('sessions that restart gracefully', async () => {
      const sessions = (await sessionsOf('leaf1')) as readonly (Session & { readonly gracefulRestart?: boolean })[]
      return sessions.every((s) => s.state === 'Established' && s.gracefulRestart)
        ? undefined
        : JSON.stringify(sessions)
    })
    await becomes('all next hops', forwards(leaf1, lab.topology.nodes))
    const monitor = leaf1.namespace.spawn(['ip', 'monitor', 'route'])
    const seen: string[] = []
    monitor.onLine((line) => void seen.push(line))
    // It has begun once it has seen a route of ours.
    await monitor.waitUntil(
      async () => {
        await leaf1.namespace.ip(['route replace blackhole 192.0.2.1/32', 'route del blackhole 192.0.2.1/32'])
        return seen.some((line) => line.includes('192.0.2.1'))
      },
      { what: 'the monitor' },
    )
    agents.get(node.name)?.kill('SIGTERM')
    await agents.get(node.name)?.end
    await startAgent(node)
    await becomes('its session', async () => {
      const sessions = await leaf1.sessions()
      return sessions.every(({ established }) => established) ? undefined : JSON.stringify(sessions)
    })
    await becomes('all next hops', forwards(leaf1, lab.topology.nodes))
    expect(seen.filter((line) => [vip4, vip6].some((vip) => line.includes(`${vip} `)))).toEqual([])
    await monitor.stop()
  })

  test('annotations of a node change its session alone; what makes no sense changes nothing, and is said', {
    timeout,
  }, async () => {
    const [first, second] = [nodeAt(0), nodeAt(1)]
    const annotate = (annotation: string): Promise<string> =>
      lab.mustKubectl(['annotate', 'node', second.name, '--overwrite', `bellhop.io/${annotation}`])
    const says =
      (words: string): Probe =>
      async () => {
        const sessions = (await sessionsOf('leaf1')) as readonly (Session & { readonly lastError?: string })[]
        const own = sessions.find(({ speaker }) => speaker === second.name)
        return own?.lastError?.includes(words) ? undefined : JSON.stringify(own)
      }
    const sinceOf = async (node: LabNode): Promise<string | undefined> =>
      ((await sessionsOf('leaf1')) as readonly (Session & { readonly since?: string })[]).find(
        ({ speaker }) => speaker === node.name,
      )?.since
    await becomes('the statuses', summary('leaf1', '3/3'))
    const since = [await sinceOf(first), await sinceOf(second)]

    await annotate('bgp-asn=many')
    await becomes('the nonsense is said', says('annotation bellhop.io/bgp-asn is "many"'))
    expect([await sinceOf(first), await sinceOf(second)]).toEqual(since)
    await annotate('bgp-asn-')

    await annotate('bgp-source-address=192.0.2.55')
    await becomes('the missing address', says('source address 192.0.2.55 is not on this host'))
    await annotate('bgp-source-address-')
    await becomes('the statuses', summary('leaf1', '3/3'))

    // Another AS number than the router expects of its neighbours.
    await annotate('bgp-asn=64999')
    await becomes('the refusal', says('bad peer AS'))
    await annotate('bgp-asn-')
    await becomes('the statuses', all(summary('leaf1', '3/3'), isWatched('leaf1')))
    await becomes('all next hops', forwards(lab.routers[0], lab.topology.nodes))
    expect(await sinceOf(first)).toBe(since[0])
  })

  test('each rack its own router: labels of the nodes decide', { timeout }, async () => {
    const [leaf1, leaf2] = lab.routers
    const [first, second, third] = [nodeAt(0), nodeAt(1), nodeAt(2)]
    await lab.mustKubectl(['delete', 'bgppeer', 'leaf2'])
    for (const [node, rack] of [
      [first, 'a'],
      [second, 'a'],
      [third, 'b'],
    ] as const)
      await lab.mustKubectl(['label', 'node', node.name, `rack=${rack}`])
    const { items } = await get('bgppeers')
    const [leaf] = items as readonly { readonly spec: Readonly<Record<string, unknown>> }[]
    const rackB = {
      ...{ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPeer', metadata: { name: 'rack-b' } },
      spec: { ...leaf?.spec, address: '10.0.0.2', asn: 64514, nodeSelector: { matchLabels: { rack: 'b' } } },
    }
    await lab.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(rackB) })
    await patchPeer('leaf1', { nodeSelector: { matchLabels: { rack: 'a' } } })
    await becomes('rack a', all(forwards(leaf1, [first, second]), summary('leaf1', '2/2')))
    await becomes('rack b', all(forwards(leaf2, [third]), summary('rack-b', '1/1')))
    expect((await sessionsOf('leaf1')).map(({ speaker }) => speaker).sort()).toEqual([first.name, second.name])
    expect((await sessionsOf('rack-b')).map(({ speaker }) => speaker)).toEqual([third.name])
  })

  test('no agent was refused anything, and every right that deploy/node-speakers adds was used', () => {
    for (const agent of agents.values()) expect(refusalsIn(agent.output())).toEqual([])
    if (rights === undefined) return
    const added = grantedRights('deploy/node-speakers/rbac.yaml')
    const granted = [...added, ...grantedRights('deploy/base/agent-rbac.yaml')]
    const asked = rights.asked()
    expect(asked.filter((right) => !granted.includes(right))).toEqual([])
    expect(added.filter((right) => !asked.includes(right))).toEqual([])
  })
})
