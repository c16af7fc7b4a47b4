// Controllers and agents over a network in memory: from lost packets and stalled processes to the opinion of a node.

import { beforeEach, describe, expect, test } from 'vitest'
import { type BfdHost, type BfdNetwork, createBfdNetwork } from '../../src/bfd/memory-transport.ts'
import type { BfdSessionConfig } from '../../src/bfd/session-config.ts'
import type { BfdTransport } from '../../src/bfd/transport.ts'
import { type BfdCore, createBfdCore } from '../../src/liveness/bfd-core.ts'
import { type Liveness, noLiveness, opinions, transitionLiveness } from '../../src/liveness/liveness.ts'
import { livenessEventOf } from '../../src/liveness/session-change.ts'
import { livenessDetectionMs, livenessTimers } from '../../src/liveness/watched-sessions.ts'
import type { Ip } from '../../src/net/ip.ts'
import { ok } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'
import { ip } from '../bfd/bench.ts'
import { randomFrom } from '../bgp/speaker/bench.ts'

const controller = ip('10.0.0.1')
const [n1, n2] = [ip('10.0.0.11'), ip('10.0.0.12')]
const nodes = [n1, n2, ip('10.0.0.13'), ip('10.0.0.14'), ip('10.0.0.15')]
const toUpMs = 4000

const session = (remoteAddress: Ip): BfdSessionConfig => ({
  ...{ key: remoteAddress, remoteAddress, multihop: { ttlMin: 255 } },
  ...livenessTimers,
  adminDown: false,
})

let clock: VirtualClock
let network: BfdNetwork
let liveness: Liveness
/** Every opinion of every node, in turn, while it lasted. */
let history: string[]
let host: BfdHost
let core: BfdCore
/** The controller's kernel refuses to send. */
let isMute: boolean
let agents: Map<Ip, BfdCore>
/** Where the agents run. */
let hosts: Map<Ip, BfdHost>

const startAgent = (address: Ip, seed: number): void => {
  const at = network.host(address)
  const { transport, clock: own } = at
  hosts.set(address, at)
  const agent = createBfdCore({ clock: own, random: randomFrom(seed), transport, onTidings: () => {} })
  agent.setSessions([session(controller)])
  agents.set(address, agent)
}

const unlessMute = (transport: BfdTransport): BfdTransport => ({
  ...transport,
  open: (path) => {
    const opened = transport.open(path)
    if (!opened.ok) return opened
    const { send, ...sender } = opened.value
    return ok({
      ...sender,
      send: (bytes) => (isMute ? { code: 'bfd-socket/refused', reason: 'network is unreachable' } : send(bytes)),
    })
  },
})

beforeEach(() => {
  clock = createVirtualClock(1_000_000)
  network = createBfdNetwork({ clock, latencyMs: () => 1 })
  liveness = noLiveness
  history = []
  isMute = false
  agents = new Map()
  hosts = new Map()
  host = network.host(controller)
  core = createBfdCore({
    clock: host.clock,
    random: randomFrom(99),
    transport: unlessMute(host.transport),
    onTidings: ({ changes, looks }) => {
      for (const change of changes) {
        const event = livenessEventOf(change.key, change)
        if (event !== undefined) liveness = transitionLiveness(liveness, event, livenessDetectionMs)
      }
      for (const look of looks) liveness = transitionLiveness(liveness, look, livenessDetectionMs)
      for (const [node, said] of opinions(liveness)) if (said === 'down') history.push(node)
    },
  })
  core.setSessions(nodes.map(session))
  nodes.forEach(startAgent)
  clock.advance(toUpMs)
  expect(opinion()).toEqual('up up up up up')
})

const watchOnly = (...watched: readonly Ip[]): void => {
  core.setSessions(watched.map(session))
  liveness = transitionLiveness(liveness, { type: 'watched', nodes: new Set(watched) }, livenessDetectionMs)
}

const opinion = (): string => nodes.map((node) => opinions(liveness).get(node) ?? 'unknown').join(' ')

