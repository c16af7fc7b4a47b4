// Two speakers against each other on a virtual clock: what an operator sees of a session's life, from the first SYN to Cease.

import { describe, expect, test } from 'vitest'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { type BgpMessage, type Capability, openingCodec } from '../../../src/bgp/packet/message.ts'
import { replay } from '../../../src/bgp/speaker/recording.ts'
import { refreshPauseMs } from '../../../src/bgp/speaker/refresh-pace.ts'
import { maxPrefixesRetrySeconds } from '../../../src/bgp/speaker/session-config.ts'
import {
  asn,
  createBench,
  createPair,
  createScriptedRouter,
  type End,
  ip,
  latencyMs,
  manyRoutes,
  ours,
  peerOf,
  router,
  routerCodec,
  routerId,
  routerOpen,
  routeTo,
  type TestSpeaker,
} from './bench.ts'

describe('a session', () => {
  test('comes up and says what it negotiated', () => {
    const bench = createPair()
    bench.pass(1)
    expect(bench.ours.states('router')).toEqual(['Idle', 'Connect', 'OpenSent', 'OpenConfirm', 'Established'])
    expect(bench.ours.status('router')).toMatchObject({
      holdTimeSeconds: 90,
      families: ['ipv4-unicast'],
      gracefulRestart: false,
      peerRouterId: '10.0.0.1',
      localAddress: '10.0.0.10',
      establishedCount: 1,
    })
    expect(bench.ours.status('router')).not.toHaveProperty('lastError')
  })

  test('comes up once when both sides dial at once: the higher identifier keeps its connection', () => {
    const bench = createPair({ router: { passive: false } })
    bench.pass(5)
    for (const [speaker, peer] of [
      [bench.ours, 'router'],
      [bench.router, 'ours'],
    ] as const) {
      expect(speaker.status(peer)).toMatchObject({ state: 'Established', establishedCount: 1 })
      expect(speaker.status(peer)).not.toHaveProperty('lastError')
    }
  })

  test('comes up however the two dials fall', () => {
    for (let offsetMs = 0; offsetMs <= 12; offsetMs++) {
      const bench = createBench()
      const first = bench.speaker(ours)
      const second = bench.speaker(router, { seed: 2 })
      first.configure([peerOf(ours, router)])
      bench.clock.advance(offsetMs)
      second.configure([peerOf(router, ours)])
      bench.pass(60)
      expect([first.status('router').state, second.status('ours').state], `offset ${offsetMs} ms`).toEqual([
        'Established',
        'Established',
      ])
    }
  })

  test('lives on KEEPALIVEs, a third of the hold time apart or up to a quarter less', () => {
    const bench = createPair({ ours: { holdTimeSeconds: 9 } })
    bench.pass(1)
    const before = bench.ours.status('router').messagesIn
    bench.pass(300)
    const perSecond = (bench.ours.status('router').messagesIn - before) / 300
    expect(bench.ours.status('router')).toMatchObject({ state: 'Established', holdTimeSeconds: 9 })
    expect(1 / perSecond).toBeGreaterThan(2.25)
    expect(1 / perSecond).toBeLessThan(3)
  })

  test('ends when nothing is heard for the hold time, and comes back by itself', () => {
    const bench = createPair({ ours: { holdTimeSeconds: 9 } })
    bench.pass(1)
    bench.network.partition(ours.address, router.address)
    bench.pass(12)
    expect(bench.ours.status('router')).toMatchObject({
      lastError: 'the session was closed from here: hold timer expired: nothing was heard for the hold time of 9 s',
    })
    expect(bench.ours.status('router').state).not.toBe('Established')
    bench.network.heal(ours.address, router.address)
    bench.pass(60)
    expect(bench.ours.status('router')).toMatchObject({ state: 'Established', establishedCount: 2 })
    // And what went wrong remains to be seen, not what followed from it.
    expect(bench.ours.status('router').lastError).toContain('hold timer expired')
    expect(bench.ours.status('router').lastErrorAtMs).toBeLessThan(13_000)
  })

  test('retries a router that is not there, and says so', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    speaker.configure([peerOf(ours, router, { password: 'secret' })])
    bench.pass(11)
    expect(speaker.status('router')).toMatchObject({
      state: 'Connect',
      lastError:
        'no answer to the TCP connection within 10 s; a TCP-MD5 password that differs from the router looks like this, too',
    })
    bench.speaker(router, { seed: 2 }).configure([peerOf(router, ours, { password: 'secret', passive: true })])
    bench.pass(20)
    expect(speaker.status('router').state).toBe('Established')
  })

  test('says of a router on none of our networks that the TTL of eBGP does not take us there', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    const far = { ...router, address: ip('10.99.0.1') }
    speaker.configure([peerOf(ours, far)])
    bench.pass(11)
    expect(speaker.status('router').lastError).toBe(
      'no answer to the TCP connection within 10 s; it is on no network of this host, and an eBGP session without ebgpMultihop goes no further',
    )
    speaker.configure([peerOf(ours, far, { ttl: 2 })])
    bench.pass(11)
    expect(speaker.status('router').lastError).toBe('no answer to the TCP connection within 10 s')
  })

  test('with another AS is refused in words on both sides', () => {
    const bench = createPair({ router: { localAsn: asn(65010) } })
    bench.pass(1)
    expect(bench.ours.status('router').lastError).toBe(
      'the session was closed from here: OPEN message error, bad peer AS: the router says its AS is 65010, BgpPeer router expects 65001',
    )
    expect(bench.router.status('ours').lastError).toBe('the router closed the session: OPEN message error, bad peer AS')
  })

  test('does not come to be with a peer that is not configured', () => {
    const bench = createBench()
    const stranger = bench.speaker(ours)
    const speaker = bench.speaker(router, { seed: 2 })
    speaker.configure([])
    stranger.configure([peerOf(ours, router)])
    bench.pass(25)
    expect(stranger.status('router').state).not.toBe('Established')
    const refusals = speaker.events.filter(
      (event) => event.type === 'log' && event.fields.event === 'connection-refused',
    )
    expect(refusals.length).toBeGreaterThan(1)
    expect(refusals.filter((event) => event.type === 'log' && event.level === 'warn')).toHaveLength(1)
  })
})

