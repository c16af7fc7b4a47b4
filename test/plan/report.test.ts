// What people read with kubectl. Every status that any of these scenes produces is also judged by the schemas in crds/.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RangeStatus, SessionStatus } from '../../src/bgp/speaker/protocol.ts'
import type { ClusterChanges, ClusterView, Condition, Kind, Node, ObjectRefusal } from '../../src/k8s/objects.ts'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'
import { parseRouterId } from '../../src/net/asn.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { drainAnnotation } from '../../src/plan/drain.ts'
import type { LivenessFacts } from '../../src/plan/liveness-report.ts'
import { createPlanner, planFromScratch } from '../../src/plan/plan.ts'
import { leaderVipStatus, type Report, type ReportInput, report, serviceCondition } from '../../src/plan/report.ts'
import { createReportChanges } from '../../src/plan/report-changes.ts'
import { establishedPeers } from '../../src/plan/report-peers.ts'
import { must } from '../../src/runtime/result.ts'
import { allocate } from '../../src/vip/allocate.ts'
import { judge } from '../crds/crd-files.ts'
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

const serviceClass = { name: 'bellhop.io/bgp', handleDefault: true }
const address = '203.0.113.10'
const web = service('web', { ingress: [address], meta: { generation: 3 } })
const up: SessionStatus = {
  peer: 'leaf',
  state: 'Established',
  sinceMs: 60_000,
  holdTimeSeconds: 90,
  families: ['ipv4-unicast'],
  addPath: ['ipv4-unicast'],
  gracefulRestart: false,
  peerRouterId: must(parseRouterId('10.1.0.1')),
  localAddress: ip('10.0.0.250'),
  announcedPaths: 2,
  announcedPrefixes: 1,
  receivedPrefixes: 4,
  establishedCount: 1,
  messagesIn: 5,
  messagesOut: 6,
  updatesOut: 2,
}
const down: SessionStatus = {
  peer: 'leaf',
  state: 'Active',
  sinceMs: 90_000,
  announcedPaths: 0,
  announcedPrefixes: 0,
  receivedPrefixes: 0,
  establishedCount: 0,
  messagesIn: 0,
  messagesOut: 0,
  updatesOut: 0,
  lastError: 'connection refused',
}

function inputOf(parts: ViewParts = {}, over: Partial<ReportInput> = {}): ReportInput {
  const of = view({
    services: [web],
    vips: [vip(address, [web], { meta: meta(address, { generation: 2 }) })],
    slices: [slice('web', [endpoint('n1'), endpoint('n2')])],
    nodes: [node('n1', ['10.0.0.1']), node('n2', ['10.0.0.2'], { ready: false })],
    pools: [pool('default', ['203.0.113.0/24'])],
    confs: [conf()],
    peers: [peer('leaf', '10.1.0.1')],
    ...parts,
  })
  return {
    view: of,
    plan: planFromScratch(of, { serviceClass, nodeLiveness: new Map() }),
    serviceClass,
    allocation: allocate({ view: of, serviceClass, withdrawn: () => false, nowMs: 0 }),
    sessions: new Map([['leaf', up]]),
    replica: { name: 'c1', node: 'n1', sinceMs: 30_000 },
    ...over,
  }
}

const kinds: readonly Kind[] = ['BgpConf', 'BgpPeer', 'VipPool', 'Vip', 'BgpPolicy']
const specs: Partial<Record<Kind, JsonObject>> = {
  BgpConf: { asn: 64512 },
  BgpPeer: { address: '10.1.0.1', asn: 64513 },
  VipPool: { addresses: ['203.0.113.0/24'] },
  Vip: { address, pool: 'default' },
  BgpPolicy: {},
}
const judges = new Map(kinds.map((kind) => [kind, judge(kind)]))

/** The statuses as JSON, each of them accepted by its schema with nothing pruned away. */
function statuses(of: Report): ReadonlyMap<string, JsonObject> {
  const found = new Map<string, JsonObject>()
  for (const { kind, name, fieldManagerRole, status } of of.statuses) {
    const json = JSON.parse(JSON.stringify(status)) as JsonObject
    const conditions = (json['conditions'] ?? []) as unknown as Condition[]
    const stamped = {
      ...json,
      ...('conditions' in json
        ? { conditions: conditions.map((each) => ({ ...each, lastTransitionTime: '2026-01-31T12:00:00Z' })) }
        : {}),
    } as unknown as JsonObject
    const spec = specs[kind] ?? {}
    const judged = judges.get(kind)?.({
      metadata: { name },
      spec: kind === 'Vip' ? { ...spec, address: name } : spec,
      status: stamped,
    })
    expect({ kind, name, errors: judged?.errors, unknown: judged?.unknown }).toEqual({
      kind,
      name,
      errors: [],
      unknown: [],
    })
    found.set(`${kind}/${name} ${fieldManagerRole}`, json)
  }
  return found
}

