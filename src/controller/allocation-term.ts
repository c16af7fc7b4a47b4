// One term of the leader: a pass of allocation whenever something it depends on has changed, for as long as the fence holds. Nothing is
// decided upon what the predecessor may have changed since. A pass that could not be completed is repeated after a pause, and one is
// due by itself when a hold runs out.

import { backoffMs } from '../k8s/backoff.ts'
import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import { createEventRecorder, type EventNote, type EventSubject } from '../k8s/events.ts'
import type { Fence } from '../k8s/fence.ts'
import type { Kind, NamespacedName } from '../k8s/objects.ts'
import { createWriter } from '../k8s/writer.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { runInSlices } from '../runtime/slices.ts'
import { createTrigger, type Trigger } from '../runtime/trigger.ts'
import { allocating } from '../vip/allocate.ts'
import type { Allocation, ServiceClassRule } from '../vip/types.ts'
import { parseVipName } from '../vip/vip-name.ts'
import { type PassResult, runAllocationPass } from './allocator.ts'
import type { GivenBack } from './given-back.ts'

export interface AllocationTermOptions {
  readonly client: KubeClient
  readonly store: ClusterStore
  readonly clock: Clock
  readonly log: Log
  /** This replica's name, for Events. */
  readonly name: string
  readonly serviceClass: ServiceClassRule
  readonly isWithdrawn: (vip: string) => boolean
  /** What becomes free, and is not to be given to others at once. */
  readonly givenBack: GivenBack
  /** After each pass. */
  readonly onAllocated: () => void
}

export interface AllocationTerm {
  readonly pull: () => void
  readonly note: (note: EventNote) => void
  readonly allocation: () => Allocation | undefined
  readonly stop: () => Promise<void>
}

/** Kinds that allocation reads. EndpointSlices and Nodes, which change all day long, are not among them. */
const read: readonly Kind[] = ['Service', 'Vip', 'VipPool', 'Namespace']

const retryMs = 1000
/** While the API server takes nothing at all. */
const retryMaxMs = 30_000
/** A pass at least this often, whatever changed: a safety net that should never catch anything. */
const resyncMs = 120_000

/** Ends with the fence; `stop` waits until the pass that is under way has ended. */
export function startAllocationTerm(options: AllocationTermOptions, fence: Fence): AllocationTerm {
  const { client, store, clock, log, givenBack } = options
  const events = createEventRecorder({
    ...{ client, clock, log, fence },
    component: 'bellhop-controller',
    instance: options.name,
    signal: fence.signal,
  })
  // A node that still answers on the link is as good as a route.
  const isWithdrawn = (vip: string): boolean =>
    options.isWithdrawn(vip) && store.view().vips.get(vip)?.layer2 === undefined
  const writer = createWriter({
    client,
    clock,
    isWithdrawn,
    services: () => store.view().services,
    absorb: store.absorb,
    absorbDeletion: store.absorbDeletion,
    recordEvent: ({ service, uid, severity, reason, message }) =>
      events.record({ subject: serviceSubject(service, uid), severity, reason, message }),
    fence,
  })
  // What the predecessor wrote last may not have reached our view: nothing is decided before lists younger than the election.
  let current = false
  // A replica that has just started first has to announce, and would only list twice at the same time.
  const confirmed = store.whenSynced(fence.signal).then(() => store.confirm(read))
  confirmed.then(
    () => {
      current = true
      trigger.pull()
    },
    // Rejected only at the end of the term, or of the process.
    () => {},
  )
  let allocation: Allocation | undefined
  let busyMs = 0
  let cancelWake: CancelTimer = () => {}
  /** Passes in a row of which the API server took nothing. */
  let refusals = 0
  let startAt = 0
  const pass = async (): Promise<void> => {
    if (!current || !fence.holds()) return
    const result = await runAllocationPass({
      allocate: async () => {
        const startMs = clock.monotonicMs()
        const deciding = allocating({
          view: store.view(),
          serviceClass: options.serviceClass,
          withdrawn: isWithdrawn,
          nowMs: clock.wallMs(),
          avoided: givenBack.avoided(),
        })
        const decided = await runInSlices(deciding, { clock, signal: fence.signal })
        busyMs = clock.monotonicMs() - startMs
        return decided
      },
      execute: async (step, signal) => {
        const done = await writer.executeStep(step, signal)
        const freed = done.ok && step.type === 'delete-vip' ? parseVipName(step.name) : undefined
        if (freed !== undefined) givenBack.note(freed)
        return done
      },
      log,
      startAt,
      signal: fence.signal,
    })
    startAt = result.startAt
    allocation = result.allocation
    options.onAllocated()
    cancelWake()
    refusals = result.refused ? refusals + 1 : 0
    if (!fence.holds()) return
    cancelWake = clock.setTimer(wakeInMs(result, refusals, clock), () => trigger.pull())
  }
  const trigger: Trigger = createTrigger(pass, {
    clock,
    busyMs: () => busyMs,
    onError: (error) => {
      log.error({ event: 'allocation-failed', message: String(error) })
      cancelWake()
      cancelWake = clock.setTimer(retryMs, () => trigger.pull())
    },
  })
  return {
    pull: trigger.pull,
    note: events.record,
    allocation: () => allocation,
    stop: async () => {
      await trigger.stop()
      // Not before: the pass that was under way has set the timer again.
      cancelWake()
    },
  }
}

function serviceSubject(service: NamespacedName, uid: string): EventSubject {
  const [namespace = '', name = ''] = service.split('/')
  return { apiVersion: 'v1', kind: 'Service', namespace, name, uid }
}

function wakeInMs({ allocation, complete }: PassResult, refusals: number, clock: Clock): number {
  // The full time: which replica leads, and that it is one, is jitter enough.
  if (!complete) return refusals === 0 ? retryMs : backoffMs(refusals, 1, { baseMs: retryMs, capMs: retryMaxMs })
  const untilHoldEndsMs = (allocation.wakeAtMs ?? Number.POSITIVE_INFINITY) - clock.wallMs()
  return Math.max(0, Math.min(resyncMs, untilHoldEndsMs))
}
