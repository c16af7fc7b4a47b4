// Which sessions of a host exclude each other. A router has one BGP session with an address, and one BFD session (RFC 5881 section 3): a
// second program of the host that spoke from the same address would end the first one's session, that one its own in turn, and so on
// for ever. So a session is claimed before its first packet, by the addresses it runs between; who comes second waits, and says so.

import { familyOf, type Ip, isLoopback } from '../net/ip.ts'
import { AF_INET, AF_INET6, type Libc, SOCK_CLOEXEC, SOCK_DGRAM } from '../runtime/libc.ts'
import { readSocketAddress, socketAddress, socketAddressBytesMax } from './socket-address.ts'

export interface SessionEnds {
  readonly local: Ip
  readonly remote: Ip
  /** Interface of a link-local `remote`. */
  readonly zone?: string
}

/** The name of the BGP session with what listens on a TCP port of the router. */
export const bgpClaim = (ends: SessionEnds, port: number): string => `bellhop/bgp ${between(ends)} ${port}`

/** The name of the BFD session, over however many hops. */
export const bfdClaim = (ends: SessionEnds): string => `bellhop/bfd ${between(ends)}`

const between = ({ local, remote, zone }: SessionEnds): string =>
  `${local} ${remote}${zone === undefined ? '' : `%${zone}`}`

/**
 * Whether the BGP session is to be claimed. On loopback the router is a program of this host itself, which may well take several
 * sessions from one address, as those do that exist to try things out.
 */
export const isExclusive = (remote: Ip): boolean => !isLoopback(remote)

/** Why a session has to wait whose name another program has, in an operator's words. */
export const claimRefusal = ({ local, remote }: SessionEnds): string =>
  `another program of this host has the session with ${remote} from ${local}, and a router has one with each address: a second one needs a source address of its own`

/** A datagram that goes nowhere. */
const anyPort = 3784

/** The source address that the kernel's routes give to packets for `remote`; undefined: there is no way to it. */
export function sourceTowards(libc: Libc, { remote, zone }: Pick<SessionEnds, 'remote' | 'zone'>): Ip | undefined {
  const scope = zone === undefined ? 0 : libc.interfaceIndex(zone)
  const fd = libc.socket(familyOf(remote) === 'IPv4' ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (fd < 0) return undefined
  const to = socketAddress(remote, anyPort, scope)
  const from = new Uint8Array(socketAddressBytesMax)
  const isKnown = libc.connect(fd, to, to.length) === 0 && libc.getsockname(fd, from, [from.length]) === 0
  libc.close(fd)
  return isKnown ? readSocketAddress(from).address : undefined
}
