// The status writer in simulated time: only differences are written, the latest value wins, and neither a flapping value nor ten
// thousand of them become a flood.

import { describe, expect, test } from 'vitest'
import type { RawObject } from '../../src/k8s/json.ts'
import type { KubeError } from '../../src/k8s/kube-error.ts'
import type { StatusApply } from '../../src/k8s/status-applier.ts'
import { digestMatches, digestOf, statusMatches } from '../../src/k8s/status-match.ts'
import type { ObservedStatus } from '../../src/k8s/status-opinion.ts'
import { createStatusWriter, type DesiredStatus, type StatusWriter, statusKey } from '../../src/k8s/status-writer.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { err, ok, type Result } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

interface World {
  readonly clock: VirtualClock
  readonly writer: StatusWriter
  readonly written: StatusApply[]
  /** What the cluster says, by name; absent objects are `absent`. */
  readonly cluster: Map<string, ObservedStatus>
  /** Answers other than success, used up one by one. */
  readonly failures: KubeError[]
  readonly submit: (...desired: readonly DesiredStatus[]) => void
  readonly advance: (ms: number) => Promise<void>
  readonly stop: () => void
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}

function world(options: { readonly prune?: string } = {}): World {
  const clock = createVirtualClock(1_000_000_000_000)
  const stop = new AbortController()
  const cluster = new Map<string, ObservedStatus>()
  const written: StatusApply[] = []
  const failures: KubeError[] = []
  let version = 100
  const write = (apply: StatusApply): Promise<Result<RawObject, KubeError>> => {
    const failure = failures.shift()
    if (failure !== undefined) return Promise.resolve(err(failure))
    written.push(apply)
    const status = Object.fromEntries(Object.entries(apply.status).filter(([key]) => key !== options.prune))
    const resourceVersion = String(++version)
    cluster.set(apply.name, { resourceVersion, status })
    return Promise.resolve(ok({ metadata: { name: apply.name, resourceVersion }, status }))
  }
  const writer = createStatusWriter({
    write,
    observed: (_kind, name) => cluster.get(name) ?? 'absent',
    clock,
    random: () => 1,
    log: silentLog,
    signal: stop.signal,
  })
  return {
    clock,
    writer,
    written,
    cluster,
    failures,
    submit: (...desired) => writer.submit(new Map(desired.map((one) => [statusKey(one), one]))),
    advance: async (ms) => {
      for (let passed = 0; passed < ms; passed += 50) {
        clock.advance(50)
        await settle()
      }
    },
    stop: () => stop.abort(),
  }
}

const want = (name: string, status: RawObject): DesiredStatus => ({
  kind: 'Vip',
  name,
  status,
  fieldManager: 'bellhop-leader',
})
const empty: ObservedStatus = { resourceVersion: '1', status: {} }

test('a difference is written at once, and once', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  submit(want('v', { announcedTo: ['leaf1'] }))
  await advance(50)
  submit(want('v', { announcedTo: ['leaf1'] }))
  await advance(60_000)
  expect(written.map(({ status }) => status)).toEqual([{ announcedTo: ['leaf1'] }])
})

test('what the cluster says already is not written again, as after a restart', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', {
    resourceVersion: '5',
    status: {
      announcedTo: ['leaf1'],
      conditions: [
        { type: 'Announced', status: 'True', reason: 'R', message: '', lastTransitionTime: '2020-01-01T00:00:00Z' },
      ],
    },
  })
  submit(
    want('v', {
      announcedTo: ['leaf1'],
      conditions: [{ type: 'Announced', status: 'True', reason: 'R', message: '' }],
    }),
  )
  await advance(1_000)
  expect(written).toEqual([])
})

test('a condition keeps its transition time until its status changes', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  const announced = (status: 'True' | 'False', reason: string): DesiredStatus =>
    want('v', { conditions: [{ type: 'Announced', status, reason, message: '' }] })
  submit(announced('True', 'First'))
  await advance(10_000)
  submit(announced('True', 'Second'))
  await advance(10_000)
  submit(announced('False', 'Third'))
  await advance(60_000)
  const times = written.map(
    ({ status }) => (status['conditions'] as { lastTransitionTime: string }[])[0]?.lastTransitionTime,
  )
  expect(times).toHaveLength(3)
  expect(times[1]).toBe(times[0])
  expect(Date.parse(times[2] ?? '')).toBeGreaterThanOrEqual(Date.parse(times[0] ?? '') + 20_000)
})

test('a value that flaps ten times a second for a minute costs a handful of writes, and the last one is right', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  for (let i = 0; i < 600; i++) {
    submit(want('v', { flips: i }))
    await advance(100)
  }
  expect(written.length).toBeLessThan(10)
  await advance(60_000)
  expect(written.at(-1)?.status).toEqual({ flips: 599 })
})

test('a value that came back before its turn is not written at all', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  submit(want('v', { state: 'a' }))
  await advance(50)
  submit(want('v', { state: 'b' }))
  submit(want('v', { state: 'a' }))
  await advance(60_000)
  expect(written.map(({ status }) => status)).toEqual([{ state: 'a' }])
})

