// The outer machine of a peer: up to two TCP connections at once, of which one survives (RFC 4271 section 6.8, RFC 6286, RFC 4724
// section 5). Pure like the session's own table; it decides which session a connection belongs to and which of two gives way.

import { routerIdToNumber } from '../../net/asn.ts'
import type { OpenMessage } from '../packet/message.ts'
import {
  initialState,
  type SessionAction,
  type SessionConfig,
  type SessionContext,
  type SessionEvent,
  type SessionState,
  type StateName,
  stateNames,
  timersOf,
} from './session.ts'
import { transition } from './transition.ts'

/** Names a session from its creation to its end; never used again for the same peer. */
export type SessionId = number

/** Who opened the TCP connection; undefined while there is none. */
export type Initiator = 'local' | 'peer'

export interface Session {
  readonly id: SessionId
  readonly state: SessionState
  readonly initiator?: Initiator
}

export interface PeerMachine {
  /** Dials, waits in Idle, and takes the peer's connection when it has none. */
  readonly primary: Session
  /** Exists only with a connection of its own. Always younger than a connection of the primary by the same initiator. */
  readonly secondary?: Session
  readonly nextId: SessionId
}

/** Events 1 to 8: what the local side decides. */
export type PeerCommand = Extract<SessionEvent, { readonly type: `${'Manual' | 'Automatic'}${string}` }>

export type PeerInput =
  /** What happens on a session's connection or to its timers. For a session that is gone: ignored. */
  | { readonly type: 'session'; readonly session: SessionId; readonly event: SessionEvent }
  /** What the local side wants of the peer: a stop reaches both sessions, a start the primary. */
  | { readonly type: 'peer'; readonly event: PeerCommand }
  /** The peer has connected to us. The answer is `adopt` or `refuse`. */
  | { readonly type: 'incoming' }

export type PeerAction =
  | { readonly type: 'session'; readonly session: SessionId; readonly action: SessionAction }
  /** The incoming connection is this session's from now on. */
  | { readonly type: 'adopt'; readonly session: SessionId }
  /** Close the incoming connection unread. */
  | { readonly type: 'refuse'; readonly reason: string }

export type PeerStep = readonly [PeerMachine, readonly PeerAction[]]

export const initialMachine: PeerMachine = { primary: { id: 0, state: initialState }, nextId: 1 }

/**
 * A second connection that comes this soon after Established is a leftover of both sides dialling at once. Later, and with
 * graceful restart, it means that the peer has restarted (RFC 4724 section 5).
 */
export const lateCollisionMs = 5000

/** The session that is furthest: what the peer's state is. */
export function leadingSession({ primary, secondary }: PeerMachine): Session {
  if (secondary === undefined) return primary
  return rank(secondary.state.name) > rank(primary.state.name) ? secondary : primary
}

const rank = (name: StateName): number => stateNames.indexOf(name)

/** The next machine, and what the shell has to do, in this order. Never throws. */
export function peerTransition(machine: PeerMachine, input: PeerInput, context: SessionContext): PeerStep {
  switch (input.type) {
    case 'incoming':
      return incoming(machine, context)
    case 'peer': {
      const stops = input.event.type === 'ManualStop' || input.event.type === 'AutomaticStop'
      const [first, before] = stops ? stepSecondary(machine, input.event, context) : [machine, []]
      return chain(first, before, (next) => settle(step(next, next.primary.id, input.event, context), machine, context))
    }
    case 'session':
      return onSession(machine, input.session, input.event, context)
  }
}

const chain = (
  machine: PeerMachine,
  before: readonly PeerAction[],
  then: (machine: PeerMachine) => PeerStep,
): PeerStep => {
  const [next, actions] = then(machine)
  return [next, [...before, ...actions]]
}

const stepSecondary = (machine: PeerMachine, event: SessionEvent, context: SessionContext): PeerStep =>
  machine.secondary === undefined
    ? [machine, []]
    : settle(step(machine, machine.secondary.id, event, context), machine, context)

