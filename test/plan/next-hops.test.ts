import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Endpoint } from '../../src/k8s/objects.ts'
import { judgeNode, type NodeEligibility } from '../../src/plan/eligibility.ts'
import { countEndpoints } from '../../src/plan/endpoints.ts'
import { type Backends, capNextHops, planNextHops } from '../../src/plan/next-hops.ts'
import type { PlannedNextHop } from '../../src/plan/types.ts'
import { endpoint, ip, node, slice } from '../vip/cluster.ts'

const nodes = new Map<string, NodeEligibility>(
  [
    node('n1', ['10.0.0.1']),
    node('n2', ['10.0.0.2']),
    node('n3', ['10.0.0.3']),
    node('out', ['10.0.0.4'], { ready: false }),
    node('v6', ['fd00::5']),
    node('twin', ['10.0.0.1']),
  ].map((of) => [of.meta.name, judgeNode(of, undefined)]),
)

const on = (...names: readonly (string | undefined)[]): readonly Endpoint[] =>
  names.map((name, i) => endpoint(name, { address: ip(`10.244.0.${i + 1}`) }))
const backends = (endpoints: readonly Endpoint[], over: Partial<Backends> = {}): Backends => ({
  counted: countEndpoints([slice('web', endpoints)], 'IPv4', 'Ready'),
  local: false,
  allNodes: false,
  ...over,
})
const plan = (...of: readonly Backends[]) => {
  const { hops, excluded, refusal, everyNode } = planNextHops(of, nodes, 'IPv4')
  return {
    hops: hops.map((hop) => `${hop.node}:${hop.endpoints}`).join(' '),
    out: excluded.map((each) => each.node).join(' '),
    refusal: refusal?.reason,
    everyNode,
  }
}

describe('next hops', () => {
  test.each<[string, readonly Backends[], Partial<ReturnType<typeof plan>>]>([
    ['are the nodes that host endpoints', [backends(on('n1', 'n2', 'n2'))], { hops: 'n1:1 n2:2', out: '' }],
    ['are the same under Local', [backends(on('n1', 'n2'), { local: true })], { hops: 'n1:1 n2:1' }],
    [
      'leave out a node that may not be one, and say so',
      [backends(on('n1', 'out', 'gone', 'v6'))],
      { hops: 'n1:1', out: 'gone out v6' },
    ],
    ['leave out the second of two nodes with one address', [backends(on('n1', 'twin'))], { hops: 'n1:1', out: 'twin' }],
    [
      'are all eligible nodes where AllNodes is asked for',
      [backends(on('n1'), { allNodes: true })],
      { hops: 'n1:1 n2:0 n3:0', out: '', everyNode: true },
    ],
    ['but not under Local', [backends(on('n1'), { allNodes: true, local: true })], { hops: 'n1:1', everyNode: false }],
    [
      'are all eligible nodes for endpoints that name no node',
      [backends(on('n1', undefined))],
      { hops: 'n1:2 n2:1 n3:1', everyNode: true },
    ],
    [
      'which are ignored under Local',
      [backends(on('n1', undefined), { local: true })],
      { hops: 'n1:1', everyNode: false },
    ],
    [
      'of Services that share are those of all of them',
      [backends(on('n1')), backends(on('n2'))],
      { hops: 'n1:1 n2:1' },
    ],
    [
      'must serve every Local one of them',
      [backends(on('n1', 'n2'), { local: true }), backends(on('n2', 'n3'), { local: true })],
      { hops: 'n2:2' },
    ],
  ])('%s', (_, of, expected) => {
    expect(plan(...of)).toMatchObject({ refusal: undefined, ...expected })
  })

  test.each<[string, readonly Backends[], string]>([
    ['nobody is ready', [backends([])], 'NoReadyEndpoints'],
    ['nobody is ready, whatever AllNodes says', [backends([], { allNodes: true })], 'NoReadyEndpoints'],
    ['all endpoints name no node, under Local', [backends(on(undefined), { local: true })], 'NoLocalEndpoints'],
    [
      'no node serves all Local Services',
      [backends(on('n1'), { local: true }), backends(on('n2'), { local: true })],
      'NoLocalEndpoints',
    ],
    ['no node may be one', [backends(on('out', 'gone'))], 'NoEligibleNode'],
    ['no node has an address of the family', [backends(on('v6'))], 'NoNodeAddress'],
  ])('there are none where %s', (_, of, reason) => {
    expect(plan(...of)).toMatchObject({ hops: '', refusal: reason })
  })
})

describe('a cap on next hops', () => {
  const hops = Array.from({ length: 20 }, (_, i) => ({
    node: `node-${String(i).padStart(2, '0')}`,
    address: ip(`10.0.1.${i + 1}`),
    endpoints: 1,
  }))

  test('0 is none, and fewer next hops than the cap are not touched', () => {
    expect(capNextHops('203.0.113.1', hops, 0)).toBe(hops)
    expect(capNextHops('203.0.113.1', hops, 20)).toBe(hops)
  })

  test('keeps a subset that does not depend on the order, and differs from VIP to VIP', () => {
    const chosen = capNextHops('203.0.113.1', hops, 4)
    expect(chosen.length).toBe(4)
    expect(capNextHops('203.0.113.1', hops.toReversed(), 4)).toEqual(chosen)
    const subsets = Array.from({ length: 50 }, (_, i) =>
      capNextHops(`203.0.113.${i}`, hops, 4)
        .map((hop) => hop.node)
        .join(),
    )
    expect(new Set(subsets).size).toBeGreaterThan(40)
  })

  test('nodes that leave come after all that stay', () => {
    const drained = hops.map((hop, i): PlannedNextHop => (i % 2 === 0 ? { ...hop, leaving: true } : hop))
    const staying = drained.filter((hop) => hop.leaving === undefined)
    expect(capNextHops('203.0.113.1', drained, 4)).toEqual(capNextHops('203.0.113.1', staying, 4))
    expect(capNextHops('203.0.113.1', drained, 12)).toEqual(expect.arrayContaining(staying))
  })

  test('when a node goes, at most one other takes its place; the rest stays', () => {
    fc.assert(
      fc.property(fc.nat(255), fc.nat(19), fc.integer({ min: 1, max: 19 }), (last, gone, max) => {
        const vip = `203.0.113.${last}`
        const before = capNextHops(vip, hops, max)
        const after = capNextHops(
          vip,
          hops.filter((_, i) => i !== gone),
          max,
        )
        const kept = before.filter((hop) => after.includes(hop))
        expect(kept.length).toBe(before.length - (before.some((hop) => hop === hops[gone]) ? 1 : 0))
      }),
    )
  })
})
