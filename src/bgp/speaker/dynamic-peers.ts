// Routers that dial in from ranges: whose range an address is, and what becomes of the sessions when the ranges change. Each session is a
// peer like any other, passive, named after its range and its address; what is said of it stays with the range when it is gone.

import { rangeOf } from './accept-rules.ts'
import { DynamicRange, type DynamicRangeOptions } from './dynamic-range.ts'
import type { Peer } from './peer.ts'
import type { PeerConfig, PeerRange } from './protocol.ts'
import { type Connection, isSamePlace, notConfigured, type Place } from './transport.ts'

export interface DynamicPeers {
  /** The complete lists; sessions that are nobody's any more are closed. `reconfigure` hands a session its new settings. */
  readonly configure: (
    ranges: readonly PeerRange[],
    explicit: readonly Place[],
    reconfigure: (peer: Peer, config: PeerConfig) => void,
  ) => void
  /** A connection of nobody's with an address of its own; returns why it can not be taken. */
  readonly incoming: (connection: Connection) => string | undefined
  /** Something keeps a range, or a router in it, from being let in. */
  readonly noteError: (range: string, reason: string) => void
  readonly peers: () => Iterable<Peer>
  readonly peerNamed: (name: string) => Peer | undefined
  readonly peersOf: (range: string) => readonly Peer[]
  /** From now on nothing is forgotten: the speaker closes its sessions. */
  readonly stop: () => void
}

export function createDynamicPeers(options: DynamicRangeOptions): DynamicPeers {
  const ranges = new Map<string, DynamicRange>()

  const rangeAt = ({ address }: Place): DynamicRange | undefined => {
    const config = rangeOf(
      [...ranges.values()].map((range) => range.config),
      address,
    )
    return config === undefined ? undefined : ranges.get(config.name)
  }

  return {
    peers: function* () {
      for (const range of ranges.values()) yield* range.peers()
    },
    peerNamed: (name) => {
      for (const range of ranges.values()) {
        const peer = range.peerNamed(name)
        if (peer !== undefined) return peer
      }
      return undefined
    },
    peersOf: (name) => [...(ranges.get(name)?.peers() ?? [])],
    noteError: (name, reason) => ranges.get(name)?.noteError(reason),
    incoming: (connection) => {
      const range = rangeAt(connection.remote)
      return range === undefined ? notConfigured : range.incoming(connection)
    },
    stop: () => {
      for (const range of ranges.values()) range.stop()
    },

    configure: (configs, explicit, reconfigure) => {
      const before = [...ranges.values()]
      const wanted = new Set(configs.map(({ name }) => name))
      const removed = before.filter(({ config }) => !wanted.has(config.name))
      for (const { config } of removed) ranges.delete(config.name)
      for (const config of configs) {
        const known = ranges.get(config.name)
        if (known === undefined) ranges.set(config.name, new DynamicRange(config, options))
        else known.configure(config)
      }
      // Not before all ranges are known: an address may be in a longer one now.
      for (const range of before)
        range.review((place) => {
          const hasOwnPeer = explicit.some((other) => isSamePlace(other, place))
          return !hasOwnPeer && rangeAt(place) === range
        }, reconfigure)
      for (const range of removed) range.remove()
    },
  }
}
