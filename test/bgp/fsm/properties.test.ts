// What holds for any sequence of events: the machine never throws, timers and connections fit the state, at most one session is
// Established, and what is sent is what a peer may be sent at that point.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  initialMachine,
  type PeerCommand,
  type PeerInput,
  type PeerMachine,
  peerTransition,
} from '../../../src/bgp/fsm/collision.ts'
import { sampleConfig, sampleContext, sampleEvents, samplePeerOpen } from '../../../src/bgp/fsm/render-table.ts'
import {
  eventNames,
  type SessionConfig,
  type SessionEvent,
  type StateName,
  type TimerName,
  timersOf,
} from '../../../src/bgp/fsm/session.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { openingCodec } from '../../../src/bgp/packet/message.ts'

const config: fc.Arbitrary<SessionConfig> = fc
  .record({
    passive: fc.boolean(),
    delayOpenSeconds: fc.constantFrom(0, 3),
    sendNotificationWithoutOpen: fc.boolean(),
    collisionDetectEstablishedState: fc.boolean(),
    holdTimeSeconds: fc.constantFrom(0, 9, 90),
    addPath: fc.constantFrom('auto' as const, 'require' as const, 'off' as const),
  })
  .map((changes) => ({ ...sampleConfig, ...changes }))

const event: fc.Arbitrary<SessionEvent> = fc.oneof(
  fc.constantFrom(...eventNames).map((name) => sampleEvents[name]),
  fc
    .tuple(fc.constantFrom(0x0a00_0001, 0x0a00_000a, 0x0a00_00ff), fc.constantFrom(0, 9, 90))
    .map(([bgpIdentifier, holdTimeSeconds]) => ({
      type: 'BgpOpen' as const,
      open: { ...samplePeerOpen, bgpIdentifier, holdTimeSeconds },
    })),
  // Events that lead somewhere, often.
  fc.constantFrom(
    sampleEvents.TcpCrAcked,
    sampleEvents.KeepAliveMsg,
    sampleEvents.BgpOpen,
    sampleEvents.AutomaticStart,
  ),
)

const command: fc.Arbitrary<PeerCommand> = fc.constantFrom(
  ...Object.values(sampleEvents).filter(
    (sample): sample is PeerCommand => sample.type.startsWith('Manual') || sample.type.startsWith('Automatic'),
  ),
)

const input: fc.Arbitrary<PeerInput> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('session' as const), session: fc.nat(4), event }) },
  { weight: 2, arbitrary: fc.constant<PeerInput>({ type: 'incoming' }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('peer' as const), event: command }) },
)

/** The shell's side of the bargain: which timers run and which connections exist, from the actions alone. */
interface Shell {
  readonly timers: Map<number, Set<TimerName>>
  readonly connections: Set<number>
  readonly openSent: Set<number>
}

function apply(shell: Shell, before: PeerMachine, actions: ReturnType<typeof peerTransition>[1]): void {
  for (const action of actions) {
    if (action.type === 'refuse') continue
    if (action.type === 'adopt') {
      expect(shell.connections.has(action.session), 'adopts into a session that has a connection').toBe(false)
      shell.connections.add(action.session)
      continue
    }
    const { session, action: what } = action
    const running = shell.timers.get(session) ?? new Set()
    shell.timers.set(session, running)
    switch (what.type) {
      case 'start-timer':
        expect(what.seconds).toBeGreaterThan(0)
        running.add(what.timer)
        break
      case 'stop-timer':
        running.delete(what.timer)
        break
      case 'connect':
        shell.connections.add(session)
        break
      case 'disconnect':
        shell.connections.delete(session)
        shell.openSent.delete(session)
        break
      case 'send': {
        expect(shell.connections.has(session), `sends ${what.message.type} without a connection`).toBe(true)
        expect(encodeMessage(what.message, openingCodec).length).toBeGreaterThanOrEqual(19)
        if (what.message.type === 'OPEN') {
          expect(shell.openSent.has(session), 'sends OPEN twice').toBe(false)
          shell.openSent.add(session)
        } else if (what.message.type === 'KEEPALIVE') expect(shell.openSent.has(session)).toBe(true)
        break
      }
      case 'session-down':
        expect([before.primary, before.secondary].map((s) => s?.state.name)).toContain('Established')
        break
      default:
        break
    }
  }
}

