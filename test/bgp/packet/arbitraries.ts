// Random messages and sessions for property tests. Messages are what a session can carry, so that each has an encoding and
// is decoded without an issue; the bytes that are not so come from `mutation`.
import fc, { type Arbitrary } from 'fast-check'
import type {
  AsPathSegment,
  BgpMessage,
  Capability,
  Family,
  Nlri,
  PathAttributes,
  SessionCodec,
  UpdateMessage,
} from '../../../src/bgp/packet/message.ts'
import { communityFromNumber, extendedCommunityFromBytes, largeCommunityFromParts } from '../../../src/net/community.ts'
import { type Ip, ipFromBytes } from '../../../src/net/ip.ts'
import { type Prefix, prefixOf } from '../../../src/net/prefix.ts'

const octets = (length: number): Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })
const u8 = fc.nat({ max: 0xff })
const u16 = fc.nat({ max: 0xffff })
const u32 = fc.nat({ max: 0xffff_ffff })
const asn = fc.oneof(fc.integer({ min: 1, max: 0xffff }), fc.integer({ min: 1, max: 0xffff_ffff }))
const familySet: Arbitrary<ReadonlySet<Family>> = fc
  .subarray<Family>(['ipv4-unicast', 'ipv6-unicast'])
  .map((list) => new Set(list))

// ------------------------------------------------------------------------------------------------------ sessions

/** The outcome of two OPENs: what is negotiated for a family that is not there is nothing. */
export const session: Arbitrary<SessionCodec> = fc
  .record({
    fourOctetAs: fc.boolean(),
    sessionType: fc.constantFrom('ebgp' as const, 'ibgp' as const),
    addPath: familySet,
    families: familySet,
    ipv6NextHop: fc.boolean(),
    enhancedRouteRefresh: fc.boolean(),
  })
  .map(({ fourOctetAs, sessionType, addPath, families, ipv6NextHop, enhancedRouteRefresh }) => {
    const paths = new Set([...addPath].filter((one) => families.has(one)))
    return {
      fourOctetAs,
      sessionType,
      addPathReceive: paths,
      addPathSend: paths,
      families,
      extendedNextHop: new Set<Family>(ipv6NextHop && families.has('ipv4-unicast') ? ['ipv4-unicast'] : []),
      enhancedRouteRefresh,
      messageBytesMaxReceive: 65535,
      messageBytesMaxSend: 65535,
    }
  })

// ----------------------------------------------------------------------------------------------------- addresses

const ipv4: Arbitrary<Ip> = octets(4).map((bytes) => ipFromBytes(bytes))
const ipv6: Arbitrary<Ip> = octets(16).map((bytes) => ipFromBytes(bytes))
const ipv4Host: Arbitrary<Ip> = fc
  .tuple(
    fc.integer({ min: 1, max: 223 }).filter((first) => first !== 127),
    octets(3),
  )
  .map(([first, rest]) => ipFromBytes(Uint8Array.of(first, ...rest)))

const prefix = (of: Family): Arbitrary<Prefix> =>
  of === 'ipv4-unicast'
    ? fc.tuple(ipv4, fc.nat({ max: 32 })).map(([ip, bits]) => prefixOf(ip, bits))
    : fc.tuple(ipv6, fc.nat({ max: 128 })).map(([ip, bits]) => prefixOf(ip, bits))

const nlri = (of: Family, codec: SessionCodec): Arbitrary<Nlri> =>
  codec.addPathSend.has(of) ? fc.record({ prefix: prefix(of), pathId: u32 }) : fc.record({ prefix: prefix(of) })

const nlriList = (of: Family, codec: SessionCodec): Arbitrary<readonly Nlri[]> =>
  fc.array(nlri(of, codec), { maxLength: 20 })

// ------------------------------------------------------------------------------------------------------ UPDATE

const segment = (types: readonly AsPathSegment['type'][]): Arbitrary<AsPathSegment> =>
  fc
    .record({ type: fc.constantFrom(...types), asns: fc.array(asn, { minLength: 1, maxLength: 300 }) })
    .map(({ type, asns }) =>
      // Longer ones are split on the wire; a set can not be.
      ({ type, asns: asns.slice(0, 255) }),
    )

// Towards two octets confederation segments survive only in front, where they are on a real path.
const asPath = (codec: SessionCodec): Arbitrary<readonly AsPathSegment[]> =>
  fc
    .tuple(
      codec.sessionType === 'ibgp'
        ? fc.array(segment(['AS_CONFED_SEQUENCE', 'AS_CONFED_SET']), { maxLength: 2 })
        : fc.constant([]),
      fc.array(segment(['AS_SEQUENCE', 'AS_SET']), { maxLength: 3 }),
    )
    .map(([confederation, path]) => [...confederation, ...path])

