// The whole speaker against a hostile router, over a network in memory and on a virtual clock. Whatever is said to it, the speaker
// does not throw, keeps what it holds within bounds, ends a session exactly when and as the RFCs have it, and is Established with
// the whole table again once an honest router has taken the place of the other.
//
//   node test/fuzz/speaker-fuzz.ts --seconds 10 --seed 1

import assert from 'node:assert/strict'
import { negotiate } from '../../src/bgp/fsm/negotiate.ts'
import { decodeMessage } from '../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../src/bgp/packet/encode.ts'
import { createFramer } from '../../src/bgp/packet/framing.ts'
import { openingCodec } from '../../src/bgp/packet/message.ts'
import { pendingBytesMax } from '../../src/bgp/speaker/announcer.ts'
import { SpeakerCore } from '../../src/bgp/speaker/core.ts'
import type { PeerConfig, SessionStatus } from '../../src/bgp/speaker/protocol.ts'
import { sessionConfigOf } from '../../src/bgp/speaker/session-config.ts'
import type { Connection, Transport } from '../../src/bgp/speaker/transport.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import {
  type Bench,
  createBench,
  manyRoutes,
  ours,
  peerOf,
  router,
  routerId,
  routerOpen,
} from '../bgp/speaker/bench.ts'
import { createGrammar, type Grammar } from './grammar.ts'
import { createHostileRouter, type HostileRouter, type Line } from './hostile-router.ts'
import { messages, mutate } from './material.ts'
import { type Case, fuzz, type Random } from './runner.ts'

const routes = manyRoutes(40, '10.0.0.101', '10.0.0.102', '10.0.0.103')
const maxPrefixesIn = 60

// What may wait for a peer that does not read: the announcer's limit, one batch beyond it, and the session's own few messages.
const waitingBytesMax = pendingBytesMax + 96 * 1024
const timersMax = 40

/** What a peer, its silence or the network may end a session with. What is missing is what only we could cause. */
const endings: ReadonlySet<string> = new Set([
  'NotifMsg',
  'NotifMsgVerErr',
  'BgpHeaderErr',
  'BgpOpenMsgErr',
  'BgpOpen',
  'UpdateMsgErr',
  'RouteRefreshMsgErr',
  'HoldTimerExpires',
  'SendHoldTimerExpires',
  'TcpConnectionFails',
  // More prefixes than allowed.
  'AutomaticStop',
])
const endingsByTime: ReadonlySet<string> = new Set(['HoldTimerExpires', 'SendHoldTimerExpires'])

interface Subject {
  readonly core: SpeakerCore
  readonly status: () => SessionStatus
  /** The events that ended Established sessions, in their order. */
  readonly ended: readonly string[]
  /** Connections that it has not closed, and timers that it has set. */
  readonly connections: ReadonlySet<Connection>
  readonly timers: () => number
}

function createSubject(bench: Bench, config: PeerConfig, random: Random): Subject {
  const connections = new Set<Connection>()
  const ended: string[] = []
  let status: SessionStatus | undefined
  let timers = 0
  const clock: Clock = {
    ...bench.clock,
    setTimer: (delayMs, fire) => {
      timers++
      let set = true
      const unset = (): void => {
        if (set) timers--
        set = false
      }
      const cancel = bench.clock.setTimer(delayMs, () => {
        unset()
        fire()
      })
      return () => {
        unset()
        cancel()
      }
    },
  }
  const core = new SpeakerCore({
    clock,
    random: random.unit,
    transport: watched(bench.network.host(ours.address), connections),
    hostname: ours.name,
    onEvent: (event) => {
      if (event.type === 'session') status = event.status
      if (event.type !== 'log' || event.fields.event !== 'session-state') return
      if (event.fields['from'] === 'Established' && event.fields['to'] !== 'Established')
        ended.push(String(event.fields['because']))
    },
  })
  core.handle({
    type: 'configure',
    config: { routerId: routerId(ours.address), listenPort: 179, listenAddresses: [], peers: [config] },
  })
  core.handle({ type: 'routes', table: 'main', replace: true, upserts: routes, withdrawals: [], revision: 1 })
  core.handle({ type: 'ready' })
  return {
    core,
    connections,
    ended,
    timers: () => timers,
    status: () => {
      if (status === undefined) throw new Error('the speaker never spoke of its peer')
      return status
    },
  }
}