const sessionOf = (machine: PeerMachine, id: SessionId): Session | undefined =>
  [machine.primary, machine.secondary].find((session) => session?.id === id)

// A secondary session neither dials nor waits in Idle: when its connection is gone, so is it.
const contextOf = (machine: PeerMachine, id: SessionId, context: SessionContext): SessionContext =>
  id === machine.primary.id ? context : { ...context, config: withoutRestart(context.config) }

const withoutRestart = ({ idleHold: _, ...config }: SessionConfig): SessionConfig => ({ ...config, passive: true })

function step(machine: PeerMachine, id: SessionId, event: SessionEvent, context: SessionContext): PeerStep {
  const session = sessionOf(machine, id)
  if (session === undefined) return [machine, []]
  const [state, actions] = transition(session.state, event, contextOf(machine, id, context))
  const initiator = event.type === 'TcpCrAcked' ? 'local' : session.initiator
  const next: Session = {
    id,
    state,
    ...(initiator === undefined || !hasConnection(state) ? {} : { initiator }),
  }
  return [withSession(machine, next), actions.map((action) => ({ type: 'session', session: id, action }))]
}

const withSession = (machine: PeerMachine, session: Session): PeerMachine =>
  session.id === machine.primary.id ? { ...machine, primary: session } : { ...machine, secondary: session }

const hasConnection = (state: SessionState): boolean =>
  state.name === 'Connect' || state.name === 'Active' ? state.delayingOpen : state.name !== 'Idle'

// ------------------------------------------------------------------------------------------------- a new connection

function incoming(machine: PeerMachine, context: SessionContext): PeerStep {
  const { state } = machine.primary
  // RFC 4271 section 8.2.2, Idle: "BGP FSM refuses all incoming BGP connections for this peer".
  if (state.name === 'Idle') return [machine, [{ type: 'refuse', reason: 'the session is idle' }]]
  // The peer opens one connection at a time: with a new one it has given up its older one.
  const [free, dumped] = stepSecondary(machine, { type: 'OpenCollisionDump' }, context)
  return chain(free, dumped, (next) => {
    const primaryIsFree = next.primary.state.name === 'Active' && !next.primary.state.delayingOpen
    return primaryIsFree ? adopt(next, next.primary, context) : adopt(...createSecondary(next), context)
  })
}

function createSecondary(machine: PeerMachine): readonly [PeerMachine, Session] {
  const { memory } = machine.primary.state
  const session: Session = { id: machine.nextId, state: { name: 'Active', memory, delayingOpen: false } }
  return [{ ...machine, nextId: machine.nextId + 1 }, session]
}

const adopt = (machine: PeerMachine, session: Session, context: SessionContext): PeerStep =>
  chain(withSession(machine, { ...session, initiator: 'peer' }), [{ type: 'adopt', session: session.id }], (next) =>
    step(next, session.id, { type: 'TcpConnectionConfirmed' }, context),
  )

// --------------------------------------------------------------------------------------------------- an event on one

function onSession(machine: PeerMachine, id: SessionId, event: SessionEvent, context: SessionContext): PeerStep {
  const session = sessionOf(machine, id)
  if (session === undefined) return [machine, []]
  const isOpen = event.type === 'BgpOpen' || event.type === 'BgpOpenWithDelayOpenTimerRunning'
  const other = id === machine.primary.id ? machine.secondary : machine.primary
  if (!isOpen || other === undefined || !collides(other.state))
    return settle(step(machine, id, event, context), machine, context)
  const verdict = resolveCollision(machine, session, other, event.open, context)
  if (verdict.keep === 'other') return settle(step(machine, id, verdict.event, context), machine, context)
  return chain(...step(machine, other.id, verdict.event, withoutIdleHold(context)), (next) =>
    settle(step(next, id, event, context), machine, context),
  )
}

