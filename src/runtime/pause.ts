// Waiting for time to pass, under a clock that may be virtual and a signal that may fire first.

import type { Clock } from './clock.ts'

/** Resolves after `delayMs` with true, or with false as soon as the signal fires. */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve(false)
      return
    }
    const stop = (): void => {
      cancel()
      resolve(false)
    }
    const cancel = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', stop)
      resolve(true)
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}
