// The socket options that Node has no words for (TTL, GTSM, TCP-MD5, DSCP), set by libc on descriptors that Node then takes over.
//
//   struct tcp_md5sig     sockaddr_storage(128) flags(1) prefixlen(1) keylen(2) ifindex(4) key(80)

import { sourceTowards } from '../../bfd/session-claims.ts'
import { socketAddress } from '../../bfd/socket-address.ts'
import { type Instruction, packFilter } from '../../bfd/socket-filter.ts'
import { addressBits, familyOf, type Ip, type IpFamily } from '../../net/ip.ts'
import { hostPrefix, type Prefix, prefixAddress, prefixFamily, prefixLength } from '../../net/prefix.ts'
import {
  AF_INET,
  AF_INET6,
  type Descriptor,
  filterProgramBytes,
  IP_MINTTL,
  IP_TOS,
  IP_TTL,
  IPV6_MINHOPCOUNT,
  IPV6_TCLASS,
  IPV6_UNICAST_HOPS,
  IPV6_V6ONLY,
  type Libc,
  lastError,
  littleEndian,
  loadLibc,
  networkControl,
  SO_ATTACH_FILTER,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_TCP,
  setIntOption,
  TCP_MD5SIG,
  TCP_MD5SIG_EXT,
} from '../../runtime/libc.ts'
import { err, ok, type Result } from '../../runtime/result.ts'
import { type SocketOptions, ttlSystem } from './transport.ts'

/** What the kernel said to a call, in an operator's words. */
export interface NativeError {
  readonly code: 'native/unavailable' | 'native/refused'
  readonly reason: string
}

export interface NativeSockets {
  /** The source of packets for an address; undefined: there is no way to it. */
  readonly sourceTowards: (to: { readonly remote: Ip; readonly zone?: string }) => Ip | undefined
  /** A TCP socket for a connection, with its options, bound to `sourceAddress` where there is one. */
  readonly openForDial: (
    address: { readonly address: Ip; readonly zone?: string; readonly sourceAddress?: Ip },
    options: SocketOptions,
  ) => Result<Descriptor, NativeError>
  /** A bound TCP socket to listen on. IPv6 sockets are for IPv6 alone. Its SYN-ACKs leave with TTL 255, so that GTSM peers accept them. */
  readonly openForListen: (address: Ip, port: number) => Result<Descriptor, NativeError>
  /** Sets TTL and least TTL of a connection that was accepted. */
  readonly setHops: (fd: Descriptor, family: IpFamily, options: SocketOptions) => NativeError | undefined
  /** From now on connections with this network need this key; undefined takes the key away. */
  readonly setKey: (fd: Descriptor, network: Prefix, password: string | undefined) => NativeError | undefined
  /** What the program drops never reaches the socket, nor the connections that come of it. Replaces the one before. */
  readonly setFilter: (fd: Descriptor, program: readonly Instruction[]) => NativeError | undefined
  readonly close: (fd: Descriptor) => void
}

/** GTSM peers accept no SYN-ACK with less. */
export const ttlOfListener = 255
export const passwordBytesMax = 80

let loaded: Result<NativeSockets, NativeError> | undefined

/** The kernel's sockets; loads the library at the first call. */
export function loadNativeSockets(): Result<NativeSockets, NativeError> {
  if (loaded !== undefined) return loaded
  const libc = loadLibc()
  loaded = libc.ok ? ok(createNativeSockets(libc.value)) : err({ code: 'native/unavailable', reason: libc.error })
  return loaded
}

