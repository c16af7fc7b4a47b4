// Two or more engines on a virtual clock: what becomes of sessions when packets are lost, late or forged, when processes stall, and
// when their owners change their minds.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { retryMs } from '../../src/bfd/listeners.ts'
import { type BfdControl, encodeBfd } from '../../src/bfd/packet.ts'
import type { BfdSessionConfig } from '../../src/bfd/session-config.ts'
import { randomFrom } from '../bgp/speaker/bench.ts'
import { createBench, createPair, ip, ours, type Pair, router, sessionWith } from './bench.ts'

/** Detection time of 300 ms x 3. */
const detectionMs = 900
/** More than the slow start of one packet a second needs. */
const toUpMs = 4000

const upPair = (...options: Parameters<typeof createPair>): Pair => {
  const pair = createPair(...options)
  pair.pass(toUpMs)
  expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  return pair
}

const packet = (changes: Partial<BfdControl> = {}): Uint8Array =>
  encodeBfd({
    diagnostic: 0,
    state: 'Down',
    poll: false,
    final: false,
    controlPlaneIndependent: false,
    demand: false,
    detectMult: 3,
    myDiscriminator: 77,
    yourDiscriminator: 0,
    desiredMinTx: 1_000_000,
    requiredMinRx: 1_000_000,
    requiredMinEchoRx: 0,
    ...changes,
  })

