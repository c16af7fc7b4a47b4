// Autonomous system numbers (RFC 6793) and BGP identifiers (RFC 6286).

import type { Brand } from '../runtime/brand.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { type Ip, ipFromBytes, parseIp } from './ip.ts'

/** 1 .. 4294967295, and none of those that no speaker may use: AS_TRANS (23456), 65535 and 4294967295 (RFC 7300), 0 (RFC 7607). */
export type Asn = Brand<number, 'Asn'>

export interface AsnError {
  readonly code: 'asn/out-of-range' | 'asn/reserved'
  readonly got: number
}

/** What stands in a two-octet field for an AS number that does not fit (RFC 6793). */
export const asTrans = 23456

const reserved: ReadonlySet<number> = new Set([0, asTrans, 65535, 0xffff_ffff])

/** Accepts the AS number of a real speaker. */
export function parseAsn(value: number): Result<Asn, AsnError> {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) return err({ code: 'asn/out-of-range', got: value })
  return reserved.has(value) ? err({ code: 'asn/reserved', got: value }) : ok(value as Asn)
}

/** A non-zero 32-bit BGP identifier, as dotted decimal text. */
export type RouterId = Brand<string, 'RouterId'>

export interface RouterIdError {
  readonly code: 'router-id/malformed' | 'router-id/zero'
  readonly got: string
}

/** Parses dotted decimal text. */
export function parseRouterId(text: string): Result<RouterId, RouterIdError> {
  const ip = parseIp(text)
  if (!ip.ok || text.includes(':')) return err({ code: 'router-id/malformed', got: text })
  return text === '0.0.0.0' ? err({ code: 'router-id/zero', got: text }) : ok(text as RouterId)
}

/** The identifier as an unsigned 32-bit number, for the comparison of RFC 4271 section 6.8. */
export function routerIdToNumber(id: RouterId): number {
  return id.split('.').reduce((value, octet) => value * 256 + Number(octet), 0)
}

/** The identifier of an unsigned 32-bit number; zero is refused. */
export function routerIdFromNumber(value: number): Result<RouterId, RouterIdError> {
  const text: Ip = ipFromBytes(Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff))
  return parseRouterId(text)
}
