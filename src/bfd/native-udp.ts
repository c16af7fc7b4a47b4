// UDP sockets by libc through koffi: what BFD needs and node:dgram has no words for. A filter on the TTL, a receive buffer that
// survives a stall, reading without waiting for the event loop, and thousands of sending sockets that are nothing but descriptors.
// Linux only.
//
//   struct sockaddr_in    family(2, host order) port(2) address(4) zero(8)
//   struct sockaddr_in6   family(2, host order) port(2) flowinfo(4) address(16) scope(4, host order)
//   struct sock_fprog     length(2, host order) padding(6) pointer(8)
//   struct sock_filter    code(2) jt(1) jf(1) k(4), host order

import { createRequire } from 'node:module'
import { getSystemErrorMap } from 'node:util'
import { familyOf, type Ip, type IpFamily, ipFromBytes, writeIp } from '../net/ip.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { Instruction } from './socket-filter.ts'
import type { BfdSocketError, BfdSource } from './transport.ts'

export type Descriptor = number

/** Where a socket is bound, or a packet goes. */
export interface Endpoint {
  readonly address: Ip
  readonly port: number
  readonly zone?: string
}

export interface NativeUdp {
  /** A bound socket that does not block. IPv6 sockets are for IPv6 alone; packets leave with TTL 255 and precedence. */
  readonly open: (
    at: Endpoint,
    options: { readonly filter: readonly Instruction[]; readonly receiveBufferBytes: number },
  ) => Result<Descriptor, BfdSocketError>
  readonly setFilter: (fd: Descriptor, filter: readonly Instruction[]) => BfdSocketError | undefined
  /** The destination in the kernel's form, for `send`. */
  readonly destination: (to: Endpoint) => Result<Uint8Array, BfdSocketError>
  /** What finds no room is lost, and no error. */
  readonly send: (fd: Descriptor, bytes: Uint8Array, destination: Uint8Array) => BfdSocketError | undefined
  /** A packet that has arrived, valid until the next call; undefined when there is none. */
  readonly receive: (fd: Descriptor) => { readonly bytes: Uint8Array; readonly source: () => BfdSource } | undefined
  readonly close: (fd: Descriptor) => void
}

const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_IP = 0
const SOL_SOCKET = 1
const SOL_IPV6 = 41
const IP_TOS = 1
const IP_TTL = 2
const IPV6_UNICAST_HOPS = 16
const IPV6_V6ONLY = 26
const IPV6_TCLASS = 67
const SO_RCVBUF = 8
const SO_ATTACH_FILTER = 26
const SO_RCVBUFFORCE = 33
const MSG_DONTWAIT = 0x40
const interfaceNameBytes = 16

/** CS6: routing protocols go before the traffic they route. */
const networkControl = 0xc0
/** RFC 5881 section 5, RFC 5082: the receiver sees by it that nobody forwarded the packet. */
const ttlSent = 255
/** A control packet with the longest authentication section has 52 octets. */
const packetBytesMax = 256

/** The functions of libc as koffi hands them out. */
interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number
  readonly setsockopt: (fd: number, level: number, name: number, value: Uint8Array, length: number) => number
  readonly attachFilter: (
    fd: number,
    level: number,
    name: number,
    value: { readonly length: number; readonly instructions: Uint8Array },
    length: number,
  ) => number
  readonly bind: (fd: number, address: Uint8Array, length: number) => number
  readonly sendto: (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    to: Uint8Array,
    toLength: number,
  ) => number
  readonly recvfrom: (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    from: Uint8Array,
    fromLength: [number],
  ) => number
  readonly close: (fd: number) => number
  readonly interfaceIndex: (name: string) => number
  readonly interfaceName: (index: number, name: Uint8Array) => unknown
  readonly errno: () => number
}

let loaded: Result<NativeUdp, BfdSocketError> | undefined

/** The kernel's sockets; loads the library at the first call. */
export function loadNativeUdp(): Result<NativeUdp, BfdSocketError> {
  loaded ??= load()
  return loaded
}

function load(): Result<NativeUdp, BfdSocketError> {
  const refuse = (reason: string): Result<never, BfdSocketError> => err({ code: 'bfd-socket/unavailable', reason })
  if (process.platform !== 'linux') return refuse(`BFD sockets are known for linux, not for ${process.platform}`)
  try {
    // Not an import: it would load the library, and cost its memory, with the module.
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const c = koffi.load(null)
    const program = koffi.struct({ length: 'uint16_t', instructions: 'void *' })
    const int = 'int'
    return ok(
      createNativeUdp({
        socket: c.func('int socket(int family, int type, int protocol)') as Libc['socket'],
        setsockopt: c.func(
          'int setsockopt(int fd, int level, int name, const void *value, uint32_t length)',
        ) as Libc['setsockopt'],
        attachFilter: c.func('setsockopt', int, [
          int,
          int,
          int,
          koffi.pointer(program),
          'uint32_t',
        ]) as Libc['attachFilter'],
        bind: c.func('int bind(int fd, const void *address, uint32_t length)') as Libc['bind'],
        sendto: c.func(
          'intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *to, uint32_t toLength)',
        ) as Libc['sendto'],
        recvfrom: c.func(
          'intptr_t recvfrom(int fd, _Out_ void *bytes, size_t length, int flags, _Out_ void *from, _Inout_ uint32_t *fromLength)',
        ) as Libc['recvfrom'],
        close: c.func('int close(int fd)') as Libc['close'],
        interfaceIndex: c.func('uint32_t if_nametoindex(const char *name)') as Libc['interfaceIndex'],
        interfaceName: c.func('void *if_indextoname(uint32_t index, _Out_ void *name)') as Libc['interfaceName'],
        errno: () => koffi.errno(),
      }),
    )
  } catch (error) {
    const words = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    return refuse(`BFD needs the library for socket options (koffi), which can not be loaded: ${words}`)
  }
}

