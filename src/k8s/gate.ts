// A bound on how many things happen at once, first come first served.

/** Ends one's turn. */
export type Leave = () => void

export interface Gate {
  /** Waits for a turn; 'cancelled' when the signal fires first. */
  readonly enter: (signal?: AbortSignal) => Promise<Leave | 'cancelled'>
}

/** At most `limit` inside at once. */
export function createGate(limit: number): Gate {
  let inside = 0
  const waiting = new Set<() => void>()

  const leaveOnce = (): Leave => {
    let left = false
    return () => {
      if (left) return
      left = true
      inside--
      const [next] = waiting
      if (next === undefined) return
      waiting.delete(next)
      next()
    }
  }

  return {
    enter: (signal) => {
      if (signal?.aborted) return Promise.resolve('cancelled')
      if (inside < limit) {
        inside++
        return Promise.resolve(leaveOnce())
      }
      return new Promise((resolve) => {
        const admit = (): void => {
          signal?.removeEventListener('abort', giveUp)
          inside++
          resolve(leaveOnce())
        }
        const giveUp = (): void => {
          waiting.delete(admit)
          resolve('cancelled')
        }
        waiting.add(admit)
        signal?.addEventListener('abort', giveUp, { once: true })
      })
    },
  }
}
