// IP addresses as values: one canonical text per address, so that equality is `===` and a Map key needs no conversion.
// Everything else in the house takes `Ip`; only this folder knows how addresses are written or stored.

import { Address4, Address6 } from 'ip-address'
import type { Brand } from '../runtime/brand.ts'
import { err, ok, type Result } from '../runtime/result.ts'

/** An IPv4 or IPv6 address in canonical text: dotted decimal without leading zeros, or RFC 5952. Never with a zone. */
export type Ip = Brand<string, 'Ip'>

/** Names as Kubernetes writes them in `ipFamilies`. */
export type IpFamily = 'IPv4' | 'IPv6'

export interface IpError {
  readonly code: 'ip/malformed'
  readonly got: string
}

const dottedQuad = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/

/** Parses an address of either family. Zones (`%eth0`), prefixes (`/24`) and leading zeros in IPv4 are refused. */
export function parseIp(text: string): Result<Ip, IpError> {
  if (dottedQuad.test(text)) return ok(text as Ip)
  if (!text.includes(':') || text.includes('/') || text.includes('%') || !Address6.isValid(text))
    return err({ code: 'ip/malformed', got: text })
  return ok(new Address6(text).correctForm() as Ip)
}

/** The family of an address. */
export const familyOf = (ip: Ip): IpFamily => (ip.includes(':') ? 'IPv6' : 'IPv4')

/** 32 or 128. */
export const addressBits = (family: IpFamily): 32 | 128 => (family === 'IPv4' ? 32 : 128)

/** Network byte order: 4 or 16 bytes. */
export function ipToBytes(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(familyOf(ip) === 'IPv4' ? 4 : 16)
  writeIp(ip, bytes, 0)
  return bytes
}

/** Writes the 4 or 16 bytes of `ip` into `target` at `offset`; returns how many. Allocates nothing for IPv4. */
export function writeIp(ip: Ip, target: Uint8Array, offset: number): 4 | 16 {
  if (familyOf(ip) === 'IPv4') {
    writeIpv4(ip, target, offset)
    return 4
  }
  writeIpv6(ip, target, offset)
  return 16
}

function writeIpv4(ip: string, target: Uint8Array, offset: number): void {
  let octet = 0
  let at = offset
  for (let i = 0; i < ip.length; i++) {
    const char = ip.charCodeAt(i)
    if (char === 0x2e) {
      target[at++] = octet
      octet = 0
    } else octet = octet * 10 + (char - 0x30)
  }
  target[at] = octet
}

function writeIpv6(ip: string, target: Uint8Array, offset: number): void {
  const [head = '', tail] = ip.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  target.fill(0, offset, offset + 16)
  const put = (groups: readonly string[], start: number): void => {
    groups.forEach((group, i) => {
      const value = Number.parseInt(group, 16)
      target[start + 2 * i] = value >> 8
      target[start + 2 * i + 1] = value & 0xff
    })
  }
  put(left, offset)
  put(right, offset + 16 - 2 * right.length)
}

/** The address in 4 or 16 bytes of network order starting at `offset`. Throws on another `length`: the caller's framing is wrong. */
export function ipFromBytes(bytes: Uint8Array, offset = 0, length: number = bytes.length - offset): Ip {
  if (length === 4) return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}` as Ip
  if (length !== 16 || offset + 16 > bytes.length) throw new Error(`an address has 4 or 16 bytes, not ${length}`)
  return canonicalIpv6(bytes, offset)
}

// RFC 5952: lower case, no leading zeros, the longest run (two or more, the first of equals) of zero groups as '::'.
function canonicalIpv6(bytes: Uint8Array, offset: number): Ip {
  const groups: number[] = []
  for (let i = 0; i < 8; i++) groups.push(((bytes[offset + 2 * i] ?? 0) << 8) | (bytes[offset + 2 * i + 1] ?? 0))
  let bestStart = -1
  let bestLength = 1
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && groups[end] === 0) end++
    if (end - i > bestLength) {
      bestStart = i
      bestLength = end - i
    }
    if (end > i) i = end
  }
  const hex = (part: readonly number[]): string => part.map((g) => g.toString(16)).join(':')
  if (bestStart < 0) return hex(groups) as Ip
  return `${hex(groups.slice(0, bestStart))}::${hex(groups.slice(bestStart + bestLength))}` as Ip
}

/** The address as a number: 0 .. 2^32-1 or 0 .. 2^128-1. */
export function ipToBigInt(ip: Ip): bigint {
  let value = 0n
  for (const byte of ipToBytes(ip)) value = (value << 8n) | BigInt(byte)
  return value
}

/** The address with this number in this family. Throws when the number does not fit. */
export function ipFromBigInt(family: IpFamily, value: bigint): Ip {
  const length = addressBits(family) / 8
  if (value < 0n || value >> BigInt(length * 8) !== 0n) throw new Error(`${value} is not an ${family} address`)
  const bytes = new Uint8Array(length)
  let rest = value
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return ipFromBytes(bytes)
}

/** Sorts IPv4 before IPv6, then by number. */
export const compareIp = (a: Ip, b: Ip): number => (a === b ? 0 : compareIpBytes(ipToBytes(a), ipToBytes(b)))

/** The same order, of addresses as bytes: who compares many spells each of them once. */
export function compareIpBytes(left: Uint8Array, right: Uint8Array): number {
  if (left.length !== right.length) return left.length - right.length
  for (let i = 0; i < left.length; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

export interface NotUnicastHost {
  readonly code: 'ip/not-unicast-host'
  readonly got: Ip
  /** For operators: "is a multicast address", ... */
  readonly because: string
}

/** Why `ip` can not be a host that packets are sent to (a next hop, a VIP), or undefined when it can. Link-local IPv6 is fine. */
export function unicastHostRefusal(ip: Ip): NotUnicastHost | undefined {
  const refuse = (because: string): NotUnicastHost => ({ code: 'ip/not-unicast-host', got: ip, because })
  if (familyOf(ip) === 'IPv4') {
    const address = new Address4(ip)
    if (ip === '255.255.255.255') return refuse('is the broadcast address')
    if (ip.startsWith('0.')) return refuse('is in 0.0.0.0/8 ("this network")')
    if (isLoopback(ip)) return refuse('is a loopback address')
    if (address.isMulticast()) return refuse('is a multicast address')
    if (Number.parseInt(ip, 10) >= 240) return refuse('is in 240.0.0.0/4 (reserved)')
    return undefined
  }
  const address = new Address6(ip)
  if (ip === '::') return refuse('is the unspecified address')
  if (isLoopback(ip)) return refuse('is the loopback address')
  if (address.isMulticast()) return refuse('is a multicast address')
  if (ip.startsWith('::ffff:')) return refuse('is an IPv4-mapped address')
  return undefined
}

/** Whether an address is the host's own (127.0.0.0/8 or ::1). */
export const isLoopback = (ip: Ip): boolean => (familyOf(ip) === 'IPv4' ? ip.startsWith('127.') : ip === '::1')

/** Whether an address is link-local (fe80::/10 or 169.254.0.0/16). */
export function isLinkLocal(ip: Ip): boolean {
  return familyOf(ip) === 'IPv4' ? ip.startsWith('169.254.') : /^fe[89ab]/.test(ip)
}
