// BFD and BGP together on a virtual clock: what each lets the other do (RFC 5882), and which BFD session a peer's configuration means.

import { describe, expect, test } from 'vitest'
import { type BfdEngine, createBfdEngine } from '../../../src/bfd/engine.ts'
import { type BfdHost, type BfdNetwork, createBfdNetwork } from '../../../src/bfd/memory-transport.ts'
import type { BfdSessionConfig } from '../../../src/bfd/session-config.ts'
import { patienceMs, settleMs } from '../../../src/bgp/speaker/bfd-turn.ts'
import { SpeakerCore } from '../../../src/bgp/speaker/core.ts'
import type { MemoryNetwork } from '../../../src/bgp/speaker/memory-transport.ts'
import { bfdSessionsOf } from '../../../src/bgp/speaker/path-watch.ts'
import type { PeerConfig, SessionStatus, SpeakerEvent } from '../../../src/bgp/speaker/protocol.ts'
import { asn, createBench, ip, ours, peerOf, randomFrom, router, routerId, type TestSpeaker } from './bench.ts'

const bfd = { transmitMs: 300, receiveMs: 300, multiplier: 3 }
const latencyMs = () => 1

interface Watched {
  readonly pass: (seconds: number) => void
  readonly status: () => SessionStatus
  readonly events: readonly SpeakerEvent[]
  /** Ends of our sessions, in words. */
  readonly ends: () => readonly string[]
  readonly configure: (changes: Partial<PeerConfig>) => void
  readonly core: SpeakerCore
  readonly routerBgp: TestSpeaker
  readonly routerBfd: BfdEngine
  readonly bgpNetwork: MemoryNetwork
  readonly bfdNetwork: BfdNetwork
  readonly host: BfdHost
}

/** Our speaker with BFD, and a router whose BGP and BFD are apart, so that one can fail without the other. */
function createWatched(
  changes: Partial<PeerConfig> = {},
  routerSession: Partial<BfdSessionConfig> | 'none' = {},
): Watched {
  const bench = createBench()
  const { clock } = bench
  const bfdNetwork = createBfdNetwork({ clock, latencyMs })
  const host = bfdNetwork.host(ours.address)
  const events: SpeakerEvent[] = []
  const core = new SpeakerCore({
    clock,
    random: randomFrom(3),
    transport: bench.network.host(ours.address),
    bfd: { transport: host.transport, isOnLink: (address) => address === router.address },
    onEvent: (event) => events.push(event),
  })
  const routerBgp = bench.speaker(router, { seed: 2 })
  routerBgp.configure([peerOf(router, ours, { passive: true, peerAsn: changes.localAsn ?? ours.asn })])
  const routerBfd = createBfdEngine({
    clock,
    random: randomFrom(4),
    transport: bfdNetwork.host(router.address).transport,
    listening: 'at-all',
    onEvent: () => {},
  })
  const toUs = { key: 'ours', remoteAddress: ours.address, ...bfd, adminDown: false }
  if (routerSession !== 'none') routerBfd.setSessions([{ ...toUs, ...routerSession }])
  const configure = (next: Partial<PeerConfig>): void =>
    core.handle({
      type: 'configure',
      config: {
        routerId: routerId('10.0.0.10'),
        listenPort: 0,
        listenAddresses: [],
        peers: [peerOf(ours, router, next)],
      },
    })
  const statuses = (): readonly SessionStatus[] =>
    events.flatMap((event) => (event.type === 'session' ? [event.status] : []))
  configure({ bfd, ...changes })
  return {
    pass: bench.pass,
    status: () => {
      const last = statuses().at(-1)
      if (last === undefined) throw new Error('no status')
      return last
    },
    events,
    ends: () =>
      events.flatMap((event) =>
        event.type === 'log' && event.fields.event === 'session-error' ? [String(event.fields['reason'])] : [],
      ),
    ...{ configure, core, routerBgp, routerBfd, bgpNetwork: bench.network, bfdNetwork, host },
  }
}

