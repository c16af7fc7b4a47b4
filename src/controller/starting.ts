// A replica that has just started has no sessions yet. To say so of each Vip, and to take it back a second later, would be thousands of
// writes: what is said for all waits until every peer had its chance.

import type { SessionStatus } from '../bgp/speaker/protocol.ts'
import type { Plan } from '../plan/types.ts'
import type { Clock } from '../runtime/clock.ts'

/** How long after the first plan a session that is not up yet is no news. */
const startingMaxMs = 10_000

export interface Starting {
  /** How long to wait at the most; undefined: the start is over, for good. */
  readonly leftMs: (
    peers: Plan['peers'],
    sessions: ReadonlyMap<string, Pick<SessionStatus, 'state'>>,
  ) => number | undefined
}

/** Begins with the first question. */
export function createStarting(clock: Pick<Clock, 'monotonicMs'>): Starting {
  let over = false
  let sinceMs: number | undefined
  return {
    leftMs: (peers, sessions) => {
      if (over) return undefined
      const nowMs = clock.monotonicMs()
      sinceMs ??= nowMs
      const leftMs = sinceMs + startingMaxMs - nowMs
      over =
        leftMs <= 0 ||
        peers.every(({ name, shutdown }) => shutdown !== undefined || sessions.get(name)?.state === 'Established')
      return over ? undefined : leftMs
    },
  }
}
