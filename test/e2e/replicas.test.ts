// A control plane that survives its own death: three replicas before a BIRD and a FRR leaf, and every way in which one, or two, or
// all in turn can go. Routers forward by the right nodes throughout, or again within a detection time; users read the truth.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { nothingFails, vip4 } from '../../src/lab/demo/stage.ts'
import type { Probe } from '../../src/lab/demo/story.ts'
import { controllerPort } from '../../src/lab/lab.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { RunningLoad } from '../../src/lab/topology/load.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { parseIp } from '../../src/net/ip.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'
import { describeWith } from '../support/privileges.ts'
import {
  becomes,
  bookkeepingProblems,
  holdTimeMs,
  isLeadersWrite,
  type ReplicaLab,
  replicaName,
  startReplicaLab,
  statusesName,
  toldPaths,
} from './support-replicas.ts'

const programs = ['iptables', 'curl', 'kubectl', ...programsOf('bird'), ...programsOf('frr')]

/** What a busy machine may add to the hold time before a look sees that a leaf has acted on it. */
const busyMs = 10_000
/** What a replica may take from its first path of a VIP to the last. */
const agreeMs = 5_000
/** From a new leader to a status without the old one: they are silent for about as long as it takes to elect. */
const departedMs = 40_000
/** From a mended path to the API server until what was missed is announced: a Lease that is tried each second, and its five. */
const caughtUpMs = 25_000
const timeout = 120_000

