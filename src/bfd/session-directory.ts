// Which session of an engine a packet is for: by the discriminator that it names as ours, and while the peer knows none, by where it
// comes from and where it arrived (RFC 5880 section 6.8.6, RFC 5881 section 3).

import type { Random } from '../runtime/clock.ts'
import type { RunningSession } from './running-session.ts'
import { type BfdSessionConfig, pathOf } from './session-config.ts'
import type { BfdHops, BfdPlace, BfdSource } from './transport.ts'

export interface SessionDirectory {
  /** A number that no session has, and that nobody can guess. */
  readonly freeDiscriminator: () => number
  /** From now on the session is found, by both. */
  readonly add: (session: RunningSession) => void
  /** A session that takes its leave is found by its discriminator alone. */
  readonly dismiss: (session: RunningSession) => void
  readonly remove: (session: RunningSession) => void
  readonly byDiscriminator: (discriminator: number) => RunningSession | undefined
  readonly bySource: (source: BfdSource, place: BfdPlace) => RunningSession | undefined
}

export function createSessionDirectory(random: Random): SessionDirectory {
  const byDiscriminator = new Map<number, RunningSession>()
  const bySource = new Map<string, readonly RunningSession[]>()

  const dismiss = (session: RunningSession): void => {
    const key = keyOf(session.config)
    const rest = (bySource.get(key) ?? []).filter((other) => other !== session)
    if (rest.length === 0) bySource.delete(key)
    else bySource.set(key, rest)
  }

  return {
    freeDiscriminator: () => {
      for (;;) {
        const drawn = 1 + Math.floor(random() * 0xffff_ffff)
        if (!byDiscriminator.has(drawn)) return drawn
      }
    },
    add: (session) => {
      dismiss(session)
      const key = keyOf(session.config)
      byDiscriminator.set(session.localDiscriminator, session)
      bySource.set(key, [...(bySource.get(key) ?? []), session])
    },
    dismiss,
    remove: (session) => {
      dismiss(session)
      byDiscriminator.delete(session.localDiscriminator)
    },
    byDiscriminator: (discriminator) => byDiscriminator.get(discriminator),
    bySource: ({ address, zone }, place) =>
      bySource
        .get(sourceKey(place.hops, address, zone))
        ?.find(
          ({ config: { localAddress } }) =>
            place.address === undefined || localAddress === undefined || localAddress === place.address,
        ),
  }
}

const sourceKey = (hops: BfdHops, address: string, zone: string | undefined): string =>
  `${hops} ${address}%${zone ?? ''}`

const keyOf = (config: BfdSessionConfig): string => sourceKey(pathOf(config).hops, config.remoteAddress, config.zone)
