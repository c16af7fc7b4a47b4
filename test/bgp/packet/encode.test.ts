// What our own messages look like beyond being right: the one encoding that every router in use takes. And the writers that
// the packer of the RIB builds UPDATEs from.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  attributeHeaderBytes,
  encodeMessage,
  encodePathAttributes,
  mpReachHeader,
  mpUnreachHeader,
  nlriBytes,
  writeAttributeHeader,
  writeMessageHeader,
  writeNlri,
} from '../../../src/bgp/packet/encode.ts'
import type { Family, PathAttributes, UpdateMessage } from '../../../src/bgp/packet/message.ts'
import { largeCommunityFromParts } from '../../../src/net/community.ts'
import { type Ip, ipFromBytes, parseIp } from '../../../src/net/ip.ts'
import { type Prefix, parsePrefix, prefixOf } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'
import { codec, toHex } from './wire.ts'

const ip = (text: string): Ip => must(parseIp(text))
const prefix = (text: string): Prefix => must(parsePrefix(text))
const update = (fields: Partial<UpdateMessage>): UpdateMessage => ({
  type: 'UPDATE',
  withdrawn: [],
  attributes: {},
  nlri: [],
  ...fields,
})
const sequence = (...asns: number[]) => ({ type: 'AS_SEQUENCE', asns }) as const
const addPath = codec({ addPathSend: new Set<Family>(['ipv4-unicast']) })

const route: PathAttributes = { origin: 'IGP', asPath: [sequence(64512)], nextHop: ip('10.0.0.11') }

describe('order', () => {
  test('MP_REACH_NLRI and MP_UNREACH_NLRI come first (RFC 7606 section 5.1), the others by code', () => {
    const attributes: PathAttributes = {
      unknown: [{ code: 33, flags: 0xc0, bytes: Uint8Array.of() }],
      largeCommunities: [largeCommunityFromParts(1, 2, 3)],
      med: 0,
      asPath: [],
      origin: 'IGP',
      mpUnreach: { afi: 2, safi: 1, withdrawn: [] },
      mpReach: { afi: 2, safi: 1, nextHops: [ip('2001:db8::1')], nlri: [] },
    }
    const bytes = encodeMessage(update({ attributes }), codec())
    const codes: (number | undefined)[] = []
    for (let at = 23; at < bytes.length; at += 3 + (bytes[at + 2] ?? 0)) codes.push(bytes[at + 1])
    expect(codes).toEqual([14, 15, 1, 2, 4, 32, 33])
  })

  test('the block of attributes leaves the multiprotocol ones to the packer', () => {
    const mpReach = { afi: 2, safi: 1, nextHops: [ip('2001:db8::1')], nlri: [] }
    expect(toHex(encodePathAttributes({ ...route, mpReach }, codec()))).toBe(
      '40010100' + '40020602010000fc00' + '4003040a00000b',
    )
  })
})

describe('AS_PATH', () => {
  test('a sequence of more than 255 numbers is split, the short piece in front (RFC 4271 section 5.1.2)', () => {
    const bytes = encodePathAttributes({ asPath: [sequence(...Array.from({ length: 256 }, (_, i) => i + 1))] }, codec())
    expect(toHex(bytes).slice(0, 28)).toBe('50020404' + '020100000001' + '02ff0000')
  })

  test.each([255, 510])('%i numbers need no short piece', (count) => {
    const bytes = encodePathAttributes({ asPath: [sequence(...Array.from({ length: count }, () => 1))] }, codec())
    expect(bytes.length).toBe(4 + (count / 255) * (2 + 4 * 255))
  })
})

test('an empty list is no attribute: with no community in it, it would be malformed (RFC 7606 section 7.8)', () => {
  const empty = { communities: [], largeCommunities: [], extendedCommunities: [], clusterList: [] }
  expect(encodePathAttributes({ origin: 'IGP', ...empty }, codec())).toEqual(
    encodePathAttributes({ origin: 'IGP' }, codec()),
  )
})

