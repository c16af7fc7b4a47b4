// Leader election and heartbeats against an API server, in real but short time.

import { afterEach, expect, test } from 'vitest'
import type { ElectionTiming } from '../../src/k8s/election.ts'
import type { Fence } from '../../src/k8s/fence.ts'
import { startHeartbeat } from '../../src/k8s/heartbeat.ts'
import { watchHeartbeats } from '../../src/k8s/heartbeat-watch.ts'
import { type LeaderElection, startLeaderElection } from '../../src/k8s/leader.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { startTestCluster, type TestCluster, until } from './support/api-server.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

async function cluster(): Promise<TestCluster> {
  const started = await startTestCluster()
  open.push(started.stop)
  return started
}

// Leases name whole seconds.
const quick: ElectionTiming = { leaseDurationMs: 1_000, renewDeadlineMs: 600, retryPeriodMs: 100 }
/** Who leads goes on leading, however slow the machine is. */
const patient: ElectionTiming = { leaseDurationMs: 60_000, renewDeadlineMs: 30_000, retryPeriodMs: 100 }

interface Candidate {
  readonly election: LeaderElection
  /** The fence of the latest term. */
  readonly fence: () => Fence | undefined
  readonly stop: () => Promise<void>
}

async function candidate(on: TestCluster, identity: string, timing = quick): Promise<Candidate> {
  const stop = new AbortController()
  let fence: Fence | undefined
  const election = startLeaderElection({
    client: await on.connect({ userAgent: identity }),
    namespace: 'default',
    name: 'bellhop-leader',
    identity,
    onElected: (won) => {
      fence = won
    },
    timing,
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    signal: stop.signal,
  })
  open.push(() => stop.abort())
  return {
    election,
    fence: () => fence,
    stop: async () => {
      stop.abort()
      await election.stopped
    },
  }
}

