// What the statuses in the cluster should say: from the plan, the allocation and the sessions to one value an object and writer.
// Pure and complete each time; whoever writes compares with what is there, and stamps the conditions' transition times.
//
// Two roles write: every replica its own entry in the lists that replicas share, and the leader everything else. Of Vips and Services
// a cluster has thousands, so they can be asked for one by one: report-changes.ts knows which have to be.

import type { RangeStatus, SessionStatus } from '../bgp/speaker/protocol.ts'
import {
  type BgpConf,
  type BgpPolicy,
  type ClusterView,
  type Condition,
  type Kind,
  type NamespacedName,
  namespacedName,
  type ObjectMeta,
  type ObjectRefusal,
  type Service,
  type VipPool,
} from '../k8s/objects.ts'
import { announcedCondition, sameCondition } from '../vip/conditions.ts'
import { rfc3339 } from '../vip/rfc3339.ts'
import { notServedBecause } from '../vip/service-class.ts'
import type { Allocation, PoolUsage, ServiceClassRule } from '../vip/types.ts'
import { vipName } from '../vip/vip-name.ts'
import { resolveCommunity } from './attributes.ts'
import { type LivenessFacts, livenessAuthenticated, livenessEntry } from './liveness-report.ts'
import { countingConf, noConfMessage } from './peers.ts'
import { drainStatus } from './report-drains.ts'
import { countTold, establishedPeers, leaderPeerStatus, ownRangeSessions, ownSession } from './report-peers.ts'
import { announcedOf, vipStatus } from './report-vips.ts'
import { clip, keptWords, shortList, type UnstampedCondition } from './status-text.ts'
import type { Plan } from './types.ts'

/** One role's whole opinion on one object's status. Conditions come without `lastTransitionTime`. */
export interface DesiredStatus {
  readonly kind: Kind
  readonly name: string
  readonly fieldManagerRole: 'leader' | 'replica'
  readonly status: Readonly<Record<string, unknown>>
}

/** A Service whose condition `bellhop.io/Announced` does not say what it should. */
export interface ServiceCondition {
  readonly service: NamespacedName
  readonly uid: string
  readonly resourceVersion: string
  readonly condition: UnstampedCondition
}

export interface Report {
  readonly statuses: readonly DesiredStatus[]
  readonly services: readonly ServiceCondition[]
}

export interface ReportInput {
  readonly view: ClusterView
  readonly plan: Plan
  readonly serviceClass: ServiceClassRule
  /** Present on the leader: then the report holds the leader's part too. */
  readonly allocation?: Pick<Allocation, 'pools'>
  /** This replica's sessions, by BgpPeer; those of routers that connected from a range by name and address. */
  readonly sessions: ReadonlyMap<string, SessionStatus>
  /** This replica's ranges, by BgpPeer; absent = none was heard of. */
  readonly ranges?: ReadonlyMap<string, RangeStatus>
  readonly replica: { readonly name: string; readonly node: string; readonly sinceMs: number }
  /** Names of the replicas that run, this one included; absent = everybody who ever wrote counts. */
  readonly replicas?: ReadonlySet<string>
  /** Nodes whose agents run; absent = all nodes' entries count. */
  readonly agents?: ReadonlySet<string>
  /** What this replica sees of the nodes by BFD; absent where it does not look. */
  readonly liveness?: LivenessFacts
  /** Why this replica cannot listen, while it cannot. */
  readonly listenError?: string
  /** Nodes that are leaving, and since when: wall-clock milliseconds since 1970. Absent = none. */
  readonly drains?: ReadonlyMap<string, number>
  /** Vips whose withdrawal waits for a second look. */
  readonly guarded?: ReadonlySet<string>
}

/** The report of one moment, from nothing but its argument. What report-changes.ts saves is only looking at what did not change. */
export function report(input: ReportInput): Report {
  const established = establishedPeers(input)
  const few = fewStatuses(input)
  if (input.allocation === undefined) return { statuses: few, services: [] }
  const { view } = input
  const refused = view.refusals.flatMap(({ kind, meta }) => (kind === 'Vip' ? [meta.name] : []))
  return {
    statuses: [
      ...few,
      ...[...view.vips.keys(), ...refused].flatMap((name) => leaderVipStatus(input, name, established) ?? []),
    ],
    services: [...view.services.values()].flatMap((service) => serviceCondition(input, service, established) ?? []),
  }
}

const desired = (
  kind: Kind,
  name: string,
  fieldManagerRole: DesiredStatus['fieldManagerRole'],
  status: DesiredStatus['status'],
): DesiredStatus => ({ kind, name, fieldManagerRole, status })

