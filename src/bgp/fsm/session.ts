// The vocabulary of one BGP session (RFC 4271 section 8): its parameters, states, events and actions, all plain data. Every
// event can be written down and played back; every action is something the shell that owns socket and timers can do.

import type { Asn, RouterId } from '../../net/asn.ts'
import type {
  Family,
  KeepaliveMessage,
  NotificationMessage,
  OpenMessage,
  RouteRefreshMessage,
  SessionError,
} from '../packet/message.ts'
import type { Cease } from './cease.ts'
import type { Negotiated } from './negotiate.ts'

/** What a session is configured with: the mandatory attributes of RFC 4271 section 8 and the optional ones in use. */
export interface SessionConfig {
  /** The peer's name, for reasons that people read. */
  readonly name: string
  readonly localAsn: Asn
  readonly peerAsn: Asn
  readonly routerId: RouterId
  /** 0 or 3 .. 65535. */
  readonly holdTimeSeconds: number
  /** The longest time between two KEEPALIVEs; a third of the negotiated hold time when that is shorter. */
  readonly keepaliveSeconds: number
  readonly connectRetrySeconds: number
  readonly families: readonly Family[]
  readonly addPath: 'auto' | 'require' | 'disabled'
  readonly gracefulRestart?: { readonly restartSeconds: number; readonly longLivedSeconds: number }
  /** PassiveTcpEstablishment: never dial. */
  readonly passive: boolean
  /** DelayOpenTime; 0 = DelayOpen is off. */
  readonly delayOpenSeconds: number
  /** DampPeerOscillations: how long Idle lasts after the first failure, doubled by each further one up to the cap. Absent: Idle for good. */
  readonly idleHold?: { readonly firstSeconds: number; readonly maxSeconds: number }
  /** SendNOTIFICATIONwithoutOPEN (RFC 4271 section 8.1.1). */
  readonly sendNotificationWithoutOpen: boolean
  /** CollisionDetectEstablishedState (RFC 4271 section 8.1.1). */
  readonly collisionDetectEstablishedState: boolean
  /** For the fqdn capability (draft-walton-bgp-hostname-capability): what `show bgp summary` prints on many routers. */
  readonly hostname?: string
}

/** What a transition may know beside the state: nothing else exists for it. */
export interface SessionContext {
  readonly config: SessionConfig
  /** Monotonic milliseconds. */
  readonly nowMs: number
  /** The R bit of RFC 4724: this speaker has restarted and has not announced its routes since. */
  readonly restarting: boolean
}

/** What survives from one connection to the next. */
export interface SessionMemory {
  /** ConnectRetryCounter of RFC 4271: failures since the session was last stable, or started by hand. */
  readonly connectRetryCounter: number
  /** Capability codes the peer refused (RFC 5492 section 3); they are left out of the next OPEN. */
  readonly withoutCapabilities: readonly number[]
}

export const freshMemory: SessionMemory = { connectRetryCounter: 0, withoutCapabilities: [] }

export type SessionState =
  | { readonly name: 'Idle'; readonly memory: SessionMemory }
  /** `delayingOpen`: the TCP connection stands and the DelayOpenTimer runs. */
  | { readonly name: 'Connect' | 'Active'; readonly memory: SessionMemory; readonly delayingOpen: boolean }
  | { readonly name: 'OpenSent'; readonly memory: SessionMemory; readonly sentOpen: OpenMessage }
  | { readonly name: 'OpenConfirm'; readonly memory: SessionMemory; readonly negotiated: Negotiated }
  | {
      readonly name: 'Established'
      readonly memory: SessionMemory
      readonly negotiated: Negotiated
      /** Monotonic milliseconds of the transition. */
      readonly sinceMs: number
    }

export type StateName = SessionState['name']

export const stateNames: readonly StateName[] = ['Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established']

export const initialState: SessionState = { name: 'Idle', memory: freshMemory }

/** The events of RFC 4271 section 8.1, in its numbering; RouteRefresh events have no number there (RFC 2918, RFC 7313). */
export type SessionEvent =
  | { readonly type: 'ManualStart' }
  /** Without `cease` the connection is closed without a word: a graceful restart is about to happen (RFC 4724 section 4). */
  | { readonly type: 'ManualStop'; readonly cease?: Cease }
  | { readonly type: 'AutomaticStart' }
  | { readonly type: 'ManualStartWithPassiveTcpEstablishment' }
  | { readonly type: 'AutomaticStartWithPassiveTcpEstablishment' }
  | { readonly type: 'AutomaticStartWithDampPeerOscillations' }
  | { readonly type: 'AutomaticStartWithDampPeerOscillationsAndPassiveTcpEstablishment' }
  /** The local system ends the session and comes back after Idle; `retryAfterSeconds` overrides how long Idle lasts. */
  | {
      readonly type: 'AutomaticStop'
      readonly cease: Cease
      readonly reason: string
      readonly retryAfterSeconds?: number
    }
  | { readonly type: 'ConnectRetryTimerExpires' }
  | { readonly type: 'HoldTimerExpires' }
  | { readonly type: 'KeepaliveTimerExpires' }
  | { readonly type: 'DelayOpenTimerExpires' }
  | { readonly type: 'IdleHoldTimerExpires' }
  | { readonly type: 'TcpConnectionValid' }
  | { readonly type: 'TcpCrInvalid' }
  | { readonly type: 'TcpCrAcked' }
  | { readonly type: 'TcpConnectionConfirmed' }
  | { readonly type: 'TcpConnectionFails'; readonly reason: string }
  | { readonly type: 'BgpOpen'; readonly open: OpenMessage }
  | { readonly type: 'BgpOpenWithDelayOpenTimerRunning'; readonly open: OpenMessage }
  | { readonly type: 'BgpHeaderErr'; readonly error: SessionError }
  | { readonly type: 'BgpOpenMsgErr'; readonly error: SessionError }
  | { readonly type: 'OpenCollisionDump' }
  | { readonly type: 'NotifMsgVerErr'; readonly notification: NotificationMessage }
  | { readonly type: 'NotifMsg'; readonly notification: NotificationMessage }
  | { readonly type: 'KeepAliveMsg' }
  | { readonly type: 'UpdateMsg' }
  | { readonly type: 'UpdateMsgErr'; readonly error: SessionError }
  | { readonly type: 'SendHoldTimerExpires' }
  | { readonly type: 'RouteRefreshMsg'; readonly message: RouteRefreshMessage }
  | { readonly type: 'RouteRefreshMsgErr'; readonly error: SessionError }