const confederationFits = (codec: SessionCodec, path: readonly AsPathSegment[]): boolean =>
  codec.fourOctetAs ||
  path.every(({ type, asns }) => !type.startsWith('AS_CONFED') || asns.every((number) => number <= 0xffff))

const knownCodes = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 25, 26, 32, 35])

const unknownAttributes = fc
  .uniqueArray(
    fc.record({
      code: fc.nat({ max: 255 }).filter((code) => !knownCodes.has(code)),
      flags: fc.constantFrom(0x80, 0xc0, 0xe0),
      bytes: fc.uint8Array({ maxLength: 300 }),
    }),
    { selector: ({ code }) => code, minLength: 1, maxLength: 3 },
  )
  .map((list) => [...list].sort((a, b) => a.code - b.code))

const list = <T>(item: Arbitrary<T>): Arbitrary<T[]> => fc.array(item, { minLength: 1, maxLength: 100 })

// What may be there or not; what routes need is added where there are routes.
const optional = (codec: SessionCodec): Arbitrary<Partial<PathAttributes>> =>
  fc.record(
    {
      med: u32,
      atomicAggregate: fc.constant(true as const),
      aggregator: fc.record({ asn, address: ipv4 }),
      communities: list(u32.map(communityFromNumber)),
      largeCommunities: list(fc.tuple(u32, u32, u32).map((parts) => largeCommunityFromParts(...parts))),
      extendedCommunities: list(octets(8).map((bytes) => extendedCommunityFromBytes(bytes))),
      onlyToCustomer: u32,
      unknown: unknownAttributes,
      ...(codec.sessionType === 'ibgp' ? { localPref: u32, originatorId: u32, clusterList: list(u32) } : {}),
    },
    { requiredKeys: [] },
  )

const required = (codec: SessionCodec): Arbitrary<Pick<PathAttributes, 'origin' | 'asPath'>> =>
  fc.record({
    origin: fc.constantFrom('IGP' as const, 'EGP' as const, 'INCOMPLETE' as const),
    asPath: asPath(codec).filter((path) => confederationFits(codec, path)),
  })

// MP_REACH_NLRI and MP_UNREACH_NLRI, either or both, of families that may stand in them.
function carriers(codec: SessionCodec): Arbitrary<Pick<PathAttributes, 'mpReach' | 'mpUnreach'>> {
  const families = [...codec.families].filter((one) => one === 'ipv6-unicast' || codec.extendedNextHop?.has(one))
  if (families.length === 0) return fc.constant({})
  const nextHops = fc.oneof(fc.tuple(ipv6), fc.tuple(ipv6, ipv6))
  const mpReach = fc
    .constantFrom(...families)
    .chain((one) =>
      fc.record({ afi: fc.constant(afiOf(one)), safi: fc.constant(1), nextHops, nlri: nlriList(one, codec) }),
    )
  const mpUnreach = fc
    .constantFrom(...families)
    .chain((one) => fc.record({ afi: fc.constant(afiOf(one)), safi: fc.constant(1), withdrawn: nlriList(one, codec) }))
  return fc.record({ mpReach, mpUnreach }, { requiredKeys: [] })
}

const afiOf = (family: Family): number => (family === 'ipv4-unicast' ? 1 : 2)

/** An UPDATE that this session can send and receive. */
export function updateFor(codec: SessionCodec): Arbitrary<UpdateMessage> {
  const classic = codec.families.has('ipv4-unicast') ? nlriList('ipv4-unicast', codec) : fc.constant([])
  return fc
    .tuple(classic, classic, carriers(codec), required(codec), optional(codec), ipv4Host)
    .map(([withdrawn, announced, routes, needed, rest, nextHop]) => ({
      type: 'UPDATE',
      withdrawn,
      attributes: { ...needed, ...rest, ...routes, ...(announced.length > 0 ? { nextHop } : {}) },
      nlri: announced,
    }))
}

// ---------------------------------------------------------------------------------------------- the other messages

const afiSafi = { afi: u16, safi: u8 }

