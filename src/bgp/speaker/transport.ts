// How the speaker reaches its peers: TCP connections as it needs them, no more. Two implementations hold the same contract
// (test/bgp/speaker/transport-contract.ts): the kernel's TCP, and a network in memory for tests and simulations.

import type { Ip } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'

/** What a peer's packets must look like, in both directions. */
export interface SocketOptions {
  /** TCP-MD5 (RFC 2385): 1 to 80 bytes. A connection that can not have it does not come to be. */
  readonly password?: string
  /** IP TTL or hop limit of what is sent; absent = the system's default. */
  readonly ttl?: number
  /** GTSM (RFC 5082): packets that arrive with a lower TTL are dropped by the kernel. */
  readonly ttlMin?: number
}

/** Options that a session must not be without: a plain socket in their place would be an open door. */
export const isSecured = ({ password, ttlMin }: SocketOptions): boolean =>
  password !== undefined || ttlMin !== undefined

/** Linux's default. */
export const ttlSystem = 64

/**
 * A TTL that the system's default can not stand in for: with less the packets would not arrive, or be dropped by a router that checks
 * it (GTSM). A lower one is a precaution, and its absence no reason to do without the session.
 */
export const needsTtl = ({ ttl = ttlSystem }: SocketOptions): boolean => ttl > ttlSystem

/** What a connection is without, where options can not be set, and `reason` says why. */
export const reducedTo = ({ ttl = ttlSystem }: SocketOptions, reason: string): string | undefined =>
  ttl === ttlSystem ? undefined : `packets leave with the system's TTL instead of ${ttl}: ${reason}`

/** Where a peer is: a link-local address means nothing without its interface. */
export interface Place {
  readonly address: Ip
  readonly zone?: string
}

export const isSamePlace = (a: Place, b: Place): boolean => a.address === b.address && a.zone === b.zone

export const renderPlace = ({ address, zone }: Place): string => (zone === undefined ? address : `${address}%${zone}`)

export interface DialOptions extends SocketOptions, Place {
  readonly port: number
  readonly sourceAddress?: Ip
}

/** A peer that may connect to us. */
export interface AcceptOptions extends SocketOptions, Place {
  /** Where we would dial it, which tells whether another program of this host has its session already; absent: BGP's own port. */
  readonly port?: number
  /** Our address that it connects to, where peers of one address are told apart by it. */
  readonly localAddress?: Ip
}

/** A network from which anybody may connect to us. */
export interface AcceptRange extends SocketOptions {
  readonly range: Prefix
}

export interface ConnectionHandlers {
  /** The chunk belongs to the receiver from now on. */
  readonly data: (chunk: Uint8Array) => void
  /** What was written has been taken by the kernel. May be called more often than necessary. */
  readonly drained: () => void
  /** Closed by the peer or by the network, in an operator's words. Never called after `close` or `abort`. */
  readonly closed: (reason: string) => void
}

export interface Connection {
  readonly localAddress: Ip
  /** An option that was asked for and could not be had, and that the session can do without; in an operator's words. */
  readonly reduced?: string
  readonly remote: Place
  /** Addresses of the interface the connection runs over, for next hop self; the connection's own where it is of that family. */
  readonly localAddresses: { readonly ipv4?: Ip; readonly ipv6?: Ip }
  /** The networks of that interface, but for link-local ones; empty where they are not known. */
  readonly localNetworks: readonly Prefix[]
  /** Starts to deliver what arrives. Called once. */
  readonly open: (handlers: ConnectionHandlers) => void
  /** Queues whole messages. The caller must not change `bytes` afterwards. */
  readonly write: (bytes: Uint8Array) => void
  /** Written and not yet taken by the kernel: the caller's measure for back-pressure. */
  readonly pendingBytes: number
  /** Taken by the kernel since the beginning: grows exactly when the peer makes room. */
  readonly acceptedBytes: number
  /** Delivers what was written, then closes; gives up after a second. `done` is called when nothing is left of it. */
  readonly close: (done?: () => void) => void
  /** Closes at once. */
  readonly abort: () => void
}

export interface DialHandlers {
  readonly connected: (connection: Connection) => void
  /** In an operator's words. */
  readonly failed: (reason: string) => void
}

export interface ListenHandlers {
  /** A connection from one of the peers; nothing was read from it yet. */
  readonly connection: (connection: Connection) => void
  /** A connection was closed unread. */
  readonly refused: (remote: Place, reason: string) => void
  readonly listening: () => void
  /** The port can not be listened on, or not any more. */
  readonly failed: (reason: string) => void
}

/** Why a stranger is refused. */
export const notConfigured = 'not a configured peer'

/** Why connections of a peer, or from a range, can not be accepted as configured. */
export interface PeerRefusal {
  readonly peer: AcceptOptions | AcceptRange
  readonly reason: string
  /** A session that we dial is not concerned. */
  readonly incomingOnly?: true
}

export interface Listener {
  /**
   * From now on these peers, routers from these ranges, and nobody else are let in. Returns those who can not be. Of several peers
   * at one place the first counts (accept-rules.ts has the order).
   */
  readonly setPeers: (peers: readonly AcceptOptions[], ranges?: readonly AcceptRange[]) => readonly PeerRefusal[]
  readonly close: () => void
}

export interface Transport {
  /** Exactly one of the handlers is called, later; none after the returned function was called. */
  readonly dial: (options: DialOptions, handlers: DialHandlers) => () => void
  /** `addresses` empty = all of both families. `listening` or `failed` is called, later. */
  readonly listen: (port: number, addresses: readonly Ip[], handlers: ListenHandlers) => Listener
  /** Whether the address is on a network that this host is connected to. */
  readonly isNeighbor: (address: Ip) => boolean
}
