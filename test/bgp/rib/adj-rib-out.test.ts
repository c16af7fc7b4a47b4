import { describe, expect, test } from 'vitest'
import { exportPaths } from '../../../src/bgp/rib/export.ts'
import { encodeEndOfRib } from '../../../src/bgp/rib/pack.ts'
import type { Route, RouteAttributes } from '../../../src/bgp/rib/route.ts'
import { parseAsn } from '../../../src/net/asn.ts'
import { communityFromParts, largeCommunityFromParts } from '../../../src/net/community.ts'
import { must } from '../../../src/runtime/result.ts'
import { createReceiver } from './receiver.ts'
import {
  announce,
  type ContextChanges,
  contextWith,
  drain,
  ip,
  prefix,
  ribWithTable,
  routeOver,
  withLeaving,
} from './support.ts'

const hex = (message: Uint8Array): string => Buffer.from(message).toString('hex')
const header = (length: number): string => `${'ff'.repeat(16)}${length.toString(16).padStart(4, '0')}02`
const asn = (value: number) => must(parseAsn(value))

describe('the bytes of an announcement', () => {
  // Written out by hand from RFC 4271 section 4.3, RFC 4760 section 3, RFC 7911 section 3.
  test.each<[string, ContextChanges, string, Partial<RouteAttributes>, string]>([
    [
      'eBGP, IPv4, ADD-PATH',
      {},
      '203.0.113.10/32',
      {},
      `${header(0x34)} 0000 0014 400101 00 400206 02010000fc00 400304 0a000005 00000005 20cb00710a`,
    ],
    [
      'iBGP: empty AS_PATH, LOCAL_PREF 100',
      { codec: { sessionType: 'ibgp' } },
      '203.0.113.10/32',
      { prepend: 3 },
      `${header(0x35)} 0000 0015 400101 00 400200 400304 0a000005 400504 00000064 00000005 20cb00710a`,
    ],
    [
      'iBGP with a LOCAL_PREF of its own',
      { codec: { sessionType: 'ibgp' } },
      '203.0.113.10/32',
      { localPref: 200 },
      `${header(0x35)} 0000 0015 400101 00 400200 400304 0a000005 400504 000000c8 00000005 20cb00710a`,
    ],
    [
      'eBGP: prepend, MED, communities, no LOCAL_PREF, ORIGIN',
      { codec: { addPathSend: new Set() } },
      '203.0.113.10/32',
      {
        origin: 'INCOMPLETE',
        prepend: 1,
        med: 50,
        localPref: 200,
        communities: [communityFromParts(64512, 1)],
        largeCommunities: [largeCommunityFromParts(64512, 1, 2)],
      },
      `${header(0x51)} 0000 0035 400101 02 40020a 02020000fc000000fc00 400304 0a000005 800404 00000032 c00804 fc000001
       c0200c 0000fc000000000100000002 20cb00710a`,
    ],
    [
      'an OLD speaker gets AS_TRANS, and AS4_PATH beside it',
      { codec: { fourOctetAs: false, addPathSend: new Set() }, localAsn: asn(4_200_000_000) },
      '203.0.113.10/32',
      {},
      `${header(0x37)} 0000 001b 400101 00 400204 02015ba0 400304 0a000005 c01106 0201fa56ea00 20cb00710a`,
    ],
    [
      'IPv6: MP_REACH_NLRI first, no NEXT_HOP',
      {},
      '2001:db8::10/128',
      {},
      `${header(0x51)} 0000 003a 800e2a 000201 10 fd000000000000000000000000000005 00 00000005 8020010db8000000000000000000000010
       400101 00 400206 02010000fc00`,
    ],
    [
      'a prefix shorter than an address takes only the octets it needs',
      { codec: { addPathSend: new Set() } },
      '203.0.112.0/23',
      {},
      `${header(0x2f)} 0000 0014 400101 00 400206 02010000fc00 400304 0a000005 17cb0070`,
    ],
  ])('%s', (_what, changes, text, attributes, expected) => {
    const rib = ribWithTable(contextWith(changes))
    const messages = announce(rib, routeOver(text, [5], attributes))
    expect(messages.map(hex)).toEqual([expected.replaceAll(/\s/g, '')])
  })

  test('an IPv4 prefix with an IPv6 next hop goes into MP_REACH_NLRI where RFC 8950 was negotiated, else nowhere', () => {
    const route = { ...routeOver('203.0.113.10/32', []), paths: [{ pathId: 5, nextHop: ip('fd00::5') }] }
    const extended = ribWithTable(contextWith({ codec: { extendedNextHop: new Set(['ipv4-unicast']) } }))
    const expected = `${header(0x45)} 0000 002e 800e1e 000101 10 fd000000000000000000000000000005 00 00000005 20cb00710a
      400101 00 400206 02010000fc00`
    expect(announce(extended, route).map(hex)).toEqual([expected.replaceAll(/\s/g, '')])
    expect(announce(ribWithTable(contextWith()), route)).toEqual([])
  })

  test('prefixes of both families with the same next hop and the same attributes go into messages of their own', () => {
    const context = contextWith({ codec: { extendedNextHop: new Set(['ipv4-unicast']) } })
    const routes = ['203.0.113.10/32', '2001:db8::10/128'].map((text) => ({
      ...routeOver(text, []),
      paths: [{ pathId: 5, nextHop: ip('fd00::5') }],
    }))
    const common = '10 fd000000000000000000000000000005 00 00000005'
    const attributes = '400101 00 400206 02010000fc00'
    expect(announce(ribWithTable(context), ...routes).map(hex)).toEqual(
      [
        `${header(0x45)} 0000 002e 800e1e 000101 ${common} 20cb00710a ${attributes}`,
        `${header(0x51)} 0000 003a 800e2a 000201 ${common} 8020010db8000000000000000000000010 ${attributes}`,
      ].map((message) => message.replaceAll(/\s/g, '')),
    )
  })

  test.each([
    ['203.0.113.10/32', `${header(0x20)} 0009 00000005 20cb00710a 0000`],
    ['2001:db8::10/128', `${header(0x32)} 0000 001b 800f18 000201 00000005 8020010db8000000000000000000000010`],
  ])('a withdrawal of %s names prefix and path id and carries no other attribute', (text, expected) => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver(text, [5]))
    rib.update(prefix(text), undefined)
    expect(drain(rib).map(hex)).toEqual([expected.replaceAll(/\s/g, '')])
  })

  test.each([
    ['ipv4-unicast', `${header(23)} 0000 0000`],
    ['ipv6-unicast', `${header(29)} 0000 0006 800f03 000201`],
  ] as const)('End-of-RIB of %s is the UPDATE of RFC 4724', (family, expected) => {
    expect(hex(encodeEndOfRib(family))).toBe(expected.replaceAll(/\s/g, ''))
  })
})

