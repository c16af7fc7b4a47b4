// The values of path attributes, both directions side by side. The readers expect bytes that `update-rules.ts` has found
// well formed; they never throw, but on other bytes they would make little sense.
//
//   AS_PATH segment   type(1) count(1) AS number(2 or 4) x count      RFC 4271 section 4.3, RFC 5065, RFC 6793
//   AGGREGATOR        AS number(2 or 4) address(4)                    RFC 4271 section 5.1.7
//   COMMUNITIES       community(4) x n                                RFC 1997
//   LARGE_COMMUNITY   global(4) local 1(4) local 2(4) x n             RFC 8092
//   EXTENDED_COMM.    type and value(8) x n                           RFC 4360

import { asTrans } from '../../net/asn.ts'
import {
  type Community,
  communityFromNumber,
  type ExtendedCommunity,
  extendedCommunityFromBytes,
  extendedCommunityToBytes,
  type LargeCommunity,
  largeCommunityFromParts,
  largeCommunityParts,
} from '../../net/community.ts'
import { type Ip, ipFromBytes, writeIp } from '../../net/ip.ts'
import { readU16, readU32, writeU16, writeU32 } from './bytes.ts'
import type { AsPathSegment, Origin } from './message.ts'

/** How many octets an AS number takes: 4 between NEW speakers (RFC 6793). */
export type AsnOctets = 2 | 4

const origins: readonly Origin[] = ['IGP', 'EGP', 'INCOMPLETE']

/** The value octet of ORIGIN. */
export const originToOctet = (origin: Origin): number => origins.indexOf(origin)
export const originFromOctet = (octet: number): Origin => origins[octet] ?? 'INCOMPLETE'

// ------------------------------------------------------------------------------------------------------- AS_PATH

// Segment types 1 .. 4.
const segmentTypes: readonly AsPathSegment['type'][] = ['AS_SET', 'AS_SEQUENCE', 'AS_CONFED_SEQUENCE', 'AS_CONFED_SET']
const segmentAsnsMax = 255

/** What stands for an AS number in a field of two octets. */
const twoOctetAsn = (asn: number): number => (asn > 0xffff ? asTrans : asn)

/**
 * AS_PATH or AS4_PATH. A sequence of more than 255 AS numbers becomes several segments, as RFC 4271 section 5.1.2 prepends;
 * a set of more than 255 has no encoding and is thrown, as is an empty segment.
 */
export function encodeAsPath(segments: readonly AsPathSegment[], octets: AsnOctets): Uint8Array {
  const pieces = segments.flatMap(splitSegment)
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + 2 + octets * piece.asns.length, 0))
  let at = 0
  for (const { type, asns } of pieces) {
    bytes[at++] = segmentTypes.indexOf(type) + 1
    bytes[at++] = asns.length
    for (const asn of asns) at = octets === 4 ? writeU32(bytes, at, asn) : writeU16(bytes, at, twoOctetAsn(asn))
  }
  return bytes
}

function splitSegment(segment: AsPathSegment): readonly AsPathSegment[] {
  const { type, asns } = segment
  if (asns.length === 0) throw new Error(`an ${type} segment without AS numbers has no encoding`)
  if (asns.length <= segmentAsnsMax) return [segment]
  if (type === 'AS_SET' || type === 'AS_CONFED_SET') throw new Error(`an ${type} of ${asns.length} has no encoding`)
  const pieces: AsPathSegment[] = []
  // The first piece is the short one, so that whoever prepends next finds room in it.
  let end = asns.length % segmentAsnsMax === 0 ? segmentAsnsMax : asns.length % segmentAsnsMax
  for (let start = 0; start < asns.length; start = end, end += segmentAsnsMax)
    pieces.push({ type, asns: asns.slice(start, end) })
  return pieces
}

export function decodeAsPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  octets: AsnOctets,
): readonly AsPathSegment[] {
  const segments: AsPathSegment[] = []
  let at = start
  while (at + 2 <= end) {
    const type = segmentTypes[(bytes[at] ?? 0) - 1] ?? 'AS_SET'
    const count = bytes[at + 1] ?? 0
    at += 2
    const asns: number[] = []
    for (let i = 0; i < count; i++, at += octets) asns.push(octets === 4 ? readU32(bytes, at) : readU16(bytes, at))
    segments.push({ type, asns })
  }
  return segments
}

/** Whether a segment counts for nothing in the length of a path and never leaves a confederation (RFC 5065). */
export const isConfederationSegment = ({ type }: AsPathSegment): boolean =>
  type === 'AS_CONFED_SEQUENCE' || type === 'AS_CONFED_SET'

// ---------------------------------------------------------------------------------------------------- AGGREGATOR

export interface Aggregator {
  readonly asn: number
  readonly address: Ip
}

export function encodeAggregator({ asn, address }: Aggregator, octets: AsnOctets): Uint8Array {
  const bytes = new Uint8Array(octets + 4)
  const at = octets === 4 ? writeU32(bytes, 0, asn) : writeU16(bytes, 0, twoOctetAsn(asn))
  writeIp(address, bytes, at)
  return bytes
}

export const decodeAggregator = (bytes: Uint8Array, at: number, octets: AsnOctets): Aggregator => ({
  asn: octets === 4 ? readU32(bytes, at) : readU16(bytes, at),
  address: ipFromBytes(bytes, at + octets, 4),
})

// --------------------------------------------------------------------------------------- lists of equal-sized items

/** CLUSTER_LIST, COMMUNITIES: unsigned 32-bit numbers. */
export function encodeU32List(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  values.forEach((value, i) => {
    writeU32(bytes, 4 * i, value)
  })
  return bytes
}

export function decodeU32List(bytes: Uint8Array, start: number, end: number): readonly number[] {
  const values: number[] = []
  for (let at = start; at + 4 <= end; at += 4) values.push(readU32(bytes, at))
  return values
}

export const decodeCommunities = (bytes: Uint8Array, start: number, end: number): readonly Community[] =>
  decodeU32List(bytes, start, end).map(communityFromNumber)

export const encodeLargeCommunities = (communities: readonly LargeCommunity[]): Uint8Array =>
  encodeU32List(communities.flatMap(largeCommunityParts))

export function decodeLargeCommunities(bytes: Uint8Array, start: number, end: number): readonly LargeCommunity[] {
  const communities: LargeCommunity[] = []
  for (let at = start; at + 12 <= end; at += 12)
    communities.push(largeCommunityFromParts(readU32(bytes, at), readU32(bytes, at + 4), readU32(bytes, at + 8)))
  return communities
}

export function encodeExtendedCommunities(communities: readonly ExtendedCommunity[]): Uint8Array {
  const bytes = new Uint8Array(8 * communities.length)
  communities.forEach((community, i) => {
    bytes.set(extendedCommunityToBytes(community), 8 * i)
  })
  return bytes
}

export function decodeExtendedCommunities(bytes: Uint8Array, start: number, end: number): readonly ExtendedCommunity[] {
  const communities: ExtendedCommunity[] = []
  for (let at = start; at + 8 <= end; at += 8) communities.push(extendedCommunityFromBytes(bytes, at))
  return communities
}
