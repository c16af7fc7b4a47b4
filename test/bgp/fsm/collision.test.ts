// Two connections with one peer (RFC 4271 section 6.8): who is kept, who is told what, and what remains.

import { describe, expect, test } from 'vitest'
import {
  initialMachine,
  lateCollisionMs,
  leadingSession,
  type PeerCommand,
  type PeerInput,
  type PeerMachine,
  peerTransition,
} from '../../../src/bgp/fsm/collision.ts'
import {
  renderAction,
  sampleConfig,
  sampleContext,
  sampleEvents,
  samplePeerOpen,
} from '../../../src/bgp/fsm/render-table.ts'
import type { EventName, SessionConfig, SessionContext, SessionEvent } from '../../../src/bgp/fsm/session.ts'
import { afiSafiOf, type OpenMessage } from '../../../src/bgp/packet/message.ts'
import { parseAsn } from '../../../src/net/asn.ts'
import { must } from '../../../src/runtime/result.ts'

interface Course {
  readonly machine: PeerMachine
  /** `0 send OPEN`, `adopt 1`, `refuse`, without timers. */
  readonly actions: readonly string[]
}

type Input = PeerInput | readonly [session: number, event: EventName | SessionEvent] | PeerCommand['type']

const inputOf = (input: Input): PeerInput => {
  if (typeof input === 'string') return { type: 'peer', event: sampleEvents[input] }
  if (!('type' in input)) {
    const [session, event] = input
    return { type: 'session', session, event: typeof event === 'string' ? sampleEvents[event] : event }
  }
  return input
}

const incoming: PeerInput = { type: 'incoming' }

function play(inputs: readonly Input[], context: SessionContext = sampleContext, from = initialMachine): Course {
  let machine = from
  const actions: string[] = []
  for (const input of inputs) {
    const [next, done] = peerTransition(machine, inputOf(input), context)
    machine = next
    for (const action of done) {
      if (action.type !== 'session') actions.push(action.type === 'adopt' ? `adopt ${action.session}` : 'refuse')
      else if (!action.action.type.endsWith('-timer')) actions.push(`${action.session} ${renderAction(action.action)}`)
    }
  }
  return { machine, actions }
}

const states = ({ primary, secondary }: PeerMachine): string =>
  [primary, ...(secondary === undefined ? [] : [secondary])].map(({ id, state }) => `${id} ${state.name}`).join(', ')

const contextWith = (config: Partial<SessionConfig>, nowMs = 0): SessionContext => ({
  ...sampleContext,
  nowMs,
  config: { ...sampleConfig, ...config },
})

// Ours is 10.0.0.10.
const openFrom = (bgpIdentifier: number): SessionEvent => ({
  type: 'BgpOpen',
  open: { ...samplePeerOpen, bgpIdentifier },
})
const lower = openFrom(0x0a00_0001)
const higher = openFrom(0x0a00_00ff)
const equal = openFrom(0x0a00_000a)

/** Both sides dialled: our connection is session 0, theirs session 1; both wait for an OPEN. */
const bothDialled: readonly Input[] = ['AutomaticStart', incoming, [0, 'TcpCrAcked']]

describe('a connection from the peer', () => {
  test('is refused in Idle', () => {
    expect(play([incoming])).toMatchObject({ actions: ['refuse'] })
    expect(play(['AutomaticStart', 'ManualStop', incoming]).actions.at(-1)).toBe('refuse')
  })

  test('is taken by the session that waits in Active', () => {
    const { machine, actions } = play(['AutomaticStartWithPassiveTcpEstablishment', incoming])
    expect(actions).toEqual(['adopt 0', '0 send OPEN'])
    expect(states(machine)).toBe('0 OpenSent')
  })

  test('gets a session of its own while we dial', () => {
    const { machine, actions } = play(['AutomaticStart', incoming])
    expect(actions).toEqual(['0 connect', 'adopt 1', '1 send OPEN'])
    expect(states(machine)).toBe('0 Connect, 1 OpenSent')
  })

  test('that is the third replaces the second: the peer has given that one up', () => {
    const { machine, actions } = play([...bothDialled, incoming])
    expect(actions.slice(-5)).toEqual([
      '1 send NOTIFICATION 6/7',
      '1 disconnect',
      '1 attempt-failed',
      'adopt 2',
      '2 send OPEN',
    ])
    expect(states(machine)).toBe('0 OpenSent, 2 OpenSent')
  })

  test('is gone without a trace when it breaks', () => {
    const { machine } = play(['AutomaticStart', incoming, [1, 'TcpConnectionFails']])
    expect(states(machine)).toBe('0 Connect')
    expect(play([[1, 'KeepAliveMsg']], sampleContext, machine).actions).toEqual([])
  })

  test('becomes the session when it is Established first; the dial is given up', () => {
    const { machine, actions } = play(['AutomaticStart', incoming, [1, lower], [1, 'KeepAliveMsg']])
    expect(actions.slice(-3)).toEqual(['1 session-up', '0 disconnect', '0 attempt-failed'])
    expect(states(machine)).toBe('1 Established')
  })

  test('waits in no Idle of its own: after its failure the primary goes on', () => {
    const { machine } = play(['AutomaticStart', incoming, [1, 'NotifMsg']])
    expect(states(machine)).toBe('0 Connect')
  })
})

