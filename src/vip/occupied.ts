// Addresses inside the pools that belong to somebody already: a node, a router, a ClusterIP. Given out as a VIP, such an address
// would cut its owner off, from the cluster or from us. A pool may lie over the nodes' own network; only these addresses are left out.

import { type ClusterView, namespacedName } from '../k8s/objects.ts'
import type { Ip } from '../net/ip.ts'
import type { AddressOwnership } from './pool-ranges.ts'

/** By address: whose it is, in words. */
export type OccupiedAddresses = ReadonlyMap<Ip, string>

/** Those that lie in a pool. */
export function occupiedAddresses(
  view: Pick<ClusterView, 'nodes' | 'bgpPeers' | 'services'>,
  { poolOf }: Pick<AddressOwnership, 'poolOf'>,
): OccupiedAddresses {
  const occupied = new Map<Ip, string>()
  const note = (address: Ip, owner: string): void => {
    if (!occupied.has(address) && poolOf(address) !== undefined) occupied.set(address, owner)
  }
  for (const { meta, internalIPs } of view.nodes.values()) for (const ip of internalIPs) note(ip, `node ${meta.name}`)
  for (const { meta, address } of view.bgpPeers.values())
    if (address !== undefined) note(address, `the router of BgpPeer ${meta.name}`)
  for (const { meta, clusterIPs } of view.services.values())
    for (const ip of clusterIPs) note(ip, `the ClusterIP of Service ${namespacedName(meta.namespace, meta.name)}`)
  return occupied
}