function createNativeSockets(libc: Libc): NativeSockets {
  const refusal = (doing: string): NativeError => {
    const { name, words } = lastError(libc)
    return { code: 'native/refused', reason: `${doing}: ${words} (${name})` }
  }

  const setInt = (
    fd: Descriptor,
    level: number,
    name: number,
    value: number,
    doing: string,
  ): NativeError | undefined => (setIntOption(libc, fd, level, name, value) ? undefined : refusal(doing))

  const setHops = (fd: Descriptor, family: IpFamily, { ttl, ttlMin }: SocketOptions): NativeError | undefined => {
    const [level, hops, least] =
      family === 'IPv4' ? [SOL_IP, IP_TTL, IP_MINTTL] : [SOL_IPV6, IPV6_UNICAST_HOPS, IPV6_MINHOPCOUNT]
    return (
      setInt(fd, level, hops, ttl ?? ttlSystem, `setting TTL ${ttl ?? ttlSystem}`) ??
      (ttlMin === undefined ? undefined : setInt(fd, level, least, ttlMin, `setting least TTL ${ttlMin} (GTSM)`))
    )
  }

  const setPrecedence = (fd: Descriptor, family: IpFamily): NativeError | undefined =>
    family === 'IPv4'
      ? setInt(fd, SOL_IP, IP_TOS, networkControl, 'setting DSCP')
      : setInt(fd, SOL_IPV6, IPV6_TCLASS, networkControl, 'setting DSCP')

  const setKey = (fd: Descriptor, network: Prefix, password: string | undefined): NativeError | undefined => {
    const key = new TextEncoder().encode(password ?? '')
    if (key.length > passwordBytesMax || (password !== undefined && key.length === 0))
      return {
        code: 'native/refused',
        reason: `a TCP-MD5 password has 1 to ${passwordBytesMax} bytes, not ${key.length}`,
      }
    const signature = md5Signature(network, key)
    // Whole addresses do not need the newer option, which kernels before 4.13 do not know.
    const isHost = prefixLength(network) === addressBits(prefixFamily(network))
    return libc.setsockopt(fd, SOL_TCP, isHost ? TCP_MD5SIG : TCP_MD5SIG_EXT, signature, signature.length) === 0
      ? undefined
      : refusal('setting the TCP-MD5 password')
  }

  const setFilter: NativeSockets['setFilter'] = (fd, program) => {
    const value = { length: program.length, instructions: packFilter(program) }
    return libc.attachFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, value, filterProgramBytes) === 0
      ? undefined
      : refusal('attaching the TTL filter (GTSM)')
  }

  const bind = (fd: Descriptor, address: Ip, port: number, scope: number): NativeError | undefined => {
    const bytes = socketAddress(address, port, scope)
    if (libc.bind(fd, bytes, bytes.length) === 0) return undefined
    if (port !== 0) return refusal(`listening on ${address} port ${port}`)
    return lastError(libc).name === 'EADDRNOTAVAIL'
      ? { code: 'native/refused', reason: `source address ${address} is not on this host` }
      : refusal(`using source address ${address}`)
  }

  // Opens a socket and runs the steps; closes it again when one of them fails.
  const opened = (
    family: IpFamily,
    steps: (fd: Descriptor) => NativeError | undefined,
  ): Result<Descriptor, NativeError> => {
    const fd = libc.socket(family === 'IPv4' ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if (fd < 0) return err(refusal(`opening an ${family} socket`))
    const failure = steps(fd)
    if (failure === undefined) return ok(fd)
    libc.close(fd)
    return err(failure)
  }

  return {
    sourceTowards: (to) => sourceTowards(libc, to),
    openForDial: ({ address, zone, sourceAddress }, options) => {
      const family = familyOf(address)
      return opened(
        family,
        (fd) =>
          setHops(fd, family, options) ??
          setPrecedence(fd, family) ??
          (options.password === undefined ? undefined : setKey(fd, hostPrefix(address), options.password)) ??
          (sourceAddress === undefined
            ? undefined
            : bind(fd, sourceAddress, 0, zone === undefined ? 0 : libc.interfaceIndex(zone))),
      )
    },
    openForListen: (address, port) => {
      const family = familyOf(address)
      return opened(
        family,
        (fd) =>
          setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'setting SO_REUSEADDR') ??
          (family === 'IPv6' ? setInt(fd, SOL_IPV6, IPV6_V6ONLY, 1, 'setting IPV6_V6ONLY') : undefined) ??
          setHops(fd, family, { ttl: ttlOfListener }) ??
          setPrecedence(fd, family) ??
          bind(fd, address, port, 0),
      )
    },
    setHops,
    setKey,
    setFilter,
    close: (fd) => void libc.close(fd),
  }
}

const storageBytes = 128

/** TCP_MD5SIG_FLAG_PREFIX: the length counts. */
const prefixFlag = 1

function md5Signature(network: Prefix, key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(storageBytes + 8 + passwordBytesMax)
  bytes.set(socketAddress(prefixAddress(network), 0, 0))
  bytes[storageBytes] = prefixFlag
  bytes[storageBytes + 1] = prefixLength(network)
  new DataView(bytes.buffer).setUint16(storageBytes + 2, key.length, littleEndian)
  bytes.set(key, storageBytes + 8)
  return bytes
}
