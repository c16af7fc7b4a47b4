import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BfdControl, type BfdState, bfdStates, decodeBfd, encodeBfd } from '../../src/bfd/packet.ts'
import {
  type BfdAction,
  type BfdConfig,
  type BfdSession,
  type BfdStep,
  detectionTime,
  jittered,
  startBfd,
  transitionBfd,
  transmitInterval,
} from '../../src/bfd/session.ts'

const config: BfdConfig = { desiredMinTx: 300_000, requiredMinRx: 300_000, detectMult: 3 }
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const fromPeer = (state: BfdState, changes: Partial<BfdControl> = {}): BfdControl => ({
  diagnostic: 0,
  state,
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  detectMult: 3,
  myDiscriminator: 9,
  yourDiscriminator: state === 'Down' ? 0 : 7,
  desiredMinTx: 300_000,
  requiredMinRx: 300_000,
  requiredMinEchoRx: 0,
  ...changes,
})

const after = (...packets: BfdControl[]): BfdStep =>
  packets.reduce<BfdStep>(
    ([session], packet) => transitionBfd(session, { type: 'packet', packet }),
    startBfd(7, config),
  )
const up = after(fromPeer('Down'), fromPeer('Up'))[0]
const sent = (actions: readonly BfdAction[]): readonly BfdControl[] =>
  actions.flatMap((action) => (action.type === 'send' ? [action.packet] : []))

describe('a control packet (RFC 5880 section 4.1)', () => {
  test('is 24 octets', () => {
    const packet = fromPeer('Up', { diagnostic: 3, poll: true, requiredMinRx: 1_000_000 })
    expect(hex(encodeBfd(packet))).toBe('23e00318' + '00000009' + '00000007' + '000493e0' + '000f4240' + '00000000')
  })

  test.each<[string, string, string]>([
    ['another version', '40c00318', 'bfd/version'],
    ['a length below 24', '20c00317', 'bfd/length'],
    ['a length beyond the payload', '20c00319', 'bfd/length'],
    ['detect mult 0', '20c00018', 'bfd/detect-mult-zero'],
    ['the multipoint bit', '20c10318', 'bfd/multipoint'],
    ['poll and final at once', '20f00318', 'bfd/poll-and-final'],
  ])('with %s is discarded', (_, header, code) => {
    const bytes = Buffer.from(`${header}000000090000000700000001000000010000000000`.padEnd(48, '0').slice(0, 48), 'hex')
    expect(decodeBfd(bytes)).toEqual({ ok: false, error: { code } })
  })

  test('without discriminators is discarded where the RFC says so (section 6.8.6)', () => {
    const without = (changes: Partial<BfdControl>): unknown => decodeBfd(encodeBfd(fromPeer('Up', changes)))
    expect(without({ myDiscriminator: 0 })).toEqual({ ok: false, error: { code: 'bfd/my-discriminator-zero' } })
    expect(without({ yourDiscriminator: 0 })).toEqual({ ok: false, error: { code: 'bfd/your-discriminator-zero' } })
    expect(decodeBfd(encodeBfd(fromPeer('Down')))).toMatchObject({ ok: true })
  })

  test('survives its own bytes, and no bytes make decoding throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        decodeBfd(bytes)
      }),
    )
    const u32 = fc.nat(0xffff_ffff)
    const packet = fc.record({
      diagnostic: fc.nat(31),
      state: fc.constantFrom(...bfdStates),
      poll: fc.boolean(),
      final: fc.constant(false),
      controlPlaneIndependent: fc.boolean(),
      demand: fc.boolean(),
      detectMult: fc.integer({ min: 1, max: 255 }),
      myDiscriminator: fc.integer({ min: 1, max: 0xffff_ffff }),
      yourDiscriminator: fc.integer({ min: 1, max: 0xffff_ffff }),
      desiredMinTx: u32,
      requiredMinRx: u32,
      requiredMinEchoRx: u32,
    })
    fc.assert(
      fc.property(packet, (value) => {
        expect(decodeBfd(encodeBfd(value))).toEqual({ ok: true, value: { packet: value } })
      }),
    )
  })
})

