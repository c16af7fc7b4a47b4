// Prefixes as values: canonical "network/length" text, host bits clear, so that equality is `===`.

import type { Brand } from '../runtime/brand.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { addressBits, familyOf, type Ip, type IpFamily, ipFromBytes, ipToBytes, parseIp } from './ip.ts'

/** Canonical prefix text such as `203.0.113.0/24` or `2001:db8::/64`. */
export type Prefix = Brand<string, 'Prefix'>

export interface PrefixError {
  readonly code: 'prefix/malformed' | 'prefix/host-bits-set'
  readonly got: string
}

/** Parses `address/length`. An address with host bits set is refused: a typo there hides a whole network. */
export function parsePrefix(text: string): Result<Prefix, PrefixError> {
  const [address = '', length = '', ...rest] = text.split('/')
  const ip = parseIp(address)
  if (!ip.ok || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(length))
    return err({ code: 'prefix/malformed', got: text })
  const bits = Number(length)
  if (bits > addressBits(familyOf(ip.value))) return err({ code: 'prefix/malformed', got: text })
  const prefix = prefixOf(ip.value, bits)
  return prefixAddress(prefix) === ip.value ? ok(prefix) : err({ code: 'prefix/host-bits-set', got: text })
}

/** The network of `length` bits that holds `ip`. Throws when `length` is not a length of that family. */
export function prefixOf(ip: Ip, length: number): Prefix {
  const bits = addressBits(familyOf(ip))
  if (!Number.isInteger(length) || length < 0 || length > bits) throw new Error(`/${length} is not a length for ${ip}`)
  if (length === bits) return `${ip}/${bits}` as Prefix
  const bytes = ipToBytes(ip)
  for (let i = 0; i < bytes.length; i++) {
    const keep = Math.min(8, Math.max(0, length - 8 * i))
    bytes[i] = (bytes[i] ?? 0) & (0xff00 >> keep) & 0xff
  }
  return `${ipFromBytes(bytes)}/${length}` as Prefix
}

/** /32 or /128. */
export const hostPrefix = (ip: Ip): Prefix => prefixOf(ip, addressBits(familyOf(ip)))

/** The network address. */
export const prefixAddress = (prefix: Prefix): Ip => prefix.slice(0, prefix.indexOf('/')) as Ip

/** The length in bits. */
export const prefixLength = (prefix: Prefix): number => Number(prefix.slice(prefix.indexOf('/') + 1))

export const prefixFamily = (prefix: Prefix): IpFamily => (prefix.includes(':') ? 'IPv6' : 'IPv4')

/** Whether `ip` lies in `prefix`; false across families. */
export function prefixContains(prefix: Prefix, ip: Ip): boolean {
  return prefixFamily(prefix) === familyOf(ip) && prefixOf(ip, prefixLength(prefix)) === prefix
}