const statusOf = (key: string, input: ReportInput): JsonObject => {
  const status = statuses(report(input)).get(key)
  if (status === undefined) throw new Error(`nobody reports ${key}`)
  return status
}
const condition = (key: string, type: string, input: ReportInput) => {
  const conditions = statusOf(key, input)['conditions'] as unknown as Condition[]
  const { status, reason, message } = conditions.find((each) => each.type === type) ?? {
    status: '',
    reason: '',
    message: '',
  }
  return `${status} ${reason}: ${message}`
}

describe('a Vip', () => {
  test('says where its traffic goes and who was told', () => {
    expect(statusOf(`Vip/${address} leader`, inputOf())).toEqual({
      observedGeneration: 2,
      services: 'default/web',
      nextHopNodes: 'n1',
      nextHops: [{ node: 'n1', address: '10.0.0.1', endpoints: 1 }],
      announcedTo: ['leaf'],
      conditions: [
        {
          type: 'Announced',
          status: 'True',
          reason: 'Announced',
          message: '1 next hop, told to leaf; left out: node n2 is not Ready',
          observedGeneration: 2,
        },
      ],
    })
  })

  test.each<[string, ViewParts, Partial<ReportInput>, string]>([
    ['no endpoint', { slices: [] }, {}, 'False NoReadyEndpoints: no endpoint is ready'],
    [
      'no session',
      {},
      { sessions: new Map([['leaf', down]]) },
      'False NoEstablishedPeer: no session is established with leaf',
    ],
    [
      'a guarded withdrawal',
      { slices: [] },
      { guarded: new Set([address]) },
      'False Guarded: its withdrawal is one of so many that it waits to be confirmed: it is still announced',
    ],
    [
      'a hold',
      { vips: [vip(address, [], { hold: { namespace: 'default', name: 'web', untilMs: 0 } })] },
      {},
      'False OnHold: waits for default/web to return, until 1970-01-01T00:00:00Z',
    ],
  ])('with %s says so', (_, parts, over, expected) => {
    expect(condition(`Vip/${address} leader`, 'Announced', inputOf(parts, over))).toBe(expected)
  })

  test('says which of its nodes leave', () => {
    const drained = node('n1', ['10.0.0.1'], { meta: { annotations: { [drainAnnotation]: 'true' } } })
    const parts = { nodes: [drained, node('n2', ['10.0.0.2'])] }
    const { view: of } = inputOf(parts)
    const drains = new Map([['n1', 'leaving' as const]])
    const input = inputOf(parts, { plan: planFromScratch(of, { serviceClass, nodeLiveness: new Map(), drains }) })
    expect(condition(`Vip/${address} leader`, 'Announced', input)).toBe(
      'True Announced: 2 next hops (leaving: n1), told to leaf',
    )
    expect(statusOf(`Vip/${address} leader`, input)['nextHops']).toEqual([
      { node: 'n1', address: '10.0.0.1', endpoints: 1, leaving: true },
      { node: 'n2', address: '10.0.0.2', endpoints: 1 },
    ])
  })

  test('a session of another replica counts', () => {
    const others = peer('leaf', '10.1.0.1', { status: { sessions: [{ speaker: 'c2', state: 'Established' }] } })
    const input = inputOf({ peers: [others] }, { sessions: new Map() })
    expect(statusOf(`Vip/${address} leader`, input)['announcedTo']).toEqual(['leaf'])
    expect(statusOf(`Vip/${address} leader`, { ...input, replicas: new Set(['c1']) })['announcedTo']).toEqual([])
  })

  test('many Services and nodes are shown in short', () => {
    const many = Array.from({ length: 5 }, (_, i) => service(`s${i}`, { ingress: [address] }))
    const nodes = Array.from({ length: 5 }, (_, i) => node(`n${i}`, [`10.0.0.${i + 1}`]))
    const slices = [
      slice(
        's0',
        nodes.map((of) => endpoint(of.meta.name)),
      ),
    ]
    expect(
      statusOf(`Vip/${address} leader`, inputOf({ services: many, vips: [vip(address, many)], nodes, slices })),
    ).toMatchObject({ services: 'default/s0 +4', nextHopNodes: 'n0,n1,n2 +2' })
  })
})

describe('a Service', () => {
  test('is told when its condition does not say so yet, over the version that was read', () => {
    expect(report(inputOf()).services).toEqual([
      {
        service: 'default/web',
        uid: 'uid-default-web',
        resourceVersion: '1',
        condition: {
          type: 'bellhop.io/Announced',
          status: 'True',
          reason: 'Announced',
          message: `${address}: see Vip ${address}`,
          observedGeneration: 3,
        },
      },
    ])
  })

  test('is not told twice', () => {
    const [told] = report(inputOf()).services
    if (told === undefined) throw new Error('nobody was told')
    expect(report(inputOf({ services: [{ ...web, conditions: [told.condition] }] })).services).toEqual([])
  })

  test('without an address, and of another class', () => {
    const services = [service('pending'), service('foreign', { loadBalancerClass: 'x' })]
    expect(
      report(inputOf({ services, vips: [] })).services.map(({ service: name, condition: of }) => [name, of.reason]),
    ).toEqual([['default/pending', 'NotAllocated']])
  })

  test('with two addresses is announced when both are', () => {
    const both = service('web', { ingress: [address, '2001:db8::1'] })
    const [told] = report(
      inputOf({ services: [both], vips: [vip(address, [both]), vip('2001:db8::1', [both])] }),
    ).services
    expect([told?.condition.status, told?.condition.reason]).toEqual(['False', 'NoReadyEndpoints'])
  })
})

