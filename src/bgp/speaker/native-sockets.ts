// The socket options that Node has no words for (TTL, GTSM, TCP-MD5, DSCP), set by libc through koffi on descriptors that Node
// then takes over. Loaded when the first socket needs it: an agent that never speaks BGP pays nothing. Linux only.
//
//   struct sockaddr_in    family(2, host order) port(2) address(4) zero(8)
//   struct sockaddr_in6   family(2, host order) port(2) flowinfo(4) address(16) scope(4, host order)
//   struct tcp_md5sig     sockaddr_storage(128) flags(1) prefixlen(1) keylen(2) ifindex(4) key(80)

import { createRequire } from 'node:module'
import { getSystemErrorMap } from 'node:util'
import { familyOf, type Ip, type IpFamily, writeIp } from '../../net/ip.ts'
import { err, ok, type Result } from '../../runtime/result.ts'
import type { SocketOptions } from './transport.ts'

/** What the kernel said to a call, in an operator's words. */
export interface NativeError {
  readonly code: 'native/unavailable' | 'native/refused'
  readonly reason: string
}

/** A descriptor of a socket that is not connected; whoever holds it closes it, or gives it to Node. */
export type Descriptor = number

export interface NativeSockets {
  /** A TCP socket for a connection, with its options, bound to `sourceAddress` where there is one. */
  readonly openForDial: (
    address: { readonly address: Ip; readonly zone?: string; readonly sourceAddress?: Ip },
    options: SocketOptions,
  ) => Result<Descriptor, NativeError>
  /** A bound TCP socket to listen on. IPv6 sockets are for IPv6 alone. Its SYN-ACKs leave with TTL 255, so that GTSM peers accept them. */
  readonly openForListen: (address: Ip, port: number) => Result<Descriptor, NativeError>
  /** Sets TTL and least TTL of a connection that was accepted. */
  readonly setHops: (fd: Descriptor, family: IpFamily, options: SocketOptions) => NativeError | undefined
  /** From now on connections with `peer` need this key; undefined takes the key away. */
  readonly setKey: (fd: Descriptor, peer: Ip, password: string | undefined) => NativeError | undefined
  readonly close: (fd: Descriptor) => void
}

const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM = 1
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_IP = 0
const SOL_SOCKET = 1
const SOL_TCP = 6
const SOL_IPV6 = 41
const IP_TOS = 1
const IP_TTL = 2
const IP_MINTTL = 21
const IPV6_UNICAST_HOPS = 16
const IPV6_V6ONLY = 26
const IPV6_TCLASS = 67
const IPV6_MINHOPCOUNT = 73
const SO_REUSEADDR = 2
const TCP_MD5SIG = 14

/** CS6: routing protocols go before the traffic they route (RFC 4271 appendix F: precedence Internet Control). */
const networkControl = 0xc0
/** GTSM peers accept no SYN-ACK with less. */
export const ttlOfListener = 255
const ttlSystem = 64
export const passwordBytesMax = 80

/** The functions of libc as koffi hands them out. */
interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number
  readonly setsockopt: (fd: number, level: number, name: number, value: Uint8Array, length: number) => number
  readonly bind: (fd: number, address: Uint8Array, length: number) => number
  readonly close: (fd: number) => number
  readonly interfaceIndex: (name: string) => number
  readonly errno: () => number
}

let loaded: Result<NativeSockets, NativeError> | undefined

/** The kernel's sockets; loads the library at the first call. */
export function loadNativeSockets(): Result<NativeSockets, NativeError> {
  loaded ??= load()
  return loaded
}

function load(): Result<NativeSockets, NativeError> {
  const refuse = (reason: string): Result<never, NativeError> => err({ code: 'native/unavailable', reason })
  if (process.platform !== 'linux') return refuse(`socket options are known for linux, not for ${process.platform}`)
  try {
    // Not an import: it would load the library, and cost its memory, with the module.
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const c = koffi.load(null)
    return ok(
      createNativeSockets({
        socket: c.func('int socket(int family, int type, int protocol)') as Libc['socket'],
        setsockopt: c.func(
          'int setsockopt(int fd, int level, int name, const void *value, uint32_t length)',
        ) as Libc['setsockopt'],
        bind: c.func('int bind(int fd, const void *address, uint32_t length)') as Libc['bind'],
        close: c.func('int close(int fd)') as Libc['close'],
        interfaceIndex: c.func('uint32_t if_nametoindex(const char *name)') as Libc['interfaceIndex'],
        errno: () => koffi.errno(),
      }),
    )
  } catch (error) {
    return refuse(`the library for socket options (koffi) can not be loaded: ${messageOf(error)}`)
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)

function createNativeSockets(libc: Libc): NativeSockets {
  const refusal = (doing: string): NativeError => {
    const number = libc.errno()
    const [name = `errno ${number}`, words = 'unknown error'] = getSystemErrorMap().get(-number) ?? []
    return { code: 'native/refused', reason: `${doing}: ${words} (${name})` }
  }

  const setInt = (
    fd: Descriptor,
    level: number,
    name: number,
    value: number,
    doing: string,
  ): NativeError | undefined =>
    libc.setsockopt(fd, level, name, hostOrder32(value), 4) === 0 ? undefined : refusal(doing)

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

  const setKey = (fd: Descriptor, peer: Ip, password: string | undefined): NativeError | undefined => {
    const key = new TextEncoder().encode(password ?? '')
    if (key.length > passwordBytesMax || (password !== undefined && key.length === 0))
      return {
        code: 'native/refused',
        reason: `a TCP-MD5 password has 1 to ${passwordBytesMax} bytes, not ${key.length}`,
      }
    const signature = md5Signature(peer, key)
    return libc.setsockopt(fd, SOL_TCP, TCP_MD5SIG, signature, signature.length) === 0
      ? undefined
      : refusal('setting the TCP-MD5 password')
  }

  const bind = (fd: Descriptor, address: Ip, port: number, scope: number): NativeError | undefined => {
    const bytes = socketAddress(address, port, scope)
    return libc.bind(fd, bytes, bytes.length) === 0
      ? undefined
      : refusal(port === 0 ? `using source address ${address}` : `listening on ${address} port ${port}`)
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
    openForDial: ({ address, zone, sourceAddress }, options) => {
      const family = familyOf(address)
      return opened(
        family,
        (fd) =>
          setHops(fd, family, options) ??
          setPrecedence(fd, family) ??
          (options.password === undefined ? undefined : setKey(fd, address, options.password)) ??
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
    close: (fd) => void libc.close(fd),
  }
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function hostOrder32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, littleEndian)
  return bytes
}

function socketAddress(address: Ip, port: number, scope: number): Uint8Array {
  const isIpv4 = familyOf(address) === 'IPv4'
  const bytes = new Uint8Array(isIpv4 ? 16 : 28)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, isIpv4 ? AF_INET : AF_INET6, littleEndian)
  view.setUint16(2, port)
  writeIp(address, bytes, isIpv4 ? 4 : 8)
  if (!isIpv4) view.setUint32(24, scope, littleEndian)
  return bytes
}

const storageBytes = 128

function md5Signature(peer: Ip, key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(storageBytes + 8 + passwordBytesMax)
  bytes.set(socketAddress(peer, 0, 0))
  new DataView(bytes.buffer).setUint16(storageBytes + 2, key.length, littleEndian)
  bytes.set(key, storageBytes + 8)
  return bytes
}
