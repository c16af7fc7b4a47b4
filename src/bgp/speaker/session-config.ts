// From a peer's configuration to what the state machine and the socket need, and which changes of it a session survives: the
// plain facts of one session, decided in one place.

import type { RouterId } from '../../net/asn.ts'
import type { SessionConfig } from '../fsm/session.ts'
import type { PeerConfig, PeerRange } from './protocol.ts'
import {
  type AcceptOptions,
  type AcceptRange,
  type DialOptions,
  type Place,
  renderPlace,
  type SocketOptions,
} from './transport.ts'

/** Idle after a failure: short at first, since most failures are a router's restart; never so long that an operator waits. */
const idleHold = { firstSeconds: 1, maxSeconds: 30 }

/** How long a peer that sent too many prefixes is left alone: long enough for people to look. */
export const maxPrefixesRetrySeconds = 300

/** The state machine's parameters for a peer. */
export function sessionConfigOf(peer: PeerConfig, routerId: RouterId, hostname: string | undefined): SessionConfig {
  return {
    name: peer.name,
    localAsn: peer.localAsn,
    peerAsn: peer.peerAsn,
    routerId,
    holdTimeSeconds: peer.holdTimeSeconds,
    keepaliveSeconds: peer.keepaliveSeconds,
    connectRetrySeconds: peer.connectRetrySeconds,
    families: peer.families,
    addPath: peer.addPath,
    ...(peer.gracefulRestart === undefined ? {} : { gracefulRestart: peer.gracefulRestart }),
    passive: peer.passive,
    delayOpenSeconds: 0,
    idleHold,
    sendNotificationWithoutOpen: false,
    collisionDetectEstablishedState: false,
    ...(hostname === undefined ? {} : { hostname }),
  }
}

const ttlMax = 255
/** IANA's, for a field that a peer which is never dialled has to have. */
export const bgpPort = 179

/** What the peer's packets must look like. On iBGP the TTL stays the system's unless GTSM is on. */
export function socketOptionsOf(peer: PeerConfig | PeerRange): SocketOptions {
  const password = peer.password === undefined ? {} : { password: peer.password }
  // RFC 5082 section 3: a packet from n hops away arrives with at least 256 - n.
  if (peer.ttlSecurityHops !== undefined) return { ...password, ttl: ttlMax, ttlMin: ttlMax + 1 - peer.ttlSecurityHops }
  return peer.localAsn === peer.peerAsn ? password : { ...password, ttl: peer.ttl }
}

export const dialOptionsOf = (peer: PeerConfig): DialOptions => ({
  address: peer.address,
  ...(peer.zone === undefined ? {} : { zone: peer.zone }),
  port: peer.port,
  ...(peer.sourceAddress === undefined ? {} : { sourceAddress: peer.sourceAddress }),
  ...socketOptionsOf(peer),
})

/** The peer as the listening sockets know it. */
export const acceptOptionsOf = (peer: PeerConfig): AcceptOptions => ({
  address: peer.address,
  ...(peer.zone === undefined ? {} : { zone: peer.zone }),
  port: peer.port,
  ...(peer.sourceAddress === undefined ? {} : { localAddress: peer.sourceAddress }),
  ...socketOptionsOf(peer),
})

export const acceptRangeOf = (range: PeerRange): AcceptRange => ({ range: range.range, ...socketOptionsOf(range) })

/** Peers in the order in which they are asked whose connection it is (accept-rules.ts): those that can not dial come first. */
export const inAcceptOrder = (peers: readonly PeerConfig[]): readonly PeerConfig[] =>
  peers.toSorted((a, b) => Number(b.passive) - Number(a.passive) || (a.name < b.name ? -1 : 1))

/** A router that has dialled in from a range, as a peer of its own. */
export function dynamicPeerOf(
  { range: _, maxSessions: __, except: ___, ...shared }: PeerRange,
  place: Place,
): PeerConfig {
  const { address, zone } = place
  return {
    ...shared,
    name: dynamicName(shared.name, place),
    address,
    ...(zone === undefined ? {} : { zone }),
    port: bgpPort,
    passive: true,
  }
}

/** No BgpPeer and no file has another meaning for `@`. */
export const dynamicName = (range: string, place: Place): string => `${range}@${renderPlace(place)}`

/** Parameters that take effect without a new session: now, or with the next attempt. */
const softParameters: ReadonlySet<keyof PeerConfig> = new Set([
  'name',
  'port',
  'connectRetrySeconds',
  'passive',
  'maxPrefixesIn',
  'table',
  'shutdown',
  'bfd',
])

/** The parameters that differ and that the session was negotiated or connected with: empty = it may go on. */
export function resettingChanges(before: PeerConfig, after: PeerConfig): readonly string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]) as ReadonlySet<keyof PeerConfig>
  return [...keys].filter((key) => !softParameters.has(key) && !equal(before[key], after[key]))
}

/** Whether two configurations say the same. */
export const equal = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))

// Plain data of a configuration, its keys in one order.
const sorted = (value: unknown): unknown =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value
