// The plan as an operator sees it: what is announced, to whom, and the reason for everything that is not.

import { describe, expect, test } from 'vitest'
import type { ClusterView, Kind, Service } from '../../src/k8s/objects.ts'
import { parseCommunity } from '../../src/net/community.ts'
import type { Prefix } from '../../src/net/prefix.ts'
import { type DrainPhase, drainAnnotation } from '../../src/plan/drain.ts'
import { createPlanner, pausesFromVips, planFromScratch, toItsEnd } from '../../src/plan/plan.ts'
import type { Plan, PlanContext } from '../../src/plan/types.ts'
import { must } from '../../src/runtime/result.ts'
import {
  claim,
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

const context: PlanContext = { serviceClass: { name: 'bellhop.io/bgp', handleDefault: true }, nodeLiveness: new Map() }
const address = '203.0.113.10'
const web = service('web', { ingress: [address] })
const nodes = [1, 2, 3].map((i) =>
  node(`n${i}`, [`10.0.0.${i}`, `2001:db8::${i}`], { meta: { labels: { rack: i < 3 ? 'r1' : 'r2' } } }),
)

/** One Service with endpoints on n1 and n2, one pool, one router; `over` replaces parts of it. */
const cluster = (over: ViewParts = {}): ClusterView =>
  view({
    services: [web],
    vips: [vip(address, [web])],
    slices: [slice('web', [endpoint('n1'), endpoint('n2')])],
    nodes,
    pools: [pool('default', ['203.0.113.0/24'])],
    confs: [conf()],
    peers: [peer('leaf', '10.1.0.1')],
    ...over,
  })
const planOf = (over: ViewParts = {}) => planFromScratch(cluster(over), context)
const reportOf = (over: ViewParts = {}) => planOf(over).vips.get(address)
const routesOf = (over: ViewParts = {}, table = 'all') => [...(planOf(over).tables.get(table)?.values() ?? [])]
const pathsOf = (over: ViewParts = {}, table = 'all') =>
  routesOf(over, table).map(({ prefix, paths }) => `${prefix} via ${paths.map(({ nextHop }) => nextHop).join(' ')}`)

test('a VIP is a host route whose next hops are the nodes with ready endpoints', () => {
  expect(routesOf()).toEqual([
    {
      prefix: '203.0.113.10/32',
      attributes: { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] },
      paths: [
        { pathId: 0x0a000001, nextHop: '10.0.0.1' },
        { pathId: 0x0a000002, nextHop: '10.0.0.2' },
      ],
    },
  ])
  expect(reportOf()).toEqual({
    vip: address,
    address,
    nextHops: [
      { node: 'n1', address: '10.0.0.1', endpoints: 1 },
      { node: 'n2', address: '10.0.0.2', endpoints: 1 },
    ],
    excluded: [],
    peers: ['leaf'],
  })
})

test('an IPv6 VIP goes to the routers that take IPv6, by the IPv6 addresses of the nodes', () => {
  const of = service('web', { ingress: ['2001:db8:1::1'] })
  const parts = { services: [of], vips: [vip('2001:db8:1::1', [of])], slices: [slice('web', [endpoint('n1')], 'IPv6')] }
  expect(pathsOf({ ...parts, peers: [peer('leaf', 'fd00::1')] })).toEqual(['2001:db8:1::1/128 via 2001:db8::1'])
  expect(planOf(parts).vips.get('2001-0db8-0001-0000-0000-0000-0000-0001')?.refusal).toEqual({
    reason: 'NoPeer',
    message: 'no BgpPeer takes IPv6 routes: ipv6-unicast is in the families of none',
  })
})

