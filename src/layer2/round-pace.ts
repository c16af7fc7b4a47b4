// When the keeper looks at the node again: after its time, and at once when something is asked for, when a cable goes or comes, and when
// the agent ends. What is asked for during a round is for the next one.

import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface RoundPaceOptions {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** The cable is plugged. */
  readonly hasCarrier: (interfaceName: string) => boolean
}

export interface RoundPace {
  /** Asks for a round, as soon as the present one is over. */
  readonly pull: () => void
  /**
   * Between two rounds: resolves after `ms`, or before. The kernel keeps an address on a link without carrier, and the controllers have
   * to hear of it soon, so the `watched` interfaces are looked at meanwhile.
   */
  readonly rest: (ms: number, watched: Iterable<string>) => Promise<void>
}

const carrierPollMs = 250

export function createRoundPace({ clock, signal, hasCarrier }: RoundPaceOptions): RoundPace {
  let pulled = false
  let wake: () => void = () => {}

  const pull = (): void => {
    pulled = true
    wake()
  }
  const watchCarriers = (names: readonly string[]): CancelTimer => {
    if (names.length === 0) return () => {}
    const state = (): string => names.map((name) => (hasCarrier(name) ? '1' : '0')).join('')
    const before = state()
    let cancel: CancelTimer = () => {}
    const look = (): void => {
      cancel = clock.setTimer(carrierPollMs, () => (state() === before ? look() : pull()))
    }
    look()
    return () => cancel()
  }
  const sleep = (ms: number, watched: Iterable<string>): Promise<void> =>
    new Promise((resolve) => {
      const stopWatching = watchCarriers([...new Set(watched)])
      const end = (): void => {
        cancel()
        stopWatching()
        signal.removeEventListener('abort', end)
        resolve()
      }
      wake = end
      const cancel = clock.setTimer(ms, end)
      signal.addEventListener('abort', end)
      if (signal.aborted) end()
    })

  return {
    pull,
    rest: async (ms, watched) => {
      if (!pulled) await sleep(ms, watched)
      pulled = false
    },
  }
}
