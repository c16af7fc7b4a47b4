// Leader election: decisions as a table, then candidates with clocks that drift, pause and lose messages, in simulated time:
// never two at once, and somebody soon after the leader is gone.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { KubeClient, KubeRequest } from '../../src/k8s/client.ts'
import {
  acquired,
  defaultElectionTiming,
  type ElectionState,
  electionAttempt,
  initialElection,
  leadsUntilMs,
  observeLease,
} from '../../src/k8s/election.ts'
import type { Fence } from '../../src/k8s/fence.ts'
import { asObject, type RawObject } from '../../src/k8s/json.ts'
import { type KubeError, localError } from '../../src/k8s/kube-error.ts'
import { startLeaderElection } from '../../src/k8s/leader.ts'
import type { Lease } from '../../src/k8s/lease.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { err, ok, type Result } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

// ------------------------------------------------------------------------------------------------------ decisions

const lease = (holder: string, renewal: string, durationSeconds = 15): Lease => ({
  name: 'leader',
  resourceVersion: `7${renewal}`,
  holder,
  durationSeconds,
  transitions: 3,
  annotations: {},
  renewal: `${holder}|${renewal}`,
})

const fresh = initialElection('a', defaultElectionTiming)

test.each<[string, ElectionState, number, unknown]>([
  ['no lease: create it', observeLease(fresh, undefined, 0), 0, { type: 'create' }],
  ['held by another: wait', observeLease(fresh, lease('b', '1'), 0), 14_999, { type: 'wait' }],
  [
    'not renewed for the duration its holder named: take it',
    observeLease(fresh, lease('b', '1'), 0),
    15_000,
    { type: 'acquire', resourceVersion: '71', transitions: 4, takeover: true },
  ],
  [
    'renewed in the meantime: the wait begins anew when the renewal is seen',
    observeLease(observeLease(fresh, lease('b', '1'), 0), lease('b', '2'), 10_000),
    24_999,
    { type: 'wait' },
  ],
  [
    'seen again without a renewal: the wait goes on',
    observeLease(observeLease(fresh, lease('b', '1'), 0), lease('b', '1'), 10_000),
    15_000,
    { type: 'acquire', resourceVersion: '71', transitions: 4, takeover: true },
  ],
  [
    'given back: take it at once',
    observeLease(fresh, lease('', '1', 1), 0),
    0,
    { type: 'acquire', resourceVersion: '71', transitions: 4, takeover: true },
  ],
  [
    'our own: renew it, no transition',
    observeLease(fresh, lease('a', '1'), 0),
    0,
    { type: 'acquire', resourceVersion: '71', transitions: 3, takeover: false },
  ],
  [
    'a holder that names a longer duration is waited for',
    observeLease(fresh, lease('b', '1', 60), 0),
    59_999,
    { type: 'wait' },
  ],
])('%s', (_what, state, nowMs, attempt) => {
  expect(electionAttempt(state, nowMs)).toEqual(attempt)
})

test('a leader counts from before it asked', () => {
  const state = acquired(fresh, lease('a', '1'), 1_000, 4_000)
  expect(leadsUntilMs(state)).toBe(11_000)
})

test('whoever sees another in the lease leads no more', () => {
  const state = observeLease(acquired(fresh, lease('a', '1'), 0, 0), lease('b', '2'), 1_000)
  expect(leadsUntilMs(state)).toBeUndefined()
})

test('timing that could elect two is refused', () => {
  expect(() => initialElection('a', { leaseDurationMs: 10, renewDeadlineMs: 10, retryPeriodMs: 1 })).toThrow()
})

// ----------------------------------------------------------------------------------------------------- simulation

interface SimulatedServer {
  readonly clientOf: (candidate: number) => KubeClient
  readonly holder: () => string
}

type Trouble = (candidate: number, nowMs: number) => 'none' | 'lost-request' | 'lost-answer' | 'slow'