describeWith({ netns: true, programs }, 'Three replicas', () => {
  let replicas: ReplicaLab
  const loads: RunningLoad[] = []

  beforeAll(async () => {
    replicas = await startReplicaLab()
  }, timeout)
  afterAll(() => replicas?.destroy())
  beforeEach(() => replicas.watch.reset())
  // Whatever a test that failed left undone: the next one begins with three replicas and three pods that are ready.
  afterEach(async () => {
    for (const load of loads.splice(0)) await load.stop()
    const { stage } = replicas
    for (const node of stage.nodes) if (!stage.controllers.has(node.name)) await stage.startController(node)
    const ready = await stage.readyNodes()
    for (const node of stage.nodes) if (!ready.includes(node)) await setReady(node, true)
  }, timeout)

  const others = (...gone: readonly LabNode[]): readonly LabNode[] =>
    replicas.stage.nodes.filter((node) => !gone.includes(node))

  const leading = async (): Promise<LabNode> => {
    const node = await replicas.leader()
    if (node === undefined) throw new Error('nobody leads')
    return node
  }

  /** Requests on a connection each, and on one connection for all. */
  const startLoads = async (): Promise<void> => {
    const { client } = replicas.lab.topology
    loads.push(
      ...(await Promise.all((['new', 'kept'] as const).map((connections) => client.startLoad(vip4, { connections })))),
    )
  }

  const nothingWasLost = async (): Promise<void> => {
    for (const load of loads.splice(0)) {
      await becomes('requests', nothingFails(load, 20))
      const { requests, errors } = await load.stop()
      expect({ requests, errors }).toEqual({ requests, errors: [] })
    }
  }

  const routersNeverErred = (): void => {
    const { watch } = replicas
    expect(watch.looks()).toBeGreaterThan(3)
    expect(watch.wrong()).toEqual({ ms: 0, what: '' })
    expect(watch.deletions()).toEqual([])
    // A look may fall between two messages.
    expect(watch.disagreement().ms, watch.disagreement().what).toBeLessThan(agreeMs)
    replicasAgreed()
  }

  /** One next hop has one path id, whoever tells it and whenever. */
  const replicasAgreed = (): void => {
    const { watch } = replicas
    expect(watch.pathIdProblems()).toEqual([])
    expect(watch.tellers()).toBe(3)
  }

  /** Whether a leaf, or both, has a session with the replica on this node. */
  const sessions =
    (node: LabNode, wanted: readonly [boolean, boolean]): Probe =>
    async () => {
      const up = await Promise.all(
        replicas.lab.routers.map(async (router) =>
          (await router.sessions()).some(({ peer, established }) => peer === node.address.ipv4 && established),
        ),
      )
      return up.join() === wanted.join() ? undefined : `sessions with ${node.name}: ${up.join()}`
    }

  const createService = (name: string): Promise<string> =>
    replicas.lab.mustKubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name },
        spec: { type: 'LoadBalancer', selector: { app: 'whoami' }, ports: [{ port: 80, targetPort: 8080 }] },
      }),
    })

  const hasAddress =
    (name: string): Probe =>
    async () => {
      const [service] = await replicas.json(`service ${name}`)
      return JSON.stringify(service?.status).includes('"ip"') ? undefined : `Service ${name} has no address`
    }

  const addresses = async (): Promise<readonly string[]> =>
    (await replicas.json('services')).map(
      ({ metadata, status }) => `${metadata.name} ${JSON.stringify(status?.['loadBalancer'])}`,
    )

  const setReady = async (node: LabNode, ready: boolean): Promise<void> => {
    const { lab, stage, watch } = replicas
    const select = `get pods -l app=whoami --field-selector spec.nodeName=${node.name} -o name`
    const pod = (await lab.mustKubectl(select.split(' '))).trim()
    await lab.mustKubectl(['annotate', pod, '--overwrite', `lab.bellhop.io/ready=${ready}`])
    await becomes('the cluster to notice', async () =>
      (await stage.readyNodes()).includes(node) === ready ? undefined : `the pod on ${node.name} is as before`,
    )
    watch.expect(ready ? stage.nodes : others(node))
  }

  const allIsWell = async (): Promise<void> => {
    const { stage } = replicas
    await becomes('all sessions', stage.sessionsAreUp)
    await becomes('all statuses', statusesName(replicas, stage.nodes))
    await becomes('all next hops', stage.leavesHold(stage.nodes))
    expect(await bookkeepingProblems(replicas)).toEqual([])
    const lines = [...stage.controllers.values()].flatMap((controller) => controller.output().split('\n'))
    expect(lines.filter((line) => line.includes('"level":"error"'))).toEqual([])
  }

  test('each owns its own entry in the statuses, and the leader the summary', { timeout }, async () => {
    await allIsWell()
    for (const { metadata } of await replicas.json('bgppeers --show-managed-fields')) {
      const owners = (metadata.managedFields ?? []).map(({ manager, fieldsV1 }) => {
        const speakers = [...JSON.stringify(fieldsV1).matchAll(/speaker\\":\\"([^"\\]+)/g)].map(([, name]) => name)
        return `${manager}: ${speakers.join()}`
      })
      for (const node of replicas.stage.nodes)
        expect(owners).toContain(`bellhop-${replicaName(node)}: ${replicaName(node)}`)
      expect(owners).toContain('bellhop-leader: ')
    }
  })

  test('kill -9 of the leader loses nothing, and another allocates on', { timeout }, async () => {
    const { stage } = replicas
    const killed = await leading()
    await startLoads()
    await replicas.kill(killed, 'SIGKILL')
    await createService('after-kill')
    await becomes('both leaves to notice', sessions(killed, [false, false]))
    const next = await replicas.nextLeader(killed)
    await becomes('an address under the new leader', hasAddress('after-kill'))
    expect(next).not.toBe(killed)
    await becomes('the entries of the dead to go', statusesName(replicas, others(killed)), departedMs)
    expect(await bookkeepingProblems(replicas)).toEqual([])
    await stage.startController(killed)
    await allIsWell()
    await nothingWasLost()
    routersNeverErred()
  })

  test('SIGTERM of the leader loses nothing, and it hands over at once', { timeout }, async () => {
    const { stage } = replicas
    const ended = await leading()
    await startLoads()
    await replicas.kill(ended, 'SIGTERM')
    await createService('after-term')
    await becomes('an address under the new leader', hasAddress('after-term'), 10_000)
    await becomes('the entries of the ended to go', statusesName(replicas, others(ended)), departedMs)
    await stage.startController(ended)
    await allIsWell()
    await nothingWasLost()
    routersNeverErred()
  })

  test('a leader that was stopped in the middle of its work writes nothing after it wakes', { timeout }, async () => {
    const { stage, watch, writes } = replicas
    const [node1, node2, node3] = stage.nodes
    const stopped = await leading()
    const itself = replicaName(stopped)
    const signal = (name: NodeJS.Signals): void => stage.controllers.get(stopped.name)?.kill(name)
    // It has asked for the Vip and never sees the answer: the next step would be the Service.
    let isStopped = false
    writes.once(
      ({ replica, resource, verb }) => replica === itself && resource === 'vips' && verb === 'create',
      () => {
        signal('SIGSTOP')
        isStopped = true
      },
    )
    await createService('half-done')
    await becomes('the leader to be stopped', () => (isStopped ? undefined : 'it has not created the Vip'))
    let before = 0
    try {
      // What it goes on announcing is out of date from now on, until the leaves miss its keepalives.
      await setReady(node2, false)
      await becomes('both leaves to notice', sessions(stopped, [false, false]))
      await becomes('what it announced to be forgotten', stage.leavesHold([node1, node3]))
      expect(watch.wrong().ms).toBeLessThan(holdTimeMs + busyMs)
      await replicas.nextLeader(stopped)
      await becomes('the half-done work to be finished', hasAddress('half-done'))
      await becomes('the entries of the stopped to go', statusesName(replicas, others(stopped)), departedMs)
      watch.reset()
      before = writes.all().length
    } finally {
      signal('SIGCONT')
    }
    await becomes('its sessions', sessions(stopped, [true, true]))
    await becomes('all statuses', statusesName(replicas, stage.nodes))
    await setReady(node2, true)
    await allIsWell()
    const written = writes.all().slice(before)
    expect(written.filter(({ replica }) => replica === itself)).not.toEqual([])
    expect(written.filter((write) => write.replica === itself && isLeadersWrite(write))).toEqual([])
    expect(watch.wrong().ms).toBeLessThan(holdTimeMs + busyMs)
    replicasAgreed()
  })

  test('a leader cut off from the API server announces on while it can ask nobody, then steps back, and catches up', {
    timeout,
  }, async () => {
    const { lab, stage } = replicas
    const [node1, node2, node3] = stage.nodes
    const [leaf1] = lab.routers
    const cutOff = await leading()
    const told = (by: LabNode): Promise<readonly string[]> =>
      toldPaths(lab, leaf1, vip4).then((paths) =>
        paths.filter(({ neighbor }) => neighbor === by.address.ipv4).map(({ nextHop }) => nextHop),
      )
    await startLoads()
    // It asks the other replicas whether they see the cluster; until it can, it announces on.
    const asking = (verb: '-I' | '-D'): Promise<unknown> =>
      cutOff.namespace.exec(`iptables -w ${verb} OUTPUT -o lan0 -p tcp --dport ${controllerPort} -j DROP`.split(' '))
    await asking('-I')
    await cutOff.setManagement('down')
    try {
      await createService('meanwhile')
      await replicas.nextLeader(cutOff)
      await becomes('an address under the new leader', hasAddress('meanwhile'))
      await becomes('the silent one not to be counted', statusesName(replicas, others(cutOff)), departedMs)
      await becomes('its sessions are still there', sessions(cutOff, [true, true]))
      await nothingWasLost()
      routersNeverErred()
      // Nobody takes back in its name what it does not know to be over: that is the price of announcing on.
      await setReady(node2, false)
      for (const node of others(cutOff))
        await becomes(`${node.name} to withdraw`, async () => {
          const nextHops = await told(node)
          return nextHops.includes(node2.address.ipv4) ? `it says ${nextHops.join()}` : undefined
        })
      // What it does not hear for a moment it takes out, and in again: for that it needs no API server. Nor does a busy machine.
      const says = (node: LabNode, { present }: { readonly present: boolean }): Promise<void> =>
        becomes(`${cutOff.name} to announce ${node.name} ${present ? 'on' : 'no more'}`, async () => {
          const nextHops = await told(cutOff)
          return nextHops.includes(node.address.ipv4) === present
            ? undefined
            : `it says ${nextHops.join() || 'nothing'}`
        })
      await says(node2, { present: true })
      const [unheard = node2] = others(cutOff, node2)
      // Where packets arrive: who cannot send knows that it is to blame itself.
      const ends = [
        [cutOff, unheard],
        [unheard, cutOff],
      ] as const
      const silence = (verb: '-I' | '-D'): Promise<unknown> =>
        Promise.all(
          ends.map(([at, from]) =>
            at.namespace.run(`iptables -w ${verb} INPUT -s ${from.address.ipv4} -p udp -j DROP`.split(' ')),
          ),
        )
      await silence('-I')
      try {
        await says(unheard, { present: false })
      } finally {
        await silence('-D')
      }
      await says(unheard, { present: true })
      await asking('-D')
      await becomes('it to step back', sessions(cutOff, [false, false]))
      await becomes('the routers to know better', stage.leavesHold([node1, node3]))
    } finally {
      await asking('-D')
      await cutOff.setManagement('up')
    }
    await becomes('its sessions to come back', sessions(cutOff, [true, true]))
    // Not when TCP tries again on its old connections, which after so long a silence takes as long again.
    await becomes('it catches up', stage.leavesHold([node1, node3]), caughtUpMs)
    await setReady(node2, true)
    await allIsWell()
    const [service] = await replicas.json('service meanwhile')
    const vip = must(parseIp(/"ip":"([^"]+)"/.exec(JSON.stringify(service?.status))?.[1] ?? ''))
    await becomes('all three to announce what came meanwhile', async () => {
      const paths = (await leaf1.routes(hostPrefix(vip))).length
      return paths === 9 ? undefined : `${leaf1.name} has ${paths} paths of ${vip}`
    })
    replicasAgreed()
  })

  test('a replica cut off from one leaf is missing there, and nowhere else', { timeout }, async () => {
    const { stage, watch } = replicas
    const [node1, , node3] = stage.nodes
    const [leaf1] = replicas.lab.topology.leaves
    const leader = await leading()
    const [cutOff = leader] = others(leader)
    const firewall = (verb: '-I' | '-D'): Promise<unknown> =>
      Promise.all(
        ['sport', 'dport'].flatMap((port) => [
          cutOff.namespace.run(
            `iptables -w ${verb} INPUT -s ${leaf1.address.ipv4} -p tcp --${port} 179 -j DROP`.split(' '),
          ),
          cutOff.namespace.run(
            `iptables -w ${verb} OUTPUT -d ${leaf1.address.ipv4} -p tcp --${port} 179 -j DROP`.split(' '),
          ),
        ]),
      )
    await firewall('-I')
    try {
      await setReady(stage.nodes[1], false)
      await becomes('leaf1 to notice', sessions(cutOff, [false, true]))
      await becomes('what it told leaf1 to be forgotten', stage.leavesHold([node1, node3]))
      expect(watch.wrong().ms).toBeLessThan(holdTimeMs + busyMs)
      await becomes('kubectl to say so', async () => {
        const table = await replicas.lab.mustKubectl(['get', 'bgppeers'])
        const right = /leaf1 .* 2\/3 .*bellhop-controller/.test(table) && /leaf2 .*Established +3\/3/.test(table)
        return right ? undefined : table
      })
    } finally {
      await firewall('-D')
    }
    await setReady(stage.nodes[1], true)
    await allIsWell()
    replicasAgreed()
  })

  test('a rolling restart of all three loses nothing', { timeout }, async () => {
    const { stage } = replicas
    await startLoads()
    for (const node of stage.nodes) {
      await replicas.kill(node, 'SIGTERM')
      await stage.startController(node)
      await becomes('all sessions', stage.sessionsAreUp)
    }
    await allIsWell()
    await nothingWasLost()
    routersNeverErred()
  })

  test('a replica that has just started takes over from two that die', { timeout }, async () => {
    const { stage } = replicas
    const leader = await leading()
    const [survivor = leader] = others(leader)
    const dead = others(survivor)
    const before = await addresses()
    await replicas.kill(survivor, 'SIGKILL')
    await stage.startController(survivor)
    await becomes('its sessions', sessions(survivor, [true, true]))
    await Promise.all(dead.map((node) => replicas.kill(node, 'SIGKILL')))
    await replicas.nextLeader(leader)
    expect(await addresses()).toEqual(before)
    await createService('after-both')
    await becomes('an address under the last one', hasAddress('after-both'))
    await becomes('the entries of the dead to go', statusesName(replicas, [survivor]), departedMs)
    for (const node of dead) await stage.startController(node)
    await allIsWell()
    routersNeverErred()
  })

  test('when all three end the routes go, and the next three give everybody the same', { timeout }, async () => {
    const { stage, watch } = replicas
    const before = await addresses()
    await Promise.all(stage.nodes.map((node) => replicas.kill(node, 'SIGTERM')))
    await becomes('no route', stage.leavesHold([]))
    await becomes('the watch to see that', () => (watch.deletions().length >= 4 ? undefined : watch.deletions().join()))
    await Promise.all(stage.nodes.map((node) => stage.startController(node)))
    await allIsWell()
    expect(await addresses()).toEqual(before)
    expect(watch.wrong().ms).toBeGreaterThan(0)
  })
})
