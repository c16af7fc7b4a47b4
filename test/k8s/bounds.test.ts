// The small bounds that the others rest on: how many at once, how often, how long to wait, since when.

import { expect, test } from 'vitest'
import { backoffMs } from '../../src/k8s/backoff.ts'
import { stampConditions } from '../../src/k8s/conditions.ts'
import { createGate } from '../../src/k8s/gate.ts'
import { resourcePath, resources } from '../../src/k8s/resources.ts'
import { renderMicroTime, renderTime } from '../../src/k8s/times.ts'
import { createTokenBucket } from '../../src/k8s/token-bucket.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

test('a bucket starts full, empties, and refills at its rate up to its bound', () => {
  const clock = createVirtualClock()
  const bucket = createTokenBucket({ perSecond: 2, burst: 3 }, clock)
  const takeAll = (): number => {
    let taken = 0
    while (bucket.take()) taken++
    return taken
  }
  expect(takeAll()).toBe(3)
  expect(bucket.nextInMs()).toBe(500)
  clock.advance(499)
  expect(takeAll()).toBe(0)
  clock.advance(1)
  expect(takeAll()).toBe(1)
  clock.advance(60_000)
  expect(takeAll()).toBe(3)
})

test('a gate lets in as many as it may, the others in the order they came, and who gives up keeps nobody waiting', async () => {
  const gate = createGate(1)
  const first = await gate.enter()
  const entered: string[] = []
  const impatient = new AbortController()
  const second = gate.enter(impatient.signal)
  const third = gate.enter().then((leave) => {
    entered.push('third')
    return leave
  })
  impatient.abort()
  expect(await second).toBe('cancelled')
  expect(entered).toEqual([])
  if (first !== 'cancelled') {
    first()
    // Leaving twice frees one place, not two.
    first()
  }
  const leave = await third
  let fourth = false
  void gate.enter().then(() => {
    fourth = true
  })
  await Promise.resolve()
  expect(fourth).toBe(false)
  if (leave !== 'cancelled') leave()
  await Promise.resolve()
  expect(await gate.enter(AbortSignal.abort())).toBe('cancelled')
})

test.each<[number, number, number]>([
  [1, 0, 400],
  [1, 1, 800],
  [2, 1, 1_600],
  [6, 1, 25_600],
  [7, 1, 30_000],
  [1_000, 1, 30_000],
  [1_000, 0, 15_000],
  [0, 1, 800],
])('attempt %i with luck %d waits %i ms', (attempt, random, delayMs) => {
  expect(backoffMs(attempt, random)).toBe(delayMs)
})

test('a transition time stays while the status does, moves when it changes, and begins now for a new condition', () => {
  const condition = (type: string, status: 'True' | 'False') => ({ type, status, reason: 'R', message: '' })
  const observed = [
    { ...condition('A', 'True'), lastTransitionTime: '2020-01-01T00:00:00Z' },
    { ...condition('B', 'True'), lastTransitionTime: '2020-01-01T00:00:00Z' },
  ]
  const now = Date.UTC(2026, 0, 1)
  expect(
    stampConditions([condition('A', 'True'), condition('B', 'False'), condition('C', 'True')], observed, now).map(
      ({ type, lastTransitionTime }) => [type, lastTransitionTime],
    ),
  ).toEqual([
    ['A', '2020-01-01T00:00:00Z'],
    ['B', '2026-01-01T00:00:00Z'],
    ['C', '2026-01-01T00:00:00Z'],
  ])
})

test('times as the API server parses them', () => {
  const at = Date.UTC(2026, 0, 1, 12, 30, 15, 250)
  expect([renderTime(at), renderMicroTime(at)]).toEqual(['2026-01-01T12:30:15Z', '2026-01-01T12:30:15.250000Z'])
})

test.each([
  [resourcePath(resources.Service), '/api/v1/services'],
  [resourcePath(resources.Secret, { namespace: 'bellhop' }), '/api/v1/namespaces/bellhop/secrets'],
  [
    resourcePath(resources.Service, { namespace: 'a', name: 'b', subresource: 'status' }),
    '/api/v1/namespaces/a/services/b/status',
  ],
  [resourcePath(resources.EndpointSlice), '/apis/discovery.k8s.io/v1/endpointslices'],
  [
    resourcePath(resources.Vip, { namespace: 'ignored', name: '203.0.113.10' }),
    '/apis/bellhop.io/v1alpha1/vips/203.0.113.10',
  ],
])('%s', (path, expected) => {
  expect(path).toBe(expected)
})
