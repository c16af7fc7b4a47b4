// The state that one API server serves, and the two settings that its write path asks about. Everything that reads or changes
// objects takes this value; it has no behaviour of its own.

import type { Clock } from '../../runtime/clock.ts'
import type { AddressAllocator } from './admission/address-allocator.ts'
import type { Registry } from './registry/registry.ts'
import type { Store } from './storage/store.ts'

export interface Cluster {
  readonly store: Store
  readonly registry: Registry
  readonly addresses: AddressAllocator
  readonly clock: Clock
  /**
   * graceful: a pod on a node stays, with a deletionTimestamp, until its kubelet deletes it with grace period 0.
   * immediate: it goes at once, for clusters without kubelets.
   */
  readonly podDeletion: 'graceful' | 'immediate'
}

/** The present time as Kubernetes writes it: RFC 3339 in UTC with whole seconds. */
export const nowText = (cluster: Cluster): string =>
  new Date(cluster.clock.wallMs()).toISOString().replace(/\.\d+Z$/, 'Z')