describe('a BgpPeer', () => {
  test('has the entry of each replica, written by that replica', () => {
    expect(statusOf('BgpPeer/leaf replica', inputOf())).toEqual({
      sessions: [
        {
          speaker: 'c1',
          remoteAddress: '10.1.0.1',
          state: 'Established',
          since: '1970-01-01T00:01:00Z',
          holdSeconds: 90,
          families: ['ipv4-unicast'],
          addPath: ['ipv4-unicast'],
          gracefulRestart: false,
          routerId: '10.1.0.1',
          announced: 1,
          receivedPrefixes: 4,
        },
      ],
    })
  })

  // Announcing 3, as far as it is about a session and not about a node.
  describe('says whether routers can use the next hops', () => {
    const onLink: SessionStatus = { ...up, localNetworks: [must(parsePrefix('10.0.0.0/24'))] }
    const off = peer('leaf', '10.1.0.1')
    const here = node('n1', ['10.0.0.1'], { meta: { labels: { rack: 'r1' } } })
    const elsewhere = node('n2', ['10.0.9.2'], { meta: { labels: { rack: 'r2' } } })
    test.each<[string, ViewParts, SessionStatus, string | RegExp]>([
      ['while there is no session', {}, down, 'Unknown NotEstablished: '],
      ['on the network of the session', { nodes: [here] }, onLink, 'True Usable: '],
      [
        'on another',
        { nodes: [here, elsewhere] },
        onLink,
        /^False OffLink: not on 10.0.0.0\/24, the network of the session: n2 \(10.0.9.2\). .* say ebgpMultihop$/,
      ],
      [
        'on another that is not for this router',
        { nodes: [here, elsewhere], peers: [{ ...off, nodeSelector: labels({ rack: 'r1' }) }] },
        onLink,
        'True Usable: ',
      ],
      [
        'on another, of a node that is no next hop',
        { nodes: [here, { ...elsewhere, ready: false }] },
        onLink,
        'True Usable: ',
      ],
      ['several hops away', { nodes: [elsewhere], peers: [{ ...off, ebgpMultihopTtl: 2 }] }, onLink, 'True Usable: '],
      ['inside the AS', { nodes: [elsewhere], peers: [{ ...off, asn: asn(64512) }] }, onLink, 'True Usable: '],
      [
        'that are our own address',
        { nodes: [elsewhere], peers: [{ ...off, nextHop: 'self' }] },
        onLink,
        'True Usable: ',
      ],
      ['when no network is known', { nodes: [elsewhere] }, up, 'True Usable: '],
      [
        'when our address is a network of its own',
        { nodes: [elsewhere] },
        { ...up, localNetworks: [must(parsePrefix('10.0.0.9/32'))] },
        'True Usable: ',
      ],
      [
        'when our own address is none',
        { nodes: [here] },
        { ...onLink, nextHopError: 'nothing is announced' },
        'False OwnAddress: c1: nothing is announced',
      ],
    ])('%s', (_, parts, session, expected) => {
      const said = condition(
        'BgpPeer/leaf leader',
        'NextHopsUsable',
        inputOf(parts, { sessions: new Map([['leaf', session]]) }),
      )
      if (typeof expected === 'string') expect(said).toBe(expected)
      else expect(said).toMatch(expected)
    })

    test('anew when a node comes to another network', () => {
      const sessions = new Map([['leaf', onLink]])
      const said = (nodes: readonly Node[]) =>
        condition('BgpPeer/leaf leader', 'NextHopsUsable', inputOf({ nodes }, { sessions })).split(':')[0]
      expect([[here], [here, elsewhere], [here]].map(said)).toEqual(['True Usable', 'False OffLink', 'True Usable'])
    })
  })

  describe('with a range', () => {
    const { address: _, ...network } = peer('leaf', '10.1.0.1', { addressRange: must(parsePrefix('10.1.0.0/24')) })
    const router = (last: number, status: SessionStatus): readonly [string, SessionStatus] => {
      const remote = `10.1.0.${last}`
      return [`leaf@${remote}`, { ...status, peer: `leaf@${remote}`, dynamic: { range: 'leaf', remote } }]
    }
    const range: RangeStatus = {
      range: 'leaf',
      sessions: 0,
      refused: 0,
      past: { establishedCount: 0, messagesIn: 0, messagesOut: 0, updatesOut: 0 },
    }
    const scene = (
      sessions: ReadonlyMap<string, SessionStatus>,
      over: Partial<ReportInput> & { readonly reported?: readonly Readonly<Record<string, unknown>>[] } = {},
    ): ReportInput => {
      const { reported = [], ...rest } = over
      const peers = [{ ...network, status: { sessions: reported } }]
      return inputOf({ peers }, { sessions, ranges: new Map([['leaf', range]]), ...rest })
    }

    test('waits for routers', () => {
      const nobody = scene(new Map())
      expect(statusOf('BgpPeer/leaf replica', nobody)).toEqual({
        sessions: [{ speaker: 'c1', remoteAddress: '', state: 'Active', since: '1970-01-01T00:00:30Z' }],
      })
      expect(statusOf('BgpPeer/leaf leader', nobody)).toMatchObject({
        state: 'Active',
        sessionsSummary: '0/0',
        announced: 0,
        message: 'no router has connected from 10.1.0.0/24',
      })
      expect(condition('Vip/203.0.113.10 leader', 'Announced', nobody)).toBe(
        'False NoEstablishedPeer: no session is established with leaf',
      )
    })

    test('has an entry for each router and replica', () => {
      const two = scene(new Map([router(1, up), router(2, up)]), {
        reported: [
          { speaker: 'c2', remoteAddress: '10.1.0.1', state: 'Established', announced: 0 },
          { speaker: 'gone', remoteAddress: '10.1.0.1', state: 'Idle' },
        ],
        replicas: new Set(['c1', 'c2']),
      })
      expect(statusOf('BgpPeer/leaf replica', two)['sessions']).toMatchObject([
        { speaker: 'c1', remoteAddress: '10.1.0.1', state: 'Established', announced: 1 },
        { speaker: 'c1', remoteAddress: '10.1.0.2', state: 'Established', announced: 1 },
      ])
      expect(statusOf('BgpPeer/leaf leader', two)).toMatchObject({
        state: 'Established',
        sessionsSummary: '3/3',
        announced: 0,
        message: '',
      })
      expect(condition('Vip/203.0.113.10 leader', 'Announced', two)).toMatch(/^True Announced: /)
    })

    test('says which replica has no router, which router has no session, and what became of one that left', () => {
      const one = { sessions: new Map([router(1, up)]), replicas: new Set(['c1', 'c2']) }
      expect(condition('BgpPeer/leaf leader', 'Established', scene(one.sessions, one))).toBe(
        'False SomeNotEstablished: no router has connected from 10.1.0.0/24 to c2',
      )
      const failing = scene(
        new Map([router(1, up), router(2, { ...down, establishedCount: 1, lastError: 'hold timer expired' })]),
      )
      expect(condition('BgpPeer/leaf leader', 'Established', failing)).toBe(
        'False SomeNotEstablished: c1, 10.1.0.2: Active, hold timer expired',
      )
      const left = scene(new Map(), {
        ranges: new Map([['leaf', { ...range, lastError: '10.1.0.9: the router says its AS is 65010' }]]),
      })
      expect(condition('BgpPeer/leaf leader', 'Established', left)).toBe(
        'False NotEstablished: no router has connected from 10.1.0.0/24; the last one that failed, at c1: 10.1.0.9: the router says its AS is 65010',
      )
      // A router that never had a session is not counted among those that have one, whatever becomes of the next attempt.
      const trying = scene(new Map([router(1, up), router(9, down)]), {
        ranges: new Map([['leaf', { ...range, lastError: '10.1.0.9: refused' }]]),
      })
      expect(statusOf('BgpPeer/leaf leader', trying)).toMatchObject({ sessionsSummary: '1/1', message: '' })
      expect(condition('BgpPeer/leaf leader', 'Established', trying)).toBe(
        'True Established: the last one that failed, at c1: 10.1.0.9: refused',
      )
      expect(statusOf('BgpPeer/leaf replica', left)).toMatchObject({
        sessions: [{ remoteAddress: '', lastError: '10.1.0.9: the router says its AS is 65010' }],
      })
    })
  })

  test('has the state of BFD beside that of BGP', () => {
    const input = inputOf({}, { sessions: new Map([['leaf', { ...down, bfd: 'AdminDown' }]]) })
    expect(statusOf('BgpPeer/leaf replica', input)).toMatchObject({ sessions: [{ state: 'Active', bfd: 'AdminDown' }] })
  })

  test('has a summary, written by the leader', () => {
    const others = [
      {
        speaker: 'c2',
        state: 'Established',
        since: '1970-01-01T00:02:00Z',
        announced: 0,
        families: ['ipv4-unicast'],
        addPath: ['ipv4-unicast'],
      },
      { speaker: 'c1', state: 'Idle', since: '1970-01-01T00:00:00Z' },
    ]
    const input = inputOf(
      { peers: [peer('leaf', '10.1.0.1', { status: { sessions: others } })] },
      { replicas: new Set(['c1', 'c2']) },
    )
    expect(statusOf('BgpPeer/leaf leader', input)).toMatchObject({
      state: 'Established',
      sessionsSummary: '2/2',
      announced: 0,
      since: '1970-01-01T00:02:00Z',
      message: '',
    })
    expect(condition('BgpPeer/leaf leader', 'Established', input)).toBe('True Established: ')
    expect(condition('BgpPeer/leaf leader', 'AddPathNegotiated', input)).toBe('True Negotiated: ')
  })

  test('a session that is down is the state, with its reason', () => {
    const others = [{ speaker: 'c2', state: 'Established', since: '1970-01-01T00:02:00Z', announced: 7 }]
    const input = inputOf(
      { peers: [peer('leaf', '10.1.0.1', { status: { sessions: others } })] },
      { replicas: new Set(['c1', 'c2']), sessions: new Map([['leaf', down]]) },
    )
    expect(statusOf('BgpPeer/leaf leader', input)).toMatchObject({
      state: 'Active',
      sessionsSummary: '1/2',
      announced: 7,
      since: '1970-01-01T00:01:30Z',
      message: 'c1: Active, connection refused',
    })
    expect(condition('BgpPeer/leaf leader', 'Established', input)).toBe(
      'False SomeNotEstablished: c1: Active, connection refused',
    )
  })

  test('a replica that has not reported yet is missed', () => {
    const input = inputOf({}, { replicas: new Set(['c1', 'c2']) })
    expect(statusOf('BgpPeer/leaf leader', input)['sessionsSummary']).toBe('1/2')
  })

  test.each<[string, Parameters<typeof peer>[2], Partial<ReportInput>, string, string]>([
    [
      'no ADD-PATH',
      {},
      { sessions: new Map([['leaf', { ...up, addPath: [] }]]) },
      'AddPathNegotiated',
      'False NotNegotiated: the router does not take ADD-PATH: it is told one next hop of each VIP',
    ],
    ['ADD-PATH disabled', { addPath: 'disabled' }, {}, 'AddPathNegotiated', 'Unknown Disabled: '],
    [
      'a shutdown',
      { shutdown: 'power work' },
      { sessions: new Map([['leaf', down]]) },
      'Established',
      'False Shutdown: shut down: power work',
    ],
    [
      'a missing Secret',
      { passwordSecretRef: { name: 'x', key: 'y' } },
      {},
      'Accepted',
      "False SecretMissing: there is no Secret x in Bellhop's namespace",
    ],
    [
      'no node that is to speak',
      { speaker: 'node', nodeSelector: labels({ rack: 'none' }) },
      {},
      'Established',
      'False NoNode: nodeSelector selects no node',
    ],
  ])('says so with %s', (_, over, input, type, expected) => {
    expect(condition('BgpPeer/leaf leader', type, inputOf({ peers: [peer('leaf', '10.1.0.1', over)] }, input))).toBe(
      expected,
    )
  })

  // The Service has an endpoint on n1 and n2, and n2 is not Ready; every node has its own session with the router.
  describe('of the nodes', () => {
    const session = (speaker: string, over: Readonly<Record<string, unknown>> = {}) => ({
      ...{ speaker, state: 'Established', announced: 1, since: '1970-01-01T00:00:09Z' },
      ...over,
    })
    const speaking = (sessions: readonly unknown[], over: Partial<ReportInput> = {}) =>
      inputOf({ peers: [peer('tor', '10.1.0.1', { speaker: 'node', status: { sessions } })] }, over)

    test('counts their sessions, and the VIPs that the router was told of by whichever node', () => {
      const input = speaking([session('n1'), session('n2', { announced: 0 })])
      expect(statusOf('BgpPeer/tor leader', input)).toMatchObject({
        ...{ state: 'Established', sessionsSummary: '2/2', announced: 1, message: '' },
      })
      expect(condition('BgpPeer/tor leader', 'Accepted', input)).toBe('True Accepted: ')
      expect(condition('BgpPeer/tor leader', 'Established', input)).toBe('True Established: ')
      expect(condition('BgpPeer/tor leader', 'AddPathNegotiated', input)).toBe('Unknown Disabled: ')
      expect(statusOf(`Vip/${address} leader`, input)['announcedTo']).toEqual(['tor'])
      expect(condition(`Vip/${address} leader`, 'Announced', input)).toBe(
        'True Announced: 1 next hop, told to tor; left out: node n2 is not Ready',
      )
    })

    test('names the nodes whose agents say nothing', () => {
      const input = speaking([session('n1')])
      expect(statusOf('BgpPeer/tor leader', input)).toMatchObject({ sessionsSummary: '1/2' })
      expect(condition('BgpPeer/tor leader', 'Established', input)).toBe(
        'False SomeNotEstablished: the agent of n2 reports no session: does it run, with the rights that deploy/node-speakers gives it?',
      )
    })

    test('says what a node has against it', () => {
      const lastError = 'node n2: annotation bellhop.io/bgp-asn is "x", which is no AS number'
      const input = speaking([session('n1'), session('n2', { state: 'Idle', lastError })])
      expect(condition('BgpPeer/tor leader', 'Established', input)).toBe(
        `False SomeNotEstablished: n2: Idle, ${lastError}`,
      )
    })

    test('does not count the sessions of agents that are gone, nor of nodes that it does not select', () => {
      const input = speaking([session('n1'), session('n2'), session('n9')], { agents: new Set(['n1', 'n9']) })
      expect(statusOf('BgpPeer/tor leader', input)).toMatchObject({ sessionsSummary: '1/2' })
    })

    test('a VIP is announced only by those of its next hops that have a session', () => {
      const peers = [peer('tor', '10.1.0.1', { speaker: 'node', status: { sessions: [session('n2')] } })]
      const input = inputOf({ peers, slices: [slice('web', [endpoint('n1')])] })
      expect(condition(`Vip/${address} leader`, 'Announced', input)).toBe(
        'False NoEstablishedPeer: no session is established with tor',
      )
      expect(statusOf('BgpPeer/tor leader', input)).toMatchObject({ announced: 0 })
    })

    test('stands beside those of the controllers', () => {
      const tor = peer('tor', '10.1.0.2', { speaker: 'node', status: { sessions: [session('n1')] } })
      const input = inputOf(
        { peers: [peer('leaf', '10.1.0.1'), tor] },
        { sessions: new Map([['leaf', { ...up, addPath: [] }]]) },
      )
      expect(statusOf(`Vip/${address} leader`, input)['announcedTo']).toEqual(['leaf', 'tor'])
    })
  })

  test('a refused one has no session entry of ours', () => {
    expect(() => statusOf('BgpPeer/leaf replica', inputOf({ confs: [] }))).toThrow('nobody reports')
  })
})

