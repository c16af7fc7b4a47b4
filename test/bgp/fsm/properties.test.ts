// What holds for any sequence of events: the machine never throws, timers and connections fit the state, at most one session is
// Established, and what is sent is what a peer may be sent at that point.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { initialMachine, type PeerCommand, type PeerInput, peerTransition } from '../../../src/bgp/fsm/collision.ts'
import { sampleConfig, sampleContext, sampleEvents, samplePeerOpen } from '../../../src/bgp/fsm/render-table.ts'
import { eventNames, type SessionConfig, type SessionEvent } from '../../../src/bgp/fsm/session.ts'
import { applyActions, canHappen, createShell, expectConsistent, expectSound } from './invariants.ts'

const config: fc.Arbitrary<SessionConfig> = fc
  .record({
    passive: fc.boolean(),
    delayOpenSeconds: fc.constantFrom(0, 3),
    sendNotificationWithoutOpen: fc.boolean(),
    collisionDetectEstablishedState: fc.boolean(),
    holdTimeSeconds: fc.constantFrom(0, 9, 90),
    addPath: fc.constantFrom('auto' as const, 'require' as const, 'disabled' as const),
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

describe('any sequence of events', () => {
  test('is survived, and at most one session is Established', () => {
    fc.assert(
      fc.property(config, fc.array(input, { maxLength: 60 }), (sessionConfig, inputs) => {
        let machine = initialMachine
        for (const item of inputs) {
          ;[machine] = peerTransition(machine, item, { ...sampleContext, config: sessionConfig })
          expectSound(machine)
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
        const shell = createShell()
        let machine = initialMachine
        let nowMs = 0
        for (const [item, delayMs] of steps) {
          nowMs += delayMs
          if (!canHappen(item, machine, shell)) continue
          const before = machine
          const [next, actions] = peerTransition(machine, item, { ...sampleContext, config: sessionConfig, nowMs })
          machine = next
          applyActions(shell, before, actions)
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
