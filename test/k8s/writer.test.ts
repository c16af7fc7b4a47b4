// Writes against an API server: each is guarded by the version it was decided upon, touches only what is ours, and is fenced.

import { afterEach, expect, test } from 'vitest'
import { type ClusterStore, createClusterStore } from '../../src/k8s/cluster-store.ts'
import type { Fence } from '../../src/k8s/fence.ts'
import { serviceFinalizer } from '../../src/k8s/finalizer.ts'
import { identityOf } from '../../src/k8s/json.ts'
import { namespacedName } from '../../src/k8s/objects.ts'
import type { ServiceVersion } from '../../src/k8s/service-writer.ts'
import { createWriter, type Writer } from '../../src/k8s/writer.ts'
import { parseIp } from '../../src/net/ip.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import type { AllocationStep, VipSpec } from '../../src/vip/types.ts'
import { startTestCluster, type TestCluster, until } from './support/api-server.ts'
import { peer, service, vip } from './support/manifests.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

interface World {
  readonly on: TestCluster
  readonly store: ClusterStore
  readonly writer: Writer
  readonly events: AllocationStep[]
  /** The Service as an allocation would name it. */
  readonly version: (name: string) => ServiceVersion
  /** The view has the Service as the server has it. */
  readonly caughtUp: () => Promise<void>
}

async function world(fence?: Fence, isWithdrawn?: (vip: string) => boolean): Promise<World> {
  const on = await startTestCluster()
  open.push(on.stop)
  on.server.objects.put(service('web'))
  const stop = new AbortController()
  open.push(() => stop.abort())
  const store = createClusterStore({
    client: on.client,
    kinds: ['Service', 'Vip', 'BgpPeer', 'BgpConf'],
    namespace: 'default',
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    signal: stop.signal,
  })
  await store.whenSynced(AbortSignal.timeout(10_000))
  const events: AllocationStep[] = []
  const writer = createWriter({
    client: on.client,
    clock: systemClock,
    services: () => store.view().services,
    absorb: store.absorb,
    absorbDeletion: store.absorbDeletion,
    recordEvent: (step) => void events.push(step),
    ...(fence === undefined ? {} : { fence }),
    ...(isWithdrawn === undefined ? {} : { isWithdrawn }),
  })
  const version = (name: string): ServiceVersion => {
    const meta = store.view().services.get(namespacedName('default', name))?.meta
    if (meta === undefined) throw new Error(`no Service ${name}`)
    return { service: namespacedName('default', name), uid: meta.uid, resourceVersion: meta.resourceVersion }
  }
  const caughtUp = (): Promise<void> =>
    until(
      'the view caught up',
      () => version('web').resourceVersion === identityOf(on.server.objects.get(serviceRef)).resourceVersion,
    )
  return { on, store, writer, events, version, caughtUp }
}