// Allocation 7: announced is what is recorded, and shown, and still wanted.
describe('nothing is announced that is not recorded', () => {
  const cases: [string, ViewParts, string][] = [
    ['no Service claims it', { vips: [vip(address, [])] }, 'no Service has the address'],
    ['its Service is gone', { services: [] }, 'Service default/web does not exist any more'],
    [
      'its Service is another one of that name',
      { services: [{ ...web, meta: { ...web.meta, uid: 'new' } }] },
      'Service default/web does not exist any more',
    ],
    [
      'its Service is being deleted',
      { services: [{ ...web, meta: { ...web.meta, deleting: true } }] },
      'Service default/web is being deleted',
    ],
    [
      'its Service is not a LoadBalancer any more',
      { services: [{ ...web, type: 'NodePort' }] },
      'Service default/web is not of type LoadBalancer any more',
    ],
    [
      'its Service is of another class',
      { services: [{ ...web, loadBalancerClass: 'x' }] },
      'Service default/web is of another load balancer class',
    ],
    [
      'its Service does not show it yet',
      { services: [{ ...web, ingress: [] }] },
      'Service default/web does not show the address in its status',
    ],
  ]
  test.each(cases)('%s', (_, over, message) => {
    expect(reportOf(over)).toMatchObject({ peers: [], nextHops: [], refusal: { reason: 'NoService', message } })
    expect(routesOf(over)).toEqual([])
  })

  test('a Service without a Vip is announced nowhere, whatever its status shows', () => {
    expect(planOf({ vips: [] }).vips.size).toBe(0)
    expect(routesOf({ vips: [] })).toEqual([])
  })
})

describe('a VIP that is announced nowhere says why', () => {
  test.each<[string, ViewParts, string, string]>([
    ['no ready endpoint', { slices: [] }, 'NoReadyEndpoints', 'no endpoint is ready'],
    ['no eligible node', { nodes: [] }, 'NoEligibleNode', 'node n1 does not exist; node n2 does not exist'],
    [
      'no address of the family',
      { nodes: [node('n1', ['fd00::1']), node('n2', ['fd00::2'])] },
      'NoNodeAddress',
      'node n1 has no IPv4 InternalIP, and no IPv4 address in the annotation bellhop.io/next-hop; node n2 has no IPv4 InternalIP, and no IPv4 address in the annotation bellhop.io/next-hop',
    ],
    ['no BgpConf', { confs: [] }, 'NoBgpConf', 'there is no BgpConf named default'],
    ['no peer', { peers: [] }, 'NoPeer', 'there is no BgpPeer'],
    [
      'no peer without a fault',
      { peers: [peer('leaf', '10.1.0.1', { passwordSecretRef: { name: 'x', key: 'y' } })] },
      'NoPeer',
      'no BgpPeer has a session: see their conditions',
    ],
    [
      'a policy',
      { policies: [policy('quiet', { announce: false })] },
      'PolicyForbids',
      'a BgpPolicy with announce: false keeps it from leaf',
    ],
    [
      'layer 2',
      { pools: [pool('default', [], { mode: 'layer2' })] },
      'NoAgent',
      'no agent says that its node could answer for it',
    ],
    [
      'racks',
      { peers: [peer('leaf', '10.1.0.1', { nodeSelector: labels({ rack: 'r2' }) })] },
      'NoEligibleNode',
      'no next hop is among the nodes that leaf may hear of',
    ],
  ])('%s', (_, over, reason, message) => {
    expect(reportOf(over)).toMatchObject({ peers: [], refusal: { reason, message } })
    expect([...planOf(over).tables.values()].every((table) => table.size === 0)).toBe(true)
  })
})