const upWatched = (...args: Parameters<typeof createWatched>): Watched => {
  const watched = createWatched(...args)
  watched.pass(5)
  expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 1 })
  return watched
}

describe('BGP and BFD', () => {
  test('BGP does not wait for BFD, which is down once it is late', () => {
    const watched = createWatched({}, 'none')
    watched.pass(5)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Starting' })
    watched.pass(55)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Down', establishedCount: 1 })
  })

  test('a path that goes down ends the session with Cease/10, and BGP begins anew', () => {
    const watched = upWatched()
    watched.bfdNetwork.setLoss(() => true)
    watched.pass(0.91)
    expect(watched.status()).toMatchObject({
      state: 'Idle',
      bfd: 'Down',
      lastError: expect.stringMatching(/BFD down.*control detection time expired/i),
    })
    expect(watched.routerBgp.status('ours').lastError).toMatch(/BFD down/i)
    watched.pass(30)
    // The path is bad for BFD only: BGP has come back and is not disturbed again.
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Down', establishedCount: 2 })
    watched.bfdNetwork.setLoss(() => false)
    watched.pass(30)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 2 })
  })

  test('a path that the router calls down is down', () => {
    const watched = upWatched()
    watched.bfdNetwork.setLoss((from) => from === ours.address)
    watched.pass(1)
    expect(watched.ends().join()).toMatch(/neighbor signaled session down/)
  })

  test('a router that takes BFD down on purpose leaves BGP alone', () => {
    const watched = upWatched()
    watched.routerBfd.setSessions([])
    watched.pass(60)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Down', establishedCount: 1 })
    expect(watched.ends()).toEqual([])
  })

  test('BFD that is configured later, changed, and taken away leaves BGP alone', () => {
    const watched = createWatched({})
    watched.configure({})
    watched.pass(20)
    expect(watched.status()).not.toHaveProperty('bfd')
    watched.configure({ bfd })
    expect(watched.status().bfd).toBe('Starting')
    watched.pass(5)
    expect(watched.status().bfd).toBe('Up')
    watched.configure({ bfd: { ...bfd, transmitMs: 1000 } })
    watched.pass(5)
    expect(watched.status().bfd).toBe('Up')
    watched.configure({})
    watched.pass(30)
    expect(watched.status()).toMatchObject({ state: 'Established', establishedCount: 1 })
    expect(watched.status()).not.toHaveProperty('bfd')
    expect(watched.routerBfd.status('ours')).toMatchObject({ state: 'Down', diagnostic: 3 })
  })

  test('a peer that is shut down is AdminDown, and comes back with BGP', () => {
    const watched = upWatched()
    watched.configure({ bfd, shutdown: 'maintenance' })
    watched.pass(5)
    expect(watched.status()).toMatchObject({ state: 'Idle', bfd: 'AdminDown' })
    expect(watched.routerBfd.status('ours')).toMatchObject({ state: 'Down', diagnostic: 3 })
    watched.configure({ bfd })
    watched.pass(10)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Up' })
  })

  test('a speaker that stops says Cease first and AdminDown after it', () => {
    const watched = upWatched()
    watched.core.handle({ type: 'stop', reason: 'upgrade' })
    expect(watched.routerBfd.status('ours')?.state).toBe('Up')
    watched.pass(2)
    expect(watched.events.at(-1)).toEqual({ type: 'stopped' })
    expect(watched.routerBgp.status('ours').lastError).toContain('upgrade')
    expect(watched.routerBfd.status('ours')).toMatchObject({ state: 'Down', diagnostic: 3 })
  })

  test('a socket that can not be had stands in the status, and is no reason for BGP to wait', () => {
    const watched = createWatched()
    watched.configure({})
    watched.pass(1)
    watched.host.occupy('single')
    watched.configure({ bfd })
    watched.pass(5)
    expect(watched.status()).toMatchObject({
      state: 'Established',
      bfd: 'Down',
      bfdError: 'any address UDP port 3784 is in use',
    })
    watched.host.vacate('single')
    watched.pass(10)
    expect(watched.status().bfd).toBe('Up')
    expect(watched.status()).not.toHaveProperty('bfdError')
    expect(watched.status()).not.toHaveProperty('lastError')
  })
})

