// Routers that dial in from a range, over the network in memory: who gets a session, with which settings, and what is left of it when
// the router is gone.

import { describe, expect, test } from 'vitest'
import type { PeerConfig, PeerRange, RangeStatus } from '../../../src/bgp/speaker/protocol.ts'
import { type Prefix, parsePrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'
import { asn, type Bench, createBench, type End, ip, ours, peerOf, routeTo, type TestSpeaker } from './bench.ts'

const network = (text: string): Prefix => must(parsePrefix(text))

const rangeOf = (changes: Partial<PeerRange> = {}): PeerRange => {
  const { address: _, port: __, passive: ___, ...shared } = peerOf(ours, routerAt(1), changes)
  return { ...shared, name: 'leaves', range: network('10.0.0.0/24'), maxSessions: 100, ...changes }
}

function routerAt(host: number): End {
  return { name: `r${host}`, address: ip(`10.0.0.${host}`), asn: asn(65001) }
}

interface Scene extends Bench {
  readonly speaker: Bench['speaker']
  readonly ours: TestSpeaker
  /** A router that dials us. */
  readonly router: (host: number, changes?: Partial<PeerConfig>) => TestSpeaker
  readonly names: () => readonly string[]
  readonly range: (name?: string) => RangeStatus
}

function createScene(ranges: readonly PeerRange[] = [rangeOf()], peers: readonly PeerConfig[] = []): Scene {
  const bench = createBench()
  const speaker = bench.speaker(ours)
  speaker.configure(peers, { ranges })
  speaker.send({ type: 'ready' })
  const sessions = (): ReadonlySet<string> => {
    const known = new Set<string>()
    for (const event of speaker.events)
      if (event.type === 'session') known.add(event.status.peer)
      else if (event.type === 'session-gone') known.delete(event.peer)
    return known
  }
  return {
    ...bench,
    ours: speaker,
    router: (host, changes = {}) => {
      const end = routerAt(host)
      const router = bench.speaker(end, { seed: host })
      router.configure([peerOf(end, ours, { connectRetrySeconds: 1, ...changes })], { listenPort: 0 })
      router.send({ type: 'ready' })
      return router
    },
    names: () => [...sessions()].sort(),
    range: (name = 'leaves') => {
      const status = speaker.events.flatMap((event) =>
        event.type === 'range' && event.status.range === name ? [event.status] : [],
      )
      const last = status.at(-1)
      if (last === undefined) throw new Error(`nothing was said of ${name}`)
      return last
    },
  }
}

describe('a router in the range', () => {
  test('has a session of its own as soon as it connects, named after its address', () => {
    const scene = createScene()
    scene.pass(1)
    expect(scene.names()).toEqual([])
    expect(scene.range()).toMatchObject({ sessions: 0, refused: 0 })
    scene.ours.routes([routeTo('203.0.113.1', '10.0.0.101', '10.0.0.102')])
    const [first, second] = [scene.router(1), scene.router(2)]
    scene.pass(3)
    expect(scene.names()).toEqual(['leaves@10.0.0.1', 'leaves@10.0.0.2'])
    expect(scene.ours.status('leaves@10.0.0.2')).toMatchObject({
      state: 'Established',
      peerRouterId: '10.0.0.2',
      announcedPrefixes: 1,
      dynamic: { range: 'leaves', remote: '10.0.0.2' },
    })
    expect([first, second].map((router) => router.status('ours').receivedPrefixes)).toEqual([1, 1])
    expect(scene.range().sessions).toBe(2)
  })

  test('follows the table like every other', () => {
    const scene = createScene()
    const router = scene.router(1)
    scene.pass(2)
    scene.ours.routes([routeTo('203.0.113.1', '10.0.0.101')], { revision: 4 })
    scene.pass(2)
    expect(router.status('ours').receivedPrefixes).toBe(1)
    expect(scene.ours.flushed().at(-1)).toBe(4)
  })

  test('is gone when its connection is, and what it has counted stays with the range', () => {
    const scene = createScene()
    const router = scene.router(1)
    scene.pass(2)
    router.configure([])
    scene.pass(3)
    expect(scene.names()).toEqual([])
    expect(scene.range()).toMatchObject({ sessions: 0, past: { establishedCount: 1 } })
    expect(scene.range().past.messagesIn).toBeGreaterThan(1)
    expect(scene.range().lastError).toBe('10.0.0.1: the router closed the session: cease, peer de-configured')
    expect(scene.network.openEnds()).toBe(0)
  })

  test('comes back as often as it likes', () => {
    const scene = createScene()
    const router = scene.router(1)
    scene.pass(2)
    router.send({ type: 'clear', peer: 'ours', soft: false })
    scene.pass(60)
    expect(router.status('ours')).toMatchObject({ state: 'Established', establishedCount: 2 })
    expect(scene.names()).toEqual(['leaves@10.0.0.1'])
  })

  test('with another AS is refused, and the range says so when it is gone', () => {
    const scene = createScene()
    scene.router(1, { localAsn: asn(65010) })
    scene.pass(2)
    expect(scene.range().lastError).toBe(
      '10.0.0.1: the session was closed from here: OPEN message error, bad peer AS: the router says its AS is 65010, BgpPeer leaves@10.0.0.1 expects 65001',
    )
  })

  test('that announces too much is sent away and left alone', () => {
    const scene = createScene([rangeOf({ maxPrefixesIn: 2 })])
    const router = scene.router(1)
    router.routes(['1', '2', '3'].map((last) => routeTo(`198.51.100.${last}`, '10.0.0.9')))
    scene.pass(60)
    expect(scene.ours.status('leaves@10.0.0.1')).toMatchObject({ state: 'Idle', establishedCount: 1 })
    expect(scene.range().lastError).toContain('more than 2 prefixes (maxPrefixesIn)')
    expect(router.status('ours').establishedCount).toBe(1)
  })

  test('has to know the password of the range', () => {
    const scene = createScene([rangeOf({ password: 'secret' })])
    const [knows, guesses] = [scene.router(1, { password: 'secret' }), scene.router(2, { password: 'guess' })]
    scene.pass(5)
    expect([knows, guesses].map((router) => router.status('ours').state)).toEqual(['Established', 'Connect'])
    expect(scene.names()).toEqual(['leaves@10.0.0.1'])
  })

  test('is reset with its range, and brought up to date without a new session', () => {
    const scene = createScene()
    const router = scene.router(1)
    scene.pass(2)
    scene.ours.send({ type: 'clear', peer: 'leaves', soft: true })
    scene.pass(1)
    expect(router.status('ours').establishedCount).toBe(1)
    scene.ours.send({ type: 'clear', peer: 'leaves', soft: false })
    scene.pass(60)
    expect(router.status('ours')).toMatchObject({ state: 'Established', establishedCount: 2 })
    expect(router.status('ours').lastError).toContain('administrative reset')
  })
})

describe('whose router it is', () => {
  test('nobody else has a session', () => {
    const scene = createScene([rangeOf({ range: network('10.0.0.0/30') })])
    const router = scene.router(9)
    scene.pass(5)
    expect(router.status('ours').state).not.toBe('Established')
    expect(scene.names()).toEqual([])
  })

  test('of two ranges the longer one has it, and a peer with its address before either', () => {
    const ranges = [rangeOf(), rangeOf({ name: 'rack', range: network('10.0.0.0/30') })]
    const scene = createScene(ranges, [peerOf(ours, routerAt(1), { passive: true })])
    for (const host of [1, 2, 9]) scene.router(host)
    scene.pass(3)
    expect(scene.names()).toEqual(['leaves@10.0.0.9', 'r1', 'rack@10.0.0.2'])
  })

  test('a range that becomes another, or goes, takes its sessions along', () => {
    const scene = createScene()
    const router = scene.router(1)
    scene.router(9)
    scene.pass(3)
    scene.ours.configure([], { ranges: [rangeOf(), rangeOf({ name: 'rack', range: network('10.0.0.0/30') })] })
    scene.pass(30)
    expect(scene.names()).toEqual(['leaves@10.0.0.9', 'rack@10.0.0.1'])
    expect(router.status('ours').establishedCount).toBe(2)
    scene.ours.configure([], { ranges: [rangeOf()] })
    scene.pass(30)
    expect(scene.names()).toEqual(['leaves@10.0.0.1', 'leaves@10.0.0.9'])
    expect(scene.ours.events).toContainEqual({ type: 'range-gone', range: 'rack' })
    scene.ours.configure([])
    scene.pass(30)
    expect(scene.names()).toEqual([])
    expect(router.status('ours').lastError).toBe('the router closed the session: cease, peer de-configured')
  })

  test('a peer of its own takes a router out of the range', () => {
    const scene = createScene()
    scene.router(1)
    scene.pass(3)
    scene.ours.configure([peerOf(ours, routerAt(1), { passive: true })], { ranges: [rangeOf()] })
    scene.pass(30)
    expect(scene.names()).toEqual(['r1'])
    expect(scene.ours.status('r1').state).toBe('Established')
  })

  test('a router that is excepted has none', () => {
    const scene = createScene([rangeOf({ except: [ip('10.0.0.1')] })])
    scene.router(1)
    scene.pass(5)
    expect(scene.names()).toEqual([])
    expect(scene.range().lastError).toBe(
      '10.0.0.1 was refused: it has a peer of its own, which can not be used as it is configured',
    )
  })
})

describe('the number of sessions', () => {
  test('is bounded: whoever comes too late is refused, until another has gone', () => {
    const scene = createScene([rangeOf({ maxSessions: 2 })])
    const routers = [1, 2].map((host) => scene.router(host))
    scene.pass(3)
    const late = scene.router(3)
    scene.pass(10)
    expect(scene.names()).toEqual(['leaves@10.0.0.1', 'leaves@10.0.0.2'])
    expect(late.status('ours').state).not.toBe('Established')
    expect(scene.range()).toMatchObject({
      sessions: 2,
      lastError: '10.0.0.3 was refused: leaves has 2 sessions, as many as it may have (maxSessions)',
    })
    expect(scene.range().refused).toBeGreaterThan(0)
    routers[0]?.configure([])
    scene.pass(60)
    expect(scene.names()).toEqual(['leaves@10.0.0.2', 'leaves@10.0.0.3'])
  })

  test('may be lowered: those who are there stay', () => {
    const scene = createScene()
    for (const host of [1, 2]) scene.router(host)
    scene.pass(3)
    scene.ours.configure([], { ranges: [rangeOf({ maxSessions: 1 })] })
    scene.pass(3)
    expect(scene.names()).toHaveLength(2)
  })

  test('a router that fails again and again has one session, a second apart or more, and bounded warnings', () => {
    const scene = createScene()
    const router = scene.router(1, { localAsn: asn(65010), connectRetrySeconds: 1 })
    for (let second = 0; second < 300; second++) {
      scene.network.reset(ip('10.0.0.1'))
      router.send({ type: 'clear', peer: 'ours', soft: false })
      scene.pass(1)
    }
    expect(scene.names().length).toBeLessThanOrEqual(1)
    const warnings = scene.ours.events.filter((event) => event.type === 'log' && event.level === 'warn')
    expect(warnings.length).toBeLessThan(80)
    const suppressed = scene.ours.events.flatMap((event) =>
      event.type === 'log' && event.fields.event === 'session-errors-suppressed' ? [event.fields['count']] : [],
    )
    expect(suppressed.length).toBeGreaterThan(0)
  })
})

describe('a range that is shut down', () => {
  test('ends its sessions with the text, and takes nobody until it is enabled', () => {
    const scene = createScene()
    const router = scene.router(1)
    scene.pass(3)
    scene.ours.configure([], { ranges: [rangeOf({ shutdown: 'maintenance' })] })
    scene.pass(30)
    expect(router.status('ours').lastError).toContain('maintenance')
    expect(scene.names()).toEqual([])
    expect(scene.range().lastError).toBe('10.0.0.1 was refused: leaves is shut down')
    scene.ours.configure([], { ranges: [rangeOf()] })
    scene.pass(60)
    expect(scene.names()).toEqual(['leaves@10.0.0.1'])
  })
})

describe('graceful restart', () => {
  const graceful = { gracefulRestart: { restartSeconds: 120, longLivedSeconds: 0 } }

  test('what a router still holds of us is withdrawn when it comes back within the restart time', () => {
    const scene = createScene([rangeOf(graceful)])
    const router = scene.router(1, graceful)
    const [stays, goes] = [routeTo('203.0.113.1', '10.0.0.101'), routeTo('203.0.113.2', '10.0.0.101')]
    scene.ours.routes([stays, goes])
    scene.pass(3)
    expect(router.status('ours').receivedPrefixes).toBe(2)
    router.send({ type: 'clear', peer: 'ours', soft: false })
    scene.pass(0.5)
    scene.ours.withdraw([goes])
    scene.pass(30)
    expect(scene.ours.status('leaves@10.0.0.1')).toMatchObject({ state: 'Established', announcedPrefixes: 1 })
    // One for the route that stays, one for the withdrawal of what it may still hold, and End-of-RIB.
    expect(router.status('ours').messagesIn).toBeGreaterThan(3)
  })

  test('one that does not come back is forgotten after it', () => {
    const scene = createScene([rangeOf(graceful)])
    const router = scene.router(1, graceful)
    scene.pass(3)
    router.configure([])
    scene.pass(60)
    expect(scene.names()).toEqual(['leaves@10.0.0.1'])
    expect(scene.ours.status('leaves@10.0.0.1').state).toBe('Active')
    scene.pass(120)
    expect(scene.names()).toEqual([])
  })
})

test('stopping ends the sessions of ranges as all others', () => {
  const scene = createScene()
  const router = scene.router(1)
  scene.pass(3)
  scene.ours.send({ type: 'stop', reason: 'upgrade' })
  scene.pass(3)
  expect(scene.ours.events.at(-1)).toEqual({ type: 'stopped' })
  expect(router.status('ours').lastError).toContain('upgrade')
  expect(scene.network.openEnds()).toBe(0)
})