describe('a controller', () => {
  test('sees within a detection time that a node is gone, and that it is back', () => {
    network.setLoss((from, to) => from === n1 || to === n1)
    clock.advance(livenessDetectionMs + 5)
    expect(opinion()).toBe('down up up up up')
    network.setLoss(() => false)
    clock.advance(toUpMs)
    expect(opinion()).toBe('up up up up up')
  })

  test('has no opinion of a node whose agent ended, at once', () => {
    agents.get(n1)?.stop()
    clock.advance(10)
    expect(opinion()).toBe('unknown up up up up')
    clock.advance(10_000)
    expect(history).toEqual([])
  })

  test('has no opinion of a node that speaks but does not hear', () => {
    network.setLoss((_, to) => to === n1)
    clock.advance(toUpMs)
    expect(opinion()).toBe('unknown up up up up')
    expect(history).toEqual([])
  })

  test('has no opinion of a node whose agent was killed, and one again when it is back', () => {
    hosts.get(n1)?.kill()
    clock.advance(toUpMs)
    expect(opinion()).toBe('unknown up up up up')
    startAgent(n1, 77)
    clock.advance(toUpMs)
    expect(opinion()).toBe('up up up up up')
    expect(history).toEqual([])
  })

  test('calls a node dead whose agent was killed earlier, was back, and is silent now', () => {
    hosts.get(n1)?.kill()
    clock.advance(toUpMs)
    startAgent(n1, 77)
    clock.advance(toUpMs)
    network.setLoss((from, to) => from === n1 || to === n1)
    clock.advance(livenessDetectionMs + 5)
    expect(opinion()).toBe('down up up up up')
  })

  test('calls a node dead whose refusals do not arrive', () => {
    network.setLoss((from) => from === n1)
    hosts.get(n1)?.kill()
    clock.advance(livenessDetectionMs + 5)
    expect(opinion()).toBe('down up up up up')
  })

  test('of three nodes that is cut off from both others calls neither dead, not even for a moment', () => {
    watchOnly(n1, n2)
    network.setLoss((from, to) => from === controller || to === controller)
    clock.advance(60_000)
    expect(opinion()).toBe('unknown unknown unknown unknown unknown')
    network.setLoss(() => false)
    clock.advance(toUpMs)
    expect(opinion()).toBe('up up unknown unknown unknown')
    expect(history).toEqual([])
  })

  test('of three nodes believes that one is dead, though the other lost packets meanwhile', () => {
    watchOnly(n1, n2)
    network.setLoss((from) => from === n1)
    clock.advance(livenessDetectionMs / 2 - 50)
    network.setLoss((from) => from === n1 || from === n2)
    clock.advance(livenessDetectionMs / 2 + 50)
    network.setLoss((from) => from === n1)
    expect(history).toEqual([])
    clock.advance(livenessDetectionMs)
    expect(opinion()).toBe('down up unknown unknown unknown')
  })

  test('of two nodes believes that the other is dead', () => {
    watchOnly(n1)
    network.setLoss((from) => from === n1)
    clock.advance(livenessDetectionMs + 5)
    expect(opinion()).toBe('down unknown unknown unknown unknown')
  })

  test('of two nodes that has no network calls nobody dead', () => {
    watchOnly(n1)
    isMute = true
    network.setLoss((from, to) => from === controller || to === controller)
    clock.advance(toUpMs)
    expect(opinion()).toBe('unknown unknown unknown unknown unknown')
    expect(history).toEqual([])
  })

  test('believes two deaths at once, not four', () => {
    network.setLoss((from) => from === n1 || from === n2)
    clock.advance(toUpMs)
    expect(opinion()).toBe('down down up up up')
    network.setLoss(() => false)
    clock.advance(toUpMs)
    expect(opinion()).toBe('up up up up up')
  })

  test('that is cut off from all nodes never calls one dead, not even for a moment', () => {
    network.setLoss((from, to) => from === controller || to === controller)
    clock.advance(60_000)
    expect(opinion()).toBe('unknown unknown unknown unknown unknown')
    network.setLoss(() => false)
    clock.advance(toUpMs)
    expect(opinion()).toBe('up up up up up')
    expect(history).toEqual([])
  })

  test.each([500, 1000, 5000])('that was stalled for %i ms calls nobody dead', (stallMs) => {
    host.stall()
    clock.advance(stallMs)
    host.resume()
    clock.advance(toUpMs + 1000)
    expect(history).toEqual([])
    expect(opinion()).toBe('up up up up up')
  })
})
