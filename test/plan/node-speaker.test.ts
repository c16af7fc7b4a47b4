// The plan of one node's own speaker: the peers that select the node, the identity that its Node gives it, and the VIPs for which the
// node is a next hop, with itself as the only one.

import { describe, expect, test } from 'vitest'
import type { ClusterView } from '../../src/k8s/objects.ts'
import { createPlanner, planFromScratch } from '../../src/plan/plan.ts'
import type { PlanContext } from '../../src/plan/types.ts'
import {
  asn,
  conf,
  endpoint,
  ip,
  labels,
  meta,
  node,
  peer,
  policy,
  pool,
  service,
  slice,
  type ViewParts,
  view,
  vip,
} from '../vip/cluster.ts'

const context: PlanContext = {
  serviceClass: { name: 'bellhop.io/bgp', handleDefault: true },
  // An agent that plans runs: what the Node's condition says of the kubelet is another matter.
  nodeLiveness: new Map([['n1', 'up']]),
  speakerNode: 'n1',
}
const address = '203.0.113.10'
const web = service('web', { ingress: [address] })
const tor = peer('tor', '10.1.0.1', { speaker: 'node' })
const own = (annotations: Readonly<Record<string, string>> = {}, over: Parameters<typeof node>[2] = {}) =>
  node('n1', ['10.0.0.1', '2001:db8::1'], { ...over, meta: { labels: { rack: 'r1' }, annotations, ...over.meta } })

/** What the agent of n1 sees: everything but the other Nodes. */
const cluster = (over: ViewParts = {}): ClusterView =>
  view({
    services: [web],
    vips: [vip(address, [web])],
    slices: [slice('web', [endpoint('n1'), endpoint('n2')])],
    nodes: [own()],
    pools: [pool('default', ['203.0.113.0/24'])],
    confs: [conf()],
    peers: [peer('leaf', '10.1.0.9'), tor],
    ...over,
  })
const planOf = (over: ViewParts = {}) => planFromScratch(cluster(over), context)
const pathsOf = (over: ViewParts = {}) =>
  [...planOf(over).tables.values()].flatMap((table) =>
    [...table.values()].map(({ prefix, paths }) => `${prefix} via ${paths.map(({ nextHop }) => nextHop).join(' ')}`),
  )
const sessionsOf = (over: ViewParts = {}) => planOf(over).peers.map(({ name }) => name)

describe('the peers of a node', () => {
  test('are those with speaker: node; a controller has the others', () => {
    expect(sessionsOf()).toEqual(['tor'])
    const { speakerNode: _, ...controller } = context
    expect(planFromScratch(cluster(), controller).peers.map(({ name }) => name)).toEqual(['leaf'])
  })

  test('are those that select it; the others are nobody’s refusal', () => {
    const rack = (name: string) => peer('rack', '10.1.0.2', { speaker: 'node', nodeSelector: labels({ rack: name }) })
    expect(sessionsOf({ peers: [rack('r1')] })).toEqual(['rack'])
    expect(planOf({ peers: [rack('r2')] })).toMatchObject({ peers: [], peerRefusals: [] })
  })

  test('get sessions that dial out, with the node as the next hop and without ADD-PATH', () => {
    const { speaker, peers } = planOf()
    expect(speaker).toEqual({ asn: 64512, routerId: '10.0.0.1', listenPort: 0, listenAddresses: [] })
    expect(peers).toMatchObject([{ name: 'tor', localAsn: 64512, nextHop: 'self', addPath: 'disabled' }])
    expect(planOf({ peers: [{ ...tor, addPath: 'require' }] }).peers[0]?.addPath).toBe('require')
  })

  test('may have one address in several racks, but not twice on a node', () => {
    const of = (name: string, rack: string, createdMs: number) =>
      peer(name, '10.1.0.1', {
        ...{ speaker: 'node', nodeSelector: labels({ rack }) },
        meta: { creationTimestampMs: createdMs },
      })
    expect(sessionsOf({ peers: [of('a', 'r1', 1), of('b', 'r2', 2)] })).toEqual(['a'])
    expect(planOf({ peers: [of('a', 'r1', 1), of('b', 'r1', 2)] }).peerRefusals).toEqual([
      {
        ...{ peer: 'b', reason: 'AddressConflict' },
        message: 'BgpPeer a has the address 10.1.0.1 already: a second session needs another port or sourceAddress',
      },
    ])
  })
})

