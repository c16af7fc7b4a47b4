// What allocation asks to be done. Each Service's steps run in order and stop at the first failure; the next pass, over what
// is then true, continues. The creation of a Vip is the lock: two controllers that choose one address meet a 409, not each other's traffic.

import type { Condition, NamespacedName, VipClaim, VipHold } from '../k8s/objects.ts'
import type { Ip } from '../net/ip.ts'
import type { OccupiedAddresses } from './occupied.ts'

export interface VipSpec {
  readonly address: Ip
  readonly pool: string
  readonly services: readonly VipClaim[]
  readonly hold?: VipHold
}

/** Which Services are ours. */
export interface ServiceClassRule {
  /** Services with this loadBalancerClass are ours. */
  readonly name: string
  /** Services without a class are ours too. */
  readonly handleDefault: boolean
}

/**
 * A look at the API server itself, not at the cache, before a claim is taken away: the view may be older than what another
 * leader did. `gone`: no Service of this name has this uid. Else: it has this uid and is still at this resourceVersion.
 */
export type ServiceFence =
  | { readonly service: NamespacedName; readonly uid: string; readonly expect: 'gone' }
  | {
      readonly service: NamespacedName
      readonly uid: string
      readonly expect: 'unchanged'
      readonly resourceVersion: string
    }

export type AllocationStep =
  /** Create, or fail with AlreadyExists: somebody else was first. */
  | { readonly type: 'create-vip'; readonly name: string; readonly spec: VipSpec }
  /** Replace the spec, guarded by resourceVersion, after every fence held. */
  | {
      readonly type: 'update-vip'
      readonly name: string
      readonly resourceVersion: string
      readonly spec: VipSpec
      readonly fences: readonly ServiceFence[]
    }
  /** Delete, guarded by uid and resourceVersion, after every fence held. */
  | {
      readonly type: 'delete-vip'
      readonly name: string
      readonly uid: string
      readonly resourceVersion: string
      readonly fences: readonly ServiceFence[]
    }
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
  /**
   * Write status.loadBalancer.ingress (all of it) and our condition. Guarded by resourceVersion: the view's, or, after an earlier
   * step of the same work changed the Service, the one which that write returned.
   */
  | {
      readonly type: 'set-service-status'
      readonly service: NamespacedName
      readonly uid: string
      readonly resourceVersion: string
      readonly ingress: readonly Ip[]
      readonly condition: Condition
      /** The Service is no longer ours: take every `bellhop.io/` condition away instead of writing this one. */
      readonly removeConditions?: true
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
  /** Released addresses that wait for their Service to return. */
  readonly held: number
  readonly available: bigint
  /** Parts that an older pool already has. */
  readonly overlaps: readonly { readonly range: string; readonly pool: string }[]
  /** Addresses of nodes, routers and the like that lie in the pool. */
  readonly occupied: OccupiedAddresses
}

export interface Allocation {
  readonly work: readonly AllocationWork[]
  readonly pools: ReadonlyMap<string, PoolUsage>
  /** When the next pass is due although nothing changed: the earliest end of a hold. */
  readonly wakeAtMs?: number
}
