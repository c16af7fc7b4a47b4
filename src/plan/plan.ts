// The plan: from the cluster to everything that should be announced, and the reason for everything that is not. Read this first.
//
// `planFromScratch` is the meaning: survey what is not about one VIP (sessions, policies, the verdict on every node), plan each VIP
// by itself, put their routes into tables. `createPlanner` computes the same, remembering each VIP's plan and what it was made from,
// so that a change costs only the VIPs it touches. A property test holds the two equal.

import type { Path, Route } from '../bgp/rib/route.ts'
import type { TableName } from '../bgp/speaker/protocol.ts'
import type { ClusterChanges, ClusterView, VipPool } from '../k8s/objects.ts'
import type { Layer2Node } from '../layer2/links.ts'
import type { Prefix } from '../net/prefix.ts'
import { openDataplane } from './dataplane.ts'
import { createDependencies } from './dependencies.ts'
import type { DrainPhase } from './drain.ts'
import { type HealthChecks, type NodeReports, noReports, reportChanges } from './objections.ts'
import { same } from './same.ts'
import { SnapshotMap } from './snapshot-map.ts'
import { resurvey, type Surroundings, survey } from './surroundings.ts'
import type { Plan, PlanContext, PlanStep, TableChange, VipReport } from './types.ts'
import { type Contribution, planVip, type VipPlan } from './vip-plan.ts'

export interface Planner {
  /**
   * The plan for `view`, and what is different from the plan before. `changes` names what changed in the view since the last
   * call; undefined means that anything may have. The plans themselves never change: keep them as long as you like.
   */
  readonly plan: (view: ClusterView, changes: ClusterChanges | undefined, context: PlanContext) => PlanStep
  /**
   * The same, with pauses between VIPs where many are to be planned, in which others may have the thread: ten thousand VIPs take half a
   * second. Plans the view and the context as they are at the first step, whatever becomes of their maps meanwhile. To be taken to its
   * end before anything else is asked of this planner.
   */
  readonly planning: (
    view: ClusterView,
    changes: ClusterChanges | undefined,
    context: PlanContext,
  ) => Generator<undefined, PlanStep, undefined>
}

/** Fewer VIPs than this are planned without a pause: they take a few milliseconds. */
export const pausesFromVips = 250

/** The whole plan, from nothing but its arguments. */
export function planFromScratch(view: ClusterView, context: PlanContext): Plan {
  return createPlanner().plan(view, undefined, context).plan
}

/** A planner that has planned nothing yet: its first step is a whole plan, and every table is new. */
export function createPlanner(): Planner {
  let memory: Memory = forget()
  const planning: Planner['planning'] = function* (view, changes, context) {
    const step = yield* memory.last === undefined || changes === undefined || !sameContext(memory.last.context, context)
      ? planAgain(memory, view, context)
      : planChanges(memory, memory.last.surroundings, view, changes, context)
    memory = step.memory
    return step.result
  }
  return { planning, plan: (view, changes, context) => toItsEnd(planning(view, changes, context)) }
}

/** What work that pauses comes to, without a pause. */
export function toItsEnd<T>(work: Generator<undefined, T, undefined>): T {
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
  }
}

interface Memory {
  readonly last: { readonly surroundings: Surroundings; readonly context: PlanContext; readonly plan: Plan } | undefined
  readonly liveness: ReadonlyMap<string, 'up' | 'down'>
  readonly drains: ReadonlyMap<string, DrainPhase>
  readonly seen: NodeReports
  /** As VIPs were planned with them. */
  readonly pools: ReadonlyMap<string, VipPool>
  readonly layer2: ReadonlyMap<string, Layer2Node>
  readonly vips: Map<string, VipPlan>
  readonly dependencies: ReturnType<typeof createDependencies>
  /** What each prefix of each table is made of: one VIP, or all that share an aggregate. */
  readonly contributions: Map<TableName, Map<Prefix, readonly Contribution[]>>
}

const noDrains: ReadonlyMap<string, DrainPhase> = new Map()
const noPlaces: ReadonlyMap<string, Layer2Node> = new Map()

interface MemoryStep {
  readonly memory: Memory
  readonly result: PlanStep
}

type Planning = Generator<undefined, MemoryStep, undefined>

const forget = (): Memory => ({
  last: undefined,
  liveness: new Map(),
  drains: new Map(),
  seen: noReports,
  pools: new Map(),
  layer2: new Map(),
  vips: new Map(),
  dependencies: createDependencies(),
  contributions: new Map(),
})

// Planning without a memory of VIPs; what was planned before is only what the result is compared with.
function planAgain(memory: Memory, view: ClusterView, context: PlanContext): Planning {
  const every = new Set([...memory.vips.keys(), ...view.vips.keys()])
  return planVips(memory, view, context, { surroundings: survey(view, context), dirty: every })
}