describe('a BgpConf', () => {
  test('is in use, or ignored', () => {
    const input = inputOf({ confs: [conf(), conf({ meta: meta('other') })] })
    expect(condition('BgpConf/default leader', 'Ready', input)).toBe('True InUse: AS 64512')
    expect(condition('BgpConf/other leader', 'Ignored', input)).toBe(
      'True NotDefault: only the BgpConf named default is read',
    )
    expect(statusOf('BgpConf/default replica', input)).toEqual({
      speakers: [{ name: 'c1', node: 'n1', routerId: '10.0.0.250', since: '1970-01-01T00:00:30Z' }],
    })
  })

  test('says since when nodes leave, for a controller that starts meanwhile', () => {
    expect(statusOf('BgpConf/default leader', inputOf())).not.toHaveProperty('drains')
    const drains = new Map([
      ['n2', 60_400],
      ['n1', 30_000],
    ])
    expect(statusOf('BgpConf/default leader', inputOf({}, { drains }))['drains']).toEqual([
      { node: 'n1', since: '1970-01-01T00:00:30Z' },
      { node: 'n2', since: '1970-01-01T00:01:00Z' },
    ])
  })

  test('counts the speakers that run, of those that should', () => {
    const confs = [conf({ status: { speakers: [{ name: 'c2' }, { name: 'gone' }] } })]
    expect(
      statusOf('BgpConf/default leader', inputOf({ confs }, { replicas: new Set(['c1', 'c2', 'c3']) }))[
        'speakersSummary'
      ],
    ).toBe('2/3')
  })

  test.each<[string, Partial<LivenessFacts>, string]>([
    ['there is no Secret', { keys: { type: 'absent' } }, 'False NoSecret: there is no Secret bellhop-liveness'],
    [
      'the Secret has only rubbish',
      { keys: { type: 'unusable', problems: ['key 1 has 21 octets: 1 to 20 are possible'], kept: true } },
      'False NoUsableKey: Secret bellhop-liveness has no key that can be used: key 1 has 21 octets: 1 to 20 are possible; the keys that it had are used',
    ],
    [
      'the Secret vanished',
      { keys: { type: 'vanished' } },
      'False SecretVanished: the Secret bellhop-liveness is gone',
    ],
    [
      'an agent has no key',
      { withoutKey: ['n3'] },
      'False AgentsWithoutKey: agents that have not said that they have the key: n3',
    ],
    ['all have one', {}, 'True KeysInUse: by key 2, 1'],
  ])('says whether liveness is authenticated: %s', (_, changes, words) => {
    const liveness: LivenessFacts = {
      keys: { type: 'in-use', ids: [2, 1], problems: [] },
      ...{ watched: ['n2', 'n3'], up: 1, silent: ['n3'], withoutKey: [] },
      ...changes,
    }
    const input = inputOf({}, { liveness })
    expect(condition('BgpConf/default leader', 'LivenessAuthenticated', input)).toContain(words)
    expect(statusOf('BgpConf/default replica', input)['speakers']).toMatchObject([
      { liveness: { nodes: 2, up: 1, silent: 'n3' } },
    ])
  })

  test('says what keeps it from being used', () => {
    const { routerId: _, ...anonymous } = conf()
    expect(condition('BgpConf/default leader', 'Ready', inputOf({ confs: [anonymous] }))).toBe(
      'False NoRouterId: BgpConf default has no routerId, and the Node that this controller is told to run on (NODE_NAME) is not there to make one of',
    )
    expect(
      condition('BgpConf/default leader', 'Ready', inputOf({}, { listenError: 'cannot listen on port 179: EACCES' })),
    ).toBe('False ListenFailed: cannot listen on port 179: EACCES')
  })
})

