// The functions of libc that Node has no words for: sockets with options, called through koffi. One room for everybody who needs a
// descriptor that Node did not open. Loaded at the first call: a process that opens no such socket pays nothing. Linux only.

import { createRequire } from 'node:module'
import { getSystemErrorMap } from 'node:util'
import { err, ok, type Result } from './result.ts'

/** A descriptor of ours; whoever holds it closes it, or gives it to Node. */
export type Descriptor = number

/** Where a call keeps its struct sock_fprog, which holds a pointer: length(2) padding(6) pointer(8). */
export interface FilterProgram {
  /** How many instructions. */
  readonly length: number
  /** struct sock_filter each: code(2) jt(1) jf(1) k(4), in host order. */
  readonly instructions: Uint8Array
}

/** The functions as koffi hands them out: they return what the C functions return, and `errno` tells more of -1. */
export interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number
  readonly setsockopt: (fd: Descriptor, level: number, name: number, value: Uint8Array, length: number) => number
  readonly attachFilter: (
    fd: Descriptor,
    level: number,
    name: number,
    value: FilterProgram,
    length: typeof filterProgramBytes,
  ) => number
  readonly bind: (fd: Descriptor, address: Uint8Array, length: number) => number
  readonly connect: (fd: Descriptor, address: Uint8Array, length: number) => number
  readonly getsockname: (fd: Descriptor, address: Uint8Array, length: [number]) => number
  readonly sendto: (
    fd: Descriptor,
    bytes: Uint8Array,
    length: number,
    flags: number,
    to: Uint8Array,
    toLength: number,
  ) => number
  readonly recvfrom: (
    fd: Descriptor,
    bytes: Uint8Array,
    length: number,
    flags: number,
    from: Uint8Array,
    fromLength: [number],
  ) => number
  readonly close: (fd: Descriptor) => number
  /** 0: there is no such interface. */
  readonly interfaceIndex: (name: string) => number
  /** Null: there is no such interface. */
  readonly interfaceName: (index: number, name: Uint8Array) => unknown
  readonly errno: () => number
}

/** sizeof(struct sock_fprog). */
export const filterProgramBytes = 16

let loaded: Result<Libc, string> | undefined

/** The library, or why there is none, in an operator's words. */
export function loadLibc(): Result<Libc, string> {
  loaded ??= load()
  return loaded
}

function load(): Result<Libc, string> {
  if (process.platform !== 'linux') return err(`socket options are known for linux, not for ${process.platform}`)
  try {
    // Not an import: it would load the library, and cost its memory, with the module.
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const c = koffi.load(null)
    const program = koffi.struct({ length: 'uint16_t', instructions: 'void *' })
    const int = 'int'
    return ok({
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
      connect: c.func('int connect(int fd, const void *address, uint32_t length)') as Libc['connect'],
      getsockname: c.func(
        'int getsockname(int fd, _Out_ void *address, _Inout_ uint32_t *length)',
      ) as Libc['getsockname'],
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
    })
  } catch (error) {
    const words = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    return err(`the library for socket options (koffi) can not be loaded: ${words}`)
  }
}

/** The last error of a call, as `EADDRINUSE` and as words. */
export function lastError(libc: Libc): { readonly name: string; readonly words: string } {
  const number = libc.errno()
  const [name = `errno ${number}`, words = 'unknown error'] = getSystemErrorMap().get(-number) ?? []
  return { name, words }
}

/** Sets an option that is an int; whether the kernel took it. */
export const setIntOption = (libc: Libc, fd: Descriptor, level: number, name: number, value: number): boolean =>
  libc.setsockopt(fd, level, name, hostOrder32(value), 4) === 0

/** Of the numbers in the structures of this machine. */
export const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function hostOrder32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, littleEndian)
  return bytes
}

// What <sys/socket.h>, <netinet/in.h> and their kin call by these names on Linux.
export const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_NETLINK = 16
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOCK_NONBLOCK = 0o4000
export const SOCK_CLOEXEC = 0o2000000
export const NETLINK_NETFILTER = 12
export const SOL_IP = 0
export const SOL_SOCKET = 1
export const SOL_TCP = 6
export const SOL_IPV6 = 41
export const IP_TOS = 1
export const IP_TTL = 2
export const IP_RECVERR = 11
export const IP_MINTTL = 21
export const IPV6_UNICAST_HOPS = 16
export const IPV6_RECVERR = 25
export const IPV6_V6ONLY = 26
export const IPV6_TCLASS = 67
export const IPV6_MINHOPCOUNT = 73
export const SO_REUSEADDR = 2
export const SO_RCVBUF = 8
export const SO_ATTACH_FILTER = 26
export const SO_RCVBUFFORCE = 33
export const TCP_MD5SIG = 14
export const TCP_MD5SIG_EXT = 32
export const MSG_DONTWAIT = 0x40

/** CS6: routing protocols go before the traffic they route (RFC 4271 appendix F: precedence Internet Control). */
export const networkControl = 0xc0
