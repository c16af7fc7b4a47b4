// UDP sockets by libc: what BFD needs and node:dgram has no words for. A filter on the TTL, a receive buffer that survives a stall,
// reading without waiting for the event loop, and thousands of sending sockets that are nothing but descriptors.

import { familyOf, type Ip, type IpFamily } from '../net/ip.ts'
import {
  AF_INET,
  AF_INET6,
  type Descriptor,
  filterProgramBytes,
  IP_RECVERR,
  IP_TOS,
  IP_TTL,
  IPV6_RECVERR,
  IPV6_TCLASS,
  IPV6_UNICAST_HOPS,
  IPV6_V6ONLY,
  type Libc,
  lastError,
  loadLibc,
  MSG_DONTWAIT,
  networkControl,
  SO_ATTACH_FILTER,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  setIntOption,
} from '../runtime/libc.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { sourceTowards } from './session-claims.ts'
import { readSocketAddress, socketAddress, socketAddressBytesMax } from './socket-address.ts'
import { type Instruction, packFilter } from './socket-filter.ts'
import type { BfdSocketError, BfdSource } from './transport.ts'

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
    options: {
      readonly filter: readonly Instruction[]
      readonly receiveBufferBytes: number
      /** Takes what comes from there, whatever the port, and leaves the rest to others who share `at` on the same terms. */
      readonly from?: Pick<Endpoint, 'address' | 'zone'>
    },
  ) => Result<Descriptor, BfdSocketError>
  /** The source of packets for an address; undefined: there is no way to it. */
  readonly sourceTowards: (to: Pick<Endpoint, 'address' | 'zone'>) => Ip | undefined
  readonly setFilter: (fd: Descriptor, filter: readonly Instruction[]) => BfdSocketError | undefined
  /** The destination in the kernel's form, for `send`. */
  readonly destination: (to: Endpoint) => Result<Uint8Array, BfdSocketError>
  /** From now on the kernel says what became of packets: `send` and `isRefused` tell. */
  readonly hearOfPackets: (fd: Descriptor, family: IpFamily) => void
  /** What finds no room is lost, and no error. */
  readonly send: (fd: Descriptor, bytes: Uint8Array, destination: Uint8Array) => SendOutcome
  /** Whether an earlier packet was refused, where no `send` has told it. For a socket that takes no packets. */
  readonly isRefused: (fd: Descriptor) => boolean
  /** A packet that has arrived, valid until the next call; undefined when there is none. */
  readonly receive: (fd: Descriptor) => { readonly bytes: Uint8Array; readonly source: () => BfdSource } | undefined
  readonly close: (fd: Descriptor) => void
}

export interface SendOutcome {
  readonly error?: BfdSocketError
  /** An earlier packet was: nobody listens at that port. */
  readonly refused: boolean
}

const sent: SendOutcome = { refused: false }

const interfaceNameBytes = 16

/** RFC 5881 section 5, RFC 5082: the receiver sees by it that nobody forwarded the packet. */
const ttlSent = 255
/** A control packet with the longest authentication section has 52 octets. */
const packetBytesMax = 256

let loaded: Result<NativeUdp, BfdSocketError> | undefined

/** The kernel's sockets; loads the library at the first call. */
export function loadNativeUdp(): Result<NativeUdp, BfdSocketError> {
  if (loaded !== undefined) return loaded
  const libc = loadLibc()
  loaded = libc.ok
    ? ok(createNativeUdp(libc.value))
    : err({ code: 'bfd-socket/unavailable', reason: `no BFD: ${libc.error}` })
  return loaded
}