describe('the identity of a node', () => {
  test.each<[string, Readonly<Record<string, string>>, Readonly<Record<string, unknown>>]>([
    ['a source address', { 'bellhop.io/bgp-source-address': '10.9.0.1' }, { sourceAddress: '10.9.0.1' }],
    [
      'source addresses of both families: that of the session',
      { 'bellhop.io/bgp-source-address': 'fd09::1, 10.9.0.1' },
      { sourceAddress: '10.9.0.1' },
    ],
    ['an AS of its own', { 'bellhop.io/bgp-asn': '65011' }, { localAsn: 65011 }],
    [
      'its own next hop, which is not the address of the session',
      { 'bellhop.io/next-hop': '10.0.1.1' },
      { nextHop: 'node' },
    ],
  ])('%s', (_, annotations, expected) => {
    expect(planOf({ nodes: [own(annotations)] }).peers).toMatchObject([expected])
  })

  test('the AS of the node outranks that of the peer', () => {
    const peers = [{ ...tor, localAsn: asn(65000) }]
    expect(planOf({ peers }).peers[0]?.localAsn).toBe(65000)
    expect(planOf({ peers, nodes: [own({ 'bellhop.io/bgp-asn': '65011' })] }).peers[0]?.localAsn).toBe(65011)
  })

  test('a router id that is written, else its IPv4 address, else one made of its name', () => {
    const idOf = (nodes: ViewParts['nodes']) => planOf({ nodes: nodes ?? [] }).speaker?.routerId
    expect(idOf([own({ 'bellhop.io/router-id': '192.0.2.7' })])).toBe('192.0.2.7')
    expect(idOf([own()])).toBe('10.0.0.1')
    const made = idOf([node('n1', ['2001:db8::1'])])
    expect(made).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
    expect(idOf([node('n1', ['2001:db8::7'])])).toBe(made)
  })

  test.each([
    ['bellhop.io/bgp-asn', 'AS65011', 'is "AS65011", which is no AS number'],
    ['bellhop.io/bgp-asn', '23456', 'is "23456", which is a reserved AS number'],
    ['bellhop.io/router-id', 'n1', 'is "n1", which is not four numbers as in 10.0.0.11'],
    ['bellhop.io/router-id', '0.0.0.0', 'is "0.0.0.0", which is not four numbers as in 10.0.0.11'],
    ['bellhop.io/bgp-source-address', 'eth0', 'has "eth0", which is not an IP address'],
    ['bellhop.io/bgp-source-address', '10.0.0.1,10.0.0.2', 'has two IPv4 addresses'],
    ['bellhop.io/bgp-source-address', '224.0.0.1', 'has 224.0.0.1, which is a multicast address'],
  ])('%s=%s is refused in words, and there is no session', (annotation, value, because) => {
    const { peers, peerRefusals } = planOf({ nodes: [own({ [annotation]: value })] })
    expect([peers, peerRefusals]).toEqual([
      [],
      [{ peer: 'tor', reason: 'NodeAnnotation', message: `node n1: annotation ${annotation} ${because}` }],
    ])
  })
})

