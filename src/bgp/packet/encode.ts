// From message values to bytes: one textbook encoding per value, because some routers reset or crash on legal but unusual
// ones. The single writers (prefixes, attribute and message headers, attribute blocks) are exported for the packer of the
// RIB, which fills UPDATEs itself. A value that has no legal encoding is our own mistake and is thrown.
//
//   message   marker(16 x ff) length(2) type(1) body                                                RFC 4271 section 4.1
//   UPDATE    withdrawn length(2) withdrawn, attributes length(2) attributes, NLRI                  RFC 4271 section 4.3
//   attribute flags(1) code(1) length(1, or 2 with the Extended Length flag) value
//   NLRI      [path id(4)] prefix bits(1) prefix(as many octets as the bits need)                   RFC 7911 section 3

import { type Ip, ipToBytes, writeIp } from '../../net/ip.ts'
import { type Prefix, prefixFamily, prefixLength } from '../../net/prefix.ts'
import { unreachable } from '../../runtime/result.ts'
import { type AttributeName, attributeByName, extendedLengthFlag } from './attribute-table.ts'
import {
  encodeAggregator,
  encodeAsPath,
  encodeExtendedCommunities,
  encodeLargeCommunities,
  encodeU32List,
  isConfederationSegment,
  originToOctet,
} from './attribute-values.ts'
import { concatBytes, u16, u32, writeU16, writeU32 } from './bytes.ts'
import {
  type AfiSafi,
  afiSafiOf,
  type BgpMessage,
  type Family,
  familyOfAfiSafi,
  type MpReach,
  type MpUnreach,
  type Nlri,
  type PathAttributes,
  type SessionCodec,
  type UpdateMessage,
} from './message.ts'
import { encodeOpenBody } from './open.ts'

/** Message types (RFC 4271 section 4.1, RFC 2918). */
export const messageTypeCode = {
  OPEN: 1,
  UPDATE: 2,
  NOTIFICATION: 3,
  KEEPALIVE: 4,
  'ROUTE-REFRESH': 5,
} as const satisfies Record<BgpMessage['type'], number>

export const headerBytes = 19
const openBytesMax = 4096

/**
 * The whole message with its header. Throws on what has no legal encoding on this session: a message beyond
 * `messageBytesMaxSend` (4096 for an OPEN), a path id missing or present against `addPathSend`, IPv4 unicast in a
 * multiprotocol attribute where RFC 8950 was not negotiated.
 */
export function encodeMessage(message: BgpMessage, codec: SessionCodec): Uint8Array {
  const body = encodeBody(message, codec)
  const bytes = new Uint8Array(headerBytes + body.length)
  const limit = message.type === 'OPEN' ? openBytesMax : codec.messageBytesMaxSend
  if (bytes.length > limit) throw new Error(`${message.type} of ${bytes.length} octets exceeds the ${limit} allowed`)
  writeMessageHeader(bytes, 0, bytes.length, message.type)
  bytes.set(body, headerBytes)
  return bytes
}

function encodeBody(message: BgpMessage, codec: SessionCodec): Uint8Array {
  switch (message.type) {
    case 'OPEN':
      return encodeOpenBody(message)
    case 'UPDATE':
      return encodeUpdateBody(message, codec)
    case 'KEEPALIVE':
      return new Uint8Array(0)
    case 'NOTIFICATION':
      return concatBytes([Uint8Array.of(message.code, message.subcode), message.data])
    case 'ROUTE-REFRESH':
      return concatBytes([u16(message.afi), Uint8Array.of(message.subtype, message.safi)])
    default:
      return unreachable(message)
  }
}

// RFC 7606 section 5.1: MP_REACH_NLRI or MP_UNREACH_NLRI comes before every other attribute.
function encodeUpdateBody({ withdrawn, attributes, nlri }: UpdateMessage, codec: SessionCodec): Uint8Array {
  const withdrawnBytes = encodeNlriList(withdrawn, 'ipv4-unicast', codec)
  const { mpReach, mpUnreach } = attributes
  const block = concatBytes([
    ...(mpReach === undefined ? [] : [attribute('MP_REACH_NLRI', encodeMpReach(mpReach, codec))]),
    ...(mpUnreach === undefined ? [] : [attribute('MP_UNREACH_NLRI', encodeMpUnreach(mpUnreach, codec))]),
    encodePathAttributes(attributes, codec),
  ])
  return concatBytes([
    u16(withdrawnBytes.length),
    withdrawnBytes,
    u16(block.length),
    block,
    encodeNlriList(nlri, 'ipv4-unicast', codec),
  ])
}

// ------------------------------------------------------------------------------------------------ path attributes

/**
 * The attribute block without MP_REACH_NLRI and MP_UNREACH_NLRI, in ascending order of type codes. Towards an OLD speaker
 * (RFC 6793) AS_PATH and AGGREGATOR carry AS_TRANS for what does not fit, and AS4_PATH and AS4_AGGREGATOR follow. An empty
 * list of communities or clusters is no attribute: on the wire it would be malformed.
 */
