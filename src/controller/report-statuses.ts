// Statuses as the plan words them, handed to the status writer: which of them are this manager's to write, and what the objects say by now.

import { isAdopted } from '../adoption/adopt.ts'
import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import { type Fence, unfenced } from '../k8s/fence.ts'
import { createFencedRequests } from '../k8s/fenced-requests.ts'
import type { ClusterView, Kind, ObjectMeta } from '../k8s/objects.ts'
import { createStatusApplier } from '../k8s/status-applier.ts'
import type { ObservedStatus } from '../k8s/status-opinion.ts'
import { createStatusWriter, statusKey, type DesiredStatus as WrittenStatus } from '../k8s/status-writer.ts'
import type { DesiredStatus } from '../plan/report.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'

export interface ReportStatusesOptions {
  readonly client: KubeClient
  readonly store: ClusterStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
  /** Which of the plan's statuses are meant. */
  readonly role: DesiredStatus['fieldManagerRole']
  /** In whose name they are written. */
  readonly fieldManager: string
  /** Default: none, for what a replica says of itself. */
  readonly fence?: Fence
}

export interface ReportStatuses {
  /** All of those of which there are few; `departed` beside them, in the names of others. */
  readonly submit: (few: readonly DesiredStatus[], departed?: readonly WrittenStatus[]) => void
  /** Of some Vips; undefined: nothing is to be said of it any more. */
  readonly offer: (vips: readonly (readonly [name: string, status: DesiredStatus | undefined])[]) => void
}

/** A session that comes up changes its status several times within a second: people should see the last of it soon. */
const settle = { minMs: 250, maxMs: 30_000 }

export function createReportStatuses(options: ReportStatusesOptions): ReportStatuses {
  const { client, store, signal, role, fieldManager, fence = unfenced, ...base } = options
  const writer = createStatusWriter({
    ...base,
    write: createStatusApplier(createFencedRequests({ client, absorb: store.absorb, fence })),
    observed: (kind, name) => observedStatus(store.view(), kind, name),
    signal: AbortSignal.any([signal, fence.signal]),
    settle,
  })
  const written = ({ kind, name, status }: DesiredStatus): WrittenStatus => ({ kind, name, status, fieldManager })
  const isMine = (status: DesiredStatus): boolean => status.fieldManagerRole === role
  return {
    submit: (few, departed = []) => {
      const mine = few.filter((status) => isMine(status) && !standsIn(store.view(), status))
      writer.submit(new Map([...mine.map(written), ...departed].map((each) => [statusKey(each), each])))
    },
    offer: (vips) => {
      writer.offer(vips.flatMap(([, status]) => (status !== undefined && isMine(status) ? [written(status)] : [])))
      for (const [name, status] of vips)
        if (status === undefined) writer.forget(statusKey({ kind: 'Vip', name, fieldManager }))
    },
  }
}

function observedStatus(view: ClusterView, kind: Kind, name: string): ObservedStatus {
  if (kind === 'Vip') {
    const vip = view.vips.get(name)
    return vip === undefined ? 'unknown' : { resourceVersion: vip.meta.resourceVersion, digest: vip.status }
  }
  const object = reportedObject(view, kind, name)
  if (object?.status === undefined) return 'unknown'
  return { resourceVersion: object.meta.resourceVersion, status: object.status }
}

// What only stands in for a foreign object has no status to write.
function standsIn(view: ClusterView, { kind, name }: DesiredStatus): boolean {
  const object = reportedObject(view, kind, name)
  return object !== undefined && isAdopted(object.meta)
}

interface Reported {
  readonly meta: ObjectMeta
  readonly status?: Readonly<Record<string, unknown>>
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
