// Bad days by the dozen: two speakers, a network that breaks in every way it can, tables and configurations that change meanwhile.
// Whatever happened, when it is over both are Established and the router has exactly the routes of the table. A seed that failed
// once is written down below and stays.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Route } from '../../../src/bgp/rib/route.ts'
import type { PeerConfig } from '../../../src/bgp/speaker/protocol.ts'
import { replay } from '../../../src/bgp/speaker/recording.ts'
import { createBench, manyRoutes, ours, peerOf, router } from './bench.ts'

type Happening =
  | { readonly type: 'partition' | 'heal' | 'stall' | 'resume' | 'reset' | 'clear' | 'refresh' | 'shut' | 'unshut' }
  | { readonly type: 'pass'; readonly ms: number }
  | { readonly type: 'announce' | 'withdraw'; readonly from: number; readonly count: number }
  | { readonly type: 'configure'; readonly change: Partial<PeerConfig> }

const universe: readonly Route[] = manyRoutes(300, '10.0.0.101', '10.0.0.102', '10.0.0.103')

const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc
    .constantFrom('partition', 'heal', 'stall', 'resume', 'reset', 'clear', 'refresh', 'shut', 'unshut')
    .map((type) => ({
      type,
    })) as fc.Arbitrary<Happening>,
  fc.record({ type: fc.constant('pass' as const), ms: fc.nat(30_000) }),
  fc.record({ type: fc.constant('pass' as const), ms: fc.nat(20) }),
  fc.record({
    type: fc.constantFrom('announce' as const, 'withdraw' as const),
    from: fc.nat(299),
    count: fc.nat(100),
  }),
  fc.record({
    type: fc.constant('configure' as const),
    change: fc.constantFrom<Partial<PeerConfig>>(
      {},
      { holdTimeSeconds: 9 },
      { addPath: 'disabled' },
      { passive: true },
      { gracefulRestart: { restartSeconds: 120, longLivedSeconds: 0 } },
    ),
  }),
)

const day = fc.record({
  bothDial: fc.boolean(),
  gracefulRestart: fc.boolean(),
  seed: fc.nat(1_000_000),
  happenings: fc.array(happening, { maxLength: 40 }),
})

test('after any bad day both are Established and the router has exactly the table', () => {
  fc.assert(
    fc.property(day, ({ bothDial, gracefulRestart, seed, happenings }) => {
      const bench = createBench()
      const speaker = bench.speaker(ours, { seed })
      const peer = bench.speaker(router, { seed: seed + 1 })
      const restart = gracefulRestart ? { gracefulRestart: { restartSeconds: 120, longLivedSeconds: 0 } } : {}
      let config: PeerConfig = peerOf(ours, router, { ...restart, holdTimeSeconds: 30 })
      peer.configure([peerOf(router, ours, { ...restart, passive: !bothDial })])
      speaker.configure([config])
      const table = new Set<Route>()
      speaker.send({ type: 'ready' })
      peer.send({ type: 'ready' })
      for (const what of happenings) {
        switch (what.type) {
          case 'partition':
          case 'heal':
            bench.network[what.type](ours.address, router.address)
            break
          case 'stall':
          case 'resume':
          case 'reset':
            bench.network[what.type](router.address)
            break
          case 'clear':
          case 'refresh':
            speaker.send({ type: 'clear', peer: 'router', soft: what.type === 'refresh' })
            break
          case 'shut':
          case 'unshut': {
            const { shutdown: _, ...open } = config
            config = what.type === 'shut' ? { ...open, shutdown: 'for now' } : open
            speaker.configure([config])
            break
          }
          case 'configure':
            config = { ...config, ...what.change }
            speaker.configure([config])
            break
          case 'pass':
            bench.clock.advance(what.ms)
            break
          default: {
            const routes = universe.slice(what.from, what.from + what.count)
            if (what.type === 'announce') speaker.routes(routes)
            else speaker.withdraw(routes)
            for (const route of routes) {
              if (what.type === 'announce') table.add(route)
              else table.delete(route)
            }
          }
        }
      }
      // Then it is over, and somebody makes sure that one of the two dials.
      bench.network.heal(ours.address, router.address)
      bench.network.resume(router.address)
      const { shutdown: _, ...open } = config
      speaker.configure([{ ...open, passive: false }])
      bench.pass(400)

      expect([speaker.status('router').state, peer.status('ours').state]).toEqual(['Established', 'Established'])
      expect(peer.status('ours').receivedPrefixes).toBe(table.size)
      expect(speaker.status('router')).toMatchObject({ announcedPrefixes: table.size })
      expect([...replay(speaker.recorded)].at(-1)?.state).toBe('Established')
      // No connection is left over: two ends of one.
      expect(bench.network.openEnds()).toBe(2)
    }),
    { numRuns: 150 },
  )
})
