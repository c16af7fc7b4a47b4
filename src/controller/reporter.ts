// Says in the cluster what is: computes the statuses that should stand on our objects and hands them to the status writer. Every
// replica reports its own sessions under its own field manager; the leader reports the rest, and clears up after replicas that
// are no more. Routes go before words: of Vips and Services only what may have changed is looked at, and in slices.

import { isAdopted } from '../adoption/adopt.ts'
import type { Announcer } from '../announce/announcer.ts'
import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import { type Fence, unfenced } from '../k8s/fence.ts'
import { createFencedRequests, type FencedRequests } from '../k8s/fenced-requests.ts'
import { leaderManager, replicaManager } from '../k8s/field-managers.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat-watch.ts'
import type { ClusterChanges, ClusterView, Kind, NamespacedName, ObjectMeta } from '../k8s/objects.ts'
import { createServiceWriter } from '../k8s/service-writer.ts'
import { createStatusApplier } from '../k8s/status-applier.ts'
import type { ObservedStatus } from '../k8s/status-opinion.ts'
import {
  createStatusWriter,
  type StatusKey,
  type StatusWriter,
  statusKey,
  type DesiredStatus as WrittenStatus,
} from '../k8s/status-writer.ts'
import {
  type DesiredStatus,
  fewStatuses,
  leaderVipStatus,
  type ReportInput,
  type ServiceCondition,
  serviceCondition,
} from '../plan/report.ts'
import { createReportChanges, type ReportChanges } from '../plan/report-changes.ts'
import { establishedPeers } from '../plan/report-peers.ts'
import type { Plan } from '../plan/types.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { inSlices } from '../runtime/slices.ts'
import { createTrigger } from '../runtime/trigger.ts'
import type { Allocation, ServiceClassRule } from '../vip/types.ts'
import { departedEntries } from './departed.ts'
import type { Presence } from './presence.ts'
import { createServiceConditions, type ServiceConditions } from './service-conditions.ts'

export interface ReporterOptions {
  readonly client: KubeClient
  readonly store: ClusterStore
  readonly announcer: Announcer
  readonly replica: { readonly name: string; readonly node: string; readonly sinceMs: number }
  /** The Leases of all replicas. */
  readonly replicas: HeartbeatWatch
  /** Nodes whose agents run, as far as is known. */
  readonly agents: Pick<Presence['agents'], 'running' | 'onChange'>
  /** Nodes that are leaving, and since when: wall-clock milliseconds since 1970. */
  readonly drains: () => ReadonlyMap<string, number>
  /** What is seen of the nodes by BFD. */
  readonly liveness: Presence['liveness']
  readonly serviceClass: ServiceClassRule
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
}

export interface Reporter {
  /** The cluster changed, and the plan with it. */
  readonly changed: (changes: ClusterChanges) => void
  /** Something that a status says may have changed. */
  readonly pull: () => void
  /** This replica leads for as long as the fence holds: it reports on behalf of all. */
  readonly lead: (fence: Fence, allocation: () => Allocation | undefined) => void
  readonly stop: () => Promise<void>
}

/** Statuses are for people: they follow the routes by a tenth of a second, and cost nothing when much happens at once. */
const intervalMs = 100

/** How long after a start a session that is not up yet is no news. */
const startingMaxMs = 10_000

/** A session that comes up changes its status several times within a second: people should see the last of it soon. */
const settle = { minMs: 250, maxMs: 30_000 }

interface Leading {
  readonly fence: Fence
  readonly allocation: () => Allocation | undefined
  readonly statuses: StatusWriter
  readonly services: ServiceConditions
  readonly changes: ReportChanges
  /** Services whose condition does not say yet what it should. */
  readonly differing: Set<NamespacedName>
}

