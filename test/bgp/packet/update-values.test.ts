// Well-formed UPDATEs: a hex string for each attribute and field, and the value that it is.
import { describe, expect, test } from 'vitest'
import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import type { AfiSafi, Family, SessionCodec, UpdateMessage } from '../../../src/bgp/packet/message.ts'
import { type Ip, parseIp } from '../../../src/net/ip.ts'
import { type Prefix, parsePrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'
import { asPath, codec, mandatory, nextHop, origin, route, toHex, type UpdateFields, update } from './wire.ts'

const ibgp = codec({ sessionType: 'ibgp' })
const oldSpeaker = codec({ fourOctetAs: false })
const families = new Set<Family>(['ipv4-unicast', 'ipv6-unicast'])
const addPath = codec({ addPathReceive: families, addPathSend: families })

function decode(fields: UpdateFields, session: SessionCodec): UpdateMessage {
  const decoded = decodeMessage(update(fields), session)
  if (!decoded.ok || decoded.message.type !== 'UPDATE') throw new Error(JSON.stringify(decoded))
  expect(decoded.issues).toEqual([])
  return decoded.message
}

const ip = (text: string): Ip => must(parseIp(text))
const prefix = (text: string): Prefix => must(parsePrefix(text))
const ipv6 = { afi: 2, safi: 1 }
const sequence = (...asns: number[]) => ({ type: 'AS_SEQUENCE', asns }) as const
const bytes = (...octets: number[]): Uint8Array => Uint8Array.from(octets)

describe('path attributes', () => {
  test.each<[string, string, object, SessionCodec]>([
    ['ORIGIN IGP (RFC 4271 section 4.3)', '40 01 01 00', { origin: 'IGP' }, codec()],
    ['ORIGIN EGP', '40 01 01 01', { origin: 'EGP' }, codec()],
    ['ORIGIN INCOMPLETE', '40 01 01 02', { origin: 'INCOMPLETE' }, codec()],
    ['an empty AS_PATH', '40 02 00', { asPath: [] }, ibgp],
    [
      'AS_PATH in four octets (RFC 6793)',
      '40 02 0a 02 02 00061a80 0000fdf2',
      { asPath: [sequence(400000, 65010)] },
      codec(),
    ],
    ['AS_PATH in two octets', '40 02 06 02 02 fdf2 fdf3', { asPath: [sequence(65010, 65011)] }, oldSpeaker],
    [
      'AS_PATH with a set',
      '40 02 10 02 01 0000fdf2 01 02 00000001 00000002',
      { asPath: [sequence(65010), { type: 'AS_SET', asns: [1, 2] }] },
      codec(),
    ],
    [
      'AS_PATH with confederation segments (RFC 5065)',
      '40 02 0c 03 01 0000fc00 04 01 0000fc01',
      {
        asPath: [
          { type: 'AS_CONFED_SEQUENCE', asns: [64512] },
          { type: 'AS_CONFED_SET', asns: [64513] },
        ],
      },
      ibgp,
    ],
    ['MULTI_EXIT_DISC', '80 04 04 ffffffff', { med: 0xffff_ffff }, codec()],
    ['LOCAL_PREF', '40 05 04 00000064', { localPref: 100 }, ibgp],
    ['ATOMIC_AGGREGATE', '40 06 00', { atomicAggregate: true }, codec()],
    [
      'AGGREGATOR in four octets',
      'c0 07 08 00061a80 0a000001',
      { aggregator: { asn: 400000, address: '10.0.0.1' } },
      codec(),
    ],
    [
      'AGGREGATOR in two octets',
      'c0 07 06 fdf2 0a000001',
      { aggregator: { asn: 65010, address: '10.0.0.1' } },
      oldSpeaker,
    ],
    ['COMMUNITIES (RFC 1997)', 'c0 08 08 fde80064 ffff0000', { communities: [0xfde80064, 0xffff0000] }, codec()],
    ['ORIGINATOR_ID (RFC 4456)', '80 09 04 0a000001', { originatorId: 0x0a000001 }, ibgp],
    ['CLUSTER_LIST (RFC 4456)', '80 0a 08 0a000001 0a000002', { clusterList: [0x0a000001, 0x0a000002] }, ibgp],
    [
      'EXTENDED_COMMUNITIES (RFC 4360): link bandwidth',
      'c0 10 08 4004fde849742400',
      { extendedCommunities: ['4004fde849742400'] },
      codec(),
    ],
    [
      'LARGE_COMMUNITY (RFC 8092)',
      'c0 20 0c 00061a80 00000001 ffffffff',
      { largeCommunities: ['400000:1:4294967295'] },
      codec(),
    ],
    ['ONLY_TO_CUSTOMER (RFC 9234)', 'c0 23 04 0000fdf2', { onlyToCustomer: 65010 }, codec()],
    [
      'IPV6_EXTENDED_COMMUNITIES (RFC 5701) are checked and kept as bytes',
      `c0 19 14 ${'00'.repeat(20)}`,
      { unknown: [{ flags: 0xc0, code: 25, bytes: new Uint8Array(20) }] },
      codec(),
    ],
    [
      'AIGP (RFC 7311) is checked and kept as bytes',
      '80 1a 0b 01 000b 0000000000000001',
      { unknown: [{ flags: 0x80, code: 26, bytes: bytes(1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1) }] },
      codec(),
    ],
    [
      'unknown optional attributes keep their flags (RFC 4271 section 5)',
      'e0 63 02 0102 80 64 00',
      {
        unknown: [
          { flags: 0xe0, code: 99, bytes: bytes(1, 2) },
          { flags: 0x80, code: 100, bytes: bytes() },
        ],
      },
      codec(),
    ],
  ])('%s', (_, attributes, value, session) => {
    const message = decode({ attributes }, session)
    expect(message).toEqual({ type: 'UPDATE', withdrawn: [], attributes: value, nlri: [] })
    expect(toHex(encodeMessage(message, session))).toBe(toHex(update({ attributes })))
  })

  test('a value of 256 octets has the Extended Length flag, one of 255 has not', () => {
    const lengths = [255, 256].map((length) => {
      const unknown = [{ flags: 0xc0, code: 99, bytes: new Uint8Array(length) }]
      return toHex(encodeMessage({ type: 'UPDATE', withdrawn: [], attributes: { unknown }, nlri: [] }, codec())).slice(
        46,
        54,
      )
    })
    expect(lengths).toEqual(['c063ff00', 'd0630100'])
  })
})

const globalHop = '20010db8000000000000000000000001'
const linkLocalHop = 'fe800000000000000000000000000001'

describe('routes', () => {
  test.each<[string, UpdateFields, Partial<UpdateMessage>, SessionCodec]>([
    [
      'withdrawn IPv4 routes (RFC 4271 section 4.3)',
      { withdrawn: '18 c00002 20 0a000001' },
      { withdrawn: [{ prefix: prefix('192.0.2.0/24') }, { prefix: prefix('10.0.0.1/32') }] },
      codec(),
    ],
    ['the default route', { withdrawn: '00' }, { withdrawn: [{ prefix: prefix('0.0.0.0/0') }] }, codec()],
    [
      'nine bits take two octets',
      { withdrawn: '09 0a80' },
      { withdrawn: [{ prefix: prefix('10.128.0.0/9') }] },
      codec(),
    ],
    [
      'path ids (RFC 7911 section 3)',
      { withdrawn: '00000001 18 c00002 ffffffff 00' },
      {
        withdrawn: [
          { prefix: prefix('192.0.2.0/24'), pathId: 1 },
          { prefix: prefix('0.0.0.0/0'), pathId: 0xffff_ffff },
        ],
      },
      addPath,
    ],
    [
      'announced IPv4 routes with their attributes',
      { attributes: mandatory, nlri: route },
      {
        attributes: { origin: 'IGP', asPath: [sequence(65010)], nextHop: ip('10.0.0.101') },
        nlri: [{ prefix: prefix('192.0.2.0/24') }],
      },
      codec(),
    ],
    [
      'withdrawn IPv6 routes (RFC 4760 section 4)',
      { attributes: '80 0f 0c 0002 01 40 20010db800010002' },
      { attributes: { mpUnreach: { ...ipv6, withdrawn: [{ prefix: prefix('2001:db8:1:2::/64') }] } } },
      codec(),
    ],
    [
      'announced IPv6 routes with path ids and a global next hop (RFC 2545 section 3)',
      {
        attributes: `80 0e 2a 0002 01 10 ${globalHop} 00 00000007 80 20010db8000000000000000000000005 ${origin} ${asPath}`,
      },
      {
        attributes: {
          origin: 'IGP',
          asPath: [sequence(65010)],
          mpReach: {
            ...ipv6,
            nextHops: [ip('2001:db8::1')],
            nlri: [{ prefix: prefix('2001:db8::5/128'), pathId: 7 }],
          },
        },
      },
      addPath,
    ],
    [
      'a global and a link-local next hop',
      { attributes: `80 0e 26 0002 01 20 ${globalHop} ${linkLocalHop} 00 00 ${origin} ${asPath}` },
      {
        attributes: {
          origin: 'IGP',
          asPath: [sequence(65010)],
          mpReach: { ...ipv6, nextHops: [ip('2001:db8::1'), ip('fe80::1')], nlri: [{ prefix: prefix('::/0') }] },
        },
      },
      codec(),
    ],
  ])('%s', (_, fields, value, session) => {
    const message = decode(fields, session)
    expect(message).toEqual({ type: 'UPDATE', withdrawn: [], attributes: {}, nlri: [], ...value })
    expect(toHex(encodeMessage(message, session))).toBe(toHex(update(fields)))
  })

  test('bits beyond the prefix length mean nothing (RFC 4271 section 4.3)', () => {
    expect(decode({ withdrawn: '09 0aff 14 c000ff' }, codec()).withdrawn).toEqual([
      { prefix: '10.128.0.0/9' },
      { prefix: '192.0.240.0/20' },
    ])
  })

  test('multiprotocol attributes may stand anywhere, and beside the classic fields (RFC 7606 section 5.1)', () => {
    const mpUnreach = '80 0f 0c 0002 01 40 20010db800010002'
    const attributes = `${origin} ${mpUnreach} ${asPath} 80 0e 16 0002 01 10 ${globalHop} 00 00 ${nextHop}`
    expect(decode({ withdrawn: '20 0a000001', attributes, nlri: route }, codec())).toMatchObject({
      withdrawn: [{ prefix: '10.0.0.1/32' }],
      nlri: [{ prefix: '192.0.2.0/24' }],
      attributes: {
        mpReach: { nlri: [{ prefix: '::/0' }] },
        mpUnreach: { withdrawn: [{ prefix: '2001:db8:1:2::/64' }] },
      },
    })
  })

  test('MP_REACH_NLRI may carry IPv4 routes with an IPv4 next hop (RFC 4760)', () => {
    const attributes = `80 0e 0d 0001 01 04 0a000065 00 18 c00002 ${origin} ${asPath}`
    expect(decode({ attributes }, codec()).attributes.mpReach).toEqual({
      afi: 1,
      safi: 1,
      nextHops: ['10.0.0.101'],
      nlri: [{ prefix: '192.0.2.0/24' }],
    })
  })

  test('a family that the session does not have keeps its bytes', () => {
    const fields = { attributes: '80 0e 07 0001 80 00 00 11 22 80 0f 05 40ff 46 01 02' }
    const decoded = decodeMessage(update(fields), codec())
    if (!decoded.ok || decoded.message.type !== 'UPDATE') throw new Error('refused')
    expect(decoded.message.attributes).toEqual({
      mpReach: { afi: 1, safi: 128, nextHops: [], nlri: [], raw: bytes(0, 0, 0x11, 0x22) },
      mpUnreach: { afi: 0x40ff, safi: 70, withdrawn: [], raw: bytes(1, 2) },
    })
    expect(toHex(encodeMessage(decoded.message, codec()))).toBe(toHex(update(fields)))
  })

  test('a decoded message does not change with the buffer it came from', () => {
    const whole = update({ attributes: 'c0 63 02 0102' })
    const decoded = decodeMessage(whole, codec())
    whole.fill(0xee)
    expect(decoded).toMatchObject({ message: { attributes: { unknown: [{ bytes: bytes(1, 2) }] } } })
  })
})

// RFC 4724 section 2
describe('End-of-RIB', () => {
  test.each<[string, UpdateFields, AfiSafi | undefined]>([
    ['an empty UPDATE: IPv4 unicast', {}, { afi: 1, safi: 1 }],
    ['an empty MP_UNREACH_NLRI: its family', { attributes: '80 0f 03 0002 01' }, ipv6],
    ['with Extended Length too', { attributes: '90 0f 0003 0002 01' }, ipv6],
    ['of IPv4 unicast in MP_UNREACH_NLRI', { attributes: '80 0f 03 0001 01' }, { afi: 1, safi: 1 }],
    ['of a family that we do not have', { attributes: '80 0f 03 0001 80' }, { afi: 1, safi: 128 }],
    ['not one with another attribute', { attributes: '80 0f 03 0002 01 40 01 01 00' }, undefined],
    ['not one with withdrawn routes', { withdrawn: route, attributes: '80 0f 03 0002 01' }, undefined],
    ['not one that withdraws', { attributes: '80 0f 04 0002 01 00' }, undefined],
    ['not an UPDATE with attributes only', { attributes: '40 01 01 00' }, undefined],
  ])('%s', (_, fields, family) => {
    const decoded = decodeMessage(update(fields), codec())
    expect(decoded.ok && decoded.endOfRib).toEqual(family)
  })
})