test('after a quiet time a change is written at once again', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  for (let i = 0; i < 100; i++) {
    submit(want('v', { flips: i }))
    await advance(100)
  }
  await advance(120_000)
  const before = written.length
  submit(want('v', { flips: 'quiet' }))
  await advance(50)
  expect(written).toHaveLength(before + 1)
})

test('a thousand differences go out at the rate allowed, and all of them in the end', async () => {
  const { submit, written, cluster, advance, writer } = world()
  const names = Array.from({ length: 1_000 }, (_, i) => `v${i}`)
  for (const name of names) cluster.set(name, empty)
  submit(...names.map((name) => want(name, { state: name })))
  await advance(1_000)
  expect(written.length).toBeGreaterThanOrEqual(100)
  expect(written.length).toBeLessThanOrEqual(100 + 51)
  await advance(18_000)
  expect(new Set(written.map(({ name }) => name)).size).toBe(1_000)
  await writer.idle()
  expect(writer.facts()).toMatchObject({ pending: 0, writes: 1_000 })
})

test('a failed write is repeated with a growing delay, and holds up no other object', async () => {
  const { submit, written, cluster, advance, failures, writer } = world()
  cluster.set('bad', empty)
  cluster.set('good', empty)
  const broken: KubeError = { status: 500, reason: 'InternalError', message: '' }
  failures.push(broken, broken, broken)
  submit(want('bad', { x: 1 }))
  await advance(50)
  submit(want('bad', { x: 1 }), want('good', { x: 1 }))
  await advance(900)
  // The second failure belongs to `good`, which shares nothing with `bad` but the server.
  expect(writer.facts()).toMatchObject({ failures: 2, lastError: { status: 500 } })
  await advance(10_000)
  expect(written.map(({ name }) => name).sort()).toEqual(['bad', 'good'])
})

test('Retry-After is honoured', async () => {
  const { submit, written, cluster, advance, failures } = world()
  cluster.set('v', empty)
  failures.push({ status: 429, reason: 'TooManyRequests', message: '', retryAfterSeconds: 20 })
  submit(want('v', { x: 1 }))
  await advance(19_000)
  expect(written).toEqual([])
  await advance(2_000)
  expect(written).toHaveLength(1)
})

test('an object that does not exist is not written to, until it does', async () => {
  const { submit, written, cluster, advance } = world()
  submit(want('v', { x: 1 }))
  await advance(1_000)
  expect(written).toEqual([])
  cluster.set('v', empty)
  submit(want('v', { x: 1 }))
  await advance(1_000)
  expect(written).toHaveLength(1)
})

test('what is not submitted any more is taken out of the object once', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  submit(want('v', { x: 1 }))
  await advance(10_000)
  submit()
  await advance(10_000)
  submit()
  await advance(10_000)
  expect(written.map(({ status }) => status)).toEqual([{ x: 1 }, {}])
})

test('a status that somebody else overwrote is put right', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  const desired = want('v', { x: 1 })
  submit(desired)
  await advance(5_000)
  cluster.set('v', { resourceVersion: '500', status: { x: 2 } })
  submit(desired)
  await advance(5_000)
  expect(written.map(({ status }) => status)).toEqual([{ x: 1 }, { x: 1 }])
})

test('our own write that the view has not seen yet is no difference', async () => {
  const { submit, written, cluster, advance } = world()
  cluster.set('v', empty)
  const desired = want('v', { x: 1 })
  submit(desired)
  await advance(5_000)
  cluster.set('v', { resourceVersion: '1', status: {} })
  submit(desired)
  await advance(5_000)
  expect(written).toHaveLength(1)
})

test('a field that the installed CRD does not know is not fought over', async () => {
  const { submit, written, cluster, advance } = world({ prune: 'novel' })
  cluster.set('v', empty)
  const desired = want('v', { x: 1, novel: true })
  submit(desired)
  await advance(5_000)
  cluster.set('v', { resourceVersion: '500', status: { x: 1 } })
  submit(desired)
  await advance(120_000)
  expect(written).toHaveLength(1)
})

