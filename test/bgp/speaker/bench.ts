// Speakers that talk to each other over a network in memory and a clock that only tests move, and the words to describe them.

import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { createFramer } from '../../../src/bgp/packet/framing.ts'
import { type BgpMessage, type OpenMessage, openingCodec, type SessionCodec } from '../../../src/bgp/packet/message.ts'
import type { Route } from '../../../src/bgp/rib/route.ts'
import { SpeakerCore } from '../../../src/bgp/speaker/core.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../../src/bgp/speaker/memory-transport.ts'
import type {
  PeerConfig,
  SessionStatus,
  SpeakerCommand,
  SpeakerConfig,
  SpeakerEvent,
} from '../../../src/bgp/speaker/protocol.ts'
import type { Recorded } from '../../../src/bgp/speaker/recording.ts'
import type { Connection, Transport } from '../../../src/bgp/speaker/transport.ts'
import { type Asn, parseAsn, parseRouterId, type RouterId } from '../../../src/net/asn.ts'
import { familyOf, type Ip, parseIp } from '../../../src/net/ip.ts'
import { hostPrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../../src/runtime/virtual-clock.ts'

export const ip = (text: string): Ip => must(parseIp(text))
export const asn = (value: number): Asn => must(parseAsn(value))
export const routerId = (text: string): RouterId => must(parseRouterId(text))

export const latencyMs = 1

/** A route of host length over the given next hops. */
export function routeTo(vip: string, ...nextHops: readonly string[]): Route {
  return {
    prefix: hostPrefix(ip(vip)),
    attributes: { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] },
    paths: nextHops.map((nextHop, i) => ({ pathId: i + 1, nextHop: ip(nextHop) })),
  }
}

/** `count` routes, all different. */
export const manyRoutes = (count: number, ...nextHops: readonly string[]): readonly Route[] =>
  Array.from({ length: count }, (_, i) => routeTo(`10.${100 + (i >> 16)}.${(i >> 8) & 0xff}.${i & 0xff}`, ...nextHops))

export interface End {
  readonly name: string
  readonly address: Ip
  readonly asn: Asn
}

/** 10.0.0.1 is the router, with the lower identifier; 10.0.0.10 is the speaker under test. */
export const router: End = { name: 'router', address: ip('10.0.0.1'), asn: asn(65001) }
export const ours: End = { name: 'ours', address: ip('10.0.0.10'), asn: asn(64512) }

/** The configuration of the session that `local` has with `remote`. */
export const peerOf = (local: End, remote: End, changes: Partial<PeerConfig> = {}): PeerConfig => ({
  name: remote.name,
  address: remote.address,
  port: 179,
  peerAsn: remote.asn,
  localAsn: local.asn,
  holdTimeSeconds: 90,
  keepaliveSeconds: 30,
  connectRetrySeconds: 10,
  ttl: 1,
  families: [familyOf(remote.address) === 'IPv4' ? 'ipv4-unicast' : 'ipv6-unicast'],
  addPath: 'auto',
  nextHop: 'node',
  passive: false,
  maxPrefixesIn: 1000,
  table: 'main',
  ...changes,
})

export interface TestSpeaker {
  readonly end: End
  readonly core: SpeakerCore
  readonly events: SpeakerEvent[]
  readonly recorded: Recorded[]
  readonly send: (command: SpeakerCommand) => void
  readonly configure: (peers: readonly PeerConfig[], changes?: Partial<SpeakerConfig>) => void
  readonly routes: (
    upserts: readonly Route[],
    options?: { readonly revision?: number; readonly table?: string },
  ) => void
  readonly withdraw: (routes: readonly Route[], revision?: number) => void
  /** The last status of the peer; throws when there was none. */
  readonly status: (peer: string) => SessionStatus
  /** The states of the peer in their order, without repetition. */
  readonly states: (peer: string) => readonly string[]
  readonly flushed: () => readonly number[]
}

export interface Bench {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly speaker: (end: End, options?: { readonly seed?: number; readonly extraAddress?: Ip }) => TestSpeaker
  /** Moves time on, in seconds. */
  readonly pass: (seconds: number) => void
}

export function createBench(): Bench {
  const clock = createVirtualClock()
  const network = createMemoryNetwork({ clock, latencyMs })
  return {
    clock,
    network,
    speaker: (end, { seed = 1, extraAddress } = {}) =>
      createTestSpeaker(
        end,
        extraAddress === undefined ? network.host(end.address) : network.host(end.address, extraAddress),
        clock,
        seed,
      ),
    pass: (seconds) => clock.advance(1000 * seconds),
  }
}

