// A clock that is set is noticed, whichever way, and one that is merely slewed is not.

import { expect, test } from 'vitest'
import { watchClock } from '../../src/agent/clock-watch.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

test.each([
  ['forward by an hour', 3_600_000, [3600]],
  ['back by a minute', -60_000, [-60]],
  ['by what NTP slews', 900, []],
])('%s', (_what, stepMs, jumps) => {
  const clock = createVirtualClock(1_000_000)
  let wallMs = 0
  const seen: number[] = []
  const stop = new AbortController()
  const shifted = { ...clock, wallMs: () => clock.wallMs() + wallMs }
  watchClock(shifted, stop.signal, (seconds) => seen.push(seconds))
  clock.advance(20_000)
  wallMs = stepMs
  clock.advance(20_000)
  stop.abort()
  wallMs = 0
  clock.advance(20_000)
  expect(seen).toEqual(jumps)
})