describe('a session', () => {
  test('comes up on both sides, through Init on one of them at least', () => {
    const { ours, router } = upPair()
    const states = [ours.states(), router.states()]
    for (const seen of states) expect(seen.at(-1)).toBe('Up')
    expect(states.flat()).toContain('Init')
  })

  test('that is held says Down once and no more, tells that its peer is there, and comes up once it is let go', () => {
    const pair = createPair({ ours: { held: true } })
    pair.pass(30_000)
    expect(pair.ours.events).toEqual([{ type: 'heard', key: 'peer' }])
    expect(pair.ours.status()).toMatchObject({ state: 'Down', remoteState: 'Down', packetsOut: 1 })
    expect(pair.router.engine.counters().received).toBe(1)
    pair.ours.engine.setSessions([sessionWith(router)])
    pair.pass(toUpMs)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  })

  test('that is held ends what its peer has with an earlier process', () => {
    const bench = createBench()
    const peer = bench.box(router, 1)
    peer.engine.setSessions([sessionWith(ours)])
    const before = bench.box(ours, 2)
    before.engine.setSessions([sessionWith(router)])
    bench.pass(toUpMs)
    expect(peer.state()).toBe('Up')
    before.host.kill()
    bench.box(ours, 3).engine.setSessions([sessionWith(router, { held: true })])
    bench.pass(2)
    expect(peer.state()).toBe('Down')
  })

  test('that is held again after it failed answers no more, and tells of its peer anew', () => {
    const pair = upPair()
    pair.network.setLoss(() => true)
    pair.pass(detectionMs + 100)
    pair.ours.engine.setSessions([sessionWith(router, { held: true })])
    const { packetsOut } = pair.ours.status()
    pair.pass(60_000)
    pair.network.setLoss(() => false)
    pair.pass(5000)
    expect(pair.ours.status()).toMatchObject({ state: 'Down', packetsOut })
    expect(pair.ours.events.at(-1)).toEqual({ type: 'heard', key: 'peer' })
  })

  test('that is held does not take a farewell for a call', () => {
    const pair = createPair({ ours: { held: true }, router: { adminDown: true } })
    pair.pass(5000)
    expect(pair.ours.events).toEqual([])
  })

  test('that goes through Init when it is held is down, and says so', () => {
    const pair = createPair({ latencyMs: () => 200 })
    while (pair.ours.state() !== 'Init') pair.pass(1)
    pair.ours.engine.setSessions([sessionWith(router, { held: true })])
    expect(pair.ours.states()).toEqual(['Init', 'Down'])
    pair.pass(toUpMs)
    expect(pair.router.state()).not.toBe('Up')
  })

  test('sends slowly until it is up, then as configured, between 75 and 100 per cent', () => {
    const pair = upPair()
    expect(pair.ours.status()).toMatchObject({ transmitMs: 300, detectionMs })
    const before = pair.ours.status().packetsOut
    pair.pass(30_000)
    const sent = pair.ours.status().packetsOut - before
    expect(sent).toBeGreaterThanOrEqual(100)
    expect(sent).toBeLessThanOrEqual(134)
  })

  test('sends along when another one has to, and each at its own pace all the same', () => {
    const bench = createBench()
    const box = bench.box(ours, 1)
    const peers = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map(ip)
    for (const [i, peer] of peers.entries()) bench.box(peer, i + 2).engine.setSessions([sessionWith(ours)])
    box.engine.setSessions(peers.map((peer) => sessionWith(peer, { key: peer })))
    bench.pass(toUpMs)
    const sentAtMs = new Map<string, number[]>(peers.map((peer) => [peer, []]))
    bench.network.setLoss((from, to) => {
      if (from === ours) sentAtMs.get(to)?.push(bench.clock.monotonicMs())
      return false
    })
    bench.pass(60_000)
    for (const times of sentAtMs.values())
      for (const [i, atMs] of times.entries())
        if (i > 0) {
          expect(atMs - (times[i - 1] ?? 0)).toBeGreaterThanOrEqual(0.75 * 300)
          // A timer's whole milliseconds come on top.
          expect(atMs - (times[i - 1] ?? 0)).toBeLessThanOrEqual(300 + 1)
        }
    const all = [...sentAtMs.values()].flat()
    expect(new Set(all).size).toBeLessThan(0.45 * all.length)
  })

  test('takes a packet that comes as an occasion to send, where it may send already', () => {
    const pair = upPair()
    const sentAtMs: number[] = []
    const arrivedAtMs = new Set<number>()
    pair.network.setLoss((from) => {
      const nowMs = pair.clock.monotonicMs()
      if (from === ours) sentAtMs.push(nowMs)
      // A packet is under way for a millisecond.
      else arrivedAtMs.add(nowMs + 1)
      return false
    })
    pair.pass(60_000)
    const asAnswers = sentAtMs.filter((atMs) => arrivedAtMs.has(atMs))
    expect(asAnswers.length).toBeGreaterThan(sentAtMs.length / 4)
    expect(sentAtMs.length).toBeLessThanOrEqual(60_000 / (0.75 * 300) + 1)
  })

  test('speaks once a second to somebody who does not answer', () => {
    const bench = createBench()
    const box = bench.box(ours, 1)
    box.engine.setSessions([sessionWith(router)])
    bench.pass(60_000)
    expect(box.status().packetsOut).toBeGreaterThanOrEqual(60)
    expect(box.status().packetsOut).toBeLessThanOrEqual(81)
    expect(box.state()).toBe('Down')
  })

  test('each side takes the slower of what one sends and the other takes', () => {
    const { ours, router } = upPair({
      ours: { transmitMs: 100, receiveMs: 200 },
      router: { receiveMs: 400, multiplier: 5 },
    })
    expect(ours.status()).toMatchObject({ transmitMs: 400, detectionMs: 5 * 300 })
    expect(router.status()).toMatchObject({ transmitMs: 300, detectionMs: 3 * 400 })
  })

  test('goes down one detection time after the last packet, and says why', () => {
    const pair = upPair()
    pair.network.setLoss(() => true)
    pair.pass(detectionMs - 300)
    expect(pair.ours.state()).toBe('Up')
    pair.pass(300 + 2)
    expect(pair.ours.events.at(-1)).toEqual({
      type: 'state',
      key: 'peer',
      from: 'Up',
      to: 'Down',
      diagnostic: 1,
      remoteState: 'Down',
    })
    expect(pair.ours.status()).toMatchObject({ diagnostic: 1, remoteDiscriminator: 0 })
    pair.network.setLoss(() => false)
    pair.pass(toUpMs)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  })

  test('a path that is cut one way only is down for both: one hears nothing, the other is told', () => {
    const pair = upPair()
    pair.network.setLoss((from) => from === router)
    pair.pass(2000)
    expect(pair.ours.events.at(-1)).toMatchObject({ to: 'Down', diagnostic: 1 })
    expect(pair.router.states()).toContain('Down')
    expect(pair.router.events.find((event) => event.type === 'state' && event.to === 'Down')).toMatchObject({
      diagnostic: 3,
      remoteState: 'Down',
    })
  })

  test('a peer that begins anew, with another discriminator, brings it down and up again', () => {
    const pair = upPair()
    pair.router.host.stall()
    // The old process is gone without a word; its successor has the address.
    pair.network.setLoss(() => false)
    const discriminator = pair.router.status().localDiscriminator
    pair.router.engine.stop()
    pair.router.host.resume()
    pair.router.engine.setSessions([sessionWith(ours)])
    expect(pair.router.status().localDiscriminator).not.toBe(discriminator)
    pair.pass(toUpMs)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
    expect(pair.ours.states()).toContain('Down')
  })
})

