// The steps that the session's table is made of. Each rule carries the sentence that docs/fsm.md prints beside its effects, with
// the paragraph it comes from and, where we depart from that paragraph, why.

import {
  ceaseError,
  describeNotification,
  describeSessionError,
  holdTimerExpiredError,
  notificationOf,
  sendHoldTimerExpiredError,
  stateMachineError,
} from '../packet/errors.ts'
import type { OpenMessage, SessionError } from '../packet/message.ts'
import { ceaseNotification } from './cease.ts'
import { type Fall, fallToIdle, refusedCapabilities, stopTimers } from './fall.ts'
import { negotiate } from './negotiate.ts'
import { createOpen } from './open.ts'
import type { SessionAction, SessionContext, SessionEvent, SessionState, StateName, Step } from './session.ts'

export type StateOf<S extends StateName> = Extract<SessionState, { readonly name: S }>
export type EventOf<E extends SessionEvent['type']> = Extract<SessionEvent, { readonly type: E }>

/** What a state does with an event. */
export interface Rule<S extends SessionState = SessionState, E extends SessionEvent = SessionEvent> {
  /** For the table in docs/fsm.md. */
  readonly name: string
  readonly text: string
  readonly run: (state: S, event: E, context: SessionContext) => Step
}

type Waiting = StateOf<'Connect' | 'Active'>
type Negotiating = StateOf<'OpenConfirm' | 'Established'>

/** RFC 4271 section 8.2.2, OpenSent: "a HoldTimer value of 4 minutes is suggested". */
const largeHoldSeconds = 240

const start = (timer: 'ConnectRetry' | 'Hold' | 'DelayOpen' | 'Keepalive' | 'SendHold', seconds: number) =>
  ({ type: 'start-timer', timer, seconds }) as const

const openOf = (state: SessionState, context: SessionContext): OpenMessage =>
  createOpen(context.config, {
    restarting: context.restarting,
    withoutCapabilities: state.memory.withoutCapabilities,
  })

// ------------------------------------------------------------------------------------------------------- starting

export const ignore: Rule = { name: 'ignore', text: 'Nothing happens.', run: (state) => [state, []] }

const dial = (state: SessionState, { config }: SessionContext): Step => [
  { name: 'Connect', memory: state.memory, delayingOpen: false },
  [
    ...(state.name === 'Idle' ? stopTimers('Idle', 'Connect') : []),
    start('ConnectRetry', config.connectRetrySeconds),
    { type: 'connect' },
  ],
]

const listen = (state: SessionState): Step => [
  { name: 'Active', memory: state.memory, delayingOpen: false },
  stopTimers(state.name, 'Active'),
]

export const startSession: Rule<StateOf<'Idle'>> = {
  name: 'start',
  text: 'Dial and start the ConnectRetryTimer; a peer configured as passive only listens.',
  run: (state, event, context) => {
    const memory = event.type === 'ManualStart' ? { ...state.memory, connectRetryCounter: 0 } : state.memory
    const from: SessionState = { name: 'Idle', memory }
    return context.config.passive ? listen(from) : dial(from, context)
  },
}

export const startPassive: Rule<StateOf<'Idle'>> = {
  name: 'listen',
  text: 'Wait for the peer to connect. The ConnectRetryTimer of RFC 4271 is not started: it would make a passive peer dial.',
  run: (state, event) => {
    const byHand = event.type === 'ManualStartWithPassiveTcpEstablishment'
    return listen({ name: 'Idle', memory: byHand ? { ...state.memory, connectRetryCounter: 0 } : state.memory })
  },
}

export const redial: Rule<Waiting> = {
  name: 'redial',
  text: 'Give up the attempt under way, restart the ConnectRetryTimer and dial again.',
  run: (state, event, context) => {
    const reason = `no answer to the TCP connection within ${context.config.connectRetrySeconds} s`
    const [next, actions] = dial(state, context)
    return [
      next,
      [
        { type: 'disconnect' },
        ...(state.delayingOpen ? [{ type: 'stop-timer', timer: 'DelayOpen' } as const] : []),
        ...actions,
        { type: 'attempt-failed', cause: { event: event.type, reason, intended: false } },
      ],
    ]
  },
}

