// The finalizer that Kubernetes reserves for load balancers, ours or not: its name does not say whose it is. The API server knows, and
// this is the one thing that managedFields are read for; who edits them away takes the evidence, and then nobody dares to remove it.

import { leaderManager } from './field-managers.ts'
import { asList, asObject } from './json.ts'

/** Well known, so that other controllers and people recognise what it waits for. */
export const serviceFinalizer = 'service.kubernetes.io/load-balancer-cleanup'

/** Whether a leader of ours put the finalizer on the object with this raw metadata. */
export function isFinalizedByUs(metadata: unknown): boolean {
  return (asList(asObject(metadata)?.['managedFields']) ?? []).some((entry) => {
    const manager = asObject(entry)
    if (manager?.['manager'] !== leaderManager) return false
    const owned = asObject(asObject(asObject(manager['fieldsV1'])?.['f:metadata'])?.['f:finalizers'])
    return owned !== undefined && `v:${JSON.stringify(serviceFinalizer)}` in owned
  })
}
