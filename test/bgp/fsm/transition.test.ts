// RFC 4271 section 8.2.2, cell by cell: six states and all events. This table is the specification of the session; what depends
// on options or on the past of the session follows below it.

import { describe, expect, test } from 'vitest'
import {
  renderStep,
  sampleConfig,
  sampleContext,
  sampleEvents,
  samplePeerOpen,
  sampleStates,
  sampleStep,
} from '../../../src/bgp/fsm/render-table.ts'
import {
  type EventName,
  eventNames,
  eventNumbers,
  freshMemory,
  type SessionConfig,
  type SessionContext,
  type SessionEvent,
  type SessionState,
  type StateName,
  stateNames,
} from '../../../src/bgp/fsm/session.ts'
import { transition } from '../../../src/bgp/fsm/transition.ts'
import { encodeShutdownCommunication } from '../../../src/bgp/packet/errors.ts'
import type { NotificationMessage } from '../../../src/bgp/packet/message.ts'

type Cell = readonly [StateName, readonly EventName[], string]

const activeStarts: readonly EventName[] = ['ManualStart', 'AutomaticStart', 'AutomaticStartWithDampPeerOscillations']
const passiveStarts: readonly EventName[] = [
  'ManualStartWithPassiveTcpEstablishment',
  'AutomaticStartWithPassiveTcpEstablishment',
  'AutomaticStartWithDampPeerOscillationsAndPassiveTcpEstablishment',
]
const starts: readonly EventName[] = [...activeStarts, ...passiveStarts]
const secondConnection: readonly EventName[] = [
  'TcpConnectionValid',
  'TcpCrInvalid',
  'TcpCrAcked',
  'TcpConnectionConfirmed',
]

