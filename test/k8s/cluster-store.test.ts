// The store against an API server: whatever happens to the connection and to history, the view ends up equal to the cluster,
// nobody sees half a list, and what did not change keeps its identity.

import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { type ClusterStore, type ClusterStoreOptions, createClusterStore } from '../../src/k8s/cluster-store.ts'
import { type Kind, namespacedName } from '../../src/k8s/objects.ts'
import type { ApiServerOptions } from '../../src/lab/apiserver/server.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { startTestCluster, type TestCluster, until } from './support/api-server.ts'
import { node, peer, pool, service, slice, vip } from './support/manifests.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

const everyKind: readonly Kind[] = [
  'Service',
  'EndpointSlice',
  'Node',
  'Namespace',
  'Secret',
  'BgpConf',
  'BgpPeer',
  'VipPool',
  'Vip',
  'BgpPolicy',
]

async function cluster(options: ApiServerOptions = {}): Promise<TestCluster> {
  const started = await startTestCluster(options)
  open.push(started.stop)
  return started
}

function follow(on: TestCluster, options: Partial<ClusterStoreOptions> = {}): ClusterStore {
  const stop = new AbortController()
  open.push(() => stop.abort())
  return createClusterStore({
    client: on.client,
    kinds: everyKind,
    namespace: 'default',
    clock: systemClock,
    random: () => 0,
    log: silentLog,
    signal: stop.signal,
    ...options,
  })
}

const soon = AbortSignal.timeout(60_000)

test('everything that was there is there once the store is synced, and what comes later follows', async () => {
  const on = await cluster()
  on.server.objects.put(service('web'))
  on.server.objects.put(node('n1', '10.0.0.11'))
  on.server.objects.put(slice('web-1', 'web', [{ addresses: ['10.1.0.1'], nodeName: 'n1' }]))
  on.server.objects.put(pool('main', ['203.0.113.0/24'], { exclude: ['203.0.113.0'] }))
  const store = follow(on)
  expect(store.synced()).toBe(false)
  await store.whenSynced(soon)
  const view = store.view()
  expect([...view.services.keys()]).toContain('default/web')
  expect(view.endpointSlices.get(namespacedName('default', 'web'))?.[0]?.endpoints[0]?.nodeName).toBe('n1')
  expect(view.nodes.get('n1')?.internalIPs).toEqual(['10.0.0.11'])
  expect(view.vipPools.get('main')?.ranges).toHaveLength(1)

  on.server.objects.put(vip('203.0.113.10'))
  await until('the Vip is in the view', () => view.vips.has('203.0.113.10'))
  on.server.objects.delete({ apiVersion: 'v1', kind: 'Node', name: 'n1' })
  await until('the Node is gone', () => !view.nodes.has('n1'))
})

test('changes are named by kind and key, slices by their Service, and each only once', async () => {
  const on = await cluster()
  const store = follow(on)
  await store.whenSynced(soon)
  store.takeChanges()
  on.server.objects.put(service('web'))
  on.server.objects.put(slice('web-a', 'web', []))
  on.server.objects.put(slice('web-b', 'web', []))
  await until('both slices came', () => store.view().endpointSlices.get(namespacedName('default', 'web'))?.length === 2)
  const changes = store.takeChanges()
  expect([...(changes.get('Service') ?? [])]).toEqual(['default/web'])
  expect([...(changes.get('EndpointSlice') ?? [])]).toEqual(['default/web'])
  expect(store.takeChanges().size).toBe(0)
})

test('one notice for many changes, and none from inside a call', async () => {
  const on = await cluster()
  for (let i = 0; i < 300; i++) on.server.objects.put(service(`s${i}`))
  const store = follow(on, { pageLimit: 50 })
  let inside = false
  let notices = 0
  store.onChange(() => {
    expect(inside).toBe(false)
    notices++
  })
  await store.whenSynced(soon)
  await until('a notice came', () => notices > 0)
  // 300 Services and a dozen other objects, ten kinds.
  expect(notices).toBeLessThanOrEqual(everyKind.length + 1)
  const before = notices
  inside = true
  store.absorb(on.server.objects.put(vip('203.0.113.10')))
  inside = false
  await until('the notice of the absorbed object came', () => notices > before)
})

