// Internet addresses as the kernel's calls take and return them. Shared by the sockets of BFD and of BGP.
//
//   struct sockaddr_in    family(2, host order) port(2) address(4) zero(8)
//   struct sockaddr_in6   family(2, host order) port(2) flowinfo(4) address(16) scope(4, host order)

import { familyOf, type Ip, ipFromBytes, writeIp } from '../net/ip.ts'
import { AF_INET, AF_INET6, littleEndian } from '../runtime/libc.ts'

/** The longer of the two forms. */
export const socketAddressBytesMax = 28

/** `scope`: the index of a link-local address's interface, else 0. */
export function socketAddress(address: Ip, port: number, scope: number): Uint8Array {
  const isIpv4 = familyOf(address) === 'IPv4'
  const bytes = new Uint8Array(isIpv4 ? 16 : socketAddressBytesMax)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, isIpv4 ? AF_INET : AF_INET6, littleEndian)
  view.setUint16(2, port)
  writeIp(address, bytes, isIpv4 ? 4 : 8)
  if (!isIpv4) view.setUint32(24, scope, littleEndian)
  return bytes
}

/** What the kernel wrote into `bytes`; the port is of no interest to anybody here. */
export function readSocketAddress(bytes: Uint8Array): { readonly address: Ip; readonly scope: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return view.getUint16(0, littleEndian) === AF_INET
    ? { address: ipFromBytes(bytes, 4, 4), scope: 0 }
    : { address: ipFromBytes(bytes, 8, 16), scope: view.getUint32(24, littleEndian) }
}
