// The border between the main thread and the worker that owns sockets, timers and sessions: plain data both ways.
// Commands are level-triggered (a complete configuration, complete routes by key), events report what is.

import type { BfdAuthenticationType, BfdState } from '../../bfd/packet.ts'
import type { Asn, RouterId } from '../../net/asn.ts'
import type { Ip } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'
import type { Family } from '../packet/message.ts'
import type { Route } from '../rib/route.ts'

/** A named set of routes. Peers that are to hear the same share one. */
export type TableName = string

export interface PeerConfig {
  /** BgpPeer name: the identity of the session across reconfigurations. */
  readonly name: string
  readonly address: Ip
  /** Interface of a link-local `address`. */
  readonly zone?: string
  readonly port: number
  readonly peerAsn: Asn
  readonly localAsn: Asn
  readonly sourceAddress?: Ip
  /** TCP-MD5 (RFC 2385), at most 80 bytes. Never logged, never part of a status. */
  readonly password?: string
  readonly holdTimeSeconds: number
  readonly keepaliveSeconds: number
  readonly connectRetrySeconds: number
  /** IP TTL of outgoing packets on eBGP; 1 for directly connected routers. */
  readonly ttl: number
  /** GTSM (RFC 5082): packets from more than this many hops away are dropped; sends TTL 255. */
  readonly ttlSecurityHops?: number
  /** Watch the path to the router (RFC 5880, RFC 5882). Single hop or several follows `ttl` and `ttlSecurityHops`. */
  readonly bfd?: {
    readonly transmitMs: number
    readonly receiveMs: number
    readonly multiplier: number
    /** Keyed SHA1 (RFC 5880 section 6.7.4): the number of the key, and the key, 1 to 20 octets of UTF-8. */
    readonly authentication?: {
      readonly type: BfdAuthenticationType
      readonly keyId: number
      readonly password: string
    }
  }
  readonly families: readonly Family[]
  readonly addPath: 'auto' | 'require' | 'disabled'
  readonly gracefulRestart?: { readonly restartSeconds: number; readonly longLivedSeconds: number }
  /** 'node': next hops as in the table; 'self': this speaker's own address on the session. */
  readonly nextHop: 'node' | 'self'
  readonly passive: boolean
  /** Administratively down, with the text of RFC 9003. */
  readonly shutdown?: string
  readonly maxPrefixesIn: number
  readonly table: TableName
}

/** Routers that dial in from anywhere in a range. Each has a session of its own, for as long as it is connected. */
export interface PeerRange extends Omit<PeerConfig, 'address' | 'zone' | 'port' | 'sourceAddress' | 'passive'> {
  /** Of two ranges that hold a router the longer counts, and a peer with the router's own address before either. */
  readonly range: Prefix
  /** Sessions at once; whoever dials in beyond them is refused, unread. */
  readonly maxSessions: number
  /** Routers of the range that are none of its: they have a configuration of their own, which can not be used. */
  readonly except?: readonly Ip[]
}

export interface SpeakerConfig {
  readonly routerId: RouterId
  /** 0 = never listen. */
  readonly listenPort: number
  /** Empty = all. */
  readonly listenAddresses: readonly Ip[]
  readonly peers: readonly PeerConfig[]
  /** Absent = none. */
  readonly ranges?: readonly PeerRange[]
}

export type SpeakerCommand =
  /** The complete configuration. Peers that are not in it are closed (Cease/3); unchanged ones are not touched. */
  | { readonly type: 'configure'; readonly config: SpeakerConfig }
  /** A change of one table. `replace` makes `upserts` its whole content. */
  | {
      readonly type: 'routes'
      readonly table: TableName
      readonly replace: boolean
      readonly upserts: readonly Route[]
      readonly withdrawals: readonly Prefix[]
      /** Echoed in `flushed` when every established session has written all of it to its socket. */
      readonly revision: number
    }
  /**
   * Routes that routers may still hold from an earlier process (graceful restart): sessions with graceful restart announce them
   * again or withdraw them before their first End-of-RIB. Comes before `ready`, or not at all.
   */
  | { readonly type: 'remember'; readonly table: TableName; readonly routes: readonly Route[] }
  /** The table is no longer used by anybody. */
  | { readonly type: 'drop-table'; readonly table: TableName }
  /** The first full plan has been delivered: sessions may announce, and send End-of-RIB. */
  | { readonly type: 'ready' }
  /** Administrative reset of one peer, or of all sessions of a range (Cease/4), or soft: re-send everything. */
  | { readonly type: 'clear'; readonly peer: string; readonly soft: boolean }
  /** Close every session: Cease/2 with the text, or silently where graceful restart is on. */
  | { readonly type: 'stop'; readonly reason: string }

