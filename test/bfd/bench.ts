// Engines that talk to each other over a network in memory and a clock that only tests move, and the words to describe them.

import { type BfdEngine, createBfdEngine } from '../../src/bfd/engine.ts'
import { type BfdHost, type BfdNetwork, createBfdNetwork } from '../../src/bfd/memory-transport.ts'
import type { BfdState } from '../../src/bfd/packet.ts'
import type { BfdEvent, BfdListening, BfdSessionConfig, BfdStatus } from '../../src/bfd/session-config.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { must } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'
import { randomFrom } from '../bgp/speaker/bench.ts'

export const ip = (text: string): Ip => must(parseIp(text))

export const ours = ip('10.0.0.10')
export const router = ip('10.0.0.1')

/** A session of 300 ms x 3 with `remoteAddress`, called 'peer'. */
export const sessionWith = (remoteAddress: Ip, changes: Partial<BfdSessionConfig> = {}): BfdSessionConfig => ({
  key: 'peer',
  remoteAddress,
  transmitMs: 300,
  receiveMs: 300,
  multiplier: 3,
  adminDown: false,
  ...changes,
})

export interface Box {
  readonly host: BfdHost
  readonly engine: BfdEngine
  readonly events: BfdEvent[]
  /** Throws when there is no such session. */
  readonly status: (key?: string) => BfdStatus
  readonly state: (key?: string) => BfdState
  /** The states the session went through since the box was made. */
  readonly states: (key?: string) => readonly BfdState[]
}

export interface Bench {
  readonly clock: VirtualClock
  readonly network: BfdNetwork
  readonly box: (address: Ip, seed: number, listening?: BfdListening) => Box
  readonly pass: (ms: number) => void
}

export function createBench(options: { readonly latencyMs?: () => number } = {}): Bench {
  const clock = createVirtualClock(1_000_000)
  const network = createBfdNetwork({ clock, latencyMs: options.latencyMs ?? (() => 1) })
  return {
    clock,
    network,
    box: (address, seed, listening = 'at-all') => createBox(network.host(address), seed, listening),
    pass: clock.advance,
  }
}

function createBox(host: BfdHost, seed: number, listening: BfdListening): Box {
  const events: BfdEvent[] = []
  const engine = createBfdEngine({
    clock: host.clock,
    random: randomFrom(seed),
    transport: host.transport,
    listening,
    onEvent: (event) => events.push(event),
  })
  const status = (key = 'peer'): BfdStatus => {
    const found = engine.status(key)
    if (found === undefined) throw new Error(`no session ${key}`)
    return found
  }
  return {
    host,
    engine,
    events,
    status,
    state: (key) => status(key).state,
    states: (key = 'peer') =>
      events.flatMap((event) => (event.type === 'state' && event.key === key ? [event.to] : [])),
  }
}

export interface Pair extends Bench {
  readonly ours: Box
  readonly router: Box
}

/** Two engines with a session to each other. */
export function createPair(
  options: {
    readonly ours?: Partial<BfdSessionConfig>
    readonly router?: Partial<BfdSessionConfig>
    readonly latencyMs?: () => number
    readonly seed?: number
  } = {},
): Pair {
  const bench = createBench(options)
  const seed = options.seed ?? 1
  const pair = { ...bench, ours: bench.box(ours, seed), router: bench.box(router, seed + 1000) }
  pair.ours.engine.setSessions([sessionWith(router, options.ours)])
  pair.router.engine.setSessions([sessionWith(ours, options.router)])
  return pair
}