function createTestSpeaker(end: End, transport: Transport, clock: VirtualClock, seed: number): TestSpeaker {
  const events: SpeakerEvent[] = []
  const recorded: Recorded[] = []
  const core = new SpeakerCore({
    clock,
    random: randomFrom(seed),
    transport,
    onEvent: (event) => events.push(event),
    hostname: end.name,
    record: (entry) => recorded.push(entry),
  })
  const statuses = (peer: string): readonly SessionStatus[] =>
    events.flatMap((event) => (event.type === 'session' && event.status.peer === peer ? [event.status] : []))
  let revision = 0
  const change = (command: Omit<Extract<SpeakerCommand, { type: 'routes' }>, 'type' | 'revision'>, given?: number) => {
    revision = given ?? revision + 1
    core.handle({ type: 'routes', revision, ...command })
  }
  return {
    end,
    core,
    events,
    recorded,
    send: (command) => core.handle(command),
    configure: (peers, changes = {}) =>
      core.handle({
        type: 'configure',
        config: { routerId: routerId(end.address), listenPort: 179, listenAddresses: [], peers, ...changes },
      }),
    routes: (upserts, { revision: given, table = 'main' } = {}) =>
      change({ table, replace: false, upserts, withdrawals: [] }, given),
    withdraw: (routes, given) =>
      change({ table: 'main', replace: false, upserts: [], withdrawals: routes.map(({ prefix }) => prefix) }, given),
    status: (peer) => {
      const last = statuses(peer).at(-1)
      if (last === undefined) throw new Error(`${end.name} never spoke of ${peer}`)
      return last
    },
    states: (peer) =>
      statuses(peer)
        .map(({ state }) => state)
        .filter((state, i, all) => state !== all[i - 1]),
    flushed: () => events.flatMap((event) => (event.type === 'flushed' ? [event.revision] : [])),
  }
}

/** A small generator with a seed (mulberry32), so that jitter is the same in every run. */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Two speakers that know each other; both announce at once. */
export function createPair(
  changes: { readonly ours?: Partial<PeerConfig>; readonly router?: Partial<PeerConfig> } = {},
): Bench & { readonly ours: TestSpeaker; readonly router: TestSpeaker } {
  const bench = createBench()
  const pair = { ours: bench.speaker(ours), router: bench.speaker(router, { seed: 2 }) }
  pair.router.configure([peerOf(router, ours, { passive: true, ...changes.router })])
  pair.ours.configure([peerOf(ours, router, changes.ours)])
  for (const speaker of [pair.ours, pair.router]) speaker.send({ type: 'ready' })
  return { ...bench, ...pair }
}

/** A router that does as it is told, message by message: for what no well-behaved speaker does. */
export interface ScriptedRouter {
  readonly received: readonly BgpMessage[]
  readonly send: (...messages: readonly (BgpMessage | Uint8Array)[]) => void
  readonly connections: () => number
}

/**
 * Listens at the router's address, answers each connection with `greeting`, and sends KEEPALIVE every 30 s. Everything it hears is
 * decoded with `codec`.
 */
export function createScriptedRouter(
  bench: Bench,
  greeting: readonly BgpMessage[],
  codec: SessionCodec = openingCodec,
  from: End = ours,
): ScriptedRouter {
  const received: BgpMessage[] = []
  let connection: Connection | undefined
  let connections = 0
  const send = (...messages: readonly (BgpMessage | Uint8Array)[]): void => {
    for (const message of messages)
      connection?.write(message instanceof Uint8Array ? message : encodeMessage(message, codec))
  }
  const beat = (): void => {
    send({ type: 'KEEPALIVE' })
    bench.clock.setTimer(30_000, beat)
  }
  const listener = bench.network.host(router.address).listen(179, [], {
    listening: () => {},
    failed: () => {},
    refused: () => {},
    connection: (accepted) => {
      connection = accepted
      connections++
      const framer = createFramer()
      accepted.open({
        data: (chunk) => {
          framer.push(chunk)
          for (let framed = framer.next(65535); framed !== undefined; framed = framer.next(65535)) {
            if (framed.type === 'error') throw new Error(framed.error.reason)
            const decoded = decodeMessage(framed.bytes, codec)
            if (!decoded.ok) throw new Error(decoded.error.reason)
            received.push(decoded.message)
          }
        },
        drained: () => {},
        closed: () => {},
      })
      send(...greeting)
    },
  })
  listener.setPeers([{ address: from.address }])
  bench.clock.setTimer(30_000, beat)
  return { received, send, connections: () => connections }
}

/** What the scripted router says first when it wants a session: AS 65001, 10.0.0.1. */
export const routerOpen = (changes: Partial<OpenMessage> = {}): OpenMessage => ({
  type: 'OPEN',
  version: 4,
  myAs: 65001,
  holdTimeSeconds: 90,
  bgpIdentifier: 0x0a00_0001,
  capabilities: [
    { type: 'multiprotocol', afi: 1, safi: 1 },
    { type: 'route-refresh' },
    { type: 'enhanced-route-refresh' },
    { type: 'four-octet-as', asn: 65001 },
    { type: 'add-path', families: [{ afi: 1, safi: 1, mode: 'receive' }] },
  ],
  ...changes,
})

/** The codec of that session as the router sees it. */
export const routerCodec: SessionCodec = {
  ...openingCodec,
  fourOctetAs: true,
  addPathReceive: new Set(['ipv4-unicast']),
}
