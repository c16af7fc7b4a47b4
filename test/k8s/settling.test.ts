// An object that keeps changing is written ever more rarely, and one that was quiet for long enough begins anew.

import { expect, test } from 'vitest'
import { dueAtMs, type Pace, paceAfter, settledAtMs } from '../../src/k8s/settling.ts'

const settle = { minMs: 1_000, maxMs: 30_000 }

test('written as soon as it may be, the interval doubles up to its bound', () => {
  const intervals: number[] = []
  let pace: Pace | undefined
  for (let writes = 0; writes < 8; writes++) {
    pace = paceAfter(pace, pace === undefined ? 0 : dueAtMs(pace), settle)
    intervals.push(pace.intervalMs)
  }
  expect(intervals).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
})

test.each<[quietMs: number, intervalMs: number]>([
  [4_000, 8_000],
  [8_999, 8_000],
  [9_000, 1_000],
  [60_000, 1_000],
])('after an interval of four seconds and %i ms of quiet the next interval is %i ms', (quietMs, intervalMs) => {
  const before: Pace = { lastMs: 50_000, intervalMs: 4_000 }
  expect(paceAfter(before, 50_000 + quietMs, settle)).toEqual({ lastMs: 50_000 + quietMs, intervalMs })
})

test('it settles after it may be written again, however short its interval', () => {
  const pace = paceAfter(undefined, 0, settle)
  expect([dueAtMs(pace), settledAtMs(pace, settle)]).toEqual([1_000, 3_000])
})