test('an object refused by its schema is named with its problems, and leaves the view', async () => {
  const on = await cluster()
  on.server.objects.put(peer('leaf1'))
  const store = follow(on)
  await store.whenSynced(soon)
  expect(store.view().bgpPeers.has('leaf1')).toBe(true)
  // Past the CRD's own checks, as an older CRD would let it pass.
  store.absorb({
    ...peer('leaf1', { address: '224.0.0.5', timers: { holdSeconds: 2 } }),
    metadata: { name: 'leaf1', uid: 'u', resourceVersion: '99999999' },
  })
  expect(store.view().bgpPeers.has('leaf1')).toBe(false)
  expect(store.view().refusals.map(({ kind, problems }) => [kind, problems.map(({ path }) => path)])).toEqual([
    ['BgpPeer', ['spec.address', 'spec.timers.holdSeconds']],
  ])
})

test('a watch that breaks continues where it stopped, without another list', async () => {
  const on = await cluster()
  const store = follow(on, { kinds: ['Node'] })
  await store.whenSynced(soon)
  await on.server.restart({ keepData: true })
  on.server.objects.put(node('n1', '10.0.0.11'))
  await until('the Node came after the restart', () => store.view().nodes.has('n1'))
  expect(store.facts().kinds.get('Node')?.relists).toBe(0)
})

test('forgotten history leads to a new list that notices deletions and keeps identities', async () => {
  const on = await cluster()
  for (const name of ['n1', 'n2', 'n3']) on.server.objects.put(node(name, `10.0.0.1${name.slice(1)}`))
  on.server.objects.put(service('web'))
  const store = follow(on, { kinds: ['Node', 'Service'] })
  await store.whenSynced(soon)
  const { nodes, services } = store.view()
  const [n1, web] = [nodes.get('n1'), services.get(namespacedName('default', 'web'))]
  store.takeChanges()

  const undo = on.server.faults.inject({ kind: 'drop' }, { matches: ({ resource }) => resource?.verb === 'watch' })
  await on.server.restart({ keepData: true })
  on.server.objects.delete({ apiVersion: 'v1', kind: 'Node', name: 'n2' })
  on.server.objects.put(node('n3', '10.0.0.99'))
  on.server.compact()
  undo()
  await until('the store listed anew', () => store.facts().kinds.get('Node')?.relists === 1)
  expect([...nodes.keys()].sort()).toEqual(['n1', 'n3'])
  expect(nodes.get('n3')?.internalIPs).toEqual(['10.0.0.99'])
  expect(nodes.get('n1')).toBe(n1)
  expect(services.get(namespacedName('default', 'web'))).toBe(web)
  expect([...(store.takeChanges().get('Node') ?? [])].sort()).toEqual(['n2', 'n3'])
})

test('a list whose pages expire on the way is taken whole', async () => {
  const on = await cluster()
  for (let i = 0; i < 25; i++) on.server.objects.put(node(`n${i}`, `10.0.0.${i + 1}`))
  on.server.faults.inject(
    { kind: 'delay', milliseconds: 1 },
    {
      matches: ({ query }) => {
        if (query.has('continue')) on.server.compact()
        return false
      },
    },
  )
  const store = follow(on, { kinds: ['Node'], pageLimit: 10 })
  await store.whenSynced(soon)
  expect(store.view().nodes.size).toBe(25)
})

test('nobody sees half a list', async () => {
  const on = await cluster()
  for (let i = 0; i < 40; i++) on.server.objects.put(node(`n${i}`, `10.0.0.${i + 1}`))
  const store = follow(on, { kinds: ['Node'], pageLimit: 10 })
  await store.whenSynced(soon)
  const sizes = new Set<number>()
  // Observed at every page that the server is asked for.
  on.server.faults.inject(
    { kind: 'delay', milliseconds: 0 },
    {
      matches: ({ query }) => {
        if (query.has('limit')) sizes.add(store.view().nodes.size)
        return false
      },
    },
  )
  await store.confirm(['Node'])
  expect([...sizes]).toEqual([40])
})