export const dialAgain: Rule<Waiting> = {
  name: 'dial',
  text: 'Restart the ConnectRetryTimer and dial. A passive peer, and one whose OPEN is being delayed, does not.',
  run: (state, _event, context) => (context.config.passive || state.delayingOpen ? [state, []] : dial(state, context)),
}

// ----------------------------------------------------------------------------------------------------- connecting

const sendOpen = (state: SessionState, context: SessionContext): Step => {
  const open = openOf(state, context)
  return [
    { name: 'OpenSent', memory: state.memory, sentOpen: open },
    [...stopTimers(state.name, 'OpenSent'), { type: 'send', message: open }, start('Hold', largeHoldSeconds)],
  ]
}

export const connected: Rule<Waiting> = {
  name: 'connected',
  text: 'Send OPEN and start the HoldTimer at 240 s; with DelayOpen first wait for the DelayOpenTimer in the same state.',
  run: (state, _event, context) => {
    const { delayOpenSeconds } = context.config
    if (state.delayingOpen) return [state, []]
    if (delayOpenSeconds === 0) return sendOpen(state, context)
    return [
      { ...state, delayingOpen: true },
      [{ type: 'stop-timer', timer: 'ConnectRetry' }, start('DelayOpen', delayOpenSeconds)],
    ]
  },
}

export const openNow: Rule<Waiting> = {
  name: 'send OPEN',
  text: 'The peer had its time: send OPEN and start the HoldTimer at 240 s.',
  run: (state, _event, context) => (state.delayingOpen ? sendOpen(state, context) : [state, []]),
}

const retryLater = (state: SessionState, { config }: SessionContext): readonly SessionAction[] => [
  ...stopTimers(state.name, 'Active'),
  ...(state.name === 'Connect' || state.name === 'Active' ? [{ type: 'stop-timer', timer: 'DelayOpen' } as const] : []),
  ...(config.passive
    ? [{ type: 'stop-timer', timer: 'ConnectRetry' } as const]
    : [start('ConnectRetry', config.connectRetrySeconds)]),
]

export const retryFromActive: Rule<SessionState, EventOf<'TcpConnectionFails'>> = {
  name: 'retry',
  text:
    'Listen, and dial again when the ConnectRetryTimer expires. RFC 4271 sends a failed dial without DelayOpen to Idle, where ' +
    'the peer could not reach us either; we go to Active in both cases.',
  run: (state, event, context) => [
    { name: 'Active', memory: state.memory, delayingOpen: false },
    [
      { type: 'disconnect' },
      ...retryLater(state, context),
      { type: 'attempt-failed', cause: { event: event.type, reason: event.reason, intended: false } },
    ],
  ],
}

// ---------------------------------------------------------------------------------------------------- negotiating

const accept = (state: SessionState, sent: OpenMessage, received: OpenMessage, context: SessionContext): Step => {
  const negotiated = negotiate(sent, received, context.config)
  const { holdTimeSeconds, keepaliveSeconds } = negotiated
  return [
    { name: 'OpenConfirm', memory: state.memory, negotiated },
    [
      ...stopTimers(state.name, 'OpenConfirm'),
      { type: 'send', message: { type: 'KEEPALIVE' } },
      ...(holdTimeSeconds === 0
        ? ([{ type: 'stop-timer', timer: 'Hold' }] as const)
        : [start('Hold', holdTimeSeconds), start('Keepalive', keepaliveSeconds)]),
    ],
  ]
}

export const acceptOpen: Rule<StateOf<'OpenSent'>, EventOf<'BgpOpen'>> = {
  name: 'accept OPEN',
  text: 'Send KEEPALIVE; the HoldTimer and the KeepaliveTimer run as negotiated, or neither when the hold time is 0.',
  run: (state, event, context) => accept(state, state.sentOpen, event.open, context),
}

export const acceptDelayedOpen: Rule<Waiting, EventOf<'BgpOpenWithDelayOpenTimerRunning'>> = {
  name: 'answer OPEN',
  text: "The peer's OPEN came first: send ours and a KEEPALIVE, and run the timers as negotiated.",
  run: (state, event, context) => {
    const sent = openOf(state, context)
    const [next, actions] = accept(state, sent, event.open, context)
    return [next, [{ type: 'send', message: sent }, ...actions]]
  },
}

/** RFC 9687 section 3: SendHoldTime is the larger of 8 minutes and twice the hold time. */
const sendHoldSeconds = (holdTimeSeconds: number): number => Math.max(8 * 60, 2 * holdTimeSeconds)