// The transport, and which of its connections are open.
function watched(transport: Transport, connections: Set<Connection>): Transport {
  const watch = (connection: Connection): Connection => {
    connections.add(connection)
    const gone = (): void => void connections.delete(connection)
    return {
      localAddress: connection.localAddress,
      remote: connection.remote,
      localAddresses: connection.localAddresses,
      localNetworks: connection.localNetworks,
      open: (handlers) =>
        connection.open({
          ...handlers,
          closed: (reason) => {
            gone()
            handlers.closed(reason)
          },
        }),
      write: connection.write,
      get pendingBytes() {
        return connection.pendingBytes
      },
      get acceptedBytes() {
        return connection.acceptedBytes
      },
      close: (done) => {
        gone()
        connection.close(done)
      },
      abort: () => {
        gone()
        connection.abort()
      },
    }
  }
  return {
    dial: (options, handlers) =>
      transport.dial(options, { ...handlers, connected: (connection) => handlers.connected(watch(connection)) }),
    listen: (port, addresses, handlers) =>
      transport.listen(port, addresses, {
        ...handlers,
        connection: (connection) => handlers.connection(watch(connection)),
      }),
    isNeighbor: transport.isNeighbor,
  }
}

function expectBounded({ connections, timers, status }: Subject): void {
  assert.ok(connections.size <= 2, `${connections.size} connections with one peer`)
  for (const { pendingBytes } of connections)
    assert.ok(pendingBytes <= waitingBytesMax, `${pendingBytes} octets wait for the peer`)
  assert.ok(timers() <= timersMax, `${timers()} timers`)
  assert.ok(status().receivedPrefixes <= maxPrefixesIn + 1)
}

// ----------------------------------------------------------------------------------------------------------- one day

interface Day {
  readonly bench: Bench
  readonly random: Random
  readonly config: PeerConfig
  readonly subject: Subject
  readonly hostile: HostileRouter
  readonly grammar: Grammar
  readonly count: (what: string, times?: number) => void
  /** Whether what is written reaches the router. */
  open: boolean
}

const settleMs = 10

const keepalive = encodeMessage({ type: 'KEEPALIVE' }, openingCodec)
const goodOpen = encodeMessage(routerOpen(), openingCodec)
const refresh = encodeMessage({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 }, openingCodec)

// More than the peer may announce, in one valid message.
const tooManyPrefixes = encodeMessage(
  {
    type: 'UPDATE',
    withdrawn: [],
    attributes: { origin: 'IGP', asPath: [{ type: 'AS_SEQUENCE', asns: [65001] }], nextHop: router.address },
    nlri: manyRoutes(2 * maxPrefixesIn, router.address).map(({ prefix }) => ({ prefix })),
  },
  { ...openingCodec, fourOctetAs: true },
)

/** What the session must do after a message, said alone and in step while Established. */
type Prediction =
  | { readonly stays: true }
  | { readonly stays: false; readonly notification?: (code: number, subcode: number) => boolean }

function predict(bytes: Uint8Array, line: Line, config: PeerConfig): Prediction | undefined {
  const { said, heard } = line
  if (said === undefined || heard === undefined) return undefined
  const { codec } = negotiate(heard, said, sessionConfigOf(config, routerId(ours.address), ours.name))
  const framer = createFramer()
  framer.push(bytes.slice())
  const framed = framer.next(codec.messageBytesMaxReceive)
  if (framed === undefined) return undefined
  const is = (error: { readonly code: number; readonly subcode: number }) => (code: number, subcode: number) =>
    code === error.code && subcode === error.subcode
  if (framed.type === 'error') return { stays: false, notification: is(framed.error) }
  if (framed.bytes.length !== bytes.length) return undefined
  // An OPEN has no place in Established, whatever is wrong with it.
  if (bytes[18] === 1) return { stays: false, notification: (code) => code === 2 || code === 5 }
  const decoded = decodeMessage(framed.bytes, codec)
  if (!decoded.ok) return { stays: false, notification: is(decoded.error) }
  return decoded.message.type === 'NOTIFICATION' ? { stays: false } : { stays: true }
}

/** One message on a session that is up, and what came of it. */
function sayAndSee(day: Day, line: Line, bytes: Uint8Array): void {
  const { bench, config, subject, hostile, count } = day
  bench.clock.advance(settleMs)
  const alone = hostile.lines().length === 1 && !line.closed && line.inStep && day.open
  const before = subject.ended.length
  const expected = alone && subject.status().state === 'Established' ? predict(bytes, line, config) : undefined
  hostile.say(line, bytes)
  if (expected === undefined) line.inStep = false
  bench.clock.advance(settleMs)
  if (expected === undefined) return
  const because = subject.ended[before]
  const timedOut = because !== undefined && endingsByTime.has(because)
  const tooMany = because === 'AutomaticStop' && line.notification?.code === 6
  if (timedOut || tooMany) return
  const what = `${Buffer.from(bytes).toString('hex')}: ${because ?? 'stays'}`
  if (expected.stays) {
    assert.equal(because, undefined, `the session must survive ${what}`)
    count('messages survived')
    return
  }
  assert.notEqual(because, undefined, `the session must end by ${what}`)
  const { notification } = line
  if (expected.notification === undefined) assert.equal(notification, undefined, `no answer to ${what}`)
  else {
    assert.ok(notification !== undefined, `a NOTIFICATION must answer ${what}`)
    const { code, subcode } = notification
    assert.ok(expected.notification(code, subcode), `NOTIFICATION ${code}/${subcode} to ${what}`)
  }
  count('messages refused')
}