function planChanges(
  memory: Memory,
  known: Surroundings,
  view: ClusterView,
  changes: ClusterChanges,
  context: PlanContext,
): Planning {
  const livenessChanged = changedKeys(memory.liveness, context.nodeLiveness)
  const drainsChanged = changedKeys(memory.drains, context.drains ?? noDrains)
  const layer2Changed = changedKeys(memory.layer2, context.layer2 ?? noPlaces)
  const nodeFactsChanged = new Set([...livenessChanged, ...drainsChanged, ...layer2Changed])
  const { surroundings, touched, answered } = resurvey(known, view, context, { changes, nodeFactsChanged })
  const pools = [...(changes.get('VipPool') ?? [])].filter(
    (name) => !same(readOfPool(memory.pools.get(name)), readOfPool(view.vipPools.get(name))),
  )
  const relevant: ClusterChanges = new Map([...changes, ['VipPool', new Set(pools)]])
  const seen = reportChanges(memory.seen, reportsOf(context))
  const dirty =
    touched === 'all'
      ? new Set([...memory.vips.keys(), ...view.vips.keys()])
      : new Set([
          ...memory.dependencies.dependents(relevant, new Set([...touched, ...seen.nodes])),
          ...memory.dependencies.ofServices(seen.services),
          ...seen.vips,
          ...answered,
        ])
  return planVips(memory, view, context, { surroundings, dirty })
}

// Each allocation changes a pool's status, which is written for people; all VIPs of a large pool are not planned again for that.
function readOfPool(pool: VipPool | undefined): unknown {
  if (pool === undefined) return undefined
  const { meta: _meta, status: _status, ...read } = pool
  return read
}

function* planVips(
  memory: Memory,
  live: ClusterView,
  context: PlanContext,
  { surroundings, dirty }: { readonly surroundings: Surroundings; readonly dirty: ReadonlySet<string> },
): Planning {
  const isLong = dirty.size >= pausesFromVips
  const view = isLong ? asItIs(live) : live
  const before = memory.last?.plan
  const seen = reportsOf(context)
  const facts = {
    pools: new Map(view.vipPools),
    liveness: copyIfChanged(memory.liveness, context.nodeLiveness),
    drains: copyIfChanged(memory.drains, context.drains ?? noDrains),
    layer2: copyIfChanged(memory.layer2, context.layer2 ?? noPlaces),
  }
  const reports: [string, VipReport | undefined][] = []
  const touched = new Map<TableName, Set<Prefix>>()
  for (const name of dirty) {
    if (isLong) yield
    const vip = view.vips.get(name)
    const known = memory.vips.get(name)
    const next = vip === undefined ? undefined : planVip(vip, view, surroundings, seen)
    // What came out the same stays the same value: tables and reports hold it already.
    if (next !== undefined && same(known, next)) continue
    if (next === undefined) memory.vips.delete(name)
    else memory.vips.set(name, next)
    memory.dependencies.replace(name, known, next)
    replaceContributions(memory, touched, known?.contributions ?? [], next?.contributions ?? [])
    if (!same(known?.report, next?.report)) reports.push([name, next?.report])
  }
  const { tables, tableChanges, droppedTables } = yield* changeTables(memory, before, surroundings, touched)
  const vips = (before?.vips ?? SnapshotMap.empty()) as SnapshotMap<string, VipReport>
  const { configs, ranges, refusals } = surroundings.peers
  const peers = same(before?.peers, configs) ? (before?.peers ?? []) : configs
  const plan: Plan = {
    ...speakerOf(surroundings, context),
    peers,
    peerRanges: same(before?.peerRanges, ranges) ? (before?.peerRanges ?? []) : ranges,
    peerRefusals: refusals,
    tables,
    nodes: surroundings.nodes,
    layer2: surroundings.layer2,
    vips: yield* vips.making(reports),
  }
  return {
    memory: { ...memory, ...facts, last: { surroundings, context, plan }, seen },
    result: { plan, tableChanges, droppedTables, changedVips: new Set(reports.map(([name]) => name)) },
  }
}

/** What a VIP is planned from, as it is now: the maps of a view go on changing. */
const asItIs = (view: ClusterView): ClusterView => ({
  ...view,
  services: new Map(view.services),
  endpointSlices: new Map(view.endpointSlices),
  vipPools: new Map(view.vipPools),
  vips: new Map(view.vips),
})

function speakerOf({ conf, peers: { routerId } }: Surroundings, context: PlanContext): Pick<Plan, 'speaker'> {
  if (conf === undefined || routerId === undefined) return {}
  const { asn, listenPort, listenAddresses } = conf
  // An agent dials: the port of its host is the controller's, or another routing daemon's.
  if (context.speakerNode !== undefined) return { speaker: { asn, routerId, listenPort: 0, listenAddresses: [] } }
  return { speaker: { asn, routerId, listenPort, listenAddresses } }
}

