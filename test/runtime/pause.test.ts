// Waiting ends by time or by the signal, and leaves nothing behind either way.

import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { pause } from '../../src/runtime/pause.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

test.each<[string, (world: { readonly advance: () => void; readonly abort: () => void }) => void, boolean]>([
  ['the time has passed', ({ advance }) => advance(), true],
  ['the signal fires', ({ abort }) => abort(), false],
  ['the time has passed, and then the signal fires', ({ advance, abort }) => [advance(), abort()], true],
])('it ends when %s', async (_what, happens, outcome) => {
  const clock = createVirtualClock()
  const stop = new AbortController()
  const paused = pause(clock, 1_000, stop.signal)
  happens({ advance: () => clock.advance(1_000), abort: () => stop.abort() })
  expect(await paused).toBe(outcome)
  expect([clock.nextTimerInMs(), getEventListeners(stop.signal, 'abort')]).toEqual([undefined, []])
})

test('it does not begin after the signal has fired', async () => {
  const clock = createVirtualClock()
  expect(await pause(clock, 1_000, AbortSignal.abort())).toBe(false)
  expect(clock.nextTimerInMs()).toBeUndefined()
})

test('without a signal time ends it', async () => {
  const clock = createVirtualClock()
  const paused = pause(clock, 1_000)
  clock.advance(1_000)
  expect(await paused).toBe(true)
})
