// One BFD session in asynchronous mode (RFC 5880 section 6) as a pure function: packets, timers and the operator's wishes in,
// packets to send, timers to set and state changes out. Time never enters; the shell owns clock, jitter source and socket.

import type { BfdControl, BfdState } from './packet.ts'

export interface BfdConfig {
  /** Microseconds between our packets when the session is up. */
  readonly desiredMinTx: number
  /** Microseconds: the fastest we are willing to receive. */
  readonly requiredMinRx: number
  readonly detectMult: number
}

export interface BfdSession {
  readonly state: BfdState
  readonly diagnostic: number
  readonly localDiscriminator: number
  readonly config: BfdConfig
  /** What the peer said last; the initial values of section 6.8.1 before it said anything. */
  readonly remote: {
    readonly state: BfdState
    readonly discriminator: number
    readonly minRx: number
    readonly desiredMinTx: number
    readonly detectMult: number
    readonly demand: boolean
  }
  /** In use: an increase of TX and a decrease of RX wait for the end of the poll sequence (section 6.8.3). */
  readonly txInUse: number
  readonly rxInUse: number
  readonly polling: boolean
}

export type BfdEvent =
  | { readonly type: 'packet'; readonly packet: BfdControl }
  | { readonly type: 'transmit-timer' }
  | { readonly type: 'detection-timer' }
  | { readonly type: 'configure'; readonly config: BfdConfig }
  | { readonly type: 'admin-down' }
  | { readonly type: 'admin-up' }

export type BfdAction =
  | { readonly type: 'send'; readonly packet: BfdControl }
  /** Re-arm with the interval before jitter, microseconds; 0: the peer wants no periodic packets. */
  | { readonly type: 'set-transmit-timer'; readonly interval: number }
  /** Re-arm, microseconds from now; 0: stop. */
  | { readonly type: 'set-detection-timer'; readonly time: number }
  | {
      readonly type: 'state-changed'
      readonly from: BfdState
      readonly to: BfdState
      readonly diagnostic: number
    }

export type BfdStep = readonly [BfdSession, readonly BfdAction[]]

/** Section 6.8.3: not faster than one packet a second while the session is not up. */
const slowTx = 1_000_000
const diagnosticDetectionExpired = 1
const diagnosticNeighborDown = 3
const diagnosticAdminDown = 7

const unknownRemote: BfdSession['remote'] = {
  state: 'Down',
  discriminator: 0,
  minRx: 1,
  desiredMinTx: 0,
  detectMult: 0,
  demand: false,
}

/** A new session, down, with its first transmission due. `localDiscriminator` is non-zero and unique in this process. */
export function startBfd(localDiscriminator: number, config: BfdConfig): BfdStep {
  const session: BfdSession = {
    state: 'Down',
    diagnostic: 0,
    localDiscriminator,
    config,
    remote: unknownRemote,
    txInUse: Math.max(slowTx, config.desiredMinTx),
    rxInUse: config.requiredMinRx,
    polling: false,
  }
  return [session, [{ type: 'send', packet: packetOf(session) }, transmitTimer(session)]]
}

/** Microseconds between packets before jitter: the slower of what we want and what the peer takes (section 6.8.7); 0: none. */
export const transmitInterval = (session: BfdSession): number =>
  session.remote.minRx === 0 || isRemoteQuiet(session) ? 0 : Math.max(session.txInUse, session.remote.minRx)

// Section 6.8.7: a peer in demand mode wants no packets while both are up, but for those of a poll sequence.
const isRemoteQuiet = ({ remote, state, polling }: BfdSession): boolean =>
  remote.demand && remote.state === 'Up' && state === 'Up' && !polling

/** Microseconds without a packet after which the session is down (section 6.8.4). */
export const detectionTime = (session: BfdSession): number =>
  session.remote.detectMult * Math.max(session.rxInUse, session.remote.desiredMinTx)

/** Jitter of section 6.8.7: 75 to 100 per cent, at most 90 when one lost packet already counts. `random` in [0, 1). */
export const jittered = (interval: number, detectMult: number, random: number): number =>
  interval * (jitterLeast + random * (detectMult === 1 ? 0.15 : 0.25))

/** The share of its interval after which a packet may follow the one before. */
export const jitterLeast = 0.75

/** What the session becomes, and what is to be done. */
export function transitionBfd(session: BfdSession, event: BfdEvent): BfdStep {
  switch (event.type) {
    case 'packet':
      return receive(session, event.packet)
    case 'transmit-timer':
      if (transmitInterval(session) === 0) return [session, []]
      return [session, [{ type: 'send', packet: packetOf(session) }, transmitTimer(session)]]
    case 'detection-timer':
      return detectionExpired(session)
    case 'configure':
      return configure(session, event.config)
    case 'admin-down':
      return goTo(session, 'AdminDown', diagnosticAdminDown, [{ type: 'set-detection-timer', time: 0 }])
    case 'admin-up':
      return session.state === 'AdminDown' ? goTo(session, 'Down', 0, []) : [session, []]
  }
}

