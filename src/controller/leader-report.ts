// What the leader says for all, for as long as its fence holds: the summaries, the Vips, the conditions of Services, and the last words on
// replicas that are no more. Routes go before words: of Vips and Services only what may have changed is looked at, and in slices.

import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import type { Fence } from '../k8s/fence.ts'
import { createFencedRequests } from '../k8s/fenced-requests.ts'
import { leaderManager } from '../k8s/field-managers.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat-watch.ts'
import type { ClusterChanges, NamespacedName } from '../k8s/objects.ts'
import { createServiceWriter } from '../k8s/service-writer.ts'
import {
  type DesiredStatus,
  leaderVipStatus,
  type ReportInput,
  type ServiceCondition,
  serviceCondition,
} from '../plan/report.ts'
import { createReportChanges } from '../plan/report-changes.ts'
import { establishedPeers } from '../plan/report-peers.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { inSlices } from '../runtime/slices.ts'
import type { Allocation } from '../vip/types.ts'
import { departedEntries } from './departed.ts'
import { createReportStatuses } from './report-statuses.ts'
import { createServiceConditions } from './service-conditions.ts'

export interface LeaderReportOptions {
  readonly client: KubeClient
  readonly store: ClusterStore
  /** The Leases of all replicas. */
  readonly replicas: Pick<HeartbeatWatch, 'signs' | 'bury'>
  readonly fence: Fence
  /** Of this term; undefined before its first pass, and then nothing is said. */
  readonly allocation: () => Allocation | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
}

export interface LeaderReport {
  readonly allocation: () => Allocation | undefined
  readonly holds: () => boolean
  readonly changed: (changes: ClusterChanges) => void
  /** Says all that `input` comes to. Returns after how many milliseconds more can be said, or undefined when all is. */
  readonly write: (input: ReportInput, few: readonly DesiredStatus[]) => Promise<number | undefined>
}

export function createLeaderReport(options: LeaderReportOptions): LeaderReport {
  const { client, store, fence, clock, log } = options
  const { signal } = fence
  const statuses = createReportStatuses({ ...options, role: 'leader', fieldManager: leaderManager })
  const requests = createFencedRequests({ client, absorb: store.absorb, fence })
  const conditions = createServiceConditions({
    write: createServiceWriter({ requests, clock, services: () => store.view().services }).setServiceStatus,
    ...{ view: store.view, clock, log },
  })
  const changes = createReportChanges()
  /** Services whose condition does not say yet what it should. */
  const differing = new Set<NamespacedName>()

  /** Reports Vips, and returns what is to be said on Services. */
  const reportMany = async (input: ReportInput): Promise<readonly ServiceCondition[]> => {
    const { view, plan, guarded = new Set<string>() } = input
    const established = establishedPeers(input)
    const { vips, services } = changes.take({ view, plan, established, guarded })
    await inSlices(vips, { clock, signal }, (names) => {
      statuses.offer(names.map((name) => [name, leaderVipStatus(input, name, established)]))
    })
    const wanted: ServiceCondition[] = []
    await inSlices(new Set([...differing, ...services]), { clock, signal }, (names) => {
      for (const name of names) {
        const service = view.services.get(name)
        const condition = service === undefined ? undefined : serviceCondition(input, service, established)
        if (condition === undefined) differing.delete(name)
        else {
          differing.add(name)
          wanted.push(condition)
        }
      }
    })
    return wanted
  }

  return {
    allocation: options.allocation,
    holds: fence.holds,
    changed: changes.note,
    write: async (input, few) => {
      statuses.submit(few, departedEntries(store.view(), { replicas: input.replicas, agents: input.agents }))
      const wanted = await reportMany(input)
      for (const { name, alive } of options.replicas.signs().values()) if (!alive) void options.replicas.bury(name)
      return fence.holds() ? conditions.write(wanted) : undefined
    },
  }
}
