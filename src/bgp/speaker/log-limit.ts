// How often something may be logged that others cause: the first few of a window, then how many more there were. What a hostile
// router sends is not to fill the disk of the host, nor the border to the thread that writes the logs.

import type { Clock } from '../../runtime/clock.ts'

/** For what one router causes. */
export const peerLogLimit = { most: 10, windowMs: 60_000 }

/** For connections that nobody has asked for, of all strangers together. */
export const refusalLogLimit = { most: 20, windowMs: 60_000 }

export interface LogLimit {
  /** Whether this one is to be logged; else it is counted. */
  readonly admits: () => boolean
  /** Tells what was not told yet, and nothing more. */
  readonly end: () => void
}

export interface LogLimitOptions {
  readonly clock: Clock
  /** Logged in each window. */
  readonly most: number
  readonly windowMs: number
  /** At the end of a window in which there were more. */
  readonly suppressed: (count: number) => void
}

export function createLogLimit({ clock, most, windowMs, suppressed }: LogLimitOptions): LogLimit {
  let admitted = 0
  let count = 0
  let cancel: (() => void) | undefined
  const close = (): void => {
    cancel?.()
    cancel = undefined
    admitted = 0
    if (count > 0) suppressed(count)
    count = 0
  }
  return {
    admits: () => {
      cancel ??= clock.setTimer(windowMs, close)
      if (admitted < most) {
        admitted++
        return true
      }
      count++
      return false
    },
    end: close,
  }
}
