// The EndpointSlices of each Service as one list, replaced when any of them changes, so that its identity tells.

import type { EndpointSlice, NamespacedName } from './objects.ts'

export interface SliceIndex {
  readonly byService: ReadonlyMap<NamespacedName, readonly EndpointSlice[]>
  /** A slice came (nothing before), went (nothing after) or changed, perhaps to another Service. */
  readonly change: (before: EndpointSlice | undefined, after: EndpointSlice | undefined) => void
}

/** Calls `changed` for each Service whose list became another one. */
export function createSliceIndex(changed: (service: NamespacedName) => void): SliceIndex {
  const byService = new Map<NamespacedName, readonly EndpointSlice[]>()
  const replace = (
    service: NamespacedName,
    before: EndpointSlice | undefined,
    after: EndpointSlice | undefined,
  ): void => {
    const rest = (byService.get(service) ?? []).filter((slice) => slice !== before)
    // By name, so that the same slices are the same list in every replica.
    const next = after === undefined ? rest : [...rest, after].sort((a, b) => (a.meta.name < b.meta.name ? -1 : 1))
    if (next.length === 0) byService.delete(service)
    else byService.set(service, next)
    changed(service)
  }
  return {
    byService,
    change: (before, after) => {
      if (before !== undefined && before.service !== after?.service) replace(before.service, before, undefined)
      if (after !== undefined) replace(after.service, before?.service === after.service ? before : undefined, after)
    },
  }
}
