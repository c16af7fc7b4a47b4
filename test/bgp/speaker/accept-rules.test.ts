// Whose connection it is, and what is asked of an address before anybody accepts: one table row a rule.

import { describe, expect, test } from 'vitest'
import { acceptorOf, keysOf, rangeOf, ttlRulesOf } from '../../../src/bgp/speaker/accept-rules.ts'
import { inAcceptOrder } from '../../../src/bgp/speaker/session-config.ts'
import type { AcceptOptions, AcceptRange } from '../../../src/bgp/speaker/transport.ts'
import { parsePrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'
import { ip, ours, peerOf, router } from './bench.ts'

const peer = (address: string, more: Partial<AcceptOptions> = {}): AcceptOptions => ({ address: ip(address), ...more })
const range = (text: string, more: Partial<AcceptRange> = {}): AcceptRange => ({
  range: must(parsePrefix(text)),
  ...more,
})

describe('a connection belongs to', () => {
  const at8 = peer('10.0.0.1', { localAddress: ip('10.0.0.8') })
  const at9 = peer('10.0.0.1', { localAddress: ip('10.0.0.9') })
  const anywhere = peer('10.0.0.1')

  test.each<[string, readonly AcceptOptions[], string, AcceptOptions | undefined]>([
    ['the peer with that address', [peer('10.0.0.2'), anywhere], '10.0.0.9', anywhere],
    ['the peer that has our end as its source address', [anywhere, at8, at9], '10.0.0.9', at9],
    ['else one without a source address', [at8, anywhere], '10.0.0.9', anywhere],
    ['else the first', [at8, at9], '10.0.0.7', at8],
    ['nobody', [peer('10.0.0.2')], '10.0.0.9', undefined],
  ])('%s', (_, peers, local, expected) => {
    expect(acceptorOf(peers, { address: ip('10.0.0.1') }, ip(local))).toBe(expected)
  })

  test('the peer on that interface, where the address is link-local', () => {
    const [eth0, eth1] = [peer('fe80::1', { zone: 'eth0' }), peer('fe80::1', { zone: 'eth1' })]
    expect(acceptorOf([eth0, eth1], { address: ip('fe80::1'), zone: 'eth1' }, ip('fe80::9'))).toBe(eth1)
  })

  test('a passive one before one that dials, then the first by name', () => {
    const of = (name: string, passive: boolean) => peerOf(ours, router, { name, passive })
    const names = inAcceptOrder([of('c', false), of('b', true), of('a', false), of('d', true)]).map(({ name }) => name)
    expect(names).toEqual(['b', 'd', 'a', 'c'])
  })

  test('the longest range that holds the address', () => {
    const ranges = ['10.0.0.0/8', '10.0.0.0/24', '10.0.0.0/16', '2001:db8::/32'].map((text) => range(text))
    expect(rangeOf(ranges, ip('10.0.0.9'))).toBe(ranges[1])
    expect(rangeOf(ranges, ip('10.0.9.9'))).toBe(ranges[2])
    expect(rangeOf(ranges, ip('11.0.0.9'))).toBeUndefined()
  })
})

test('a range without a password inside one with a password can not be let in', () => {
  const [wide, inner] = [range('10.0.0.0/8', { password: 'x' }), range('10.0.0.0/24')]
  expect(keysOf([], [wide, inner])).toMatchObject({ refusals: [{ peer: inner, incomingOnly: true }] })
})

describe('GTSM by source', () => {
  test.each<[string, readonly AcceptOptions[], readonly AcceptRange[], readonly unknown[]]>([
    ['nothing where nobody asks for it', [peer('10.0.0.1')], [range('10.0.0.0/24')], []],
    [
      'a rule for each peer that does',
      [peer('10.0.0.1', { ttlMin: 255 }), peer('10.0.0.2')],
      [],
      [{ source: '10.0.0.1/32', ttlMin: 255 }],
    ],
    [
      'exceptions from a range come before it, longer ranges before wider ones',
      [peer('10.0.0.1'), peer('11.0.0.1')],
      [range('10.0.0.0/8', { ttlMin: 250 }), range('10.0.0.0/24', { ttlMin: 255 })],
      [
        { source: '10.0.0.1/32', ttlMin: 0 },
        { source: '10.0.0.0/24', ttlMin: 255 },
        { source: '10.0.0.0/8', ttlMin: 250 },
      ],
    ],
    [
      'the strictest of several peers at one address',
      [peer('10.0.0.1', { ttlMin: 254 }), peer('10.0.0.1', { ttlMin: 255 })],
      [],
      [{ source: '10.0.0.1/32', ttlMin: 255 }],
    ],
    ['its family alone', [peer('2001:db8::1', { ttlMin: 255 })], [range('fe80::/10', { ttlMin: 255 })], []],
  ])('%s', (_, peers, ranges, expected) => {
    expect(ttlRulesOf('IPv4', peers, ranges)).toEqual(expected)
  })
})