/** One Lease, versions, preconditions; every message takes time of the one true clock and may be lost. */
function simulatedServer(clock: VirtualClock, random: () => number, trouble: Trouble): SimulatedServer {
  let stored: { readonly version: number; readonly spec: RawObject } | undefined
  let version = 0
  const answer = (): RawObject => ({
    kind: 'Lease',
    metadata: { name: 'leader', resourceVersion: String(stored?.version ?? 0) },
    spec: stored?.spec ?? {},
  })
  const refuse = (status: number, reason: string): Result<RawObject, KubeError> =>
    err({ status, reason, message: reason })

  const serve = (request: KubeRequest): Result<RawObject, KubeError> => {
    const body = asObject(request.body)
    if (request.method === 'GET') return stored === undefined ? refuse(404, 'NotFound') : ok(answer())
    if (request.method === 'POST') {
      if (stored !== undefined) return refuse(409, 'AlreadyExists')
      stored = { version: ++version, spec: asObject(body?.['spec']) ?? {} }
      return ok(answer())
    }
    if (stored === undefined) return refuse(404, 'NotFound')
    if (asObject(body?.['metadata'])?.['resourceVersion'] !== String(stored.version)) return refuse(409, 'Conflict')
    stored = { version: ++version, spec: { ...stored.spec, ...asObject(body?.['spec']) } }
    return ok(answer())
  }

  const clientOf = (candidate: number): KubeClient => ({
    server: 'simulated',
    onReturn: () => {},
    close: () => {},
    stream: () => Promise.resolve(err(localError('Unreachable', 'no streams here'))),
    request: (request) =>
      new Promise((resolve) => {
        let over = false
        const finish = (result: Result<RawObject, KubeError>): void => {
          if (over) return
          over = true
          cancelTimeout()
          resolve(result)
        }
        const cancelTimeout = clock.setTimer(request.timeoutMs ?? 30_000, () =>
          finish(err(localError('Timeout', 'lost'))),
        )
        const kind = trouble(candidate, clock.monotonicMs())
        const latency = (): number => random() * (kind === 'slow' ? 6_000 : 50)
        if (kind === 'lost-request') return
        clock.setTimer(latency(), () => {
          const result = serve(request)
          if (kind !== 'lost-answer') clock.setTimer(latency(), () => finish(result))
        })
      }),
  })
  return { clientOf, holder: () => String(stored?.spec['holderIdentity'] ?? '') }
}