describe('what is sent when something changes', () => {
  const changesOf = (messages: readonly Uint8Array[]): readonly string[] => {
    const receiver = createReceiver(contextWith().codec)
    return messages.flatMap((message) => receiver.receive(message)).map(({ kind, key }) => `${kind} ${key}`)
  }

  test('nothing is sent for the same route, be it another object', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1, 2]))
    expect(announce(rib, routeOver('203.0.113.10/32', [1, 2]))).toEqual([])
    expect(rib.pending).toBe(false)
  })

  test('nothing is sent for a change that was taken back before it was sent', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1, 2]))
    rib.update(prefix('203.0.113.10/32'), undefined)
    rib.update(prefix('203.0.113.10/32'), routeOver('203.0.113.10/32', [1, 2]))
    expect(drain(rib)).toEqual([])
  })

  test('nothing is sent for a route that came and went before it was sent', () => {
    const rib = ribWithTable(contextWith())
    rib.update(prefix('203.0.113.10/32'), routeOver('203.0.113.10/32', [1]))
    rib.update(prefix('203.0.113.10/32'), undefined)
    expect(drain(rib)).toEqual([])
  })

  test('a LOCAL_PREF that an eBGP peer never sees is no change for it', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1]))
    expect(announce(rib, routeOver('203.0.113.10/32', [1], { localPref: 300 }))).toEqual([])
  })

  test('one VIP of many changes: one message about it', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, ...[10, 11, 12].map((host) => routeOver(`203.0.113.${host}/32`, [1, 2, 3])))
    const messages = announce(rib, routeOver('203.0.113.11/32', [1, 3]))
    expect(changesOf(messages)).toEqual(['withdraw 203.0.113.11/32 2'])
  })

  test('a replaced next hop: the new one first, in a message of its own', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [2]))
    const messages = announce(rib, routeOver('203.0.113.10/32', [1]))
    expect(changesOf(messages)).toEqual(['announce 203.0.113.10/32 1', 'withdraw 203.0.113.10/32 2'])
    expect(messages).toHaveLength(2)
  })

  test('what only shrinks goes before what is new', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1, 2]))
    const messages = announce(rib, routeOver('203.0.113.11/32', [1]), routeOver('203.0.113.10/32', [1]))
    expect(changesOf(messages)).toEqual(['withdraw 203.0.113.10/32 2', 'announce 203.0.113.11/32 1'])
  })

  test('what only shrinks goes first also when there is more new than one message holds', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1, 2]))
    const added = Array.from({ length: 2000 }, (_, i) => routeOver(`198.18.${i >> 8}.${i & 255}/32`, [1]))
    const [first] = announce(rib, ...added.slice(0, 300), routeOver('203.0.113.10/32', [1]), ...added.slice(300))
    expect(changesOf(first === undefined ? [] : [first])).toEqual(['withdraw 203.0.113.10/32 2'])
  })

  test('another path id for the same next hop is another path', () => {
    const rib = ribWithTable(contextWith())
    const over = (pathId: number) => ({
      ...routeOver('203.0.113.10/32', []),
      paths: [{ pathId, nextHop: ip('10.0.0.1') }],
    })
    announce(rib, over(1))
    expect(changesOf(announce(rib, over(2)))).toEqual(['announce 203.0.113.10/32 2', 'withdraw 203.0.113.10/32 1'])
  })

  test('more sets of attributes than are remembered change nothing', () => {
    const rib = ribWithTable(contextWith())
    const routes = Array.from({ length: 5000 }, (_, med) =>
      routeOver(`198.18.${med >> 8}.${med & 255}/32`, [1], { med }),
    )
    expect(announce(rib, ...routes)).toHaveLength(5000)
    expect(announce(rib, ...routes.map((route) => structuredClone(route)))).toEqual([])
  })

  test('new attributes are an implicit replacement: announced, never withdrawn', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1, 2]))
    const messages = announce(rib, routeOver('203.0.113.10/32', [1, 2], { med: 7 }))
    expect(changesOf(messages)).toEqual(['announce 203.0.113.10/32 1', 'announce 203.0.113.10/32 2'])
  })

  test('a refresh sends every path of that family again, with its path id, and only of that family', () => {
    const rib = ribWithTable(contextWith())
    const first = announce(rib, routeOver('203.0.113.10/32', [1, 2]), routeOver('2001:db8::10/128', [1]))
    rib.resend('ipv4-unicast')
    expect(drain(rib).map(hex)).toEqual(first.slice(0, 2).map(hex))
    expect(rib.announcedPaths).toBe(3)
  })

  test('a route of a family that was not negotiated is neither sent nor counted', () => {
    const rib = ribWithTable(contextWith({ codec: { families: new Set(['ipv4-unicast']) } }))
    expect(announce(rib, routeOver('2001:db8::10/128', [1]))).toEqual([])
    expect([rib.announcedPaths, rib.announcedPrefixes, rib.pending]).toEqual([0, 0, false])
  })

  test('a next hop of another family than the prefix is not sent', () => {
    const rib = ribWithTable(contextWith())
    const route = routeOver('203.0.113.10/32', [1])
    const stray = { pathId: 9, nextHop: ip('fd00::9') }
    expect(changesOf(announce(rib, { ...route, paths: [...route.paths, stray] }))).toEqual([
      'announce 203.0.113.10/32 1',
    ])
  })

  test('attributes that leave no room for a prefix are not sent, and the prefix is withdrawn', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1]))
    const communities = Array.from({ length: 1100 }, (_, i) => communityFromParts(64512, i))
    const messages = announce(rib, routeOver('203.0.113.10/32', [1], { communities }))
    expect(changesOf(messages)).toEqual(['withdraw 203.0.113.10/32 1'])
    expect(rib.announcedPaths).toBe(0)
  })

  test('paths remembered from an earlier session are withdrawn when gone, and announced again when not', () => {
    const before = ribWithTable(contextWith())
    announce(before, routeOver('203.0.113.10/32', [1, 2]), routeOver('203.0.113.11/32', [3]))
    const rib = ribWithTable(contextWith())
    for (const route of before.sentRoutes()) rib.remember(route)
    const messages = announce(rib, routeOver('203.0.113.10/32', [1]))
    expect([...changesOf(messages)].sort()).toEqual([
      'announce 203.0.113.10/32 1',
      'withdraw 203.0.113.10/32 2',
      'withdraw 203.0.113.11/32 3',
    ])
    expect([rib.announcedPaths, rib.announcedPrefixes]).toEqual([1, 1])
  })
})

