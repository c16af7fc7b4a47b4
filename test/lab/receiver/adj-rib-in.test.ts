import { describe, expect, test } from 'vitest'
import { afiSafiOf, type PathAttributes, type UpdateMessage } from '../../../src/bgp/packet/message.ts'
import { createAdjRibIn } from '../../../src/lab/receiver/adj-rib-in.ts'
import { type Ip, parseIp } from '../../../src/net/ip.ts'
import { type Prefix, parsePrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'

const ip = (text: string): Ip => must(parseIp(text))
const prefix = (text: string): Prefix => must(parsePrefix(text))

const vip = prefix('203.0.113.10/32')
const vip6 = prefix('2001:db8:1::10/128')
const attributes: PathAttributes = { origin: 'IGP', asPath: [{ type: 'AS_SEQUENCE', asns: [64512] }] }

const announce = (nextHop: string, pathId?: number): UpdateMessage => ({
  type: 'UPDATE',
  withdrawn: [],
  attributes: { ...attributes, nextHop: ip(nextHop) },
  nlri: [{ prefix: vip, ...(pathId === undefined ? {} : { pathId }) }],
})
const withdraw = (pathId?: number): UpdateMessage => ({
  type: 'UPDATE',
  withdrawn: [{ prefix: vip, ...(pathId === undefined ? {} : { pathId }) }],
  attributes: {},
  nlri: [],
})
const announce6 = (nextHop: string, pathId: number): UpdateMessage => ({
  type: 'UPDATE',
  withdrawn: [],
  attributes: {
    ...attributes,
    mpReach: { ...afiSafiOf['ipv6-unicast'], nextHops: [ip(nextHop)], nlri: [{ prefix: vip6, pathId }] },
  },
  nlri: [],
})
const withdraw6 = (pathId: number): UpdateMessage => ({
  type: 'UPDATE',
  withdrawn: [],
  attributes: { mpUnreach: { ...afiSafiOf['ipv6-unicast'], withdrawn: [{ prefix: vip6, pathId }] } },
  nlri: [],
})

describe('what a session holds', () => {
  test.each<[string, readonly UpdateMessage[], readonly string[]]>([
    ['nothing at first', [], []],
    ['what was announced', [announce('10.0.0.11')], ['10.0.0.11']],
    ['without path ids: the last announcement alone', [announce('10.0.0.11'), announce('10.0.0.12')], ['10.0.0.12']],
    [
      'with path ids: each of them',
      [announce('10.0.0.12', 2), announce('10.0.0.11', 1)],
      ['1 10.0.0.11', '2 10.0.0.12'],
    ],
    ['not what was withdrawn', [announce('10.0.0.11', 1), announce('10.0.0.12', 2), withdraw(1)], ['2 10.0.0.12']],
    ['nothing after the last withdrawal', [announce('10.0.0.11', 1), withdraw(1)], []],
    ['the same after a withdrawal of what it never had', [announce('10.0.0.11', 1), withdraw(7)], ['1 10.0.0.11']],
  ])('%s', (_, updates, expected) => {
    const rib = createAdjRibIn()
    expect(updates.flatMap((update) => rib.apply(update))).toEqual([])
    expect(
      rib.paths(vip).map(({ pathId, nextHop }) => (pathId === undefined ? nextHop : `${pathId} ${nextHop}`)),
    ).toEqual(expected)
    expect(rib.prefixes()).toEqual(expected.length === 0 ? [] : [vip])
    expect(rib.pathCount()).toBe(expected.length)
  })

  test('IPv6 comes and goes in the multiprotocol attributes', () => {
    const rib = createAdjRibIn()
    rib.apply(announce6('fd00:10::11', 1))
    expect(rib.paths(vip6)).toEqual([{ nextHop: 'fd00:10::11', pathId: 1, attributes }])
    rib.apply(withdraw6(1))
    expect(rib.paths(vip6)).toEqual([])
  })
})

describe('complaints', () => {
  test.each<[string, readonly UpdateMessage[], readonly string[]]>([
    ['none when a path is announced twice', [announce('10.0.0.11', 1), announce('10.0.0.11', 1)], []],
    [
      'a path id that stands for another next hop than before, even after a withdrawal',
      [announce('10.0.0.11', 1), withdraw(1), announce('10.0.0.12', 1)],
      ['203.0.113.10/32 path 1 was 10.0.0.11 and is now 10.0.0.12'],
    ],
    [
      'two paths with one next hop',
      [announce('10.0.0.11', 1), announce('10.0.0.11', 2)],
      ['203.0.113.10/32 path 2 has the next hop 10.0.0.11 of path 1'],
    ],
  ])('%s', (_, updates, expected) => {
    const rib = createAdjRibIn()
    expect(updates.flatMap((update) => rib.apply(update))).toEqual(expected)
  })
})

describe('a route refresh (RFC 7313)', () => {
  const full = (): ReturnType<typeof createAdjRibIn> => {
    const rib = createAdjRibIn()
    for (const update of [announce('10.0.0.11', 1), announce('10.0.0.12', 2), announce6('fd00:10::11', 1)])
      rib.apply(update)
    rib.beginRefresh(afiSafiOf['ipv4-unicast'])
    return rib
  }

  test('that sends everything again changes nothing', () => {
    const rib = full()
    rib.apply(announce('10.0.0.12', 2))
    rib.apply(announce('10.0.0.11', 1))
    expect(rib.endRefresh(afiSafiOf['ipv4-unicast'])).toEqual([])
    expect(rib.pathCount()).toBe(3)
  })

  test('that leaves a path out costs that path and is worth a complaint; the other family is not touched', () => {
    const rib = full()
    rib.apply(announce('10.0.0.12', 2))
    expect(rib.endRefresh(afiSafiOf['ipv4-unicast'])).toEqual([
      '203.0.113.10/32 path 1 was not sent again in a route refresh',
    ])
    expect(rib.paths(vip).map(({ pathId }) => pathId)).toEqual([2])
    expect(rib.paths(vip6)).toHaveLength(1)
  })
})