describe('new timers', () => {
  const settings: readonly [string, Partial<BfdSessionConfig>][] = [
    ['faster', { transmitMs: 50, receiveMs: 50 }],
    ['slower', { transmitMs: 2000, receiveMs: 2000 }],
    ['faster to send, slower to receive', { transmitMs: 50, receiveMs: 1000 }],
    ['of another multiplier', { multiplier: 7 }],
  ]
  test.each(settings)('%s take effect by a poll sequence, and nothing goes down', (_, changes) => {
    const pair = upPair()
    pair.ours.engine.setSessions([sessionWith(router, changes)])
    pair.pass(10_000)
    expect(pair.ours.states().filter((state) => state === 'Down')).toEqual([])
    expect(pair.router.states().filter((state) => state === 'Down')).toEqual([])
    const { transmitMs = 300, receiveMs = 300, multiplier = 3 } = changes
    expect(pair.ours.status().transmitMs).toBe(Math.max(transmitMs, 300))
    expect(pair.router.status().detectionMs).toBe(multiplier * Math.max(transmitMs, 300))
    expect(pair.router.status().transmitMs).toBe(Math.max(receiveMs, 300))
  })

  test('survive a poll sequence of which packets are lost', () => {
    const pair = upPair()
    let count = 0
    pair.network.setLoss(() => ++count % 3 === 0)
    pair.ours.engine.setSessions([sessionWith(router, { transmitMs: 1000 })])
    pair.pass(30_000)
    expect(pair.ours.status().transmitMs).toBe(1000)
    expect([...pair.ours.states(), ...pair.router.states()]).not.toContain('AdminDown')
    expect(pair.router.status().detectionMs).toBe(3000)
  })

  test('the same configuration again sends nothing', () => {
    const pair = upPair()
    const before = pair.ours.engine.counters().sent
    pair.ours.engine.setSessions([sessionWith(router)])
    expect(pair.ours.engine.counters().sent).toBe(before)
  })
})

describe('administratively down', () => {
  test('is told to the peer, which goes down and knows that it is no failure', () => {
    const pair = upPair()
    pair.ours.engine.setSessions([sessionWith(router, { adminDown: true })])
    pair.pass(5)
    expect(pair.ours.state()).toBe('AdminDown')
    expect(pair.router.events.at(-1)).toMatchObject({ to: 'Down', diagnostic: 3, remoteState: 'AdminDown' })
    pair.pass(60_000)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['AdminDown', 'Down'])
    pair.ours.engine.setSessions([sessionWith(router)])
    pair.pass(toUpMs)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  })

  test('is what a session says that is not configured any more, for a detection time even when packets are lost', () => {
    const pair = upPair()
    let lost = 2
    pair.network.setLoss((from) => from === ours && lost-- > 0)
    pair.ours.engine.setSessions([])
    expect(pair.ours.engine.status('peer')).toBeUndefined()
    pair.pass(10_000)
    const downs = pair.router.events.filter((event) => event.type === 'state' && event.to === 'Down')
    expect(downs).toHaveLength(1)
    const { sent } = pair.ours.engine.counters()
    pair.pass(60_000)
    expect(pair.ours.engine.counters().sent).toBe(sent)
  })

  test('a session that is wanted again while it leaves comes back', () => {
    const pair = upPair()
    const before = pair.ours.status().localDiscriminator
    pair.ours.engine.setSessions([])
    pair.pass(500)
    pair.ours.engine.setSessions([sessionWith(router)])
    expect(pair.ours.status().localDiscriminator).toBe(before)
    pair.pass(toUpMs)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  })

  test('is the last word of an engine that stops', () => {
    const pair = upPair()
    pair.ours.engine.stop()
    pair.pass(5)
    expect(pair.router.events.at(-1)).toMatchObject({ to: 'Down', remoteState: 'AdminDown' })
    const { sent, received } = pair.ours.engine.counters()
    pair.pass(60_000)
    expect(pair.ours.engine.counters()).toMatchObject({ sent, received })
  })
})