describe('two sessions with one router', () => {
  const second: End = { name: 'second', address: ip('10.0.0.11'), asn: ours.asn }

  test('are told apart by our addresses, whoever dials', () => {
    for (const passive of [true, false]) {
      const bench = createBench()
      const speaker = bench.speaker(ours, { extraAddress: second.address })
      const peer = bench.speaker(router, { seed: 2 })
      const from = (end: End) => peerOf(ours, router, { name: end.name, sourceAddress: end.address, passive })
      speaker.configure([from(ours), from(second)])
      peer.configure([ours, second].map((end) => peerOf(router, end, { passive: !passive })))
      bench.pass(15)
      for (const { name, address } of [ours, second])
        expect(speaker.status(name)).toMatchObject({ state: 'Established', localAddress: address, establishedCount: 1 })
    }
  })
})

describe('listening', () => {
  test('that fails is reported once and tried again', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    bench.network.occupy(ours.address, 179)
    speaker.configure([])
    bench.pass(12)
    const failures = () => speaker.events.filter(({ type }) => type === 'listen-failed')
    expect(failures()).toEqual([{ type: 'listen-failed', port: 179, reason: 'port 179 is in use by another program' }])
    bench.network.vacate(ours.address, 179)
    bench.pass(6)
    expect(speaker.events.at(-1)).toEqual({ type: 'listening', port: 179 })
    expect(failures()).toHaveLength(1)
  })

  test('is left alone by a configuration that does not change it, and off at port 0', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    speaker.configure([])
    bench.pass(1)
    speaker.configure([peerOf(ours, router)])
    bench.pass(1)
    expect(speaker.events.filter(({ type }) => type === 'listening')).toHaveLength(1)
    speaker.configure([peerOf(ours, router)], { listenPort: 0 })
    const peer = bench.speaker(router, { seed: 2 })
    peer.configure([peerOf(router, ours)], { listenPort: 0 })
    bench.pass(30)
    expect(peer.status('ours').state).not.toBe('Established')
  })
})

describe('announcing', () => {
  const routes = [routeTo('203.0.113.1', '10.0.0.101', '10.0.0.102'), routeTo('203.0.113.2', '10.0.0.101')]

  test('waits for `ready`, then sends the table and End-of-RIB', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    const peer = bench.speaker(router, { seed: 2 })
    peer.configure([peerOf(router, ours, { passive: true })])
    speaker.configure([peerOf(ours, router)])
    speaker.routes(routes, { revision: 7 })
    bench.pass(5)
    expect(speaker.status('router')).toMatchObject({ state: 'Established', updatesOut: 0 })
    expect(speaker.flushed()).toEqual([])
    speaker.send({ type: 'ready' })
    bench.pass(5)
    expect(peer.status('ours').receivedPrefixes).toBe(2)
    expect(speaker.status('router')).toMatchObject({ announcedPaths: 2, announcedPrefixes: 2 })
    // Two next hops, then End-of-RIB.
    expect(speaker.status('router').updatesOut).toBe(2)
    expect(speaker.flushed()).toEqual([7])
  })

  test('follows the table: new, changed and withdrawn routes', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.routes(routes)
    bench.pass(2)
    expect(bench.router.status('ours').receivedPrefixes).toBe(2)
    bench.ours.withdraw(routes.slice(0, 1))
    bench.pass(2)
    expect(bench.router.status('ours').receivedPrefixes).toBe(1)
    expect(bench.ours.status('router')).toMatchObject({ announcedPrefixes: 1 })
    bench.ours.send({ type: 'routes', table: 'main', replace: true, upserts: routes, withdrawals: [], revision: 9 })
    bench.ours.send({ type: 'routes', table: 'main', replace: true, upserts: [], withdrawals: [], revision: 10 })
    bench.pass(2)
    expect(bench.router.status('ours').receivedPrefixes).toBe(0)
    expect(bench.ours.flushed()).toEqual([1, 2, 9, 10])
  })

  test('sends each peer its own table, and another one when that changes, without a new session', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.routes(routes)
    bench.ours.routes([routeTo('203.0.113.9', '10.0.0.103')], { table: 'other' })
    bench.pass(2)
    expect(bench.router.status('ours').receivedPrefixes).toBe(2)
    bench.ours.configure([peerOf(ours, router, { table: 'other' })])
    bench.pass(2)
    expect(bench.router.status('ours')).toMatchObject({ receivedPrefixes: 1, establishedCount: 1 })
    bench.ours.send({ type: 'drop-table', table: 'other' })
    bench.pass(2)
    expect(bench.router.status('ours')).toMatchObject({ receivedPrefixes: 0, establishedCount: 1 })
  })

  test('`flushed` waits for the slowest peer, whose backlog is bounded', () => {
    const bench = createPair()
    bench.pass(1)
    bench.network.stall(router.address)
    bench.ours.routes(manyRoutes(100_000, '10.0.0.101'), { revision: 3 })
    bench.pass(5)
    expect(bench.ours.flushed()).toEqual([])
    const stalledAt = bench.ours.status('router').updatesOut
    // 100 000 routes are over half a megabyte; less than that waits outside of the Adj-RIB-Out.
    expect(stalledAt * 4096).toBeLessThan(400_000)
    bench.network.resume(router.address)
    bench.pass(5)
    expect(bench.ours.flushed()).toEqual([3])
    expect(bench.router.status('ours').lastError).toBeDefined()
  })

  test.each([
    [300, 600],
    [90, 480],
  ])('a router that reads nothing loses its session: hold time %i s, after %i s (RFC 9687)', (hold, sendHold) => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    createScriptedRouter(bench, [routerOpen({ holdTimeSeconds: hold }), { type: 'KEEPALIVE' }], routerCodec)
    speaker.configure([peerOf(ours, router, { holdTimeSeconds: 300 })])
    speaker.send({ type: 'ready' })
    bench.pass(5)
    expect(speaker.status('router').state).toBe('Established')
    bench.network.stall(router.address)
    speaker.routes(manyRoutes(1000, '10.0.0.101'))
    bench.pass(sendHold - 30)
    expect(speaker.status('router').state).toBe('Established')
    bench.pass(100)
    expect(speaker.status('router').lastError).toBe(
      `the session was closed from here: send hold timer expired: nothing could be sent for ${sendHold} s`,
    )
  })
})

