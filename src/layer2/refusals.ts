// Why the node does not answer for VIPs that it owns: when each is tried again, and how long it is told. The leader gives a VIP to another
// node by what is told here, so a refusal of this node outlives the loss of the VIP: otherwise it would be given back at once.

import type { Ip } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { NoPlace } from './address-plan.ts'
import type { TakeRefusal } from './links.ts'

export interface Refusals {
  /** As the last look shows the node, there is no place for it. That is over when the next one shows another thing: nothing has to be tried. */
  readonly noPlace: (address: Ip, why: NoPlace) => void
  /** It was tried, and failed. */
  readonly failed: (address: Ip, message: string) => void
  /** Another host answers for it. */
  readonly inUse: (address: Ip, message: string) => void
  /** We have it, and another host says that he has it too. It keeps nobody from taking it again. */
  readonly conflict: (address: Ip, message: string) => void
  /** Whether it may be tried now. */
  readonly mayTry: (address: Ip) => boolean
  /** It was taken, or nothing stands against it any more. */
  readonly lift: (address: Ip) => void
  /** We have it: what stood against it is told until its time is over. */
  readonly have: (address: Ip) => void
  /** These are ours now. */
  readonly own: (owned: { readonly has: (address: Ip) => boolean }) => void
  readonly told: () => ReadonlyMap<Ip, TakeRefusal>
}

/** A VIP that could not be taken is tried again; soon at first, for who answers may be a former owner that is about to let go. */
const retryMs = 10_000
const retryFirstMs = 1_000
/** How long one who contests us is remembered. */
const conflictMs = 60_000
/** So long a node that could not take a VIP goes on saying so after the VIP has gone to another one: nobody gives it back meanwhile. */
const avoidMs = 60_000

interface Entry extends TakeRefusal {
  /** When it is tried again, or forgotten. */
  readonly untilMs: number
  /** When it was last tried. */
  readonly sinceMs: number
}

export function createRefusals({ clock, log }: { readonly clock: Clock; readonly log: Log }): Refusals {
  const entries = new Map<Ip, Entry>()

  const note = (address: Ip, refusal: TakeRefusal, forMs: number): void => {
    const sinceMs = clock.monotonicMs()
    entries.set(address, { ...refusal, sinceMs, untilMs: sinceMs + forMs })
  }
  const refuse = (address: Ip, refusal: TakeRefusal, againMs: number): void => {
    const { reason, message } = refusal
    if (entries.get(address)?.message !== message) log.warn({ event: 'layer2-refused', address, reason, message })
    note(address, refusal, againMs)
  }
  const isOver = ({ untilMs }: Entry): boolean => untilMs <= clock.monotonicMs()
  const soonThenRarely = (address: Ip): number => {
    const before = entries.get(address)
    return before?.reason === 'AddressInUse'
      ? Math.min(retryMs, Math.max(retryFirstMs, 2 * (before.untilMs - before.sinceMs)))
      : retryFirstMs
  }

  return {
    noPlace: (address, { code, message }) => refuse(address, { reason: code, message, scope: 'node' }, 0),
    failed: (address, message) => refuse(address, { reason: 'AddressNotSet', message, scope: 'node' }, retryMs),
    inUse: (address, message) =>
      refuse(address, { reason: 'AddressInUse', message, scope: 'link' }, soonThenRarely(address)),
    conflict: (address, message) => note(address, { reason: 'AddressConflict', message, scope: 'link' }, conflictMs),
    mayTry: (address) => {
      const entry = entries.get(address)
      // A conflict was about an address that was ours: that it is not any more is no reason to wait.
      return entry === undefined || entry.reason === 'AddressConflict' || isOver(entry)
    },
    lift: (address) => void entries.delete(address),
    have: (address) => {
      const entry = entries.get(address)
      if (entry !== undefined && isOver(entry)) entries.delete(address)
    },
    own: (owned) => {
      for (const [address, { scope, sinceMs }] of entries)
        if (!owned.has(address) && (scope === 'link' || clock.monotonicMs() - sinceMs >= avoidMs))
          entries.delete(address)
    },
    told: () =>
      new Map([...entries].map(([address, { reason, message, scope }]) => [address, { reason, message, scope }])),
  }
}
