// What the owner of the engine says about a session, what it is told back, and what two configurations have in common: plain
// data, shared by the engine, its listeners and whoever configures them.

import { familyOf, type Ip, isLinkLocal } from '../net/ip.ts'
import type { BfdAuthentication } from './authentication.ts'
import type { BfdState } from './packet.ts'
import type { BfdConfig } from './session.ts'
import type { BfdPath, BfdPlace } from './transport.ts'

export interface BfdSessionConfig {
  /** The owner's name for the session; unique. */
  readonly key: string
  readonly remoteAddress: Ip
  /** Interface of a link-local `remoteAddress`. */
  readonly zone?: string
  /** Source of our packets, and the only address at which the peer's are accepted. */
  readonly localAddress?: Ip
  /** Absent: a single hop, and only packets with TTL 255 count. `ttlMin` 1 lets packets come from anywhere. */
  readonly multihop?: { readonly ttlMin: number }
  /** Least interval between our packets, milliseconds. */
  readonly transmitMs: number
  /** Least interval at which we take packets, milliseconds. */
  readonly receiveMs: number
  readonly multiplier: number
  /**
   * TCP port of the BGP session whose path this watches: of several programs of a host the one that has that session watches it. For
   * engines that listen by peer.
   */
  readonly bgpPort?: number
  /** Keep the session down and say so to the peer, so that it draws no conclusions (RFC 5880 section 6.8.16). */
  readonly adminDown: boolean
  /**
   * The session's time has not come: it says Down once when it is made, so that the peer ends what it had with an earlier process, then
   * listens, and neither answers nor leaves Down. (In the passive role of RFC 5880 section 6.1 it would answer.) An administratively down
   * session is not held.
   */
  readonly held?: boolean
  /** Absent: without, and packets that have it are discarded. */
  readonly authentication?: BfdAuthentication
}

/** Where a session is down its peer sends a packet a second (RFC 5880 section 6.8.3): after so much silence it does not speak. */
export const downSilenceMs = 3500

export type BfdEvent =
  | {
      readonly type: 'state'
      readonly key: string
      readonly from: BfdState
      readonly to: BfdState
      /** Why: an index into bfdDiagnostics. */
      readonly diagnostic: number
      /** What the peer said last. `AdminDown` is no failure of the path (RFC 5882 section 3.2). */
      readonly remoteState: BfdState
      /**
       * The silence that ended it is not a dead host's: the host's kernel said that nobody listens there any more, or our own refused
       * to send.
       */
      readonly excused?: true
    }
  /** The peer of a held session wants one: told of its first packet since it is held, or after some seconds of silence. */
  | { readonly type: 'heard'; readonly key: string }
  /** The session can not send or not hear, in an operator's words; without `reason` it can again. */
  | { readonly type: 'error'; readonly key: string; readonly reason?: string }

export interface BfdStatus {
  readonly state: BfdState
  /** Wall-clock milliseconds of the last change of `state`. */
  readonly sinceMs: number
  readonly diagnostic: number
  readonly remoteState: BfdState
  readonly localDiscriminator: number
  /** 0 while the peer has not been heard. */
  readonly remoteDiscriminator: number
  /** In use: milliseconds between our packets before jitter; 0 when the peer wants none. */
  readonly transmitMs: number
  /** In use: milliseconds of silence after which the session is down. */
  readonly detectionMs: number
  /** Milliseconds since the peer's last packet; Infinity while there was none. */
  readonly silentMs: number
  /** The last packet that was believed was authenticated. */
  readonly authenticated: boolean
  readonly packetsIn: number
  readonly packetsOut: number
  readonly error?: string
}

/** RFC 5880 counts in microseconds. */
export const microseconds = ({ transmitMs, receiveMs, multiplier }: BfdSessionConfig): BfdConfig => ({
  desiredMinTx: 1000 * transmitMs,
  requiredMinRx: 1000 * receiveMs,
  detectMult: multiplier,
})

export const pathOf = ({ remoteAddress, zone, localAddress, multihop }: BfdSessionConfig): BfdPath => ({
  hops: multihop === undefined ? 'single' : 'multi',
  remoteAddress,
  ...(zone === undefined ? {} : { zone }),
  ...(localAddress === undefined ? {} : { localAddress }),
})

/** Whether packets of both go the same way: the session survives a change from one to the other. */
export const samePath = (a: BfdSessionConfig, b: BfdSessionConfig): boolean =>
  a.remoteAddress === b.remoteAddress &&
  a.zone === b.zone &&
  a.localAddress === b.localAddress &&
  (a.multihop === undefined) === (b.multihop === undefined)

/** One text a place. */
export const placeKey = ({ hops, family, address, zone, peer }: BfdPlace): string =>
  `${hops} ${family} ${address ?? '*'}%${zone ?? ''}${peer === undefined ? '' : ` ${peer.address} ${peer.bgpPort ?? ''}`}`

/**
 * How an engine listens. `at-all`: one socket for all peers, for ports that are nobody else's. `by-peer`: a socket for each, so that
 * several programs of one host can each watch its own routers on the well-known port.
 */
export type BfdListening = 'at-all' | 'by-peer'

/** Where the packets of the session arrive, with a socket for each peer. */
const placeByPeer = (config: BfdSessionConfig): BfdPlace => {
  const { remoteAddress, localAddress, zone, bgpPort } = config
  return {
    hops: pathOf(config).hops,
    family: familyOf(remoteAddress),
    ...(localAddress === undefined ? {} : { address: localAddress }),
    ...(zone === undefined ? {} : { zone }),
    peer: { address: remoteAddress, ...(bgpPort === undefined ? {} : { bgpPort }) },
  }
}

/**
 * Where to listen for these sessions. Of one family and kind it is either every address or a list: the kernel does not let one
 * port be bound both ways.
 */
export function placesOf(configs: Iterable<BfdSessionConfig>, listening: BfdListening): ReadonlyMap<string, BfdPlace> {
  if (listening === 'by-peer')
    return new Map(
      [...configs].map((config) => {
        const place = placeByPeer(config)
        return [placeKey(place), place] as const
      }),
    )
  const all = [...configs].map((config) => ({ ...pathOf(config), family: familyOf(config.remoteAddress) }))
  const open = new Set(all.filter(({ localAddress }) => localAddress === undefined).map(kindOf))
  const places = all.map(({ hops, family, localAddress, zone }): BfdPlace => {
    if (localAddress === undefined || open.has(kindOf({ hops, family }))) return { hops, family }
    return {
      hops,
      family,
      address: localAddress,
      ...(zone !== undefined && isLinkLocal(localAddress) ? { zone } : {}),
    }
  })
  return new Map(places.map((place) => [placeKey(place), place]))
}

const kindOf = ({ hops, family }: Pick<BfdPlace, 'hops' | 'family'>): string => `${hops} ${family}`

/** Whether the session's packets arrive at this place. */
export const arrivesAt = (config: BfdSessionConfig, place: BfdPlace): boolean => {
  const { hops, family, address, peer } = place
  if (peer !== undefined) return placeKey(place) === placeKey(placeByPeer(config))
  return (
    pathOf(config).hops === hops &&
    familyOf(config.remoteAddress) === family &&
    (address === undefined || address === config.localAddress)
  )
}
