import { describe, expect, test } from 'vitest'
import { apiForFile, configMap, configMaps, readToEnd, type WatchEvent } from './support.ts'

const api = apiForFile({ watchHistory: 20, bookmarkIntervalMs: 50 })

const put = (name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}): string => {
  const stored = api.server().objects.put(configMap(name, data, { labels }))
  return (stored['metadata'] as { resourceVersion: string }).resourceVersion
}
const remove = (name: string): void => {
  api.server().objects.delete({ apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name })
}
const brief = ({ type, object }: WatchEvent): string =>
  `${type} ${(object['metadata'] as { name?: string }).name ?? ''}`.trim()
const revision = (): string => String(api.server().store.revision)

describe('a watch', () => {
  test('from a resourceVersion shows every later change in order', async () => {
    const start = revision()
    put('a', { n: '1' })
    put('a', { n: '2' })
    remove('a')
    const seen = await api.watch(`${configMaps}?watch=true&resourceVersion=${start}`, (events) => events.length === 3)
    expect(seen.map(brief)).toEqual(['ADDED a', 'MODIFIED a', 'DELETED a'])
    const versions = seen.map(({ object }) =>
      Number((object['metadata'] as { resourceVersion: string }).resourceVersion),
    )
    expect(versions).toEqual(versions.toSorted((x, y) => x - y))
  })

  test('without a resourceVersion begins with the present objects', async () => {
    put('present')
    const path = `${configMaps}?watch=true&fieldSelector=metadata.name%3Dpresent`
    const seen = await api.watch(path, (events) => {
      if (events.length === 1) put('present', { n: 'later' })
      return events.length === 2
    })
    expect(seen.map(brief)).toEqual(['ADDED present', 'MODIFIED present'])
  })

  test('sees an object enter and leave its selector', async () => {
    const start = revision()
    put('moving', {}, { in: 'no' })
    put('moving', { n: '1' }, { in: 'yes' })
    put('moving', { n: '2' }, { in: 'yes' })
    put('moving', { n: '3' }, { in: 'no' })
    const path = `${configMaps}?watch=true&resourceVersion=${start}&labelSelector=in%3Dyes`
    const seen = await api.watch(path, (events) => events.length === 3)
    expect(seen.map(({ type, object }) => [type, object['data']])).toEqual([
      ['ADDED', { n: '1' }],
      ['MODIFIED', { n: '2' }],
      ['DELETED', { n: '2' }],
    ])
    remove('moving')
  })

  test('from a forgotten version gets one ERROR with status 410 and ends', async () => {
    const start = revision()
    for (let i = 0; i < 60; i++) put('noise', { i: String(i) })
    const [error, ...more] = await readToEnd(`${api.server().url}${configMaps}?watch=true&resourceVersion=${start}`)
    expect(error).toMatchObject({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    expect(more).toEqual([])
  })

  test('is forgotten by a compaction', async () => {
    const start = revision()
    put('before-compaction')
    api.server().compact()
    const [error] = await readToEnd(`${api.server().url}${configMaps}?watch=true&resourceVersion=${start}`)
    expect(error).toMatchObject({ type: 'ERROR', object: { code: 410 } })
  })

  test('gets bookmarks when it asks for them', async () => {
    const start = revision()
    const path = `${configMaps}?watch=true&resourceVersion=${start}&allowWatchBookmarks=true`
    const seen = await api.watch(path, (events) => events.some(({ type }) => type === 'BOOKMARK'))
    expect(seen.at(-1)).toMatchObject({
      object: { kind: 'ConfigMap', apiVersion: 'v1', metadata: { resourceVersion: revision() } },
    })
  })

  test('gets no bookmarks while they are paused', async () => {
    api.server().faults.pauseBookmarks({ paused: true })
    const url = `${api.server().url}${configMaps}?watch=true&resourceVersion=${revision()}&allowWatchBookmarks=true&timeoutSeconds=1`
    expect(await readToEnd(url)).toEqual([])
    api.server().faults.clear()
  })

  test('with sendInitialEvents says when the initial state is complete', async () => {
    put('initial')
    const query = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true'
    const seen = await api.watch(`${configMaps}?${query}`, (events) => events.some(({ type }) => type === 'BOOKMARK'))
    expect(seen.map(brief)).toContain('ADDED initial')
    expect(seen.at(-1)).toMatchObject({
      type: 'BOOKMARK',
      object: { metadata: { annotations: { 'k8s.io/initial-events-end': 'true' } } },
    })
  })

  test('ends after timeoutSeconds', async () => {
    const url = `${api.server().url}${configMaps}?watch=true&resourceVersion=${revision()}&timeoutSeconds=1`
    expect(await readToEnd(url)).toEqual([])
  })

  test('of a namespace sees no other namespace', async () => {
    const start = revision()
    put('here')
    api.server().objects.put(configMap('there', {}, { namespace: 'kube-system' }))
    const all = await api.watch(
      `/api/v1/configmaps?watch=true&resourceVersion=${start}`,
      (events) => events.length === 2,
    )
    expect(all.map(brief)).toEqual(['ADDED here', 'ADDED there'])
    const one = await api.watch(
      `/api/v1/namespaces/kube-system/configmaps?watch=true&resourceVersion=${start}`,
      (events) => events.length === 1,
    )
    expect(one.map(brief)).toEqual(['ADDED there'])
  })

  test('ends when the server stops serving, and goes on from where it was after a restart with its data', async () => {
    const start = revision()
    const ended = readToEnd(`${api.server().url}${configMaps}?watch=true&resourceVersion=${start}`).catch(() => [])
    await api.server().restart({ keepData: true })
    await ended
    put('after-restart')
    const seen = await api.watch(`${configMaps}?watch=true&resourceVersion=${start}`, (events) => events.length === 1)
    expect(seen.map(brief)).toEqual(['ADDED after-restart'])
  })
})