describe('a node announces', () => {
  test('a VIP of which it hosts an endpoint that counts, by itself alone', () => {
    expect(pathsOf()).toEqual(['203.0.113.10/32 via 10.0.0.1'])
    expect(pathsOf({ slices: [slice('web', [endpoint('n2')])] })).toEqual([])
    expect(pathsOf({ slices: [slice('web', [endpoint('n1', { ready: false, serving: false })])] })).toEqual([])
  })

  test('by the address that its annotation names', () => {
    expect(pathsOf({ nodes: [own({ 'bellhop.io/next-hop': '10.0.1.1' })] })).toEqual(['203.0.113.10/32 via 10.0.1.1'])
  })

  test('a terminating endpoint as long as no other of the Service counts, wherever that is', () => {
    const leaving = endpoint('n1', { ready: false, terminating: true })
    expect(pathsOf({ slices: [slice('web', [leaving])] })).toEqual(['203.0.113.10/32 via 10.0.0.1'])
    expect(pathsOf({ slices: [slice('web', [leaving, endpoint('n2')])] })).toEqual([])
  })

  test.each<[string, Parameters<typeof own>]>([
    [
      'carries the exclude label',
      [{}, { meta: { labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } } }],
    ],
    ['is drained', [{ 'bellhop.io/drain': 'true' }]],
    ['has no network', [{}, { networkUnavailable: true }]],
    ['is being deleted', [{}, { meta: { deleting: true } }]],
  ])('nothing when it %s', (_, of) => {
    expect(pathsOf({ nodes: [own(...of)] })).toEqual([])
    expect(sessionsOf({ nodes: [own(...of)] })).toEqual(['tor'])
  })

  test('as before while its drain has not run out', () => {
    const drained = cluster({ nodes: [own({ 'bellhop.io/drain': 'true' })] })
    const { tables } = planFromScratch(drained, { ...context, drains: new Map([['n1', 'leaving']]) })
    expect([...(tables.get('all')?.values() ?? [])].map(({ paths }) => paths)).toMatchObject([
      [{ nextHop: '10.0.0.1', leaving: true }],
    ])
  })

  test('every VIP with AllNodes, endpoints or not; however many other nodes do so, too', () => {
    const all = {
      pools: [pool('default', ['203.0.113.0/24'], { nextHops: 'AllNodes' })],
      confs: [conf({ maxNextHops: 1 })],
    }
    expect(pathsOf({ ...all, slices: [slice('web', [endpoint('n2')])] })).toEqual(['203.0.113.10/32 via 10.0.0.1'])
    expect(pathsOf({ ...all, slices: [slice('web', [])] })).toEqual([])
  })

  test('with the link bandwidth of its own endpoints, and what the policies say', () => {
    const { tables } = planOf({
      slices: [slice('web', [endpoint('n1'), endpoint('n1', { address: ip('10.244.0.2') }), endpoint('n2')])],
      policies: [policy('p', { linkBandwidth: 'Endpoints', med: 7 })],
    })
    expect([...(tables.get('all')?.values() ?? [])]).toMatchObject([
      { attributes: { med: 7 }, paths: [{ nextHop: '10.0.0.1', linkBandwidth: 250_000_000 }] },
    ])
  })

  test('to the routers of its present rack: new labels are new peers', () => {
    const racks = ['r1', 'r2'].map((rack, i) =>
      peer(`tor-${rack}`, `10.1.0.${i + 1}`, { speaker: 'node', nodeSelector: labels({ rack }) }),
    )
    const planner = createPlanner()
    planner.plan(cluster({ peers: racks }), undefined, context)
    const moved = cluster({ peers: racks, nodes: [own({}, { meta: { labels: { rack: 'r2' } } })] })
    const { plan } = planner.plan(moved, new Map([['Node', new Set(['n1'])]]), context)
    expect(plan.peers.map(({ name }) => name)).toEqual(['tor-r2'])
    expect(plan).toEqual(planFromScratch(moved, context))
  })
})

describe('a controller reports of peers of the nodes', () => {
  const { speakerNode: _, ...controller } = context
  const nodes = [own(), node('n2', ['10.0.0.2'], { meta: { labels: { rack: 'r2' } } })]
  const reportOf = (over: ViewParts) => planFromScratch(cluster({ nodes, ...over }), controller).vips.get(address)

  test('who is told of a VIP by its next hops, and announces nothing to them itself', () => {
    expect(reportOf({})).toMatchObject({ peers: ['leaf'], nodePeers: ['tor'] })
    expect(planFromScratch(cluster({ nodes, peers: [tor] }), controller)).toMatchObject({ peers: [], peerRefusals: [] })
    expect(planFromScratch(cluster({ nodes, peers: [tor] }), controller).tables.size).toBe(0)
    expect(reportOf({ peers: [tor] })).toMatchObject({ peers: [], nodePeers: ['tor'] })
    expect(reportOf({ peers: [tor] })).not.toHaveProperty('refusal')
  })

  test('only those that select one of the next hops', () => {
    const rack = (name: string) => peer('rack', '10.1.0.2', { speaker: 'node', nodeSelector: labels({ rack: name }) })
    expect(reportOf({ peers: [rack('r2')] })).toMatchObject({ nodePeers: ['rack'], nextHops: [{ node: 'n2' }] })
    expect(reportOf({ peers: [rack('r3')] })?.refusal).toEqual({
      reason: 'NoEligibleNode',
      message: 'no next hop is among the nodes that rack may hear of',
    })
  })

  test('what a policy keeps from them, and a missing BgpConf', () => {
    expect(reportOf({ peers: [tor], policies: [policy('p', { announce: false })] })?.refusal?.reason).toBe(
      'PolicyForbids',
    )
    expect(reportOf({ peers: [tor], confs: [conf({ meta: meta('mine') })] })?.refusal?.reason).toBe('NoBgpConf')
  })
})
