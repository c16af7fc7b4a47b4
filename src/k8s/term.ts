// One time in office: a fence that closes by itself when its time is up, unless it was extended before. Ended is for good: whoever is elected
// again gets another one.

import type { Clock } from '../runtime/clock.ts'
import type { Fence } from './fence.ts'

export interface Term {
  readonly fence: Fence
  /** The lease was renewed: it holds until then, monotonic. Nothing extends a term that has ended. */
  readonly extend: (untilMs: number) => void
  readonly end: (because: string) => void
}

/** `expired` is called when the time is up; it ends the term. */
export function startTerm(clock: Clock, firstUntilMs: number, expired: () => void): Term {
  const controller = new AbortController()
  const { signal } = controller
  let untilMs = firstUntilMs
  const arm = (): (() => void) => clock.setTimer(Math.max(0, untilMs - clock.monotonicMs()), expired)
  let cancel = arm()
  return {
    // Timers do not fire in a process that is paused: when it goes on, the clock tells.
    fence: { signal, holds: () => !signal.aborted && clock.monotonicMs() < untilMs },
    extend: (until) => {
      if (signal.aborted) return
      untilMs = until
      cancel()
      cancel = arm()
    },
    end: (because) => {
      cancel()
      controller.abort(new Error(because))
    },
  }
}
