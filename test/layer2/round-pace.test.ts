// When the next round begins: after its time, or because something was asked for.

import { beforeEach, expect, test } from 'vitest'
import { createRoundPace, type RoundPace } from '../../src/layer2/round-pace.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

let clock: VirtualClock
let ending: AbortController
let plugged: Set<string>
let pace: RoundPace

beforeEach(() => {
  clock = createVirtualClock()
  ending = new AbortController()
  plugged = new Set(['eth0', 'eth1'])
  pace = createRoundPace({ clock, signal: ending.signal, hasCarrier: (name) => plugged.has(name) })
})

/** Rests, and what happens meanwhile; for how long it rested. */
async function rested(meanwhile: () => void = () => {}): Promise<number> {
  const beganMs = clock.monotonicMs()
  let over = false
  const resting = pace.rest(3_000, ['eth0']).then(() => {
    over = true
  })
  clock.advance(1_000)
  meanwhile()
  for (let i = 0; i < 10; i++) await Promise.resolve()
  while (!over && (clock.nextTimerInMs() ?? 0) > 0) {
    clock.advance(clock.nextTimerInMs() ?? 0)
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }
  await resting
  return clock.monotonicMs() - beganMs
}

test('after its time', async () => {
  expect(await rested()).toBe(3_000)
})

test('at once when it is asked for, and once only', async () => {
  expect(await rested(() => pace.pull())).toBe(1_000)
  expect(await rested()).toBe(3_000)
})

test('at once when it was asked for during the round', async () => {
  pace.pull()
  pace.pull()
  await pace.rest(3_000, ['eth0'])
  expect(clock.nextTimerInMs()).toBe(undefined)
  expect(await rested()).toBe(3_000)
})

test('soon when the cable of a link that is watched goes or comes, and of no other', async () => {
  expect(await rested(() => plugged.delete('eth0'))).toBe(1_250)
  expect(await rested(() => plugged.add('eth0'))).toBe(1_250)
  expect(await rested(() => plugged.delete('eth1'))).toBe(3_000)
})

test('at once when the agent ends, and nothing is left behind', async () => {
  expect(await rested(() => ending.abort())).toBe(1_000)
  await pace.rest(3_000, ['eth0'])
  expect(clock.nextTimerInMs()).toBe(undefined)
})
