import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../src/lab/apiserver/json.ts'
import { apiForFile, configMap, configMaps } from './support.ts'

const api = apiForFile({ watchHistory: 50 })

const namesOf = (list: JsonObject): readonly string[] =>
  (list['items'] as readonly { metadata: { name: string } }[]).map((item) => item.metadata.name)

const revisionOf = (list: JsonObject): string => (list['metadata'] as { resourceVersion: string }).resourceVersion
const tokenOf = (list: JsonObject): string => (list['metadata'] as { continue?: string }).continue ?? ''

describe('selectors', () => {
  test.each([
    ['labelSelector=tier%3Dfront', ['a', 'b']],
    ['labelSelector=tier!%3Dfront,tier', ['c']],
    ['labelSelector=tier+in+(front,back)', ['a', 'b', 'c']],
    ['labelSelector=tier+notin+(back)', ['a', 'b', 'd']],
    ['labelSelector=!tier', ['d']],
    ['labelSelector=tier%3Dfront,env%3Dprod', ['a']],
    ['fieldSelector=metadata.name%3Db', ['b']],
    ['fieldSelector=metadata.name!%3Db,metadata.namespace%3Dselectors', ['a', 'c', 'd']],
  ])('%s finds %j', async (query, names) => {
    const inside = '/api/v1/namespaces/selectors/configmaps'
    const objects = api.server().objects
    objects.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'selectors' } })
    const labels: Record<string, Record<string, string>> = {
      a: { tier: 'front', env: 'prod' },
      b: { tier: 'front' },
      c: { tier: 'back' },
      d: {},
    }
    for (const [name, set] of Object.entries(labels))
      objects.put(configMap(name, {}, { namespace: 'selectors', labels: set }))
    expect(namesOf((await api.call('GET', `${inside}?${query}`)).body)).toEqual(names)
  })

  test('a field that the kind does not select by is a BadRequest', async () => {
    const answer = await api.call('GET', `${configMaps}?fieldSelector=data.a%3Db`)
    expect(answer.body).toMatchObject({ code: 400 })
    expect(answer.body['message']).toContain('field label not supported: data.a')
  })

  test('services are selected by spec.type and pods by spec.nodeName', async () => {
    const { objects } = api.server()
    objects.put({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'lb' },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    })
    for (const nodeName of ['n1', 'n2'])
      objects.put({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: `on-${nodeName}` },
        spec: { nodeName, containers: [{ name: 'c', image: 'i' }] },
      })
    expect(namesOf((await api.call('GET', '/api/v1/services?fieldSelector=spec.type%3DLoadBalancer')).body)).toEqual([
      'lb',
    ])
    expect(namesOf((await api.call('GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dn2')).body)).toEqual(['on-n2'])
  })
})

describe('paging', () => {
  const inside = '/api/v1/namespaces/paged/configmaps'
  const fill = (count: number): void => {
    const { objects } = api.server()
    objects.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'paged' } })
    for (let i = 0; i < count; i++) objects.put(configMap(`p${i}`, { n: '1' }, { namespace: 'paged' }))
  }

  test('all pages show the state of the first, whatever is written meanwhile', async () => {
    fill(7)
    const first = (await api.call('GET', `${inside}?limit=3`)).body
    const { objects } = api.server()
    objects.delete({ apiVersion: 'v1', kind: 'ConfigMap', namespace: 'paged', name: 'p5' })
    objects.put(configMap('p4', { n: 'changed' }, { namespace: 'paged' }))
    objects.put(configMap('p9', {}, { namespace: 'paged' }))
    const second = (await api.call('GET', `${inside}?limit=3&continue=${tokenOf(first)}`)).body
    const third = (await api.call('GET', `${inside}?limit=3&continue=${tokenOf(second)}`)).body
    expect([first, second, third].map(namesOf)).toEqual([['p0', 'p1', 'p2'], ['p3', 'p4', 'p5'], ['p6']])
    expect([second, third].map(revisionOf)).toEqual([revisionOf(first), revisionOf(first)])
    expect((second['items'] as readonly JsonObject[])[1]?.['data']).toEqual({ n: '1' })
    expect(tokenOf(third)).toBe('')
  })

  test('a page without selectors says how many items follow', async () => {
    const list = (await api.call('GET', '/api/v1/namespaces?limit=1')).body
    const total = namesOf((await api.call('GET', '/api/v1/namespaces')).body).length
    expect(list['metadata']).toMatchObject({ remainingItemCount: total - 1 })
  })

  test('a token from before a compaction is Expired, and carries a token for an inconsistent rest', async () => {
    fill(4)
    const first = (await api.call('GET', `${inside}?limit=2`)).body
    api.server().compact()
    const expired = await api.call('GET', `${inside}?limit=2&continue=${tokenOf(first)}`)
    expect(expired.body).toMatchObject({ code: 410, reason: 'Expired' })
    const rest = await api.call('GET', `${inside}?continue=${tokenOf(expired.body)}`)
    expect(namesOf(rest.body)[0]).toBe('p2')
  })

  test('a token that this server did not make is a BadRequest', async () => {
    expect((await api.call('GET', `${inside}?limit=1&continue=bm9uc2Vuc2U`)).code).toBe(400)
  })
})

describe('resourceVersion of a list', () => {
  const inside = '/api/v1/namespaces/versions/configmaps'
  const setUp = async (): Promise<string> => {
    const { objects } = api.server()
    objects.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'versions' } })
    for (const name of ['x', 'y']) objects.put(configMap(name, {}, { namespace: 'versions' }))
    const then = revisionOf((await api.call('GET', inside)).body)
    objects.delete({ apiVersion: 'v1', kind: 'ConfigMap', namespace: 'versions', name: 'x' })
    return then
  }

  test('Exact shows the old state, NotOlderThan and 0 the present one', async () => {
    const then = await setUp()
    const exact = (await api.call('GET', `${inside}?resourceVersion=${then}&resourceVersionMatch=Exact`)).body
    expect([namesOf(exact), revisionOf(exact)]).toEqual([['x', 'y'], then])
    const newer = await api.call('GET', `${inside}?resourceVersion=${then}&resourceVersionMatch=NotOlderThan`)
    expect(namesOf(newer.body)).toEqual(['y'])
    expect(namesOf((await api.call('GET', `${inside}?resourceVersion=0`)).body)).toEqual(['y'])
  })

  test('a version that is forgotten is Expired, one that is not reached yet is a Timeout', async () => {
    await setUp()
    const then = api.server().store.revision
    for (let i = 0; i < 200; i++) api.server().objects.put(configMap('y', { i: String(i) }, { namespace: 'versions' }))
    const old = await api.call('GET', `${inside}?resourceVersion=${then}&resourceVersionMatch=Exact`)
    expect(old.body).toMatchObject({ code: 410, reason: 'Expired' })
    const future = await api.call('GET', `${inside}?resourceVersion=99999999`)
    expect(future.body).toMatchObject({ code: 504, reason: 'Timeout' })
  })

  test('items of built-in kinds leave apiVersion and kind to the list, as the real server does', async () => {
    const list = (await api.call('GET', configMaps)).body
    expect(list).toMatchObject({ kind: 'ConfigMapList', apiVersion: 'v1' })
    for (const item of list['items'] as readonly JsonObject[]) expect(item).not.toHaveProperty('kind')
  })
})