// Section 6.8 demands the check against OpenConfirm and allows it against OpenSent. We do both: with the peer's identifier at
// hand both sides can decide at once, by the same numbers, before one of them sees a session Established that the other drops.
const collides = (state: SessionState): boolean =>
  state.name === 'OpenSent' || state.name === 'OpenConfirm' || state.name === 'Established'

// The session that gives way to its twin does not wait in Idle: the twin takes its place in the same step.
const withoutIdleHold = (context: SessionContext): SessionContext => {
  const { idleHold: _, ...config } = context.config
  return { ...context, config }
}

/** What happens to the one that is not kept. */
export interface Verdict {
  readonly keep: 'this' | 'other'
  readonly event: SessionEvent
}

/** Which of two connections is kept when `open` has arrived on `session` while `other` is at OpenSent or beyond. */
function resolveCollision(
  machine: PeerMachine,
  session: Session,
  other: Session,
  open: OpenMessage,
  context: SessionContext,
): Verdict {
  const { config, nowMs } = context
  const dump = { type: 'OpenCollisionDump' } as const
  if (other.state.name === 'Established') {
    const restarted =
      other.state.negotiated.gracefulRestart !== undefined &&
      session.initiator === 'peer' &&
      nowMs - other.state.sinceMs >= lateCollisionMs
    // RFC 4724 section 5: the old connection is closed without a NOTIFICATION, the new one is the session.
    if (restarted)
      return {
        keep: 'this',
        event: { type: 'TcpConnectionFails', reason: 'the router restarted: it opened a new connection' },
      }
    if (!config.collisionDetectEstablishedState) return { keep: 'other', event: dump }
  }
  // Two of one initiator: it has lost the older one, or it would not have opened another.
  if (session.initiator === other.initiator)
    return { keep: session.id === machine.primary.id ? 'other' : 'this', event: dump }
  return { keep: session.initiator === winnerOf(open, config) ? 'this' : 'other', event: dump }
}

// The connection of the higher BGP identifier is kept; between equal ones that of the larger AS (RFC 6286 section 2.3).
function winnerOf(open: OpenMessage, config: SessionConfig): Initiator {
  const local = routerIdToNumber(config.routerId)
  if (local !== open.bgpIdentifier) return local > open.bgpIdentifier ? 'local' : 'peer'
  return config.localAsn > config.peerAsn ? 'local' : 'peer'
}

// ------------------------------------------------------------------------------------------------ after every event

// Puts the machine back into its normal form: a secondary without a connection is gone; a primary that fell makes room for it;
// whoever is Established first sends the other away.
function settle([machine, actions]: PeerStep, before: PeerMachine, context: SessionContext): PeerStep {
  const { primary, secondary } = machine
  if (secondary === undefined) return [machine, actions]
  if (!hasConnection(secondary.state)) return [withoutSecondary(machine), actions]
  if (secondary.state.name === 'Established') {
    const [dropped, last] = step(machine, primary.id, { type: 'OpenCollisionDump' }, withoutIdleHold(context))
    return promote(dropped, [...actions, ...last])
  }
  if (primary.state.name === 'Idle') return promote(machine, actions)
  const justEstablished = primary.state.name === 'Established' && before.primary.state.name !== 'Established'
  if (!justEstablished) return [machine, actions]
  const [dropped, last] = step(machine, secondary.id, { type: 'OpenCollisionDump' }, context)
  return [withoutSecondary(dropped), [...actions, ...last]]
}

const withoutSecondary = ({ secondary: _, ...machine }: PeerMachine): PeerMachine => machine

function promote(machine: PeerMachine, actions: readonly PeerAction[]): PeerStep {
  const { primary, secondary } = machine
  if (secondary === undefined) return [machine, actions]
  return [{ ...withoutSecondary(machine), primary: secondary }, [...actions, ...stopAll(primary)]]
}

const stopAll = (session: Session): readonly PeerAction[] =>
  timersOf[session.state.name].map((timer) => ({
    type: 'session',
    session: session.id,
    action: { type: 'stop-timer', timer },
  }))