// RFC 5880 section 6.2 and 6.8.6: our state, the peer's state, our next state.
describe('the state machine', () => {
  const at: Readonly<Record<'Down' | 'Init' | 'Up', BfdSession>> = {
    Down: startBfd(7, config)[0],
    Init: after(fromPeer('Down'))[0],
    Up: up,
  }
  test.each<['Down' | 'Init' | 'Up', BfdState, BfdState]>([
    ['Down', 'AdminDown', 'Down'],
    ['Down', 'Down', 'Init'],
    ['Down', 'Init', 'Up'],
    ['Down', 'Up', 'Down'],
    ['Init', 'AdminDown', 'Down'],
    ['Init', 'Down', 'Init'],
    ['Init', 'Init', 'Up'],
    ['Init', 'Up', 'Up'],
    ['Up', 'AdminDown', 'Down'],
    ['Up', 'Down', 'Down'],
    ['Up', 'Init', 'Up'],
    ['Up', 'Up', 'Up'],
  ])('%s, peer says %s: %s', (ours, theirs, next) => {
    const packet = fromPeer(theirs, { yourDiscriminator: 7 })
    const [session, actions] = transitionBfd(at[ours], { type: 'packet', packet })
    expect(session.state).toBe(next)
    expect(actions.some((action) => action.type === 'state-changed')).toBe(ours !== next)
  })

  test('goes down with the diagnostic of the detection time, and forgets the peer', () => {
    const [session, actions] = transitionBfd(up, { type: 'detection-timer' })
    expect([session.state, session.diagnostic, session.remote.discriminator]).toEqual(['Down', 1, 0])
    expect(actions).toContainEqual({ type: 'state-changed', from: 'Up', to: 'Down', diagnostic: 1 })
  })

  test('a packet for another session changes nothing', () => {
    expect(transitionBfd(up, { type: 'packet', packet: fromPeer('Down', { yourDiscriminator: 8 }) })).toEqual([up, []])
  })

  test('administratively down tells the peer, ignores it, and comes back', () => {
    const [down, actions] = transitionBfd(up, { type: 'admin-down' })
    expect(sent(actions)).toMatchObject([{ state: 'AdminDown', diagnostic: 7 }])
    const [still] = transitionBfd(down, { type: 'packet', packet: fromPeer('Down') })
    expect(still.state).toBe('AdminDown')
    expect(transitionBfd(still, { type: 'admin-up' })[0].state).toBe('Down')
  })
})