test('confirming lists anew although the watch is fine, and each confirmation waits for a list of its own time', async () => {
  const on = await cluster()
  const store = follow(on, { kinds: ['Node'] })
  await store.whenSynced(soon)
  on.server.faults.inject({ kind: 'drop' }, { matches: ({ resource }) => resource?.verb === 'watch' })
  on.server.objects.put(node('n1', '10.0.0.11'))
  await store.confirm(['Node'])
  expect(store.view().nodes.has('n1')).toBe(true)
  const first = store.confirm(['Node'])
  on.server.objects.put(node('n2', '10.0.0.12'))
  const second = store.confirm(['Node'])
  await Promise.all([first, second])
  expect(store.view().nodes.has('n2')).toBe(true)
})

test('a confirmation is not given by a server that does not answer', async () => {
  const on = await cluster()
  const store = follow(on, { kinds: ['Node'] })
  await store.whenSynced(soon)
  const undo = on.server.faults.inject({ kind: 'status', code: 500 })
  let confirmed = false
  const confirmation = store.confirm(['Node']).then(() => {
    confirmed = true
  })
  await until('the refused list was noticed', () => store.facts().kinds.get('Node')?.lastError?.status === 500)
  expect(confirmed).toBe(false)
  undo()
  await confirmation
})

test('what a write returned is in the view at once, and no older event or list takes it back', async () => {
  const on = await cluster()
  on.server.objects.put(vip('203.0.113.10'))
  const store = follow(on, { kinds: ['Vip'] })
  await store.whenSynced(soon)
  const undo = on.server.faults.inject({ kind: 'drop' }, { matches: ({ resource }) => resource?.verb === 'watch' })
  await on.server.restart({ keepData: true })
  const older = on.server.objects.get({ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name: '203.0.113.10' })
  const written = on.server.objects.put(vip('203.0.113.10', 'other'))
  store.absorb(written)
  expect(store.view().vips.get('203.0.113.10')?.pool).toBe('other')
  store.absorb(older)
  expect(store.view().vips.get('203.0.113.10')?.pool).toBe('other')
  undo()
  on.server.objects.put(vip('203.0.113.11'))
  await until('the watch caught up', () => store.view().vips.has('203.0.113.11'))
  expect(store.view().vips.get('203.0.113.10')?.pool).toBe('other')
})

test('a late answer to a write does not bring a deleted object back', async () => {
  const on = await cluster()
  const store = follow(on, { kinds: ['Vip'] })
  await store.whenSynced(soon)
  const answer = on.server.objects.put(vip('203.0.113.10'))
  await until('the Vip came', () => store.view().vips.size === 1)
  on.server.objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name: '203.0.113.10' })
  await until('the Vip went', () => store.view().vips.size === 0)
  store.absorb(answer)
  expect(store.view().vips.size).toBe(0)
})

test('our own deletion is in the view at once', async () => {
  const on = await cluster()
  const answer = on.server.objects.put(vip('203.0.113.10'))
  const store = follow(on, { kinds: ['Vip'] })
  await store.whenSynced(soon)
  const uid = store.view().vips.get('203.0.113.10')?.meta.uid ?? ''
  store.absorbDeletion('Vip', '203.0.113.10', 'another uid')
  expect(store.view().vips.size).toBe(1)
  store.absorbDeletion('Vip', '203.0.113.10', uid)
  expect(store.view().vips.size).toBe(0)
  store.absorb(answer)
  expect(store.view().vips.size).toBe(0)
})

test('a heartbeat of a Node changes nothing', async () => {
  const on = await cluster()
  on.server.objects.put(node('n1', '10.0.0.11'))
  const store = follow(on, { kinds: ['Node'] })
  await store.whenSynced(soon)
  const before = store.view().nodes.get('n1')
  store.takeChanges()
  const beat = on.server.objects.update({ apiVersion: 'v1', kind: 'Node', name: 'n1' }, (object) => ({
    ...object,
    metadata: { ...(object['metadata'] as object), annotations: { volumes: 'attached' } },
  }))
  on.server.objects.put(node('n2', '10.0.0.12'))
  await until('the Node after it came', () => store.view().nodes.has('n2'))
  expect(beat).toBeDefined()
  expect(store.view().nodes.get('n1')).toBe(before)
  expect([...(store.takeChanges().get('Node') ?? [])]).toEqual(['n2'])
})