describe('whose turn it is', () => {
  const toUs: BfdSessionConfig = { key: 'ours', remoteAddress: ours.address, ...bfd, adminDown: false }
  const toRouter = peerOf(router, ours, { passive: true })

  test('BFD begins a moment after BGP, because a router may make its session anew then', () => {
    const watched = createWatched({ connectRetrySeconds: 3 })
    watched.routerBgp.configure([])
    watched.pass(5)
    watched.routerBgp.configure([toRouter])
    for (let i = 0; i < 5000 && watched.status().state !== 'Established'; i++) watched.pass(0.001)
    // FRR 8.4 registers with its BFD daemon again once BGP has told it the source address.
    watched.routerBfd.setSessions([{ ...toUs, key: 'ours, with a source address', localAddress: router.address }])
    watched.pass(settleMs / 1000 - 0.002)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Starting' })
    // The one packet that ends what the router may have with an earlier process.
    expect(watched.routerBfd.counters().received).toBe(1)
    watched.pass(60)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 1 })
  })

  test('a router that insists on BFD first is answered after a while, and at once when that has proved right', () => {
    const watched = createWatched()
    watched.routerBgp.configure([])
    watched.pass(patienceMs / 1000)
    expect(watched.routerBfd.status('ours')?.state).toBe('Down')
    watched.pass(5)
    expect(watched.status()).toMatchObject({ state: expect.not.stringMatching('Established'), bfd: 'Up' })
    watched.routerBgp.configure([toRouter])
    watched.pass(60)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 1 })
    watched.bfdNetwork.setLoss(() => true)
    watched.routerBgp.configure([])
    watched.pass(60)
    watched.bfdNetwork.setLoss(() => false)
    watched.pass(5)
    expect(watched.status().bfd).toBe('Up')
  })

  test('a router that falls silent before BGP was up is waited for again', () => {
    const watched = createWatched()
    watched.routerBgp.configure([])
    watched.pass(patienceMs / 1000 + 5)
    watched.routerBfd.setSessions([])
    watched.pass(30)
    const { received } = watched.routerBfd.counters()
    watched.routerBfd.setSessions([toUs])
    watched.pass(patienceMs / 1000 - 1)
    expect(watched.routerBfd.counters().received).toBe(received)
  })

  test('a session that is up stays so while BGP is away', () => {
    const watched = upWatched()
    watched.routerBgp.configure([])
    watched.pass(30)
    expect(watched.routerBfd.status('ours')?.state).toBe('Up')
    watched.routerBgp.configure([toRouter])
    watched.pass(60)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 2 })
  })

  test('a router that is heard again is dialled at once', () => {
    const watched = upWatched({ connectRetrySeconds: 600 })
    watched.bgpNetwork.partition(ours.address, router.address)
    watched.bfdNetwork.setLoss(() => true)
    watched.pass(300)
    expect(watched.status().state).toMatch(/Connect|Active/)
    watched.bgpNetwork.heal(ours.address, router.address)
    watched.bfdNetwork.setLoss(() => false)
    watched.pass(5)
    expect(watched.status()).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 2 })
  })
})

