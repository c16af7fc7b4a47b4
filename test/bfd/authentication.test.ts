// Authenticated BFD (RFC 5880 section 6.7.4): the octets, and what forged, repeated and foreign packets do to a session: nothing. Keys
// come, change and go one end after the other, and no session falls.

import { describe, expect, test } from 'vitest'
import {
  authenticate,
  type BfdAuthentication,
  type BfdKey,
  believe,
  initialAuthentication,
} from '../../src/bfd/authentication.ts'
import { type BfdControl, type BfdState, decodeBfd, encodeBfd } from '../../src/bfd/packet.ts'
import { must } from '../../src/runtime/result.ts'
import { createPair, ours, type Pair, router, sessionWith } from './bench.ts'

const key = (id: number, secret: string): BfdKey => ({ id, secret: new TextEncoder().encode(secret) })
const first = key(1, 'the first secret')
const second = key(2, 'the second secret')
const foreign = key(1, 'somebody else’s')

const sending = (send: BfdKey | undefined, changes: Partial<BfdAuthentication> = {}): BfdAuthentication => ({
  type: 'meticulous-keyed-sha1',
  ...(send === undefined ? {} : { send }),
  accept: send === undefined ? [] : [send],
  plainForMs: 0,
  ...changes,
})

const control = (state: BfdState, changes: Partial<BfdControl> = {}): BfdControl => ({
  ...{ diagnostic: 0, state, poll: false, final: false, controlPlaneIndependent: false, demand: false },
  ...{ detectMult: 3, myDiscriminator: 9, yourDiscriminator: 7 },
  ...{ desiredMinTx: 300_000, requiredMinRx: 1_000_000, requiredMinEchoRx: 0 },
  ...changes,
})

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('the section at the end of a packet', () => {
  // Computed apart from this code: SHA1 over the 52 octets with the key, filled up with zeros, in the place of the digest.
  test.each<[BfdAuthentication['type'], string, string]>([
    ['keyed-sha1', '04', '5bcc93e1728cf647cdb9a60a0f06f15fc242dbfe'],
    ['meticulous-keyed-sha1', '05', 'b51690aa2703b3b004d31b334cf93cb8b3fea57d'],
  ])('of %s is 28 octets (section 4.4)', (type, number, digest) => {
    const config = sending(key(3, 'a secret'), { type })
    const [bytes, state] = authenticate(encodeBfd(control('Up')), config, initialAuthentication(0xffff_fffe))
    const header = `20c40334${'00000009'}${'00000007'}${'000493e0'}${'000f4240'}${'00000000'}`
    expect(hex(bytes)).toBe(`${header}${number}1c0300fffffffe${digest}`)
    expect(state.sequence).toBe(0xffff_ffff)
    const { packet, section } = must(decodeBfd(bytes))
    expect(packet).toEqual(control('Up'))
    expect(section).toMatchObject({ type, keyId: 3, sequence: 0xffff_fffe })
  })

  test.each<[string, (bytes: Uint8Array) => void]>([
    ['of a type that nobody knows', (bytes) => bytes.set([9], 24)],
    ['of a password in clear text', (bytes) => bytes.set([1], 24)],
    ['of another length', (bytes) => bytes.set([27], 25)],
    ['that the packet’s length leaves out', (bytes) => bytes.set([51], 3)],
  ])('%s is refused', (_, change) => {
    const [bytes] = authenticate(encodeBfd(control('Up')), sending(first), initialAuthentication(1))
    change(bytes)
    expect(decodeBfd(bytes)).toEqual({ ok: false, error: { code: 'bfd/authentication' } })
  })
})

