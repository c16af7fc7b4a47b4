// What one change costs the planner and the allocator at 10,000 VIPs on 1,000 nodes: run with `node bench/plan.bench.ts`.
// Wall-clock percentiles in milliseconds over many changes; nothing here is a test. What is done in slices is measured as a whole, and
// by how long at most it holds the thread.

import type { ClusterChanges, ClusterView, EndpointSlice, Kind, Service, Vip } from '../src/k8s/objects.ts'
import { namespacedName } from '../src/k8s/objects.ts'
import { type Ip, ipFromBigInt } from '../src/net/ip.ts'
import { createPlanner } from '../src/plan/plan.ts'
import type { PlanContext } from '../src/plan/types.ts'
import { createTurns, runInSlices } from '../src/runtime/slices.ts'
import { systemClock } from '../src/runtime/system-clock.ts'
import { allocate, allocating } from '../src/vip/allocate.ts'
import { allocatedCondition } from '../src/vip/conditions.ts'
import { loadBalancerFinalizer } from '../src/vip/service-class.ts'
import { conf, endpoint, node, peer, pool, service, slice, view, vip } from '../test/vip/cluster.ts'

const vipCount = 10_000
const nodeCount = 1_000
const endpointsEach = 10

const context: PlanContext = {
  serviceClass: { name: 'bellhop.io/bgp', handleDefault: true },
  nodeLiveness: new Map(),
}

const addressOf = (i: number): Ip => ipFromBigInt('IPv4', 0xcb00_0000n + BigInt(i))
const nodeName = (i: number): string => `node-${i % nodeCount}`
const sliceOf = (i: number, terminating: boolean): EndpointSlice =>
  slice(
    `default/svc-${i}`,
    Array.from({ length: endpointsEach }, (_, k) =>
      endpoint(nodeName(i * 7 + k), { ready: !(terminating && k === 0) }),
    ),
  )

function bigCluster(): ClusterView {
  const services: Service[] = []
  const vips: Vip[] = []
  const slices: EndpointSlice[] = []
  for (let i = 0; i < vipCount; i++) {
    const address = addressOf(i)
    const of = service(`default/svc-${i}`, {
      ingress: [address],
      meta: { finalizers: [loadBalancerFinalizer] },
      conditions: [
        { type: allocatedCondition, status: 'True', reason: 'Allocated', message: `${address} from pool default` },
      ],
    })
    services.push(of)
    vips.push(vip(address, [of]))
    slices.push(sliceOf(i, false))
  }
  return view({
    services,
    vips,
    slices,
    nodes: Array.from({ length: nodeCount }, (_, i) => node(nodeName(i), [`10.0.${i >> 8}.${i & 255}`])),
    pools: [pool('default', ['203.0.0.0/18'])],
    peers: [peer('leaf1', '10.1.0.1'), peer('leaf2', '10.1.0.2')],
    confs: [conf()],
  })
}

const changesOf = (kind: Kind, key: string): ClusterChanges => new Map([[kind, new Set([key])]])

function measure(name: string, times: number, run: (i: number) => void): void {
  const spent: number[] = []
  for (let i = 0; i < times; i++) {
    const start = performance.now()
    run(i)
    spent.push(performance.now() - start)
  }
  spent.sort((a, b) => a - b)
  const at = (share: number): string => (spent[Math.min(times - 1, Math.floor(times * share))] ?? 0).toFixed(3)
  console.log(`${name.padEnd(52)} p50 ${at(0.5).padStart(9)}  p99 ${at(0.99).padStart(9)}  max ${at(1).padStart(9)} ms`)
}

const options = { clock: systemClock, signal: new AbortController().signal }

/** How long the work takes, and how long at most others wait for the thread meanwhile. */
async function measureSlices(name: string, times: number, run: () => Promise<unknown>): Promise<void> {
  const held: number[] = []
  const begunMs = performance.now()
  for (let i = 0; i < times; i++) {
    let longest = 0
    let atMs = performance.now()
    let isOver = false
    const turn = (): void => {
      const nowMs = performance.now()
      longest = Math.max(longest, nowMs - atMs)
      atMs = nowMs
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    await run()
    isOver = true
    turn()
    held.push(longest)
  }
  held.sort((a, b) => a - b)
  const whole = (performance.now() - begunMs) / times
  const median = held[times >> 1] ?? 0
  console.log(
    `${name.padEnd(52)} mean ${whole.toFixed(0).padStart(4)} ms, holding the thread for at most ${median.toFixed(1)} ms (${held.at(-1)?.toFixed(1)} in the worst of ${times})`,
  )
}

const cluster = bigCluster()
const slices = new Map(cluster.endpointSlices)
const nodes = new Map(cluster.nodes)
const live: ClusterView = { ...cluster, endpointSlices: slices, nodes }

measure('whole plan, from nothing', 5, () => void createPlanner().plan(live, undefined, context))
await measureSlices('whole plan, from nothing, in slices', 5, () => {
  const fresh = createPlanner()
  const turns = createTurns(function* () {
    yield* fresh.planning(live, undefined, context)
  }, options)
  turns.pull()
  return turns.settled()
})
const planner = createPlanner()
planner.plan(live, undefined, context)
measure('one endpoint becomes unready, or ready again', 2_000, (i) => {
  const key = namespacedName('default', `svc-${(i * 31) % vipCount}`)
  slices.set(key, [sliceOf((i * 31) % vipCount, i % 2 === 0)])
  const step = planner.plan(live, changesOf('EndpointSlice', key), context)
  if (i % 2 === 0 && step.tableChanges.length !== 1) throw new Error('the change was lost')
})
measure('a heartbeat of one node', 2_000, (i) => {
  const name = nodeName(i)
  const known = nodes.get(name)
  if (known !== undefined) nodes.set(name, { ...known, meta: { ...known.meta, resourceVersion: `${i}` } })
  planner.plan(live, changesOf('Node', name), context)
})
measure('a node becomes NotReady, or Ready again', 200, (i) => {
  const name = nodeName(i >> 1)
  const known = nodes.get(name)
  if (known !== undefined) nodes.set(name, { ...known, ready: i % 2 === 1 })
  planner.plan(live, changesOf('Node', name), context)
})
measure('allocation pass, nothing to do', 20, () => {
  const { work } = allocate({ view: live, serviceClass: context.serviceClass, withdrawn: () => false, nowMs: 0 })
  if (work.length !== 0) throw new Error(`there is work: ${JSON.stringify(work[0])}`)
})
const unserved = view({
  services: [...cluster.services.values()].map((of) => ({ ...of, ingress: [], conditions: [] })),
  pools: [pool('default', ['203.0.0.0/18'])],
})
measure(`allocation pass, ${vipCount} Services at once`, 5, () => {
  const { work } = allocate({ view: unserved, serviceClass: context.serviceClass, withdrawn: () => true, nowMs: 0 })
  if (work.length !== vipCount) throw new Error('somebody was left out')
})
const input = { view: live, serviceClass: context.serviceClass, withdrawn: () => false, nowMs: 0 }
await measureSlices('allocation pass, nothing to do, in slices', 5, () => runInSlices(allocating(input), options))
await measureSlices(`allocation pass, ${vipCount} Services at once, in slices`, 5, () =>
  runInSlices(allocating({ ...input, view: unserved, withdrawn: () => true }), options),
)
