// A clock that only moves when told: the in-memory twin of systemClock for tests and simulations.

import type { Clock } from './clock.ts'

export interface VirtualClock extends Clock {
  /** Moves time forward, firing due timers in order of time, then of creation. */
  readonly advance: (ms: number) => void
  /** Milliseconds until the next timer fires, or undefined when none is set. */
  readonly nextTimerInMs: () => number | undefined
}

/** Creates a clock at `startMs` (both monotonic and wall). */
export function createVirtualClock(startMs = 0): VirtualClock {
  let nowMs = startMs
  let sequence = 0
  const timers = new Map<number, { readonly atMs: number; readonly fire: () => void }>()
  const earliest = (): [number, { readonly atMs: number; readonly fire: () => void }] | undefined => {
    let best: [number, { readonly atMs: number; readonly fire: () => void }] | undefined
    for (const entry of timers) if (best === undefined || entry[1].atMs < best[1].atMs) best = entry
    return best
  }
  return {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs,
    setTimer: (delayMs, fire) => {
      const id = sequence++
      timers.set(id, { atMs: nowMs + Math.max(0, delayMs), fire })
      return () => void timers.delete(id)
    },
    nextTimerInMs: () => {
      const next = earliest()
      return next === undefined ? undefined : next[1].atMs - nowMs
    },
    advance: (ms) => {
      const targetMs = nowMs + ms
      for (let next = earliest(); next !== undefined && next[1].atMs <= targetMs; next = earliest()) {
        timers.delete(next[0])
        nowMs = next[1].atMs
        next[1].fire()
      }
      nowMs = targetMs
    },
  }
}
