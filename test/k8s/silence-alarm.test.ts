// Who falls silent is told of at his moment, whoever else is heard meanwhile; one timer serves all.

import { expect, test } from 'vitest'
import { createSilenceAlarm } from '../../src/k8s/silence-alarm.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

function world() {
  const clock = createVirtualClock()
  const stop = new AbortController()
  const silentAt = new Map<string, number>()
  const toldMs: number[] = []
  const alarm = createSilenceAlarm({
    silentAtMs: () => silentAt.values(),
    onSilence: () => void toldMs.push(clock.monotonicMs()),
    clock,
    signal: stop.signal,
  })
  /** Heard now, and silent so long after. */
  const hear = (name: string, durationMs: number): void => {
    const atMs = clock.monotonicMs() + durationMs
    silentAt.set(name, atMs)
    alarm.heard(atMs)
  }
  return { clock, stop, silentAt, toldMs, alarm, hear }
}

test('each silence is told of once, at its moment', () => {
  const { clock, hear, toldMs } = world()
  hear('n1', 40_000)
  hear('n2', 50_000)
  clock.advance(120_000)
  expect(toldMs).toEqual([40_000, 50_000])
  expect(clock.nextTimerInMs()).toBeUndefined()
})

test('who is heard again in time is not told of', () => {
  const { clock, hear, toldMs } = world()
  hear('n1', 40_000)
  for (let renewals = 0; renewals < 10; renewals++) {
    clock.advance(10_000)
    hear('n1', 40_000)
  }
  expect(toldMs).toEqual([])
  clock.advance(40_000)
  expect(toldMs).toEqual([140_000])
})

// An agent that answers on the link promises seconds, the others forty: it came after the timer was set for one of them.
test('who promised less than all others, and came later, is told of at his moment', () => {
  const { clock, hear, toldMs } = world()
  hear('n1', 40_000)
  clock.advance(5_000)
  hear('n2', 3_000)
  clock.advance(3_000)
  expect(toldMs).toEqual([8_000])
  clock.advance(32_000)
  expect(toldMs).toEqual([8_000, 40_000])
})

test('after a new list the timer is for those that are in it', () => {
  const { clock, silentAt, alarm, hear, toldMs } = world()
  hear('n1', 10_000)
  silentAt.clear()
  silentAt.set('n2', 20_000)
  alarm.reset()
  expect(clock.nextTimerInMs()).toBe(20_000)
  clock.advance(20_000)
  expect(toldMs).toEqual([20_000])
})

test('who is gone by the time that he would be silent is not told of', () => {
  const { clock, silentAt, hear, toldMs } = world()
  hear('n1', 10_000)
  silentAt.delete('n1')
  clock.advance(10_000)
  expect(toldMs).toEqual([])
})

test('the end leaves no timer behind, and sets none', () => {
  const { clock, stop, hear } = world()
  hear('n1', 10_000)
  stop.abort()
  hear('n2', 1_000)
  expect(clock.nextTimerInMs()).toBeUndefined()
})
