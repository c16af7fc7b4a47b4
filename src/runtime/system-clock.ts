// The process's own clock: the only place that touches setTimeout on behalf of code that takes a Clock.

import type { Clock } from './clock.ts'

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (delayMs, fire) => {
    // A timer of Node takes a millisecond at least; who only lets others have their turn is not to wait.
    if (delayMs <= 0) {
      const immediate = setImmediate(fire)
      return () => clearImmediate(immediate)
    }
    const timer = setTimeout(fire, delayMs)
    return () => clearTimeout(timer)
  },
}