describe('a refresh', () => {
  test('by command sends everything again', () => {
    const bench = createPair()
    bench.ours.routes([routeTo('203.0.113.1', '10.0.0.101')])
    bench.pass(2)
    const before = bench.ours.status('router')
    bench.ours.send({ type: 'clear', peer: 'router', soft: true })
    bench.pass(2)
    const after = bench.ours.status('router')
    // BoRR, the route, EoRR: both sides speak RFC 7313.
    expect(after.updatesOut - before.updatesOut).toBe(3)
    expect(after.establishedCount).toBe(1)
    expect(bench.router.status('ours').receivedPrefixes).toBe(1)
  })
})

describe('what the router may send', () => {
  const scripted = (open = routerOpen(), codec = routerCodec) => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    const script = createScriptedRouter(bench, [open, { type: 'KEEPALIVE' }], codec)
    speaker.configure([peerOf(ours, router)])
    speaker.routes([routeTo('203.0.113.1', '10.0.0.101', '10.0.0.102'), routeTo('203.0.113.2', '10.0.0.101')])
    speaker.send({ type: 'ready' })
    bench.pass(5)
    return { ...bench, speaker, script }
  }
  const since = (messages: readonly BgpMessage[], count: number) =>
    messages.slice(count).flatMap((message) => {
      if (message.type === 'ROUTE-REFRESH') return [`${message.type} ${message.subtype}`]
      if (message.type !== 'UPDATE') return []
      return [...message.nlri.map(({ prefix, pathId }) => `${prefix} ${pathId ?? ''}`.trim()), 'UPDATE']
    })

  test('ROUTE-REFRESH: every path of the family again with its path id, between BoRR and EoRR (RFC 7313)', () => {
    const { script, pass } = scripted()
    const count = script.received.length
    script.send({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 })
    pass(2)
    const heard = since(script.received, count)
    expect(heard[0]).toBe('ROUTE-REFRESH 1')
    expect(heard.at(-1)).toBe('ROUTE-REFRESH 2')
    expect(heard.filter((line) => line.includes('/'))).toHaveLength(3)
  })

  test('ROUTE-REFRESH without capability 70 is answered without BoRR and EoRR (RFC 2918)', () => {
    const capabilities = routerOpen().capabilities.filter(({ type }) => type !== 'enhanced-route-refresh')
    const { script, pass } = scripted(routerOpen({ capabilities }))
    const count = script.received.length
    script.send({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 })
    pass(2)
    expect(since(script.received, count).filter((line) => line.startsWith('ROUTE-REFRESH'))).toEqual([])
    expect(since(script.received, count).filter((line) => line.includes('/'))).toHaveLength(3)
  })

  test('ROUTE-REFRESH again and again, from a router that does not read, fills no memory', () => {
    const { script, network, pass } = scripted()
    const count = script.received.length
    network.stall(router.address)
    const request = [...encodeMessage({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 }, routerCodec)]
    const requests = 4000
    script.send(Uint8Array.from(Array.from({ length: requests }, () => request).flat()))
    pass(1)
    network.resume(router.address)
    pass(2)
    const heard = since(script.received, count)
    // As many as are answered within what may wait for a peer; the rest only begin the last answer again.
    expect(heard.filter((line) => line === 'ROUTE-REFRESH 1').length).toBeLessThan(requests / 2)
    expect(heard.at(-1)).toBe('ROUTE-REFRESH 2')
  })

  test.each([
    ['of a family that is not in the session', { afi: 2, safi: 1, subtype: 0 }],
    ['of a family nobody knows', { afi: 25, safi: 70, subtype: 0 }],
    ['BoRR', { afi: 1, safi: 1, subtype: 1 }],
    ['of a subtype nobody knows', { afi: 1, safi: 1, subtype: 9 }],
  ])('ROUTE-REFRESH %s is ignored', (_, message) => {
    const { script, speaker, pass } = scripted()
    const count = script.received.length
    script.send({ type: 'ROUTE-REFRESH', ...message })
    pass(2)
    expect(since(script.received, count)).toEqual([])
    expect(speaker.status('router').state).toBe('Established')
  })

  test('next hop self is our end of the session, once for each prefix', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    const script = createScriptedRouter(bench, [routerOpen(), { type: 'KEEPALIVE' }], routerCodec)
    speaker.configure([peerOf(ours, router, { nextHop: 'self' })])
    speaker.routes([routeTo('203.0.113.1', '10.0.0.101', '10.0.0.102')])
    speaker.send({ type: 'ready' })
    bench.pass(5)
    const announced = script.received.flatMap((message) =>
      message.type === 'UPDATE' && message.nlri.length > 0 ? [[message.attributes.nextHop, message.nlri.length]] : [],
    )
    expect(announced).toEqual([[ours.address, 1]])
  })

  test.each([
    [
      '10.0.0.9',
      [['10.0.0.9', 1]],
      'nothing is announced in ipv6-unicast: next hop self, and our end of the session, 10.0.0.9, has no IPv6 address beside it',
    ],
    [
      '127.0.0.9',
      [],
      'nothing is announced in ipv4-unicast: next hop self, and our end of the session, 127.0.0.9, is a loopback address',
    ],
  ])(
    'next hop self at %s is announced only where a router can use it, and said where not',
    (address, expected, words) => {
      const own: End = { ...ours, address: ip(address) }
      const bench = createBench()
      const speaker = bench.speaker(own)
      const capabilities: readonly Capability[] = [
        ...routerOpen().capabilities,
        { type: 'multiprotocol', afi: 2, safi: 1 },
      ]
      const script = createScriptedRouter(
        bench,
        [routerOpen({ capabilities }), { type: 'KEEPALIVE' }],
        routerCodec,
        own,
      )
      speaker.configure([peerOf(own, router, { nextHop: 'self', families: ['ipv4-unicast', 'ipv6-unicast'] })])
      speaker.routes([routeTo('203.0.113.1', '10.0.0.101')])
      speaker.send({ type: 'ready' })
      bench.pass(5)
      const announced = script.received.flatMap((message) =>
        message.type === 'UPDATE' && message.nlri.length > 0 ? [[message.attributes.nextHop, message.nlri.length]] : [],
      )
      expect(announced).toEqual(expected)
      const status = speaker.status('router')
      expect(status.state).toBe('Established')
      expect(status.nextHopError).toContain(words)
    },
  )

  test('without ADD-PATH one path a prefix', () => {
    const capabilities = routerOpen().capabilities.filter(({ type }) => type !== 'add-path')
    const { script, speaker } = scripted(routerOpen({ capabilities }), { ...routerCodec, addPathReceive: new Set() })
    expect(since(script.received, 0).filter((line) => line.includes('/'))).toHaveLength(2)
    expect(speaker.status('router')).toMatchObject({ addPath: [], announcedPaths: 2 })
  })

  test('a marker that is not all ones ends the session with 1/1', () => {
    const { script, speaker, pass } = scripted()
    script.send(new Uint8Array(19))
    pass(1)
    expect(speaker.status('router').lastError).toContain('message header error, connection not synchronized')
    expect(script.received).toContainEqual(expect.objectContaining({ type: 'NOTIFICATION', code: 1, subcode: 1 }))
  })

  test('an UPDATE that only deserves treat-as-withdraw is logged and survived (RFC 7606)', () => {
    const { script, speaker, pass } = scripted()
    // ORIGIN 7, AS_PATH, NEXT_HOP, and 192.0.2.0/24.
    const attributes = [0x40, 1, 1, 7, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 10, 0, 0, 1]
    const length = 23 + attributes.length + 4
    const header = [...new Uint8Array(16).fill(0xff), 0, length, 2, 0, 0, 0, attributes.length]
    script.send(Uint8Array.from([...header, ...attributes, 24, 192, 0, 2]))
    pass(2)
    expect(speaker.status('router')).toMatchObject({ state: 'Established', receivedPrefixes: 0 })
    const issues = speaker.events.filter((event) => event.type === 'log' && event.fields.event === 'update-issue')
    expect(issues).toHaveLength(1)
  })

  test('what comes in crumbs is understood all the same', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    const script = createScriptedRouter(bench, [], routerCodec)
    speaker.configure([peerOf(ours, router)])
    bench.pass(1)
    const bytes = [encodeMessage(routerOpen(), routerCodec), encodeMessage({ type: 'KEEPALIVE' }, routerCodec)]
    for (const byte of bytes.flatMap((message) => [...message])) {
      script.send(Uint8Array.of(byte))
      bench.clock.advance(1)
    }
    bench.pass(1)
    expect(speaker.status('router').state).toBe('Established')
  })

  test('NOTIFICATION 2/7 for ADD-PATH: the next OPEN leaves it out', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    const refusal: BgpMessage = { type: 'NOTIFICATION', code: 2, subcode: 7, data: Uint8Array.of(69, 4, 0, 1, 1, 2) }
    const script = createScriptedRouter(bench, [refusal])
    speaker.configure([peerOf(ours, router)])
    bench.pass(5)
    const opens = script.received.filter((message) => message.type === 'OPEN')
    const offers = opens.map(({ capabilities }) => capabilities.some(({ type }) => type === 'add-path'))
    expect(offers.slice(0, 2)).toEqual([true, false])
  })
})

