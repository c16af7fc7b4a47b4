// How long a replica that has just started keeps to itself that its sessions are not up.

import { expect, test } from 'vitest'
import { createStarting } from '../../src/controller/starting.ts'
import type { Plan } from '../../src/plan/types.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

type Sessions = Parameters<ReturnType<typeof createStarting>['leftMs']>[1]

const peers = [
  { name: 'leaf1' },
  { name: 'leaf2' },
  { name: 'off', shutdown: 'maintenance' },
] as unknown as Plan['peers']
const sessions = (...up: readonly string[]): Sessions =>
  new Map(['leaf1', 'leaf2', 'off'].map((name) => [name, { state: up.includes(name) ? 'Established' : 'Connect' }]))

test.each<[string, Sessions, number | undefined]>([
  ['no session is known', new Map(), 10_000],
  ['one of two is up', sessions('leaf1'), 10_000],
  ['all are up but the one that is meant to be down', sessions('leaf1', 'leaf2'), undefined],
])('it waits while %s', (_what, known, leftMs) => {
  expect(createStarting(createVirtualClock()).leftMs(peers, known)).toBe(leftMs)
})

test('it waits for ten seconds from the first plan on, and no longer', () => {
  const clock = createVirtualClock()
  const starting = createStarting(clock)
  clock.advance(60_000)
  expect(starting.leftMs(peers, sessions())).toBe(10_000)
  clock.advance(9_999)
  expect(starting.leftMs(peers, sessions())).toBe(1)
  clock.advance(1)
  expect(starting.leftMs(peers, sessions())).toBeUndefined()
})

test('a start that is over does not begin again when a session falls', () => {
  const starting = createStarting(createVirtualClock())
  expect(starting.leftMs(peers, sessions('leaf1', 'leaf2'))).toBeUndefined()
  expect(starting.leftMs(peers, sessions())).toBeUndefined()
})