describe('one of many, of which only what changed is told', () => {
  const digest = (resourceVersion: string, status: RawObject): ObservedStatus => ({
    resourceVersion,
    digest: digestOf(status),
  })

  test('is not written when it says so already', async () => {
    const { writer, written, cluster, advance } = world()
    cluster.set('v', digest('5', { x: 1 }))
    writer.offer([want('v', { x: 1 })])
    await advance(1_000)
    expect(written).toEqual([])
  })

  test('is written when it differs, and the others stay as they are', async () => {
    const { writer, written, cluster, advance } = world()
    cluster.set('a', digest('5', { x: 0 }))
    cluster.set('b', digest('5', { x: 1 }))
    writer.offer([want('a', { x: 1 })])
    await advance(100)
    writer.offer([want('b', { x: 2 })])
    await advance(60_000)
    expect(written.map(({ name, status }) => [name, status])).toEqual([
      ['a', { x: 1 }],
      ['b', { x: 2 }],
    ])
  })

  test('may flap ten times a second for a minute', async () => {
    const { writer, written, cluster, advance } = world()
    cluster.set('v', digest('5', {}))
    for (let i = 0; i < 600; i++) {
      writer.offer([want('v', { flips: i })])
      await advance(100)
    }
    expect(written.length).toBeLessThan(10)
    await advance(60_000)
    expect(written.at(-1)?.status).toEqual({ flips: 599 })
  })

  test('is put right when somebody else overwrote it, soon or long after', async () => {
    const { writer, written, cluster, advance } = world()
    const desired = want('v', { x: 1 })
    cluster.set('v', digest('5', {}))
    writer.offer([desired])
    for (const [quietMs, version] of [
      [500, '600'],
      [3_600_000, '700'],
    ] as const) {
      await advance(quietMs)
      cluster.set('v', digest(version, { x: 'theirs' }))
      writer.offer([desired])
      await advance(60_000)
    }
    expect(written.map(({ status }) => status)).toEqual([{ x: 1 }, { x: 1 }, { x: 1 }])
  })

  test('keeps the transition time that the object shows', async () => {
    const { writer, written, cluster, advance } = world()
    const announced = { type: 'Announced', status: 'True', reason: 'R', message: '' }
    const since = '2020-01-01T00:00:00Z'
    cluster.set('v', digest('5', { conditions: [{ ...announced, lastTransitionTime: since }] }))
    writer.offer([want('v', { conditions: [{ ...announced, message: 'another' }] })])
    await advance(1_000)
    expect(written.map(({ status }) => status['conditions'])).toEqual([
      [{ ...announced, message: 'another', lastTransitionTime: since }],
    ])
  })

  test('is not fought over when the installed CRD does not know a field', async () => {
    const { writer, written, cluster, advance } = world({ prune: 'novel' })
    cluster.set('v', digest('5', {}))
    for (let i = 0; i < 3; i++) {
      writer.offer([want('v', { x: 1, novel: true })])
      await advance(120_000)
    }
    expect(written).toHaveLength(1)
  })

  test('is nothing to write to once it is gone', async () => {
    const { writer, written, cluster, advance, failures } = world()
    cluster.set('v', digest('5', {}))
    failures.push({ status: 500, reason: 'InternalError', message: '' })
    writer.offer([want('v', { x: 1 })])
    await advance(50)
    writer.forget(statusKey(want('v', {})))
    await advance(60_000)
    expect(written).toEqual([])
    expect(writer.facts().pending).toBe(0)
  })
})

test('nothing is written after the end', async () => {
  const { submit, written, cluster, advance, stop } = world()
  cluster.set('v', empty)
  stop()
  submit(want('v', { x: 1 }))
  await advance(1_000)
  expect(written).toEqual([])
})

// Kind, what a manager wants, what the object says, and whether there is nothing to do.
test.each<[string, 'Vip' | 'BgpPeer', RawObject, RawObject, boolean]>([
  ['equal values', 'Vip', { a: [1, { b: 2 }] }, { a: [1, { b: 2 }] }, true],
  ['a field too many', 'Vip', { a: 1 }, { a: 1, message: 'old' }, false],
  ['a field missing', 'Vip', { a: 1, b: 2 }, { a: 1 }, false],
  ['an undefined field', 'Vip', { a: 1, b: undefined }, { a: 1 }, true],
  [
    'conditions in another order',
    'Vip',
    {
      conditions: [
        { type: 'A', status: 'True' },
        { type: 'B', status: 'True' },
      ],
    },
    {
      conditions: [
        { type: 'B', status: 'True' },
        { type: 'A', status: 'True' },
      ],
    },
    true,
  ],
  [
    "the leader does not mind the replicas' sessions",
    'BgpPeer',
    { state: 'Established' },
    { state: 'Established', sessions: [{ speaker: 'a', state: 'Idle' }] },
    true,
  ],
  [
    'a replica minds only its own session',
    'BgpPeer',
    { sessions: [{ speaker: 'a', state: 'Idle' }] },
    {
      state: 'Down',
      sessions: [
        { speaker: 'b', state: 'Idle' },
        { speaker: 'a', state: 'Idle' },
      ],
    },
    true,
  ],
  [
    'a replica whose session says something else',
    'BgpPeer',
    { sessions: [{ speaker: 'a', state: 'Idle' }] },
    { sessions: [{ speaker: 'a', state: 'Idle', lastError: 'old' }] },
    false,
  ],
  ['a replica without an entry', 'BgpPeer', { sessions: [{ speaker: 'a', state: 'Idle' }] }, {}, false],
])('%s', (_what, kind, desired, observed, matches) => {
  expect(statusMatches(kind, desired, observed)).toBe(matches)
  // Of a Vip there is only the digest to compare with.
  if (kind === 'Vip') expect(digestMatches(desired, digestOf(observed))).toBe(matches)
})
