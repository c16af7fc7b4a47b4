// Says in the cluster what is, after each round of planning: every replica reports its own sessions under its own field manager, and
// the one that leads says the rest for all (leader-report.ts), once the replica is past its start.

import type { Announcer } from '../announce/announcer.ts'
import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import type { Fence } from '../k8s/fence.ts'
import { replicaManager } from '../k8s/field-managers.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat-watch.ts'
import type { ClusterChanges } from '../k8s/objects.ts'
import { fewStatuses, type ReportInput } from '../plan/report.ts'
import type { Plan } from '../plan/types.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createTrigger } from '../runtime/trigger.ts'
import type { Allocation, ServiceClassRule } from '../vip/types.ts'
import { createLeaderReport, type LeaderReport } from './leader-report.ts'
import type { Presence } from './presence.ts'
import { createReportStatuses } from './report-statuses.ts'
import { createStarting } from './starting.ts'

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

export function createReporter(options: ReporterOptions): Reporter {
  const { announcer, client, clock, random, log, replica, signal, store } = options
  const base = { client, store, clock, random, log, signal }
  const own = createReportStatuses({ ...base, role: 'replica', fieldManager: replicaManager(replica.name) })
  const starting = createStarting(clock)
  let leading: LeaderReport | undefined
  let cancelLater: CancelTimer = () => {}
  const later = (ms: number | undefined): void => {
    cancelLater()
    cancelLater = ms === undefined ? () => {} : clock.setTimer(ms, () => trigger.pull())
  }

  const run = async (): Promise<void> => {
    const plan = announcer.plan()
    if (plan === undefined) return
    const leader = leading?.holds() ? leading : undefined
    const input = inputOf(options, plan, leader?.allocation())
    const few = fewStatuses(input)
    own.submit(few)
    const startingMs = starting.leftMs(plan.peers, announcer.sessions)
    if (startingMs !== undefined) later(startingMs)
    else if (leader !== undefined && input.allocation !== undefined) later(await leader.write(input, few))
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
      leading?.changed(changes)
      trigger.pull()
    },
    pull: trigger.pull,
    lead: (fence, allocation) => {
      const begun = createLeaderReport({ ...base, replicas: options.replicas, fence, allocation })
      leading = begun
      // Whoever does not lead remembers no changes: at the next election everything counts as changed.
      fence.signal.addEventListener(
        'abort',
        () => {
          if (leading === begun) leading = undefined
        },
        { once: true },
      )
      trigger.pull()
    },
    stop: async () => {
      await trigger.stop()
      // Not before: the run that was under way may have set the timer again.
      cancelLater()
    },
  }
}

function inputOf(options: ReporterOptions, plan: Plan, allocation: Allocation | undefined): ReportInput {
  const { announcer, replica, store } = options
  const listenError = announcer.listenError()
  const alive = aliveReplicas(options)
  const agents = options.agents.running()
  const liveness = options.liveness()
  return {
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
}

/** undefined before the Leases were listed: then nobody counts as gone. */
function aliveReplicas({ replica, replicas }: ReporterOptions): ReadonlySet<string> | undefined {
  if (!replicas.facts().synced) return undefined
  const alive = [...replicas.signs().values()].filter((sign) => sign.alive).map(({ identity }) => identity)
  return new Set([replica.name, ...alive])
}
