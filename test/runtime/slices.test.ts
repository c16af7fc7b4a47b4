// Long work in slices: all of it, in order, and with room for others in between.

import { describe, expect, test } from 'vitest'
import { createTurns, inSlices, runInSlices } from '../../src/runtime/slices.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'

const items = Array.from({ length: 95 }, (_, i) => i)
/** Time passes by more than a slice with each look at it. */
const slowClock = () => {
  let nowMs = 0
  return { ...systemClock, monotonicMs: () => (nowMs += 5) }
}

test('every item is worked on once and in order', async () => {
  const done: number[] = []
  await inSlices(items, { clock: systemClock, signal: new AbortController().signal }, (some) => void done.push(...some))
  expect(done).toEqual(items)
})

test('what comes in meanwhile has its turn before the end', async () => {
  let done = 0
  let doneThen = -1
  const work = inSlices(items, { clock: slowClock(), signal: new AbortController().signal }, (some) => {
    done += some.length
  })
  setImmediate(() => {
    doneThen = done
  })
  await work
  expect(done).toBe(items.length)
  expect(doneThen).toBeGreaterThan(0)
  expect(doneThen).toBeLessThan(items.length)
})

test('it ends between two slices when nobody wants the rest', async () => {
  const end = new AbortController()
  let done = 0
  await inSlices(items, { clock: slowClock(), signal: end.signal }, (some) => {
    done += some.length
    if (done >= 30) end.abort()
  })
  expect(done).toBe(30)
})

test('work that pauses by itself gives others their turn between its slices, and its result', async () => {
  let nowMs = 0
  const clock = { ...systemClock, monotonicMs: () => nowMs }
  function* counting(): Generator<undefined, number, undefined> {
    for (let i = 0; i < 100; i++) {
      nowMs += 0.2
      yield
    }
    return 100
  }
  let turns = 0
  let isDone = false
  const others = (): void => {
    turns++
    if (!isDone) setImmediate(others)
  }
  setImmediate(others)
  expect(await runInSlices(counting(), { clock, signal: new AbortController().signal })).toBe(100)
  isDone = true
  expect(turns).toBeGreaterThan(5)
  expect(await runInSlices(counting(), { clock, signal: AbortSignal.abort() })).toBe(100)
})

describe('turns', () => {
  const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  /** Of each turn that was begun, in order: how often it pauses. */
  const turnsOf = (...pauses: readonly number[]) => {
    const end = new AbortController()
    const done: string[] = []
    let begun = 0
    const turns = createTurns(
      function* () {
        const turn = begun++
        done.push(`begin ${turn}`)
        for (let i = 0; i < (pauses[turn] ?? 0); i++) yield
        done.push(`end ${turn}`)
      },
      { clock: { ...slowClock(), monotonicMs: slowBy(20) }, signal: end.signal },
    )
    return { turns, done, end }
  }
  const slowBy = (ms: number) => {
    let nowMs = 0
    return () => (nowMs += ms)
  }

  test('that do not pause are done at once', () => {
    const { turns, done } = turnsOf(0, 0)
    turns.pull()
    turns.pull()
    expect(done).toEqual(['begin 0', 'end 0', 'begin 1', 'end 1'])
  })

  test('that pause let others have the thread, and are followed by one for all that asked meanwhile', async () => {
    const { turns, done } = turnsOf(3, 2)
    turns.pull()
    expect(done).toEqual(['begin 0'])
    turns.pull()
    await nextTurn()
    turns.pull()
    await turns.settled()
    expect(done).toEqual(['begin 0', 'end 0', 'begin 1', 'end 1'])
  })

  test('do not go on after the signal, and nobody waits for them', async () => {
    const { turns, done, end } = turnsOf(1_000)
    turns.pull()
    turns.pull()
    end.abort()
    await turns.settled()
    expect(done).toEqual(['begin 0'])
  })

  test('nobody waits where nothing is under way', async () => {
    await turnsOf().turns.settled()
  })
})
