// Time as an argument. Code that waits or measures takes a Clock, so that tests and simulations own time.

/** Cancels a timer; calling it again, or after the timer fired, does nothing. */
export type CancelTimer = () => void

export interface Clock {
  /** Monotonic milliseconds from an arbitrary origin: for intervals. */
  readonly monotonicMs: () => number
  /** Wall-clock milliseconds since 1970: for timestamps that people read. */
  readonly wallMs: () => number
  /** Calls `fire` once after `delayMs`. */
  readonly setTimer: (delayMs: number, fire: () => void) => CancelTimer
}

/** A number in [0, 1). Injected so that jitter can be replayed. */
export type Random = () => number