describe('packing', () => {
  const vips = (count: number) =>
    Array.from({ length: count }, (_, i) => `198.${18 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32`)

  // 4096 octets less 43 of header, lengths and attributes are 450 entries of 9 octets.
  test('a full message holds 450 host routes with path ids', () => {
    const rib = ribWithTable(contextWith())
    const messages = announce(rib, ...vips(451).map((text) => routeOver(text, [1])))
    expect(messages.map(({ length }) => length)).toEqual([43 + 450 * 9, 43 + 9])
  })

  test('extended messages are filled to their size', () => {
    const rib = ribWithTable(contextWith({ codec: { messageBytesMaxSend: 65_535 } }))
    const messages = announce(rib, ...vips(8000).map((text) => routeOver(text, [1])))
    expect(messages.map(({ length }) => length)).toEqual([43 + 7276 * 9, 43 + 724 * 9])
  })

  test('a full table of ADD-PATH and IPv4 takes at most ten octets a path', () => {
    const rib = ribWithTable(contextWith())
    const nodes = Array.from({ length: 16 }, (_, i) => i + 1)
    const messages = announce(rib, ...vips(2000).map((text) => routeOver(text, nodes)))
    const bytes = messages.reduce((sum, { length }) => sum + length, 0)
    expect(bytes / (2000 * 16)).toBeLessThanOrEqual(10)
  })

  test('a lost node under many VIPs is one stream of full withdrawals', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, ...vips(2000).map((text) => routeOver(text, [1, 2])))
    const messages = announce(rib, ...vips(2000).map((text) => routeOver(text, [2])))
    expect(messages.map(({ length }) => length)).toEqual([4091, 4091, 4091, 4091, 23 + 192 * 9])
  })

  test('the first message is handed out before the whole table was gone through', () => {
    const rib = ribWithTable(contextWith())
    for (const text of vips(3000)) rib.update(prefix(text), routeOver(text, [1]))
    rib.next()
    expect(rib.announcedPrefixes).toBeLessThan(1500)
    expect(rib.pending).toBe(true)
  })
})