describe('packets that are nobody’s', () => {
  const inject = (pair: Pair, bytes: Uint8Array, changes: Partial<Parameters<Pair['network']['inject']>[0]> = {}) => {
    pair.network.inject({ from: router, to: ours, hops: 'single', ttl: 255, bytes, ...changes })
    pair.pass(5)
  }
  const dropped = (pair: Pair, reason: string): number =>
    [...pair.ours.engine.counters().dropped].find(([key]) => key === reason)?.[1] ?? 0

  test.each<[string, string, (pair: Pair) => void]>([
    ['of an unknown discriminator', 'bfd/unknown-session', (pair) => inject(pair, packet({ yourDiscriminator: 1 }))],
    ['of an unknown source', 'bfd/unknown-session', (pair) => inject(pair, packet(), { from: ip('10.0.0.66') })],
    ['that are too short', 'bfd/length', (pair) => inject(pair, packet().subarray(0, 23))],
    ['that are empty', 'bfd/length', (pair) => inject(pair, new Uint8Array())],
    ['of another version', 'bfd/version', (pair) => inject(pair, Uint8Array.of(0x40, ...packet().subarray(1)))],
  ])('%s are counted and change nothing', (_, reason, send) => {
    const pair = upPair()
    const events = pair.ours.events.length
    send(pair)
    expect(dropped(pair, reason)).toBe(1)
    expect(pair.ours.state()).toBe('Up')
    expect(pair.ours.events).toHaveLength(events)
  })

  test('a packet that a router has forwarded does not reach a session on a single hop', () => {
    const pair = upPair()
    const { localDiscriminator: yourDiscriminator } = pair.ours.status()
    inject(pair, packet({ yourDiscriminator }), { ttl: 254 })
    expect(pair.ours.state()).toBe('Up')
    inject(pair, packet({ yourDiscriminator }), { ttl: 255 })
    expect(pair.ours.state()).toBe('Down')
  })

  test('a packet to the multihop port, which no TTL guards, does not reach a session on a single hop', () => {
    const pair = upPair()
    pair.ours.engine.setSessions([
      sessionWith(router),
      sessionWith(ip('10.9.9.9'), { key: 'other', multihop: { ttlMin: 1 } }),
    ])
    const { localDiscriminator: yourDiscriminator } = pair.ours.status()
    inject(pair, packet({ yourDiscriminator }), { hops: 'multi', ttl: 60 })
    expect(dropped(pair, 'bfd/wrong-port')).toBe(1)
    expect(pair.ours.state()).toBe('Up')
  })

  test('no bytes at all disturb a session', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const pair = upPair()
        inject(pair, bytes, { from: ip('10.0.0.66') })
        expect(pair.ours.state()).toBe('Up')
      }),
      { numRuns: 50 },
    )
  })
})

