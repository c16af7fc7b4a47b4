// A rate limit that allows bursts: tokens come at a steady rate, up to a bound, and each action takes one.

import type { Clock } from '../runtime/clock.ts'

export interface TokenBucket {
  /** Takes a token if there is one. */
  readonly take: () => boolean
  /** Milliseconds until there is a token; 0 when there is one now. */
  readonly nextInMs: () => number
}

export interface RateLimit {
  readonly perSecond: number
  readonly burst: number
}

/** Starts full. */
export function createTokenBucket(limit: RateLimit, clock: Pick<Clock, 'monotonicMs'>): TokenBucket {
  let tokens = limit.burst
  let atMs = clock.monotonicMs()
  const refill = (): void => {
    const nowMs = clock.monotonicMs()
    tokens = Math.min(limit.burst, tokens + ((nowMs - atMs) / 1000) * limit.perSecond)
    atMs = nowMs
  }
  return {
    take: () => {
      refill()
      // Sums of fractions: a token that is complete but for a rounding error is complete.
      if (tokens < 1 - 1e-9) return false
      tokens--
      return true
    },
    nextInMs: () => {
      refill()
      return tokens >= 1 - 1e-9 ? 0 : Math.ceil(((1 - tokens) / limit.perSecond) * 1000)
    },
  }
}
