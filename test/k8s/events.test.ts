// Events against an API server: told once, counted when repeated, bounded for each object and overall.

import { afterEach, expect, test } from 'vitest'
import {
  createEventRecorder,
  type EventNote,
  type EventRecorder,
  type EventRecorderOptions,
} from '../../src/k8s/events.ts'
import { identityOf } from '../../src/k8s/json.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { startTestCluster, type TestCluster, until } from './support/api-server.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

interface World {
  readonly on: TestCluster
  readonly recorder: EventRecorder
  readonly later: (ms: number) => void
}

async function world(options: Partial<EventRecorderOptions> = {}): Promise<World> {
  const on = await startTestCluster()
  open.push(on.stop)
  const stop = new AbortController()
  open.push(() => stop.abort())
  let aheadMs = 0
  const recorder = createEventRecorder({
    client: on.client,
    component: 'bellhop-controller',
    instance: 'bellhop-0',
    clock: {
      ...systemClock,
      monotonicMs: () => systemClock.monotonicMs() + aheadMs,
      wallMs: () => systemClock.wallMs() + aheadMs,
    },
    log: silentLog,
    signal: stop.signal,
    ...options,
  })
  return {
    on,
    recorder,
    later: (ms) => {
      aheadMs += ms
    },
  }
}

const note = (message: string, more: Partial<EventNote> = {}): EventNote => ({
  subject: { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web', uid: 'u1' },
  severity: 'Normal',
  reason: 'Allocated',
  message,
  ...more,
})

const eventsOf = (on: TestCluster): readonly Record<string, unknown>[] =>
  on.server.objects.list('v1', 'Event') as readonly Record<string, unknown>[]

test('an Event is what kubectl describe looks for', async () => {
  const { on, recorder } = await world()
  recorder.record(note('203.0.113.10 from pool default'))
  await recorder.idle()
  expect(eventsOf(on)).toMatchObject([
    {
      metadata: { namespace: 'default', name: expect.stringMatching(/^web\.[0-9a-f]+$/) },
      involvedObject: { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web', uid: 'u1' },
      type: 'Normal',
      reason: 'Allocated',
      message: '203.0.113.10 from pool default',
      source: { component: 'bellhop-controller' },
      reportingInstance: 'bellhop-0',
      count: 1,
      firstTimestamp: expect.stringMatching(/Z$/),
      lastTimestamp: expect.stringMatching(/Z$/),
    },
  ])
})

test('an Event about a cluster-scoped object lives in default', async () => {
  const { on, recorder } = await world()
  const subject = { apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPeer', namespace: '', name: 'leaf1', uid: 'p1' }
  recorder.record(note('session established', { subject, reason: 'Established' }))
  await recorder.idle()
  const [event] = eventsOf(on)
  expect(event).toMatchObject({
    metadata: { namespace: 'default' },
    involvedObject: { kind: 'BgpPeer', name: 'leaf1' },
  })
  expect(event?.['involvedObject']).not.toHaveProperty('namespace')
})

test('the same again raises the count, at most once a minute; another message is another Event', async () => {
  const { on, recorder, later } = await world()
  recorder.record(note('pool default is exhausted'))
  for (let i = 0; i < 5; i++) recorder.record(note('pool default is exhausted'))
  recorder.record(note('pool other is exhausted'))
  await recorder.idle()
  expect(eventsOf(on).map((event) => event['count'])).toEqual([1, 1])
  later(61_000)
  recorder.record(note('pool default is exhausted'))
  await recorder.idle()
  expect(
    eventsOf(on)
      .map((event) => event['count'])
      .sort(),
  ).toEqual([1, 7])
  later(11 * 60_000)
  recorder.record(note('pool default is exhausted'))
  await recorder.idle()
  expect(eventsOf(on)).toHaveLength(3)
})

test('one object cannot fill the cluster with Events', async () => {
  const { on, recorder } = await world({ rate: { perSecond: 1_000, burst: 1_000 } })
  for (let i = 0; i < 100; i++) recorder.record(note(`message ${i}`))
  recorder.record(note('of another', { subject: { ...note('').subject, uid: 'u2', name: 'other' } }))
  await recorder.idle()
  expect(eventsOf(on)).toHaveLength(25 + 1)
  expect(recorder.facts()).toEqual({ sent: 26, dropped: 75 })
})

test('all objects together are slowed down', async () => {
  const { on, recorder } = await world({ rate: { perSecond: 200, burst: 2 } })
  const begun = performance.now()
  for (let i = 0; i < 12; i++)
    recorder.record(note('m', { subject: { ...note('').subject, uid: `u${i}`, name: `s${i}` } }))
  await recorder.idle()
  expect(performance.now() - begun).toBeGreaterThanOrEqual(45)
  expect(eventsOf(on)).toHaveLength(12)
})

test('an API server in trouble costs the Event, not the caller', async () => {
  const { on, recorder } = await world()
  on.server.faults.inject({ kind: 'status', code: 500 }, { times: 1 })
  recorder.record(note('lost'))
  await recorder.idle()
  expect(recorder.facts()).toEqual({ sent: 0, dropped: 1 })
  recorder.record(note('kept'))
  await recorder.idle()
  expect(eventsOf(on)).toHaveLength(1)
})

test('an Event that expired is created anew when it happens again', async () => {
  const { on, recorder, later } = await world()
  recorder.record(note('again'))
  await recorder.idle()
  const { name = '' } = identityOf(eventsOf(on)[0])
  on.server.objects.delete({ apiVersion: 'v1', kind: 'Event', namespace: 'default', name })
  later(61_000)
  recorder.record(note('again'))
  await recorder.idle()
  later(61_000)
  recorder.record(note('again'))
  await recorder.idle()
  expect(eventsOf(on)).toMatchObject([{ count: 3 }])
})

test('whoever does not lead says nothing, and nothing is said after the end', async () => {
  let leading = false
  const { on, recorder } = await world({ fence: { signal: new AbortController().signal, holds: () => leading } })
  recorder.record(note('as a follower'))
  await recorder.idle()
  expect(eventsOf(on)).toHaveLength(0)
  leading = true
  recorder.record(note('as a leader'))
  await until('the Event is there', () => eventsOf(on).length === 1)
})
