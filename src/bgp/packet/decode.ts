// From bytes to message values, or to the NOTIFICATION that ends the session. No bytes make it throw: what a peer sends is
// data. `scanUpdate` gives the verdict alone, for a speaker that counts received routes and keeps none.

import { ipFromBytes } from '../../net/ip.ts'
import { reconstruct } from './as4.ts'
import { attributeByCode, extendedLengthFlag } from './attribute-table.ts'
import {
  type AsnOctets,
  decodeAggregator,
  decodeAsPath,
  decodeCommunities,
  decodeExtendedCommunities,
  decodeLargeCommunities,
  decodeU32List,
  originFromOctet,
} from './attribute-values.ts'
import { readU16, readU32, u16 } from './bytes.ts'
import { headerBytes, messageTypeCode } from './encode.ts'
import { headerError, routeRefreshLengthError } from './errors.ts'
import type { Slot } from './finding.ts'
import { headerProblem } from './framing.ts'
import type {
  AfiSafi,
  BgpMessage,
  MpReach,
  MpUnreach,
  Nlri,
  PathAttributes,
  SessionCodec,
  SessionError,
  UnknownAttribute,
  UpdateIssue,
  UpdateMessage,
} from './message.ts'
import type { MultiprotocolRoutes } from './multiprotocol-rules.ts'
import { readNlri, type Span } from './nlri.ts'
import { decodeOpenBody } from './open.ts'
import { type ClassicRoutes, type ExaminedUpdate, examineUpdate } from './update-rules.ts'

export type Decoded =
  | {
      readonly ok: true
      /**
       * Where an issue says treat-as-withdraw, an UPDATE announces nothing: every route it announced stands among the
       * withdrawn, IPv4 in `withdrawn`, IPv6 in `attributes.mpUnreach`, and its attributes are gone.
       */
      readonly message: BgpMessage
      /** Only for UPDATE. */
      readonly issues: readonly UpdateIssue[]
      /** The family whose initial routes are now complete (RFC 4724 section 2). */
      readonly endOfRib?: AfiSafi
    }
  | { readonly ok: false; readonly error: SessionError; readonly issues?: readonly UpdateIssue[] }

export type ScannedUpdate =
  | {
      readonly ok: true
      /** Entries to be taken as announced, 0 under treat-as-withdraw. With ADD-PATH each path counts. */
      readonly announced: number
      /** Entries to be taken as withdrawn, those of treat-as-withdraw among them. */
      readonly withdrawn: number
      /** The family whose initial routes are now complete (RFC 4724 section 2). */
      readonly endOfRib?: AfiSafi
      readonly issues: readonly UpdateIssue[]
    }
  | { readonly ok: false; readonly error: SessionError; readonly issues: readonly UpdateIssue[] }

const noIssues: readonly UpdateIssue[] = []

/**
 * Decodes one whole message with its header, as the framer cuts them. AS_PATH and AGGREGATOR come with four-octet numbers
 * whatever the session speaks (RFC 6793 section 4.2.3). Values do not share memory with `bytes`.
 */
export function decodeMessage(bytes: Uint8Array, codec: SessionCodec): Decoded {
  const problem = wholeMessageProblem(bytes, codec)
  if (problem !== undefined) return { ok: false, error: problem }
  switch (bytes[typeAt]) {
    case messageTypeCode.OPEN: {
      const open = decodeOpenBody(bytes.subarray(headerBytes))
      return open.ok ? { ok: true, message: open.value, issues: noIssues } : open
    }
    case messageTypeCode.UPDATE: {
      const examined = examineUpdate(bytes, codec)
      if (!examined.ok) return examined
      const { issues, endOfRib } = examined.update
      const message = buildUpdate(bytes, examined.update, codec)
      return { ok: true, message, issues, ...(endOfRib === undefined ? {} : { endOfRib }) }
    }
    case messageTypeCode.NOTIFICATION:
      return {
        ok: true,
        message: {
          type: 'NOTIFICATION',
          code: bytes[headerBytes] ?? 0,
          subcode: bytes[headerBytes + 1] ?? 0,
          data: bytes.slice(headerBytes + 2),
        },
        issues: noIssues,
      }
    case messageTypeCode['ROUTE-REFRESH']:
      return decodeRouteRefresh(bytes, codec)
    default:
      return { ok: true, message: { type: 'KEEPALIVE' }, issues: noIssues }
  }
}

