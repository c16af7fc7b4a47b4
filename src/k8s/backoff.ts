// How long to wait before trying again: exponential with a cap and jitter, so that a fleet that lost its API server at one
// moment does not come back at one moment.

export interface BackoffBounds {
  readonly baseMs: number
  readonly capMs: number
}

/** API machinery's own numbers: 800 ms doubling to 30 s. */
const defaultBackoff: BackoffBounds = { baseMs: 800, capMs: 30_000 }

/**
 * The delay before attempt number `attempt` (1 = first retry), between half of the exponential value and all of it.
 * `random` is in [0, 1).
 */
export function backoffMs(attempt: number, random: number, bounds: BackoffBounds = defaultBackoff): number {
  const exponential = Math.min(bounds.capMs, bounds.baseMs * 2 ** Math.min(30, Math.max(0, attempt - 1)))
  return exponential / 2 + (exponential / 2) * random
}
