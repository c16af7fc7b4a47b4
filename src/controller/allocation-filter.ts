// Whether a change of the cluster concerns allocation. A pass looks at every Service, so it must not follow from what we write
// ourselves all day: the status of a Vip or a pool, and the condition on a Service that says whether it is announced.

import { isDeepStrictEqual } from 'node:util'
import type { BgpPeer, ClusterChanges, ClusterView, Node, ObjectMeta, Service, Vip, VipPool } from '../k8s/objects.ts'
import { announcedCondition } from '../vip/conditions.ts'

export interface AllocationFilter {
  /** Whether `changes` hold anything that allocation reads and that is another than at the last call. */
  readonly concerns: (view: ClusterView, changes: ClusterChanges) => boolean
}

export function createAllocationFilter(): AllocationFilter {
  const services = new Map<string, Service>()
  const vips = new Map<string, Vip>()
  const pools = new Map<string, VipPool>()
  const nodes = new Map<string, Node>()
  const peers = new Map<string, BgpPeer>()
  return {
    concerns: (view, changes) => {
      // Each is asked in any case, and takes note of what it has seen.
      const service = differs(services, view.services, changes.get('Service'), readOfService)
      const vip = differs(vips, view.vips, changes.get('Vip'), readOfVip)
      const pool = differs(pools, view.vipPools, changes.get('VipPool'), withoutStatus)
      const node = differs(nodes, view.nodes, changes.get('Node'), ({ internalIPs }) => internalIPs)
      const peer = differs(peers, view.bgpPeers, changes.get('BgpPeer'), ({ address }) => address)
      return service || vip || pool || node || peer || changes.has('Namespace')
    },
  }
}

function differs<V>(
  seen: Map<string, V>,
  current: ReadonlyMap<string, V>,
  keys: ReadonlySet<string> | undefined,
  read: (value: V) => unknown,
): boolean {
  let found = false
  for (const key of keys ?? []) {
    const before = seen.get(key)
    const after = current.get(key)
    if (after === undefined) seen.delete(key)
    else seen.set(key, after)
    // Without a value it is gone, or cannot be read any more, which is a fact of its own.
    found ||= before === undefined || after === undefined || !isDeepStrictEqual(read(before), read(after))
  }
  return found
}

// Each write is another version; allocation decides upon whichever it meets.
const unversioned = (meta: ObjectMeta): unknown => ({ ...meta, resourceVersion: '' })

const readOfService = ({ meta, conditions, ...rest }: Service): unknown => ({
  ...rest,
  meta: unversioned(meta),
  conditions: conditions.filter(({ type }) => type !== announcedCondition),
})

// Which node answers on the link is nobody's allocation; that none does any more is what a release waits for.
const readOfVip = ({ layer2, ...rest }: Vip): unknown => ({
  ...(withoutStatus(rest) as object),
  answered: layer2 !== undefined,
})

const withoutStatus = ({ meta, status: _status, ...rest }: Vip | VipPool): unknown => ({
  ...rest,
  meta: unversioned(meta),
})