const address = must(parseIp('203.0.113.10'))
const spec: VipSpec = {
  address,
  pool: 'default',
  services: [{ namespace: 'default', name: 'web', uid: 'u1', ports: [{ protocol: 'TCP', port: 80 }], shareKey: '' }],
}
const serviceRef = { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web' }
const vipRef = { apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name: '203.0.113.10' }

type Conditions = readonly { readonly type: string; readonly status: string; readonly lastTransitionTime: string }[]

const finalizersOf = (on: TestCluster): unknown =>
  (on.server.objects.get(serviceRef)?.['metadata'] as { finalizers?: unknown } | undefined)?.finalizers

const statusOf = (on: TestCluster): { loadBalancer?: { ingress?: unknown }; conditions?: Conditions } =>
  (on.server.objects.get(serviceRef)?.['status'] ?? {}) as {
    loadBalancer?: { ingress?: unknown }
    conditions?: Conditions
  }

test('creating a Vip is the lock: the second one to come is told so', async () => {
  const { writer, store } = await world()
  expect(await writer.createVip('203.0.113.10', spec)).toMatchObject({ ok: true })
  expect(store.view().vips.get('203.0.113.10')?.services[0]?.name).toBe('web')
  expect(await writer.createVip('203.0.113.10', spec)).toMatchObject({
    ok: false,
    error: { status: 409, reason: 'AlreadyExists' },
  })
})

test('a Vip is updated at the version it was seen at, and not at an older one', async () => {
  const { on, writer, store } = await world()
  must(await writer.createVip('203.0.113.10', spec))
  const seen = store.view().vips.get('203.0.113.10')?.meta.resourceVersion ?? ''
  const held = { ...spec, services: [], hold: { namespace: 'default', name: 'web', untilMs: 1_900_000_000_000 } }
  must(await writer.updateVip({ name: '203.0.113.10', resourceVersion: seen }, held))
  expect(store.view().vips.get('203.0.113.10')?.hold?.untilMs).toBe(1_900_000_000_000)
  expect(await writer.updateVip({ name: '203.0.113.10', resourceVersion: seen }, spec)).toMatchObject({
    ok: false,
    error: { status: 409, reason: 'Conflict' },
  })
  const newer = store.view().vips.get('203.0.113.10')?.meta.resourceVersion ?? ''
  must(await writer.updateVip({ name: '203.0.113.10', resourceVersion: newer }, spec))
  expect(store.view().vips.get('203.0.113.10')).toMatchObject({ services: [{ name: 'web' }] })
  expect(on.server.objects.get(vipRef)?.['spec']).not.toHaveProperty('hold')
})

test('a Vip is deleted only as the one that was seen; one that is gone already is a success', async () => {
  const { writer, store } = await world()
  must(await writer.createVip('203.0.113.10', spec))
  const { uid = '', resourceVersion = '' } = store.view().vips.get('203.0.113.10')?.meta ?? {}
  expect(await writer.deleteVip({ name: '203.0.113.10', uid: 'another', resourceVersion })).toMatchObject({
    ok: false,
    error: { status: 409 },
  })
  expect(await writer.deleteVip({ name: '203.0.113.10', uid, resourceVersion: '1' })).toMatchObject({
    ok: false,
    error: { status: 409 },
  })
  must(await writer.deleteVip({ name: '203.0.113.10', uid, resourceVersion }))
  expect(store.view().vips.size).toBe(0)
  expect(await writer.deleteVip({ name: '203.0.113.10', uid, resourceVersion })).toMatchObject({ ok: true })
})

test('our finalizer comes and goes, those of others stay', async () => {
  const { on, store, writer, version, caughtUp } = await world()
  on.server.objects.update(serviceRef, (object) => ({
    ...object,
    metadata: { ...(object['metadata'] as object), finalizers: ['example.com/other'] },
  }))
  await caughtUp()
  const decided = version('web')
  must(await writer.addFinalizer(decided))
  expect(finalizersOf(on)).toEqual(['example.com/other', serviceFinalizer])
  // The API server says on the object who put it there.
  expect(store.view().services.get(version('web').service)?.finalizedByUs).toBe(true)
  must(await writer.addFinalizer(version('web')))
  // Decided upon the version before our own write: that is still the same decision.
  must(await writer.removeFinalizer(decided))
  expect(finalizersOf(on)).toEqual(['example.com/other'])
  expect(store.view().services.get(decided.service)?.finalizedByUs).toBeUndefined()
})

test('a Service that somebody changed since it was decided upon is left alone', async () => {
  const { on, store, writer, version } = await world()
  const decided = version('web')
  const touch = (label: string): unknown =>
    on.server.objects.update(serviceRef, (object) => ({
      ...object,
      metadata: { ...(object['metadata'] as object), labels: { label } },
    }))
  // The view does not know yet: the API server refuses.
  touch('a')
  const write = { ...decided, ingress: [address], conditions: [] }
  for (const result of [
    await writer.addFinalizer(decided),
    await writer.setServiceStatus(write),
    await writer.removeFinalizer(decided),
  ])
    if (!result.ok) expect(result.error).toMatchObject({ status: 409 })
  expect(finalizersOf(on)).toBeUndefined()
  expect(statusOf(on).loadBalancer?.ingress).toBeUndefined()
  // The view knows: nothing is even sent.
  await until('the view has the label', () => version('web').resourceVersion !== decided.resourceVersion)
  expect(await writer.addFinalizer(decided)).toMatchObject({ ok: false, error: { status: 409, reason: 'Conflict' } })
  expect(store.view().services.get(decided.service)?.meta.labels).toEqual({ label: 'a' })
})

test('a Service that was deleted and created again under its name is another one', async () => {
  const { on, writer, version } = await world()
  const decided = version('web')
  on.server.objects.delete(serviceRef)
  on.server.objects.put(service('web'))
  expect(await writer.addFinalizer(decided)).toMatchObject({ ok: false })
  expect(await writer.setServiceStatus({ ...decided, ingress: [address], conditions: [] })).toMatchObject({ ok: false })
  expect(finalizersOf(on)).toBeUndefined()
})

test('status: ingress is ours as a whole, conditions of others stay, transition times tell since when', async () => {
  const { on, writer, version, caughtUp } = await world()
  on.server.objects.update(
    serviceRef,
    (object) => ({
      ...object,
      status: {
        loadBalancer: { ingress: [{ ip: '198.51.100.1' }] },
        conditions: [
          {
            type: 'example.com/Other',
            status: 'True',
            reason: 'X',
            message: '',
            lastTransitionTime: '2020-01-01T00:00:00Z',
          },
          {
            type: 'bellhop.io/Allocated',
            status: 'True',
            reason: 'Old',
            message: '',
            lastTransitionTime: '2020-01-01T00:00:00Z',
          },
        ],
      },
    }),
    { subresource: 'status' },
  )
  await caughtUp()
  const allocated = {
    type: 'bellhop.io/Allocated',
    status: 'True',
    reason: 'Allocated',
    message: 'from pool default',
  } as const
  const announced = { type: 'bellhop.io/Announced', status: 'False', reason: 'NoPeer', message: '' } as const
  must(await writer.setServiceStatus({ ...version('web'), ingress: [address], conditions: [allocated, announced] }))
  const status = statusOf(on)
  expect(status.loadBalancer?.ingress).toEqual([{ ip: '203.0.113.10', ipMode: 'VIP' }])
  const byType = new Map(status.conditions?.map((condition) => [condition.type, condition]))
  expect([...byType.keys()].sort()).toEqual(['bellhop.io/Allocated', 'bellhop.io/Announced', 'example.com/Other'])
  expect(byType.get('bellhop.io/Allocated')).toMatchObject({ ...allocated, lastTransitionTime: '2020-01-01T00:00:00Z' })
  expect(byType.get('bellhop.io/Announced')?.lastTransitionTime).toMatch(/^20[2-9]\d-.*Z$/)
  expect(byType.get('bellhop.io/Announced')?.lastTransitionTime).not.toBe('2020-01-01T00:00:00Z')

  // Released: ingress empty, our conditions gone, the other's still there.
  must(
    await writer.setServiceStatus({
      ...version('web'),
      ingress: [],
      conditions: [],
      removeConditions: ['bellhop.io/Allocated', 'bellhop.io/Announced'],
    }),
  )
  expect(statusOf(on).loadBalancer?.ingress ?? []).toEqual([])
  expect(statusOf(on).conditions?.map(({ type }) => type)).toEqual(['example.com/Other'])
})

test('the steps of one allocation run through although each changes what the next was decided upon', async () => {
  const { on, writer, version, events } = await world()
  const decided = version('web')
  const steps: AllocationStep[] = [
    {
      type: 'create-vip',
      name: '203.0.113.10',
      spec: { ...spec, services: [], hold: { namespace: 'default', name: 'web', untilMs: 0 } },
    },
    { type: 'add-finalizer', ...decided },
    {
      type: 'set-service-status',
      ...decided,
      ingress: [address],
      condition: { type: 'bellhop.io/Allocated', status: 'True', reason: 'Allocated', message: '' },
    },
    { type: 'event', service: decided.service, uid: decided.uid, severity: 'Normal', reason: 'Allocated', message: '' },
    {
      type: 'set-service-status',
      ...decided,
      ingress: [],
      removeConditions: true,
      condition: { type: 'bellhop.io/Allocated', status: 'False', reason: 'Released', message: '' },
    },
    { type: 'remove-finalizer', ...decided },
  ]
  for (const step of steps) expect([step.type, await writer.executeStep(step)]).toMatchObject([step.type, { ok: true }])
  expect(finalizersOf(on) ?? []).toEqual([])
  expect(statusOf(on).conditions ?? []).toEqual([])
  expect(events).toHaveLength(1)
})

test('a Service that is being deleted keeps its finalizer until we take it away', async () => {
  const { on, writer, version, caughtUp } = await world()
  must(await writer.addFinalizer(version('web')))
  on.server.objects.delete(serviceRef)
  expect(on.server.objects.get(serviceRef)).toBeDefined()
  await caughtUp()
  must(await writer.removeFinalizer(version('web')))
  expect(on.server.objects.get(serviceRef)).toBeUndefined()
})

test.each<['gone' | 'unchanged', 'same' | 'touched' | 'recreated' | 'deleted', boolean]>([
  ['gone', 'same', false],
  ['gone', 'touched', false],
  ['gone', 'recreated', true],
  ['gone', 'deleted', true],
  ['unchanged', 'same', true],
  ['unchanged', 'touched', false],
  ['unchanged', 'recreated', false],
  ['unchanged', 'deleted', false],
])('a claim presumed %s on a Service that is %s: %s', async (expect_, state, holds) => {
  const { on, writer, version } = await world()
  const { service: name, uid, resourceVersion } = version('web')
  if (state === 'touched')
    on.server.objects.update(serviceRef, (object) => ({
      ...object,
      metadata: { ...(object['metadata'] as object), labels: { touched: 'yes' } },
    }))
  if (state === 'recreated' || state === 'deleted') on.server.objects.delete(serviceRef)
  if (state === 'recreated') on.server.objects.put(service('web'))
  const fence =
    expect_ === 'gone'
      ? { service: name, uid, expect: expect_ }
      : { service: name, uid, expect: expect_, resourceVersion }
  expect(await writer.checkServiceFence(fence)).toMatchObject(
    holds ? { ok: true } : { ok: false, error: { status: 409 } },
  )
})

test('a Vip whose fence does not hold is not touched', async () => {
  const { on, store, writer, version } = await world()
  must(await writer.createVip('203.0.113.10', spec))
  const { uid = '', resourceVersion = '' } = store.view().vips.get('203.0.113.10')?.meta ?? {}
  const fences = [{ service: version('web').service, uid: version('web').uid, expect: 'gone' as const }]
  expect(
    await writer.executeStep({ type: 'delete-vip', name: '203.0.113.10', uid, resourceVersion, fences }),
  ).toMatchObject({
    ok: false,
    error: { status: 409 },
  })
  expect(on.server.objects.get(vipRef)).toBeDefined()
  on.server.objects.delete(serviceRef)
  must(await writer.executeStep({ type: 'delete-vip', name: '203.0.113.10', uid, resourceVersion, fences }))
  expect(on.server.objects.get(vipRef)).toBeUndefined()
})

test('a Vip that is announced again by the time the fences have held is not deleted', async () => {
  let announced = false
  const { on, store, writer, version } = await world(undefined, () => !announced)
  must(await writer.createVip('203.0.113.10', spec))
  const { uid = '', resourceVersion = '' } = store.view().vips.get('203.0.113.10')?.meta ?? {}
  const fences = [{ ...version('web'), expect: 'unchanged' as const }]
  const deleting = writer.executeStep({ type: 'delete-vip', name: '203.0.113.10', uid, resourceVersion, fences })
  // While the API server is asked for the Service.
  announced = true
  expect(await deleting).toMatchObject({ ok: false, error: { status: 409 } })
  expect(on.server.objects.get(vipRef)).toBeDefined()
  announced = false
  must(await writer.executeStep({ type: 'delete-vip', name: '203.0.113.10', uid, resourceVersion, fences }))
  expect(on.server.objects.get(vipRef)).toBeUndefined()
})

test('whoever lost leadership writes nothing', async () => {
  let leading = true
  const { on, writer, version } = await world({ signal: new AbortController().signal, holds: () => leading })
  must(await writer.createVip('203.0.113.10', spec))
  leading = false
  const refused = { ok: false, error: { status: 0, reason: 'NotLeader' } }
  expect(await writer.createVip('203.0.113.11', { ...spec, address: must(parseIp('203.0.113.11')) })).toMatchObject(
    refused,
  )
  expect(await writer.addFinalizer(version('web'))).toMatchObject(refused)
  expect(await writer.applyStatus({ kind: 'Vip', name: '203.0.113.10', status: {}, fieldManager: 'x' })).toMatchObject(
    refused,
  )
  expect(on.server.objects.list('bellhop.io/v1alpha1', 'Vip')).toHaveLength(1)
})

test('a fence that closes ends a write that is under way', async () => {
  const closing = new AbortController()
  const { on, writer } = await world({ signal: closing.signal, holds: () => true })
  on.server.faults.inject({ kind: 'hang' }, { matches: ({ resource }) => resource?.verb === 'create' })
  const writing = writer.createVip('203.0.113.10', spec)
  setImmediate(() => closing.abort())
  expect(await writing).toMatchObject({ ok: false, error: { reason: 'Cancelled' } })
})

test('each manager owns its part of a status: entries of two replicas and the words of the leader live side by side', async () => {
  const { on, writer } = await world()
  on.server.objects.put(peer('leaf1'))
  const session = (speaker: string, state: string) => ({
    kind: 'BgpPeer' as const,
    name: 'leaf1',
    fieldManager: `bellhop-${speaker}`,
    status: { sessions: [{ speaker, remoteAddress: '10.0.0.1', state }] },
  })
  must(await writer.applyStatus(session('a', 'Idle')))
  must(await writer.applyStatus(session('b', 'Established')))
  must(
    await writer.applyStatus({
      kind: 'BgpPeer',
      name: 'leaf1',
      fieldManager: 'bellhop-leader',
      status: { state: 'Established', message: 'one of two' },
    }),
  )
  must(await writer.applyStatus(session('a', 'Established')))
  const status = (): unknown =>
    on.server.objects.get({ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPeer', name: 'leaf1' })?.['status']
  expect(status()).toEqual({
    sessions: [
      { speaker: 'a', remoteAddress: '10.0.0.1', state: 'Established' },
      { speaker: 'b', remoteAddress: '10.0.0.1', state: 'Established' },
    ],
    state: 'Established',
    message: 'one of two',
  })
  must(
    await writer.applyStatus({
      kind: 'BgpPeer',
      name: 'leaf1',
      fieldManager: 'bellhop-leader',
      status: { state: 'Down' },
    }),
  )
  must(await writer.applyStatus({ kind: 'BgpPeer', name: 'leaf1', fieldManager: 'bellhop-a', status: {} }))
  expect(status()).toEqual({
    sessions: [{ speaker: 'b', remoteAddress: '10.0.0.1', state: 'Established' }],
    state: 'Down',
  })
  // Nor does the object remember the name of every replica there ever was.
  const { metadata } =
    on.server.objects.get({ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPeer', name: 'leaf1' }) ?? {}
  expect(JSON.stringify(metadata)).toContain('bellhop-b')
  expect(JSON.stringify(metadata)).not.toContain('bellhop-a')
})

test('a status for an object that is gone is NotFound', async () => {
  const { writer } = await world()
  expect(
    await writer.applyStatus({ kind: 'BgpPeer', name: 'none', fieldManager: 'x', status: { state: 'Idle' } }),
  ).toMatchObject({ ok: false, error: { status: 404 } })
})

test('an API server in trouble is an error value, never an exception', async () => {
  const { on, writer } = await world()
  on.server.objects.put(vip('203.0.113.20'))
  for (const fault of [{ kind: 'drop' }, { kind: 'truncate', bytes: 5 }, { kind: 'status', code: 500 }] as const) {
    on.server.faults.clear()
    on.server.faults.inject(fault)
    expect(await writer.createVip('203.0.113.10', spec)).toMatchObject({ ok: false })
  }
})