/** The verdict of `decodeMessage` on an UPDATE, without building its routes and attributes. */
export function scanUpdate(bytes: Uint8Array, codec: SessionCodec): ScannedUpdate {
  const problem = wholeMessageProblem(bytes, codec) ?? notAnUpdate(bytes)
  if (problem !== undefined) return { ok: false, error: problem, issues: noIssues }
  const examined = examineUpdate(bytes, codec)
  if (!examined.ok) return examined
  const { withdrawn, nlri, mpReach, mpUnreach, treatAsWithdraw, endOfRib, issues } = examined.update
  const announced = nlri.count + countOf(mpReach)
  const removed = withdrawn.count + countOf(mpUnreach)
  return {
    ok: true,
    announced: treatAsWithdraw ? 0 : announced,
    withdrawn: treatAsWithdraw ? removed + announced : removed,
    ...(endOfRib === undefined ? {} : { endOfRib }),
    issues,
  }
}

const countOf = (routes: MultiprotocolRoutes | undefined): number => (routes?.type === 'readable' ? routes.count : 0)

const typeAt = 18

function wholeMessageProblem(bytes: Uint8Array, codec: SessionCodec): SessionError | undefined {
  if (bytes.length < headerBytes)
    return headerError('bad-length', `a message of ${bytes.length} octets`, u16(bytes.length))
  const problem = headerProblem(bytes, 0, codec.messageBytesMaxReceive)
  const length = readU16(bytes, headerBytes - 3)
  if (problem !== undefined || length === bytes.length) return problem
  return headerError('bad-length', `length ${length} in a message of ${bytes.length} octets`, u16(length))
}

const notAnUpdate = (bytes: Uint8Array): SessionError | undefined => {
  const type = bytes[typeAt] ?? 0
  if (type === messageTypeCode.UPDATE) return undefined
  return headerError('bad-type', `message type ${type} where an UPDATE was expected`, Uint8Array.of(type))
}

const routeRefreshBytes = 23

// More than four octets of body are an Outbound Route Filter (RFC 5291): not negotiated here, so only the request counts.
function decodeRouteRefresh(bytes: Uint8Array, codec: SessionCodec): Decoded {
  const subtype = bytes[headerBytes + 2]
  const enhanced = codec.enhancedRouteRefresh === true && (subtype === 1 || subtype === 2)
  if (enhanced && bytes.length !== routeRefreshBytes) return { ok: false, error: routeRefreshLengthError(bytes) }
  if (bytes.length < routeRefreshBytes || subtype === undefined)
    return {
      ok: false,
      error: headerError('bad-length', `length ${bytes.length} in a ROUTE-REFRESH`, u16(bytes.length)),
    }
  const afi = readU16(bytes, headerBytes)
  return {
    ok: true,
    message: { type: 'ROUTE-REFRESH', afi, subtype, safi: bytes[headerBytes + 3] ?? 0 },
    issues: noIssues,
  }
}

// -------------------------------------------------------------------------------------------------------- UPDATE

function buildUpdate(bytes: Uint8Array, update: ExaminedUpdate, codec: SessionCodec): UpdateMessage {
  const withdrawn = classicRoutes(bytes, update.withdrawn)
  const nlri = classicRoutes(bytes, update.nlri)
  if (update.treatAsWithdraw) return buildWithdrawal(bytes, update, withdrawn, nlri)
  return { type: 'UPDATE', withdrawn, attributes: buildAttributes(bytes, update, codec), nlri }
}

const classicRoutes = (bytes: Uint8Array, routes: ClassicRoutes): readonly Nlri[] =>
  routes.count === 0 ? [] : readNlri(bytes, routes, routes.form)

// IPv4 routes may stand in a multiprotocol attribute too; two families fit in the two places for withdrawn routes whatever
// the mixture. Routes of a family that was not negotiated stay as bytes where they were, to be ignored.
function buildWithdrawal(
  bytes: Uint8Array,
  { mpReach, mpUnreach }: ExaminedUpdate,
  withdrawn: readonly Nlri[],
  nlri: readonly Nlri[],
): UpdateMessage {
  const readable = [mpUnreach, mpReach].filter((routes) => routes?.type === 'readable')
  const routesOf = (afi: number): readonly Nlri[] =>
    readable.flatMap((routes) => (routes.afi === afi ? readNlri(bytes, routes.nlri, routes.form) : []))
  const ipv6 = routesOf(2)
  return {
    type: 'UPDATE',
    withdrawn: [...withdrawn, ...routesOf(1), ...nlri],
    attributes: {
      ...(mpReach?.type === 'ignored' ? { mpReach: buildMpReach(bytes, mpReach) } : {}),
      ...(ipv6.length > 0
        ? { mpUnreach: { afi: 2, safi: 1, withdrawn: ipv6 } }
        : mpUnreach?.type === 'ignored'
          ? { mpUnreach: buildMpUnreach(bytes, mpUnreach) }
          : {}),
    },
    nlri: [],
  }
}

