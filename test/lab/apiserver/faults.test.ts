import { afterEach, describe, expect, test } from 'vitest'
import type { RequestPredicate } from '../../../src/lab/apiserver/faults.ts'
import { apiForFile, configMap, configMaps } from './support.ts'

const api = apiForFile()
const lists: RequestPredicate = ({ resource }) => resource?.verb === 'list'

afterEach(() => api.server().faults.clear())

test.each([401, 403, 429, 500, 503] as const)(
  'status %i is a Status object to what matches, and to nothing else',
  async (code) => {
    api.server().faults.inject({ kind: 'status', code }, { matches: lists })
    expect((await api.call('GET', configMaps)).body).toMatchObject({ kind: 'Status', status: 'Failure', code })
    expect((await api.call('GET', '/api/v1/namespaces/default')).code).toBe(200)
  },
)

test('429 says when to try again', async () => {
  api.server().faults.inject({ kind: 'status', code: 429, retryAfterSeconds: 7 }, { matches: lists })
  const { headers, body } = await api.call('GET', configMaps)
  expect([headers.get('retry-after'), body['details']]).toEqual(['7', { retryAfterSeconds: 7 }])
})

test('a fault for two requests is over after two', async () => {
  api.server().faults.inject({ kind: 'status', code: 500 }, { matches: lists, times: 2 })
  const codes: number[] = []
  for (let i = 0; i < 3; i++) codes.push((await api.call('GET', configMaps)).code)
  expect(codes).toEqual([500, 500, 200])
})

test('a fault is over when undone', async () => {
  const undo = api.server().faults.inject({ kind: 'status', code: 500 })
  undo()
  expect((await api.call('GET', configMaps)).code).toBe(200)
})

test('a delay comes before the answer', async () => {
  api.server().faults.inject({ kind: 'delay', milliseconds: 100 }, { matches: lists })
  const before = performance.now()
  expect((await api.call('GET', configMaps)).code).toBe(200)
  expect(performance.now() - before).toBeGreaterThanOrEqual(99)
})

test('a hanging request is answered by nobody', async () => {
  api.server().faults.inject({ kind: 'hang' }, { matches: lists })
  const signal = AbortSignal.timeout(100)
  await expect(fetch(api.server().url + configMaps, { signal })).rejects.toThrow(/timeout/i)
})

test('a dropped connection is an error of the connection', async () => {
  api.server().faults.inject({ kind: 'drop' }, { matches: lists })
  await expect(fetch(api.server().url + configMaps)).rejects.toThrow()
})

describe('truncation', () => {
  test('ends an answer in the middle of its JSON', async () => {
    api.server().objects.put(configMap('long', { a: 'b'.repeat(1000) }))
    api.server().faults.inject({ kind: 'truncate', bytes: 100 }, { matches: lists })
    const response = await fetch(api.server().url + configMaps)
    await expect(response.text()).rejects.toThrow()
  })

  test('ends a watch in the middle of an event', async () => {
    api.server().objects.put(configMap('long', { a: 'b'.repeat(1000) }))
    api
      .server()
      .faults.inject({ kind: 'truncate', bytes: 100 }, { matches: ({ resource }) => resource?.verb === 'watch' })
    const response = await fetch(`${api.server().url}${configMaps}?watch=1`)
    await expect(response.text()).rejects.toThrow()
  })
})

test('a restart without data is a new cluster on the same port', async () => {
  api.server().objects.put(configMap('lost'))
  await api.server().restart({ keepData: false })
  expect((await api.call('GET', `${configMaps}/lost`)).code).toBe(404)
  expect((await api.call('GET', '/api/v1/namespaces/default')).code).toBe(200)
})