describe('next hops', () => {
  test('one bad node costs one leg, with its reason, never the VIP', () => {
    const parts = { nodes: [nodes[0] ?? node('n1', []), node('n2', ['10.0.0.2'], { ready: false })] }
    expect(pathsOf(parts)).toEqual(['203.0.113.10/32 via 10.0.0.1'])
    expect(reportOf(parts)?.excluded).toEqual([{ node: 'n2', because: 'is not Ready' }])
  })

  test.each<[string, Service['meta']['annotations'], Parameters<typeof pool>[2], string]>([
    ['the pool may ask for all nodes', {}, { nextHops: 'AllNodes' }, '10.0.0.1 10.0.0.2 10.0.0.3'],
    ['the Service may ask for all nodes', { 'bellhop.io/next-hops': 'AllNodes' }, {}, '10.0.0.1 10.0.0.2 10.0.0.3'],
    [
      'the Service outranks the pool',
      { 'bellhop.io/next-hops': 'Endpoints' },
      { nextHops: 'AllNodes' },
      '10.0.0.1 10.0.0.2',
    ],
    ['what the annotation does not know, it does not say', { 'bellhop.io/next-hops': 'Some' }, {}, '10.0.0.1 10.0.0.2'],
  ])('%s', (_, annotations, over, expected) => {
    const services = [{ ...web, meta: { ...web.meta, annotations } }]
    expect(pathsOf({ services, pools: [pool('default', [], over)] })).toEqual([`203.0.113.10/32 via ${expected}`])
  })

  test.each<[string, Service['meta']['annotations'], Parameters<typeof pool>[2], boolean]>([
    ['Ready by default', {}, {}, false],
    ['Serving by the pool', {}, { endpointPolicy: 'Serving' }, true],
    ['Serving by the Service', { 'bellhop.io/endpoint-policy': 'Serving' }, {}, true],
    ['Ready by the Service', { 'bellhop.io/endpoint-policy': 'Ready' }, { endpointPolicy: 'Serving' }, false],
  ])('whether an endpoint that only serves counts: %s', (_, annotations, over, counts) => {
    const parts = {
      services: [{ ...web, meta: { ...web.meta, annotations } }],
      pools: [pool('default', [], over)],
      slices: [slice('web', [endpoint('n1', { ready: false })])],
    }
    expect(routesOf(parts).length).toBe(counts ? 1 : 0)
  })

  test('a cap leaves nodes out, and the report says so', () => {
    const report = reportOf({ confs: [conf({ maxNextHops: 1 })] })
    expect(report?.nextHops.length).toBe(1)
    expect(report?.excluded.map(({ because }) => because)).toEqual(['is left out: maxNextHops is 1'])
  })

  test('Services that share an address send its traffic to the nodes of both', () => {
    const api = service('api', { ingress: [address] })
    const parts = {
      services: [web, api],
      vips: [vip(address, [claim(web), claim(api)])],
      slices: [slice('web', [endpoint('n1')]), slice('api', [endpoint('n3')])],
    }
    expect(pathsOf(parts)).toEqual(['203.0.113.10/32 via 10.0.0.1 10.0.0.3'])
  })

  test('our own liveness outranks the condition of the Node', () => {
    const plan = planFromScratch(cluster(), { ...context, nodeLiveness: new Map([['n1', 'down']]) })
    expect(plan.vips.get(address)?.nextHops.map((hop) => hop.node)).toEqual(['n2'])
  })
})

describe('a drained node', () => {
  const drained = nodes.map((of) =>
    of.meta.name === 'n1' ? { ...of, meta: { ...of.meta, annotations: { [drainAnnotation]: 'true' } } } : of,
  )
  const plan = (phase: DrainPhase | undefined, over: ViewParts = {}) =>
    planFromScratch(cluster({ nodes: drained, ...over }), {
      ...context,
      ...(phase === undefined ? {} : { drains: new Map([['n1', phase]]) }),
    })
  const legs = (of: Plan) =>
    [...(of.tables.get('all')?.values() ?? [])].map(({ prefix, paths }) =>
      [prefix, ...paths.map(({ nextHop, leaving }) => `${nextHop}${leaving ? ' leaving' : ''}`)].join(', '),
    )

  test.each<[string, DrainPhase | undefined, readonly string[]]>([
    ['leaves', 'leaving', ['203.0.113.10/32, 10.0.0.1 leaving, 10.0.0.2']],
    ['is withdrawn when its time is over', 'left', ['203.0.113.10/32, 10.0.0.2']],
    ['is withdrawn at once by who keeps no account of time', undefined, ['203.0.113.10/32, 10.0.0.2']],
    ['stays until its drain begins', 'staying', ['203.0.113.10/32, 10.0.0.1, 10.0.0.2']],
  ])('%s', (_, phase, expected) => {
    expect(legs(plan(phase))).toEqual(expected)
  })

  test('serves as long as it leaves where it is the only one', () => {
    const alone = { slices: [slice('web', [endpoint('n1')])] }
    expect(legs(plan('leaving', alone))).toEqual(['203.0.113.10/32, 10.0.0.1 leaving'])
    expect(plan('left', alone).vips.get(address)?.refusal).toEqual({
      reason: 'NoEligibleNode',
      message: `node n1 is drained (annotation ${drainAnnotation})`,
    })
  })

  test('leaves its place to another node where there are not places for all', () => {
    expect(legs(plan('leaving', { confs: [conf({ maxNextHops: 1 })] }))).toEqual(['203.0.113.10/32, 10.0.0.2'])
  })

  test('leaves an aggregate as it leaves its VIPs, and keeps its weight', () => {
    const other = service('other', { ingress: ['203.0.113.11'] })
    const aggregated = {
      services: [web, other],
      vips: [vip(address, [web]), vip('203.0.113.11', [other])],
      slices: [slice('web', [endpoint('n1'), endpoint('n2')]), slice('other', [endpoint('n1')])],
      policies: [policy('p', { aggregationLength: { ipv4: 24, ipv6: 128 }, linkBandwidth: 'Endpoints' })],
    }
    expect([...(plan('leaving', aggregated).tables.get('all')?.values() ?? [])]).toMatchObject([
      {
        prefix: '203.0.113.0/24',
        paths: [
          { nextHop: '10.0.0.1', leaving: true, linkBandwidth: 250_000_000 },
          { nextHop: '10.0.0.2', linkBandwidth: 125_000_000 },
        ],
      },
    ])
  })

  test('is named by the report', () => {
    expect(plan('leaving').vips.get(address)?.nextHops).toEqual([
      { node: 'n1', address: '10.0.0.1', endpoints: 1, leaving: true },
      { node: 'n2', address: '10.0.0.2', endpoints: 1 },
    ])
  })
})

