// BGP communities as operators write them: standard (RFC 1997), large (RFC 8092), extended (RFC 4360).

import type { Brand } from '../runtime/brand.ts'
import { err, ok, type Result } from '../runtime/result.ts'

/** 32 bits, unsigned. */
export type Community = Brand<number, 'Community'>
/** `global:local1:local2`, each an unsigned 32-bit number without leading zeros. */
export type LargeCommunity = Brand<string, 'LargeCommunity'>
/** Eight bytes as 16 lower-case hex digits. */
export type ExtendedCommunity = Brand<string, 'ExtendedCommunity'>

export interface CommunityError {
  readonly code: 'community/malformed'
  readonly got: string
}

export type ParsedCommunity =
  | { readonly kind: 'standard'; readonly value: Community }
  | { readonly kind: 'large'; readonly value: LargeCommunity }

/** IANA "BGP Well-known Communities", by the names operators use. */
const wellKnownCommunities: Readonly<Record<string, Community>> = {
  'no-export': 0xffff_ff01 as Community,
  'no-advertise': 0xffff_ff02 as Community,
  'no-export-subconfed': 0xffff_ff03 as Community,
  'no-peer': 0xffff_ff04 as Community,
  blackhole: 0xffff_029a as Community,
  'graceful-shutdown': 0xffff_0000 as Community,
  'accept-own': 0xffff_0001 as Community,
  'llgr-stale': 0xffff_0006 as Community,
  'no-llgr': 0xffff_0007 as Community,
}

/** RFC 8326. */
export const gracefulShutdown: Community = 0xffff_0000 as Community

/** Parses `64512:100`, `64512:1:2`, or a well-known name. */
export function parseCommunity(text: string): Result<ParsedCommunity, CommunityError> {
  const named = wellKnownCommunities[text.toLowerCase()]
  if (named !== undefined) return ok({ kind: 'standard', value: named })
  const parts = text.split(':')
  const numbers = parts.map((part) => (/^(0|[1-9]\d{0,9})$/.test(part) ? Number(part) : Number.NaN))
  const [high = 0, low = 0] = numbers
  if (numbers.length === 2 && numbers.every((n) => n <= 0xffff))
    return ok({ kind: 'standard', value: communityFromParts(high, low) })
  if (numbers.length === 3 && numbers.every((n) => n <= 0xffff_ffff))
    return ok({ kind: 'large', value: parts.join(':') as LargeCommunity })
  return err({ code: 'community/malformed', got: text })
}

/** `high:low` as one number; both 0 .. 65535. */
export const communityFromParts = (high: number, low: number): Community => (high * 65536 + low) as Community

/** A community read from the wire: any 32 bits are one. */
export const communityFromNumber = (value: number): Community => (value >>> 0) as Community

/** A large community read from the wire. */
export const largeCommunityFromParts = (global: number, local1: number, local2: number): LargeCommunity =>
  `${global >>> 0}:${local1 >>> 0}:${local2 >>> 0}` as LargeCommunity

/** The three unsigned 32-bit numbers of a large community. */
export function largeCommunityParts(community: LargeCommunity): readonly [number, number, number] {
  const [global = 0, local1 = 0, local2 = 0] = community.split(':').map(Number)
  return [global, local1, local2]
}

/** The name where there is one, else `high:low`. */
export function renderCommunity(community: Community): string {
  const named = Object.entries(wellKnownCommunities).find(([, value]) => value === community)
  return named?.[0] ?? `${Math.floor(community / 65536)}:${community % 65536}`
}

/** Eight bytes at `offset` as an extended community. */
export function extendedCommunityFromBytes(bytes: Uint8Array, offset = 0): ExtendedCommunity {
  let hex = ''
  for (let i = offset; i < offset + 8; i++) hex += (bytes[i] ?? 0).toString(16).padStart(2, '0')
  return hex as ExtendedCommunity
}

/** The eight bytes. */
export function extendedCommunityToBytes(community: ExtendedCommunity): Uint8Array {
  return Uint8Array.from({ length: 8 }, (_, i) => Number.parseInt(community.slice(2 * i, 2 * i + 2), 16))
}

/**
 * Link bandwidth (draft-ietf-idr-link-bandwidth): type 0x40 (non-transitive), subtype 0x04, a two-octet AS and an IEEE
 * single-precision float of bytes per second. An AS above 65535 is written as AS_TRANS.
 */
export function linkBandwidthCommunity(asn: number, bytesPerSecond: number): ExtendedCommunity {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 0x4004)
  view.setUint16(2, asn > 0xffff ? 23456 : asn)
  view.setFloat32(4, bytesPerSecond)
  return extendedCommunityFromBytes(bytes)
}
