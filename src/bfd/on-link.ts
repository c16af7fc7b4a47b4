// Whether an address is on a network that this host is connected to, as the interfaces are configured now: what decides between a
// single hop and several where a peer's configuration does not say it.

import { networkInterfaces } from 'node:os'
import { familyOf, type Ip, isLinkLocal, parseIp } from '../net/ip.ts'
import { prefixOf } from '../net/prefix.ts'

export type OnLink = (address: Ip) => boolean

export const systemOnLink: OnLink = (address) =>
  isLinkLocal(address) ||
  Object.values(networkInterfaces()).some((entries) =>
    (entries ?? []).some(({ cidr }) => cidr !== null && isNeighbor(address, cidr)),
  )

/** `cidr` is the address of an interface with the length of its network: 10.0.0.10/24. */
function isNeighbor(address: Ip, cidr: string): boolean {
  const [host = '', length] = cidr.split('/')
  const own = parseIp(host)
  if (!own.ok || familyOf(own.value) !== familyOf(address)) return false
  return prefixOf(own.value, Number(length)) === prefixOf(address, Number(length))
}