describe('what has no encoding is our mistake', () => {
  test.each<[string, () => unknown]>([
    [
      'IPv4 routes in MP_REACH_NLRI without RFC 8950: routers have crashed on it',
      () =>
        encodeMessage(
          update({ attributes: { mpReach: { afi: 1, safi: 1, nextHops: [ip('10.0.0.1')], nlri: [] } } }),
          codec(),
        ),
    ],
    [
      'IPv4 routes in MP_UNREACH_NLRI',
      () => encodeMessage(update({ attributes: { mpUnreach: { afi: 1, safi: 1, withdrawn: [] } } }), codec()),
    ],
    [
      'routes of a family that we do not know',
      () => encodeMessage(update({ attributes: { mpUnreach: { afi: 25, safi: 70, withdrawn: [] } } }), codec()),
    ],
    [
      'a path id without ADD-PATH',
      () => encodeMessage(update({ withdrawn: [{ prefix: prefix('10.0.0.1/32'), pathId: 1 }] }), codec()),
    ],
    [
      'no path id with ADD-PATH',
      () => encodeMessage(update({ withdrawn: [{ prefix: prefix('10.0.0.1/32') }] }), addPath),
    ],
    [
      'an IPv6 prefix among the IPv4 ones',
      () => encodeMessage(update({ nlri: [{ prefix: prefix('2001:db8::/32') }] }), codec()),
    ],
    [
      'an UPDATE beyond the limit of the session',
      () =>
        encodeMessage(
          update({ nlri: Array.from({ length: 900 }, () => ({ prefix: prefix('10.0.0.1/32') })) }),
          codec(),
        ),
    ],
    ['an empty path segment', () => encodePathAttributes({ asPath: [sequence()] }, codec())],
    [
      'a set of 256 numbers',
      () => encodePathAttributes({ asPath: [{ type: 'AS_SET', asns: Array.from({ length: 256 }, () => 1) }] }, codec()),
    ],
    ['an attribute of 65536 octets', () => writeAttributeHeader(new Uint8Array(4), 0, 0xc0, 99, 65536)],
  ])('%s', (_, encode) => {
    expect(encode).toThrow()
  })

  test('an extended message passes where the peer takes it (RFC 8654)', () => {
    const long = update({ nlri: Array.from({ length: 900 }, () => ({ prefix: prefix('10.0.0.1/32') })) })
    expect(encodeMessage(long, codec({ messageBytesMaxSend: 65535 })).length).toBe(23 + 900 * 5)
  })
})

describe('writers for the packer', () => {
  test.each<[string, number | undefined, string]>([
    ['203.0.113.5/32', undefined, '20cb007105'],
    ['203.0.113.5/32', 7, '0000000720cb007105'],
    ['10.0.0.0/8', undefined, '080a'],
    ['0.0.0.0/0', 0xffff_ffff, 'ffffffff00'],
    ['2001:db8::5/128', undefined, '8020010db8000000000000000000000005'],
    ['2001:db8::/33', 1, '000000012120010db800'],
    ['::/0', undefined, '00'],
    ['::1/128', undefined, '8000000000000000000000000000000001'],
    ['1:2:3:4:5:6:7:8/128', undefined, '8000010002000300040005000600070008'],
    ['fe80::/10', undefined, '0afe80'],
  ])('writeNlri: %s with path id %s', (text, pathId, hex) => {
    const target = new Uint8Array(40).fill(0xee)
    const end = writeNlri(target, 3, prefix(text), pathId)
    expect(toHex(target.subarray(3, end))).toBe(hex)
    expect(nlriBytes(prefix(text), pathId)).toBe(end - 3)
    expect([target[2], target[end]]).toEqual([0xee, 0xee])
  })

  test('writeNlri writes the leading octets of any prefix, and nlriBytes says how many', () => {
    const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
    fc.assert(
      fc.property(fc.oneof(octets(4), octets(16)), fc.nat({ max: 128 }), (bytes, length) => {
        const bits = length % (bytes.length * 8 + 1)
        const masked = bytes.map((octet, i) => octet & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))))
        const target = new Uint8Array(40)
        const end = writeNlri(target, 0, prefixOf(ipFromBytes(bytes), bits), undefined)
        expect(target.subarray(0, end)).toEqual(Uint8Array.of(bits, ...masked.subarray(0, Math.ceil(bits / 8))))
        expect(nlriBytes(prefixOf(ipFromBytes(bytes), bits), 9)).toBe(end + 4)
      }),
    )
  })

  test('headers', () => {
    expect(toHex(mpReachHeader('ipv6-unicast', [ip('2001:db8::1')]))).toBe('0002011020010db800000000000000000000000100')
    expect(toHex(mpReachHeader('ipv4-unicast', [ip('2001:db8::1'), ip('fe80::1')]))).toBe(
      '00010120' + '20010db8000000000000000000000001' + 'fe800000000000000000000000000001' + '00',
    )
    expect(toHex(mpUnreachHeader('ipv6-unicast'))).toBe('000201')
    const target = new Uint8Array(30).fill(0xee)
    expect(writeMessageHeader(target, 2, 300, 'UPDATE')).toBe(21)
    expect(toHex(target.subarray(0, 22))).toBe(`eeee${'ff'.repeat(16)}012c02ee`)
  })

  test.each<[number, string]>([
    [255, '800eff'],
    [256, '900e0100'],
  ])('an attribute header for %i octets', (length, hex) => {
    const target = new Uint8Array(8)
    const end = writeAttributeHeader(target, 0, 0x80, 14, length)
    expect(toHex(target.subarray(0, end))).toBe(hex)
    expect(attributeHeaderBytes(length)).toBe(end)
  })
})
