// What allocation asks to be done. Each Service's steps run in order and stop at the first failure; the next pass, over what
// is then true, continues. The creation of a Vip is the lock: two controllers that choose one address meet a 409, not each other's traffic.

import type { Condition, NamespacedName, VipClaim } from '../k8s/objects.ts'
import type { Ip } from '../net/ip.ts'

export interface VipSpec {
  readonly address: Ip
  readonly pool: string
  readonly services: readonly VipClaim[]
}

export type AllocationStep =
  /** Create, or fail with AlreadyExists: somebody else was first. */
  | { readonly type: 'create-vip'; readonly name: string; readonly spec: VipSpec }
  /** Replace the spec, guarded by resourceVersion. */
  | { readonly type: 'update-vip'; readonly name: string; readonly resourceVersion: string; readonly spec: VipSpec }
  /** Delete, guarded by uid and resourceVersion. */
  | { readonly type: 'delete-vip'; readonly name: string; readonly uid: string; readonly resourceVersion: string }
  | {
      readonly type: 'add-finalizer'
      readonly service: NamespacedName
      readonly uid: string
      readonly resourceVersion: string
    }
  | {
      readonly type: 'remove-finalizer'
      readonly service: NamespacedName
      readonly uid: string
      readonly resourceVersion: string
    }
  /** Write status.loadBalancer.ingress (all of it) and our condition. */
  | {
      readonly type: 'set-service-status'
      readonly service: NamespacedName
      readonly uid: string
      readonly ingress: readonly Ip[]
      readonly condition: Condition
    }
  | {
      readonly type: 'event'
      readonly service: NamespacedName
      readonly uid: string
      readonly severity: 'Normal' | 'Warning'
      readonly reason: string
      readonly message: string
    }

/** Steps for one Service (or for a Vip whose Service is gone: then `service` names the claim). */
export interface AllocationWork {
  readonly service: NamespacedName
  readonly steps: readonly AllocationStep[]
}

export interface PoolUsage {
  readonly pool: string
  /** Addresses in the pool, decimal text: an IPv6 pool may hold 2^64 and more. */
  readonly total: bigint
  readonly used: number
  readonly available: bigint
  /** Parts that an older pool already has. */
  readonly overlaps: readonly { readonly range: string; readonly pool: string }[]
}

export interface Allocation {
  readonly work: readonly AllocationWork[]
  readonly pools: ReadonlyMap<string, PoolUsage>
}