describe('a sequence number', () => {
  const judged = (type: BfdAuthentication['type'], before: number, next: number, nowMs = 0): string => {
    const config = sending(first, { type })
    const [bytes] = authenticate(encodeBfd(control('Up')), config, initialAuthentication(next >>> 0))
    const { section } = must(decodeBfd(bytes))
    const received = { sequence: before, untilMs: 1000 }
    const result = believe({ bytes, section, nowMs, detectMult: 3 }, config, { ...initialAuthentication(0), received })
    return typeof result === 'string' ? result : 'believed'
  }

  test.each<[number, string, string]>([
    [0, 'believed', 'bfd/replayed'],
    [1, 'believed', 'believed'],
    [9, 'believed', 'believed'],
    [10, 'bfd/replayed', 'bfd/replayed'],
    [-1, 'bfd/replayed', 'bfd/replayed'],
    [-1000, 'bfd/replayed', 'bfd/replayed'],
  ])('%i after the last one, with a multiplier of 3, keyed: %s; meticulous: %s', (ahead, keyed, meticulous) => {
    for (const before of [1_000_000, 0, 0xffff_fffc]) {
      expect(judged('keyed-sha1', before, before + ahead)).toBe(keyed)
      expect(judged('meticulous-keyed-sha1', before, before + ahead)).toBe(meticulous)
    }
  })

  test('may be anything after a long silence', () => {
    expect(judged('meticulous-keyed-sha1', 1_000_000, 5, 1000)).toBe('believed')
  })
})

const configure = (pair: Pair, end: 'ours' | 'router', authentication: BfdAuthentication | undefined): void =>
  pair[end].engine.setSessions([
    sessionWith(end === 'ours' ? router : ours, authentication === undefined ? {} : { authentication }),
  ])

const upPair = (authentication: BfdAuthentication): Pair => {
  const pair = createPair({ ours: { authentication }, router: { authentication } })
  pair.pass(4000)
  expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  return pair
}

const drops = (pair: Pair): Readonly<Record<string, number>> =>
  Object.fromEntries<number>(pair.ours.engine.counters().dropped)

/** A packet that says Down to our session, as from the router. */
const sayDown = (pair: Pair, bytes: (packet: Uint8Array) => Uint8Array): void => {
  const { localDiscriminator: yourDiscriminator, remoteDiscriminator: myDiscriminator } = pair.ours.status()
  const down = encodeBfd(control('Down', { yourDiscriminator, myDiscriminator }))
  pair.network.inject({ from: router, to: ours, hops: 'single', ttl: 255, bytes: bytes(down) })
  pair.pass(5)
}

describe.each<BfdAuthentication['type']>(['keyed-sha1', 'meticulous-keyed-sha1'])('a session with %s', (type) => {
  const config = sending(first, { type })

  test('comes up, stays up, and says that it is authenticated', () => {
    const pair = upPair(config)
    pair.pass(600_000)
    expect(pair.ours.status()).toMatchObject({ state: 'Up', authenticated: true })
    expect(pair.ours.states().filter((state) => state === 'Down')).toEqual([])
    expect(drops(pair)).toEqual({})
  })

  test.each<[string, BfdAuthentication | undefined, string]>([
    ['has none', undefined, 'bfd/not-authenticated'],
    ['has another key', sending(foreign, { type }), 'bfd/wrong-key'],
    ['calls its key otherwise', sending({ ...first, id: 7 }, { type }), 'bfd/wrong-key'],
  ])('does not come up with a peer that %s', (_, other, reason) => {
    const pair = createPair({
      ours: { authentication: config },
      router: other === undefined ? {} : { authentication: other },
    })
    pair.pass(30_000)
    expect(pair.ours.state()).toBe('Down')
    expect(drops(pair)[reason]).toBeGreaterThan(10)
  })

  test.each<[string, (pair: Pair, packet: Uint8Array) => Uint8Array, string]>([
    ['without a section', (_, packet) => packet, 'bfd/not-authenticated'],
    [
      'with a foreign key',
      (pair, packet) => authenticate(packet, sending(foreign, { type }), next(pair))[0],
      'bfd/wrong-key',
    ],
    [
      'with the right key and changed afterwards',
      (pair, packet) => authenticate(packet, config, next(pair))[0].with(0, 0x27),
      'bfd/wrong-key',
    ],
    [
      'from long ago',
      (pair, packet) => authenticate(packet, config, initialAuthentication(next(pair).sequence - 60))[0],
      'bfd/replayed',
    ],
    [
      'with a section that nobody knows',
      (pair, packet) => authenticate(packet, config, next(pair))[0].with(24, 2),
      'bfd/authentication',
    ],
  ])('is not brought down by a packet %s', (_, forge, reason) => {
    const pair = upPair(config)
    pair.pass(30_000)
    sayDown(pair, (packet) => forge(pair, packet))
    expect(drops(pair)).toEqual({ [reason]: 1 })
    pair.pass(10_000)
    expect(pair.ours.states().filter((state) => state === 'Down')).toEqual([])
  })

  test('is brought down by the peer’s own word: the forgeries above would be believed without the key', () => {
    const pair = upPair(config)
    sayDown(pair, (packet) => authenticate(packet, config, next(pair))[0])
    expect(pair.ours.states()).toContain('Down')
  })

  test('is not kept alive by forged packets when the peer is gone', () => {
    const pair = upPair(config)
    pair.network.setLoss(() => true)
    const { localDiscriminator: yourDiscriminator, remoteDiscriminator: myDiscriminator } = pair.ours.status()
    const alive = encodeBfd(control('Up', { yourDiscriminator, myDiscriminator }))
    for (let i = 0; i < 12; i++) {
      const forged = [alive, authenticate(alive, sending(foreign, { type }), next(pair))[0]]
      for (const bytes of forged) pair.network.inject({ from: router, to: ours, hops: 'single', ttl: 255, bytes })
      pair.pass(100)
    }
    expect(pair.ours.state()).toBe('Down')
  })

  test('comes up again with a peer that began anew, after twice the detection time', () => {
    const pair = upPair(config)
    configureGone(pair)
    pair.pass(3000)
    configure(pair, 'router', config)
    pair.pass(20_000)
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
  })
})