describe('next hop self', () => {
  const self = { ipv4: ip('192.0.2.1') }

  test('makes one path of all, which a change of nodes does not touch', () => {
    const context = contextWith({ nextHopSelf: self })
    const rib = ribWithTable(context)
    const receiver = createReceiver(context.codec)
    for (const message of announce(rib, routeOver('203.0.113.10/32', [1, 2, 3]))) receiver.receive(message)
    expect([...receiver.table].map(([key, { nextHop }]) => [key, nextHop])).toEqual([
      ['203.0.113.10/32 1', '192.0.2.1'],
    ])
    expect(announce(rib, routeOver('203.0.113.10/32', [2, 4]))).toEqual([])
    expect(rib.announcedPaths).toBe(1)
  })

  test('announces nothing in a family without an own address', () => {
    const rib = ribWithTable(contextWith({ nextHopSelf: self }))
    expect(announce(rib, routeOver('2001:db8::10/128', [1]))).toEqual([])
  })

  test.each([
    ['IPv6 where there is no other', { ipv6: ip('fe80::1') }, '800e1e 000101 10 fe800000000000000000000000000001 00'],
    ['IPv4 where there are both', { ...self, ipv6: ip('fe80::1') }, '400304 c0000201'],
  ])('for IPv4 is an address of %s, and the router takes those of IPv6 (RFC 8950)', (_, nextHopSelf, attribute) => {
    const context = contextWith({ nextHopSelf, codec: { extendedNextHop: new Set(['ipv4-unicast']) } })
    const messages = announce(ribWithTable(context), routeOver('203.0.113.10/32', [1])).map(hex)
    expect(messages).toEqual([expect.stringContaining(attribute.replaceAll(' ', ''))])
  })

  test('for IPv4 is no address of IPv6 where the router does not take that', () => {
    const rib = ribWithTable(contextWith({ nextHopSelf: { ipv6: ip('fe80::1') } }))
    expect(announce(rib, routeOver('203.0.113.10/32', [1]))).toEqual([])
  })
})

