// Says in the cluster what is: computes the statuses that should stand on our objects and hands them to the status writer. Every
// replica reports its own sessions under its own field manager; the leader reports the rest, and clears up after replicas that
// are no more.

import type { Announcer } from '../announce/announcer.ts'
import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import type { Fence } from '../k8s/fence.ts'
import { replicaManager } from '../k8s/field-managers.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat.ts'
import type { ClusterView, Kind, ObjectMeta } from '../k8s/objects.ts'
import {
  createStatusWriter,
  type ObservedStatus,
  type StatusKey,
  type StatusWriter,
  statusKey,
  type DesiredStatus as WrittenStatus,
} from '../k8s/status-writer.ts'
import { createWriter } from '../k8s/writer.ts'
import { createReporting, type DesiredStatus, type Report } from '../plan/report.ts'
import type { Plan } from '../plan/types.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
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
  readonly serviceClass: ServiceClassRule
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
}

export interface Reporter {
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
}

export function createReporter(options: ReporterOptions): Reporter {
  const { announcer, clock, log, replica, store } = options
  const reporting = createReporting()
  const ownStatuses = statusWriter(options, {})
  let leading: Leading | undefined
  let cancelLater: CancelTimer | undefined
  let busyMs = 0

  const run = async (): Promise<void> => {
    const plan = announcer.plan()
    if (plan === undefined) return
    const leader = leading?.fence.holds() ? leading : undefined
    const tooSoon = isStarting(plan)
    const allocation = leader?.allocation()
    const listenError = announcer.listenError()
    const alive = aliveReplicas(options)
    const agents = options.agents.running()
    const startMs = clock.monotonicMs()
    const report = reporting({
      view: store.view(),
      plan,
      serviceClass: options.serviceClass,
      sessions: announcer.sessions,
      guarded: announcer.guarded,
      replica,
      ...(alive === undefined ? {} : { replicas: alive }),
      ...(agents === undefined ? {} : { agents }),
      ...(allocation === undefined ? {} : { allocation }),
      ...(listenError === undefined ? {} : { listenError }),
    })
    ownStatuses.submit(byKey(of(report, 'replica', replicaManager(replica.name))))
    busyMs = clock.monotonicMs() - startMs
    if (leader === undefined || allocation === undefined || tooSoon) return
    const departed = departedEntries(store.view(), { replicas: alive, agents })
    leader.statuses.submit(byKey([...of(report, 'leader', 'bellhop-leader'), ...departed]))
    busyMs = clock.monotonicMs() - startMs
    for (const { name, alive: speaks } of options.replicas.signs().values())
      if (!speaks) void options.replicas.bury(name)
    const nextMs = await leader.services.write(report.services)
    cancelLater?.()
    cancelLater = nextMs === undefined ? undefined : clock.setTimer(nextMs, () => trigger.pull())
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
    busyMs: () => busyMs,
    onError: (error) => log.error({ event: 'report-failed', message: String(error) }),
  })
  options.replicas.onChange(() => trigger.pull())
  options.agents.onChange(() => trigger.pull())

  return {
    pull: trigger.pull,
    lead: (fence, allocation) => {
      const services = createServiceConditions({
        write: writerOf(options, fence).setServiceStatus,
        view: store.view,
        clock,
        log,
      })
      leading = { fence, allocation, statuses: statusWriter(options, { fence }), services }
      trigger.pull()
    },
    stop: async () => {
      cancelLater?.()
      await trigger.stop()
    },
  }
}

/** undefined before the Leases were listed: then nobody counts as gone. */
function aliveReplicas({ replica, replicas }: ReporterOptions): ReadonlySet<string> | undefined {
  if (!replicas.facts().synced) return undefined
  const alive = [...replicas.signs().values()].filter((sign) => sign.alive).map(({ identity }) => identity)
  return new Set([replica.name, ...alive])
}

const of = (report: Report, role: DesiredStatus['fieldManagerRole'], fieldManager: string): readonly WrittenStatus[] =>
  report.statuses
    .filter(({ fieldManagerRole }) => fieldManagerRole === role)
    .map(({ kind, name, status }) => ({ kind, name, status, fieldManager }))

const byKey = (desired: readonly WrittenStatus[]): ReadonlyMap<StatusKey, WrittenStatus> =>
  new Map(desired.map((each) => [statusKey(each), each]))

const writerOf = ({ client, clock, store }: ReporterOptions, fence?: Fence): ReturnType<typeof createWriter> =>
  createWriter({
    client,
    clock,
    services: () => store.view().services,
    absorb: store.absorb,
    absorbDeletion: store.absorbDeletion,
    recordEvent: () => {},
    ...(fence === undefined ? {} : { fence }),
  })

function statusWriter(options: ReporterOptions, { fence }: { readonly fence?: Fence }): StatusWriter {
  const { clock, random, log, signal, store } = options
  return createStatusWriter({
    write: writerOf(options, fence).applyStatus,
    observed: (kind, name) => observedStatus(store, kind, name),
    clock,
    random,
    log,
    signal: fence === undefined ? signal : AbortSignal.any([signal, fence.signal]),
    settle,
  })
}

function observedStatus(store: ClusterStore, kind: Kind, name: string): ObservedStatus {
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

/** The object of a kind that has a status of ours. */
function reportedObject(view: ClusterView, kind: Kind, name: string): Reported | undefined {
  switch (kind) {
    case 'BgpConf':
      return view.bgpConfs.get(name)
    case 'BgpPeer':
      return view.bgpPeers.get(name)
    case 'VipPool':
      return view.vipPools.get(name)
    case 'Vip':
      return view.vips.get(name)
    case 'BgpPolicy':
      return view.bgpPolicies.get(name)
    default:
      return undefined
  }
}