export function encodePathAttributes(attributes: PathAttributes, codec: SessionCodec): Uint8Array {
  const known = attributeValues(attributes, codec).map(([name, value]) => ({
    code: attributeByName(name).code,
    bytes: attribute(name, value),
  }))
  const unknown = (attributes.unknown ?? []).map(({ code, flags, bytes }) => ({
    code,
    bytes: attributeWithFlags(flags, code, bytes),
  }))
  return concatBytes([...known, ...unknown].sort((a, b) => a.code - b.code).map(({ bytes }) => bytes))
}

function attributeValues(a: PathAttributes, codec: SessionCodec): readonly (readonly [AttributeName, Uint8Array])[] {
  const values: (readonly [AttributeName, Uint8Array])[] = []
  const octets = codec.fourOctetAs ? 4 : 2
  if (a.origin !== undefined) values.push(['ORIGIN', Uint8Array.of(originToOctet(a.origin))])
  if (a.asPath !== undefined) values.push(['AS_PATH', encodeAsPath(a.asPath, octets)])
  if (a.nextHop !== undefined) values.push(['NEXT_HOP', ipToBytes(a.nextHop)])
  if (a.med !== undefined) values.push(['MULTI_EXIT_DISC', u32(a.med)])
  if (a.localPref !== undefined) values.push(['LOCAL_PREF', u32(a.localPref)])
  if (a.atomicAggregate) values.push(['ATOMIC_AGGREGATE', new Uint8Array(0)])
  if (a.aggregator !== undefined) values.push(['AGGREGATOR', encodeAggregator(a.aggregator, octets)])
  if (a.communities?.length) values.push(['COMMUNITIES', encodeU32List(a.communities)])
  if (a.originatorId !== undefined) values.push(['ORIGINATOR_ID', u32(a.originatorId)])
  if (a.clusterList?.length) values.push(['CLUSTER_LIST', encodeU32List(a.clusterList)])
  if (a.extendedCommunities?.length)
    values.push(['EXTENDED_COMMUNITIES', encodeExtendedCommunities(a.extendedCommunities)])
  if (!codec.fourOctetAs) values.push(...as4Values(a))
  if (a.largeCommunities?.length) values.push(['LARGE_COMMUNITY', encodeLargeCommunities(a.largeCommunities)])
  if (a.onlyToCustomer !== undefined) values.push(['ONLY_TO_CUSTOMER', u32(a.onlyToCustomer)])
  return values
}

// RFC 6793 section 4.2.2: only where an AS number does not fit in two octets, and without confederation segments.
function as4Values({ asPath = [], aggregator }: PathAttributes): readonly (readonly [AttributeName, Uint8Array])[] {
  const values: (readonly [AttributeName, Uint8Array])[] = []
  const path = asPath.filter((segment) => !isConfederationSegment(segment))
  if (path.some(({ asns }) => asns.some((asn) => asn > 0xffff))) values.push(['AS4_PATH', encodeAsPath(path, 4)])
  if (aggregator !== undefined && aggregator.asn > 0xffff)
    values.push(['AS4_AGGREGATOR', encodeAggregator(aggregator, 4)])
  return values
}

function attribute(name: AttributeName, value: Uint8Array): Uint8Array {
  const { flags, code } = attributeByName(name)
  return attributeWithFlags(flags, code, value)
}

function attributeWithFlags(flags: number, code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(attributeHeaderBytes(value.length) + value.length)
  bytes.set(value, writeAttributeHeader(bytes, 0, flags, code, value.length))
  return bytes
}

/** 3, or 4 where the value needs the Extended Length flag. */
export const attributeHeaderBytes = (valueBytes: number): 3 | 4 => (valueBytes > 255 ? 4 : 3)

/** Writes flags, code and length; the Extended Length flag is set exactly when needed. Returns the offset of the value. */
export function writeAttributeHeader(
  target: Uint8Array,
  at: number,
  flags: number,
  code: number,
  valueBytes: number,
): number {
  if (valueBytes > 0xffff) throw new Error(`attribute ${code} of ${valueBytes} octets has no encoding`)
  const long = valueBytes > 255
  target[at] = long ? flags | extendedLengthFlag : flags & ~extendedLengthFlag
  target[at + 1] = code
  if (long) return writeU16(target, at + 2, valueBytes)
  target[at + 2] = valueBytes
  return at + 3
}

/** Writes marker, length and type. Returns the offset of the body. */
export function writeMessageHeader(
  target: Uint8Array,
  at: number,
  messageBytes: number,
  type: BgpMessage['type'],
): number {
  target.fill(0xff, at, at + 16)
  target[writeU16(target, at + 16, messageBytes)] = messageTypeCode[type]
  return at + headerBytes
}