export const establish: Rule<StateOf<'OpenConfirm'>> = {
  name: 'establish',
  text: 'The session is up; the HoldTimer is restarted and the SendHoldTimer of RFC 9687 runs, unless the hold time is 0.',
  run: (state, _event, context) => {
    const { negotiated, memory } = state
    const { holdTimeSeconds } = negotiated
    return [
      { name: 'Established', memory, negotiated, sinceMs: context.nowMs },
      [
        ...(holdTimeSeconds === 0
          ? []
          : [start('Hold', holdTimeSeconds), start('SendHold', sendHoldSeconds(holdTimeSeconds))]),
        { type: 'session-up', negotiated },
      ],
    ]
  },
}

export const keepalive: Rule<Negotiating> = {
  name: 'send KEEPALIVE',
  text: 'Send KEEPALIVE and restart the KeepaliveTimer. It is not restarted by the UPDATEs we send: the beat stays even.',
  run: (state) =>
    state.negotiated.keepaliveSeconds === 0
      ? [state, []]
      : [
          state,
          [{ type: 'send', message: { type: 'KEEPALIVE' } }, start('Keepalive', state.negotiated.keepaliveSeconds)],
        ],
}

const heard = (state: Negotiating): readonly SessionAction[] =>
  state.negotiated.holdTimeSeconds === 0 ? [] : [start('Hold', state.negotiated.holdTimeSeconds)]

export const alive: Rule<Negotiating> = {
  name: 'alive',
  text: 'Restart the HoldTimer.',
  run: (state) => [state, heard(state)],
}

export const receiveUpdate: Rule<Negotiating> = {
  name: 'receive UPDATE',
  text: 'Restart the HoldTimer; the shell counts the prefixes and forgets them.',
  run: (state) => [state, [...heard(state), { type: 'receive-update' }]],
}

export const receiveRouteRefresh: Rule<Negotiating, EventOf<'RouteRefreshMsg'>> = {
  name: 'refresh',
  text: 'Send the Adj-RIB-Out of that family again (RFC 2918). The HoldTimer is restarted: the peer is alive.',
  run: (state, event) => [state, [...heard(state), { type: 'receive-route-refresh', message: event.message }]],
}

// --------------------------------------------------------------------------------------------------------- ending

const fail = (fall: Omit<Fall, 'kind'>): Fall => ({ ...fall, kind: 'failure' })

const keepsRoutes = (state: SessionState): { readonly keepsRoutes: boolean } => ({
  keepsRoutes: state.name === 'Established' && state.negotiated.gracefulRestart?.notification === true,
})

export const stop: Rule<SessionState, EventOf<'ManualStop'>> = {
  name: 'stop',
  text:
    'Send Cease (as Hard Reset where RFC 8538 asks for it), or nothing when a graceful restart is intended; close, and stay ' +
    'in Idle with the ConnectRetryCounter at 0.',
  run: (state, { type, cease }, context) =>
    fallToIdle(state, context, {
      event: type,
      kind: 'intended',
      reason:
        cease === undefined
          ? 'closed without a NOTIFICATION: the peer keeps the routes (graceful restart)'
          : describeSessionError(ceaseError(cease.name, cease.text ?? 'by configuration or command')),
      ...(cease === undefined ? {} : { notification: ceaseNotification(cease, keepsRoutes(state)) }),
    }),
}

export const halt: Rule<SessionState, EventOf<'AutomaticStop'>> = {
  name: 'halt',
  text: 'Send Cease, close, and come back after Idle.',
  run: (state, { type, cease, reason, retryAfterSeconds }, context) =>
    fallToIdle(
      state,
      context,
      fail({
        event: type,
        reason: describeSessionError(ceaseError(cease.name, reason)),
        notification: ceaseNotification(cease, keepsRoutes(state)),
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      }),
    ),
}

const failWith = (
  state: SessionState,
  context: SessionContext,
  event: SessionEvent['type'],
  error: SessionError,
): Step =>
  fallToIdle(state, context, fail({ event, reason: describeSessionError(error), notification: notificationOf(error) }))

type ErrorEvent = EventOf<'BgpHeaderErr' | 'BgpOpenMsgErr' | 'UpdateMsgErr' | 'RouteRefreshMsgErr'>

