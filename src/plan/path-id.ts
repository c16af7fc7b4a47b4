// The path id of a next hop (RFC 7911): a function of its address alone, so that every replica, and the same replica after a
// restart, uses the same one and nothing moves because something else did. Never a counter.

import { familyOf, type Ip, ipToBytes } from '../net/ip.ts'
import { hash32 } from './hash.ts'

/**
 * 1 .. 2^32-1 for each address. IPv4: the address as a number. IPv6: a 32-bit hash; where two collide, the higher address takes
 * the next hash that is free. Ids of the two families are independent: a prefix never has next hops of both.
 */
export function pathIds(addresses: Iterable<Ip>): ReadonlyMap<Ip, number> {
  const ids = new Map<Ip, number>()
  const taken = new Set<number>()
  // Text order is enough: it only has to be the same everywhere.
  for (const address of [...new Set(addresses)].sort()) {
    const id = familyOf(address) === 'IPv4' ? ipv4PathId(address) : freeHash(address, taken)
    ids.set(address, id)
    if (familyOf(address) === 'IPv6') taken.add(id)
  }
  return ids
}

// 0.0.0.0 is no next hop, but zero must not come out of here whatever goes in.
function ipv4PathId(address: Ip): number {
  return ipToBytes(address).reduce((value, byte) => value * 256 + byte, 0) || 1
}

function freeHash(address: Ip, taken: ReadonlySet<number>): number {
  for (let attempt = 0; ; attempt++) {
    const id = hash32(address, attempt)
    if (id !== 0 && !taken.has(id)) return id
  }
}