describe('a VipPool', () => {
  test.each<[string, readonly ReturnType<typeof pool>[], string]>([
    ['has room', [pool('default', ['203.0.113.0/24'])], 'True Ready: '],
    ['is full', [pool('default', ['203.0.113.10'])], 'False Exhausted: every address is taken'],
    [
      'is disabled',
      [pool('default', ['203.0.113.0/24'], { disabled: true })],
      'False Disabled: disabled: what is allocated stays, nothing is given out',
    ],
    [
      'is being deleted',
      [pool('default', ['203.0.113.0/24'], { meta: { deleting: true } })],
      'False Deleting: the pool is being deleted and gives out nothing',
    ],
    [
      'lost everything to an older one',
      [pool('default', ['203.0.113.0/24'], { meta: { creationTimestampMs: 5 } }), pool('old', ['203.0.113.0/24'])],
      'False Empty: older pools have all of its addresses',
    ],
    ['has nothing left', [pool('default', [])], 'False Empty: exclude takes all of its addresses'],
  ])('%s', (_, pools, expected) => {
    expect(condition('VipPool/default leader', 'Ready', inputOf({ pools }))).toBe(expected)
  })

  test('counts as text what no number holds, and names overlaps', () => {
    const pools = [
      pool('default', ['203.0.113.0/24', '2001:db8::/64'], { meta: { creationTimestampMs: 5 } }),
      pool('old', ['203.0.113.0/25']),
    ]
    expect(statusOf('VipPool/default leader', inputOf({ pools }))).toMatchObject({
      total: '18446744073709551744',
      used: 0,
      held: 0,
      available: '18446744073709551744',
    })
    expect(condition('VipPool/default leader', 'Overlap', inputOf({ pools }))).toBe(
      'True OlderPool: 203.0.113.0-203.0.113.127 belongs to the older pool old',
    )
  })

  test('names the nodes whose own addresses lie in it, and counts those that are too many to name', () => {
    const nodes = Array.from({ length: 7 }, (_, i) => node(`n${i}`, [`203.0.113.${i}`]))
    const over = inputOf({ pools: [pool('default', ['203.0.113.0/24'])], nodes: nodes.slice(0, 1) })
    expect(condition('VipPool/default leader', 'Overlap', over)).toBe(
      'True AddressesInUse: 203.0.113.0 is the address of node n0',
    )
    const many = inputOf({ pools: [pool('default', ['203.0.113.0/24'])], nodes })
    expect(condition('VipPool/default leader', 'Overlap', many)).toMatch(
      /203\.0\.113\.4 is the address of node n4; and 2 more addresses are somebody's own$/,
    )
  })
})

