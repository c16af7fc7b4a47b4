// How a session falls back to Idle: what is sent last, what is remembered, how long Idle lasts, and in which words the reason
// is told. Every way down goes through here, so that no path forgets a timer, a connection or the damping of RFC 4271 8.1.

import { capabilityCode } from '../packet/capability.ts'
import { type OpenErrorName, openError } from '../packet/errors.ts'
import type { NotificationMessage } from '../packet/message.ts'
import { createOpen, requiredCapabilities } from './open.ts'
import {
  type EventName,
  type SessionAction,
  type SessionConfig,
  type SessionContext,
  type SessionMemory,
  type SessionState,
  type StateName,
  type Step,
  timersOf,
} from './session.ts'

export interface Fall {
  readonly event: EventName
  /** In an operator's words. */
  readonly reason: string
  /** Sent before the connection is closed, where a NOTIFICATION may be sent at all. */
  readonly notification?: NotificationMessage
  /** 'failure': counts, and Idle lasts for the IdleHoldTime. 'intended': the local side wants it, Idle is for good. */
  readonly kind: 'failure' | 'intended'
  /** Instead of the IdleHoldTime. */
  readonly retryAfterSeconds?: number
  /** Capability codes to leave out of the next OPEN. */
  readonly refusedCapabilities?: readonly number[]
}

/** Whether there is a TCP connection, or an attempt at one. */
const hasConnection = (state: SessionState): boolean =>
  state.name === 'Active' ? state.delayingOpen : state.name !== 'Idle'

/** Whether our OPEN was sent, so that the peer may receive a NOTIFICATION. */
const openWasSent = (state: SessionState): boolean =>
  state.name === 'OpenSent' || state.name === 'OpenConfirm' || state.name === 'Established'

const mayNotify = (state: SessionState, config: SessionConfig): boolean =>
  openWasSent(state) ||
  (config.sendNotificationWithoutOpen && (state.name === 'Connect' || state.name === 'Active') && state.delayingOpen)

/** Stops the timers that may run in `from` and not in `to`. */
export const stopTimers = (from: StateName, to: StateName): readonly SessionAction[] =>
  timersOf[from].filter((timer) => !timersOf[to].includes(timer)).map((timer) => ({ type: 'stop-timer', timer }))

/** To Idle. From Idle itself only an intended fall changes anything: it ends the wait for the next attempt. */
export function fallToIdle(state: SessionState, context: SessionContext, fall: Fall): Step {
  const { config } = context
  if (state.name === 'Idle')
    return fall.kind === 'intended'
      ? [{ name: 'Idle', memory: forgetFailures(state.memory) }, [{ type: 'stop-timer', timer: 'IdleHold' }]]
      : [state, []]
  const memory = memoryAfter(state, context, fall)
  const cause = { event: fall.event, reason: fall.reason, intended: fall.kind === 'intended' }
  return [
    { name: 'Idle', memory },
    [
      ...(fall.notification !== undefined && mayNotify(state, config)
        ? [{ type: 'send', message: fall.notification } as const]
        : []),
      ...(hasConnection(state) ? [{ type: 'disconnect' } as const] : []),
      ...stopTimers(state.name, 'Idle'),
      ...(fall.kind === 'failure' ? idleHold(config, memory, fall.retryAfterSeconds) : []),
      { type: state.name === 'Established' ? 'session-down' : 'attempt-failed', cause },
    ],
  ]
}

const forgetFailures = (memory: SessionMemory): SessionMemory => ({ ...memory, connectRetryCounter: 0 })

function memoryAfter(state: SessionState, { config, nowMs }: SessionContext, fall: Fall): SessionMemory {
  if (fall.kind === 'intended') return forgetFailures(state.memory)
  // A session that lasted longer than the longest Idle was stable: its end is the first failure of a new series.
  const stableMs = 1000 * (config.idleHold?.maxSeconds ?? 0)
  const stable = state.name === 'Established' && nowMs - state.sinceMs >= stableMs
  const refused = fall.refusedCapabilities ?? []
  return {
    connectRetryCounter: (stable ? 0 : state.memory.connectRetryCounter) + 1,
    withoutCapabilities: [...new Set([...state.memory.withoutCapabilities, ...refused])],
  }
}

function idleHold(
  config: SessionConfig,
  memory: SessionMemory,
  retryAfterSeconds: number | undefined,
): readonly SessionAction[] {
  if (config.idleHold === undefined) return []
  const seconds = retryAfterSeconds ?? idleHoldSeconds(config.idleHold, memory.connectRetryCounter)
  return [{ type: 'start-timer', timer: 'IdleHold', seconds }]
}

/** DampPeerOscillations: the first failure costs `firstSeconds`, each further one doubles it, up to `maxSeconds`. */
const idleHoldSeconds = (
  { firstSeconds, maxSeconds }: NonNullable<SessionConfig['idleHold']>,
  failures: number,
): number => Math.min(maxSeconds, firstSeconds * 2 ** Math.min(30, Math.max(0, failures - 1)))

/**
 * Capability codes to leave out of the next OPEN after this NOTIFICATION: those named in the data of 2/7 (RFC 5492 section 5),
 * all after 2/4 from a speaker that knows no capabilities (RFC 5492 section 3); never one the configuration depends on.
 */
export function refusedCapabilities(notification: NotificationMessage, config: SessionConfig): readonly number[] {
  const required = new Set(requiredCapabilities(config))
  const is = (name: OpenErrorName): boolean => {
    const { code, subcode } = openError(name, '')
    return notification.code === code && notification.subcode === subcode
  }
  const codes = is('unsupported-optional-parameter')
    ? createOpen(config, { restarting: false, withoutCapabilities: [] }).capabilities.map(capabilityCode)
    : is('unsupported-capability')
      ? capabilityCodesIn(notification.data)
      : []
  return codes.filter((code) => !required.has(code))
}

function capabilityCodesIn(data: Uint8Array): readonly number[] {
  const codes: number[] = []
  for (let at = 0; at + 1 < data.length; at += 2 + (data[at + 1] ?? 0)) codes.push(data[at] ?? 0)
  return codes
}