describe('tables', () => {
  test('peers that are to hear the same share one table; what distinguishes them is its name', () => {
    const { peers } = planOf({
      peers: [
        peer('a', '10.1.0.1'),
        peer('b', '10.1.0.2', { port: 1790, passive: true }),
        peer('rack', '10.1.0.3', { nodeSelector: labels({ rack: 'r1', zone: 'z' }) }),
        peer('named', '10.1.0.4'),
      ],
      policies: [
        policy('for-all'),
        policy('for-one', { peers: ['named'] }),
        policy('other', { peers: ['named', 'nobody'] }),
      ],
    })
    expect(peers.map(({ name, table }) => [name, table])).toEqual([
      ['a', 'all'],
      ['b', 'all'],
      ['named', 'policies[for-one, other]'],
      ['rack', 'nodes[rack=r1, zone=z]'],
    ])
  })

  test('a rack hears of its own nodes only, and the report counts all', () => {
    const parts = {
      slices: [slice('web', [endpoint('n1'), endpoint('n3')])],
      peers: ['r1', 'r2'].map((rack, i) => peer(rack, `10.1.0.${i + 1}`, { nodeSelector: labels({ rack }) })),
    }
    expect(pathsOf(parts, 'nodes[rack=r1]')).toEqual(['203.0.113.10/32 via 10.0.0.1'])
    expect(pathsOf(parts, 'nodes[rack=r2]')).toEqual(['203.0.113.10/32 via 10.0.0.3'])
    expect(reportOf(parts)).toMatchObject({ peers: ['r1', 'r2'], nextHops: [{ node: 'n1' }, { node: 'n3' }] })
  })

  test('a policy for one peer changes what that peer hears, and nobody else', () => {
    const parts = {
      peers: [peer('a', '10.1.0.1'), peer('b', '10.1.0.2')],
      policies: [policy('p', { peers: ['b'], med: 7, communities: [must(parseCommunity('no-export'))] })],
    }
    expect(routesOf(parts)[0]?.attributes).not.toHaveProperty('med')
    expect(routesOf(parts, 'policies[p]')[0]?.attributes).toMatchObject({ med: 7, communities: [0xffff_ff01] })
  })

  test('a policy that forbids one peer leaves the others', () => {
    const parts = {
      peers: [peer('a', '10.1.0.1'), peer('b', '10.1.0.2')],
      policies: [policy('quiet', { peers: ['b'], announce: false })],
    }
    expect(pathsOf(parts)).toEqual(['203.0.113.10/32 via 10.0.0.1 10.0.0.2'])
    expect(routesOf(parts, 'policies[quiet]')).toEqual([])
    expect(reportOf(parts)).toMatchObject({ peers: ['a'] })
    expect(reportOf(parts)).not.toHaveProperty('refusal')
  })

  test('weights count the endpoints of all slices and Services', () => {
    const api = service('api', { ingress: [address] })
    const at = (last: number) => ({ address: ip(`10.244.1.${last}`) })
    const [route] = routesOf({
      services: [web, api],
      vips: [vip(address, [claim(web), claim(api)])],
      slices: [
        slice('web', [endpoint('n1', at(1)), endpoint('n2', at(2))], 'IPv4', 'a'),
        slice('web', [endpoint('n1', at(3)), endpoint('n1', at(1))], 'IPv4', 'b'),
        slice('api', [endpoint('n2', at(4)), endpoint('n2', at(5)), endpoint('n2', { ...at(6), ready: false })]),
      ],
      policies: [policy('w', { linkBandwidth: 'Endpoints' })],
    })
    expect(route?.paths.map(({ linkBandwidth = 0 }) => linkBandwidth / 125_000_000)).toEqual([2, 3])
  })

  test('weights are on all paths of a prefix', () => {
    const slices = [slice('web', [endpoint('n1'), endpoint('n1'), endpoint('n2')])]
    const [route] = routesOf({ slices, policies: [policy('w', { linkBandwidth: 'Endpoints' })] })
    expect(route?.paths.map(({ linkBandwidth }) => linkBandwidth)).toEqual([250_000_000, 125_000_000])
  })
})