function someBytes({ random, grammar }: Day): Uint8Array {
  if (random.oneIn(30)) return tooManyPrefixes
  switch (random.below(8)) {
    case 0:
      return random.bytes(1 + random.below(60))
    case 1:
    case 2:
      return mutate(random.pick(messages), random)
    case 3:
      return keepalive
    default:
      return random.oneIn(3) ? mutate(grammar.message(), random) : grammar.message()
  }
}

function act(day: Day): void {
  const { bench, random, hostile, grammar } = day
  const { below, oneIn } = random
  const line = hostile.lines().length === 0 ? undefined : random.pick(hostile.lines())
  const what = below(40)
  if (what < 3) bench.clock.advance(below(60_000))
  else if (what < 8) bench.clock.advance(below(2000))
  else if (what === 8) hostile.dial()
  else if (what === 9) {
    day.open = !day.open
    bench.network[day.open ? 'resume' : 'stall'](router.address)
  } else if (what === 10) {
    bench.network.partition(ours.address, router.address)
    bench.clock.advance(below(40_000))
    bench.network.heal(ours.address, router.address)
  } else if (line === undefined) bench.clock.advance(below(20_000))
  else if (what === 11) hostile.hangUp(line, oneIn(2) ? 'close' : 'abort')
  else if (what === 12) flood(day, line)
  else if (what === 13) beat(day, line)
  else if (line.said === undefined) {
    hostile.say(line, oneIn(4) ? grammar.open() : goodOpen)
    if (!oneIn(5)) hostile.say(line, keepalive)
    bench.clock.advance(settleMs)
  } else sayAndSee(day, line, someBytes(day))
}

// The same again and again, faster than it can be answered; most of it at a router that does not read.
function flood({ bench, random, hostile, grammar, open, count }: Day, line: Line): void {
  const bytes = random.pick([() => refresh, () => refresh, () => keepalive, grammar.update])()
  const many = new Uint8Array(bytes.length * 500)
  for (let at = 0; at < many.length; at += bytes.length) many.set(bytes, at)
  for (let left = random.below(open ? 2 : 50); left > 0 && !line.closed; left--) {
    hostile.say(line, many)
    bench.clock.advance(1)
  }
  line.inStep = false
  count('floods')
}

// A router that is alive as far as it says, for minutes: whether it also reads is what the SendHoldTimer finds out (RFC 9687).
function beat({ bench, random, hostile }: Day, line: Line): void {
  for (let left = random.below(400); left > 0 && !line.closed; left--) {
    hostile.say(line, keepalive)
    bench.clock.advance(2000)
  }
}

const oneDay: Case = (random, count) => {
  const bench = createBench()
  const config = peerOf(ours, router, {
    holdTimeSeconds: random.pick([9, 90]),
    families: random.pick([['ipv4-unicast'], ['ipv4-unicast', 'ipv6-unicast']] as const),
    addPath: random.pick(['auto', 'disabled'] as const),
    passive: random.oneIn(4),
    maxPrefixesIn,
    ...(random.oneIn(3) ? { gracefulRestart: { restartSeconds: 120, longLivedSeconds: 0 } } : {}),
  })
  const subject = createSubject(bench, config, random)
  const hostile = createHostileRouter(bench, random)
  const grammar = createGrammar(random, { ...openingCodec, fourOctetAs: true }, random.pick([0, 2, 10, 40]))
  const day: Day = { bench, random, config, subject, hostile, grammar, count, open: true }
  bench.clock.advance(1000)
  for (let left = 20 + random.below(100); left > 0; left--) {
    act(day)
    expectBounded(subject)
  }
  for (const because of subject.ended) {
    assert.ok(endings.has(because), `a session ended by ${because}`)
    count(`ended by ${because}`)
  }
  count('messages heard', hostile.heard())
  expectRecovery(day)
}

/** An honest router comes to the same address. */
function expectRecovery({ bench, subject, hostile }: Day): void {
  hostile.end()
  bench.network.resume(router.address)
  bench.clock.advance(1000)
  const honest = bench.speaker(router, { seed: 2 })
  honest.configure([peerOf(router, ours, { holdTimeSeconds: 30 })])
  honest.send({ type: 'ready' })
  // As long as a peer that sent too many prefixes is left alone, and what it takes to dial.
  bench.pass(400)
  assert.equal(subject.status().state, 'Established', `${subject.status().lastError}`)
  assert.equal(subject.status().announcedPrefixes, routes.length)
  assert.equal(honest.status('ours').receivedPrefixes, routes.length)
  assert.equal(bench.network.openEnds(), 2)
  expectBounded(subject)
}

fuzz(import.meta.filename, oneDay)
