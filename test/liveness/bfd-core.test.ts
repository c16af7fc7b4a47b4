// Controllers and agents over a network in memory: from lost packets and stalled processes to the opinion of a node.

import { beforeEach, describe, expect, test } from 'vitest'
import { type BfdHost, type BfdNetwork, createBfdNetwork } from '../../src/bfd/memory-transport.ts'
import type { BfdSessionConfig } from '../../src/bfd/session-config.ts'
import { type BfdCore, createBfdCore } from '../../src/liveness/bfd-core.ts'
import { type Liveness, noLiveness, opinions, transitionLiveness } from '../../src/liveness/liveness.ts'
import { livenessEventOf } from '../../src/liveness/session-change.ts'
import { livenessDetectionMs, livenessTimers } from '../../src/liveness/watched-sessions.ts'
import type { Ip } from '../../src/net/ip.ts'
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
let agents: Map<Ip, BfdCore>

const startAgent = (address: Ip, seed: number): void => {
  const { transport, clock: own } = network.host(address)
  const agent = createBfdCore({ clock: own, random: randomFrom(seed), transport, onTidings: () => {} })
  agent.setSessions([session(controller)])
  agents.set(address, agent)
}

beforeEach(() => {
  clock = createVirtualClock(1_000_000)
  network = createBfdNetwork({ clock, latencyMs: () => 1 })
  liveness = noLiveness
  history = []
  agents = new Map()
  host = network.host(controller)
  const core = createBfdCore({
    clock: host.clock,
    random: randomFrom(99),
    transport: host.transport,
    onTidings: ({ changes }) => {
      for (const change of changes) {
        const event = livenessEventOf(change.key, change)
        if (event !== undefined) liveness = transitionLiveness(liveness, event, livenessDetectionMs)
      }
      for (const [node, said] of opinions(liveness)) if (said === 'down') history.push(node)
    },
  })
  core.setSessions(nodes.map(session))
  nodes.forEach(startAgent)
  clock.advance(toUpMs)
  expect(opinion()).toEqual('up up up up up')
})

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
