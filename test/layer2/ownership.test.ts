// Who answers for a VIP: spread over the nodes, staying where it is, and moving only where it must.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Link } from '../../src/layer2/links.ts'
import { type Candidate, chooseOwner, linkFor } from '../../src/layer2/ownership.ts'
import { parseIp } from '../../src/net/ip.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'

const candidate = (node: string, preferred = true): Candidate => ({ node, interface: 'eth0', preferred })
const candidates = (count: number): readonly Candidate[] =>
  Array.from({ length: count }, (_, i) => candidate(`node${i + 1}`))
const vips = Array.from({ length: 1000 }, (_, i) => `203.0.${i >> 8}.${i & 255}`)

const sets = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 12 })
const vip = fc.ipV4()

describe('the owner', () => {
  test('is one of the candidates, the same whatever their order', () => {
    fc.assert(
      fc.property(vip, sets, fc.boolean(), (name, nodes, preferred) => {
        const all = nodes.map((node, i) => candidate(node, preferred || i % 2 === 0))
        const owner = chooseOwner(name, undefined, all)
        expect(nodes).toContain(owner?.node)
        expect(chooseOwner(name, undefined, all.toReversed())).toEqual(owner)
      }),
    )
  })

  test('stays when any other node comes or goes', () => {
    fc.assert(
      fc.property(vip, sets, fc.nat(), (name, nodes, pick) => {
        const present = nodes[pick % nodes.length] ?? ''
        const some = nodes.filter((node, i) => node === present || i % 2 === 0)
        expect(
          chooseOwner(
            name,
            present,
            some.map((node) => candidate(node)),
          )?.node,
        ).toBe(present)
        expect(
          chooseOwner(
            name,
            present,
            nodes.map((node) => candidate(node)),
          )?.node,
        ).toBe(present)
      }),
    )
  })

  test('stays although others have endpoints and it has none', () => {
    expect(chooseOwner('203.0.113.1', 'a', [candidate('a', false), candidate('b'), candidate('c')])?.node).toBe('a')
  })

  test('is a new one with endpoints of its own, where there is one', () => {
    for (const name of vips)
      expect(chooseOwner(name, 'gone', [candidate('a', false), candidate('b'), candidate('c', false)])?.node).toBe('b')
  })

  test('is nobody without candidates', () => {
    expect(chooseOwner('203.0.113.1', 'a', [])).toBe(undefined)
  })
})

describe('a thousand VIPs', () => {
  const spread = (owners: ReadonlyMap<string, string>): ReadonlyMap<string, number> => {
    const counts = new Map<string, number>()
    for (const node of owners.values()) counts.set(node, (counts.get(node) ?? 0) + 1)
    return counts
  }
  const assign = (before: ReadonlyMap<string, string>, nodes: readonly Candidate[]): ReadonlyMap<string, string> =>
    new Map(vips.map((name) => [name, chooseOwner(name, before.get(name), nodes)?.node ?? '']))

  test.each([2, 3, 5, 10])('are spread evenly over %d nodes', (count) => {
    const counts = [...spread(assign(new Map(), candidates(count))).values()]
    expect(counts).toHaveLength(count)
    for (const owned of counts) expect(Math.abs(owned - 1000 / count)).toBeLessThan(0.35 * (1000 / count))
  })

  test('of which a node is lost: only its own move, and to all the others', () => {
    const before = assign(new Map(), candidates(5))
    const after = assign(before, candidates(5).slice(1))
    const moved = vips.filter((name) => before.get(name) !== after.get(name))
    expect(moved).toEqual(vips.filter((name) => before.get(name) === 'node1'))
    expect(new Set(moved.map((name) => after.get(name)))).toEqual(new Set(['node2', 'node3', 'node4', 'node5']))
  })

  test('stay where they are when the node returns: connections are worth more than evenness', () => {
    const lost = assign(assign(new Map(), candidates(5)), candidates(5).slice(1))
    expect(assign(lost, candidates(5))).toEqual(lost)
  })
})

describe('the link of a node for an address', () => {
  const link = (name: string, ...subnets: readonly string[]): Link => ({
    name,
    mac: '02:00:00:00:00:01',
    subnets: subnets.map((subnet) => must(parsePrefix(subnet))),
  })
  const links = [link('eth0', '10.0.0.0/24', 'fd00:10::/64'), link('eth1', '192.0.2.0/24'), link('eth2')]

  test.each<[address: string, named: readonly string[], expected: string | undefined]>([
    ['10.0.0.100', [], 'eth0'],
    ['192.0.2.7', [], 'eth1'],
    ['fd00:10::100', [], 'eth0'],
    ['203.0.113.1', [], undefined],
    ['fd00:11::1', [], undefined],
    ['10.0.0.100', ['eth1'], 'eth1'],
    ['192.0.2.7', ['eth0', 'eth1'], 'eth1'],
    ['203.0.113.1', ['eth2'], 'eth2'],
    ['203.0.113.1', ['eth7'], undefined],
  ])('%s, with interfaces %j: %s', (address, named, expected) => {
    expect(linkFor(must(parseIp(address)), links, named)?.name).toBe(expected)
  })
})
