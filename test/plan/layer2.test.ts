// Who answers for a VIP on the nodes' link, and the reason where nobody does, as the plan and the statuses say it.

import { describe, expect, test } from 'vitest'
import type { Vip } from '../../src/k8s/objects.ts'
import type { Layer2Node } from '../../src/layer2/links.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { createPlanner, planFromScratch } from '../../src/plan/plan.ts'
import { report } from '../../src/plan/report.ts'
import type { PlanContext, VipReport } from '../../src/plan/types.ts'
import { must } from '../../src/runtime/result.ts'
import {
  conf,
  endpoint,
  ip,
  labels,
  node,
  peer,
  pool,
  service,
  slice,
  type ViewParts,
  view,
  vip,
} from '../vip/cluster.ts'

const address = '203.0.113.10'
const web = service('web', { ingress: [address] })
const local = service('web', { ingress: [address], externalTrafficPolicy: 'Local' })
const names = ['n1', 'n2', 'n3']

const agent = (over: Partial<Layer2Node> = {}): Layer2Node => ({
  links: [{ name: 'eth0', mac: '02:00:00:00:00:01', subnets: [must(parsePrefix('203.0.113.0/24'))] }],
  refusals: new Map(),
  answersForAll: false,
  silent: false,
  ...over,
})
const elsewhere = agent({
  links: [{ name: 'eth1', mac: '02:00:00:00:00:02', subnets: [must(parsePrefix('192.0.2.0/24'))] }],
})
const agents = (over: Readonly<Record<string, Layer2Node | undefined>> = {}): ReadonlyMap<string, Layer2Node> =>
  new Map(
    names.flatMap((name) => {
      const one = name in over ? over[name] : agent()
      return one === undefined ? [] : [[name, one] as const]
    }),
  )
const owned = (owner: string, over: Partial<Vip> = {}): Vip =>
  vip(address, [web], { layer2: { node: owner, interface: 'eth0' }, ...over })
const nodes = names.map((name, i) => node(name, [`203.0.113.${i + 1}`], { meta: { labels: { rack: name } } }))
const cluster = (over: ViewParts = {}) =>
  view({
    services: [web],
    vips: [vip(address, [web])],
    slices: [slice('web', [endpoint('n1'), endpoint('n2')])],
    pools: [pool('default', ['203.0.113.0/24'], { mode: 'layer2' })],
    confs: [conf()],
    peers: [peer('leaf', '203.0.113.254')],
    nodes,
    ...over,
  })
const context = (over: Partial<PlanContext> = {}): PlanContext => ({
  serviceClass: { name: 'bellhop.io/bgp', handleDefault: true },
  nodeLiveness: new Map(),
  layer2: agents(),
  ...over,
})
const planned = (parts: ViewParts = {}, over: Partial<PlanContext> = {}): VipReport | undefined =>
  planFromScratch(cluster(parts), context(over)).vips.get(address)
const ownerOf = (parts: ViewParts = {}, over: Partial<PlanContext> = {}) => planned(parts, over)?.layer2?.owner?.node
const owners = (parts: ViewParts, over: Partial<PlanContext> = {}): ReadonlySet<string | undefined> =>
  new Set(
    Array.from({ length: 60 }, (_, i) => {
      const each = `203.0.113.${100 + i}`
      const of = service('web', { ingress: [each] })
      const report = planFromScratch(cluster({ services: [of], vips: [vip(each, [of])], ...parts }), context(over))
      return report.vips.get(each)?.layer2?.owner?.node
    }),
  )

test('one node answers, on the interface that is in the network of the address, and no router hears of it', () => {
  const plan = planFromScratch(cluster(), context())
  const report = plan.vips.get(address)
  expect(report?.layer2).toEqual({
    owner: { node: expect.stringMatching(/^n[12]$/), interface: 'eth0' },
    settled: false,
  })
  expect(report?.nextHops.map((hop) => hop.node)).toEqual([report?.layer2?.owner?.node])
  expect(report).toMatchObject({ peers: [] })
  expect([...plan.tables.values()].every((table) => table.size === 0)).toBe(true)
})

describe('a new owner', () => {
  test('has endpoints of its own, where a node has', () => {
    expect(owners({})).toEqual(new Set(['n1', 'n2']))
  })

  test('is any node, where the pool asks for all nodes', () => {
    expect(owners({ pools: [pool('default', [], { mode: 'layer2', nextHops: 'AllNodes' })] })).toEqual(new Set(names))
  })

  test('is any node, while there are no endpoints', () => {
    expect(owners({ slices: [] })).toEqual(new Set(names))
  })
})