describe('too many prefixes', () => {
  test('end the session with Cease/1, and it comes back after a while', () => {
    const bench = createPair({ router: { maxPrefixesIn: 10 } })
    bench.ours.routes(manyRoutes(11, '10.0.0.101'))
    bench.pass(2)
    expect(bench.router.status('ours')).toMatchObject({
      state: 'Idle',
      lastError: `the session was closed from here: cease, maximum number of prefixes reached: the router announced more than 10 prefixes (maxPrefixesIn); trying again in ${maxPrefixesRetrySeconds} s`,
    })
    expect(bench.ours.status('router').lastError).toBe(
      'the router closed the session: cease, maximum number of prefixes reached: ipv4-unicast, limit 10',
    )
    bench.ours.withdraw(manyRoutes(5, '10.0.0.101'))
    bench.pass(0.7 * maxPrefixesRetrySeconds)
    expect(bench.router.status('ours').establishedCount).toBe(1)
    bench.pass(0.4 * maxPrefixesRetrySeconds)
    expect(bench.router.status('ours')).toMatchObject({ state: 'Established', receivedPrefixes: 6 })
  })

  test('are not reached by the same ones again and again', () => {
    const bench = createPair({ router: { maxPrefixesIn: 10 } })
    bench.ours.routes(manyRoutes(10, '10.0.0.101'))
    bench.pass(2)
    for (let i = 0; i < 5; i++) bench.ours.send({ type: 'clear', peer: 'router', soft: true })
    bench.pass(2)
    expect(bench.router.status('ours')).toMatchObject({ state: 'Established', receivedPrefixes: 10 })
  })
})