describe('several hops', () => {
  const distance = (ttlMin: number) => ({ multihop: { ttlMin } })
  test.each<[string, number, number, string]>([
    ['without a least TTL come from anywhere', 30, 1, 'Up'],
    ['from no further than allowed', 1, 254, 'Up'],
    ['from further away than allowed are not heard', 2, 254, 'Down'],
  ])('packets %s', (_, routers, ttlMin, state) => {
    const pair = createPair({ ours: distance(ttlMin), router: distance(1) })
    pair.network.setRouters(routers)
    pair.pass(10_000)
    expect(pair.ours.state()).toBe(state)
  })

  test('single-hop and multihop sessions with one address are two', () => {
    const both = (address: typeof ours) => [
      sessionWith(address, { key: 'near' }),
      sessionWith(address, { key: 'far', ...distance(1) }),
    ]
    const pair = createPair()
    pair.ours.engine.setSessions(both(router))
    pair.router.engine.setSessions(both(ours))
    pair.pass(toUpMs)
    for (const key of ['near', 'far']) expect([pair.ours.state(key), pair.router.state(key)]).toEqual(['Up', 'Up'])
    pair.network.setRouters(1)
    pair.pass(detectionMs + 10)
    expect([pair.ours.state('near'), pair.ours.state('far')]).toEqual(['Down', 'Up'])
  })
})

describe('a process that stalls', () => {
  test.each([100, 500, 850])('for %i ms, less than its peer’s patience, loses nothing', (stallMs) => {
    for (let offset = 0; offset < 300; offset += 20) {
      const pair = upPair({ seed: offset })
      pair.pass(offset)
      // Half of the patience is used up by the time between packets.
      pair.router.engine.setSessions([sessionWith(ours, { multiplier: 3 })])
      pair.ours.engine.setSessions([sessionWith(router, { multiplier: 5 })])
      pair.pass(3000)
      pair.ours.host.stall()
      pair.pass(stallMs)
      pair.ours.host.resume()
      pair.pass(10_000)
      expect([...pair.ours.states(), ...pair.router.states()].filter((state) => state === 'Down')).toEqual([])
    }
  })

  test('reads what waits in its sockets before it judges, however short the stall', () => {
    const silenced = (): Pair => {
      const pair = upPair({ seed: 7, ours: { multiplier: 20 } })
      pair.network.setLoss((from) => from === router)
      return pair
    }
    const first = silenced()
    let downAfterMs = 0
    for (; first.ours.state() === 'Up'; downAfterMs++) first.pass(1)
    // The same again, but the last packet to arrive in time does so while nobody looks.
    const pair = silenced()
    pair.pass(downAfterMs - 20)
    pair.ours.host.stall()
    pair.network.setLoss(() => false)
    const { localDiscriminator: yourDiscriminator, remoteDiscriminator: myDiscriminator } = pair.ours.status()
    const bytes = packet({ state: 'Up', myDiscriminator, yourDiscriminator, desiredMinTx: 300_000 })
    pair.network.inject({ from: router, to: ours, hops: 'single', ttl: 255, bytes })
    pair.pass(5)
    pair.network.setLoss((from) => from === router)
    pair.pass(25)
    pair.ours.host.resume()
    expect(pair.ours.state()).toBe('Up')
    pair.pass(detectionMs + 1)
    expect(pair.ours.state()).toBe('Down')
  })

  test('does not take its own absence for the peer’s, even when nothing could be received meanwhile', () => {
    // The peer is patient, we are not: only our own judgement is at stake.
    const pair = upPair({ ours: { multiplier: 20 } })
    pair.ours.host.stall()
    // The machine was paused: packets were not even queued.
    pair.network.setLoss((from) => from === router)
    pair.pass(3000)
    pair.network.setLoss(() => false)
    pair.ours.host.resume()
    pair.pass(10_000)
    expect(pair.ours.states()).not.toContain('Down')
  })

  test('still notices that the peer is gone, one packet interval later at most', () => {
    const pair = upPair({ ours: { multiplier: 20 } })
    pair.network.setLoss((from) => from === router)
    pair.pass(100)
    pair.ours.host.stall()
    pair.pass(3000)
    pair.ours.host.resume()
    pair.pass(300 + 2)
    expect(pair.ours.events.at(-1)).toMatchObject({ to: 'Down', diagnostic: 1 })
  })

  test('cannot forgive for ever by stalling again and again', () => {
    const pair = upPair({ ours: { multiplier: 200 } })
    pair.network.setLoss((from) => from === router)
    for (let i = 0; i < 20; i++) {
      pair.ours.host.stall()
      pair.pass(200)
      pair.ours.host.resume()
      pair.pass(1)
    }
    expect(pair.ours.state()).toBe('Down')
  })

  test('for longer than its peer’s patience is told so', () => {
    const pair = upPair()
    pair.ours.host.stall()
    pair.pass(3000)
    expect(pair.router.state()).toBe('Down')
    pair.ours.host.resume()
    pair.pass(5)
    expect(pair.ours.events.find((event) => event.type === 'state' && event.to === 'Down')).toMatchObject({
      diagnostic: 3,
    })
    pair.pass(toUpMs)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  })
})