describe('the owner stays', () => {
  test.each<[why: string, parts: ViewParts, over?: Partial<PlanContext>]>([
    ['although its endpoints went', { vips: [owned('n3')] }],
    ['although no endpoint is left anywhere', { vips: [owned('n3')], slices: [] }],
    ['although no agent is in sight at all', { vips: [owned('n3')] }, { layer2: new Map() }],
    ['although its pool is gone', { vips: [owned('n3')], pools: [] }],
    [
      'although its agent lost the API server, while it is heard',
      { vips: [owned('n3')] },
      { layer2: agents({ n3: agent({ silent: true }) }), nodeLiveness: new Map([['n3', 'up']]) },
    ],
    [
      'although it is drained, where no other node can',
      {
        vips: [owned('n3')],
        nodes: nodes.map((each) =>
          each.meta.name === 'n3'
            ? { ...each, meta: { ...each.meta, annotations: { 'bellhop.io/drain': 'true' } } }
            : each,
        ),
      },
      { layer2: agents({ n1: elsewhere, n2: elsewhere }), drains: new Map([['n3', 'leaving']]) },
    ],
  ])('%s', (_, parts, over) => {
    expect(planned(parts, over)?.layer2).toMatchObject({ owner: { node: 'n3' }, settled: true })
  })
})

describe('the owner changes', () => {
  const without = (change: (of: (typeof nodes)[number]) => (typeof nodes)[number]): ViewParts => ({
    vips: [owned('n3')],
    nodes: nodes.map((each) => (each.meta.name === 'n3' ? change(each) : each)),
  })
  test.each<[why: string, parts: ViewParts, over?: Partial<PlanContext>]>([
    ['when it does not answer', { vips: [owned('n3')] }, { nodeLiveness: new Map([['n3', 'down']]) }],
    ['when it is not Ready', without((each) => ({ ...each, ready: false }))],
    [
      'when it is excluded',
      without((each) => ({
        ...each,
        meta: { ...each.meta, labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } },
      })),
    ],
    [
      'as soon as it is drained',
      without((each) => ({ ...each, meta: { ...each.meta, annotations: { 'bellhop.io/drain': 'true' } } })),
      { drains: new Map([['n3', 'leaving']]) },
    ],
    ['when its agent is gone', { vips: [owned('n3')] }, { layer2: agents({ n3: undefined }) }],
    ['when its link is gone', { vips: [owned('n3')] }, { layer2: agents({ n3: elsewhere }) }],
    [
      'when nothing is heard of its agent',
      { vips: [owned('n3')] },
      { layer2: agents({ n3: agent({ silent: true }) }) },
    ],
    [
      'when the pool selects other nodes',
      {
        vips: [owned('n3')],
        pools: [
          pool('default', [], { mode: 'layer2', layer2: { interfaces: [], nodeSelector: labels({ rack: 'n1' }) } }),
        ],
      },
    ],
    ['to where the endpoints are, with Local', { vips: [owned('n3')], services: [local] }],
  ])('%s', (_, parts, over) => {
    expect(ownerOf(parts, over)).toMatch(/^n[12]$/)
    expect(planned(parts, over)?.layer2?.settled).toBe(false)
  })
})

describe('a VIP that nobody answers for says why', () => {
  test.each<[reason: string, message: string, parts: ViewParts, over?: Partial<PlanContext>]>([
    ['NoAgent', 'no agent says that its node could answer for it', {}, { layer2: new Map() }],
    [
      'NoAgent',
      'no agent is left on any node, none that could say whether node n3 still answers',
      { vips: [owned('n3')] },
      { layer2: new Map() },
    ],
    [
      'NoEligibleNode',
      'node n1 has no interface in the subnet of 203.0.113.10; node n2 has no interface in the subnet of 203.0.113.10',
      {},
      { layer2: agents({ n1: elsewhere, n2: elsewhere, n3: undefined }) },
    ],
    [
      'NoEligibleNode',
      'node n1 has no interface eth7 that is up and can carry IPv4',
      { pools: [pool('default', [], { mode: 'layer2', layer2: { interfaces: ['eth7'] } })] },
      { layer2: agents({ n2: undefined, n3: undefined }) },
    ],
    [
      'NoLocalEndpoints',
      'externalTrafficPolicy is Local, and no node with an agent hosts an endpoint of every Service',
      { services: [local] },
      { layer2: agents({ n1: undefined, n2: undefined }) },
    ],
    [
      'AddressInUse',
      'node n3: 02:00:00:00:00:09 answers for it on eth0',
      { vips: [owned('n3')] },
      {
        layer2: agents({
          n3: agent({
            refusals: new Map([
              [
                ip(address),
                { reason: 'AddressInUse', message: '02:00:00:00:00:09 answers for it on eth0', scope: 'link' },
              ],
            ]),
          }),
        }),
      },
    ],
    [
      'AddressInUse',
      'node n3: 02:00:00:00:00:02 answers for it on eth0 (this is node n1)',
      { vips: [owned('n3')] },
      {
        layer2: agents({
          n1: elsewhere,
          n3: agent({
            refusals: new Map([
              [
                ip(address),
                { reason: 'AddressInUse', message: '02:00:00:00:00:02 answers for it on eth0', scope: 'link' },
              ],
            ]),
          }),
        }),
      },
    ],
  ])('%s: %s', (reason, message, parts, over) => {
    expect(planned(parts, over)?.refusal).toEqual({ reason, message })
  })
})

