// A time in office: it ends by itself, is extended, and once ended stays so.

import { expect, test } from 'vitest'
import { startTerm } from '../../src/k8s/term.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

function elected(untilMs: number) {
  const clock = createVirtualClock()
  let expirations = 0
  const term = startTerm(clock, untilMs, () => {
    expirations++
    term.end('the time is up')
  })
  return { clock, term, expirations: () => expirations }
}

test('it holds until its time is up, and then its signal has fired', () => {
  const { clock, term, expirations } = elected(10_000)
  clock.advance(9_999)
  expect([term.fence.holds(), term.fence.signal.aborted, expirations()]).toEqual([true, false, 0])
  clock.advance(1)
  expect([term.fence.holds(), term.fence.signal.aborted, expirations()]).toEqual([false, true, 1])
  expect(term.fence.signal.reason).toEqual(new Error('the time is up'))
})

test('a renewal moves its end, whatever was said before', () => {
  const { clock, term, expirations } = elected(10_000)
  clock.advance(4_000)
  term.extend(14_000)
  clock.advance(9_999)
  expect([term.fence.holds(), expirations()]).toEqual([true, 0])
  clock.advance(1)
  expect([term.fence.holds(), expirations()]).toEqual([false, 1])
})

test('it does not hold in a process that was paused for longer, although no timer has fired yet', () => {
  let nowMs = 0
  const term = startTerm({ monotonicMs: () => nowMs, wallMs: () => nowMs, setTimer: () => () => {} }, 10_000, () => {})
  expect(term.fence.holds()).toBe(true)
  nowMs = 10_000
  expect(term.fence.holds()).toBe(false)
  expect(term.fence.signal.aborted).toBe(false)
})

test('a renewal that is answered after the end extends nothing, and leaves no timer behind', () => {
  const { clock, term, expirations } = elected(10_000)
  term.end('this process stops')
  term.extend(20_000)
  expect([term.fence.holds(), clock.nextTimerInMs(), expirations()]).toEqual([false, undefined, 0])
})