/** A clock that runs at its own rate, and under which nothing happens while its owner is paused. */
function ownClock(world: VirtualClock, rate: number, pausedUntilMs: () => number): Clock {
  const fireWhenAwake = (fire: () => void): void => {
    const wait = pausedUntilMs() - world.monotonicMs()
    if (wait > 0) world.setTimer(wait, () => fireWhenAwake(fire))
    else fire()
  }
  return {
    monotonicMs: () => world.monotonicMs() * rate,
    // Wall clocks are years apart and of no interest.
    wallMs: () => world.wallMs() * rate + rate * 1e11,
    setTimer: (delayMs, fire) => world.setTimer(delayMs / rate, () => fireWhenAwake(fire)),
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

interface Scenario {
  readonly rates: readonly number[]
  /** Who is paused, from when, for how long, in milliseconds. */
  readonly pauses: readonly { readonly candidate: number; readonly atMs: number; readonly forMs: number }[]
  readonly troubles: readonly {
    readonly candidate: number
    readonly atMs: number
    readonly forMs: number
    readonly kind: Exclude<ReturnType<Trouble>, 'none'>
  }[]
  /**
   * Who takes whom for dead, `of` absent: whoever leads; and after how long that one notices that something is wrong, absent = never.
   */
  readonly suspicions?: readonly {
    readonly candidate: number
    readonly of?: number
    readonly atMs: number
    readonly noticedAfterMs?: number
  }[]
  readonly seed: number
}

interface Outcome {
  /** Who believed to lead, at each step of 100 ms. */
  readonly leaders: readonly (readonly number[])[]
  /** Whose the lease is at the server, at the same moments. */
  readonly holders: readonly number[]
}

async function play(scenario: Scenario, totalMs: number): Promise<Outcome> {
  const world = createVirtualClock()
  let seed = scenario.seed + 1
  const random = (): number => {
    seed = (seed * 48_271) % 0x7fff_ffff
    return seed / 0x7fff_ffff
  }
  const during = <T extends { readonly candidate: number; readonly atMs: number; readonly forMs: number }>(
    list: readonly T[],
    candidate: number,
    nowMs: number,
  ): T | undefined =>
    list.find((one) => one.candidate === candidate && one.atMs <= nowMs && nowMs < one.atMs + one.forMs)
  const server = simulatedServer(
    world,
    random,
    (candidate, nowMs) => during(scenario.troubles, candidate, nowMs)?.kind ?? 'none',
  )
  const stop = new AbortController()
  const fences = scenario.rates.map((): Fence | undefined => undefined)
  const elections = scenario.rates.map((rate, candidate) => {
    const clock = ownClock(world, rate, () => {
      const pause = during(scenario.pauses, candidate, world.monotonicMs())
      return pause === undefined ? 0 : pause.atMs + pause.forMs
    })
    return startLeaderElection({
      client: server.clientOf(candidate),
      namespace: 'bellhop',
      name: 'leader',
      identity: `c${candidate}`,
      onElected: (fence) => {
        fences[candidate] = fence
      },
      clock,
      random,
      log: silentLog,
      signal: stop.signal,
    })
  })
  for (const { candidate, of, atMs, noticedAfterMs } of scenario.suspicions ?? []) {
    world.setTimer(atMs, () =>
      elections[candidate]?.succeed({
        concerns: (holder) => of === undefined || holder === `c${of}`,
        stands: () => true,
        answers: async () => false,
      }),
    )
    if (noticedAfterMs !== undefined)
      world.setTimer(atMs + noticedAfterMs, () => {
        for (const election of elections) election.renew()
      })
  }
  const leaders: number[][] = []
  const holders: number[] = []
  for (let atMs = 0; atMs < totalMs; atMs += 100) {
    world.advance(100)
    await settle()
    // A paused process cannot act; what counts is what it believes when it could.
    leaders.push(
      fences.flatMap((fence, candidate) =>
        fence?.holds() === true && during(scenario.pauses, candidate, world.monotonicMs()) === undefined
          ? [candidate]
          : [],
      ),
    )
    holders.push(Number(server.holder().slice(1)))
  }
  stop.abort()
  for (let i = 0; i < 100; i++) {
    world.advance(100)
    await settle()
  }
  await Promise.all(elections.map((election) => election.stopped))
  return { leaders, holders }
}

const candidates = 3
// 15 s against 10 s leaves room for clocks that run up to a fifth apart.
const rate = fc.double({ min: 0.92, max: 1.08, noNaN: true })
const span = { candidate: fc.nat(candidates - 1), atMs: fc.nat(80_000), forMs: fc.integer({ min: 100, max: 40_000 }) }
const scenario: fc.Arbitrary<Scenario> = fc.record({
  rates: fc.array(rate, { minLength: candidates, maxLength: candidates }),
  pauses: fc.array(fc.record(span), { maxLength: 4 }),
  troubles: fc.array(
    fc.record({ ...span, kind: fc.constantFrom('lost-request' as const, 'lost-answer' as const, 'slow' as const) }),
    { maxLength: 6 },
  ),
  seed: fc.nat(1_000_000),
})

test('never do two lead at once, under pauses, drift, delays and losses', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async (one) => {
      const { leaders } = await play(one, 120_000)
      expect(leaders.filter((at) => at.length > 1)).toEqual([])
    }),
    { numRuns: 300 },
  )
})

test('without trouble one leads, and keeps leading', async () => {
  const { leaders } = await play({ rates: [1, 1.05, 0.95], pauses: [], troubles: [], seed: 7 }, 60_000)
  const settled = leaders.slice(50)
  expect(new Set(settled.map((at) => at.join())).size).toBe(1)
  expect(settled[0]).toHaveLength(1)
})

test('a paused leader is replaced within the lease duration and a retry, and wakes up as a follower', async () => {
  const quiet = await play({ rates: [1, 1, 1], pauses: [], troubles: [], seed: 7 }, 10_000)
  const first = quiet.leaders.at(-1)?.[0] ?? -1
  const { leaders } = await play(
    { rates: [1, 1, 1], pauses: [{ candidate: first, atMs: 10_000, forMs: 30_000 }], troubles: [], seed: 7 },
    60_000,
  )
  const replacedAt = leaders.findIndex((at, i) => i >= 100 && at.length === 1 && at[0] !== first)
  expect(replacedAt * 100).toBeGreaterThan(10_000 + 10_000)
  expect(replacedAt * 100).toBeLessThan(10_000 + 15_000 + 2 * 3_500)
  expect(leaders.slice(replacedAt).some((at) => at.includes(first))).toBe(false)
})