describe('a node that could not take the VIP', () => {
  const failed = agent({
    refusals: new Map([[ip(address), { reason: 'AddressNotSet', message: 'not permitted', scope: 'node' }]]),
  })
  const here = { vips: [owned('n3')] }

  test('is replaced', () => {
    expect(planned(here, { layer2: agents({ n3: failed }) })?.layer2).toMatchObject({
      owner: { node: expect.stringMatching(/^n[12]$/) },
      settled: false,
    })
  })

  test('is not given it back while it says so', () => {
    expect(owners({ nodes: nodes.slice(0, 2) }, { layer2: agents({ n1: failed }) }).size).toBe(2)
    expect(ownerOf({ vips: [owned('n1')], slices: [] }, { layer2: agents({ n1: failed, n2: elsewhere }) })).toBe('n3')
    expect(ownerOf({}, { layer2: agents({ n1: failed, n2: failed }) })).toBe('n3')
  })

  test('keeps it where nobody else can, and the refusal names every node with its reason', () => {
    const report = planned(here, { layer2: agents({ n1: failed, n2: elsewhere, n3: failed }) })
    expect(report?.layer2).toEqual({ owner: { node: 'n3', interface: 'eth0' }, settled: true })
    expect(report?.refusal).toEqual({
      reason: 'NoEligibleNode',
      message: `node n1: not permitted; node n2 has no interface in the subnet of ${address}; node n3: not permitted`,
    })
  })

  test('is tried all the same where nobody else is left, and the refusal stands until it says that it answers', () => {
    const report = planned({}, { layer2: agents({ n1: failed, n2: elsewhere, n3: elsewhere }) })
    expect(report?.layer2).toEqual({ owner: { node: 'n1', interface: 'eth0' }, settled: false })
    expect(report?.refusal?.reason).toBe('NoEligibleNode')
  })
})

describe('it is announced when the owner says that it answers', () => {
  const holding = (...vips: readonly string[]): Layer2Node =>
    agent({ holds: { vips: new Set(vips.map(ip)), more: false } })
  test.each<[what: string, parts: ViewParts, node: Layer2Node, reason: string | undefined]>([
    ['it says so', { vips: [owned('n3')] }, holding(address), undefined],
    ['it says so of others alone', { vips: [owned('n3')] }, holding('203.0.113.11'), 'NotAnsweredYet'],
    [
      'it has too many to name them',
      { vips: [owned('n3')] },
      agent({ holds: { vips: new Set(), more: true } }),
      undefined,
    ],
    ['it is older, and says nothing of the kind', { vips: [owned('n3')] }, agent(), undefined],
    [
      'it has the address, and is to have it on another interface',
      { vips: [owned('n3', { layer2: { node: 'n3', interface: 'eth9' } })] },
      holding(address),
      'NotAnsweredYet',
    ],
  ])('%s', (_, parts, node, reason) => {
    expect(planned(parts, { layer2: agents({ n3: node }) })?.refusal?.reason).toBe(reason)
  })

  test('and until then the message names it', () => {
    expect(planned({ vips: [owned('n3')] }, { layer2: agents({ n3: holding() }) })?.refusal?.message).toBe(
      'node n3 is to answer for it on eth0, and has not said that it does',
    )
  })

  test('the planner with a memory plans the VIPs that are held, and no others', () => {
    const planner = createPlanner()
    const second = '203.0.113.11'
    const other = service('other', { ingress: [second] })
    const parts = {
      services: [web, other],
      vips: [owned('n3'), vip(second, [other], { layer2: { node: 'n3', interface: 'eth0' } })],
    }
    const before = holding(address)
    const step = (n3: Layer2Node) => planner.plan(cluster(parts), new Map(), context({ layer2: agents({ n3 }) }))
    planner.plan(cluster(parts), undefined, context({ layer2: agents({ n3: before }) }))
    const taken = step({ ...before, holds: holding(address, second).holds ?? { vips: new Set(), more: true } })
    expect([...taken.changedVips]).toEqual([second])
    expect(taken.plan.vips.get(second)?.refusal?.reason).toBe('NoReadyEndpoints')
    expect(taken.plan.vips.get(second)?.layer2?.answered).toBe(true)
    const lost = step({ ...before, holds: holding(second).holds ?? { vips: new Set(), more: true } })
    expect([...lost.changedVips]).toEqual([address])
  })
})