describe('where routers disagree about the number of hops', () => {
  const multihop = { multihop: { ttlMin: 1 } }
  test.each<[string, Partial<PeerConfig>, Partial<BfdSessionConfig>]>([
    ['GTSM on one link, a router that takes it for one hop', { ttlSecurityHops: 1 }, {}],
    ['GTSM on one link, a router that takes it for several', { ttlSecurityHops: 1 }, multihop],
    ['iBGP on one link, a router that takes it for one hop', { localAsn: router.asn }, {}],
    ['iBGP on one link, a router that takes it for several', { localAsn: router.asn }, multihop],
  ])('%s: both find each other, and the other way is given up', (_, changes, routerSession) => {
    const watched = createWatched(changes, routerSession)
    watched.pass(5)
    expect(watched.status().bfd).toBe('Up')
    const counters = watched.routerBfd.counters()
    watched.pass(30)
    expect(watched.status()).toMatchObject({ bfd: 'Up' })
    // One stream of packets, of which every one is the router's session's.
    expect(watched.routerBfd.counters().dropped).toEqual(counters.dropped)
    watched.bfdNetwork.setLoss(() => true)
    watched.pass(2)
    expect(watched.status().bfd).toBe('Down')
    watched.bfdNetwork.setLoss(() => false)
    watched.pass(5)
    expect(watched.status().bfd).toBe('Up')
  })
})

describe('the BFD session that a peer means', () => {
  const away = ip('192.0.2.1')
  const isOnLink = (address: string): boolean => address === router.address
  const hops = (changes: Partial<PeerConfig>): readonly (number | 'one hop')[] =>
    bfdSessionsOf(peerOf(ours, router, { bfd, ...changes }), isOnLink).map(
      ({ multihop }) => multihop?.ttlMin ?? 'one hop',
    )

  test.each<[string, Partial<PeerConfig>, readonly (number | 'one hop')[]]>([
    ['eBGP to a router on the same link', {}, ['one hop']],
    ['eBGP with ebgpMultihop', { ttl: 5 }, [1]],
    ['GTSM for the same link', { ttlSecurityHops: 1 }, ['one hop', 255]],
    ['GTSM for three hops', { ttlSecurityHops: 3 }, [253]],
    ['iBGP to a router on a connected network', { localAsn: router.asn, ttl: 255 }, ['one hop', 1]],
    ['iBGP to a router elsewhere', { localAsn: router.asn, ttl: 255, address: away }, [1]],
    ['iBGP with GTSM for the same link', { localAsn: router.asn, ttlSecurityHops: 1 }, ['one hop', 255]],
  ])('%s', (_, changes, expected) => {
    expect(hops(changes)).toEqual(expected)
  })

  test('carries addresses, zone and timers, and is down while the peer is shut down', () => {
    const [session] = bfdSessionsOf(
      peerOf(ours, router, {
        ...{ bfd, address: ip('fe80::1'), zone: 'eth0', sourceAddress: ip('fe80::2'), shutdown: '' },
        ...{ peerAsn: asn(65001) },
      }),
      isOnLink,
    )
    expect(session).toMatchObject({
      remoteAddress: 'fe80::1',
      zone: 'eth0',
      localAddress: 'fe80::2',
      adminDown: true,
      ...bfd,
    })
  })

  test('is none without bfd', () => {
    expect(bfdSessionsOf(peerOf(ours, router), isOnLink)).toEqual([])
  })
})

test('two sessions with one router share the watch over the path', () => {
  const scene = createWatched({ bfd }, {})
  scene.core.handle({
    type: 'configure',
    config: {
      routerId: routerId('10.0.0.10'),
      listenPort: 0,
      listenAddresses: [],
      peers: [peerOf(ours, router, { bfd }), peerOf(ours, router, { bfd, name: 'twin', port: 1790 })],
    },
  })
  scene.pass(10)
  const bfdOf = (peer: string) =>
    scene.events
      .flatMap((event) => (event.type === 'session' && event.status.peer === peer ? [event.status.bfd] : []))
      .at(-1)
  expect([bfdOf('router'), bfdOf('twin')]).toEqual(['Up', 'Up'])
  expect(scene.routerBfd.counters().dropped.size).toBe(0)
})
