// What an agent does when it loses a controller: it renews its Lease, so that the controller, if it hears nobody, can learn from the API
// server who lives. The other end is inquiry.ts.

import type { Clock, Random } from '../runtime/clock.ts'

/**
 * The first renewal may be before the controller has noticed anything, the second one is not; both are well within what it waits for.
 * A controller that dies is lost by all agents in the same moment, so each adds a moment of its own.
 */
const afterMs = [0, 2000]
const spreadMs = 500

/** Returns what is to be called at each loss. `renew` renews the Lease now. */
export function createSpeakUp(options: {
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal
  readonly renew: () => void
}): () => void {
  const { clock, random, signal, renew } = options
  let cancel = (): void => {}
  signal.addEventListener('abort', () => cancel(), { once: true })
  return () => {
    cancel()
    if (signal.aborted) return
    const cancels = afterMs.map((ms) => clock.setTimer(ms + random() * spreadMs, renew))
    cancel = () => {
      for (const each of cancels) each()
    }
  }
}