describe('link bandwidth', () => {
  const received = (...weights: readonly (number | undefined)[]): readonly (string | undefined)[] => {
    const context = contextWith()
    const receiver = createReceiver(context.codec)
    const route = routeOver(
      '203.0.113.10/32',
      weights.map((_, i) => i + 1),
    )
    const paths = route.paths.map((path, i) => {
      const linkBandwidth = weights[i]
      return linkBandwidth === undefined ? path : { ...path, linkBandwidth }
    })
    for (const message of announce(ribWithTable(context), { ...route, paths })) receiver.receive(message)
    return [...receiver.table.values()].map(({ attributes }) => attributes.get(16))
  }

  test('goes along with each path', () => {
    expect(received(1e6, 3e6)).toEqual(['4004fc0049742400', '4004fc004a371b00'])
  })

  test('is a single-precision number: what that can not tell apart is no change', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, routeOver('203.0.113.10/32', [1], {}, 1e9))
    expect(announce(rib, routeOver('203.0.113.10/32', [1], {}, 1e9 + 1))).toEqual([])
    expect(announce(rib, routeOver('203.0.113.10/32', [1], {}, 1e9 + 1000))).toHaveLength(1)
  })

  test('is left out altogether when one path has none', () => {
    expect(received(1e6, undefined)).toEqual([undefined, undefined])
  })
})

// RFC 8326: routers turn to the other paths, and use this one while there is none.
describe('a path that leaves', () => {
  const received = (changes: ContextChanges, ...routes: readonly Route[]) => {
    const context = contextWith(changes)
    const receiver = createReceiver(context.codec)
    const rib = ribWithTable(context)
    for (const route of routes) for (const message of announce(rib, route)) receiver.receive(message)
    return new Map(
      [...receiver.table].map(([key, { attributes }]) => [
        key.split(' ')[1],
        { med: attributes.get(4), localPref: attributes.get(5), communities: attributes.get(8) },
      ]),
    )
  }
  const own = { med: 10, localPref: 200, communities: [communityFromParts(64512, 1)] }
  const three = routeOver('203.0.113.10/32', [1, 2, 3], own)
  const staying = { med: '0000000a', communities: 'fc000001', localPref: undefined }
  const leaving = { med: 'ffffffff', communities: 'fc000001ffff0000', localPref: undefined }

  test.each<[string, ContextChanges, object, object]>([
    ['has the community and the worst MED on eBGP', {}, staying, leaving],
    [
      'and the least LOCAL_PREF on iBGP',
      { codec: { sessionType: 'ibgp' } },
      { ...staying, localPref: '000000c8' },
      { ...leaving, localPref: '00000000' },
    ],
  ])('%s', (_, changes, stays, leaves) => {
    expect(received(changes, withLeaving(three, [2]))).toEqual(
      new Map([
        ['1', stays],
        ['2', leaves],
        ['3', stays],
      ]),
    )
  })

  test('is as it was when it stays after all', () => {
    expect(received({}, three, withLeaving(three, [2]), three).get('2')).toEqual(staying)
  })

  test('is the only one that is sent again', () => {
    const rib = ribWithTable(contextWith())
    announce(rib, three)
    const messages = announce(rib, withLeaving(three, [2]))
    const receiver = createReceiver(contextWith().codec)
    expect(messages.flatMap((message) => receiver.receive(message))).toEqual([
      { kind: 'announce', key: '203.0.113.10/32 2' },
    ])
  })

  test('behind next hop self counts when all leave', () => {
    const changes: ContextChanges = { nextHopSelf: { ipv4: ip('192.0.2.1') } }
    expect(received(changes, withLeaving(three, [1, 2])).get('1')).toEqual(staying)
    expect(received(changes, withLeaving(three, [1, 2, 3])).get('1')).toEqual(leaving)
  })

  test('behind next hop self adds no bandwidth while others stay', () => {
    const context = contextWith({ nextHopSelf: { ipv4: ip('192.0.2.1') } })
    const weighted = routeOver('203.0.113.10/32', [1, 2, 3], {}, 1e6)
    const bandwidths = [[], [3], [1, 2, 3]].map(
      (nodes) => exportPaths(withLeaving(weighted, nodes), 'ipv4-unicast', context)[0]?.linkBandwidth,
    )
    expect(bandwidths).toEqual([3e6, 2e6, 3e6])
  })

  test('without room for its attributes is not sent, and costs no other', () => {
    // Room for two entries of nine octets, or for MED and one more community.
    const communities = Array.from({ length: 1000 }, (_, i) => communityFromParts(64512, i))
    const crowded = routeOver('203.0.113.10/32', [1, 2], { communities })
    const changes: ContextChanges = { codec: { messageBytesMaxSend: 4066 } }
    expect([...received(changes, crowded).keys()]).toEqual(['1', '2'])
    expect([...received(changes, crowded, withLeaving(crowded, [1])).keys()]).toEqual(['2'])
  })
})