export const reportError: Rule<SessionState, ErrorEvent> = {
  name: 'report error',
  text:
    'Send the NOTIFICATION that the error asks for and close; before our OPEN only with SendNOTIFICATIONwithoutOPEN. A header ' +
    'error in Established is answered with code 1 (section 6.1), not with an FSM error as section 8.2.2 has it.',
  run: (state, event, context) => failWith(state, context, event.type, event.error),
}

export const holdExpired: Rule<StateOf<'OpenSent' | 'OpenConfirm' | 'Established'>> = {
  name: 'hold expired',
  text: 'Send NOTIFICATION Hold Timer Expired and close.',
  run: (state, event, context) =>
    failWith(
      state,
      context,
      event.type,
      state.name === 'OpenSent'
        ? {
            ...holdTimerExpiredError(largeHoldSeconds),
            reason: `the router accepted the TCP connection but sent no OPEN within ${largeHoldSeconds} s`,
          }
        : holdTimerExpiredError(state.negotiated.holdTimeSeconds),
    ),
}

export const sendHoldExpired: Rule<StateOf<'Established'>> = {
  name: 'send hold expired',
  text: 'Close without a NOTIFICATION: the peer reads nothing, so none could be delivered (RFC 9687).',
  run: (state, event, context) => {
    const error = sendHoldTimerExpiredError(sendHoldSeconds(state.negotiated.holdTimeSeconds))
    return fallToIdle(state, context, fail({ event: event.type, reason: describeSessionError(error) }))
  },
}

// RFC 6608 section 4: the data of the NOTIFICATION is the type of the unexpected message.
const messageTypeOf: Readonly<Partial<Record<SessionEvent['type'], number>>> = {
  BgpOpen: 1,
  BgpOpenWithDelayOpenTimerRunning: 1,
  BgpOpenMsgErr: 1,
  UpdateMsg: 2,
  UpdateMsgErr: 2,
  NotifMsgVerErr: 3,
  NotifMsg: 3,
  KeepAliveMsg: 4,
  RouteRefreshMsg: 5,
  RouteRefreshMsgErr: 5,
}

export const unexpected: Rule<StateOf<'OpenSent' | 'OpenConfirm' | 'Established'>> = {
  name: 'unexpected',
  text: 'Send NOTIFICATION Finite State Machine Error with the subcode of the state and the message type (RFC 6608); close.',
  run: (state, event, context) => {
    const messageType = messageTypeOf[event.type]
    const data = messageType === undefined ? new Uint8Array(0) : Uint8Array.of(messageType)
    return failWith(state, context, event.type, stateMachineError(state.name, event.type, data))
  },
}

export const abandon: Rule<Waiting> = {
  name: 'abandon',
  text: 'Nothing of this can come before an OPEN was sent: drop the connection.',
  run: (state, event, context) =>
    fallToIdle(state, context, fail({ event: event.type, reason: `${event.type} is not expected in ${state.name}` })),
}

export const lost: Rule<SessionState, EventOf<'TcpConnectionFails'>> = {
  name: 'lost',
  text: 'The connection is gone: release it.',
  run: (state, event, context) => fallToIdle(state, context, fail({ event: event.type, reason: event.reason })),
}

export const notified: Rule<SessionState, EventOf<'NotifMsg' | 'NotifMsgVerErr'>> = {
  name: 'notified',
  text:
    'Close without an answer, and leave refused capabilities out of the next OPEN (RFC 5492). RFC 4271 answers a NOTIFICATION ' +
    'in OpenSent with an FSM error; section 6.4 has no room for that, and routers do not do it.',
  run: (state, event, context) =>
    fallToIdle(
      state,
      context,
      fail({
        event: event.type,
        reason: describeNotification(event.notification),
        refusedCapabilities: refusedCapabilities(event.notification, context.config),
      }),
    ),
}

export const collided: Rule = {
  name: 'collided',
  text: 'The other connection with this peer is kept: send Cease / Connection Collision Resolution and close (section 6.8).',
  run: (state, event, context) =>
    fallToIdle(
      state,
      context,
      fail({
        event: event.type,
        reason: describeSessionError(
          ceaseError('connection-collision', 'the other connection with the router is kept'),
        ),
        notification: ceaseNotification({ name: 'connection-collision' }, { keepsRoutes: false }),
      }),
    ),
}