function buildMpReach(bytes: Uint8Array, routes: MultiprotocolRoutes): MpReach {
  const { afi, safi } = routes
  if (routes.type === 'ignored') return { afi, safi, nextHops: [], nlri: [], raw: copy(bytes, routes.raw) }
  const { start, end } = routes.nextHops
  const size = end - start === 4 ? 4 : 16
  const nextHops = Array.from({ length: (end - start) / size }, (_, i) => ipFromBytes(bytes, start + i * size, size))
  return { afi, safi, nextHops, nlri: readNlri(bytes, routes.nlri, routes.form) }
}

function buildMpUnreach(bytes: Uint8Array, routes: MultiprotocolRoutes): MpUnreach {
  const { afi, safi } = routes
  if (routes.type === 'ignored') return { afi, safi, withdrawn: [], raw: copy(bytes, routes.raw) }
  return { afi, safi, withdrawn: readNlri(bytes, routes.nlri, routes.form) }
}

const copy = (bytes: Uint8Array, { start, end }: Span): Uint8Array => bytes.slice(start, end)

type Building = { -readonly [K in keyof PathAttributes]: PathAttributes[K] }

function buildAttributes(bytes: Uint8Array, update: ExaminedUpdate, codec: SessionCodec): PathAttributes {
  const octets: AsnOctets = codec.fourOctetAs ? 4 : 2
  const built: Building = {}
  const unknown: UnknownAttribute[] = []
  let as4Path: PathAttributes['asPath']
  let as4Aggregator: PathAttributes['aggregator']
  for (const slot of update.slots) {
    const name = attributeByCode(slot.code)?.name
    if (name === 'AS4_PATH') as4Path = decodeAsPath(bytes, slot.start, slot.end, 4)
    else if (name === 'AS4_AGGREGATOR') as4Aggregator = decodeAggregator(bytes, slot.start, 4)
    else if (!buildKnown(built, bytes, slot, octets)) unknown.push(buildUnknown(bytes, slot))
  }
  const { asPath, aggregator } = built
  const whole = reconstruct({ asPath, aggregator, as4Path, as4Aggregator })
  if (whole.asPath !== undefined) built.asPath = whole.asPath
  if (whole.aggregator !== undefined) built.aggregator = whole.aggregator
  if (update.mpReach !== undefined) built.mpReach = buildMpReach(bytes, update.mpReach)
  if (update.mpUnreach !== undefined) built.mpUnreach = buildMpUnreach(bytes, update.mpUnreach)
  if (unknown.length > 0) built.unknown = unknown.sort((a, b) => a.code - b.code)
  return built
}

// Sets the field of a known attribute; false when there is no field for it.
function buildKnown(built: Building, bytes: Uint8Array, { code, start, end }: Slot, octets: AsnOctets): boolean {
  switch (attributeByCode(code)?.name) {
    case 'ORIGIN':
      built.origin = originFromOctet(bytes[start] ?? 0)
      return true
    case 'AS_PATH':
      built.asPath = decodeAsPath(bytes, start, end, octets)
      return true
    case 'NEXT_HOP':
      built.nextHop = ipFromBytes(bytes, start, 4)
      return true
    case 'MULTI_EXIT_DISC':
      built.med = readU32(bytes, start)
      return true
    case 'LOCAL_PREF':
      built.localPref = readU32(bytes, start)
      return true
    case 'ATOMIC_AGGREGATE':
      built.atomicAggregate = true
      return true
    case 'AGGREGATOR':
      built.aggregator = decodeAggregator(bytes, start, octets)
      return true
    case 'COMMUNITIES':
      built.communities = decodeCommunities(bytes, start, end)
      return true
    case 'ORIGINATOR_ID':
      built.originatorId = readU32(bytes, start)
      return true
    case 'CLUSTER_LIST':
      built.clusterList = decodeU32List(bytes, start, end)
      return true
    case 'EXTENDED_COMMUNITIES':
      built.extendedCommunities = decodeExtendedCommunities(bytes, start, end)
      return true
    case 'LARGE_COMMUNITY':
      built.largeCommunities = decodeLargeCommunities(bytes, start, end)
      return true
    case 'ONLY_TO_CUSTOMER':
      built.onlyToCustomer = readU32(bytes, start)
      return true
    default:
      return false
  }
}

const buildUnknown = (bytes: Uint8Array, slot: Slot): UnknownAttribute => ({
  flags: slot.flags & ~extendedLengthFlag,
  code: slot.code,
  bytes: copy(bytes, slot),
})