describe('a change of configuration', () => {
  test.each([
    ['maxPrefixesIn', { maxPrefixesIn: 5000 }],
    ['connectRetrySeconds', { connectRetrySeconds: 60 }],
    ['passive', { passive: true }],
    ['port', { port: 1790 }],
    ['nothing at all', {}],
  ])('of %s leaves the session alone', (_, change) => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.configure([peerOf(ours, router, change)])
    bench.pass(60)
    expect(bench.ours.status('router')).toMatchObject({ state: 'Established', establishedCount: 1 })
  })

  test.each([
    ['holdTimeSeconds', { holdTimeSeconds: 30 }],
    ['addPath', { addPath: 'disabled' }],
    ['families', { families: ['ipv4-unicast', 'ipv6-unicast'] }],
    ['gracefulRestart', { gracefulRestart: { restartSeconds: 120, longLivedSeconds: 0 } }],
    ['ttl', { ttl: 2 }],
  ] as const)('of %s resets it with Cease/6', (_, change) => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.configure([peerOf(ours, router, change)])
    bench.pass(10)
    expect(bench.router.status('ours').lastError).toBe(
      'the router closed the session: cease, other configuration change',
    )
    expect(bench.ours.status('router')).toMatchObject({ state: 'Established', establishedCount: 2 })
    expect(bench.ours.status('router')).not.toHaveProperty('lastError')
  })

  test('of one peer leaves the other alone', () => {
    const bench = createPair()
    const other = { name: 'other', address: ip('10.0.0.2'), asn: router.asn }
    const second = bench.speaker(other, { seed: 3 })
    second.configure([peerOf(other, ours, { passive: true })])
    bench.ours.configure([peerOf(ours, router), peerOf(ours, other)])
    bench.pass(1)
    bench.ours.configure([peerOf(ours, router, { holdTimeSeconds: 30 }), peerOf(ours, other)])
    bench.pass(10)
    expect(bench.ours.status('router').establishedCount).toBe(2)
    expect(bench.ours.status('other')).toMatchObject({ state: 'Established', establishedCount: 1 })
  })

  test('of one password restarts that session alone', () => {
    const bench = createPair({ ours: { password: 'old' }, router: { password: 'old' } })
    const other = { name: 'other', address: ip('10.0.0.2'), asn: router.asn }
    const second = bench.speaker(other, { seed: 3 })
    second.configure([peerOf(other, ours, { passive: true, password: 'kept' })])
    const both = (password: string) => [peerOf(ours, router, { password }), peerOf(ours, other, { password: 'kept' })]
    bench.ours.configure(both('old'))
    bench.pass(2)
    bench.ours.configure(both('new'))
    bench.router.configure([peerOf(router, ours, { passive: true, password: 'new' })])
    bench.pass(30)
    expect(bench.ours.status('router')).toMatchObject({ state: 'Established', establishedCount: 2 })
    expect(bench.ours.status('other')).toMatchObject({ state: 'Established', establishedCount: 1 })
  })

  test('of the router identifier resets all', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.configure([peerOf(ours, router)], { routerId: routerId('10.0.0.11') })
    bench.pass(10)
    expect(bench.ours.status('router').establishedCount).toBe(2)
  })

  test('that removes the peer says so (Cease/3), and reports it gone', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.configure([])
    bench.pass(2)
    expect(bench.router.status('ours').lastError).toBe('the router closed the session: cease, peer de-configured')
    expect(bench.ours.events).toContainEqual({ type: 'session-gone', peer: 'router' })
  })

  test('that takes the peer away and brings it back is a new session, and the last word is about that one', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.configure([])
    bench.ours.configure([peerOf(ours, router)])
    bench.pass(30)
    expect(bench.ours.status('router')).toMatchObject({ state: 'Established', establishedCount: 1 })
    const gone = bench.ours.events.findLastIndex(({ type }) => type === 'session-gone')
    expect(gone).toBeLessThan(bench.ours.events.findLastIndex(({ type }) => type === 'session'))
  })

  test('while the peer waits in Idle is tried at once', () => {
    const bench = createPair({ router: { maxPrefixesIn: 10 } })
    bench.ours.routes(manyRoutes(11, '10.0.0.101'))
    bench.pass(5)
    expect(bench.router.status('ours').state).toBe('Idle')
    bench.router.configure([peerOf(router, ours, { maxPrefixesIn: 20 })])
    bench.pass(20)
    expect(bench.router.status('ours')).toMatchObject({ state: 'Established', receivedPrefixes: 11 })
  })

  test('to `shutdown` sends the text (RFC 9003) and stays down until it is taken back', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.configure([peerOf(ours, router, { shutdown: 'rack 7 moves' })])
    bench.pass(60)
    expect(bench.router.status('ours').lastError).toBe(
      'the router closed the session: cease, administrative shutdown: "rack 7 moves"',
    )
    expect(bench.ours.status('router').state).toBe('Idle')
    bench.ours.configure([peerOf(ours, router)])
    bench.pass(30)
    expect(bench.ours.status('router').state).toBe('Established')
  })
})

