// Long histories of a peer's machine, both connections included: events that a shell could report, and events that none should.
// OPENs come as bytes through the decoder, so that every combination of capabilities is negotiated or refused on the way.
//
//   node test/fuzz/fsm-fuzz.ts --seconds 10 --seed 1

import assert from 'node:assert/strict'
import { eventOfError, eventOfMessage } from '../../src/bgp/fsm/classify.ts'
import {
  initialMachine,
  leadingSession,
  type PeerCommand,
  type PeerInput,
  type PeerMachine,
  peerTransition,
} from '../../src/bgp/fsm/collision.ts'
import { sampleConfig, sampleContext, sampleEvents, samplePeerOpen } from '../../src/bgp/fsm/render-table.ts'
import {
  type EventName,
  eventNames,
  type SessionConfig,
  type SessionContext,
  type SessionEvent,
} from '../../src/bgp/fsm/session.ts'
import { decodeMessage } from '../../src/bgp/packet/decode.ts'
import type { CeaseName } from '../../src/bgp/packet/errors.ts'
import { openingCodec } from '../../src/bgp/packet/message.ts'
import {
  applyActions,
  canHappen,
  createShell,
  expectConsistent,
  expectSendable,
  expectSound,
  sessionsOf,
} from '../bgp/fsm/invariants.ts'
import { createGrammar, type Grammar } from './grammar.ts'
import { type Case, fuzz, type Random } from './runner.ts'

const eventsMax = 300

const configOf = ({ pick, oneIn }: Random): SessionConfig => ({
  ...sampleConfig,
  passive: oneIn(3),
  delayOpenSeconds: pick([0, 0, 3]),
  sendNotificationWithoutOpen: oneIn(2),
  collisionDetectEstablishedState: oneIn(2),
  holdTimeSeconds: pick([0, 3, 9, 90]),
  addPath: pick(['auto', 'require', 'disabled'] as const),
  families: pick([['ipv4-unicast'], ['ipv4-unicast'], ['ipv6-unicast'], ['ipv4-unicast', 'ipv6-unicast']] as const),
  ...(oneIn(2) ? { gracefulRestart: { restartSeconds: 120, longLivedSeconds: 0 } } : {}),
})

const ceases: readonly CeaseName[] = [
  'maximum-prefixes',
  'administrative-shutdown',
  'peer-deconfigured',
  'administrative-reset',
  'configuration-change',
  'bfd-down',
]

const commands = Object.values(sampleEvents).filter(
  (sample): sample is PeerCommand => sample.type.startsWith('Manual') || sample.type.startsWith('Automatic'),
)

// Events that lead somewhere, often.
const forward: readonly EventName[] = ['TcpCrAcked', 'KeepAliveMsg', 'ConnectRetryTimerExpires', 'IdleHoldTimerExpires']

// Half of them acceptable, with an identifier on either side of ours, by which collisions are decided.
function openEvent(
  random: Random,
  machine: PeerMachine,
  id: number,
  grammar: Grammar,
  context: SessionContext,
): SessionEvent {
  const state = sessionsOf(machine).find((session) => session.id === id)?.state ?? machine.primary.state
  const { below, oneIn, pick } = random
  if (oneIn(2)) {
    const identity = { bgpIdentifier: 0x0a00_0000 + below(20), holdTimeSeconds: pick([0, 3, 90]) }
    return eventOfMessage(state, { ...samplePeerOpen, ...identity }, context)
  }
  const decoded = decodeMessage(grammar.open(), openingCodec)
  return decoded.ok ? eventOfMessage(state, decoded.message, context) : eventOfError(decoded.error)
}

function inputOf(random: Random, machine: PeerMachine, grammar: Grammar, context: SessionContext): PeerInput {
  const { below, oneIn, pick } = random
  const what = below(20)
  if (what === 0)
    return { type: 'peer', event: oneIn(2) ? pick(commands) : { type: 'ManualStop', cease: { name: pick(ceases) } } }
  if (what === 1) return { type: 'peer', event: sampleEvents.AutomaticStart as PeerCommand }
  if (what < 5) return { type: 'incoming' }
  const session = oneIn(12) ? below(8) : pick(sessionsOf(machine)).id
  if (what < 9) return { type: 'session', session, event: openEvent(random, machine, session, grammar, context) }
  return { type: 'session', session, event: sampleEvents[pick(what < 18 ? forward : eventNames)] }
}

/** Anything at all, in any order: the machine answers, is not touched, and says nothing that may not be said. */
const anyHistory: Case = (random, count) => {
  const grammar = createGrammar(random, openingCodec, random.pick([0, 5, 40]))
  const config = configOf(random)
  let machine = initialMachine
  for (let left = random.below(eventsMax); left > 0; left--) {
    const context: SessionContext = { ...sampleContext, config, restarting: random.oneIn(2), nowMs: random.below(1e6) }
    const input = inputOf(random, machine, grammar, context)
    const [next, actions] = peerTransition(Object.freeze(machine), Object.freeze(input), context)
    if (random.oneIn(16)) assert.deepEqual(peerTransition(machine, input, context), [next, actions], 'the same again')
    machine = next
    expectSound(machine)
    for (const action of actions)
      if (action.type === 'session' && action.action.type === 'send') expectSendable(action.action.message)
    count('events in any order')
  }
}

/** What a shell can report: then timers, connections and sessions fit as well. */
const likelyHistory: Case = (random, count) => {
  const grammar = createGrammar(random, openingCodec, random.pick([0, 0, 5]))
  const config = configOf(random)
  const shell = createShell()
  const history: PeerInput[] = []
  let machine = initialMachine
  let nowMs = 0
  for (let left = random.below(eventsMax); left > 0; left--) {
    nowMs += random.below(20_000)
    const context: SessionContext = { ...sampleContext, config, nowMs }
    const input = inputOf(random, machine, grammar, context)
    if (!canHappen(input, machine, shell)) continue
    history.push(input)
    const before = machine
    try {
      const [next, actions] = peerTransition(machine, input, context)
      machine = next
      applyActions(shell, before, actions)
      expectConsistent(machine, shell)
    } catch (cause) {
      throw new Error(`after ${history.map(render).join(', ')}`, { cause })
    }
    const { name } = leadingSession(machine).state
    if (name !== leadingSession(before).state.name) count(`times ${name}`)
    count('events that can happen')
  }
}

const render = (input: PeerInput): string =>
  input.type === 'incoming'
    ? 'incoming'
    : input.type === 'peer'
      ? input.event.type
      : `${input.session} ${input.event.type}`

fuzz(import.meta.filename, (random, count) => (random.oneIn(3) ? anyHistory : likelyHistory)(random, count))
