// How often a peer may have its table again (RFC 2918). The first request is answered at once; those that follow within the pause
// are one, answered at its end: whoever asks without end costs a table a pause, and whoever asks twice waits for seconds.

import type { Clock } from '../../runtime/clock.ts'
import type { Family } from '../packet/message.ts'

/** From one answer to the next, in each family. */
export const refreshPauseMs = 5000

export interface RefreshPace {
  readonly asked: (family: Family) => void
  /** Nothing is answered from now on. */
  readonly end: () => void
}

/** `answer` gets how many requests it is the answer to. */
export function createRefreshPace(clock: Clock, answer: (family: Family, requests: number) => void): RefreshPace {
  /** Families in their pause, and how many requests wait for its end. */
  const pausing = new Map<Family, { waiting: number; readonly cancel: () => void }>()

  const begin = (family: Family, requests: number): void => {
    const cancel = clock.setTimer(refreshPauseMs, () => {
      const waiting = pausing.get(family)?.waiting ?? 0
      pausing.delete(family)
      if (waiting > 0) begin(family, waiting)
    })
    pausing.set(family, { waiting: 0, cancel })
    answer(family, requests)
  }

  return {
    asked: (family) => {
      const pause = pausing.get(family)
      if (pause === undefined) begin(family, 1)
      else pause.waiting++
    },
    end: () => {
      for (const { cancel } of pausing.values()) cancel()
      pausing.clear()
    },
  }
}
