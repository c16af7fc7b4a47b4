// What a mistake in an object or a Secret costs: nothing, while the process lives that knows how it was before. What is deleted is meant
// to go, and a process that starts meanwhile knows only what stands there.

import { describe, expect, test } from 'vitest'
import type { BgpPeer, ClusterView, Kind, ObjectRefusal, Secret } from '../../src/k8s/objects.ts'
import { parseRouterId } from '../../src/net/asn.ts'
import { createFailStaticPlanner } from '../../src/plan/last-good.ts'
import { planFromScratch } from '../../src/plan/plan.ts'
import { report } from '../../src/plan/report.ts'
import type { Plan, PlanContext } from '../../src/plan/types.ts'
import { must } from '../../src/runtime/result.ts'
import { allocate } from '../../src/vip/allocate.ts'
import {
  conf,
  endpoint,
  ip,
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
const context: PlanContext = { serviceClass, nodeLiveness: new Map() }
const address = '203.0.113.10'
const web = service('web', { ingress: [address] })
const passwordSecretRef = { name: 'md5', key: 'password' }
const guarded = peer('leaf', '10.1.0.1', { passwordSecretRef })
const secret = (password: string, name = 'md5'): Secret => ({
  meta: meta(name, { namespace: 'bellhop-system' }),
  data: new Map([['password', new TextEncoder().encode(password)]]),
})
const whole: ViewParts = {
  services: [web],
  vips: [vip(address, [web])],
  slices: [slice('web', [endpoint('n1'), endpoint('n2')])],
  nodes: [node('n1', ['10.0.0.1']), node('n2', ['10.0.0.2'])],
  pools: [pool('default', ['203.0.113.0/24'])],
  confs: [conf()],
  peers: [guarded],
  secrets: [secret('first')],
}
const refused = (kind: Kind, of: { readonly meta: ObjectRefusal['meta'] }): ObjectRefusal => ({
  kind,
  meta: { ...of.meta, generation: 7 },
  problems: [{ path: 'spec', message: 'makes no sense' }],
})
/** The view without an object of that kind, which is refused. */
const nonsense = (kind: Kind, key: keyof ViewParts, parts: ViewParts = whole): ClusterView => ({
  ...view({ ...parts, [key]: [] }),
  refusals: ((parts[key] ?? []) as readonly { readonly meta: ObjectRefusal['meta'] }[]).map((each) =>
    refused(kind, each),
  ),
})

/** What a process plans that sees these views one after the other. */
function plans(...views: readonly ClusterView[]): readonly Plan[] {
  const planner = createFailStaticPlanner()
  return views.map((each) => planner.plan(each, undefined, context).plan)
}
const last = (...views: readonly ClusterView[]): Plan => {
  const plan = plans(...views).at(-1)
  if (plan === undefined) throw new Error('nothing was planned')
  return plan
}
const announced = ({ vips }: Plan): readonly string[] => vips.get(address)?.peers ?? []
const passwords = ({ peers }: Plan): readonly (string | undefined)[] => peers.map(({ password }) => password)

describe('a Secret', () => {
  test.each<[string, readonly Secret[], string]>([
    ['vanishes', [], 'SecretMissing'],
    ['has the entry no more', [{ ...secret(''), data: new Map() }], 'SecretMissing'],
    ['is empty', [secret('')], 'PasswordInvalid'],
    ['is longer than TCP-MD5 takes', [secret('x'.repeat(81))], 'PasswordInvalid'],
  ])('that %s ends no session: the last password stays', (_, secrets, reason) => {
    const plan = last(view(whole), view({ ...whole, secrets }))
    expect([passwords(plan), plan.peerRefusals, announced(plan)]).toEqual([['first'], [], ['leaf']])
    expect(plan.kept?.peers).toMatchObject([{ peer: 'leaf', reason }])
  })
  test('that is there again counts, whatever was kept', () => {
    const seen = plans(view(whole), view({ ...whole, secrets: [] }), view({ ...whole, secrets: [secret('second')] }))
    expect(seen.map((plan) => [passwords(plan), plan.kept?.peers.length])).toEqual([
      [['first'], undefined],
      [['first'], 1],
      [['second'], undefined],
    ])
  })
  test('that a process has never seen opens no session', () => {
    const plan = last(view({ ...whole, secrets: [] }))
    expect([plan.peers, plan.peerRefusals]).toMatchObject([[], [{ reason: 'SecretMissing' }]])
    expect(plan.kept).toBe(undefined)
  })
  test('that another BgpPeer of the same name had is not known to its successor', () => {
    const successor = { ...guarded, meta: { ...guarded.meta, uid: 'another' } }
    const plan = last(view(whole), view({ ...whole, secrets: [], peers: [successor] }))
    expect(plan.peerRefusals).toMatchObject([{ reason: 'SecretMissing' }])
  })
  test('that is not there yet, where the BgpPeer is told to use another one, leaves the password as it was', () => {
    const moved = { ...guarded, passwordSecretRef: { name: 'md5-2026', key: 'password' } }
    const both = [secret('first'), secret('second', 'md5-2026')]
    const seen = plans(
      view(whole),
      view({ ...whole, peers: [moved] }),
      view({ ...whole, peers: [moved], secrets: both }),
    )
    expect(seen.map(passwords)).toEqual([['first'], ['first'], ['second']])
  })
  test('with the key of a BFD session is kept alike, and an edit of the timers goes through', () => {
    const authentication = { type: 'keyed-sha1' as const, keyId: 1, secretRef: passwordSecretRef }
    const bfd = { transmitMs: 300, receiveMs: 300, multiplier: 3, authentication }
    const { passwordSecretRef: _, ...open } = guarded
    const plan = last(
      view({ ...whole, peers: [{ ...open, bfd }] }),
      view({ ...whole, secrets: [], peers: [{ ...open, bfd: { ...bfd, multiplier: 5 } }] }),
    )
    expect(plan.peers).toMatchObject([{ bfd: { multiplier: 5, authentication: { password: 'first' } } }])
  })
  test('the password that is asked for no more is not kept', () => {
    const { passwordSecretRef: _, ...open } = guarded
    expect(passwords(last(view(whole), view({ ...whole, peers: [open] })))).toEqual([undefined])
  })
})

describe('an object that is edited into nonsense', () => {
  const rich: ViewParts = { ...whole, policies: [policy('quiet', { peers: ['leaf'], med: 5 })] }
  const med = ({ tables }: Plan): readonly unknown[] =>
    [...tables.values()].flatMap((table) => [...table.values()].map(({ attributes }) => attributes.med))
  test.each<[Kind, keyof ViewParts]>([
    ['BgpPeer', 'peers'],
    ['BgpConf', 'confs'],
    ['VipPool', 'pools'],
    ['BgpPolicy', 'policies'],
  ])('%s: everything goes on as it was', (kind, key) => {
    const [before, after] = plans(view(rich), nonsense(kind, key, rich))
    if (before === undefined || after === undefined) throw new Error('nothing was planned')
    const { kept, ...plan } = after
    expect(plan).toEqual(before)
    expect([announced(after), med(after)]).toEqual([['leaf'], [5]])
    const objects = Object.values(kept?.objects ?? {}).flatMap((each) => [...each.values()])
    expect(objects.map(({ meta: { generation } }) => generation)).toEqual([7])
  })
  test('is nonsense to a process that starts now', () => {
    expect(last(nonsense('BgpConf', 'confs')).speaker).toBe(undefined)
    expect(last(nonsense('BgpPeer', 'peers')).peers).toEqual([])
  })
  test('is not kept for another object of its name', () => {
    const other = nonsense('BgpPeer', 'peers')
    const reborn = {
      ...other,
      refusals: other.refusals.map((each) => ({ ...each, meta: meta('leaf', { uid: 'new' }) })),
    }
    expect(last(view(whole), reborn).peers).toEqual([])
  })
  test('counts again as soon as it makes sense', () => {
    const plan = last(view(whole), nonsense('BgpConf', 'confs'), view({ ...whole, confs: [conf({ listenPort: 0 })] }))
    expect([plan.speaker?.listenPort, plan.kept]).toEqual([0, undefined])
  })
})

describe('a BgpPeer that can not be had beside what else there is', () => {
  const own = peer('leaf', '10.1.0.1')
  const edits: readonly [string, Partial<BgpPeer>, string][] = [
    ['an address that is no router’s', { address: ip('224.0.0.5') }, 'AddressInvalid'],
    ['a hop count in our own AS', { asn: conf().asn, ebgpMultihopTtl: 3 }, 'TtlConflict'],
    ['the address of another one', { address: ip('10.1.0.2') }, 'AddressConflict'],
  ]
  test.each(edits)('keeps its session as it was: %s', (_, over, reason) => {
    const other = peer('other', '10.1.0.2')
    const plan = last(view({ ...whole, peers: [own, other] }), view({ ...whole, peers: [{ ...own, ...over }, other] }))
    expect(plan.peers.map(({ name, address: at }) => [name, at])).toEqual([
      ['leaf', '10.1.0.1'],
      ['other', '10.1.0.2'],
    ])
    expect(plan.kept?.peers).toMatchObject([{ peer: 'leaf', reason }])
  })
  test('an older one that moves to the address of a younger does not take its session, but where nobody knows better', () => {
    const younger = peer('younger', '10.1.0.2', { meta: meta('younger', { creationTimestampMs: 9_000 }) })
    const moved = { ...own, address: ip('10.1.0.2') }
    const now = view({ ...whole, peers: [moved, younger] })
    const names = ({ peers }: Plan): readonly string[] => peers.map(({ name, address: at }) => `${name} ${at}`)
    expect(names(last(view({ ...whole, peers: [own, younger] }), now))).toEqual(['leaf 10.1.0.1', 'younger 10.1.0.2'])
    expect(names(last(now))).toEqual(['leaf 10.1.0.2'])
  })
})

describe('what is deleted goes', () => {
  test('a BgpPeer, and the BgpConf', () => {
    expect(last(view(whole), view({ ...whole, peers: [] })).peers).toEqual([])
    expect(last(view(whole), view({ ...whole, confs: [] })).speaker).toBe(undefined)
  })
  test('but for a VipPool, as long as VIPs come from it: their routes stay as they were', () => {
    const wide = { ...whole, pools: [pool('default', ['203.0.113.0/24'], { nextHops: 'AllNodes' as const })] }
    const local = { ...wide, slices: [slice('web', [endpoint('n1')])] }
    const hops = ({ vips }: Plan): readonly string[] => vips.get(address)?.nextHops.map((hop) => hop.node) ?? []
    const gone = { ...local, pools: [] }
    expect(plans(view(local), view(gone)).map(hops)).toEqual([
      ['n1', 'n2'],
      ['n1', 'n2'],
    ])
    expect(hops(last(view(gone)))).toEqual(['n1'])
    expect(last(view(local), view(gone)).kept).toBe(undefined)
    expect(hops(last(view(local), view({ ...gone, vips: [] }), view(gone)))).toEqual(['n1'])
  })
})

test('a replica whose own Node is not to be seen keeps its router id', () => {
  const planner = createFailStaticPlanner()
  const { routerId = undefined, ...anonymous } = conf()
  const parts = view({ ...whole, confs: [anonymous] })
  if (routerId === undefined) throw new Error('a BgpConf without a router id')
  const known = planner.plan(parts, undefined, { ...context, defaultRouterId: routerId }).plan
  const after = planner.plan(parts, new Map([['Node', new Set(['n1'])]]), context).plan
  expect([known.speaker?.routerId, after.speaker?.routerId]).toEqual([routerId, routerId])
  expect(planFromScratch(parts, context).peerRefusals).toMatchObject([{ reason: 'NoRouterId' }])
})

test('a router id made of a name is for nodes that never showed an IPv4 address', () => {
  const planner = createFailStaticPlanner()
  const { routerId = undefined, ...anonymous } = conf()
  const parts = view({ ...whole, confs: [anonymous] })
  if (routerId === undefined) throw new Error('a BgpConf without a router id')
  const made = { ...context, madeRouterId: must(parseRouterId('77.1.2.3')) }
  const node = new Map([['Node' as const, new Set(['n1'])]])
  const idOf = (given: PlanContext): string | undefined => planner.plan(parts, node, given).plan.speaker?.routerId
  expect(planFromScratch(parts, made).speaker?.routerId).toBe('77.1.2.3')
  expect(idOf(made)).toBe('77.1.2.3')
  expect(idOf({ ...made, defaultRouterId: routerId })).toBe(routerId)
  expect(idOf(made)).toBe(routerId)
})

test('a change that has nothing to do with it leaves what is kept as it is', () => {
  const planner = createFailStaticPlanner()
  planner.plan(view(whole), undefined, context)
  const broken = nonsense('BgpPeer', 'peers')
  planner.plan(broken, new Map([['BgpPeer', new Set(['leaf'])]]), context)
  const { plan } = planner.plan(broken, new Map([['Node', new Set(['n1'])]]), context)
  expect([passwords(plan), announced(plan), plan.kept?.objects.bgpPeers.size]).toEqual([['first'], ['leaf'], 1])
})

describe('kubectl says', () => {
  const statusOf = (of: ClusterView, plan: Plan, kind: Kind, name: string): Readonly<Record<string, unknown>> => {
    const { statuses } = report({
      ...{ view: of, plan, serviceClass, sessions: new Map(), replica: { name: 'c1', node: 'n1', sinceMs: 0 } },
      allocation: allocate({ view: of, serviceClass, withdrawn: () => false, nowMs: 0 }),
    })
    const mine = statuses.filter(
      (each) => each.kind === kind && each.name === name && each.fieldManagerRole === 'leader',
    )
    expect(mine).toHaveLength(1)
    return mine[0]?.status ?? {}
  }
  const condition = (status: Readonly<Record<string, unknown>>, type: string): Readonly<Record<string, unknown>> =>
    (status['conditions'] as readonly Readonly<Record<string, unknown>>[]).find((each) => each['type'] === type) ?? {}

  test('that a password is the last one known', () => {
    const now = view({ ...whole, secrets: [] })
    const status = statusOf(now, last(view(whole), now), 'BgpPeer', 'leaf')
    expect(condition(status, 'Accepted')).toMatchObject({ status: 'False', reason: 'SecretMissing' })
    expect(condition(status, 'Accepted')['message']).toMatch(
      /^there is no Secret md5 in Bellhop's namespace; what it said before counts until this is mended/,
    )
    expect(condition(status, 'Established')).toMatchObject({ status: 'False', reason: 'NotEstablished' })
    expect(JSON.stringify(status)).not.toContain('first')
  })
  test.each<[Kind, keyof ViewParts, string, string]>([
    ['BgpPeer', 'peers', 'leaf', 'Accepted'],
    ['BgpConf', 'confs', 'default', 'Ready'],
    ['VipPool', 'pools', 'default', 'Ready'],
  ])('of a %s that makes no sense what is wrong, and else what it said before', (kind, key, name, type) => {
    const broken = nonsense(kind, key)
    const status = statusOf(broken, last(view(whole), broken), kind, name)
    const message = expect.stringMatching(/^spec: makes no sense; what it said before counts/)
    expect(condition(status, type)).toMatchObject({
      status: 'False',
      reason: 'Invalid',
      message,
      observedGeneration: 7,
    })
    expect(status['conditions']).not.toHaveLength(1)
    const anew = statusOf(broken, last(broken), kind, name)
    expect(condition(anew, type)['message']).toBe('spec: makes no sense')
  })
})