const sessionsOf = ({ primary, secondary }: PeerMachine) => [primary, ...(secondary === undefined ? [] : [secondary])]

const connected: ReadonlySet<StateName> = new Set(['OpenSent', 'OpenConfirm', 'Established'])

function expectConsistent(machine: PeerMachine, shell: Shell): void {
  const sessions = sessionsOf(machine)
  for (const { id, state } of sessions) {
    const running = [...(shell.timers.get(id) ?? [])]
    expect(timersOf[state.name]).toEqual(expect.arrayContaining(running))
    if (connected.has(state.name)) expect(shell.connections.has(id)).toBe(true)
    if (state.name === 'Idle') expect(shell.connections.has(id)).toBe(false)
    if (state.name === 'OpenSent') expect(running).toContain('Hold')
  }
  // Nothing runs or stands for a session that is gone, and a secondary exists only with a connection.
  const alive = new Set(sessions.map(({ id }) => id))
  for (const [id, running] of shell.timers) if (!alive.has(id)) expect([...running]).toEqual([])
  for (const id of shell.connections) expect(alive.has(id)).toBe(true)
  const { secondary } = machine
  if (secondary !== undefined) expect(shell.connections.has(secondary.id)).toBe(true)
}

/** What a shell can report: expiry of a timer that runs, a dial that was asked for, messages on a connection that stands. */
function canHappen(item: PeerInput, machine: PeerMachine, shell: Shell): boolean {
  if (item.type !== 'session') return true
  const { type } = item.event
  const state = sessionsOf(machine).find(({ id }) => id === item.session)?.state
  const delaying = shell.timers.get(item.session)?.has('DelayOpen') === true
  if (type.endsWith('TimerExpires'))
    // It does not run any more when its expiry is reported.
    return shell.timers.get(item.session)?.delete(type.replace('TimerExpires', '') as TimerName) === true
  if (type.startsWith('Manual') || type.startsWith('Automatic') || type === 'TcpConnectionConfirmed') return false
  if (type === 'TcpCrAcked') return state?.name === 'Connect' && !delaying
  if (type === 'TcpConnectionFails') return shell.connections.has(item.session)
  if (type === 'BgpOpenWithDelayOpenTimerRunning') return delaying
  if (type === 'BgpOpen' && delaying) return false
  return shell.connections.has(item.session) && (state?.name !== 'Connect' || delaying)
}

describe('any sequence of events', () => {
  test('is survived, and at most one session is Established', () => {
    fc.assert(
      fc.property(config, fc.array(input, { maxLength: 60 }), (sessionConfig, inputs) => {
        let machine = initialMachine
        for (const item of inputs) {
          ;[machine] = peerTransition(machine, item, { ...sampleContext, config: sessionConfig })
          const established = sessionsOf(machine).filter(({ state }) => state.name === 'Established')
          expect(established.length).toBeLessThanOrEqual(1)
          expect(structuredClone(item)).toEqual(item)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('that a shell can report leaves timers, connections and sessions consistent', () => {
    const step = fc.tuple(input, fc.nat(20_000))
    fc.assert(
      fc.property(config, fc.array(step, { maxLength: 80 }), (sessionConfig, steps) => {
        const shell: Shell = { timers: new Map(), connections: new Set(), openSent: new Set() }
        let machine = initialMachine
        let nowMs = 0
        for (const [item, delayMs] of steps) {
          nowMs += delayMs
          if (!canHappen(item, machine, shell)) continue
          const before = machine
          const [next, actions] = peerTransition(machine, item, { ...sampleContext, config: sessionConfig, nowMs })
          machine = next
          apply(shell, before, actions)
          expectConsistent(machine, shell)
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('is a function: the same inputs give the same course', () => {
    fc.assert(
      fc.property(config, fc.array(input, { maxLength: 30 }), (sessionConfig, inputs) => {
        const context = { ...sampleContext, config: sessionConfig }
        const play = () => {
          let machine = initialMachine
          return inputs.map((item) => {
            const step = peerTransition(machine, item, context)
            machine = step[0]
            return step
          })
        }
        expect(play()).toEqual(play())
      }),
      { numRuns: 100 },
    )
  })
})
