import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAsn, parseRouterId, routerIdFromNumber, routerIdToNumber } from '../../src/net/asn.ts'
import {
  extendedCommunityToBytes,
  linkBandwidthCommunity,
  parseCommunity,
  renderCommunity,
} from '../../src/net/community.ts'
import {
  compareIp,
  familyOf,
  ipFromBigInt,
  ipFromBytes,
  ipToBigInt,
  ipToBytes,
  parseIp,
  unicastHostRefusal,
} from '../../src/net/ip.ts'
import { hostPrefix, parsePrefix, prefixContains, prefixOf } from '../../src/net/prefix.ts'
import {
  intersectRanges,
  normalizeRanges,
  parseRange,
  rangeContains,
  rangeSize,
  renderRange,
  subtractRange,
} from '../../src/net/range.ts'
import { must } from '../../src/runtime/result.ts'

const ipv4Bytes = fc.uint8Array({ minLength: 4, maxLength: 4 })
// Zero-heavy, so that the '::' rules of RFC 5952 are exercised.
const ipv6Bytes = fc
  .array(fc.oneof(fc.constant(0), fc.nat(255)), { minLength: 16, maxLength: 16 })
  .map((b) => Uint8Array.from(b))

describe('an address', () => {
  test.each([
    ['203.0.113.10', '203.0.113.10'],
    ['2001:DB8::0:1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['::', '::'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ])('%s is written %s', (text, canonical) => {
    expect(must(parseIp(text))).toBe(canonical)
  })

  test.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3.4/32',
    'fe80::1%eth0',
    '1:::2',
    'g::1',
    ' 1.2.3.4',
    '1.2.3.4.',
  ])('%j is refused', (text) => {
    expect(parseIp(text)).toEqual({ ok: false, error: { code: 'ip/malformed', got: text } })
  })

  test('survives bytes, numbers and its own text', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4Bytes, ipv6Bytes), (bytes) => {
        const ip = ipFromBytes(bytes)
        expect([...ipToBytes(ip)]).toEqual([...bytes])
        expect(must(parseIp(ip))).toBe(ip)
        expect(ipFromBigInt(familyOf(ip), ipToBigInt(ip))).toBe(ip)
      }),
    )
  })

  test('sorts by number, IPv4 first', () => {
    const sorted = ['2001:db8::1', '10.0.0.9', '10.0.0.10', '::1'].map((t) => must(parseIp(t))).sort(compareIp)
    expect(sorted).toEqual(['10.0.0.9', '10.0.0.10', '::1', '2001:db8::1'])
  })

  test.each([
    ['10.0.0.1', undefined],
    ['fe80::1', undefined],
    ['2001:db8::1', undefined],
    ['0.0.0.0', 'is in 0.0.0.0/8 ("this network")'],
    ['127.0.0.1', 'is a loopback address'],
    ['224.0.0.5', 'is a multicast address'],
    ['240.0.0.1', 'is in 240.0.0.0/4 (reserved)'],
    ['255.255.255.255', 'is the broadcast address'],
    ['::', 'is the unspecified address'],
    ['::1', 'is the loopback address'],
    ['ff02::1', 'is a multicast address'],
    ['::ffff:10.0.0.1', 'is an IPv4-mapped address'],
  ])('%s as a host: %s', (text, because) => {
    expect(unicastHostRefusal(must(parseIp(text)))?.because).toBe(because)
  })
})