function detectionExpired(session: BfdSession): BfdStep {
  // Section 6.8.1: the peer's discriminator is forgotten after a detection time without a packet.
  const forgotten = { ...session, remote: unknownRemote }
  const stopped: BfdAction = { type: 'set-detection-timer', time: 0 }
  if (session.state === 'Up' || session.state === 'Init')
    return goTo(forgotten, 'Down', diagnosticDetectionExpired, [stopped])
  return [forgotten, [stopped, transmitTimer(forgotten)]]
}

// Section 6.8.6, from the step on that has found the session.
function receive(before: BfdSession, packet: BfdControl): BfdStep {
  if (packet.yourDiscriminator !== 0 && packet.yourDiscriminator !== before.localDiscriminator) return [before, []]
  const intervalBefore = transmitInterval(before)
  let session: BfdSession = {
    ...before,
    remote: {
      state: packet.state,
      discriminator: packet.myDiscriminator,
      minRx: packet.requiredMinRx,
      desiredMinTx: packet.desiredMinTx,
      detectMult: packet.detectMult,
      demand: packet.demand,
    },
  }
  if (packet.final && session.polling) session = settle(session)
  if (session.state === 'AdminDown') return [session, []]
  const actions: BfdAction[] = []
  const next = nextState(session.state, packet.state)
  if (next !== undefined) {
    const [changed, changes] = goTo(session, next, next === 'Down' ? diagnosticNeighborDown : 0, [])
    session = changed
    actions.push(...changes)
  }
  actions.push({ type: 'set-detection-timer', time: detectionTime(session) })
  if (packet.poll) actions.push({ type: 'send', packet: { ...packetOf(session), poll: false, final: true } })
  if (next === undefined && transmitInterval(session) !== intervalBefore) actions.push(transmitTimer(session))
  return [session, actions]
}

/** The state machine of section 6.2; undefined: stays. */
function nextState(state: BfdState, remote: BfdState): BfdState | undefined {
  if (remote === 'AdminDown') return state === 'Down' ? undefined : 'Down'
  switch (state) {
    case 'Down':
      return remote === 'Down' ? 'Init' : remote === 'Init' ? 'Up' : undefined
    case 'Init':
      return remote === 'Init' || remote === 'Up' ? 'Up' : undefined
    case 'Up':
      return remote === 'Down' ? 'Down' : undefined
    case 'AdminDown':
      return undefined
  }
}

function goTo(before: BfdSession, state: BfdState, diagnostic: number, extra: readonly BfdAction[]): BfdStep {
  if (before.state === state) return [before, extra]
  let session: BfdSession = { ...before, state, diagnostic }
  // Up: our real interval takes over, announced by a poll sequence (section 6.8.3); not up: slow again.
  if (state === 'Up') session = { ...session, txInUse: session.config.desiredMinTx, polling: true }
  else session = { ...session, txInUse: Math.max(slowTx, session.config.desiredMinTx), polling: false }
  return [
    session,
    [
      { type: 'state-changed', from: before.state, to: state, diagnostic },
      { type: 'send', packet: packetOf(session) },
      transmitTimer(session),
      ...extra,
    ],
  ]
}

// Section 6.8.3: while up, slower transmission and faster reception must not be relied on before the peer has confirmed.
function configure(before: BfdSession, config: BfdConfig): BfdStep {
  const up = before.state === 'Up'
  const wanted = up ? config.desiredMinTx : Math.max(slowTx, config.desiredMinTx)
  const session: BfdSession = {
    ...before,
    config,
    txInUse: up ? Math.min(before.txInUse, wanted) : wanted,
    rxInUse: up ? Math.max(before.rxInUse, config.requiredMinRx) : config.requiredMinRx,
    polling: up,
  }
  if (session.state === 'AdminDown') return [session, []]
  return [session, [{ type: 'send', packet: packetOf(session) }, transmitTimer(session)]]
}

const settle = (session: BfdSession): BfdSession => ({
  ...session,
  polling: false,
  txInUse: session.config.desiredMinTx,
  rxInUse: session.config.requiredMinRx,
})

const transmitTimer = (session: BfdSession): BfdAction => ({
  type: 'set-transmit-timer',
  interval: transmitInterval(session),
})

/** The periodic packet; it carries what we want, not what is in use, so that a poll sequence announces it. */
function packetOf(session: BfdSession): BfdControl {
  const { config, remote, state } = session
  return {
    diagnostic: session.diagnostic,
    state,
    poll: session.polling,
    final: false,
    controlPlaneIndependent: false,
    demand: false,
    detectMult: config.detectMult,
    myDiscriminator: session.localDiscriminator,
    yourDiscriminator: remote.discriminator,
    desiredMinTx: state === 'Up' ? config.desiredMinTx : Math.max(slowTx, config.desiredMinTx),
    requiredMinRx: config.requiredMinRx,
    requiredMinEchoRx: 0,
  }
}
