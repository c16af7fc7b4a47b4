// Allocation rule by rule, numbered as in the behaviour document. Each scenario runs to its end in the in-memory world of model.ts:
// what counts is what stands in the cluster when everybody is done, and what people were told on the way.

import { describe, expect, test } from 'vitest'
import type { ClusterView, Service, Vip, VipPool } from '../../src/k8s/objects.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'
import { allocate, allocating } from '../../src/vip/allocate.ts'
import { allocatedCondition, announcedCondition } from '../../src/vip/conditions.ts'
import { loadBalancerFinalizer } from '../../src/vip/service-class.ts'
import { claim, ip, namespace, node, peer, pool, port, type ServiceOver, service, view, vip } from './cluster.ts'
import { Controller, serviceClass, World } from './model.ts'

const dual: ServiceOver = { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' }
const prefer: ServiceOver = { ...dual, ipFamilyPolicy: 'PreferDualStack' }

interface Scene {
  readonly world: World
  readonly controller: Controller
  readonly settle: (nowMs?: number) => void
  readonly edit: (name: string, over: (of: Service) => Service) => void
  readonly editPool: (name: string, over: Partial<VipPool>) => void
  readonly remove: (name: string) => void
  /** Addresses in the status, comma separated. */
  readonly shown: (name: string) => string
  /** `True Allocated`, ... */
  readonly condition: (name: string) => string
  readonly message: (name: string) => string
  readonly vips: () => readonly string[]
  /** Reasons of the Events of one Service, in order. */
  readonly events: (name: string) => readonly string[]
}

const keyOf = (name: string): string => (name.includes('/') ? name : `default/${name}`)

/** A cluster with these objects, not yet looked at. Services are created in the order given. */
function scene(parts: {
  readonly services?: readonly Service[]
  readonly pools?: readonly VipPool[]
  readonly vips?: readonly Vip[]
}): Scene {
  const world = new World()
  for (const each of parts.pools ?? [pool('default', ['10.0.0.0/29'])]) world.put('pools', each)
  for (const each of parts.vips ?? []) world.put('vips', each)
  for (const [i, each] of (parts.services ?? []).entries())
    world.put('services', { ...each, meta: { ...each.meta, creationTimestampMs: each.meta.creationTimestampMs || i } })
  const controller = new Controller(world)
  const get = (name: string): Service => {
    const found = world.objects.services.get(keyOf(name))
    if (found === undefined) throw new Error(`there is no Service ${name}`)
    return found
  }
  const conditionOf = (name: string) => get(name).conditions.find(({ type }) => type === allocatedCondition)
  return {
    world,
    controller,
    settle: (nowMs = 0) => void controller.settle(nowMs),
    edit: (name, over) => void world.put('services', over(get(name))),
    editPool: (name, over) => {
      const found = world.objects.pools.get(name)
      if (found !== undefined) world.put('pools', { ...found, ...over })
    },
    remove: (name) => {
      const found = get(name)
      if (found.meta.finalizers.length === 0) world.drop('services', keyOf(name))
      else world.put('services', { ...found, meta: { ...found.meta, deleting: true } })
    },
    shown: (name) =>
      get(name)
        .ingress.map(({ ip }) => ip)
        .join(','),
    condition: (name) => `${conditionOf(name)?.status} ${conditionOf(name)?.reason}`,
    message: (name) => conditionOf(name)?.message ?? '',
    vips: () => [...world.objects.vips.keys()].sort(),
    events: (name) => controller.events.filter((event) => event.service === keyOf(name)).map(({ reason }) => reason),
  }
}

const annotated =
  (annotations: Readonly<Record<string, string>>) =>
  (of: Service): Service => ({
    ...of,
    meta: { ...of.meta, annotations },
  })
const shared = (name: string, number: number, over: ServiceOver = {}): Service =>
  service(name, { annotations: { 'bellhop.io/share': 'k' }, ports: [port(number)], ...over })

describe('1. first adopt, then allocate', () => {
  test('a Service keeps the address that its status shows, and an older one without an address does not get it', () => {
    const at = scene({ services: [service('pending'), service('served', { ingress: ['10.0.0.0'] })] })
    at.settle()
    expect([at.shown('served'), at.shown('pending')]).toEqual(['10.0.0.0', '10.0.0.1'])
  })

  test('an address is adopted even where the pool would not give it out now', () => {
    const closed = pool('default', ['10.0.0.0/29'], { disabled: true, autoAssign: false, namespaces: ['other'] })
    const at = scene({ services: [service('served', { ingress: ['10.0.0.3'] })], pools: [closed] })
    at.settle()
    expect([at.shown('served'), at.condition('served')]).toEqual(['10.0.0.3', 'True Allocated'])
    expect(at.vips()).toEqual(['10.0.0.3'])
  })

  test('of two Services that show one address and may not share it, the older keeps it', () => {
    const at = scene({
      services: [service('older', { ingress: ['10.0.0.3'] }), service('newer', { ingress: ['10.0.0.3'] })],
    })
    at.settle()
    expect([at.shown('older'), at.shown('newer')]).toEqual(['10.0.0.3', '10.0.0.0'])
    expect(at.events('newer')).toEqual(['AddressGivenUp', 'Allocated'])
  })

  test('an address of somebody else stays where there is nothing to give instead', () => {
    const at = scene({ services: [service('foreign', { ingress: ['192.0.2.7'] })], pools: [] })
    at.settle()
    expect(at.shown('foreign')).toBe('192.0.2.7')
    expect(at.condition('foreign')).toMatch(/^False /)
    expect([at.vips(), at.events('foreign')]).not.toContain('AddressGivenUp')
  })

  test('an address of somebody else that no pool covers is replaced', () => {
    const at = scene({ services: [service('web', { ingress: ['192.0.2.1'] })] })
    at.settle()
    expect(at.shown('web')).toBe('10.0.0.0')
  })

  test('the result does not depend on the order in which objects arrived', () => {
    const services = Array.from({ length: 12 }, (_, i) =>
      service(`s${i}`, { meta: { creationTimestampMs: (i * 5) % 7 } }),
    )
    const vips = [vip('10.0.0.2', [service('s3')]), vip('10.0.1.0', [service('gone')])]
    const pools = [pool('default', ['10.0.0.0/30']), pool('more', ['10.0.1.0/30'], { priority: 1 })]
    const work = (parts: Parameters<typeof view>[0]) =>
      allocate({ view: view(parts), serviceClass, withdrawn: () => true, nowMs: 0 }).work
    const straight = work({ services, vips, pools })
    expect(straight.length).toBeGreaterThan(10)
    expect(work({ services: services.toReversed(), vips: vips.toReversed(), pools: pools.toReversed() })).toEqual(
      straight,
    )
  })
})

describe('2. an address never moves because of an unrelated edit', () => {
  const edits: [string, (at: Scene) => void][] = [
    [
      'its labels do not match the serviceSelector any more',
      (at) => at.editPool('default', { serviceSelector: { matchLabels: { a: 'b' }, matchExpressions: [] } }),
    ],
    ['the pool does not admit its namespace any more', (at) => at.editPool('default', { namespaces: ['other'] })],
    ['the pool is disabled', (at) => at.editPool('default', { disabled: true })],
    ['the pool does not assign automatically any more', (at) => at.editPool('default', { autoAssign: false })],
    [
      'another pool gets a better priority',
      (at) => void at.world.put('pools', pool('better', ['10.9.0.0/24'], { priority: -5 })),
    ],
    ['lower addresses become free', (at) => at.remove('first')],
    ['its ports change', (at) => at.edit('web', (of) => ({ ...of, ports: [port(443)] }))],
    ['its traffic policy changes', (at) => at.edit('web', (of) => ({ ...of, externalTrafficPolicy: 'Local' }))],
  ]
  test.each(edits)('%s', (_, edit) => {
    const at = scene({ services: [service('first'), service('web')] })
    at.settle()
    edit(at)
    at.settle()
    expect([at.shown('web'), at.condition('web')]).toEqual(['10.0.0.1', 'True Allocated'])
  })

  const refused: [string, (of: Service) => Service, string][] = [
    ['an address in no pool', annotated({ 'bellhop.io/ips': '192.0.2.1' }), 'True AddressNotInPool'],
    ['an address of somebody else', annotated({ 'bellhop.io/ips': '10.0.0.0' }), 'True AddressInUse'],
    [
      'an address in a pool that does not admit it',
      annotated({ 'bellhop.io/ips': '10.8.0.1' }),
      'True PoolNotAdmitting',
    ],
    ['a pool that does not exist', annotated({ 'bellhop.io/pool': 'nowhere' }), 'True PoolUnknown'],
    ['a pool that does not admit it', annotated({ 'bellhop.io/pool': 'foreign' }), 'True PoolNotAdmitting'],
    [
      'its address, and a pool that it does not lie in',
      annotated({ 'bellhop.io/ips': '10.0.0.1', 'bellhop.io/pool': 'foreign' }),
      'True AddressNotInPool',
    ],
    ['nonsense', annotated({ 'bellhop.io/ips': 'nonsense' }), 'True RequestInvalid'],
  ]
  test.each(refused)('asking for %s is refused, and the Service keeps what it has', (_, edit, condition) => {
    const at = scene({
      services: [service('first'), service('web')],
      pools: [pool('default', ['10.0.0.0/29']), pool('foreign', ['10.8.0.0/24'], { namespaces: ['other'] })],
    })
    at.settle()
    at.edit('web', edit)
    at.settle()
    expect([at.shown('web'), at.condition('web')]).toEqual(['10.0.0.1', condition])
    expect(at.message('web')).toContain('has 10.0.0.1 from pool default')
    expect(at.events('web').slice(1)).toEqual([condition.split(' ')[1]])
    at.settle()
    expect(at.events('web').length).toBe(2)
  })

  test.each<[string, Readonly<Record<string, string>>, string]>([
    ['address', { 'bellhop.io/ips': '10.0.0.5' }, '10.0.0.5'],
    ['pool', { 'bellhop.io/pool': 'other' }, '10.7.0.0'],
  ])('who asks for another %s in so many words gets it, and the old one is free again', (_, annotations, expected) => {
    const at = scene({
      services: [service('web')],
      pools: [pool('default', ['10.0.0.0/29']), pool('other', ['10.7.0.0/24'])],
    })
    at.settle()
    at.edit('web', annotated(annotations))
    at.settle()
    expect(at.shown('web')).toBe(expected)
    expect(at.vips()).toEqual([expected])
    expect(at.events('web')).toEqual(['Allocated', 'AddressGivenUp', 'Allocated'])
  })
})

test.each<[string, readonly VipPool[], string]>([
  ['no pool', [], 'there is no VipPool'],
  ['no pool of the family', [pool('six', ['2001:db8::/64'])], 'no pool has IPv4 addresses'],
  [
    'pools that do not want it',
    [
      pool('manual', ['10.7.0.0/29'], { autoAssign: false }),
      pool('other', ['10.8.0.0/29'], { namespaces: ['elsewhere'] }),
      pool('shut', ['10.9.0.0/29'], { disabled: true }),
      pool('also', ['10.6.0.0/29'], { disabled: true }),
    ],
    'no pool gives it an IPv4 address: pool also is disabled; pool manual has autoAssign false: it has to be named (bellhop.io/pool); pool other does not admit namespace default; and 1 more',
  ],
])('a Service that gets nothing is told of each pool why, with %s', (_, pools, words) => {
  const at = scene({ services: [service('web')], pools })
  at.settle()
  expect([at.condition('web'), at.message('web')]).toEqual(['False NoPool', words])
})

describe('3. requested addresses', () => {
  const pools = [
    pool('default', ['10.0.0.0/29']),
    pool('manual', ['10.7.0.0/29'], { autoAssign: false }),
    pool('closed', ['10.6.0.0/29'], { disabled: true }),
  ]
  test.each<[string, ServiceOver, string, string]>([
    ['an address', { annotations: { 'bellhop.io/ips': '10.0.0.5' } }, '10.0.0.5', 'True Allocated'],
    ['an address in spec.loadBalancerIP', { loadBalancerIP: '10.0.0.5' }, '10.0.0.5', 'True Allocated'],
    ['an address, mistyped', { annotations: { 'bellhop.io/ip': '10.0.0.5' } }, '10.0.0.0', 'True AnnotationIgnored'],
    [
      'a pool that does not assign automatically',
      { annotations: { 'bellhop.io/pool': 'manual' } },
      '10.7.0.0',
      'True Allocated',
    ],
    ['an address of such a pool', { annotations: { 'bellhop.io/ips': '10.7.0.3' } }, '10.7.0.3', 'True Allocated'],
    [
      'an address and its pool',
      { annotations: { 'bellhop.io/ips': '10.7.0.3', 'bellhop.io/pool': 'manual' } },
      '10.7.0.3',
      'True Allocated',
    ],
    [
      'an address and another pool',
      { annotations: { 'bellhop.io/ips': '10.7.0.3', 'bellhop.io/pool': 'default' } },
      '',
      'False AddressNotInPool',
    ],
    [
      'two different addresses',
      { loadBalancerIP: '10.0.0.5', annotations: { 'bellhop.io/ips': '10.0.0.6' } },
      '',
      'False RequestInvalid',
    ],
    ['a disabled pool', { annotations: { 'bellhop.io/pool': 'closed' } }, '', 'False PoolDisabled'],
    ['an address of a disabled pool', { annotations: { 'bellhop.io/ips': '10.6.0.1' } }, '', 'False PoolDisabled'],
  ])('%s', (_, over, shown, condition) => {
    const at = scene({ services: [service('web', over)], pools })
    at.settle()
    expect([at.shown('web'), at.condition('web')]).toEqual([shown, condition])
  })

  test('who names an address gets it, even when it is younger than those who take any', () => {
    const at = scene({
      services: [service('any'), service('certain', { annotations: { 'bellhop.io/ips': '10.0.0.0' } })],
    })
    at.settle()
    expect([at.shown('any'), at.shown('certain')]).toEqual(['10.0.0.1', '10.0.0.0'])
  })

  test('who asks for an address in use gets it as soon as it is free', () => {
    const at = scene({
      services: [service('holder'), service('waiting', { annotations: { 'bellhop.io/ips': '10.0.0.0' } })],
      vips: [vip('10.0.0.0', [service('holder')])],
    })
    at.settle()
    expect([at.condition('waiting'), at.message('waiting')]).toEqual([
      'False AddressInUse',
      '10.0.0.0 is asked for, but it belongs to default/holder, and this Service has no sharing key',
    ])
    at.remove('holder')
    at.settle()
    expect([at.shown('waiting'), at.condition('waiting')]).toEqual(['10.0.0.0', 'True Allocated'])
  })
})

describe('4. the lowest free address of the first pool that has one', () => {
  test('pools are tried in turn until one has an address', () => {
    const at = scene({
      services: ['a', 'b', 'c', 'd'].map((name) => service(name)),
      pools: [
        pool('second', ['10.2.0.0/31'], { priority: 1 }),
        pool('first', ['10.1.0.0/32']),
        pool('third', ['10.3.0.0/32'], { priority: 2 }),
      ],
    })
    at.settle()
    expect(['a', 'b', 'c', 'd'].map(at.shown)).toEqual(['10.1.0.0', '10.2.0.0', '10.2.0.1', '10.3.0.0'])
  })
})

test('an address that somebody may still announce is given to who asks for it, and to others where there is nothing else', () => {
  const avoided = new Set(['10.0.0.0', '10.0.0.1'].map(ip))
  const names = ['first', 'second', 'third']
  const services = [
    service('asks', { annotations: { 'bellhop.io/ips': '10.0.0.0' }, meta: { creationTimestampMs: 9 } }),
    ...names.map((name, i) => service(name, { meta: { creationTimestampMs: i } })),
  ]
  const { work } = allocate({
    view: view({ services, pools: [pool('default', ['10.0.0.0/30'])] }),
    ...{ serviceClass, withdrawn: () => true, nowMs: 0, avoided },
  })
  const given = work.flatMap(({ service: key, steps }) =>
    steps.flatMap((step) => (step.type === 'create-vip' ? [`${key} ${step.spec.address}`] : [])),
  )
  expect(given.sort()).toEqual([
    'default/asks 10.0.0.0',
    'default/first 10.0.0.2',
    'default/second 10.0.0.3',
    'default/third 10.0.0.1',
  ])
})

test('5,000 Services at once are one pass: three writes and an Event each, and an address of their own', () => {
  const { work } = allocate({
    view: view({
      services: Array.from({ length: 5000 }, (_, i) => service(`s${i}`)),
      pools: [pool('default', ['10.0.0.0/16'])],
    }),
    ...{ serviceClass, withdrawn: () => true, nowMs: 0 },
  })
  expect(work).toHaveLength(5000)
  expect(new Set(work.map(({ steps }) => steps.map(({ type }) => type).join()))).toEqual(
    new Set(['create-vip,add-finalizer,set-service-status,event']),
  )
  const given = work.flatMap(({ steps }) => steps.flatMap((step) => ('spec' in step ? [step.spec.address] : [])))
  expect(new Set(given).size).toBe(5000)
})

describe('5. dual stack', () => {
  const both = [pool('v4', ['10.0.0.0/29']), pool('v6', ['2001:db8::/64'])]
  const v4 = both.slice(0, 1)
  test.each<[string, ServiceOver, readonly VipPool[], string, string]>([
    ['RequireDualStack gets both', dual, both, '10.0.0.0,2001:db8::', 'True Allocated'],
    [
      'in the order of ipFamilies',
      { ...dual, ipFamilies: ['IPv6', 'IPv4'] },
      both,
      '2001:db8::,10.0.0.0',
      'True Allocated',
    ],
    ['or neither', dual, v4, '', 'False NoPool'],
    ['PreferDualStack gets both', prefer, both, '10.0.0.0,2001:db8::', 'True Allocated'],
    ['or what there is', prefer, v4, '10.0.0.0', 'True Allocated'],
    ['or nothing where there is nothing', prefer, [], '', 'False NoPool'],
    ['SingleStack IPv6 gets one', { ipFamilies: ['IPv6'] }, both, '2001:db8::', 'True Allocated'],
    [
      'one of the two may be named',
      { ...dual, annotations: { 'bellhop.io/ips': '2001:db8::5' } },
      both,
      '10.0.0.0,2001:db8::5',
      'True Allocated',
    ],
    [
      'a named one that cannot be had is no matter of preference',
      { ...prefer, annotations: { 'bellhop.io/ips': '2001:db9::5' } },
      both,
      '10.0.0.0',
      'True AddressNotInPool',
    ],
  ])('%s', (_, over, pools, shown, condition) => {
    const at = scene({ services: [service('web', over)], pools })
    at.settle()
    expect([at.shown('web'), at.condition('web')]).toEqual([shown, condition])
  })

  test('neither means that no address is taken meanwhile', () => {
    const at = scene({ services: [service('web', dual)], pools: v4 })
    at.settle()
    expect(at.vips()).toEqual([])
  })

  test('what is missing is given as soon as there is a pool for it, and what was given stays', () => {
    const at = scene({ services: [service('web', prefer)], pools: v4 })
    at.settle()
    at.world.put('pools', pool('v6', ['2001:db8::/64']))
    at.settle()
    expect(at.shown('web')).toBe('10.0.0.0,2001:db8::')
  })

  test('a Service that becomes dual-stack where it cannot keeps the address it has', () => {
    const at = scene({ services: [service('web')], pools: v4 })
    at.settle()
    at.edit('web', (of) => ({ ...of, ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' }))
    at.settle()
    expect([at.shown('web'), at.condition('web')]).toEqual(['10.0.0.0', 'False NoPool'])
  })

  test('a Service that becomes single-stack gives the other address back', () => {
    const at = scene({ services: [service('web', dual)], pools: both })
    at.settle()
    at.edit('web', (of) => ({ ...of, ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' }))
    at.settle()
    expect([at.shown('web'), at.vips()]).toEqual(['10.0.0.0', ['10.0.0.0']])
  })
})

describe('6. sharing', () => {
  const local: ServiceOver = { externalTrafficPolicy: 'Local', selector: { app: 'x' } }
  test.each<[string, Service, Service, VipPool['sharing'], boolean]>([
    ['the same key and other ports', shared('a', 80), shared('b', 81), 'SameNamespace', true],
    [
      'the same port of another protocol',
      shared('a', 53),
      shared('b', 53, { ports: [port(53, 'UDP')] }),
      'SameNamespace',
      true,
    ],
    ['the same port', shared('a', 80), shared('b', 80), 'SameNamespace', false],
    [
      'another key',
      shared('a', 80),
      shared('b', 81, { annotations: { 'bellhop.io/share': 'j' } }),
      'SameNamespace',
      false,
    ],
    ['no key', service('a'), service('b', { ports: [port(81)] }), 'SameNamespace', false],
    ['another namespace', shared('n1/a', 80), shared('n2/b', 81), 'SameNamespace', false],
    ['another namespace, where the pool lets it', shared('n1/a', 80), shared('n2/b', 81), 'AnyNamespace', true],
    ['a pool that lets nobody', shared('a', 80), shared('b', 81), 'None', false],
    ['Local with the same selector', shared('a', 80, local), shared('b', 81, local), 'SameNamespace', true],
    [
      'Local with another selector',
      shared('a', 80, local),
      shared('b', 81, { ...local, selector: { app: 'y' } }),
      'SameNamespace',
      false,
    ],
    [
      'Local with empty selectors',
      shared('a', 80, { ...local, selector: {} }),
      shared('b', 81, { ...local, selector: {} }),
      'SameNamespace',
      false,
    ],
    [
      'Local with the same selector in another namespace',
      shared('n1/a', 80, local),
      shared('n2/b', 81, local),
      'AnyNamespace',
      false,
    ],
    ['Local and Cluster', shared('a', 80, local), shared('b', 81), 'SameNamespace', false],
  ])('%s', (_, a, b, sharing, together) => {
    const at = scene({ services: [a, b], pools: [pool('default', ['10.0.0.0/29'], { sharing })] })
    at.settle()
    const [first, second] = [a, b].map(({ meta }) => at.shown(`${meta.namespace}/${meta.name}`))
    expect([first, second]).toEqual(['10.0.0.0', together ? '10.0.0.0' : '10.0.0.1'])
  })

  test('the shared address is taken before lower free ones', () => {
    const at = scene({ services: [service('low'), shared('a', 80), shared('b', 81)] })
    at.settle()
    at.remove('low')
    at.settle()
    at.world.put('services', shared('c', 82))
    at.settle()
    expect(at.shown('c')).toBe('10.0.0.1')
  })

  test('an edit that clashes is refused, everybody keeps the address, and undoing it is enough', () => {
    const at = scene({ services: [shared('a', 80), shared('b', 81)] })
    at.settle()
    at.edit('a', (of) => ({ ...of, ports: [port(81)] }))
    at.settle()
    expect([at.shown('a'), at.condition('a'), at.condition('b')]).toEqual([
      '10.0.0.0',
      'True SharingConflict',
      'True Allocated',
    ])
    expect(at.message('a')).toContain('port 81/TCP on it is taken by default/b')
    at.edit('a', (of) => ({ ...of, ports: [port(82)] }))
    at.settle()
    expect([at.condition('a'), at.world.objects.vips.get('10.0.0.0')?.services[0]?.ports]).toEqual([
      'True Allocated',
      [{ protocol: 'TCP', port: 82 }],
    ])
  })

  test('when one leaves, the other keeps the address and its claim alone remains', () => {
    const at = scene({ services: [shared('a', 80), shared('b', 81)] })
    at.settle()
    at.remove('a')
    at.settle()
    expect([at.shown('b'), at.world.objects.vips.get('10.0.0.0')?.services.map(({ name }) => name)]).toEqual([
      '10.0.0.0',
      ['b'],
    ])
  })

  test('who asks by address to share with somebody it may not share with is told why', () => {
    const at = scene({
      services: [
        shared('a', 80),
        shared('b', 80, { annotations: { 'bellhop.io/share': 'k', 'bellhop.io/ips': '10.0.0.0' } }),
      ],
      vips: [vip('10.0.0.0', [claim(shared('a', 80), { shareKey: 'k' })])],
    })
    at.settle()
    expect([at.condition('b'), at.message('b')]).toEqual([
      'False SharingRefused',
      '10.0.0.0 is asked for, but port 80/TCP on it is taken by default/a',
    ])
  })
})

test('who may come is recorded with the claim, for the agents, in an order of its own, and follows the Service', () => {
  const ranges = ['10.1.0.0/16', '10.0.0.0/16', '10.1.0.0/16'].map((text) => must(parsePrefix(text)))
  const at = scene({ services: [service('web', { sourceRanges: ranges })] })
  const recorded = () => at.world.objects.vips.get('10.0.0.0')?.services[0]?.sourceRanges
  at.settle()
  expect(recorded()).toEqual(['10.0.0.0/16', '10.1.0.0/16'])
  at.edit('web', (of) => ({ ...of, sourceRanges: ranges.slice(1, 2) }))
  at.settle()
  expect(recorded()).toEqual(['10.0.0.0/16'])
  at.edit('web', (of) => ({ ...of, sourceRanges: [] }))
  at.settle()
  expect([recorded(), at.shown('web')]).toEqual([undefined, '10.0.0.0'])
})

describe('7. order of writes', () => {
  const steps = (parts: Parameters<typeof view>[0], withdrawn: boolean): readonly string[] =>
    allocate({ view: view(parts), serviceClass, withdrawn: () => withdrawn, nowMs: 0 }).work.flatMap((work) =>
      work.steps.map(({ type }) => type),
    )
  const pools = [pool('default', ['10.0.0.0/29'])]
  const held = service('web', { ingress: ['10.0.0.0'], meta: { finalizers: [loadBalancerFinalizer] } })
  const leaving: Service = { ...held, meta: { ...held.meta, deleting: true } }

  test('the Vip is the lock, then the finalizer, then the status that has it announced', () => {
    expect(steps({ services: [service('web')], pools }, true)).toEqual([
      'create-vip',
      'add-finalizer',
      'set-service-status',
      'event',
    ])
  })
  test('nothing is released before its routes are withdrawn', () => {
    expect(steps({ services: [leaving], pools, vips: [vip('10.0.0.0', [held])] }, false)).toEqual([])
  })
  test('then the status is cleared, then the Vip deleted', () => {
    expect(steps({ services: [leaving], pools, vips: [vip('10.0.0.0', [held])] }, true)).toEqual([
      'set-service-status',
      'delete-vip',
    ])
  })
  test('and only if the Service is as it was when its status was cleared: another controller may have taken it back', () => {
    const { work } = allocate({
      view: view({ services: [leaving], pools, vips: [vip('10.0.0.0', [held])] }),
      serviceClass,
      withdrawn: () => true,
      nowMs: 0,
    })
    const deletion = work.flatMap((each) => each.steps).find((step) => step.type === 'delete-vip')
    expect(deletion?.fences).toEqual([
      { service: 'default/web', uid: leaving.meta.uid, expect: 'unchanged', resourceVersion: '1' },
    ])
  })
  test('the finalizer goes when nothing is recorded any more', () => {
    expect(steps({ services: [{ ...leaving, ingress: [] }], pools }, true)).toEqual(['remove-finalizer'])
  })
  test('the Vip of a Service that vanished without a finalizer goes when the API server confirms it', () => {
    const { work } = allocate({
      view: view({ pools, vips: [vip('10.0.0.0', [held])] }),
      serviceClass,
      withdrawn: () => true,
      nowMs: 0,
    })
    expect(work).toEqual([
      {
        service: 'default/web',
        steps: [
          {
            type: 'delete-vip',
            name: '10.0.0.0',
            uid: 'uid--10.0.0.0',
            resourceVersion: '1',
            fences: [{ service: 'default/web', uid: 'uid-default-web', expect: 'gone' }],
          },
        ],
      },
    ])
  })
  test('a Service of the same name with another uid is another Service', () => {
    const at = scene({
      services: [service('web', { meta: { uid: 'second' } })],
      vips: [vip('10.0.0.0', [claim(service('web'), { uid: 'first' })])],
    })
    at.settle()
    expect([at.shown('web'), at.vips()]).toEqual(['10.0.0.1', ['10.0.0.1']])
  })

  test('a Service that stops being a LoadBalancer gives everything back and carries nothing of ours', () => {
    const at = scene({ services: [service('web')] })
    at.settle()
    at.edit('web', (of) => ({ ...of, type: 'ClusterIP' }))
    at.settle()
    const left = at.world.objects.services.get('default/web')
    expect([left?.ingress, left?.meta.finalizers, left?.conditions, at.vips()]).toEqual([[], [], [], []])
    expect(at.events('web')).toEqual(['Allocated', 'Released'])
  })

  test('a Service that left before anything was allocated loses the word that it is not announced', () => {
    const conditions: Service['conditions'] = [
      { type: announcedCondition, status: 'False', reason: 'NotAllocated', message: '' },
      { type: 'example.com/Seen', status: 'True', reason: 'Seen', message: '' },
    ]
    const left = service('web', { type: 'ClusterIP', conditions })
    const { work } = allocate({
      view: view({ services: [left], pools }),
      serviceClass,
      withdrawn: () => true,
      nowMs: 0,
    })
    expect(work).toMatchObject([
      { service: 'default/web', steps: [{ type: 'set-service-status', ingress: [], removeConditions: true }] },
    ])
    expect(steps({ services: [{ ...left, conditions: conditions.slice(1) }], pools }, true)).toEqual([])
  })

  test('an address that our own condition says is ours is no foreign one, though no Vip and no pool has it', () => {
    const condition = (status: 'True' | 'False'): Service['conditions'] => [
      { type: allocatedCondition, status, reason: 'AddressInUse', message: '' },
    ]
    const shown = (status: 'True' | 'False'): string => {
      const at = scene({ services: [service('web', { ingress: ['192.0.2.7'], conditions: condition(status) })] })
      at.editPool('default', { disabled: true })
      at.settle()
      return at.shown('web')
    }
    expect([shown('True'), shown('False')]).toEqual(['', '192.0.2.7'])
  })
  test('two controllers that both believe to lead: neither deletes what a class that flips back has it announce again', () => {
    const at = scene({ services: [service('web')] })
    at.settle()
    const other = new Controller(at.world)
    at.edit('web', (of) => ({ ...of, loadBalancerClass: 'example.com/other' }))
    for (const each of [at.controller, other]) {
      each.observeAll()
      each.flush()
    }
    at.controller.decide(0)
    at.controller.act(0)
    expect([at.shown('web'), at.vips()]).toEqual(['', ['10.0.0.0']])
    at.edit('web', ({ loadBalancerClass: _, ...of }) => of)
    other.settle(0)
    at.controller.observeAll()
    while (!at.controller.idle) at.controller.act(0)
    expect([at.shown('web'), at.vips(), at.world.violations]).toEqual(['10.0.0.0', ['10.0.0.0'], []])
  })

  test('a foreign Service with a foreign finalizer and status is left alone', () => {
    const foreign = service('web', {
      loadBalancerClass: 'other',
      ingress: ['10.0.0.3'],
      meta: { finalizers: [loadBalancerFinalizer] },
    })
    expect(steps({ services: [foreign], pools }, true)).toEqual([])
  })
  test('a foreign Service with a finalizer that a leader of ours put there, and nothing else of ours, loses it', () => {
    const { ingress: _, ...left } = service('web', {
      loadBalancerClass: 'other',
      meta: { finalizers: [loadBalancerFinalizer] },
    })
    const foreign = { ...left, ingress: [], finalizedByUs: true as const }
    expect(steps({ services: [foreign], pools }, true)).toEqual(['remove-finalizer'])
    const leaving = { ...foreign, meta: { ...foreign.meta, deleting: true } }
    expect(steps({ services: [leaving], pools }, true)).toEqual(['remove-finalizer'])
  })
})

test('between two steps the view may change: what is decided upon is how it was at the first', () => {
  const names = Array.from({ length: 30 }, (_, i) => `s${i}`)
  const parts = { services: names.map((name) => service(name)), pools: [pool('default', ['10.0.0.0/24'])] }
  const input = { serviceClass, withdrawn: () => true, nowMs: 0 }
  const wanted = allocate({ ...input, view: view(parts) })
  const changing = view(parts)
  const deciding = allocating({ ...input, view: changing })
  let pauses = 0
  for (let step = deciding.next(); ; step = deciding.next()) {
    if (step.done) {
      expect(step.value).toEqual(wanted)
      break
    }
    pauses++
    for (const map of [changing.services, changing.vipPools, changing.vips]) (map as Map<string, unknown>).clear()
  }
  expect(pauses).toBeGreaterThan(names.length)
})

describe('8. pool edits', () => {
  test('an address that is no longer covered is released and another one given, with an Event', () => {
    const at = scene({ services: [service('web')] })
    at.settle()
    at.editPool('default', { ranges: pool('x', ['10.5.0.0/30']).ranges })
    at.settle()
    expect([at.shown('web'), at.vips(), at.events('web')]).toEqual([
      '10.5.0.0',
      ['10.5.0.0'],
      ['Allocated', 'AddressGivenUp', 'Allocated'],
    ])
  })

  test('a pool that is split or renamed moves nobody; the Vips follow', () => {
    const at = scene({ services: [service('web')] })
    at.settle()
    at.world.drop('pools', 'default')
    at.world.put('pools', pool('renamed', ['10.0.0.0/28']))
    at.settle()
    expect([at.shown('web'), at.world.objects.vips.get('10.0.0.0')?.pool]).toEqual(['10.0.0.0', 'renamed'])
  })

  test('a pool that is deleted takes nothing along: what came from it is kept, on hold or in use, and moves when it is asked to', () => {
    const at = scene({
      services: [service('web'), service('old')],
      pools: [pool('default', ['10.0.0.0/29'], { holdSeconds: 60 })],
    })
    at.settle()
    at.remove('old')
    at.settle()
    at.world.drop('pools', 'default')
    at.settle(1000)
    expect([at.shown('web'), at.vips(), at.condition('web'), at.message('web')]).toEqual([
      '10.0.0.0',
      ['10.0.0.0', '10.0.0.1'],
      'True Allocated',
      '10.0.0.0 from pool default (which is gone: what came from it is kept)',
    ])
    at.settle(61_000)
    expect(at.vips()).toEqual(['10.0.0.0'])
    at.world.put('pools', pool('other', ['10.9.0.0/29']))
    at.settle(62_000)
    expect(at.shown('web')).toBe('10.0.0.0')
    at.edit('web', (of) => ({ ...of, meta: { ...of.meta, annotations: { 'bellhop.io/pool': 'other' } } }))
    at.settle(63_000)
    expect([at.shown('web'), at.vips()]).toEqual(['10.9.0.0', ['10.9.0.0']])
  })

  test('a pool that was edited into nonsense costs nobody the address', () => {
    const of = service('web', {
      ingress: ['10.0.0.0'],
      meta: { finalizers: [loadBalancerFinalizer] },
      conditions: [
        {
          type: allocatedCondition,
          status: 'True',
          reason: 'Allocated',
          message: '10.0.0.0 from pool default (not readable)',
        },
      ],
    })
    const broken: ClusterView = view({
      services: [of],
      vips: [vip('10.0.0.0', [of])],
      refusals: [{ kind: 'VipPool', meta: pool('default', []).meta, problems: [] }],
    })
    expect(allocate({ view: broken, serviceClass, withdrawn: () => true, nowMs: 0 }).work).toEqual([])
  })

  test('exhaustion is one condition and one Event, and the Service is served as soon as something is free', () => {
    const at = scene({ services: [service('a'), service('b')], pools: [pool('tiny', ['10.0.0.0/32'])] })
    at.settle()
    at.settle()
    expect([at.shown('b'), at.condition('b'), at.message('b'), at.events('b')]).toEqual([
      '',
      'False PoolExhausted',
      'no free IPv4 address in pool tiny',
      ['PoolExhausted'],
    ])
    at.remove('a')
    at.settle()
    expect([at.shown('b'), at.events('b')]).toEqual(['10.0.0.0', ['PoolExhausted', 'Allocated']])
  })

  test('usage says what is used, held and left, and what an older pool has', () => {
    const parts = {
      services: [service('a')],
      pools: [pool('old', ['10.0.0.0/30']), pool('young', ['10.0.0.0/29'], { meta: { creationTimestampMs: 5 } })],
      vips: [vip('10.0.0.5', [], { pool: 'young', hold: { namespace: 'default', name: 'b', untilMs: 1 } })],
    }
    const { pools } = allocate({ view: view(parts), serviceClass, withdrawn: () => true, nowMs: 0 })
    expect([...pools.values()]).toEqual([
      { pool: 'old', total: 4n, used: 1, held: 0, available: 3n, overlaps: [], occupied: new Map() },
      {
        pool: 'young',
        total: 4n,
        used: 0,
        held: 1,
        available: 3n,
        overlaps: [{ range: '10.0.0.0-10.0.0.3', pool: 'old' }],
        occupied: new Map(),
      },
    ])
  })
})

describe("addresses that are somebody's own", () => {
  const parts = {
    pools: [pool('default', ['10.0.0.0/29'])],
    nodes: [node('node1', ['10.0.0.0', '192.0.2.1'])],
    peers: [peer('leaf', '10.0.0.1')],
  }
  const shownBy = (services: readonly Service[], vips: readonly Vip[] = []): readonly string[] =>
    allocate({ view: view({ ...parts, services, vips }), serviceClass, withdrawn: () => true, nowMs: 0 }).work.flatMap(
      ({ steps }) =>
        steps.flatMap((step) =>
          step.type === 'set-service-status' ? [[...step.ingress, step.condition.message].join(' ')] : [],
        ),
    )

  test('are given to nobody: not a node’s, not a router’s, not a ClusterIP', () => {
    expect(shownBy([service('web', { clusterIPs: [ip('10.0.0.2')] })])).toEqual(['10.0.0.3 10.0.0.3 from pool default'])
  })
  test.each([
    ['10.0.0.0', '10.0.0.0 is asked for, but it is the address of node node1'],
    ['10.0.0.1', '10.0.0.1 is asked for, but it is the address of the router of BgpPeer leaf'],
  ])('%s is refused to who asks for it', (wish, because) => {
    expect(shownBy([service('web', { meta: { annotations: { 'bellhop.io/ips': wish } } })])).toEqual([because])
  })
  test('stay with the Service that has one already', () => {
    const has = service('web', { ingress: ['10.0.0.0'], meta: { finalizers: [loadBalancerFinalizer] } })
    expect(shownBy([has], [vip('10.0.0.0', [has])])).toEqual(['10.0.0.0 10.0.0.0 from pool default'])
  })
  test('are not counted as available, and named in the usage of their pool', () => {
    const { pools } = allocate({ view: view(parts), serviceClass, withdrawn: () => true, nowMs: 0 })
    expect(pools.get('default')).toMatchObject({
      total: 8n,
      available: 6n,
      occupied: new Map([
        ['10.0.0.0', 'node node1'],
        ['10.0.0.1', 'the router of BgpPeer leaf'],
      ]),
    })
  })
})

describe('hold', () => {
  const pools = [pool('default', ['10.0.0.0/30'], { holdSeconds: 60 })]
  function released(): Scene {
    const at = scene({ services: [service('other'), service('web')], pools })
    at.settle(0)
    at.remove('web')
    at.settle(1000)
    return at
  }

  test('a released address waits for the Service of that name, and nobody else gets it', () => {
    const at = released()
    at.world.put('services', service('stranger'))
    at.settle(2000)
    expect([at.shown('stranger'), at.vips()]).toEqual(['10.0.0.2', ['10.0.0.0', '10.0.0.1', '10.0.0.2']])
    at.world.put('services', service('web', { meta: { uid: 'again' } }))
    at.settle(3000)
    expect(at.shown('web')).toBe('10.0.0.1')
  })

  test('when its time is over it is free, and the next pass is due at that time', () => {
    const at = released()
    expect(at.controller.allocation(2000).wakeAtMs).toBe(61_000)
    at.settle(61_000)
    expect(at.vips()).toEqual(['10.0.0.0'])
  })

  test('a clock that is set back by hours does not make it wait longer than a hold', () => {
    const at = released()
    const backMs = -10 * 3_600_000
    at.settle(backMs)
    expect(at.controller.allocation(backMs).wakeAtMs).toBe(backMs + 60_000)
    at.settle(backMs + 60_000)
    expect(at.vips()).toEqual(['10.0.0.0'])
  })

  test('a clock that is set forward by hours ends it', () => {
    const at = released()
    at.settle(10 * 3_600_000)
    expect(at.vips()).toEqual(['10.0.0.0'])
  })

  test('a hold that is shortened, or taken back, counts for those who wait', () => {
    const at = released()
    at.editPool('default', { holdSeconds: 10 })
    at.settle(2000)
    expect(at.controller.allocation(2000).wakeAtMs).toBe(12_000)
    at.editPool('default', { holdSeconds: 0 })
    at.settle(3000)
    expect(at.vips()).toEqual(['10.0.0.0'])
  })

  test('who asks for it by address is told what it waits for', () => {
    const at = released()
    at.world.put('services', service('stranger', { annotations: { 'bellhop.io/ips': '10.0.0.1' } }))
    at.settle(2000)
    expect([at.condition('stranger'), at.message('stranger')]).toEqual([
      'False AddressOnHold',
      '10.0.0.1 is asked for, but it waits for default/web to return',
    ])
  })
})

test('a Vip object that makes no sense keeps its address from everybody, and for the Service that shows it', () => {
  const of = service('web', { ingress: ['10.0.0.0'], meta: { finalizers: [loadBalancerFinalizer] } })
  const parts = {
    services: [of, service('new', { meta: { creationTimestampMs: 9 } })],
    pools: [pool('default', ['10.0.0.0/29'])],
    refusals: [{ kind: 'Vip' as const, meta: vip('10.0.0.0', []).meta, problems: [] }],
  }
  const { work } = allocate({ view: view(parts), serviceClass, withdrawn: () => true, nowMs: 0 })
  expect(work.map(({ service: name, steps }) => [name, steps[0]?.type === 'create-vip' && steps[0].name])).toEqual([
    ['default/new', '10.0.0.1'],
  ])
})

test('namespaces are looked up by their labels as they are now', () => {
  const gold = pool('gold', ['10.0.0.0/29'], {
    namespaceSelector: { matchLabels: { tier: 'gold' }, matchExpressions: [] },
  })
  const parts = { services: [service('team/web')], pools: [gold] }
  const reasons = (tier: string) =>
    allocate({
      view: view({ ...parts, namespaces: [namespace('team', { tier })] }),
      serviceClass,
      withdrawn: () => true,
      nowMs: 0,
    }).work[0]?.steps[0]?.type
  expect([reasons('gold'), reasons('lead')]).toEqual(['create-vip', 'set-service-status'])
})