const configureGone = (pair: Pair): void => pair.router.engine.setSessions([])

/** As the router would sign its next packet: it began with its discriminator and has counted since. */
const next = (pair: Pair): ReturnType<typeof initialAuthentication> => {
  const { localDiscriminator, packetsOut } = pair.router.status()
  return initialAuthentication((localDiscriminator + packetsOut) >>> 0)
}

describe('a session that nobody may interrupt', () => {
  const bothKnow = [first, second]

  test('is authenticated one end after the other', () => {
    const pair = createPair()
    pair.pass(4000)
    const steps: (readonly ['ours' | 'router', BfdAuthentication])[] = [
      ['ours', sending(undefined, { accept: [first] })],
      ['router', sending(undefined, { accept: [first] })],
      ['router', sending(first, { plainForMs: 60_000 })],
      ['ours', sending(first, { plainForMs: 60_000 })],
    ]
    for (const [end, config] of steps) {
      configure(pair, end, config)
      pair.pass(5000)
    }
    expect(pair.ours.status()).toMatchObject({ state: 'Up', authenticated: true })
    expect(pair.router.status()).toMatchObject({ state: 'Up', authenticated: true })
    expect([...pair.ours.states(), ...pair.router.states()].filter((state) => state === 'Down')).toEqual([])
    sayDown(pair, (packet) => packet)
    expect(pair.ours.state()).toBe('Up')
  })

  test('changes its key one end after the other', () => {
    const pair = upPair(sending(first))
    const steps: (readonly ['ours' | 'router', BfdAuthentication])[] = [
      ['ours', sending(first, { accept: bothKnow })],
      ['router', sending(second, { accept: bothKnow })],
      ['ours', sending(second, { accept: bothKnow })],
      ['router', sending(second)],
      ['ours', sending(second)],
    ]
    for (const [end, config] of steps) {
      configure(pair, end, config)
      pair.pass(5000)
    }
    expect([...pair.ours.states(), ...pair.router.states()].filter((state) => state === 'Down')).toEqual([])
    expect([pair.ours.state(), pair.router.state()]).toEqual(['Up', 'Up'])
    sayDown(pair, (packet) => authenticate(packet, sending(first), next(pair))[0])
    expect(drops(pair)).toEqual({ 'bfd/wrong-key': 1 })
  })

  test('goes without authentication again when neither end has a key to send with', () => {
    const pair = upPair(sending(first))
    for (const end of ['ours', 'router'] as const) {
      configure(pair, end, sending(undefined, { accept: [first] }))
      pair.pass(300)
    }
    pair.pass(5000)
    expect(pair.ours.status()).toMatchObject({ state: 'Up', authenticated: false })
  })

  test('believes packets without authentication for so long as it was told, and no longer', () => {
    const pair = createPair()
    configure(pair, 'router', sending(undefined, { accept: [first] }))
    pair.pass(4000)
    configure(pair, 'ours', sending(first, { plainForMs: 10_000 }))
    pair.pass(9_000)
    expect(pair.ours.state()).toBe('Up')
    pair.pass(3_000)
    expect(pair.ours.state()).toBe('Down')
  })
})