describe('a prefix', () => {
  test.each([
    ['203.0.113.0/24', '203.0.113.0/24'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:DB8:0::/48', '2001:db8::/48'],
    ['203.0.113.1/32', '203.0.113.1/32'],
  ])('%s is written %s', (text, canonical) => expect(must(parsePrefix(text))).toBe(canonical))

  test.each([
    ['203.0.113.1/24', 'prefix/host-bits-set'],
    ['203.0.113.0/33', 'prefix/malformed'],
    ['203.0.113.0', 'prefix/malformed'],
    ['203.0.113.0/024', 'prefix/malformed'],
  ])('%s is refused as %s', (text, code) => expect(parsePrefix(text)).toMatchObject({ ok: false, error: { code } }))

  test('contains exactly the addresses between its first and its last', () => {
    fc.assert(
      fc.property(ipv4Bytes, ipv4Bytes, fc.nat(32), (a, b, length) => {
        const prefix = prefixOf(ipFromBytes(a), length)
        const range = must(parseRange(prefix))
        expect(prefixContains(prefix, ipFromBytes(b))).toBe(rangeContains(range, ipFromBytes(b)))
        expect(prefixContains(prefix, ipFromBytes(a))).toBe(true)
      }),
    )
  })

  test('of a host has the full length', () => {
    expect(hostPrefix(must(parseIp('2001:db8::1')))).toBe('2001:db8::1/128')
  })
})

describe('a range', () => {
  test.each([
    ['203.0.113.0/30', '203.0.113.0-203.0.113.3', 4n],
    ['198.51.100.10 - 198.51.100.12', '198.51.100.10-198.51.100.12', 3n],
    ['198.51.100.10', '198.51.100.10', 1n],
    ['2001:db8:1::/64', '2001:db8:1::-2001:db8:1:0:ffff:ffff:ffff:ffff', 1n << 64n],
  ])('%s is %s with %d addresses', (text, rendered, size) => {
    const range = must(parseRange(text))
    expect([renderRange(range), rangeSize(range)]).toEqual([rendered, size])
  })

  test.each([
    ['10.0.0.9-10.0.0.1', 'range/backwards'],
    ['10.0.0.1-2001:db8::1', 'range/mixed-families'],
    ['10.0.0.1/24', 'range/host-bits-set'],
    ['10.0.0.1-10.0.0.2-10.0.0.3', 'range/malformed'],
    ['pool', 'range/malformed'],
  ])('%s is refused as %s', (text, code) => expect(parseRange(text)).toMatchObject({ ok: false, error: { code } }))

  test('minus another plus their common part is the range again', () => {
    const someRange = fc
      .tuple(fc.nat(60), fc.nat(60))
      .map(([a, b]) => ({ family: 'IPv4' as const, first: BigInt(Math.min(a, b)), last: BigInt(Math.max(a, b)) }))
    fc.assert(
      fc.property(someRange, someRange, (a, b) => {
        const common = intersectRanges(a, b)
        const parts = [...subtractRange(a, b), ...(common === undefined ? [] : [common])]
        expect(normalizeRanges(parts)).toEqual([a])
      }),
    )
  })
})

describe('numbers of the routing world', () => {
  test.each([
    [64512, undefined],
    [4_200_000_000, undefined],
    [0, 'asn/reserved'],
    [23456, 'asn/reserved'],
    [65535, 'asn/reserved'],
    [4294967295, 'asn/reserved'],
    [4294967296, 'asn/out-of-range'],
    [1.5, 'asn/out-of-range'],
  ])('AS %d: %s', (value, code) => {
    const result = parseAsn(value)
    expect(result.ok ? undefined : result.error.code).toBe(code)
  })

  test('a router id is any non-zero dotted quad, and survives its number', () => {
    expect(parseRouterId('0.0.0.0')).toMatchObject({ error: { code: 'router-id/zero' } })
    expect(parseRouterId('::1')).toMatchObject({ error: { code: 'router-id/malformed' } })
    const id = must(parseRouterId('192.168.255.1'))
    expect(must(routerIdFromNumber(routerIdToNumber(id)))).toBe(id)
  })

  test.each([
    ['64512:100', { kind: 'standard', value: 64512 * 65536 + 100 }],
    ['no-export', { kind: 'standard', value: 0xffffff01 }],
    ['Graceful-Shutdown', { kind: 'standard', value: 0xffff0000 }],
    ['4200000000:1:2', { kind: 'large', value: '4200000000:1:2' }],
  ])('community %s', (text, value) => expect(must(parseCommunity(text))).toEqual(value))

  test.each(['65536:1', '1', '1:2:3:4', '4294967296:1:1', '-1:2', 'a:b', '01:2'])('community %s is refused', (text) =>
    expect(parseCommunity(text)).toEqual({ ok: false, error: { code: 'community/malformed', got: text } }),
  )

  test('a standard community is rendered by name or by halves', () => {
    const rendered = ['no-export', '64512:100'].map((text) => {
      const parsed = must(parseCommunity(text))
      return parsed.kind === 'standard' ? renderCommunity(parsed.value) : undefined
    })
    expect(rendered).toEqual(['no-export', '64512:100'])
  })

  test('link bandwidth is 0x4004, the AS and a float of bytes per second', () => {
    expect(linkBandwidthCommunity(64512, 1_000_000)).toBe('4004fc0049742400')
    expect([...extendedCommunityToBytes(linkBandwidthCommunity(70000, 1))]).toEqual([
      0x40, 4, 0x5b, 0xa0, 0x3f, 0x80, 0, 0,
    ])
  })
})
