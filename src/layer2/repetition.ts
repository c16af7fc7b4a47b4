// What is said of an address is said again, because a lost frame is a client's minute: at the delays that are asked for, and then now and
// then for as long as the address is ours.

import type { Ip } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { ObservedLink } from './addresses.ts'

export interface RepetitionOptions {
  readonly clock: Clock
  readonly say: (link: ObservedLink, address: Ip) => void
  /** From one reminder to the next. */
  readonly everyMs: number
}

export interface Repetition {
  /** Says it after these delays, 0 is now, and goes on with reminders; in place of what was begun for the address before. */
  readonly begin: (link: ObservedLink, address: Ip, delaysMs: readonly number[]) => void
  readonly isGoingOn: (address: Ip) => boolean
  /** Says nothing more of any address but these. */
  readonly endOthers: (kept: ReadonlySet<Ip>) => void
}

export function createRepetition({ clock, say, everyMs }: RepetitionOptions): Repetition {
  const timers = new Map<Ip, Set<CancelTimer>>()

  const end = (address: Ip): void => {
    for (const cancel of timers.get(address) ?? []) cancel()
    timers.delete(address)
  }
  const remind = (link: ObservedLink, address: Ip, mine: Set<CancelTimer>): void => {
    const cancel = clock.setTimer(everyMs, () => {
      mine.delete(cancel)
      say(link, address)
      remind(link, address, mine)
    })
    mine.add(cancel)
  }

  return {
    begin: (link, address, delaysMs) => {
      end(address)
      const mine = new Set<CancelTimer>()
      timers.set(address, mine)
      for (const delayMs of delaysMs) {
        if (delayMs === 0) say(link, address)
        else mine.add(clock.setTimer(delayMs, () => say(link, address)))
      }
      remind(link, address, mine)
    },
    isGoingOn: (address) => timers.has(address),
    endOthers: (kept) => {
      for (const address of [...timers.keys()]) if (!kept.has(address)) end(address)
    },
  }
}
