// The condition `bellhop.io/Allocated` that a Service carries: its reasons, and when it counts as another one. One table, so that
// allocation, the documentation and alerts mean the same words.

import type { Condition } from '../k8s/objects.ts'
import { rfc3339 } from './rfc3339.ts'

export const allocatedCondition = 'bellhop.io/Allocated'
export const announcedCondition = 'bellhop.io/Announced'

/**
 * Why a Service does not have what it wants. With status False it has no address, or not all it requires; with status True it
 * keeps the address it had and this is why it did not get the one it asks for, or why it should be looked at.
 */
const refusalReasons = {
  RequestInvalid: 'an annotation or spec.loadBalancerIP is malformed, or two of them contradict each other',
  PoolUnknown: 'the pool that is named does not exist',
  PoolRefused: 'the pool that is named, or that the address came from, exists and makes no sense; see its conditions',
  PoolDisabled: 'the pool is disabled and gives out nothing',
  PoolNotAdmitting: "the pool's namespaces, namespaceSelector or serviceSelector do not admit the Service",
  PoolExhausted: 'no pool that admits the Service has a free address of the family',
  NoPool: 'no pool that assigns automatically admits the Service with addresses of the family',
  AddressNotInPool: 'the address that is asked for lies in no pool, or not in the pool that is named',
  AddressInUse: 'the address that is asked for belongs to somebody else, or is being released',
  AddressOnHold: 'the address that is asked for waits for its previous Service to return',
  SharingRefused: 'the address that is asked for has a holder with whom the Service may not share',
  SharingConflict: 'the Service was edited so that it may no longer share the address that it has',
  AnnotationIgnored: 'an annotation of ours is mistyped, or has a value that means nothing',
} as const

export type RefusalReason = keyof typeof refusalReasons

export interface AllocationRefusal {
  readonly reason: RefusalReason
  /** For operators. Stable while nothing changes: a message that moves would be an Event each time. */
  readonly message: string
}

/** A condition about to be written: the time of its last transition is kept while its status stays. */
export function nextCondition(
  current: readonly Condition[],
  next: Omit<Condition, 'lastTransitionTime'>,
  nowMs: number,
): Condition {
  const before = current.find((condition) => condition.type === next.type)
  const kept = before?.status === next.status ? before.lastTransitionTime : undefined
  return { ...next, lastTransitionTime: kept ?? rfc3339(nowMs) }
}

/** Whether writing `next` would tell anybody something new. */
export function sameCondition(before: Condition | undefined, next: Omit<Condition, 'lastTransitionTime'>): boolean {
  return (
    before !== undefined &&
    before.status === next.status &&
    before.reason === next.reason &&
    before.message === next.message &&
    before.observedGeneration === next.observedGeneration
  )
}