describe('sockets that can not be had', () => {
  test('a port in use is an error of the session, tried again, and then heard no more of', () => {
    const bench = createBench()
    const [box, other] = [bench.box(ours, 1), bench.box(router, 2)]
    box.host.occupy('single')
    box.engine.setSessions([sessionWith(router)])
    other.engine.setSessions([sessionWith(ours)])
    const reason = 'any address UDP port 3784 is in use'
    expect(box.events).toEqual([{ type: 'error', key: 'peer', reason }])
    bench.pass(60_000)
    expect(box.events).toHaveLength(1)
    expect(box.status()).toMatchObject({ state: 'Down', error: reason })
    box.host.vacate('single')
    bench.pass(retryMs + toUpMs)
    expect(box.events).toContainEqual({ type: 'error', key: 'peer' })
    expect(box.state()).toBe('Up')
    expect(box.status()).not.toHaveProperty('error')
  })

  test('a source address that comes later', () => {
    const bench = createBench()
    const [box, other] = [bench.box(ours, 1), bench.box(router, 2)]
    const late = ip('10.0.0.99')
    box.engine.setSessions([sessionWith(router, { localAddress: late })])
    other.engine.setSessions([sessionWith(late)])
    expect(box.status().error).toBe('10.0.0.99 is not on this host')
    bench.pass(10_000)
    box.host.addAddress(late)
    bench.pass(retryMs + toUpMs)
    expect([box.state(), other.state()]).toEqual(['Up', 'Up'])
  })

  test('sessions that share a port and change their addresses keep going', () => {
    const pair = upPair({ ours: { localAddress: ours } })
    pair.ours.engine.setSessions([
      sessionWith(router, { localAddress: ours }),
      sessionWith(ip('10.0.0.2'), { key: 'second' }),
    ])
    pair.pass(5000)
    expect(pair.ours.states()).not.toContain('Down')
    pair.ours.engine.setSessions([sessionWith(router, { localAddress: ours })])
    pair.pass(5000)
    expect(pair.ours.states()).not.toContain('Down')
  })
})

describe('two programs of one host', () => {
  const other = ip('10.0.0.2')
  const createTwo = () => {
    const bench = createBench()
    const routers = [bench.box(router, 1), bench.box(other, 2)] as const
    for (const each of routers) each.engine.setSessions([sessionWith(ours)])
    return { ...bench, routers, one: bench.box(ours, 3, 'by-peer'), two: bench.box(ours, 4, 'by-peer') }
  }

  test('have each its own routers', () => {
    const { one, two, routers, pass } = createTwo()
    one.engine.setSessions([sessionWith(router)])
    two.engine.setSessions([sessionWith(other)])
    pass(toUpMs)
    expect([one, two, ...routers].map((box) => box.state())).toEqual(['Up', 'Up', 'Up', 'Up'])
    expect([...one.events, ...two.events].filter(({ type }) => type === 'error')).toEqual([])
  })

  test('with one router: the second is silent and says why, and takes over when the first is gone', () => {
    const { one, two, routers, pass } = createTwo()
    const [first] = routers
    one.engine.setSessions([sessionWith(router)])
    pass(toUpMs)
    two.engine.setSessions([sessionWith(router)])
    expect(two.events).toEqual([{ type: 'error', key: 'peer', reason: 'any address UDP port 3784 is in use' }])
    pass(60_000)
    expect(two.status()).toMatchObject({ state: 'Down', packetsOut: 0, packetsIn: 0 })
    expect([...one.states(), ...first.states()]).not.toContain('Down')
    one.host.kill()
    pass(detectionMs + retryMs + toUpMs)
    expect([two.state(), first.state()]).toEqual(['Up', 'Up'])
    expect(two.events).toContainEqual({ type: 'error', key: 'peer' })
  })

  test('packets of other routers reach neither', () => {
    const { one, network, pass } = createTwo()
    one.engine.setSessions([sessionWith(router)])
    pass(toUpMs)
    network.inject({ from: other, to: ours, hops: 'single', ttl: 255, bytes: packet() })
    pass(5)
    expect(one.state()).toBe('Up')
    expect(one.engine.counters().dropped.size).toBe(0)
  })
})