export type EventName = SessionEvent['type']

/** Event numbers: 1 to 28 of RFC 4271 section 8.1, 29 of RFC 9687 section 3.2; null where no RFC gives one. */
export const eventNumbers: Readonly<Record<EventName, number | null>> = {
  ManualStart: 1,
  ManualStop: 2,
  AutomaticStart: 3,
  ManualStartWithPassiveTcpEstablishment: 4,
  AutomaticStartWithPassiveTcpEstablishment: 5,
  AutomaticStartWithDampPeerOscillations: 6,
  AutomaticStartWithDampPeerOscillationsAndPassiveTcpEstablishment: 7,
  AutomaticStop: 8,
  ConnectRetryTimerExpires: 9,
  HoldTimerExpires: 10,
  KeepaliveTimerExpires: 11,
  DelayOpenTimerExpires: 12,
  IdleHoldTimerExpires: 13,
  TcpConnectionValid: 14,
  TcpCrInvalid: 15,
  TcpCrAcked: 16,
  TcpConnectionConfirmed: 17,
  TcpConnectionFails: 18,
  BgpOpen: 19,
  BgpOpenWithDelayOpenTimerRunning: 20,
  BgpHeaderErr: 21,
  BgpOpenMsgErr: 22,
  OpenCollisionDump: 23,
  NotifMsgVerErr: 24,
  NotifMsg: 25,
  KeepAliveMsg: 26,
  UpdateMsg: 27,
  UpdateMsgErr: 28,
  SendHoldTimerExpires: 29,
  RouteRefreshMsg: null,
  RouteRefreshMsgErr: null,
}

export const eventNames: readonly EventName[] = Object.keys(eventNumbers) as EventName[]

export type TimerName = 'ConnectRetry' | 'Hold' | 'Keepalive' | 'DelayOpen' | 'IdleHold' | 'SendHold'

/** The timers that may run in a state. Leaving for a state that does not have one stops it. */
export const timersOf: Readonly<Record<StateName, readonly TimerName[]>> = {
  Idle: ['IdleHold'],
  Connect: ['ConnectRetry', 'DelayOpen'],
  Active: ['ConnectRetry', 'DelayOpen'],
  OpenSent: ['Hold'],
  OpenConfirm: ['Hold', 'Keepalive'],
  Established: ['Hold', 'Keepalive', 'SendHold'],
}

/** Timers the shell multiplies by a random factor from 0.75 to 1.0 (RFC 4271 section 10); IdleHold so that peers do not meet in step. */
export const jitteredTimers: ReadonlySet<TimerName> = new Set(['ConnectRetry', 'Keepalive', 'IdleHold'])

/** Why a session is not, or no longer, on its way to Established. */
export interface DownCause {
  readonly event: EventName
  /** In an operator's words. */
  readonly reason: string
  /** The local side meant it: not a failure, and not for `lastError`. */
  readonly intended: boolean
}

export type SessionAction =
  /** (Re)starts it; at most one of each runs. `SendHold` measures time without write progress while there is something to write. */
  | { readonly type: 'start-timer'; readonly timer: TimerName; readonly seconds: number }
  | { readonly type: 'stop-timer'; readonly timer: TimerName }
  | { readonly type: 'connect' }
  /** Give up the connection, or the attempt at one. What was sent before is still delivered if the peer takes it. */
  | { readonly type: 'disconnect' }
  | { readonly type: 'send'; readonly message: OpenMessage | KeepaliveMessage | NotificationMessage }
  | { readonly type: 'session-up'; readonly negotiated: Negotiated }
  /** Established was left. */
  | { readonly type: 'session-down'; readonly cause: DownCause }
  /** An attempt came to nothing before Established. */
  | { readonly type: 'attempt-failed'; readonly cause: DownCause }
  | { readonly type: 'receive-update' }
  | { readonly type: 'receive-route-refresh'; readonly message: RouteRefreshMessage }

export type Step = readonly [SessionState, readonly SessionAction[]]