function createNativeUdp(libc: Libc): NativeUdp {
  const packet = new Uint8Array(packetBytesMax)
  const from = new Uint8Array(28)
  const fromLength: [number] = [from.length]

  const refusal = (doing: string): BfdSocketError => {
    const number = libc.errno()
    const [name = `errno ${number}`, words = 'unknown error'] = getSystemErrorMap().get(-number) ?? []
    const code = name === 'EADDRINUSE' ? 'bfd-socket/in-use' : 'bfd-socket/refused'
    return { code, reason: `${doing}: ${words} (${name})` }
  }

  const setInt = (fd: Descriptor, level: number, name: number, value: number): boolean =>
    libc.setsockopt(fd, level, name, hostOrder32(value), 4) === 0

  const setHeader = (fd: Descriptor, family: IpFamily): BfdSocketError | undefined => {
    const isSet =
      family === 'IPv4'
        ? setInt(fd, SOL_IP, IP_TTL, ttlSent) && setInt(fd, SOL_IP, IP_TOS, networkControl)
        : setInt(fd, SOL_IPV6, IPV6_V6ONLY, 1) &&
          setInt(fd, SOL_IPV6, IPV6_UNICAST_HOPS, ttlSent) &&
          setInt(fd, SOL_IPV6, IPV6_TCLASS, networkControl)
    return isSet ? undefined : refusal('setting the TTL of BFD packets')
  }

  const setFilter: NativeUdp['setFilter'] = (fd, filter) => {
    const program = { length: filter.length, instructions: packed(filter) }
    return libc.attachFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, 16) === 0
      ? undefined
      : refusal('attaching the TTL filter for BFD packets')
  }

  const bind = (fd: Descriptor, at: Endpoint): BfdSocketError | undefined => {
    const address = socketAddress(at)
    if (!address.ok) return address.error
    if (libc.bind(fd, address.value, address.value.length) === 0) return undefined
    const { code, reason } = refusal(`binding ${at.address} UDP port ${at.port} for BFD`)
    return { code, reason: code === 'bfd-socket/in-use' ? `${reason}: does a BFD daemon run on this host?` : reason }
  }

  const socketAddress = ({ address, port, zone }: Endpoint): Result<Uint8Array, BfdSocketError> => {
    const isIpv4 = familyOf(address) === 'IPv4'
    const scope = zone === undefined ? 0 : libc.interfaceIndex(zone)
    if (zone !== undefined && scope === 0) return err(refusal(`interface ${zone}`))
    const bytes = new Uint8Array(isIpv4 ? 16 : 28)
    const view = new DataView(bytes.buffer)
    view.setUint16(0, isIpv4 ? AF_INET : AF_INET6, littleEndian)
    view.setUint16(2, port)
    writeIp(address, bytes, isIpv4 ? 4 : 8)
    if (!isIpv4) view.setUint32(24, scope, littleEndian)
    return ok(bytes)
  }

  const zoneOf = (index: number): string | undefined => {
    const name = new Uint8Array(interfaceNameBytes)
    if (index === 0 || libc.interfaceName(index, name) === null) return undefined
    return new TextDecoder().decode(name.subarray(0, name.indexOf(0)))
  }

  const sourceOf = (): BfdSource => {
    const view = new DataView(from.buffer)
    if (view.getUint16(0, littleEndian) === AF_INET) return { address: ipFromBytes(from, 4, 4) }
    const zone = zoneOf(view.getUint32(24, littleEndian))
    return { address: ipFromBytes(from, 8, 16), ...(zone === undefined ? {} : { zone }) }
  }

  return {
    open: (at, { filter, receiveBufferBytes }) => {
      const family = familyOf(at.address)
      const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC
      const fd = libc.socket(family === 'IPv4' ? AF_INET : AF_INET6, type, 0)
      if (fd < 0) return err(refusal(`opening an ${family} socket for BFD`))
      // Without CAP_NET_ADMIN the buffer ends at the system's limit; a smaller one is no reason to do without BFD.
      if (!setInt(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes))
        setInt(fd, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes)
      // The filter comes first: a socket that is bound has packets.
      const failure = setFilter(fd, filter) ?? setHeader(fd, family) ?? bind(fd, at)
      if (failure === undefined) return ok(fd)
      libc.close(fd)
      return err(failure)
    },
    setFilter,
    destination: socketAddress,
    send: (fd, bytes, destination) => {
      if (libc.sendto(fd, bytes, bytes.length, MSG_DONTWAIT, destination, destination.length) >= 0) return undefined
      const failure = refusal('sending BFD packets')
      return /\((EAGAIN|ENOBUFS|ENOMEM|EINTR)\)$/.test(failure.reason) ? undefined : failure
    },
    receive: (fd) => {
      fromLength[0] = from.length
      const length = libc.recvfrom(fd, packet, packet.length, MSG_DONTWAIT, from, fromLength)
      return length < 0 ? undefined : { bytes: packet.subarray(0, length), source: sourceOf }
    },
    close: (fd) => void libc.close(fd),
  }
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function hostOrder32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, littleEndian)
  return bytes
}

function packed(filter: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * filter.length)
  const view = new DataView(bytes.buffer)
  filter.forEach(({ code, ifTrue, ifFalse, operand }, i) => {
    view.setUint16(8 * i, code, littleEndian)
    view.setUint8(8 * i + 2, ifTrue)
    view.setUint8(8 * i + 3, ifFalse)
    view.setUint32(8 * i + 4, operand, littleEndian)
  })
  return bytes
}
