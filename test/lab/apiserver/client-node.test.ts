// The client library that Bellhop itself uses, unchanged, against the lab's server.
import {
  AppsV1Api,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
  type V1Service,
  Watch,
} from '@kubernetes/client-node'
import { beforeAll, describe, expect, test } from 'vitest'
import { apiForFile, eventually, widget, widgetCrd } from './support.ts'

const api = apiForFile({ authorization: 'RBAC', watchHistory: 20, bookmarkIntervalMs: 100 })
const config = new KubeConfig()

beforeAll(() => {
  config.loadFromString(api.server().kubeconfig())
  api.server().objects.put(widgetCrd as never)
})

const putService = (name: string, labels: Record<string, string> = {}): void => {
  api.server().objects.put({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, labels },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  })
}

test('typed clients create, read, list, patch and delete', async () => {
  const core = config.makeApiClient(CoreV1Api)
  const body: V1Service = { metadata: { name: 'typed' }, spec: { type: 'LoadBalancer', ports: [{ port: 80 }] } }
  const created = await core.createNamespacedService({ namespace: 'default', body })
  expect(created.spec?.clusterIP).toMatch(/^10\.96\./)
  const listed = await core.listServiceForAllNamespaces({ fieldSelector: 'spec.type=LoadBalancer', limit: 500 })
  expect(listed.items.map((item) => item.metadata?.name)).toContain('typed')
  const patched = await core.patchNamespacedServiceStatus(
    { namespace: 'default', name: 'typed', body: { status: { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] } } } },
    setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
  )
  expect(patched.status?.loadBalancer?.ingress?.[0]?.ip).toBe('203.0.113.1')
  await core.deleteNamespacedService({ namespace: 'default', name: 'typed' })
  await expect(core.readNamespacedService({ namespace: 'default', name: 'typed' })).rejects.toMatchObject({ code: 404 })
})

test('server-side apply through the generic client', async () => {
  const objects = KubernetesObjectApi.makeApiClient(config)
  const body = { ...widget('applied', { size: 2 }), metadata: { name: 'applied', namespace: 'default' } }
  const applied: KubernetesObject = await objects.patch(
    body,
    undefined,
    undefined,
    'bellhop',
    true,
    PatchStrategy.ServerSideApply,
  )
  expect(applied.metadata?.managedFields).toMatchObject([{ manager: 'bellhop', operation: 'Apply' }])
  const custom = config.makeApiClient(CustomObjectsApi)
  const read = await custom.getNamespacedCustomObject({
    group: 'example.com',
    version: 'v1',
    namespace: 'default',
    plural: 'widgets',
    name: 'applied',
  })
  expect(read).toMatchObject({ spec: { size: 2, note: 'none' } })
})

test('an update with a stale resourceVersion is refused with 409', async () => {
  const apps = config.makeApiClient(AppsV1Api)
  const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } }
  const first = await apps.createNamespacedDeployment({
    namespace: 'default',
    body: { metadata: { name: 'd' }, spec: { selector: { matchLabels: { a: 'b' } }, template } },
  })
  const replace = (replicas: number): Promise<unknown> =>
    apps.replaceNamespacedDeployment({
      namespace: 'default',
      name: 'd',
      body: { ...first, spec: { selector: { matchLabels: { a: 'b' } }, template, replicas } },
    })
  await replace(2)
  await expect(replace(3)).rejects.toMatchObject({ code: 409 })
})

describe('an informer', () => {
  test('lists, follows, and lists again after 410 Gone', async () => {
    const core = config.makeApiClient(CoreV1Api)
    putService('before')
    let lists = 0
    const informer = makeInformer(config, '/api/v1/services', () => {
      lists += 1
      return core.listServiceForAllNamespaces()
    })
    const seen: string[] = []
    for (const verb of ['add', 'update', 'delete'] as const)
      informer.on(verb, (service) => seen.push(`${verb} ${service.metadata?.name}`))
    informer.on('error', () => setImmediate(() => informer.start()))
    await informer.start()
    try {
      await eventually(() => seen).toContain('add before')
      putService('after')
      await eventually(() => seen).toContain('add after')
      putService('after', { changed: 'yes' })
      await eventually(() => seen).toContain('update after')
      const listsBefore = lists
      // The watch ends while the server moves on further than it remembers.
      await api.server().restart({ keepData: true })
      for (let i = 0; i < 100; i++) putService('after', { round: String(i) })
      putService('last')
      await eventually(() => seen).toContain('add last')
      expect(lists).toBeGreaterThan(listsBefore)
    } finally {
      await informer.stop()
    }
  })
})

test('a watch hands over bookmarks and ends with an error status after a compaction', async () => {
  const start = String(api.server().store.revision)
  putService('watched')
  const phases: string[] = []
  const watch = new Watch(config)
  const follow = (resourceVersion: string): Promise<unknown> =>
    new Promise((resolve) => {
      void watch.watch(
        '/api/v1/services',
        { resourceVersion, allowWatchBookmarks: true, timeoutSeconds: 1 },
        (phase, object: { readonly code?: number }) => phases.push(phase === 'ERROR' ? `ERROR ${object.code}` : phase),
        resolve,
      )
    })
  await follow(start)
  expect(phases.slice(0, 2)).toEqual(['ADDED', 'BOOKMARK'])
  api.server().compact()
  await follow(start)
  expect(phases.at(-1)).toBe('ERROR 410')
})