test('only Secrets of our own namespace are read', async () => {
  const on = await cluster()
  const secret = (namespace: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'md5', namespace },
    data: { password: Buffer.from('hunter2').toString('base64') },
  })
  on.server.objects.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bellhop' } })
  on.server.objects.put(secret('bellhop'))
  on.server.objects.put(secret('default'))
  const store = follow(on, { kinds: ['Secret'], namespace: 'bellhop' })
  await store.whenSynced(soon)
  expect([...store.view().secrets.keys()]).toEqual(['bellhop/md5'])
  expect(Buffer.from(store.view().secrets.get('bellhop/md5')?.data.get('password') ?? []).toString()).toBe('hunter2')
})

test('an agent follows its own Node and the Vips, and nothing else', async () => {
  const on = await cluster()
  for (const name of ['n1', 'n2']) on.server.objects.put(node(name, `10.0.0.1${name.slice(1)}`))
  on.server.objects.put(vip('203.0.113.10'))
  on.server.objects.put(service('web'))
  const store = follow(on, {
    kinds: ['Vip', 'Node'],
    select: { Node: { fieldSelector: 'metadata.name=n2' } },
    consistency: 'cache',
  })
  await store.whenSynced(soon)
  expect([...store.view().nodes.keys()]).toEqual(['n2'])
  expect(store.view().vips.size).toBe(1)
  expect(store.view().services.size).toBe(0)
})

test('without status, a Vip that changed only there is the same Vip', async () => {
  const on = await cluster()
  on.server.objects.put({ ...vip('203.0.113.10'), status: { announcedTo: ['leaf1'] } })
  const store = follow(on, { kinds: ['Vip'], select: { Vip: { withoutStatus: true } } })
  await store.whenSynced(soon)
  const before = store.view().vips.get('203.0.113.10')
  expect(before?.status.fingerprint).toBe('')
  store.takeChanges()
  on.server.objects.put({ ...vip('203.0.113.10'), status: { announcedTo: ['leaf1', 'leaf2'] } })
  on.server.objects.put(vip('203.0.113.11'))
  await until('the Vip after it came', () => store.view().vips.size === 2)
  expect(store.view().vips.get('203.0.113.10')).toBe(before)
  expect([...(store.takeChanges().get('Vip') ?? [])]).toEqual(['203.0.113.11'])
})

test('missing permissions are reported in words and tried again', async () => {
  const on = await cluster()
  const undo = on.server.faults.inject(
    { kind: 'status', code: 403 },
    { matches: ({ resource }) => resource?.resource === 'nodes' },
  )
  const lines: Record<string, unknown>[] = []
  const log = { ...silentLog, warn: (fields: Record<string, unknown>) => void lines.push(fields) }
  const store = follow(on, { kinds: ['Node', 'Service'], log })
  await until('the refusal was noticed', () => store.facts().kinds.get('Node')?.lastError !== undefined)
  await until('the other kind is synced', () => store.facts().kinds.get('Service')?.synced === true)
  expect(store.synced()).toBe(false)
  expect(lines).toMatchObject([
    { event: 'kube-unavailable', kind: 'Node', status: 403, advice: expect.stringContaining('ClusterRole') },
  ])
  undo()
  await store.whenSynced(soon)
  expect(store.facts().kinds.get('Node')?.lastError).toBeUndefined()
})

test('a cluster that was replaced by another one is taken as it is', async () => {
  const on = await cluster()
  for (let i = 0; i < 20; i++) on.server.objects.put(node(`old${i}`, `10.0.0.${i + 1}`))
  const store = follow(on, { kinds: ['Node'] })
  await store.whenSynced(soon)
  await on.server.restart({ keepData: false })
  on.server.objects.put(node('new', '10.0.0.200'))
  await until('the view is that of the new cluster', () => [...store.view().nodes.keys()].join() === 'new', 30_000)
})

// ---------------------------------------------------------------------------------------------- the property

type Move =
  | { readonly type: 'put' | 'delete'; readonly name: number; readonly value: number }
  | { readonly type: 'break' | 'compact' | 'confirm' | 'truncate' | 'refuse' | 'absorb' }