test('a BgpPolicy says which of its references lead nowhere', () => {
  const policies = [
    policy('p', {
      pools: ['default', 'nowhere'],
      peers: ['leaf', 'nobody'],
      communities: [{ kind: 'name', value: 'premium' }],
    }),
    policy('q'),
  ]
  expect(condition('BgpPolicy/p leader', 'Accepted', inputOf({ policies }))).toBe(
    'False UnknownReference: there is no VipPool nowhere; there is no BgpPeer nobody; BgpConf default defines no community premium',
  )
  expect(condition('BgpPolicy/q leader', 'Accepted', inputOf({ policies }))).toBe('True Accepted: ')
})

test.each<[Kind, string, string]>([
  ['BgpConf', 'default', 'Ready'],
  ['BgpPeer', 'leaf9', 'Accepted'],
  ['VipPool', 'p9', 'Ready'],
  ['Vip', '203.0.113.99', 'Announced'],
  ['BgpPolicy', 'q9', 'Accepted'],
])('a %s that makes no sense is told so on its own status', (kind, name, type) => {
  const refusals = [
    {
      kind,
      meta: meta(name, { generation: 4 }),
      problems: [
        { path: 'spec.x', message: 'is wrong' },
        { path: 'spec.y', message: 'is worse' },
      ],
    },
  ]
  const input = inputOf({ refusals, ...(kind === 'BgpConf' ? { confs: [] } : {}) })
  expect(condition(`${kind}/${name} leader`, type, input)).toBe('False Invalid: spec.x: is wrong; spec.y: is worse')
  // What `kubectl get bgppeers` shows.
  const { state, message } = statusOf(`${kind}/${name} leader`, input)
  const columns = kind === 'BgpPeer' ? ['Idle', 'spec.x: is wrong; spec.y: is worse'] : [undefined, undefined]
  expect([state, message]).toEqual(columns)
})