describe('timers', () => {
  test('not up: one packet a second at most, whatever was configured', () => {
    const [session, actions] = startBfd(7, config)
    expect(transmitInterval(session)).toBe(1_000_000)
    expect(sent(actions)).toMatchObject([{ desiredMinTx: 1_000_000, state: 'Down' }])
  })

  test('up: the slower of what we send and what the peer takes', () => {
    expect(transmitInterval(up)).toBe(300_000)
    const [slower, actions] = transitionBfd(up, { type: 'packet', packet: fromPeer('Up', { requiredMinRx: 500_000 }) })
    expect(transmitInterval(slower)).toBe(500_000)
    expect(actions).toContainEqual({ type: 'set-transmit-timer', interval: 500_000 })
  })

  test('a peer that wants no packets gets none', () => {
    const [quiet] = transitionBfd(up, { type: 'packet', packet: fromPeer('Up', { requiredMinRx: 0 }) })
    expect(transitionBfd(quiet, { type: 'transmit-timer' })).toEqual([quiet, []])
  })

  test('a peer in demand mode gets none while both are up, but for a poll sequence', () => {
    const settled = transitionBfd(up, { type: 'packet', packet: fromPeer('Up', { final: true }) })[0]
    const packet = fromPeer('Up', { demand: true })
    const [quiet, actions] = transitionBfd(settled, { type: 'packet', packet })
    expect(transmitInterval(quiet)).toBe(0)
    expect(actions).toContainEqual({ type: 'set-transmit-timer', interval: 0 })
    const wanted: BfdConfig = { desiredMinTx: 400_000, requiredMinRx: 300_000, detectMult: 3 }
    const [polling] = transitionBfd(quiet, { type: 'configure', config: wanted })
    expect(transmitInterval(polling)).toBe(300_000)
    const final = fromPeer('Up', { demand: true, final: true })
    expect(transmitInterval(transitionBfd(polling, { type: 'packet', packet: final })[0])).toBe(0)
  })

  test('detection: the peer’s multiplier times the slower of its interval and what we take', () => {
    expect(detectionTime(up)).toBe(900_000)
    const packet = fromPeer('Up', { detectMult: 5, desiredMinTx: 400_000 })
    const [, actions] = transitionBfd(up, { type: 'packet', packet })
    expect(actions).toContainEqual({ type: 'set-detection-timer', time: 2_000_000 })
  })

  test('coming up starts a poll sequence that the peer’s final ends', () => {
    expect(up.polling).toBe(true)
    const [settled] = transitionBfd(up, { type: 'packet', packet: fromPeer('Up', { final: true }) })
    expect(settled.polling).toBe(false)
  })

  test('a poll is answered at once with a final', () => {
    const [, actions] = transitionBfd(up, { type: 'packet', packet: fromPeer('Up', { poll: true }) })
    expect(sent(actions)).toMatchObject([{ final: true, poll: false, state: 'Up' }])
  })

  test('slower sending and faster receiving wait for the final (section 6.8.3)', () => {
    const settled = transitionBfd(up, { type: 'packet', packet: fromPeer('Up', { final: true }) })[0]
    const wanted: BfdConfig = { desiredMinTx: 1_000_000, requiredMinRx: 100_000, detectMult: 3 }
    const [changing, actions] = transitionBfd(settled, { type: 'configure', config: wanted })
    expect([changing.txInUse, changing.rxInUse, changing.polling]).toEqual([300_000, 300_000, true])
    expect(sent(actions)).toMatchObject([{ poll: true, desiredMinTx: 1_000_000, requiredMinRx: 100_000 }])
    const [changed] = transitionBfd(changing, { type: 'packet', packet: fromPeer('Up', { final: true }) })
    expect([changed.txInUse, changed.rxInUse, changed.polling]).toEqual([1_000_000, 100_000, false])
  })

  test('jitter takes away up to a quarter, and keeps a tenth back when one loss is fatal (section 6.8.7)', () => {
    expect([jittered(1000, 3, 0), jittered(1000, 3, 0.9999)].map(Math.round)).toEqual([750, 1000])
    expect([jittered(1000, 1, 0), jittered(1000, 1, 0.9999)].map(Math.round)).toEqual([750, 900])
  })
})

test('two sessions that hear each other come up, from whatever state', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 12 }), (losses) => {
      const ends: [BfdSession, BfdSession] = [startBfd(1, config)[0], startBfd(2, config)[0]]
      const tick = (from: 0 | 1, lost: boolean): void => {
        const [, actions] = transitionBfd(ends[from], { type: 'transmit-timer' })
        const to = from === 0 ? 1 : 0
        for (const packet of sent(actions)) if (!lost) ends[to] = transitionBfd(ends[to], { type: 'packet', packet })[0]
      }
      for (const lost of losses) {
        tick(0, lost)
        tick(1, !lost)
      }
      if (losses.length % 3 === 0) ends[0] = transitionBfd(ends[0], { type: 'detection-timer' })[0]
      for (let round = 0; round < 4; round++) {
        tick(0, false)
        tick(1, false)
      }
      expect(ends.map((end) => end.state)).toEqual(['Up', 'Up'])
    }),
  )
})