const cells: readonly Cell[] = [
  // Idle refuses everything but a start.
  ['Idle', activeStarts, 'Connect: stop IdleHold, start ConnectRetry 10 s, connect'],
  ['Idle', passiveStarts, 'Active: stop IdleHold'],
  ['Idle', ['IdleHoldTimerExpires'], 'Connect: stop IdleHold, start ConnectRetry 10 s, connect'],
  ['Idle', ['ManualStop'], 'Idle: stop IdleHold'],
  [
    'Idle',
    [
      ...secondConnection,
      'AutomaticStop',
      'ConnectRetryTimerExpires',
      'HoldTimerExpires',
      'KeepaliveTimerExpires',
      'DelayOpenTimerExpires',
      'TcpConnectionFails',
      'BgpOpen',
      'BgpOpenWithDelayOpenTimerRunning',
      'BgpHeaderErr',
      'BgpOpenMsgErr',
      'OpenCollisionDump',
      'NotifMsgVerErr',
      'NotifMsg',
      'KeepAliveMsg',
      'UpdateMsg',
      'UpdateMsgErr',
      'SendHoldTimerExpires',
      'RouteRefreshMsg',
      'RouteRefreshMsgErr',
    ],
    'Idle',
  ],

  // Connect: a dial is under way.
  ['Connect', [...starts, 'TcpConnectionValid', 'TcpCrInvalid'], 'Connect'],
  ['Connect', ['ManualStop'], 'Idle: disconnect, stop ConnectRetry, stop DelayOpen, attempt-failed'],
  ['Connect', ['ConnectRetryTimerExpires'], 'Connect: disconnect, start ConnectRetry 10 s, connect, attempt-failed'],
  [
    'Connect',
    ['TcpCrAcked', 'TcpConnectionConfirmed'],
    'OpenSent: stop ConnectRetry, stop DelayOpen, send OPEN, start Hold 240 s',
  ],
  ['Connect', ['TcpConnectionFails'], 'Active: disconnect, stop DelayOpen, start ConnectRetry 10 s, attempt-failed'],
  ['Connect', ['DelayOpenTimerExpires'], 'OpenSent: stop ConnectRetry, stop DelayOpen, send OPEN, start Hold 240 s'],
  [
    'Connect',
    ['BgpOpenWithDelayOpenTimerRunning'],
    'OpenConfirm: send OPEN, stop ConnectRetry, stop DelayOpen, send KEEPALIVE, start Hold 90 s, start Keepalive 30 s',
  ],
  [
    'Connect',
    [
      'AutomaticStop',
      'HoldTimerExpires',
      'KeepaliveTimerExpires',
      'IdleHoldTimerExpires',
      'BgpOpen',
      'BgpHeaderErr',
      'BgpOpenMsgErr',
      'OpenCollisionDump',
      'NotifMsgVerErr',
      'NotifMsg',
      'KeepAliveMsg',
      'UpdateMsg',
      'UpdateMsgErr',
      'SendHoldTimerExpires',
      'RouteRefreshMsg',
      'RouteRefreshMsgErr',
    ],
    'Idle: disconnect, stop ConnectRetry, stop DelayOpen, start IdleHold 1 s, attempt-failed',
  ],

  // Active: waiting for the peer, or for the next dial.
  ['Active', [...starts, 'TcpConnectionValid', 'TcpCrInvalid'], 'Active'],
  ['Active', ['ManualStop'], 'Idle: stop ConnectRetry, stop DelayOpen, attempt-failed'],
  ['Active', ['ConnectRetryTimerExpires'], 'Connect: start ConnectRetry 10 s, connect'],
  [
    'Active',
    ['TcpCrAcked', 'TcpConnectionConfirmed'],
    'OpenSent: stop ConnectRetry, stop DelayOpen, send OPEN, start Hold 240 s',
  ],
  ['Active', ['DelayOpenTimerExpires'], 'OpenSent: stop ConnectRetry, stop DelayOpen, send OPEN, start Hold 240 s'],
  [
    'Active',
    ['BgpOpenWithDelayOpenTimerRunning'],
    'OpenConfirm: send OPEN, stop ConnectRetry, stop DelayOpen, send KEEPALIVE, start Hold 90 s, start Keepalive 30 s',
  ],
  [
    'Active',
    [
      'AutomaticStop',
      'HoldTimerExpires',
      'KeepaliveTimerExpires',
      'IdleHoldTimerExpires',
      'TcpConnectionFails',
      'SendHoldTimerExpires',
    ],
    'Idle: stop ConnectRetry, stop DelayOpen, start IdleHold 1 s, attempt-failed',
  ],
  [
    'Active',
    [
      'BgpOpen',
      'BgpHeaderErr',
      'BgpOpenMsgErr',
      'OpenCollisionDump',
      'NotifMsgVerErr',
      'NotifMsg',
      'KeepAliveMsg',
      'UpdateMsg',
      'UpdateMsgErr',
      'RouteRefreshMsg',
      'RouteRefreshMsgErr',
    ],
    'Idle: disconnect, stop ConnectRetry, stop DelayOpen, start IdleHold 1 s, attempt-failed',
  ],

  // OpenSent: our OPEN is out, theirs is awaited.
  ['OpenSent', [...starts, ...secondConnection], 'OpenSent'],
  ['OpenSent', ['ManualStop'], 'Idle: send NOTIFICATION 6/2, disconnect, stop Hold, attempt-failed'],
  [
    'OpenSent',
    ['AutomaticStop'],
    'Idle: send NOTIFICATION 6/1, disconnect, stop Hold, start IdleHold 1 s, attempt-failed',
  ],
  [
    'OpenSent',
    ['HoldTimerExpires'],
    'Idle: send NOTIFICATION 4/0, disconnect, stop Hold, start IdleHold 1 s, attempt-failed',
  ],
  ['OpenSent', ['TcpConnectionFails'], 'Active: disconnect, stop Hold, start ConnectRetry 10 s, attempt-failed'],
  ['OpenSent', ['BgpOpen'], 'OpenConfirm: send KEEPALIVE, start Hold 90 s, start Keepalive 30 s'],
  [
    'OpenSent',
    ['BgpHeaderErr'],
    'Idle: send NOTIFICATION 1/1, disconnect, stop Hold, start IdleHold 1 s, attempt-failed',
  ],
  [
    'OpenSent',
    ['BgpOpenMsgErr'],
    'Idle: send NOTIFICATION 2/2, disconnect, stop Hold, start IdleHold 1 s, attempt-failed',
  ],
  [
    'OpenSent',
    ['OpenCollisionDump'],
    'Idle: send NOTIFICATION 6/7, disconnect, stop Hold, start IdleHold 1 s, attempt-failed',
  ],
  ['OpenSent', ['NotifMsgVerErr', 'NotifMsg'], 'Idle: disconnect, stop Hold, start IdleHold 1 s, attempt-failed'],
  [
    'OpenSent',
    [
      'ConnectRetryTimerExpires',
      'KeepaliveTimerExpires',
      'DelayOpenTimerExpires',
      'IdleHoldTimerExpires',
      'BgpOpenWithDelayOpenTimerRunning',
      'KeepAliveMsg',
      'UpdateMsg',
      'UpdateMsgErr',
      'SendHoldTimerExpires',
      'RouteRefreshMsg',
      'RouteRefreshMsgErr',
    ],
    'Idle: send NOTIFICATION 5/1, disconnect, stop Hold, start IdleHold 1 s, attempt-failed',
  ],

  // OpenConfirm: both OPENs were exchanged, a KEEPALIVE is awaited.
  ['OpenConfirm', [...starts, ...secondConnection], 'OpenConfirm'],
  ['OpenConfirm', ['ManualStop'], 'Idle: send NOTIFICATION 6/2, disconnect, stop Hold, stop Keepalive, attempt-failed'],
  [
    'OpenConfirm',
    ['AutomaticStop'],
    'Idle: send NOTIFICATION 6/1, disconnect, stop Hold, stop Keepalive, start IdleHold 1 s, attempt-failed',
  ],
  [
    'OpenConfirm',
    ['HoldTimerExpires'],
    'Idle: send NOTIFICATION 4/0, disconnect, stop Hold, stop Keepalive, start IdleHold 1 s, attempt-failed',
  ],
  ['OpenConfirm', ['KeepaliveTimerExpires'], 'OpenConfirm: send KEEPALIVE, start Keepalive 30 s'],
  [
    'OpenConfirm',
    ['TcpConnectionFails', 'NotifMsgVerErr', 'NotifMsg'],
    'Idle: disconnect, stop Hold, stop Keepalive, start IdleHold 1 s, attempt-failed',
  ],
  [
    'OpenConfirm',
    ['BgpHeaderErr'],
    'Idle: send NOTIFICATION 1/1, disconnect, stop Hold, stop Keepalive, start IdleHold 1 s, attempt-failed',
  ],
  [
    'OpenConfirm',
    ['BgpOpenMsgErr'],
    'Idle: send NOTIFICATION 2/2, disconnect, stop Hold, stop Keepalive, start IdleHold 1 s, attempt-failed',
  ],
  [
    'OpenConfirm',
    ['OpenCollisionDump'],
    'Idle: send NOTIFICATION 6/7, disconnect, stop Hold, stop Keepalive, start IdleHold 1 s, attempt-failed',
  ],
  ['OpenConfirm', ['KeepAliveMsg'], 'Established: start Hold 90 s, start SendHold 480 s, session-up'],
  [
    'OpenConfirm',
    [
      'ConnectRetryTimerExpires',
      'DelayOpenTimerExpires',
      'IdleHoldTimerExpires',
      'BgpOpen',
      'BgpOpenWithDelayOpenTimerRunning',
      'UpdateMsg',
      'UpdateMsgErr',
      'SendHoldTimerExpires',
      'RouteRefreshMsg',
      'RouteRefreshMsgErr',
    ],
    'Idle: send NOTIFICATION 5/2, disconnect, stop Hold, stop Keepalive, start IdleHold 1 s, attempt-failed',
  ],

  // Established.
  ['Established', [...starts, ...secondConnection], 'Established'],
  [
    'Established',
    ['ManualStop'],
    'Idle: send NOTIFICATION 6/2, disconnect, stop Hold, stop Keepalive, stop SendHold, session-down',
  ],
  [
    'Established',
    ['AutomaticStop'],
    'Idle: send NOTIFICATION 6/1, disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
  [
    'Established',
    ['HoldTimerExpires'],
    'Idle: send NOTIFICATION 4/0, disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
  ['Established', ['KeepaliveTimerExpires'], 'Established: send KEEPALIVE, start Keepalive 30 s'],
  [
    'Established',
    ['TcpConnectionFails', 'NotifMsgVerErr', 'NotifMsg', 'SendHoldTimerExpires'],
    'Idle: disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
  [
    'Established',
    ['BgpHeaderErr'],
    'Idle: send NOTIFICATION 1/1, disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
  [
    'Established',
    ['OpenCollisionDump'],
    'Idle: send NOTIFICATION 6/7, disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
  ['Established', ['KeepAliveMsg'], 'Established: start Hold 90 s'],
  ['Established', ['UpdateMsg'], 'Established: start Hold 90 s, receive-update'],
  [
    'Established',
    ['UpdateMsgErr'],
    'Idle: send NOTIFICATION 3/1, disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
  ['Established', ['RouteRefreshMsg'], 'Established: start Hold 90 s, receive-route-refresh'],
  [
    'Established',
    ['RouteRefreshMsgErr'],
    'Idle: send NOTIFICATION 7/1, disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
  [
    'Established',
    [
      'ConnectRetryTimerExpires',
      'DelayOpenTimerExpires',
      'IdleHoldTimerExpires',
      'BgpOpen',
      'BgpOpenWithDelayOpenTimerRunning',
      'BgpOpenMsgErr',
    ],
    'Idle: send NOTIFICATION 5/3, disconnect, stop Hold, stop Keepalive, stop SendHold, start IdleHold 1 s, session-down',
  ],
]

describe('the table of states and events', () => {
  test('has every cell exactly once', () => {
    const listed = cells.flatMap(([state, events]) => events.map((event) => `${state} ${event}`))
    const all = stateNames.flatMap((state) => eventNames.map((event) => `${state} ${event}`))
    expect(listed.toSorted()).toEqual(all.toSorted())
  })

  test('numbers the events as RFC 4271 section 8.1 and RFC 9687 do', () => {
    const numbers = eventNames.map((event) => eventNumbers[event]).filter((number) => number !== null)
    expect(numbers).toEqual(Array.from({ length: 29 }, (_, i) => i + 1))
  })

  const flat = cells.flatMap(([state, events, effect]) => events.map((event) => [state, event, effect] as const))
  test.each(flat)('%s, on %s: %s', (state, event, effect) => {
    expect(renderStep(sampleStep(state, event))).toBe(effect)
  })
})

const contextWith = (config: Partial<SessionConfig>, nowMs = 0): SessionContext => ({
  ...sampleContext,
  nowMs,
  config: { ...sampleConfig, ...config },
})

const run = (
  from: SessionState,
  events: readonly SessionEvent[],
  context: SessionContext = sampleContext,
): readonly string[] => {
  let state = from
  return events.map((event) => {
    const step = transition(state, event, context)
    state = step[0]
    return renderStep(step)
  })
}

describe('options', () => {
  test('DelayOpen waits for the peer to speak first, then sends OPEN', () => {
    const context = contextWith({ delayOpenSeconds: 3 })
    expect(run(sampleStates.Connect, [sampleEvents.TcpCrAcked, sampleEvents.DelayOpenTimerExpires], context)).toEqual([
      'Connect: stop ConnectRetry, start DelayOpen 3 s',
      'OpenSent: stop ConnectRetry, stop DelayOpen, send OPEN, start Hold 240 s',
    ])
  })

  test('DelayOpen answers an OPEN that comes first with ours and a KEEPALIVE', () => {
    const context = contextWith({ delayOpenSeconds: 3 })
    const events = [sampleEvents.TcpConnectionConfirmed, sampleEvents.BgpOpenWithDelayOpenTimerRunning]
    expect(run(sampleStates.Active, events, context)[1]).toMatch(/^OpenConfirm: send OPEN, .*send KEEPALIVE/)
  })

  test.each([
    [false, 'Idle: disconnect'],
    [true, 'Idle: send NOTIFICATION 2/2, disconnect'],
  ])('an OPEN error while OPEN is delayed, SendNOTIFICATIONwithoutOPEN %s: %s', (allowed, effect) => {
    const context = contextWith({ delayOpenSeconds: 3, sendNotificationWithoutOpen: allowed })
    const effects = run(sampleStates.Connect, [sampleEvents.TcpCrAcked, sampleEvents.BgpOpenMsgErr], context)
    expect(effects[1]?.startsWith(effect)).toBe(true)
  })

  test('a passive peer never dials, whatever starts it or expires', () => {
    const context = contextWith({ passive: true })
    for (const event of [...starts, 'IdleHoldTimerExpires'] as const)
      expect(run(sampleStates.Idle, [sampleEvents[event], sampleEvents.ConnectRetryTimerExpires], context)).toEqual([
        'Active: stop IdleHold',
        'Active',
      ])
  })

  test('a passive peer whose connection breaks in OpenSent waits for the next one without a ConnectRetryTimer', () => {
    const effects = run(sampleStates.OpenSent, [sampleEvents.TcpConnectionFails], contextWith({ passive: true }))
    expect(effects).toEqual(['Active: disconnect, stop Hold, stop ConnectRetry, attempt-failed'])
  })

  test('without DampPeerOscillations a failed session stays in Idle', () => {
    const { idleHold: _, ...config } = sampleConfig
    const effects = run(sampleStates.Established, [sampleEvents.HoldTimerExpires], { ...sampleContext, config })
    expect(effects[0]).not.toContain('IdleHold')
  })

  test('a hold time of 0 runs neither HoldTimer nor KeepaliveTimer nor SendHoldTimer', () => {
    const open = { ...samplePeerOpen, holdTimeSeconds: 0 }
    expect(
      run(sampleStates.OpenSent, [{ type: 'BgpOpen', open }, sampleEvents.KeepAliveMsg, sampleEvents.UpdateMsg]),
    ).toEqual(['OpenConfirm: send KEEPALIVE, stop Hold', 'Established: session-up', 'Established: receive-update'])
  })
})

describe('damping', () => {
  const failures = (count: number, context = sampleContext): readonly number[] => {
    let state: SessionState = sampleStates.Idle
    return Array.from({ length: count }, () => {
      for (const event of [sampleEvents.AutomaticStart, sampleEvents.TcpCrAcked])
        [state] = transition(state, event, context)
      const [next, actions] = transition(state, sampleEvents.NotifMsg, context)
      state = next
      const hold = actions.find((action) => action.type === 'start-timer' && action.timer === 'IdleHold')
      return hold?.type === 'start-timer' ? hold.seconds : Number.NaN
    })
  }

  test('Idle lasts twice as long after each failure, up to the cap', () => {
    expect(failures(8)).toEqual([1, 2, 4, 8, 16, 30, 30, 30])
  })

  test('a session that lasted longer than the cap starts a new series', () => {
    const memory = { ...freshMemory, connectRetryCounter: 6 }
    const established: SessionState = { ...sampleStates.Established, memory } as SessionState
    const lasting = (ms: number) =>
      transition(established, sampleEvents.TcpConnectionFails, { ...sampleContext, nowMs: ms })[0].memory
    expect(lasting(29_999).connectRetryCounter).toBe(7)
    expect(lasting(30_000).connectRetryCounter).toBe(1)
  })

  test('AutomaticStop can ask for a longer Idle', () => {
    const event: SessionEvent = { ...sampleEvents.AutomaticStop, retryAfterSeconds: 300 }
    expect(run(sampleStates.Established, [event])[0]).toContain('start IdleHold 300 s')
  })

  test('ManualStart and ManualStop forget the failures', () => {
    const memory = { ...freshMemory, connectRetryCounter: 5 }
    for (const event of [sampleEvents.ManualStart, sampleEvents.ManualStop])
      expect(transition({ name: 'Idle', memory }, event, sampleContext)[0].memory.connectRetryCounter).toBe(0)
  })
})

describe('what a refused capability teaches (RFC 5492)', () => {
  const openAfter = (notification: NotificationMessage, config: SessionConfig = sampleConfig): readonly string[] => {
    const context = { ...sampleContext, config }
    const [idle] = transition(sampleStates.OpenSent, { type: 'NotifMsg', notification }, context)
    const [connect] = transition(idle, sampleEvents.IdleHoldTimerExpires, context)
    const [, actions] = transition(connect, sampleEvents.TcpCrAcked, context)
    const sent = actions.find((action) => action.type === 'send')
    return sent?.type === 'send' && sent.message.type === 'OPEN'
      ? sent.message.capabilities.map(({ type }) => type)
      : []
  }
  const refusal = (subcode: number, ...data: readonly number[]): NotificationMessage => ({
    type: 'NOTIFICATION',
    code: 2,
    subcode,
    data: Uint8Array.from(data),
  })

  test('2/7 naming ADD-PATH and enhanced refresh: the next OPEN has neither', () => {
    const capabilities = openAfter(refusal(7, 69, 4, 0, 1, 1, 2, 70, 0))
    expect(capabilities).toEqual([
      'multiprotocol',
      'extended-next-hop',
      'route-refresh',
      'extended-message',
      'four-octet-as',
    ])
  })

  test('2/7 naming ADD-PATH where it is required: it stays', () => {
    const capabilities = openAfter(refusal(7, 69, 4, 0, 1, 1, 2), { ...sampleConfig, addPath: 'require' })
    expect(capabilities).toContain('add-path')
  })

  test('2/4, a speaker that knows no capabilities: the next OPEN has none', () => {
    expect(openAfter(refusal(4))).toEqual([])
  })

  test('2/4 to an IPv6 session: multiprotocol stays, without it there is no such session', () => {
    expect(openAfter(refusal(4), { ...sampleConfig, families: ['ipv6-unicast'] })).toEqual(['multiprotocol'])
  })

  test('2/2 and Cease teach nothing', () => {
    expect(openAfter(refusal(2))).toContain('add-path')
    expect(openAfter({ ...refusal(7, 69, 0), code: 6 })).toContain('add-path')
  })
})

describe('how a session is ended', () => {
  const established = (notification: boolean): SessionState => {
    const { Established } = sampleStates
    if (Established.name !== 'Established') throw new Error('the sample is Established')
    const gracefulRestart = { restartTimeSeconds: 120, notification, peerRestarting: false }
    return { ...Established, negotiated: { ...Established.negotiated, gracefulRestart } }
  }
  const sent = (state: SessionState, event: SessionEvent): readonly number[] | undefined => {
    const [, actions] = transition(state, event, sampleContext)
    const action = actions.find(({ type }) => type === 'send')
    if (action?.type !== 'send' || action.message.type !== 'NOTIFICATION') return undefined
    return [action.message.code, action.message.subcode, ...action.message.data]
  }
  const shutdown: SessionEvent = { type: 'ManualStop', cease: { name: 'administrative-shutdown', text: 'rack 7' } }

  test('a shutdown carries its text (RFC 9003)', () => {
    expect(sent(sampleStates.Established, shutdown)).toEqual([6, 2, ...encodeShutdownCommunication('rack 7')])
  })

  test('with the N bit on both sides a shutdown is a Hard Reset around it (RFC 8538)', () => {
    expect(sent(established(true), shutdown)).toEqual([6, 9, 6, 2, ...encodeShutdownCommunication('rack 7')])
    expect(sent(established(false), shutdown)?.slice(0, 2)).toEqual([6, 2])
  })

  test('with the N bit an administrative reset is not: the session comes back, the routes may stay', () => {
    const reset: SessionEvent = { type: 'AutomaticStop', cease: { name: 'administrative-reset' }, reason: 'asked for' }
    expect(sent(established(true), reset)).toEqual([6, 4])
  })

  test('without a Cease the connection is closed without a word (RFC 4724)', () => {
    expect(renderStep(transition(established(true), { type: 'ManualStop' }, sampleContext))).toBe(
      'Idle: disconnect, stop Hold, stop Keepalive, stop SendHold, session-down',
    )
  })

  test.each<[StateName, EventName, readonly number[]]>([
    ['OpenSent', 'KeepAliveMsg', [5, 1, 4]],
    ['OpenSent', 'UpdateMsg', [5, 1, 2]],
    ['OpenConfirm', 'RouteRefreshMsg', [5, 2, 5]],
    ['Established', 'BgpOpen', [5, 3, 1]],
    ['Established', 'ConnectRetryTimerExpires', [5, 3]],
  ])('an unexpected message in %s, %s: NOTIFICATION %j with its type (RFC 6608)', (state, event, bytes) => {
    expect(sent(sampleStates[state], sampleEvents[event])).toEqual(bytes)
  })

  test.each<[StateName, SessionEvent, string]>([
    [
      'OpenSent',
      sampleEvents.HoldTimerExpires,
      'the session was closed from here: hold timer expired: the router accepted the TCP connection but sent no OPEN within 240 s',
    ],
    [
      'Established',
      sampleEvents.HoldTimerExpires,
      'the session was closed from here: hold timer expired: nothing was heard for the hold time of 90 s',
    ],
    [
      'Established',
      {
        type: 'NotifMsg',
        notification: { type: 'NOTIFICATION', code: 6, subcode: 2, data: encodeShutdownCommunication('upgrade') },
      },
      'the router closed the session: cease, administrative shutdown: "upgrade"',
    ],
    ['Connect', sampleEvents.TcpConnectionFails, 'connection refused'],
    ['Connect', sampleEvents.ConnectRetryTimerExpires, 'no answer to the TCP connection within 10 s'],
  ])('%s: %o is told in words', (state, event, words) => {
    const [, actions] = transition(sampleStates[state], event, sampleContext)
    const down = actions.find(({ type }) => type === 'session-down' || type === 'attempt-failed')
    expect(down).toMatchObject({ cause: { reason: words, intended: false } })
  })
})