export function createReporter(options: ReporterOptions): Reporter {
  const { announcer, clock, log, replica, store } = options
  const ownStatuses = statusWriter(options, {})
  let leading: Leading | undefined
  let cancelLater: CancelTimer | undefined

  const run = async (): Promise<void> => {
    const plan = announcer.plan()
    if (plan === undefined) return
    const leader = leading?.fence.holds() ? leading : undefined
    const tooSoon = isStarting(plan)
    const allocation = leader?.allocation()
    const listenError = announcer.listenError()
    const alive = aliveReplicas(options)
    const agents = options.agents.running()
    const liveness = options.liveness()
    const input: ReportInput = {
      view: store.view(),
      plan,
      serviceClass: options.serviceClass,
      sessions: announcer.sessions,
      ranges: announcer.ranges,
      guarded: announcer.guarded,
      drains: options.drains(),
      replica,
      ...(alive === undefined ? {} : { replicas: alive }),
      ...(agents === undefined ? {} : { agents }),
      ...(allocation === undefined ? {} : { allocation }),
      ...(listenError === undefined ? {} : { listenError }),
      ...(liveness === undefined ? {} : { liveness }),
    }
    // What only stands in for a foreign object has no status to write.
    const few = fewStatuses(input).filter(({ kind, name }) => !standsIn(store.view(), kind, name))
    ownStatuses.submit(byKey(of(few, 'replica', replicaManager(replica.name))))
    if (leader === undefined || allocation === undefined || tooSoon) return
    const departed = departedEntries(store.view(), { replicas: alive, agents })
    leader.statuses.submit(byKey([...of(few, 'leader', leaderManager), ...departed]))
    const differing = await reportMany(input, leader)
    for (const { name, alive: speaks } of options.replicas.signs().values())
      if (!speaks) void options.replicas.bury(name)
    const nextMs = leader.fence.holds() ? await leader.services.write(differing) : undefined
    cancelLater?.()
    cancelLater = nextMs === undefined ? undefined : clock.setTimer(nextMs, () => trigger.pull())
  }

  /** Reports Vips, and returns what is to be said on Services. */
  const reportMany = async (input: ReportInput, leader: Leading): Promise<readonly ServiceCondition[]> => {
    const { view, plan, guarded = new Set<string>() } = input
    const established = establishedPeers(input)
    const { vips, services } = leader.changes.take({ view, plan, established, guarded })
    const signal = leader.fence.signal
    await inSlices(vips, { clock, signal }, (names) => {
      const found = names.map((name) => [name, leaderVipStatus(input, name, established)] as const)
      leader.statuses.offer(
        of(
          found.flatMap(([, status]) => status ?? []),
          'leader',
          leaderManager,
        ),
      )
      for (const [name, status] of found)
        if (status === undefined) leader.statuses.forget(statusKey({ kind: 'Vip', name, fieldManager: leaderManager }))
    })
    const conditions: ServiceCondition[] = []
    await inSlices(new Set([...leader.differing, ...services]), { clock, signal }, (names) => {
      for (const name of names) {
        const service = view.services.get(name)
        const condition = service === undefined ? undefined : serviceCondition(input, service, established)
        if (condition === undefined) leader.differing.delete(name)
        else {
          leader.differing.add(name)
          conditions.push(condition)
        }
      }
    })
    return conditions
  }

  // A replica that has just started has no sessions yet. To say so of each Vip, and to take it back a second later, would be
  // thousands of writes: it waits until every peer had its chance.
  let starting = true
  let startingSinceMs: number | undefined
  const isStarting = ({ peers }: Plan): boolean => {
    if (!starting) return false
    const nowMs = clock.monotonicMs()
    startingSinceMs ??= nowMs
    starting =
      nowMs - startingSinceMs < startingMaxMs &&
      peers.some(
        ({ name, shutdown }) => shutdown === undefined && announcer.sessions.get(name)?.state !== 'Established',
      )
    if (starting) {
      cancelLater?.()
      cancelLater = clock.setTimer(startingSinceMs + startingMaxMs - nowMs, () => trigger.pull())
    }
    return starting
  }
  const trigger = createTrigger(run, {
    clock,
    intervalMs,
    onError: (error) => log.error({ event: 'report-failed', message: String(error) }),
  })
  options.replicas.onChange(() => trigger.pull())
  options.agents.onChange(() => trigger.pull())

  return {
    changed: (changes) => {
      leading?.changes.note(changes)
      trigger.pull()
    },
    pull: trigger.pull,
    lead: (fence, allocation) => {
      const requests = requestsOf(options, fence)
      const services = createServiceConditions({
        write: createServiceWriter({ requests, clock, services: () => store.view().services }).setServiceStatus,
        view: store.view,
        clock,
        log,
      })
      const statuses = statusWriter(options, { fence })
      leading = { fence, allocation, statuses, services, changes: createReportChanges(), differing: new Set() }
      trigger.pull()
    },
    stop: async () => {
      await trigger.stop()
      // Not before: the run that was under way may have set the timer again.
      cancelLater?.()
    },
  }
}

