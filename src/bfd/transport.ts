// How BFD reaches its peers: UDP as the engine needs it, no more. Two implementations hold the same contract
// (test/bfd/transport-contract.ts): the kernel's UDP, and a network in memory for tests and simulations.

import type { Ip, IpFamily } from '../net/ip.ts'
import type { Result } from '../runtime/result.ts'

/** Where control packets arrive: 3784 on the link (RFC 5881 section 4), 4784 over several hops (RFC 5883 section 5). */
export const bfdPorts = { single: 3784, multi: 4784 } as const

/** Which of the two a session is: they differ in port and in what the TTL of a packet must be. */
export type BfdHops = keyof typeof bfdPorts

/** Where to listen; without `address` at all addresses of the family. */
export interface BfdPlace {
  readonly hops: BfdHops
  readonly family: IpFamily
  readonly address?: Ip
  /** Interface of a link-local `address` or peer. */
  readonly zone?: string
  /** Hear this peer alone, so that others of the host can hear other peers on the same port; absent: the port is ours, for everybody. */
  readonly peer?: BfdPlacePeer
}

export interface BfdPlacePeer {
  readonly address: Ip
  /** As of BfdSessionConfig. */
  readonly bgpPort?: number
}

/** From where to where the packets of one session go. */
export interface BfdPath {
  readonly hops: BfdHops
  readonly remoteAddress: Ip
  /** Interface of a link-local `remoteAddress`. */
  readonly zone?: string
  /** The source of what is sent; absent: as the kernel's routes say. */
  readonly localAddress?: Ip
}

/** A router whose packets may not come from further away than this, over several hops. */
export interface TtlRule {
  readonly address: Ip
  readonly ttlMin: number
}

export interface BfdSource {
  readonly address: Ip
  /** Interface of a link-local `address`. */
  readonly zone?: string
}

export interface BfdDatagram {
  /** The receiver's only until it returns, as is `source`. */
  readonly bytes: Uint8Array
  /** Read when it is asked for: most packets are known by their discriminator. */
  readonly source: () => BfdSource
}

/** What the kernel, or the lack of a library, says no to, in an operator's words. */
export interface BfdSocketError {
  readonly code: 'bfd-socket/in-use' | 'bfd-socket/refused' | 'bfd-socket/unavailable'
  readonly reason: string
}

export interface BfdListenHandlers {
  readonly received: (datagram: BfdDatagram) => void
  /** The socket is of no use any more. */
  readonly failed: (error: BfdSocketError) => void
}

export interface BfdListener {
  /**
   * Delivers everything that has arrived so far, before it returns. Without it packets are delivered as the event loop comes
   * to them, which after a stall is later than the timers.
   */
  readonly drain: () => void
  /** With a place's peer and without its address: whether packets for the peer would leave from another address now. */
  readonly moved: () => boolean
  /** The complete list of sources with a least TTL; on a single hop the TTL is 255 for everybody, and this changes nothing. */
  readonly setTtlRules: (rules: readonly TtlRule[]) => BfdSocketError | undefined
  readonly close: () => void
}

export interface BfdSender {
  /** Sends with TTL 255. What finds no room in a buffer is lost, as on any wire; other refusals of the kernel are said. */
  readonly send: (bytes: Uint8Array) => BfdSocketError | undefined
  /**
   * Whether the peer's kernel has said, after a packet of ours and since `forgetRefusal`, that nobody listens there (ICMP port
   * unreachable): its host lives, the program does not. What is filtered on the way is never said.
   */
  readonly wasRefused: () => boolean
  readonly forgetRefusal: () => void
  readonly close: () => void
}

export interface BfdTransport {
  /**
   * Packets on a single hop are delivered only when they arrived with TTL 255 (RFC 5881 section 5, RFC 5082). A place with a peer is
   * had by one program of a host, too: the peer knows one session with an address.
   */
  readonly listen: (
    place: BfdPlace,
    rules: readonly TtlRule[],
    handlers: BfdListenHandlers,
  ) => Result<BfdListener, BfdSocketError>
  /** A source port of its own, from 49152 up (RFC 5881 section 4). */
  readonly open: (path: BfdPath) => Result<BfdSender, BfdSocketError>
}