/** The statuses of all objects of which a cluster has few: all kinds but Vips. */
export function fewStatuses(input: ReportInput): readonly DesiredStatus[] {
  const { view, plan, allocation } = input
  const conf = countingConf(view, plan)
  const own = [
    ...plan.peers.map((peer) => desired('BgpPeer', peer.name, 'replica', { sessions: [ownSession(input, peer)] })),
    ...plan.peerRanges.map((range) =>
      desired('BgpPeer', range.name, 'replica', { sessions: ownRangeSessions(input, range) }),
    ),
    ...(conf === undefined ? [] : [desired('BgpConf', 'default', 'replica', { speakers: [ownSpeaker(input)] })]),
  ]
  if (allocation === undefined) return own
  const of = <V extends { readonly meta: ObjectMeta }>(
    kind: Kind,
    objects: ReadonlyMap<string, V>,
    status: (object: V) => DesiredStatus['status'],
  ): readonly DesiredStatus[] =>
    [...objects.values()].map((object) => desired(kind, object.meta.name, 'leader', status(object)))
  const told = countTold(input, establishedPeers(input))
  return [
    ...own,
    ...of('BgpConf', view.bgpConfs, (each) => confStatus(input, each)),
    ...of('BgpPeer', view.bgpPeers, (peer) => leaderPeerStatus(input, peer, told)),
    ...of('VipPool', view.vipPools, (pool) => poolStatus(pool, allocation.pools.get(pool.meta.name), plan)),
    ...of('BgpPolicy', view.bgpPolicies, (policy) => policyStatus(view, policy)),
    ...view.refusals.flatMap((refusal) =>
      refusal.kind === 'Vip' ? [] : (keptStatus(input, refusal, told) ?? refusedStatus(refusal) ?? []),
    ),
  ]
}

/** The status of one Vip; undefined where there is no such object. `established`: see establishedPeers. */
export function leaderVipStatus(
  input: ReportInput,
  name: string,
  established: ReadonlySet<string>,
): DesiredStatus | undefined {
  const vip = input.view.vips.get(name)
  if (vip !== undefined) return desired('Vip', name, 'leader', vipStatus(input, vip, established))
  const refusal = input.view.refusals.find(({ kind, meta }) => kind === 'Vip' && meta.name === name)
  return refusal === undefined ? undefined : refusedStatus(refusal)
}

const generationOf = ({ generation }: ObjectMeta): { readonly observedGeneration?: number } =>
  generation > 0 ? { observedGeneration: generation } : {}

function statusOf(
  meta: ObjectMeta,
  fields: Readonly<Record<string, unknown>>,
  conditions: readonly Omit<UnstampedCondition, 'observedGeneration'>[],
): DesiredStatus['status'] {
  return {
    ...generationOf(meta),
    ...fields,
    conditions: conditions.map((condition) => ({
      ...condition,
      message: clip(condition.message, 32_768),
      ...generationOf(meta),
    })),
  }
}

/** Whether the object is in use, by the condition that says so for its kind. */
const refusedConditions: Partial<Record<Kind, string>> = {
  BgpConf: 'Ready',
  BgpPeer: 'Accepted',
  VipPool: 'Ready',
  Vip: 'Announced',
  BgpPolicy: 'Accepted',
}

function refusedStatus({ kind, meta, problems }: ObjectRefusal): DesiredStatus | undefined {
  const type = refusedConditions[kind]
  if (type === undefined) return undefined
  const message = problemWords(problems)
  // The columns of `kubectl get`, where the kind has some for it.
  const columns = kind === 'BgpPeer' ? { state: 'Idle', message: clip(message, 1024) } : {}
  const status = statusOf(meta, columns, [{ type, status: 'False', reason: 'Invalid', message }])
  return desired(kind, meta.name, 'leader', status)
}

const problemWords = (problems: ObjectRefusal['problems']): string =>
  problems.map((problem) => `${problem.path}: ${problem.message}`).join('; ')

/** An object that makes no sense, and goes on as it was: its status as it was, but for the condition that says so. */
function keptStatus(
  input: ReportInput,
  { kind, meta, problems }: ObjectRefusal,
  told: ReadonlyMap<string, number>,
): DesiredStatus | undefined {
  const type = refusedConditions[kind]
  const status = type === undefined ? undefined : statusOfKept(input, kind, meta.name, told)
  const conditions = status?.['conditions']
  if (type === undefined || status === undefined || !Array.isArray(conditions)) return undefined
  const message = clip(`${problemWords(problems)}; ${keptWords}`, 1024)
  const refused = { type, status: 'False', reason: 'Invalid', message, ...generationOf(meta) }
  const others = (conditions as readonly UnstampedCondition[]).map((each) => (each.type === type ? refused : each))
  return desired(kind, meta.name, 'leader', {
    ...status,
    ...('message' in status ? { message } : {}),
    conditions: others,
  })
}

