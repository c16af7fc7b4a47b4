// What must hold for a peer's machine after any event, seen by a shell that does what the actions say and nothing else. Thrown as
// assertion errors, so that the property tests and the fuzzer share it.

import assert from 'node:assert/strict'
import type { PeerAction, PeerInput, PeerMachine, Session } from '../../../src/bgp/fsm/collision.ts'
import { type StateName, type TimerName, timersOf } from '../../../src/bgp/fsm/session.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { isAssignedError } from '../../../src/bgp/packet/errors.ts'
import { openingCodec } from '../../../src/bgp/packet/message.ts'

/** The shell's side of the bargain: which timers run and which connections exist, from the actions alone. */
export interface Shell {
  readonly timers: Map<number, Set<TimerName>>
  readonly connections: Set<number>
  readonly openSent: Set<number>
  /** Connections on which a NOTIFICATION was sent: nothing may follow it. */
  readonly notified: Set<number>
}

export const createShell = (): Shell => ({
  timers: new Map(),
  connections: new Set(),
  openSent: new Set(),
  notified: new Set(),
})

export const sessionsOf = ({ primary, secondary }: PeerMachine): readonly Session[] => [
  primary,
  ...(secondary === undefined ? [] : [secondary]),
]

/** Does what the actions say. `before` is the machine that they come from the step of. */
export function applyActions(shell: Shell, before: PeerMachine, actions: readonly PeerAction[]): void {
  for (const action of actions) {
    if (action.type === 'refuse') continue
    const { session } = action
    if (action.type === 'adopt') {
      assert.ok(!shell.connections.has(session), 'adopts into a session that has a connection')
      shell.connections.add(session)
      continue
    }
    const what = action.action
    const running = shell.timers.get(session) ?? new Set()
    shell.timers.set(session, running)
    switch (what.type) {
      case 'start-timer':
        assert.ok(what.seconds > 0 && Number.isFinite(what.seconds), `${what.timer} of ${what.seconds} s`)
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
        shell.notified.delete(session)
        break
      case 'send':
        applySend(shell, session, what.message)
        break
      case 'session-down':
        assert.ok(sessionsOf(before).some(({ state }) => state.name === 'Established'))
        break
      default:
        break
    }
  }
}

type Sent = Parameters<typeof encodeMessage>[0]

function applySend(shell: Shell, session: number, message: Sent): void {
  assert.ok(shell.connections.has(session), `sends ${message.type} without a connection`)
  assert.ok(!shell.notified.has(session), `sends ${message.type} after a NOTIFICATION`)
  expectSendable(message)
  if (message.type === 'OPEN') {
    assert.ok(!shell.openSent.has(session), 'sends OPEN twice')
    shell.openSent.add(session)
  } else if (message.type === 'KEEPALIVE') assert.ok(shell.openSent.has(session), 'sends KEEPALIVE before OPEN')
  else shell.notified.add(session)
}

/** It has an encoding, and a NOTIFICATION says something that is assigned. */
export function expectSendable(message: Sent): void {
  assert.ok(encodeMessage(message, openingCodec).length >= 19)
  if (message.type !== 'NOTIFICATION') return
  const { code, subcode } = message
  assert.ok(isAssignedError(code, subcode), `sends NOTIFICATION ${code}/${subcode}, which is not assigned`)
}

const connected: ReadonlySet<StateName> = new Set(['OpenSent', 'OpenConfirm', 'Established'])

/** Whatever was reported: at most one session is Established, and a primary that fell has made room for the other. */
export function expectSound(machine: PeerMachine): void {
  const sessions = sessionsOf(machine)
  assert.ok(sessions.filter(({ state }) => state.name === 'Established').length <= 1)
  assert.equal(new Set(sessions.map(({ id }) => id)).size, sessions.length)
  for (const { id } of sessions) assert.ok(id < machine.nextId)
  if (sessions.length > 1) assert.notEqual(machine.primary.state.name, 'Idle')
}

/** Timers, connections and sessions fit, and nothing waits for what never comes. */
export function expectConsistent(machine: PeerMachine, shell: Shell): void {
  expectSound(machine)
  const sessions = sessionsOf(machine)
  for (const { id, state } of sessions) {
    const running = shell.timers.get(id) ?? new Set()
    for (const timer of running) assert.ok(timersOf[state.name].includes(timer), `${timer} runs in ${state.name}`)
    if (connected.has(state.name)) assert.ok(shell.connections.has(id), `${state.name} without a connection`)
    if (state.name === 'Idle') assert.ok(!shell.connections.has(id), 'Idle with a connection')
    if (state.name === 'OpenSent') assert.ok(running.has('Hold'), 'OpenSent without HoldTimer')
    if (state.name === 'Connect') assert.ok(running.has('ConnectRetry') || running.has('DelayOpen'))
    if (state.name !== 'OpenConfirm' && state.name !== 'Established') continue
    const { holdTimeSeconds } = state.negotiated
    assert.equal(running.has('Hold'), holdTimeSeconds > 0, `HoldTimer in ${state.name}`)
    assert.equal(running.has('Keepalive'), holdTimeSeconds > 0, `KeepaliveTimer in ${state.name}`)
  }
  // Nothing runs or stands for a session that is gone, and a secondary exists only with a connection.
  const alive = new Set(sessions.map(({ id }) => id))
  for (const [id, running] of shell.timers) if (!alive.has(id)) assert.deepEqual([...running], [])
  for (const id of shell.connections) assert.ok(alive.has(id), 'the connection of a session that is gone')
  const { secondary } = machine
  if (secondary !== undefined) assert.ok(shell.connections.has(secondary.id))
}

/**
 * What a shell can report: expiry of a timer that runs, a dial that was asked for, messages on a connection that stands. A timer
 * whose expiry can be reported does not run any more afterwards.
 */
export function canHappen(item: PeerInput, machine: PeerMachine, shell: Shell): boolean {
  if (item.type !== 'session') return true
  const { type } = item.event
  const state = sessionsOf(machine).find(({ id }) => id === item.session)?.state
  const delaying = shell.timers.get(item.session)?.has('DelayOpen') === true
  if (type.endsWith('TimerExpires'))
    return shell.timers.get(item.session)?.delete(type.replace('TimerExpires', '') as TimerName) === true
  if (type.startsWith('Manual') || type.startsWith('Automatic') || type === 'TcpConnectionConfirmed') return false
  if (type === 'TcpCrAcked') return state?.name === 'Connect' && !delaying
  if (type === 'TcpConnectionFails') return shell.connections.has(item.session)
  if (type === 'BgpOpenWithDelayOpenTimerRunning') return delaying
  if (type === 'BgpOpen' && delaying) return false
  return shell.connections.has(item.session) && (state?.name !== 'Connect' || delaying)
}