function createNativeUdp(libc: Libc): NativeUdp {
  const packet = new Uint8Array(packetBytesMax)
  const from = new Uint8Array(socketAddressBytesMax)
  const fromLength: [number] = [from.length]

  const refusal = (doing: string): BfdSocketError => {
    const { name, words } = lastError(libc)
    const code = name === 'EADDRINUSE' ? 'bfd-socket/in-use' : 'bfd-socket/refused'
    return { code, reason: `${doing}: ${words} (${name})` }
  }

  const setInt = (fd: Descriptor, level: number, name: number, value: number): boolean =>
    setIntOption(libc, fd, level, name, value)

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
    const program = { length: filter.length, instructions: packFilter(filter) }
    return libc.attachFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, filterProgramBytes) === 0
      ? undefined
      : refusal('attaching the TTL filter for BFD packets')
  }

  const bind = (fd: Descriptor, at: Endpoint): BfdSocketError | undefined => {
    const address = addressOf(at)
    if (!address.ok) return address.error
    if (libc.bind(fd, address.value, address.value.length) === 0) return undefined
    if (lastError(libc).name === 'EADDRNOTAVAIL')
      return { code: 'bfd-socket/refused', reason: `${at.address} is not on this host` }
    const { code, reason } = refusal(`binding ${at.address} UDP port ${at.port} for BFD`)
    return { code, reason: code === 'bfd-socket/in-use' ? `${reason}: does a BFD daemon run on this host?` : reason }
  }

  const addressOf = ({ address, port, zone }: Endpoint): Result<Uint8Array, BfdSocketError> => {
    const scope = zone === undefined ? 0 : libc.interfaceIndex(zone)
    if (zone !== undefined && scope === 0) return err(refusal(`interface ${zone}`))
    return ok(socketAddress(address, port, scope))
  }

  // The kernel gives a packet to the socket that is connected to where it comes from; one that is connected to port 0 takes any port.
  const takeFrom = (fd: Descriptor, from: Pick<Endpoint, 'address' | 'zone'>): BfdSocketError | undefined => {
    const address = addressOf({ ...from, port: 0 })
    if (!address.ok) return address.error
    return libc.connect(fd, address.value, address.value.length) === 0
      ? undefined
      : refusal(`listening to ${from.address} for BFD`)
  }

  const zoneOf = (index: number): string | undefined => {
    const name = new Uint8Array(interfaceNameBytes)
    if (index === 0 || libc.interfaceName(index, name) === null) return undefined
    return new TextDecoder().decode(name.subarray(0, name.indexOf(0)))
  }

  const sourceOf = (): BfdSource => {
    const { address, scope } = readSocketAddress(from)
    const zone = zoneOf(scope)
    return zone === undefined ? { address } : { address, zone }
  }

  return {
    open: (at, { filter, receiveBufferBytes, from: only }) => {
      const family = familyOf(at.address)
      const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC
      const fd = libc.socket(family === 'IPv4' ? AF_INET : AF_INET6, type, 0)
      if (fd < 0) return err(refusal(`opening an ${family} socket for BFD`))
      // Without CAP_NET_ADMIN the buffer ends at the system's limit; a smaller one is no reason to do without BFD.
      if (!setInt(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes))
        setInt(fd, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes)
      // The filter comes first: a socket that is bound has packets.
      if (only !== undefined) setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1)
      const failure =
        setFilter(fd, filter) ??
        setHeader(fd, family) ??
        bind(fd, at) ??
        (only === undefined ? undefined : takeFrom(fd, only))
      if (failure === undefined) return ok(fd)
      libc.close(fd)
      return err(failure)
    },
    sourceTowards: ({ address, zone }) =>
      sourceTowards(libc, { remote: address, ...(zone === undefined ? {} : { zone }) }),
    setFilter,
    destination: addressOf,
    hearOfPackets: (fd, family) => {
      if (family === 'IPv4') setInt(fd, SOL_IP, IP_RECVERR, 1)
      else setInt(fd, SOL_IPV6, IPV6_RECVERR, 1)
    },
    send: (fd, bytes, destination) => {
      const write = (): boolean =>
        libc.sendto(fd, bytes, bytes.length, MSG_DONTWAIT, destination, destination.length) >= 0
      if (write()) return sent
      // What was said of an earlier packet is told first, once, and this one is not sent then.
      const refused = lastError(libc).name === 'ECONNREFUSED'
      if (write()) return { refused }
      const error = refusal('sending BFD packets')
      return /\((EAGAIN|ENOBUFS|ENOMEM|EINTR)\)$/.test(error.reason) ? { refused } : { refused, error }
    },
    isRefused: (fd) => {
      fromLength[0] = from.length
      const length = libc.recvfrom(fd, packet, packet.length, MSG_DONTWAIT, from, fromLength)
      return length < 0 && lastError(libc).name === 'ECONNREFUSED'
    },
    receive: (fd) => {
      fromLength[0] = from.length
      const length = libc.recvfrom(fd, packet, packet.length, MSG_DONTWAIT, from, fromLength)
      return length < 0 ? undefined : { bytes: packet.subarray(0, length), source: sourceOf }
    },
    close: (fd) => void libc.close(fd),
  }
}