// ------------------------------------------------------------------------------------------ multiprotocol attributes

/**
 * The value of MP_REACH_NLRI up to its NLRI: AFI, SAFI, next hops with their length, the reserved octet (RFC 4760 section 3).
 * One next hop, or a global and a link-local IPv6 address (RFC 2545 section 3).
 */
export function mpReachHeader(family: Family, nextHops: readonly Ip[]): Uint8Array {
  const addresses = concatBytes(nextHops.map(ipToBytes))
  return concatBytes([afiSafi(afiSafiOf[family]), Uint8Array.of(addresses.length), addresses, Uint8Array.of(0)])
}

/** The value of MP_UNREACH_NLRI up to its NLRI; alone it is the End-of-RIB of the family (RFC 4724 section 2). */
export const mpUnreachHeader = (family: Family): Uint8Array => afiSafi(afiSafiOf[family])

const afiSafi = ({ afi, safi }: AfiSafi): Uint8Array => Uint8Array.of(afi >>> 8, afi & 0xff, safi)

function encodeMpReach(reach: MpReach, codec: SessionCodec): Uint8Array {
  if (reach.raw !== undefined) return concatBytes([afiSafi(reach), reach.raw])
  const family = multiprotocolFamily(reach, codec)
  return concatBytes([mpReachHeader(family, reach.nextHops), encodeNlriList(reach.nlri, family, codec)])
}

function encodeMpUnreach(unreach: MpUnreach, codec: SessionCodec): Uint8Array {
  if (unreach.raw !== undefined) return concatBytes([afiSafi(unreach), unreach.raw])
  const family = multiprotocolFamily(unreach, codec)
  return concatBytes([mpUnreachHeader(family), encodeNlriList(unreach.withdrawn, family, codec)])
}

// IPv4 unicast has its own place in the UPDATE. Elsewhere it is legal, but unusual enough to have ended a router's process.
function multiprotocolFamily(pair: AfiSafi, codec: SessionCodec): Family {
  const family = familyOfAfiSafi(pair)
  if (family === undefined) throw new Error(`no encoding for routes of AFI ${pair.afi} SAFI ${pair.safi}`)
  if (family === 'ipv4-unicast' && !codec.extendedNextHop?.has(family))
    throw new Error('IPv4 unicast in a multiprotocol attribute needs the extended-next-hop capability (RFC 8950)')
  return family
}

// ----------------------------------------------------------------------------------------------------------- NLRI

function encodeNlriList(nlri: readonly Nlri[], family: Family, codec: SessionCodec): Uint8Array {
  const withPathId = codec.addPathSend.has(family)
  const bytes = new Uint8Array(nlri.reduce((sum, { prefix, pathId }) => sum + nlriBytes(prefix, pathId), 0))
  let at = 0
  for (const { prefix, pathId } of nlri) {
    if ((pathId !== undefined) !== withPathId)
      throw new Error(`${prefix} ${withPathId ? 'without' : 'with'} a path id: ADD-PATH was negotiated otherwise`)
    if ((prefixFamily(prefix) === 'IPv4') !== (family === 'ipv4-unicast'))
      throw new Error(`${prefix} is no ${family} prefix`)
    at = writeNlri(bytes, at, prefix, pathId)
  }
  return bytes
}

/** Octets that `writeNlri` writes. */
export const nlriBytes = (prefix: Prefix, pathId: number | undefined): number =>
  (pathId === undefined ? 1 : 5) + ((prefixLength(prefix) + 7) >>> 3)

const address = new Uint8Array(16)

/** Writes one NLRI entry; `pathId` exactly when ADD-PATH is sent for the family. Returns the offset behind it. */
export function writeNlri(target: Uint8Array, offset: number, prefix: Prefix, pathId: number | undefined): number {
  let at = pathId === undefined ? offset : writeU32(target, offset, pathId)
  const slash = prefix.indexOf('/')
  let bits = 0
  for (let i = slash + 1; i < prefix.length; i++) bits = bits * 10 + (prefix.charCodeAt(i) - 0x30)
  target[at++] = bits
  const octets = (bits + 7) >>> 3
  if (!prefix.includes(':')) return writeIpv4Octets(target, at, prefix, octets)
  writeIp(prefix.slice(0, slash) as Ip, address, 0)
  for (let i = 0; i < octets; i++) target[at++] = address[i] ?? 0
  return at
}

// Character by character, because a table of 10 000 VIPs on 16 nodes writes 160 000 of these for each peer.
function writeIpv4Octets(target: Uint8Array, offset: number, prefix: Prefix, octets: number): number {
  const end = offset + octets
  let octet = 0
  let at = offset
  for (let i = 0; at < end; i++) {
    const char = prefix.charCodeAt(i)
    if (char === 0x2e || char === 0x2f) {
      target[at++] = octet
      octet = 0
    } else octet = octet * 10 + (char - 0x30)
  }
  return at
}
