// Notices that the node's wall clock was set, or that the node was asleep. Nothing of the agent's hangs by the wall clock: it waits
// and measures by the monotonic one, and others judge its Lease by theirs. But logs, certificates and tokens of the node do, so
// that people want to know.

import type { CancelTimer, Clock } from '../runtime/clock.ts'

const lookMs = 5_000
/** Clocks are slewed by less than a thousandth; more than this in five seconds is a step. */
const toleranceMs = 2_000

/** Calls `onJump` with the seconds that the clock went forward (or back, when negative), until the signal fires. */
export function watchClock(clock: Clock, signal: AbortSignal, onJump: (seconds: number) => void): void {
  let cancel: CancelTimer = () => {}
  let offsetMs = clock.wallMs() - clock.monotonicMs()
  const look = (): void => {
    const nowMs = clock.wallMs() - clock.monotonicMs()
    const jumpMs = nowMs - offsetMs
    offsetMs = nowMs
    if (Math.abs(jumpMs) > toleranceMs) onJump(Math.round(jumpMs / 1000))
    cancel = clock.setTimer(lookMs, look)
  }
  cancel = clock.setTimer(lookMs, look)
  signal.addEventListener('abort', () => cancel(), { once: true })
}