test('a replica that does not lead reports its own sessions and nothing else', () => {
  const { allocation: _, ...follower } = inputOf()
  const { statuses: list, services } = report(follower)
  expect([list.map(({ kind, name, fieldManagerRole }) => `${kind}/${name} ${fieldManagerRole}`), services]).toEqual([
    ['BgpPeer/leaf replica', 'BgpConf/default replica'],
    [],
  ])
})

test('what is reported change by change is what a report from scratch says, whatever came before', () => {
  const shown = { ...web, conditions: report(inputOf()).services.map(({ condition: of }) => of) }
  const second = '203.0.113.11'
  const both = [web, service('api', { ingress: [second] })]
  const held = vip(address, [web], { hold: { namespace: 'default', name: 'web', untilMs: 0 } })
  const refused: ObjectRefusal = { kind: 'Vip', meta: meta(address), problems: [{ path: 'spec', message: 'is wrong' }] }
  const base = inputOf()
  const inputs = [
    base,
    { ...base, sessions: new Map([['leaf', down]]) },
    { ...base, guarded: new Set([address]) },
    { ...base, plan: inputOf({ slices: [] }).plan },
    inputOf({ services: [shown] }),
    inputOf({ services: [{ ...web, ingress: [] }] }),
    inputOf({ services: both, vips: [vip(address, [web]), vip(second, both.slice(1))] }),
    inputOf({ services: both }),
    inputOf({ vips: [held] }),
    inputOf({ vips: [], refusals: [refused] }),
    inputOf({ services: [] }),
    inputOf({ peers: [] }),
  ]
  const anyOrder = fc.array(fc.nat(inputs.length - 1), { minLength: 2, maxLength: 12 })
  fc.assert(
    fc.property(anyOrder, (order) => {
      const changes = createReportChanges()
      const said = new Map<string, unknown>()
      let before: ReportInput | undefined
      for (const i of order) {
        const input = inputs[i] ?? base
        if (before !== undefined) changes.note(changesBetween(before.view, input.view))
        const established = establishedPeers(input)
        const { vips, services } = changes.take({ ...input, established, guarded: input.guarded ?? new Set() })
        for (const name of vips) said.set(`Vip/${name}`, leaderVipStatus(input, name, established))
        for (const name of services) {
          const of = input.view.services.get(name)
          said.set(`Service/${name}`, of && serviceCondition(input, of, established))
        }
        before = input
        const { statuses: all, services: conditions } = report(input)
        const expected = new Map<string, unknown>()
        for (const each of all) if (each.kind === 'Vip') expected.set(`Vip/${each.name}`, each)
        for (const each of conditions) expected.set(`Service/${each.service}`, each)
        expect(new Map([...said].filter(([, value]) => value !== undefined))).toEqual(expected)
      }
    }),
  )
})