describe('aggregation', () => {
  const db = service('db', { ingress: ['203.0.113.20'] })
  const parts: ViewParts = {
    services: [web, db],
    vips: [vip(address, [web]), vip('203.0.113.20', [db])],
    slices: [slice('web', [endpoint('n1')]), slice('db', [endpoint('n2')])],
    policies: [policy('p', { aggregationLength: { ipv4: 24, ipv6: 128 } })],
  }
  test('VIPs of one aggregate are one route with the next hops of all', () => {
    expect(pathsOf(parts)).toEqual(['203.0.113.0/24 via 10.0.0.1 10.0.0.2'])
  })
  test('of each family has a length of its own', () => {
    const [six, seven] = ['2001:db8:1::10', '2001:db8:1::20'].map((ingress, i) =>
      service(`v6-${i}`, { ingress: [ingress] }),
    )
    if (six === undefined || seven === undefined) throw new Error('two Services')
    const lengths = { aggregationLength: { ipv4: 32, ipv6: 64 } }
    expect(
      pathsOf({
        services: [web, six, seven],
        vips: [vip(address, [web]), vip('2001:db8:1::10', [six]), vip('2001:db8:1::20', [seven])],
        slices: [
          slice('web', [endpoint('n1')]),
          slice('v6-0', [endpoint('n1')], 'IPv6'),
          slice('v6-1', [endpoint('n3')], 'IPv6'),
        ],
        peers: [peer('leaf', '10.1.0.1', { families: ['ipv4-unicast', 'ipv6-unicast'] })],
        policies: [policy('p', lengths)],
      }).sort(),
    ).toEqual(['2001:db8:1::/64 via 2001:db8::3 2001:db8::1', '203.0.113.10/32 via 10.0.0.1'].sort())
  })
  test('it stands as long as one of them does', () => {
    expect(pathsOf({ ...parts, slices: [slice('db', [endpoint('n2')])] })).toEqual(['203.0.113.0/24 via 10.0.0.2'])
  })
  test('a VIP under Local keeps its host route: its node answers for no other', () => {
    const local = { ...parts, services: [{ ...web, externalTrafficPolicy: 'Local' as const }, db] }
    expect(pathsOf(local).sort()).toEqual(['203.0.113.0/24 via 10.0.0.2', '203.0.113.10/32 via 10.0.0.1'])
  })
})