function statusOfKept(
  input: ReportInput,
  kind: Kind,
  name: string,
  told: ReadonlyMap<string, number>,
): DesiredStatus['status'] | undefined {
  const { plan, allocation } = input
  const { bgpConfs, bgpPeers, vipPools, bgpPolicies } = plan.kept?.objects ?? {}
  const conf = kind === 'BgpConf' ? bgpConfs?.get(name) : undefined
  if (conf !== undefined) return confStatus(input, conf)
  const peer = kind === 'BgpPeer' ? bgpPeers?.get(name) : undefined
  if (peer !== undefined) return leaderPeerStatus(input, peer, told)
  const pool = kind === 'VipPool' ? vipPools?.get(name) : undefined
  if (pool !== undefined) return poolStatus(pool, allocation?.pools.get(name), plan)
  const policy = kind === 'BgpPolicy' ? bgpPolicies?.get(name) : undefined
  return policy === undefined ? undefined : policyStatus(input.view, policy)
}

function ownSpeaker({ plan, replica, liveness }: ReportInput): Readonly<Record<string, unknown>> {
  return {
    name: replica.name,
    node: replica.node,
    ...(plan.speaker === undefined ? {} : { routerId: plan.speaker.routerId }),
    since: rfc3339(replica.sinceMs),
    ...(liveness === undefined ? {} : { liveness: livenessEntry(liveness) }),
  }
}

function confStatus(input: ReportInput, conf: BgpConf): DesiredStatus['status'] {
  const { view, plan, replicas, replica, listenError, liveness } = input
  if (conf.meta.name !== 'default')
    return statusOf(conf.meta, {}, [
      { type: 'Ignored', status: 'True', reason: 'NotDefault', message: 'only the BgpConf named default is read' },
      { type: 'Ready', status: 'False', reason: 'NotDefault', message: 'only the BgpConf named default is read' },
    ])
  const listed = conf.status['speakers']
  const names = new Set([replica.name])
  for (const entry of Array.isArray(listed) ? listed : []) {
    const name: unknown = entry?.['name']
    if (typeof name === 'string' && (replicas?.has(name) ?? true)) names.add(name)
  }
  const ready: Omit<UnstampedCondition, 'observedGeneration'> =
    plan.speaker === undefined
      ? {
          type: 'Ready',
          status: 'False',
          reason: 'NoRouterId',
          message: plan.peerRefusals.find(({ reason }) => reason === 'NoRouterId')?.message ?? noConfMessage(view),
        }
      : listenError === undefined
        ? { type: 'Ready', status: 'True', reason: 'InUse', message: `AS ${conf.asn}` }
        : { type: 'Ready', status: 'False', reason: 'ListenFailed', message: listenError }
  const authenticated = liveness && livenessAuthenticated(liveness)
  const fields = {
    speakersSummary: `${names.size}/${Math.max(names.size, replicas?.size ?? 0)}`,
    ...drainStatus(input.drains ?? new Map()),
  }
  return statusOf(conf.meta, fields, [
    { type: 'Ignored', status: 'False', reason: 'Default', message: '' },
    ready,
    ...(authenticated === undefined ? [] : [{ type: 'LivenessAuthenticated', ...authenticated }]),
  ])
}

/** So many addresses with their owners stand in a pool's condition. */
const occupiedShownMax = 5

function poolStatus(pool: VipPool, usage: PoolUsage | undefined, plan: Plan): DesiredStatus['status'] {
  const numbers =
    usage === undefined
      ? {}
      : { total: `${usage.total}`, used: usage.used, held: usage.held, available: `${usage.available}` }
  return statusOf(pool.meta, numbers, [
    { type: 'Ready', ...poolReady(pool, usage) },
    { type: 'Overlap', ...poolOverlap(usage) },
    ...(pool.mode === 'layer2' ? [{ type: 'StrictArp', ...strictArp(plan) }] : []),
  ])
}

function poolOverlap(usage: PoolUsage | undefined): Pick<Condition, 'status' | 'reason' | 'message'> {
  const older = (usage?.overlaps ?? []).map(({ range, pool }) => `${range} belongs to the older pool ${pool}`)
  const own = [...(usage?.occupied ?? [])].map(([address, owner]) => `${address} is the address of ${owner}`)
  if (older.length + own.length === 0) return { status: 'False', reason: 'None', message: '' }
  const shown = own.slice(0, occupiedShownMax)
  const rest = own.length > shown.length ? [`and ${own.length - shown.length} more addresses are somebody's own`] : []
  return {
    status: 'True',
    reason: older.length > 0 ? 'OlderPool' : 'AddressesInUse',
    message: [...older, ...shown, ...rest].join('; '),
  }
}