describe('commands', () => {
  test('clear resets with Cease/4 and comes back at once', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.send({ type: 'clear', peer: 'router', soft: false })
    bench.pass(10)
    expect(bench.router.status('ours').lastError).toBe('the router closed the session: cease, administrative reset')
    expect(bench.ours.status('router')).toMatchObject({ state: 'Established', establishedCount: 2 })
  })

  test('stop sends Cease/2 with the reason, and reports when all is closed', () => {
    const bench = createPair()
    bench.pass(1)
    bench.ours.send({ type: 'stop', reason: 'upgrade to 0.2' })
    bench.pass(1)
    expect(bench.router.status('ours').lastError).toBe(
      'the router closed the session: cease, administrative shutdown: "upgrade to 0.2"',
    )
    expect(bench.ours.events.at(-1)).toEqual({ type: 'stopped' })
    expect(bench.ours.events.filter(({ type }) => type === 'stopped')).toHaveLength(1)
  })

  test('stop without any peer is stopped as well', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    speaker.send({ type: 'stop', reason: '' })
    expect(speaker.events).toEqual([{ type: 'stopped' }])
  })
})

describe('graceful restart', () => {
  const gracefulRestart = { restartSeconds: 120, longLivedSeconds: 0 }

  test('stop closes without a word, so that the router keeps the routes', () => {
    const bench = createPair({ ours: { gracefulRestart }, router: { gracefulRestart } })
    bench.pass(1)
    expect(bench.ours.status('router').gracefulRestart).toBe(true)
    bench.ours.send({ type: 'stop', reason: 'upgrade' })
    bench.pass(1)
    expect(bench.router.status('ours').lastError).toBe('the router closed the TCP connection')
  })

  test('after a lost connection everything is announced again, and what is gone is withdrawn before End-of-RIB', () => {
    const bench = createPair({ ours: { gracefulRestart }, router: { gracefulRestart } })
    bench.ours.routes([routeTo('203.0.113.1', '10.0.0.101'), routeTo('203.0.113.2', '10.0.0.101')])
    bench.pass(3)
    const before = bench.ours.status('router').updatesOut
    bench.network.reset(router.address)
    bench.clock.advance(latencyMs)
    bench.ours.withdraw([routeTo('203.0.113.2', '10.0.0.101')])
    bench.pass(20)
    expect(bench.ours.status('router')).toMatchObject({ establishedCount: 2, announcedPrefixes: 1 })
    // One withdrawal, one announcement, End-of-RIB.
    expect(bench.ours.status('router').updatesOut - before).toBe(3)
  })

  test('withdrawals that were lost with the connection are sent again', () => {
    const bench = createPair({ ours: { gracefulRestart, holdTimeSeconds: 9 }, router: { gracefulRestart } })
    bench.ours.routes([routeTo('203.0.113.1', '10.0.0.101'), routeTo('203.0.113.2', '10.0.0.101')])
    bench.pass(1)
    bench.network.partition(ours.address, router.address)
    bench.ours.withdraw([routeTo('203.0.113.2', '10.0.0.101')])
    bench.pass(12)
    const before = bench.ours.status('router').updatesOut
    bench.network.heal(ours.address, router.address)
    bench.pass(60)
    expect(bench.ours.status('router').establishedCount).toBe(2)
    expect(bench.ours.status('router').updatesOut - before).toBe(3)
  })

  test('routes of an earlier process are announced or withdrawn', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    const peer = bench.speaker(router, { seed: 2 })
    peer.configure([peerOf(router, ours, { passive: true, gracefulRestart })])
    speaker.send({ type: 'remember', table: 'main', routes: [routeTo('203.0.113.7', '10.0.0.101')] })
    speaker.configure([peerOf(ours, router, { gracefulRestart })])
    speaker.routes([routeTo('203.0.113.1', '10.0.0.101')])
    bench.pass(1)
    speaker.send({ type: 'ready' })
    bench.pass(2)
    expect(speaker.status('router')).toMatchObject({ updatesOut: 3, announcedPrefixes: 1 })
  })

  test('a router that comes back on a new connection takes the place of its old session', () => {
    const bench = createPair({ ours: { gracefulRestart, passive: true }, router: { gracefulRestart, passive: false } })
    bench.pass(30)
    expect(bench.ours.status('router').state).toBe('Established')
    // The router's process dies without a packet, and a new one dials.
    bench.network.partition(ours.address, router.address)
    bench.network.reset(router.address)
    bench.router.send({ type: 'stop', reason: '' })
    bench.network.heal(ours.address, router.address)
    const reborn = bench.speaker(router, { seed: 5 })
    reborn.configure([peerOf(router, ours, { gracefulRestart })])
    bench.pass(5)
    expect(reborn.status('ours').state).toBe('Established')
    expect(bench.ours.status('router')).toMatchObject({
      state: 'Established',
      establishedCount: 2,
      lastError: 'the router restarted: it opened a new connection',
    })
  })
})