describe('steps', () => {
  const changesOf = (kind: Kind, ...keys: readonly string[]) => new Map([[kind, new Set(keys)]])
  const many = (endpoints: readonly string[]): ViewParts => {
    const services = ['a', 'b', 'c'].map((name, i) => service(name, { ingress: [`203.0.113.${i}`] }))
    return {
      services,
      vips: services.map((of, i) => vip(`203.0.113.${i}`, [of])),
      slices: services.map((of, i) => slice(of.meta.name, [endpoint(endpoints[i] ?? 'n1')])),
    }
  }

  test('the first step is whole: every table is new', () => {
    const { tableChanges, droppedTables, changedVips } = createPlanner().plan(cluster(), undefined, context)
    expect(tableChanges).toMatchObject([{ table: 'all', replace: true, withdrawals: [] }])
    expect([droppedTables, [...changedVips]]).toEqual([[], [address]])
  })

  // Announcing 4.
  test('one change at a VIP changes that VIP only', () => {
    const planner = createPlanner()
    planner.plan(cluster(many(['n1', 'n1', 'n1'])), undefined, context)
    const step = planner.plan(cluster(many(['n1', 'n2', 'n1'])), changesOf('EndpointSlice', 'default/b'), context)
    expect([...step.changedVips]).toEqual(['203.0.113.1'])
    expect(step.tableChanges).toMatchObject([
      { replace: false, upserts: [{ prefix: '203.0.113.1/32', paths: [{ nextHop: '10.0.0.2' }] }], withdrawals: [] },
    ])
  })

  test('the last endpoint gone is a withdrawal, and the first one back an announcement', () => {
    const planner = createPlanner()
    planner.plan(cluster(), undefined, context)
    const gone = planner.plan(cluster({ slices: [] }), changesOf('EndpointSlice', 'default/web'), context)
    expect(gone.tableChanges).toEqual([{ table: 'all', replace: false, upserts: [], withdrawals: ['203.0.113.10/32'] }])
    expect(gone.plan.vips.get(address)?.refusal?.reason).toBe('NoReadyEndpoints')
    const back = planner.plan(cluster(), changesOf('EndpointSlice', 'default/web'), context)
    expect(back.tableChanges[0]?.upserts.map(({ prefix }) => prefix)).toEqual(['203.0.113.10/32' as Prefix])
  })

  // Announcing 5.
  test.each<[string, Kind, ViewParts]>([
    [
      'a timer of a peer',
      'BgpPeer',
      {
        peers: [peer('leaf', '10.1.0.1', { timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 1 } })],
      },
    ],
    [
      'another peer that hears the same',
      'BgpPeer',
      { peers: [peer('leaf', '10.1.0.1', {}), peer('leaf2', '10.1.0.2')] },
    ],
    ['a policy that matches nothing', 'BgpPolicy', { policies: [policy('x', { pools: ['nowhere'], med: 1 })] }],
    ['the listen port', 'BgpConf', { confs: [conf({ listenPort: 1790 })] }],
    ['a status', 'VipPool', { pools: [pool('default', ['203.0.113.0/24'], { status: { used: 1 } })] }],
    ['a heartbeat', 'Node', { nodes: nodes.map((of) => ({ ...of, meta: { ...of.meta, resourceVersion: '99' } })) }],
  ])('%s changes no route', (_, kind, over) => {
    const planner = createPlanner()
    planner.plan(cluster(), undefined, context)
    const step = planner.plan(
      cluster(over),
      changesOf(kind, 'default', 'leaf', 'leaf2', 'x', 'n1', 'n2', 'n3'),
      context,
    )
    expect([step.tableChanges, step.droppedTables]).toEqual([[], []])
  })

  test('a policy re-announces what it changes, and nothing else', () => {
    const planner = createPlanner()
    const parts = many(['n1', 'n1', 'n1'])
    const services = (parts.services ?? []).map((of, i) => ({
      ...of,
      meta: { ...of.meta, labels: { tier: i === 1 ? 'gold' : 'lead' } },
    }))
    const community = must(parseCommunity('64512:100'))
    const gold = policy('gold', {
      serviceSelector: labels({ tier: 'gold' }),
      communities: [{ kind: 'name', value: 'gold' }],
    })
    const confOf = (text: string) => [conf({ communities: new Map([['gold', must(parseCommunity(text))]]) })]
    const view = { ...parts, services, confs: confOf('64512:100') }
    planner.plan(cluster(view), undefined, context)
    const applied = planner.plan(cluster({ ...view, policies: [gold] }), changesOf('BgpPolicy', 'gold'), context)
    expect(applied.tableChanges).toMatchObject([
      {
        replace: false,
        upserts: [{ prefix: '203.0.113.1/32', attributes: { communities: [community.value] } }],
        withdrawals: [],
      },
    ])
    const renamed = { ...view, policies: [gold], confs: confOf('64512:1:2') }
    const step = planner.plan(cluster(renamed), changesOf('BgpConf', 'default'), context)
    expect(step.tableChanges).toMatchObject([
      { upserts: [{ prefix: '203.0.113.1/32', attributes: { communities: [], largeCommunities: ['64512:1:2'] } }] },
    ])
    expect(step.tableChanges.flatMap(({ upserts }) => upserts)).toHaveLength(1)
  })

  test('a table that nobody hears any more is dropped, and one that is new is told in full', () => {
    const planner = createPlanner()
    planner.plan(cluster(), undefined, context)
    const racks = { peers: [peer('leaf', '10.1.0.1', { nodeSelector: labels({ rack: 'r1' }) })] }
    const step = planner.plan(cluster(racks), changesOf('BgpPeer', 'leaf'), context)
    expect(step.droppedTables).toEqual(['all'])
    expect(step.tableChanges).toMatchObject([
      { table: 'nodes[rack=r1]', replace: true, upserts: [{ prefix: '203.0.113.10/32' }] },
    ])
  })

  describe('of many VIPs', () => {
    const names = Array.from({ length: pausesFromVips }, (_, i) => `203.0.${i >> 8}.${i & 255}`)
    const services = names.map((ip, i) => service(`s${i}`, { ingress: [ip] }))
    const crowd = (node: string) =>
      cluster({
        services,
        vips: services.map((of, i) => vip(names[i] ?? '', [of])),
        slices: services.map((of) => slice(of.meta.name, [endpoint(node)])),
        pools: [pool('default', ['203.0.0.0/16'])],
      })

    test('pause, and come to the same', () => {
      const planning = createPlanner().planning(crowd('n1'), undefined, context)
      let pauses = 0
      let planned = planning.next()
      for (; planned.done !== true; planned = planning.next()) pauses++
      expect(pauses).toBeGreaterThanOrEqual(pausesFromVips)
      expect(planned.value.plan).toEqual(planFromScratch(crowd('n1'), context))
      expect(planned.value.plan.tables.get('all')?.size).toBe(pausesFromVips)
    })

    test('are planned as the cluster was when it began, and what changed meanwhile is the next step', () => {
      const [before, after] = [crowd('n1'), crowd('n2')]
      const live = {
        ...before,
        services: new Map(before.services),
        endpointSlices: new Map(before.endpointSlices),
        vips: new Map(before.vips),
      }
      const liveness = new Map<string, 'up' | 'down'>()
      const planner = createPlanner()
      const planning = planner.planning(live, undefined, { ...context, nodeLiveness: liveness })
      planning.next()
      for (const [key, slices] of after.endpointSlices) live.endpointSlices.set(key, slices)
      live.vips.delete(names[0] ?? '')
      liveness.set('n2', 'down')
      expect(toItsEnd(planning).plan).toEqual(planFromScratch(before, context))
      const changes = new Map([
        ['EndpointSlice' as const, new Set(after.endpointSlices.keys())],
        ['Vip' as const, new Set([names[0] ?? ''])],
      ])
      const now = { ...context, nodeLiveness: liveness }
      expect(toItsEnd(planner.planning(live, changes, now)).plan).toEqual(planFromScratch(live, now))
    })

    test('do not pause where only a few of them changed', () => {
      const planner = createPlanner()
      planner.plan(crowd('n1'), undefined, context)
      const step = planner.planning(crowd('n1'), changesOf('EndpointSlice', 'default/s1'), context).next()
      expect(step.done).toBe(true)
    })
  })

  test('the plan before stays as it was', () => {
    const planner = createPlanner()
    const { plan } = planner.plan(cluster(), undefined, context)
    planner.plan(cluster({ slices: [] }), changesOf('EndpointSlice', 'default/web'), context)
    expect([plan.vips.get(address)?.peers, plan.tables.get('all')?.size]).toEqual([['leaf'], 1])
  })
})

test('the speaker is what the BgpConf named default says', () => {
  expect(planOf().speaker).toEqual({ asn: 64512, routerId: '10.0.0.250', listenPort: 179, listenAddresses: [] })
  expect(planOf({ confs: [conf({ meta: meta('other') })] })).not.toHaveProperty('speaker')
})

test('what a status says of a pool plans no VIP again, and what its spec says does', () => {
  const planner = createPlanner()
  planner.plan(cluster(), undefined, context)
  const changes = new Map([['VipPool' as const, new Set(['default'])]])
  const later = { resourceVersion: '2' }
  const written = pool('default', ['203.0.113.0/24'], { status: { used: 1 }, meta: meta('default', later) })
  // A view without Services: a VIP that is planned in it is announced no more.
  const empty = { services: [], slices: [] }
  const plansAgain = (over: ViewParts) => [
    ...planner.plan(cluster({ ...empty, ...over }), changes, context).changedVips,
  ]
  expect(plansAgain({ pools: [written] })).toEqual([])
  expect(plansAgain({ pools: [{ ...written, endpointPolicy: 'Serving' }] })).toEqual([address])
})