// In IPVS mode kube-proxy puts every VIP on an interface of each node, and Linux answers ARP for any address of the host.
function strictArp({ layer2 }: Plan): Pick<Condition, 'status' | 'reason' | 'message'> {
  const loose = [...layer2].flatMap(([name, { agent }]) => (agent.answersForAll ? [name] : [])).sort()
  if (loose.length === 0) return { status: 'True', reason: 'OnlyOwnersAnswer', message: '' }
  return {
    status: 'False',
    reason: 'NodesAnswerForAll',
    message: `kube-proxy in IPVS mode makes ${shortList(loose, 5, 1024)} answer ARP for every VIP: set ipvs.strictARP in its configuration`,
  }
}

const takers = ({ avoidBuggyIPs }: VipPool): string =>
  avoidBuggyIPs ? 'exclude and avoidBuggyIPs take' : 'exclude takes'

function poolReady(pool: VipPool, usage: PoolUsage | undefined): Pick<Condition, 'status' | 'reason' | 'message'> {
  const no = (reason: string, message: string): Pick<Condition, 'status' | 'reason' | 'message'> => ({
    status: 'False',
    reason,
    message,
  })
  if (pool.meta.deleting) return no('Deleting', 'the pool is being deleted and gives out nothing')
  if (pool.disabled) return no('Disabled', 'disabled: what is allocated stays, nothing is given out')
  if (usage?.total === 0n)
    return no('Empty', `${usage.overlaps.length > 0 ? 'older pools have' : takers(pool)} all of its addresses`)
  if (usage?.available === 0n) return no('Exhausted', 'every address is taken')
  return { status: 'True', reason: 'Ready', message: '' }
}

function policyStatus(view: ClusterView, policy: BgpPolicy): DesiredStatus['status'] {
  const conf = view.bgpConfs.get('default') ?? { communities: new Map() }
  const unknown = [
    ...policy.pools.filter((name) => !view.vipPools.has(name)).map((name) => `there is no VipPool ${name}`),
    ...policy.peers.filter((name) => !view.bgpPeers.has(name)).map((name) => `there is no BgpPeer ${name}`),
    ...policy.communities.flatMap((written) =>
      written.kind === 'name' && resolveCommunity(conf, written) === undefined
        ? [`BgpConf default defines no community ${written.value}`]
        : [],
    ),
  ]
  return statusOf(policy.meta, {}, [
    unknown.length === 0
      ? { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' }
      : { type: 'Accepted', status: 'False', reason: 'UnknownReference', message: unknown.join('; ') },
  ])
}

/**
 * What a Service's condition should say, where it does not yet: it is written over a certain version of the Service, beside what
 * allocation writes.
 */
export function serviceCondition(
  input: ReportInput,
  service: Service,
  established: ReadonlySet<string>,
): ServiceCondition | undefined {
  if (notServedBecause(service, input.serviceClass) !== undefined) return undefined
  const { namespace, name, uid, resourceVersion, generation } = service.meta
  const condition: UnstampedCondition = {
    type: announcedCondition,
    ...announcedService(input, service, established),
    ...(generation > 0 ? { observedGeneration: generation } : {}),
  }
  const before = service.conditions.find(({ type }) => type === announcedCondition)
  return sameCondition(before, condition)
    ? undefined
    : { service: namespacedName(namespace, name), uid, resourceVersion, condition }
}

function announcedService(
  input: ReportInput,
  service: Service,
  established: ReadonlySet<string>,
): Pick<Condition, 'status' | 'reason' | 'message'> {
  if (service.ingress.length === 0)
    return { status: 'False', reason: 'NotAllocated', message: 'the Service has no address' }
  const each = service.ingress.map(({ ip }) => ({ ip, ...announcedOf(input, vipName(ip), established) }))
  const silent = each.find(({ status }) => status !== 'True')
  // Every node's kube-proxy hears of each change of a Service, so the numbers that change all day stand on the Vip.
  const words = each
    .map(({ ip, status, message }) => `${ip}: ${status === 'True' ? `see Vip ${vipName(ip)}` : message}`)
    .join('; ')
  return { status: silent?.status ?? 'True', reason: silent?.reason ?? 'Announced', message: clip(words, 32_768) }
}