/** undefined before the Leases were listed: then nobody counts as gone. */
function aliveReplicas({ replica, replicas }: ReporterOptions): ReadonlySet<string> | undefined {
  if (!replicas.facts().synced) return undefined
  const alive = [...replicas.signs().values()].filter((sign) => sign.alive).map(({ identity }) => identity)
  return new Set([replica.name, ...alive])
}

const of = (
  statuses: readonly DesiredStatus[],
  role: DesiredStatus['fieldManagerRole'],
  fieldManager: string,
): readonly WrittenStatus[] =>
  statuses
    .filter(({ fieldManagerRole }) => fieldManagerRole === role)
    .map(({ kind, name, status }) => ({ kind, name, status, fieldManager }))

const byKey = (desired: readonly WrittenStatus[]): ReadonlyMap<StatusKey, WrittenStatus> =>
  new Map(desired.map((each) => [statusKey(each), each]))

const requestsOf = ({ client, store }: ReporterOptions, fence = unfenced): FencedRequests =>
  createFencedRequests({ client, absorb: store.absorb, fence })

function statusWriter(options: ReporterOptions, { fence }: { readonly fence?: Fence }): StatusWriter {
  const { clock, random, log, signal, store } = options
  return createStatusWriter({
    write: createStatusApplier(requestsOf(options, fence)),
    observed: (kind, name) => observedStatus(store, kind, name),
    clock,
    random,
    log,
    signal: fence === undefined ? signal : AbortSignal.any([signal, fence.signal]),
    settle,
  })
}

function observedStatus(store: ClusterStore, kind: Kind, name: string): ObservedStatus {
  if (kind === 'Vip') {
    const vip = store.view().vips.get(name)
    return vip === undefined ? 'unknown' : { resourceVersion: vip.meta.resourceVersion, digest: vip.status }
  }
  const object = reportedObject(store.view(), kind, name)
  if (object === undefined) return 'unknown'
  return object.status === undefined
    ? 'unknown'
    : { resourceVersion: object.meta.resourceVersion, status: object.status }
}

interface Reported {
  readonly meta: ObjectMeta
  readonly status?: Readonly<Record<string, unknown>>
}

const standsIn = (view: ClusterView, kind: Kind, name: string): boolean => {
  const object = reportedObject(view, kind, name)
  return object !== undefined && isAdopted(object.meta)
}

/** The object of a kind of which there are few and that has a status of ours. */
function reportedObject(view: ClusterView, kind: Kind, name: string): Reported | undefined {
  switch (kind) {
    case 'BgpConf':
      return view.bgpConfs.get(name)
    case 'BgpPeer':
      return view.bgpPeers.get(name)
    case 'VipPool':
      return view.vipPools.get(name)
    case 'BgpPolicy':
      return view.bgpPolicies.get(name)
    default:
      return undefined
  }
}