const capability: Arbitrary<Capability> = fc.oneof(
  fc.record({ type: fc.constant('multiprotocol' as const), ...afiSafi }),
  fc.constantFrom(
    { type: 'route-refresh' as const },
    { type: 'enhanced-route-refresh' as const },
    { type: 'extended-message' as const },
  ),
  fc.record({
    type: fc.constant('extended-next-hop' as const),
    tuples: fc.array(fc.record({ afi: u16, safi: u16, nextHopAfi: u16 }), { maxLength: 5 }),
  }),
  fc.record({
    type: fc.constant('graceful-restart' as const),
    restarting: fc.boolean(),
    notification: fc.boolean(),
    restartTimeSeconds: fc.nat({ max: 4095 }),
    families: fc.array(fc.record({ ...afiSafi, forwardingPreserved: fc.boolean() }), { maxLength: 5 }),
  }),
  fc.record({
    type: fc.constant('long-lived-graceful-restart' as const),
    families: fc.array(
      fc.record({ ...afiSafi, forwardingPreserved: fc.boolean(), staleTimeSeconds: fc.nat({ max: 0xff_ffff }) }),
      { maxLength: 5 },
    ),
  }),
  fc.record({ type: fc.constant('four-octet-as' as const), asn: fc.integer({ min: 1, max: 0xffff_ffff }) }),
  fc.record({
    type: fc.constant('add-path' as const),
    families: fc.array(
      fc.record({ ...afiSafi, mode: fc.constantFrom('receive' as const, 'send' as const, 'both' as const) }),
      { maxLength: 5 },
    ),
  }),
  fc.record({
    type: fc.constant('paths-limit' as const),
    families: fc.array(fc.record({ ...afiSafi, limit: u16 }), { maxLength: 5 }),
  }),
  fc.record({ type: fc.constant('role' as const), role: u8 }),
  fc.record({
    type: fc.constant('fqdn' as const),
    hostname: fc.string({ unit: 'grapheme', maxLength: 5 }),
    domain: fc.string({ unit: 'grapheme', maxLength: 5 }),
  }),
  fc.record({
    type: fc.constant('software-version' as const),
    version: fc.string({ unit: 'grapheme', maxLength: 10 }),
  }),
  fc.record({
    type: fc.constant('unknown' as const),
    code: fc.integer({ min: 129, max: 255 }),
    bytes: fc.uint8Array({ maxLength: 100 }),
  }),
)

const open: Arbitrary<BgpMessage> = fc.record({
  type: fc.constant('OPEN' as const),
  version: fc.constant(4),
  myAs: fc.integer({ min: 1, max: 0xffff }),
  holdTimeSeconds: fc.oneof(fc.constant(0), fc.integer({ min: 3, max: 0xffff })),
  bgpIdentifier: fc.integer({ min: 1, max: 0xffff_ffff }),
  capabilities: fc.array(capability, { maxLength: 12 }),
})

const notification: Arbitrary<BgpMessage> = fc.record({
  type: fc.constant('NOTIFICATION' as const),
  code: u8,
  subcode: u8,
  data: fc.uint8Array({ maxLength: 300 }),
})

const routeRefresh: Arbitrary<BgpMessage> = fc.record({
  type: fc.constant('ROUTE-REFRESH' as const),
  ...afiSafi,
  subtype: u8,
})

/** Any message that this session can send and receive. */
export const messageFor = (codec: SessionCodec): Arbitrary<BgpMessage> =>
  fc.oneof(
    { weight: 6, arbitrary: updateFor(codec) },
    { weight: 3, arbitrary: open },
    { weight: 1, arbitrary: notification },
    { weight: 1, arbitrary: routeRefresh },
    { weight: 1, arbitrary: fc.constant<BgpMessage>({ type: 'KEEPALIVE' }) },
  )

// ----------------------------------------------------------------------------------------------------- bad bytes

/** Changes to a message: some octets overwritten, then cut, its length field made right again or left alone. */
export const mutation: Arbitrary<(message: Uint8Array) => Uint8Array> = fc
  .record({
    writes: fc.array(
      fc.record({ at: fc.nat({ max: 4096 }), octet: fc.oneof(u8, fc.constantFrom(0, 1, 0x40, 0x80, 0xc0, 0xff)) }),
      {
        maxLength: 6,
      },
    ),
    cut: fc.option(fc.nat({ max: 4096 })),
    keepLength: fc.boolean(),
  })
  .map(({ writes, cut, keepLength }) => (message) => {
    const changed = message.slice(0, cut === null ? message.length : 19 + (cut % (message.length - 18)))
    for (const { at, octet } of writes) changed[16 + (at % (changed.length - 16))] = octet
    if (!keepLength) {
      changed[16] = changed.length >> 8
      changed[17] = changed.length & 0xff
    }
    return changed
  })