// ----------------------------------------------------------------------------------------------------- succession

const suspicions = fc.array(fc.record({ candidate: fc.nat(candidates - 1), atMs: fc.nat(80_000) }), { maxLength: 8 })

/** For how many moments in a row somebody led whose lease it was not. */
const longestUsurped = ({ leaders, holders }: Outcome): number => {
  let longest = 0
  for (let candidate = 0, run = 0; candidate < candidates; candidate++, run = 0)
    for (const [i, at] of leaders.entries()) {
      run = at.includes(candidate) && holders[i] !== candidate ? run + 1 : 0
      longest = Math.max(longest, run)
    }
  return longest
}

test('whoever is taken for dead and is not leads no longer than to its next renewal', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(rate, { minLength: 3, maxLength: 3 }), suspicions, fc.nat(1_000_000), async (...one) => {
      const [rates, suspected, seed] = one
      const outcome = await play({ rates, pauses: [], troubles: [], suspicions: suspected, seed }, 100_000)
      // A renewal every two seconds by its own clock, and two messages.
      expect(longestUsurped(outcome)).toBeLessThanOrEqual(24)
      expect(outcome.leaders.at(-1)).toEqual([outcome.holders.at(-1)])
    }),
    { numRuns: 100 },
  )
})

test('under all troubles at once nobody leads beyond its renew deadline without holding the lease', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, suspicions, async (one, suspected) => {
      const outcome = await play({ ...one, suspicions: suspected }, 120_000)
      expect(longestUsurped(outcome)).toBeLessThanOrEqual(10_000 / 0.92 / 100 + 1)
    }),
    { numRuns: 200 },
  )
})

test.each([-1_400, -300, 0, 100, 300])(
  'a leader that notices after %i ms that it is taken for dead stays',
  async (noticedAfterMs) => {
    for (let seed = 0; seed < 20; seed++) {
      const quiet = { rates: [1, 1.05, 0.95], pauses: [], troubles: [], seed }
      const first = (await play(quiet, 20_000)).holders.at(-1) ?? -1
      const rivals = [0, 1, 2].filter((candidate) => candidate !== first)
      const suspected = rivals.map((candidate) => ({ candidate, atMs: 20_000 + seed * 137, noticedAfterMs }))
      const { holders } = await play({ ...quiet, suspicions: suspected }, 40_000)
      expect({ seed, holders: new Set(holders.slice(200)) }).toEqual({ seed, holders: new Set([first]) })
    }
  },
)

test('a leader that is dead is succeeded within a second', async () => {
  const quiet = { rates: [1, 1, 1], pauses: [], troubles: [], seed: 7 }
  const first = (await play(quiet, 20_000)).holders.at(-1) ?? -1
  const rivals = [0, 1, 2].filter((candidate) => candidate !== first)
  const { leaders } = await play(
    {
      ...quiet,
      pauses: [{ candidate: first, atMs: 20_000, forMs: 90_000 }],
      suspicions: rivals.map((candidate) => ({ candidate, atMs: 20_900 })),
    },
    40_000,
  )
  const succeeded = leaders.findIndex((at, i) => i >= 200 && at.length === 1)
  expect(succeeded * 100).toBeLessThanOrEqual(21_800)
  expect(leaders.slice(succeeded).every((at) => at.length === 1)).toBe(true)
})

test.each(['the leader first', 'the leader last'])(
  'of candidates that die at once the leader is succeeded, too: %s',
  async (order) => {
    const quiet = { rates: [1, 1, 1], pauses: [], troubles: [], seed: 7 }
    const first = (await play(quiet, 20_000)).holders.at(-1) ?? -1
    const [left = -1, other = -1] = [0, 1, 2].filter((candidate) => candidate !== first)
    const dead = order === 'the leader first' ? [first, other] : [other, first]
    const { leaders } = await play(
      {
        ...quiet,
        pauses: dead.map((candidate) => ({ candidate, atMs: 20_000, forMs: 90_000 })),
        suspicions: dead.map((of) => ({ candidate: left, of, atMs: 20_900 })),
      },
      40_000,
    )
    const succeeded = leaders.findIndex((at, i) => i >= 200 && at.length === 1)
    expect(leaders[succeeded]).toEqual([left])
    expect(succeeded * 100).toBeLessThanOrEqual(21_800)
  },
)