const leaseOf = (on: TestCluster, name = 'bellhop-leader') =>
  on.server.objects.get({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', namespace: 'default', name })

const holderOf = (on: TestCluster): unknown =>
  (leaseOf(on)?.['spec'] as { holderIdentity?: string } | undefined)?.holderIdentity

test('one of two leads; when it stops, its fence closes, the lease is given back and the other takes over', async () => {
  const on = await cluster()
  const a = await candidate(on, 'a', patient)
  await until('a leads', () => a.fence()?.holds() === true)
  const b = await candidate(on, 'b', patient)
  await until('b sees who leads', () => b.election.facts().holder === 'a')
  expect(b.election.facts().leading).toBe(false)
  const stopped = a.stop()
  expect(a.fence()?.holds()).toBe(false)
  expect(a.fence()?.signal.aborted).toBe(true)
  await stopped
  expect(['', 'b']).toContain(holderOf(on))
  await until('b leads', () => b.fence()?.holds() === true)
  expect(leaseOf(on)?.['spec']).toMatchObject({ holderIdentity: 'b', leaseTransitions: expect.any(Number) })
})

test('a leader that cannot reach the API server gives up before another takes over', async () => {
  const on = await cluster()
  const a = await candidate(on, 'a')
  await until('a leads', () => a.fence()?.holds() === true)
  const b = await candidate(on, 'b')
  let overlap = false
  on.server.faults.inject({ kind: 'hang' }, { matches: ({ userAgent }) => userAgent === 'a' })
  await until('b leads', () => {
    overlap ||= a.fence()?.holds() === true && b.fence()?.holds() === true
    return b.fence()?.holds() === true
  })
  expect(overlap).toBe(false)
  expect(a.fence()?.signal.aborted).toBe(true)
})

test('a leader whose lease was taken from it notices at its next renewal', async () => {
  const on = await cluster()
  const a = await candidate(on, 'a', patient)
  await until('a leads', () => a.fence()?.holds() === true)
  on.server.objects.update(
    { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', namespace: 'default', name: 'bellhop-leader' },
    (object) => ({ ...object, spec: { ...(object['spec'] as object), holderIdentity: 'usurper' } }),
  )
  await until('a noticed', () => a.fence()?.signal.aborted === true)
  expect(a.election.facts().holder).toBe('usurper')
})

test('a term that ended is followed by another one when the way is free again', async () => {
  const on = await cluster()
  const a = await candidate(on, 'a')
  await until('a leads', () => a.fence()?.holds() === true)
  const first = a.fence()
  on.server.faults.inject({ kind: 'status', code: 503 })
  await until('the first term ended', () => first?.signal.aborted === true)
  on.server.faults.clear()
  await until('a leads again', () => a.fence() !== first && a.fence()?.holds() === true)
  expect(first?.holds()).toBe(false)
})

// ----------------------------------------------------------------------------------------------------- heartbeats

test('a heartbeat creates its Lease with labels and annotations, renews it, and takes it along when it stops', async () => {
  const on = await cluster()
  const stop = new AbortController()
  open.push(() => stop.abort())
  let bfd = 'Up'
  const heartbeat = startHeartbeat({
    client: on.client,
    namespace: 'default',
    name: 'bellhop-agent-n1',
    identity: 'n1',
    labels: { 'bellhop.io/role': 'agent' },
    annotations: () => ({ 'bellhop.io/bfd': bfd }),
    renewSeconds: 0.05,
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    signal: stop.signal,
  })
  await until('the Lease exists', () => leaseOf(on, 'bellhop-agent-n1') !== undefined)
  expect(leaseOf(on, 'bellhop-agent-n1')).toMatchObject({
    metadata: { labels: { 'bellhop.io/role': 'agent' }, annotations: { 'bellhop.io/bfd': 'Up' } },
    spec: { holderIdentity: 'n1', leaseDurationSeconds: 40 },
  })
  bfd = 'Down'
  heartbeat.renew()
  await until(
    'the annotation follows',
    () =>
      (leaseOf(on, 'bellhop-agent-n1')?.['metadata'] as { annotations?: Record<string, string> } | undefined)
        ?.annotations?.['bellhop.io/bfd'] === 'Down',
  )
  stop.abort()
  await heartbeat.stopped
  expect(leaseOf(on, 'bellhop-agent-n1')).toBeUndefined()
})

test('the living are told from the silent by our own clock, whatever time theirs shows', async () => {
  const on = await cluster()
  const lease = (name: string, renewTime: string, zone = 'z') => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace: 'default', labels: { 'bellhop.io/role': 'agent' }, annotations: { zone } },
    spec: { holderIdentity: name, leaseDurationSeconds: 10, renewTime },
  })
  on.server.objects.put(lease('n1', '1999-01-01T00:00:00.000000Z'))
  on.server.objects.put(lease('n2', '2099-01-01T00:00:00.000000Z'))
  let aheadMs = 0
  const stop = new AbortController()
  open.push(() => stop.abort())
  const watch = watchHeartbeats({
    client: on.client,
    namespace: 'default',
    labelSelector: 'bellhop.io/role=agent',
    clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs },
    random: Math.random,
    log: silentLog,
    signal: stop.signal,
  })
  const alive = (): string =>
    [...watch.signs().values()]
      .filter((sign) => sign.alive)
      .map((sign) => sign.identity)
      .sort()
      .join()
  let told = 0
  watch.onChange(() => {
    told++
  })
  await until('both are known', () => alive() === 'n1,n2')
  aheadMs = 9_000
  on.server.objects.put(lease('n1', '1999-01-01T00:00:10.000000Z', 'y'))
  await until('the renewal came', () => told === 2)
  await until('n2 is silent', () => {
    aheadMs = 10_500
    return alive() === 'n1'
  })
  expect(told).toBe(2)
  on.server.objects.delete({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', namespace: 'default', name: 'n2' })
  await until('the removal was told', () => told === 3)
  expect(watch.signs().has('n2')).toBe(false)
})

test('who falls silent is told of, and who speaks again; only the silent are buried', async () => {
  const on = await cluster()
  const renewed = (renewTime: string) => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'r1', namespace: 'default', labels: { 'bellhop.io/role': 'controller' } },
    spec: { holderIdentity: 'r1', leaseDurationSeconds: 1, renewTime },
  })
  on.server.objects.put(renewed('2030-01-01T00:00:00.000000Z'))
  const clock = createVirtualClock()
  const stop = new AbortController()
  open.push(() => stop.abort())
  const watch = watchHeartbeats({
    client: on.client,
    namespace: 'default',
    labelSelector: 'bellhop.io/role=controller',
    clock,
    random: Math.random,
    log: silentLog,
    signal: stop.signal,
  })
  const told: (boolean | undefined)[] = []
  watch.onChange(() => told.push(watch.signs().get('r1')?.alive))
  await until('it is known', () => told.join() === 'true')
  clock.advance(1_000)
  expect(told).toEqual([true, false])
  on.server.objects.put(renewed('2030-01-01T00:00:02.000000Z'))
  await until('it spoke again', () => told.join() === 'true,false,true')
  await watch.bury('r1')
  expect(leaseOf(on, 'r1')).toBeDefined()
  clock.advance(1_000)
  expect(told).toEqual([true, false, true, false])
  await watch.bury('r1')
  expect(leaseOf(on, 'r1')).toBeUndefined()
  await until('that was told', () => told.length === 5)
  expect(watch.signs().size).toBe(0)
})
