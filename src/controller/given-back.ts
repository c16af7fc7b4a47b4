// Which free addresses a replica that nobody hears may still announce: one that lost the API server, and not its routers, goes on
// with what it last knew. It cannot be told from one that is dead; so what is given back around the time it fell silent, and from
// then on, is not given to others for a while, unless there is nothing else.

import type { HeartbeatWatch } from '../k8s/heartbeat-watch.ts'
import type { Ip } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'

export interface GivenBackOptions {
  /** Of all replicas. */
  readonly replicas: Pick<HeartbeatWatch, 'signs' | 'onChange'>
  readonly clock: Clock
}

export interface GivenBack {
  /** The address is free from now on. */
  readonly note: (address: Ip) => void
  /** Those that are not to be given to others now. */
  readonly avoided: () => ReadonlySet<Ip>
}

/** For so long after it fell silent a replica counts: as long as agents call it. Whoever takes its leave does not count. */
export const missedForMs = 3_600_000
/** A replica is cut off for a while before its silence shows: three times what its Lease lasts. */
export const beforeSilenceMs = 45_000
/** The oldest are forgotten first. */
const addressesMax = 10_000

export function createGivenBack({ replicas, clock }: GivenBackOptions): GivenBack {
  /** When each replica fell silent that was not heard again since. */
  const missing = new Map<string, number>()
  const freedAtMs = new Map<Ip, number>()
  replicas.onChange(() => {
    for (const { name, alive } of replicas.signs().values())
      if (alive) missing.delete(name)
      else if (!missing.has(name)) missing.set(name, clock.monotonicMs())
  })
  return {
    note: (address) => {
      freedAtMs.delete(address)
      freedAtMs.set(address, clock.monotonicMs())
      for (const oldest of freedAtMs.keys()) {
        if (freedAtMs.size <= addressesMax) break
        freedAtMs.delete(oldest)
      }
    },
    avoided: () => {
      const nowMs = clock.monotonicMs()
      for (const [name, atMs] of missing) if (nowMs - atMs > missedForMs) missing.delete(name)
      const sinceMs = Math.min(...missing.values()) - beforeSilenceMs
      return new Set([...freedAtMs].flatMap(([address, atMs]) => (atMs >= sinceMs ? [address] : [])))
    },
  }
}