// --------------------------------------------------------------------------------------------------------- tables

function replaceContributions(
  { contributions }: Memory,
  touched: Map<TableName, Set<Prefix>>,
  before: readonly Contribution[],
  after: readonly Contribution[],
): void {
  const at = (
    table: TableName,
    prefix: Prefix,
    change: (list: readonly Contribution[]) => readonly Contribution[],
  ): void => {
    const prefixes = contributions.get(table) ?? new Map<Prefix, readonly Contribution[]>()
    contributions.set(table, prefixes)
    const list = change(prefixes.get(prefix) ?? [])
    if (list.length === 0) prefixes.delete(prefix)
    else prefixes.set(prefix, list)
    const marked = touched.get(table) ?? new Set<Prefix>()
    touched.set(table, marked.add(prefix))
  }
  for (const gone of before) at(gone.table, gone.route.prefix, (list) => list.filter(({ vip }) => vip !== gone.vip))
  for (const made of after) at(made.table, made.route.prefix, (list) => [...list, made])
}

function* changeTables(
  { contributions }: Memory,
  before: Plan | undefined,
  surroundings: Surroundings,
  touched: ReadonlyMap<TableName, ReadonlySet<Prefix>>,
): Generator<undefined, Pick<Plan, 'tables'> & Pick<PlanStep, 'tableChanges' | 'droppedTables'>, undefined> {
  const tables = new Map<TableName, ReadonlyMap<Prefix, Route>>()
  const tableChanges: TableChange[] = []
  for (const { name } of surroundings.tables) {
    const old = before?.tables.get(name) as SnapshotMap<Prefix, Route> | undefined
    const routes: [Prefix, Route | undefined][] = []
    const prefixes = touched.get(name) ?? new Set()
    for (const prefix of prefixes) {
      if (prefixes.size >= pausesFromVips) yield
      const route = routeOf(contributions.get(name)?.get(prefix) ?? [])
      if (!same(old?.get(prefix), route)) routes.push([prefix, route])
    }
    tables.set(name, yield* (old ?? SnapshotMap.empty<Prefix, Route>()).making(routes))
    if (old !== undefined && routes.length === 0) continue
    tableChanges.push({
      table: name,
      replace: old === undefined,
      upserts: routes.flatMap(([, route]) => (route === undefined ? [] : [route])),
      withdrawals: routes.flatMap(([prefix, route]) => (route === undefined ? [prefix] : [])),
    })
  }
  const droppedTables = [...(before?.tables.keys() ?? [])].filter((name) => !tables.has(name))
  for (const name of contributions.keys()) if (!tables.has(name)) contributions.delete(name)
  return { tables, tableChanges, droppedTables }
}

// One VIP's route as it is. An aggregate has every next hop of its VIPs, and the attributes of the lowest of them. A node that leaves
// one of its VIPs leaves them all.
function routeOf(list: readonly Contribution[]): Route | undefined {
  const [only, ...others] = list
  if (only === undefined || others.length === 0) return only?.route
  const routes = [...list].sort((a, b) => (a.vip < b.vip ? -1 : 1)).map(({ route }) => route)
  const paths = new Map<number, Path>()
  const weighted = routes.every((route) => route.paths.every(({ linkBandwidth }) => linkBandwidth !== undefined))
  for (const route of routes)
    for (const { linkBandwidth = 0, ...path } of route.paths) {
      const sum = (paths.get(path.pathId)?.linkBandwidth ?? 0) + linkBandwidth
      paths.set(path.pathId, { ...path, ...(weighted ? { linkBandwidth: sum } : {}) })
    }
  const [first = only.route] = routes
  return { ...first, paths: [...paths.values()].sort((a, b) => a.pathId - b.pathId) }
}

// --------------------------------------------------------------------------------------------------------- context

const noHealthChecks: HealthChecks = new Map()

const reportsOf = ({ dataplane = openDataplane, healthChecks = noHealthChecks }: PlanContext): NodeReports => ({
  dataplane,
  healthChecks,
})

function sameContext(a: PlanContext, b: PlanContext): boolean {
  return (
    a.defaultRouterId === b.defaultRouterId &&
    a.madeRouterId === b.madeRouterId &&
    a.speakerNode === b.speakerNode &&
    same(a.serviceClass, b.serviceClass)
  )
}

// The caller's map may be one that it keeps changing, so what it said last time is a copy of ours.
function changedKeys(before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): ReadonlySet<string> {
  const changed = new Set<string>()
  for (const [key, value] of after) if (before.get(key) !== value) changed.add(key)
  for (const key of before.keys()) if (!after.has(key)) changed.add(key)
  return changed
}

function copyIfChanged<V>(before: ReadonlyMap<string, V>, after: ReadonlyMap<string, V>): ReadonlyMap<string, V> {
  return changedKeys(before, after).size === 0 ? before : new Map(after)
}