const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('put' as const), name: fc.nat(7), value: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('delete' as const), name: fc.nat(7), value: fc.constant(0) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom('break' as const, 'compact', 'confirm', 'truncate', 'refuse', 'absorb'),
    }),
  },
)

test('what stands in counts while the cluster has none of its name, through relists too', async () => {
  const on = await cluster()
  on.server.objects.put(pool('main', ['203.0.113.0/24']))
  const store = follow(on, { awaitStandIns: true })
  const sizeOf = (name: string): number | undefined => store.view().vipPools.get(name)?.ranges.length
  const twoRanges = ['192.0.2.0/28', '192.0.2.32/28']
  await until('everything is listed', () => [...store.facts().kinds.values()].every(({ synced }) => synced))
  expect(store.synced()).toBe(false)
  store.standIn([pool('main', twoRanges), pool('other', twoRanges)])
  await store.whenSynced(soon)
  expect([sizeOf('main'), sizeOf('other')]).toEqual([1, 2])

  const before = store.view().vipPools.get('other')
  store.standIn([pool('main', twoRanges), pool('other', twoRanges)])
  await store.confirm(['VipPool'])
  expect(store.view().vipPools.get('other')).toBe(before)

  on.server.objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'VipPool', name: 'main' })
  await until('the other one stands in', () => sizeOf('main') === 2)
  on.server.objects.put(pool('other', ['203.0.113.0/24']))
  await until('ours wins', () => sizeOf('other') === 1)
  store.standIn([])
  expect([sizeOf('main'), sizeOf('other')]).toEqual([undefined, 1])
})

test('after any sequence of changes, faults and relists the view equals the cluster', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(move, { maxLength: 25 }), async (moves) => {
      const on = await startTestCluster({ watchHistory: 20, bookmarkIntervalMs: 5 })
      const stop = new AbortController()
      const store = createClusterStore({
        client: on.client,
        kinds: ['Vip'],
        namespace: 'default',
        // Time passes a hundred times faster for back-off, so that faults cost milliseconds.
        clock: { ...systemClock, setTimer: (delayMs, fire) => systemClock.setTimer(delayMs / 100, fire) },
        random: () => 0,
        log: silentLog,
        signal: stop.signal,
        pageLimit: 3,
        watchSeconds: 500,
      })
      const confirmations: Promise<void>[] = []
      let answer: unknown
      try {
        for (const one of moves) {
          const address = `203.0.113.${'name' in one ? one.name + 1 : 0}`
          switch (one.type) {
            case 'put':
              answer = on.server.objects.put(vip(address, `pool${one.value}`))
              break
            case 'delete':
              on.server.objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name: address })
              break
            case 'break':
              await on.server.restart({ keepData: true })
              break
            case 'compact':
              on.server.compact()
              break
            case 'confirm':
              confirmations.push(store.confirm(['Vip']))
              break
            case 'truncate':
              on.server.faults.inject({ kind: 'truncate', bytes: 300 }, { times: 1 })
              break
            case 'refuse':
              on.server.faults.inject({ kind: 'status', code: 500 }, { times: 2 })
              break
            case 'absorb':
              if (answer !== undefined) store.absorb(answer)
          }
          await new Promise((resolve) => setImmediate(resolve))
        }
        on.server.faults.clear()
        const truth = (): string =>
          JSON.stringify(
            on.server.objects
              .list('bellhop.io/v1alpha1', 'Vip')
              .map((object) => {
                const { name, resourceVersion } = object['metadata'] as { name: string; resourceVersion: string }
                return [name, (object['spec'] as { pool: string }).pool, resourceVersion]
              })
              .sort(),
          )
        const seen = (): string =>
          JSON.stringify(
            [...store.view().vips].map(([name, { pool, meta }]) => [name, pool, meta.resourceVersion]).sort(),
          )
        await until(`the view is ${truth()}`, () => store.synced() && seen() === truth())
        await Promise.all(confirmations)
      } finally {
        stop.abort()
        await Promise.allSettled(confirmations)
        await on.stop()
      }
    }),
    { numRuns: 40 },
  )
})
