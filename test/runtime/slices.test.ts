// Long work in slices: all of it, in order, and with room for others in between.

import { expect, test } from 'vitest'
import { inSlices, runInSlices } from '../../src/runtime/slices.ts'
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