test.each<[holds: readonly string[], owner: string]>([
  [[address], 'n3'],
  [[], 'n1'],
])(
  'an owner that lost the API server and is heard keeps what it has, and no more: holding %s leaves it at %s',
  (vips, owner) => {
    const blind = agent({ silent: true, holds: { vips: new Set(vips.map(ip)), more: false } })
    const over = { layer2: agents({ n2: elsewhere, n3: blind }), nodeLiveness: new Map([['n3', 'up' as const]]) }
    expect(ownerOf({ vips: [owned('n3')] }, over)).toBe(owner)
  },
)

test('of two interfaces in the network the one stays on which the owner answers', () => {
  const [eth0] = agent().links
  if (eth0 === undefined) throw new Error('no link')
  const two = agent({ links: [eth0, { ...eth0, name: 'eth1' }] })
  const interfaceOf = (name: string) =>
    planned({ vips: [owned('n3', { layer2: { node: 'n3', interface: name } })] }, { layer2: agents({ n3: two }) })
      ?.layer2?.owner?.interface
  expect(['eth0', 'eth1', 'eth2'].map(interfaceOf)).toEqual(['eth0', 'eth1', 'eth0'])
})

test.each<[what: string, parts: ViewParts]>([
  ['the pool is of mode bgp now', { pools: [pool('default', ['203.0.113.0/24'])] }],
  ['the Service is gone', { services: [] }],
])('%s: nobody is to answer any more, and the object still says so', (_, parts) => {
  expect(planned({ vips: [owned('n3')], ...parts })?.layer2).toEqual({ settled: false })
  expect(planned({ ...parts })?.layer2).toBe(undefined)
})

test('the statuses say who answers, and which nodes answer for everybody', () => {
  const parts = { vips: [owned('n3')] }
  const layer2 = agents({ n1: agent({ answersForAll: true }) })
  const input = {
    view: cluster(parts),
    plan: planFromScratch(cluster(parts), context({ layer2 })),
    serviceClass: context().serviceClass,
    allocation: { pools: new Map() },
    sessions: new Map(),
    replica: { name: 'a', node: 'n1', sinceMs: 0 },
  }
  const { statuses } = report(input)
  expect(statuses.find(({ kind }) => kind === 'Vip')?.status).toMatchObject({
    nextHopNodes: 'n3',
    announcedTo: [],
    conditions: [{ type: 'Announced', status: 'True', message: 'node n3 answers for it on eth0' }],
  })
  const conditions = statuses.find(({ kind }) => kind === 'VipPool')?.status['conditions']
  expect(conditions).toContainEqual(
    expect.objectContaining({
      type: 'StrictArp',
      status: 'False',
      message: expect.stringContaining('makes n1 answer ARP for every VIP'),
    }),
  )
})

test('before it is known which nodes have agents an owner is believed, and no longer', () => {
  const planner = createPlanner()
  const { layer2: _, ...unlisted } = context()
  const parts = { vips: [owned('n3')] }
  const reason = (step: ReturnType<typeof planner.plan>) => step.plan.vips.get(address)?.refusal?.reason
  expect(reason(planner.plan(cluster(parts), undefined, unlisted))).toBe(undefined)
  expect(reason(planner.plan(cluster(parts), new Map(), { ...unlisted, layer2: new Map() }))).toBe('NoAgent')
})

test('the planner with a memory follows what agents and labels say', () => {
  const planner = createPlanner()
  const selecting = pool('default', [], {
    mode: 'layer2',
    layer2: { interfaces: [], nodeSelector: labels({ rack: 'n2' }) },
  })
  const owner = (step: ReturnType<typeof planner.plan>) => step.plan.vips.get(address)?.layer2?.owner?.node
  const here = { vips: [owned('n2')], pools: [selecting] }
  expect(owner(planner.plan(cluster(here), undefined, context()))).toBe('n2')
  const layer2 = agents({ n2: elsewhere })
  expect(owner(planner.plan(cluster(here), new Map(), context({ layer2 })))).toBe(undefined)
  const relabelled = nodes.map((each) => ({ ...each, meta: { ...each.meta, labels: { rack: 'n2' } } }))
  const changed = planner.plan(
    cluster({ ...here, nodes: relabelled }),
    new Map([['Node', new Set(names)]]),
    context({ layer2 }),
  )
  expect(owner(changed)).toBe('n1')
})
