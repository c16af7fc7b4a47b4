// What each VIP's plan was made from, turned round: from a Service, a pool or a node to the VIPs that must be planned again when it
// changes. The planner's memo is right exactly as long as this index is complete.

import type { ClusterChanges, NamespacedName } from '../k8s/objects.ts'
import type { VipPlan } from './vip-plan.ts'

export interface Dependencies {
  /** The VIPs of these Services. */
  readonly ofServices: (services: Iterable<NamespacedName>) => ReadonlySet<string>
  /** Takes note of a VIP's new plan; undefined = it has none. */
  readonly replace: (vip: string, before: VipPlan | undefined, after: VipPlan | undefined) => void
  /** The VIPs that the changes concern. `nodes`: nodes whose verdict is another one than before. */
  readonly dependents: (changes: ClusterChanges, nodes: ReadonlySet<string>) => ReadonlySet<string>
}

const nothing: readonly string[] = []

export function createDependencies(): Dependencies {
  const byService = new Map<string, Set<string>>()
  const byPool = new Map<string, Set<string>>()
  const byNode = new Map<string, Set<string>>()
  const onEveryNode = new Set<string>()

  const move = (index: Map<string, Set<string>>, vip: string, from: readonly string[], to: readonly string[]): void => {
    for (const key of from) {
      if (to.includes(key)) continue
      const vips = index.get(key)
      vips?.delete(vip)
      if (vips?.size === 0) index.delete(key)
    }
    for (const key of to) {
      const vips = index.get(key) ?? new Set<string>()
      index.set(key, vips.add(vip))
    }
  }
  return {
    replace: (vip, before, after) => {
      move(byService, vip, before?.services ?? nothing, after?.services ?? nothing)
      move(byPool, vip, before === undefined ? nothing : [before.pool], after === undefined ? nothing : [after.pool])
      move(byNode, vip, before?.nodes ?? nothing, after?.nodes ?? nothing)
      if (after?.everyNode === true) onEveryNode.add(vip)
      else onEveryNode.delete(vip)
    },
    ofServices: (services) => new Set([...services].flatMap((service) => [...(byService.get(service) ?? nothing)])),
    dependents: (changes, nodes) => {
      const vips = new Set<string>(changes.get('Vip'))
      const add = (index: ReadonlyMap<string, ReadonlySet<string>>, keys: Iterable<string>): void => {
        for (const key of keys) for (const vip of index.get(key) ?? nothing) vips.add(vip)
      }
      add(byService, changes.get('Service') ?? nothing)
      add(byService, changes.get('EndpointSlice') ?? nothing)
      add(byPool, changes.get('VipPool') ?? nothing)
      add(byNode, nodes)
      if (nodes.size > 0) for (const vip of onEveryNode) vips.add(vip)
      return vips
    },
  }
}