describe('two connections at once', () => {
  test.each<[string, SessionEvent, string]>([
    ['ours is the higher identifier: our connection is kept', lower, '0'],
    ['theirs is the higher: their connection is kept', higher, '1'],
    ['equal identifiers: that of the larger AS, theirs, is kept (RFC 6286)', equal, '1'],
  ])('%s, whichever OPEN arrives first', (_, open, kept) => {
    for (const first of [0, 1]) {
      const { machine, actions } = play([...bothDialled, [first, open]])
      const dropped = kept === '0' ? '1' : '0'
      expect(actions).toContain(`${dropped} send NOTIFICATION 6/7`)
      expect(states(machine)).toBe(`${kept} ${String(first) === kept ? 'OpenConfirm' : 'OpenSent'}`)
    }
  })

  test('equal identifiers and the larger AS is ours: our connection is kept', () => {
    const context = contextWith({ localAsn: must(parseAsn(65100)) })
    expect(states(play([...bothDialled, [1, equal]], context).machine)).toBe('0 OpenSent')
  })

  test('the loser in OpenConfirm gives way as well', () => {
    const course: readonly Input[] = ['AutomaticStart', incoming, [1, lower], [0, 'TcpCrAcked'], [0, lower]]
    const { machine, actions } = play(course)
    expect(actions).toContain('1 send NOTIFICATION 6/7')
    expect(states(machine)).toBe('0 OpenConfirm')
  })

  test('two by the peer: the younger is kept, it has lost the older', () => {
    const { machine } = play(['AutomaticStartWithPassiveTcpEstablishment', incoming, [0, lower], incoming, [1, lower]])
    expect(states(machine)).toBe('1 OpenConfirm')
  })

  test('whoever is Established first sends the other away', () => {
    const { machine, actions } = play(['AutomaticStart', [0, 'TcpCrAcked'], [0, lower], incoming, [0, 'KeepAliveMsg']])
    expect(actions.slice(-4)).toEqual(['0 session-up', '1 send NOTIFICATION 6/7', '1 disconnect', '1 attempt-failed'])
    expect(states(machine)).toBe('0 Established')
  })

  test('the one that is kept goes on when the other fails by itself', () => {
    const { machine } = play([...bothDialled, [0, 'NotifMsg']])
    expect(states(machine)).toBe('1 OpenSent')
    expect(machine.primary.id).toBe(1)
  })

  test('the furthest of the two is what the peer is shown as', () => {
    const { machine } = play(['AutomaticStart', incoming, [1, lower]])
    expect(leadingSession(machine).state.name).toBe('OpenConfirm')
  })

  test('a stop ends both', () => {
    const { machine, actions } = play([...bothDialled, 'ManualStop'])
    expect(actions.filter((action) => action.endsWith('6/2'))).toEqual([
      '1 send NOTIFICATION 6/2',
      '0 send NOTIFICATION 6/2',
    ])
    expect(states(machine)).toBe('0 Idle')
  })
})

describe('a connection while Established', () => {
  const withRestart: OpenMessage = {
    ...samplePeerOpen,
    capabilities: [
      ...samplePeerOpen.capabilities,
      {
        type: 'graceful-restart',
        restarting: false,
        notification: false,
        restartTimeSeconds: 120,
        families: [{ ...afiSafiOf['ipv4-unicast'], forwardingPreserved: false }],
      },
    ],
  }
  const gracefulRestart = { restartSeconds: 120, longLivedSeconds: 0 }
  const established = (open: OpenMessage, context: SessionContext): PeerMachine =>
    play(['AutomaticStart', [0, 'TcpCrAcked'], [0, { type: 'BgpOpen', open }], [0, 'KeepAliveMsg']], context).machine

  test('is sent away once its OPEN shows who it is', () => {
    const from = established(samplePeerOpen, sampleContext)
    const { machine, actions } = play([incoming, [1, higher]], contextWith({}, lateCollisionMs), from)
    expect(actions).toEqual(['adopt 1', '1 send OPEN', '1 send NOTIFICATION 6/7', '1 disconnect', '1 attempt-failed'])
    expect(states(machine)).toBe('0 Established')
  })

  test('wins by the higher identifier with CollisionDetectEstablishedState', () => {
    const context = contextWith({ collisionDetectEstablishedState: true })
    const { machine, actions } = play([incoming, [1, higher]], context, established(samplePeerOpen, context))
    expect(actions).toContain('0 session-down')
    expect(states(machine)).toBe('1 OpenConfirm')
  })

  test('with graceful restart takes over, and the old one is closed without a NOTIFICATION (RFC 4724)', () => {
    const context = contextWith({ gracefulRestart })
    const from = established(withRestart, context)
    const later = contextWith({ gracefulRestart }, lateCollisionMs)
    const { machine, actions } = play([incoming, [1, { type: 'BgpOpen', open: withRestart }]], later, from)
    expect(actions).toEqual(['adopt 1', '1 send OPEN', '0 disconnect', '0 session-down', '1 send KEEPALIVE'])
    expect(states(machine)).toBe('1 OpenConfirm')
  })

  test('with graceful restart but right after Established is a leftover of both sides dialling, and is sent away', () => {
    const context = contextWith({ gracefulRestart }, lateCollisionMs - 1)
    const from = established(withRestart, contextWith({ gracefulRestart }))
    const { machine } = play([incoming, [1, { type: 'BgpOpen', open: withRestart }]], context, from)
    expect(states(machine)).toBe('0 Established')
  })
})