test('a change of one Vip is one Vip to report, and the Services that show it', () => {
  const other = '203.0.113.11'
  const services = [web, service('api', { ingress: [other] })]
  const of = { services, vips: [vip(address, [web]), vip(other, services.slice(1))] }
  const input = inputOf({ ...of, slices: [slice('web', [endpoint('n1')]), slice('api', [endpoint('n1')])] })
  const changes = createReportChanges()
  const take = ({ view: now, plan }: Pick<ReportInput, 'view' | 'plan'>) =>
    changes.take({ view: now, plan, established: new Set(['leaf']), guarded: new Set() })
  take(input)
  const planner = createPlanner()
  const context = { serviceClass, nodeLiveness: new Map() }
  take({ view: input.view, plan: planner.plan(input.view, undefined, context).plan })
  const next = inputOf({ ...of, slices: [slice('web', []), slice('api', [endpoint('n1')])] })
  const slicesOfWeb = new Map([['EndpointSlice' as const, new Set(['default/web'])]])
  const { plan } = planner.plan(next.view, slicesOfWeb, context)
  expect(take({ view: next.view, plan })).toEqual({ vips: new Set([address]), services: new Set(['default/web']) })
  expect(take({ view: next.view, plan })).toEqual({ vips: new Set(), services: new Set() })
})

function changesBetween(before: ClusterView, after: ClusterView): ClusterChanges {
  const differing = (a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): ReadonlySet<string> =>
    new Set([...a.keys(), ...b.keys()].filter((key) => a.get(key) !== b.get(key)))
  const refusedVips = (of: ClusterView) =>
    of.refusals.flatMap(({ kind, meta: { name } }) => (kind === 'Vip' ? name : []))
  const vips = new Set([...differing(before.vips, after.vips), ...refusedVips(before), ...refusedVips(after)])
  return new Map([
    ['Vip' as const, vips],
    ['Service' as const, differing(before.services, after.services)],
  ])
}

test('no password is ever part of a status', () => {
  const secret = {
    meta: meta('md5', { namespace: 'bellhop-system' }),
    data: new Map([['k', new TextEncoder().encode('hunter2-hunter2')]]),
  }
  const input = inputOf({
    peers: [peer('leaf', '10.1.0.1', { passwordSecretRef: { name: 'md5', key: 'k' } })],
    secrets: [secret],
  })
  expect(input.plan.peers[0]?.password).toBe('hunter2-hunter2')
  expect(JSON.stringify(report(input))).not.toContain('hunter2')
})