describe('a hostile router', () => {
  /** Our fields of the log, by event. */
  const logged = (speaker: TestSpeaker, event: string) =>
    speaker.events.flatMap((each) => (each.type === 'log' && each.fields.event === event ? [each.fields] : []))

  test('that asks for the table again and again has it at once, and then at intervals', () => {
    const bench = createBench()
    const script = createScriptedRouter(bench, [routerOpen(), { type: 'KEEPALIVE' }], routerCodec)
    const speaker = bench.speaker(ours)
    speaker.configure([peerOf(ours, router)])
    speaker.send({ type: 'ready' })
    speaker.routes(manyRoutes(50, '10.0.0.101'))
    bench.pass(3)
    const before = speaker.status('router').updatesOut
    const ask = (): void => script.send({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 })
    ask()
    bench.pass(0.1)
    const answers = (): number => logged(speaker, 'route-refresh').length
    expect(answers()).toBe(1)
    for (let tenths = 0; tenths < 600; tenths++) {
      for (let i = 0; i < 20; i++) ask()
      bench.pass(0.1)
    }
    expect(answers()).toBeGreaterThanOrEqual(60_000 / refreshPauseMs)
    expect(answers()).toBeLessThanOrEqual(60_000 / refreshPauseMs + 2)
    // What was asked before the last answer was answered, each of it.
    bench.pass(2 * (refreshPauseMs / 1000))
    const requests = logged(speaker, 'route-refresh').reduce((sum, fields) => sum + Number(fields['requests']), 0)
    expect(requests).toBe(12_001)
    expect(speaker.status('router').updatesOut - before).toBeLessThan(100)
    expect(speaker.status('router')).toMatchObject({ state: 'Established', establishedCount: 1 })
  })

  test('whose UPDATEs are wrong fills no log: the first are told, then how many more there were', () => {
    const bench = createBench()
    const script = createScriptedRouter(bench, [routerOpen(), { type: 'KEEPALIVE' }], routerCodec)
    const speaker = bench.speaker(ours)
    speaker.configure([peerOf(ours, router)])
    speaker.send({ type: 'ready' })
    bench.pass(2)
    // ORIGIN 9, an AS_PATH of 65001, a next hop and 198.51.100.0/24: treated as withdrawn (RFC 7606 section 7.1).
    const attributes = Buffer.from('40010109' + '4002060201' + '0000fde9' + '400304' + '0a000001', 'hex')
    const update = Buffer.concat([
      Buffer.alloc(16, 0xff),
      Buffer.from([0, 0, 2, 0, 0, 0, attributes.length]),
      attributes,
      Buffer.from('18c63364', 'hex'),
    ])
    update.writeUInt16BE(update.length, 16)
    for (let i = 0; i < 500; i++) script.send(update)
    bench.pass(61)
    expect(logged(speaker, 'update-issue')).toHaveLength(10)
    expect(logged(speaker, 'update-issue')[0]).toMatchObject({ attribute: 1, message: update.toString('hex') })
    expect(logged(speaker, 'update-issues-suppressed')).toEqual([
      { event: 'update-issues-suppressed', count: 490, peer: 'router' },
    ])
    expect(speaker.status('router')).toMatchObject({ state: 'Established', receivedPrefixes: 0 })
  })

  const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
  const marker = 'ff'.repeat(16)

  // Everything of an OPEN that can be wrong, as the operator reads it in BgpPeer.status, and as the log has it for a decoder.
  test.each<[string, BgpMessage | Uint8Array, string]>([
    [
      'another AS',
      routerOpen({ capabilities: [{ type: 'four-octet-as', asn: 65010 }] }),
      'bad peer AS: the router says its AS is 65010, BgpPeer router expects 65001',
    ],
    [
      'AS 0',
      routerOpen({ myAs: 0, capabilities: [] }),
      'bad peer AS: the router says its AS is 0, which no speaker may use (RFC 7607)',
    ],
    [
      'version 3',
      hex(`${marker} 001d 01 03 fde9 005a 0a000001 00`),
      'unsupported version number: the router speaks BGP version 3, not 4',
    ],
    [
      'identifier 0',
      hex(`${marker} 001d 01 04 fde9 005a 00000000 00`),
      "bad BGP identifier: the router's BGP identifier is 0.0.0.0",
    ],
    [
      'a hold time of 2 s',
      hex(`${marker} 001d 01 04 fde9 0002 0a000001 00`),
      'unacceptable hold time: the router asks for a hold time of 2 s; it must be 0 or at least 3',
    ],
    [
      'no family in common',
      routerOpen({
        capabilities: [
          { type: 'multiprotocol', afi: 2, safi: 1 },
          { type: 'four-octet-as', asn: 65001 },
        ],
      }),
      'unsupported capability: no address family in common: the router offers ipv6-unicast, BgpPeer router asks for ipv4-unicast',
    ],
    [
      'a parameter of another kind',
      hex(`${marker} 0020 01 04 fde9 005a 0a000001 03 070100`),
      'unsupported optional parameter: optional parameter 7 is not known',
    ],
    [
      'a capability that is cut off',
      hex(`${marker} 0021 01 04 fde9 005a 0a000001 04 02024104`),
      'unspecific: capability 65 runs beyond the end of its optional parameter',
    ],
  ])('that offers %s is told, and so is the operator', (_, open, words) => {
    const bench = createBench()
    const bytes = open instanceof Uint8Array ? open : encodeMessage(open, openingCodec)
    const script = createScriptedRouter(bench, [])
    const speaker = bench.speaker(ours)
    speaker.configure([peerOf(ours, router)])
    bench.pass(0.5)
    script.send(bytes)
    bench.pass(0.4)
    expect(speaker.status('router').lastError).toBe(`the session was closed from here: OPEN message error, ${words}`)
    expect(script.received.at(-1)).toMatchObject({ type: 'NOTIFICATION', code: 2 })
    expect(logged(speaker, 'message-error')).toMatchObject([{ code: 2, message: Buffer.from(bytes).toString('hex') }])
  })

  test('whose header makes no sense is told, and its octets are in the log', () => {
    const bench = createBench()
    const script = createScriptedRouter(bench, [])
    const speaker = bench.speaker(ours)
    speaker.configure([peerOf(ours, router)])
    bench.pass(0.5)
    const http = Buffer.from('GET / HTTP/1.1\r\nHost: leaf\r\n\r\n')
    script.send(http)
    bench.pass(0.4)
    expect(script.received.at(-1)).toMatchObject({ type: 'NOTIFICATION', code: 1, subcode: 1 })
    expect(logged(speaker, 'message-error')).toMatchObject([{ message: http.subarray(0, 19).toString('hex') }])
  })

  test('that is none of ours, and dials in a hundred guises, is told of a few times a minute', () => {
    const bench = createBench()
    const speaker = bench.speaker(ours)
    speaker.configure([])
    for (let host = 20; host < 220; host++) {
      const end = { name: `s${host}`, address: ip(`10.0.0.${host}`), asn: asn(65001) }
      bench.speaker(end, { seed: host }).configure([peerOf(end, ours, { connectRetrySeconds: 1 })], { listenPort: 0 })
    }
    bench.pass(120)
    const refusals = speaker.events.filter((e) => e.type === 'log' && e.fields.event === 'connection-refused')
    expect(refusals.length).toBeLessThanOrEqual(4 * 20 * 2)
    const suppressed = logged(speaker, 'connections-refused-suppressed')
    expect(suppressed.reduce((sum, fields) => sum + Number(fields['count']), 0)).toBeGreaterThan(1000)
  })
})

describe('a recording', () => {
  test('played back leads to the same states', () => {
    const bench = createPair({ router: { passive: false }, ours: { holdTimeSeconds: 9 } })
    bench.pass(5)
    bench.network.partition(ours.address, router.address)
    bench.pass(20)
    bench.network.heal(ours.address, router.address)
    bench.pass(60)
    bench.ours.configure([peerOf(ours, router, { holdTimeSeconds: 30 })])
    bench.pass(10)
    const replayed = [...replay(structuredClone(bench.ours.recorded))]
    const states = replayed.map(({ state }) => state)
    expect(replayed.filter(({ recorded }) => recorded !== undefined)).toEqual([])
    expect(states.filter((state, i) => state !== states[i - 1])).toEqual(bench.ours.states('router').slice(1))
    expect(states.at(-1)).toBe('Established')
  })
})