export type SessionStateName = 'Idle' | 'Connect' | 'Active' | 'OpenSent' | 'OpenConfirm' | 'Established'

/** Of a BFD session; `Starting`: BGP has just come up, and BFD is not late yet. */
export type PathState = BfdState | 'Starting'

/** What a session is, for statuses, metrics and people. */
export interface SessionStatus {
  /** The peer's name; of a router that dialled in from a range `<range>@<remote>`. */
  readonly peer: string
  /** Present when the router dialled in from a range. */
  readonly dynamic?: {
    /** Name of the PeerRange. */
    readonly range: string
    /** Where the router is, with the interface of a link-local address. */
    readonly remote: string
  }
  readonly state: SessionStateName
  /** Wall-clock milliseconds of the last change of `state`. */
  readonly sinceMs: number
  /** Negotiated; present when Established. */
  readonly holdTimeSeconds?: number
  readonly families?: readonly Family[]
  /** Families in which several paths a prefix are sent. */
  readonly addPath?: readonly Family[]
  readonly gracefulRestart?: boolean
  readonly peerRouterId?: RouterId
  readonly localAddress?: Ip
  /** The networks of the interface that the session runs over, where they are known; present when Established. */
  readonly localNetworks?: readonly Prefix[]
  /** With next hop self: why nothing is announced in some family, in an operator's words. */
  readonly nextHopError?: string
  /** Of the path to the router; absent without BFD. */
  readonly bfd?: PathState
  /** Why BFD can not watch the path, in an operator's words. */
  readonly bfdError?: string
  /** Paths announced and not withdrawn. */
  readonly announcedPaths: number
  readonly announcedPrefixes: number
  readonly receivedPrefixes: number
  /** In words for an operator; absent when the session never failed since it was configured. */
  readonly lastError?: string
  /** Wall-clock milliseconds of `lastError`. */
  readonly lastErrorAtMs?: number
  /** Established sessions since the peer was configured. */
  readonly establishedCount: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly updatesOut: number
}

/** A range, beside the sessions it has. */
export interface RangeStatus {
  readonly range: string
  readonly sessions: number
  /** Connections refused since the range was configured, for want of room or because it is shut down. */
  readonly refused: number
  /** The last thing that went wrong with one of its routers, which may be gone by now. */
  readonly lastError?: string
  /** Wall-clock milliseconds of `lastError`. */
  readonly lastErrorAtMs?: number
  /** What the sessions that are gone had counted. */
  readonly past: Pick<SessionStatus, SessionCounter>
}

export type SessionCounter = 'establishedCount' | 'messagesIn' | 'messagesOut' | 'updatesOut'

export type SpeakerEvent =
  | { readonly type: 'session'; readonly status: SessionStatus }
  /** The peer is not configured any more, or a router that dialled in from a range is gone. */
  | { readonly type: 'session-gone'; readonly peer: string }
  | { readonly type: 'range'; readonly status: RangeStatus }
  /** The range is not configured any more. */
  | { readonly type: 'range-gone'; readonly range: string }
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'listen-failed'; readonly port: number; readonly reason: string }
  /** Every established session has written all changes up to this revision to its socket. */
  | { readonly type: 'flushed'; readonly revision: number }
  | {
      readonly type: 'log'
      readonly level: 'debug' | 'info' | 'warn'
      readonly fields: { readonly event: string } & Readonly<Record<string, unknown>>
    }
  | { readonly type: 'stopped' }

/** The speaker as its owner sees it; the worker-thread one and the in-process one are twins. */
export interface Speaker {
  readonly send: (command: SpeakerCommand) => void
  readonly onEvent: (listener: (event: SpeakerEvent) => void) => void
  /** The thread died of an error of ours; nothing is announced any more, and only a new process mends it. */
  readonly onFailure: (listener: (error: Error) => void) => void
  /** Resolves when every session is closed and the thread has ended. */
  readonly stop: (reason: string) => Promise<void>
}