test('a host whose address changes is heard at the new one', () => {
  const bench = createBench()
  const [box, peer] = [bench.box(ours, 1, 'by-peer'), bench.box(router, 2)]
  const moved = ip('10.0.0.11')
  box.engine.setSessions([sessionWith(router)])
  bench.pass(1000)
  box.host.moveTo(moved)
  peer.engine.setSessions([sessionWith(moved)])
  bench.pass(15_000 + toUpMs)
  expect([box.state(), peer.state()]).toEqual(['Up', 'Up'])
})

test('a thousand sessions have a thousand discriminators, come up, and stay up', () => {
  const bench = createBench()
  const remotes = Array.from({ length: 1000 }, (_, i) => ip(`10.1.${i >> 8}.${i & 255}`))
  const box = bench.box(ours, 1)
  box.engine.setSessions(remotes.map((remote) => sessionWith(remote, { key: remote })))
  const others = remotes.map((remote, i) => {
    const other = bench.box(remote, 5000 + i)
    other.engine.setSessions([sessionWith(ours)])
    return other
  })
  bench.pass(toUpMs)
  const discriminators = new Set(remotes.map((remote) => box.status(remote).localDiscriminator))
  expect(discriminators.size).toBe(1000)
  expect(remotes.filter((remote) => box.state(remote) !== 'Up')).toEqual([])
  bench.pass(1000)
  expect(others.filter((other) => other.state() !== 'Up')).toEqual([])
  box.engine.setSessions([])
  bench.pass(10)
  expect(others.filter((other) => other.state() !== 'Down')).toEqual([])
})

describe('on any network', () => {
  test('isolated losses and any jitter below the slack of the multiplier bring nothing down', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 40 }), (seed, jitterMs) => {
        const random = randomFrom(seed)
        const pair = upPair({ seed, latencyMs: () => 1 + jitterMs * random() })
        // Never two in a row from one side: 3 intervals are then always enough.
        const last = new Map<string, boolean>()
        pair.network.setLoss((from) => {
          const lost = last.get(from) !== true && random() < 0.5
          last.set(from, lost)
          return lost
        })
        pair.pass(60_000)
        expect([...pair.ours.states(), ...pair.router.states()]).not.toContain('Down')
      }),
      { numRuns: 100 },
    )
  })

  test('whatever is lost, both sides agree soon after the losses end', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e6 }),
        fc.array(
          fc.record({ ms: fc.integer({ min: 1, max: 3000 }), loss: fc.double({ min: 0, max: 1, noNaN: true }) }),
          {
            maxLength: 12,
          },
        ),
        (seed, weather) => {
          const random = randomFrom(seed)
          const pair = createPair({ seed, latencyMs: () => 1 + 30 * random() })
          for (const { ms, loss } of weather) {
            pair.network.setLoss(() => random() < loss)
            pair.pass(ms)
          }
          pair.network.setLoss(() => false)
          pair.pass(10_000)
          expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
        },
      ),
      { numRuns: 60 },
    )
  })

  test('a dead path is known within the detection time, whatever came before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 0, max: 5000 }), (seed, ms) => {
        const pair = upPair({ seed })
        pair.pass(ms)
        pair.network.setLoss(() => true)
        pair.pass(detectionMs + 2)
        expect([pair.ours.state(), pair.router.state()]).toEqual(['Down', 'Down'])
      }),
      { numRuns: 50 },
    )
  })
})
