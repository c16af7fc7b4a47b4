// The keys of liveness as Secrets and Leases change: whom we send what, and what we believe, for every order in which two processes
// learn of a new key.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { BfdAuthentication, BfdKey } from '../../src/bfd/authentication.ts'
import {
  announcedKeys,
  authenticationWith,
  changesAtMs,
  type KeyRing,
  learn,
  noKeys,
  plainForMs,
  readKeys,
  retiredForMs,
} from '../../src/liveness/key-ring.ts'

const octets = (text: string): Uint8Array => new TextEncoder().encode(text)
const key = (id: number, secret = `secret ${id}`): BfdKey => ({ id, secret: octets(secret) })
const label = ({ id, secret }: BfdKey): string => `${id}:${new TextDecoder().decode(secret)}`
const ringOf = (...steps: readonly (readonly [number, readonly BfdKey[]])[]): KeyRing =>
  steps.reduce<KeyRing>((ring, [nowMs, keys]) => learn(ring, keys, nowMs, label), noKeys)

describe('the Secret', () => {
  const read = (data: Readonly<Record<string, string>>): ReturnType<typeof readKeys> =>
    readKeys(new Map(Object.entries(data).map(([name, value]) => [name, octets(value)])))

  test('has a key in each entry, by its number', () => {
    expect(read({ 1: 'first', 255: 'last' })).toEqual({ keys: [key(1, 'first'), key(255, 'last')], problems: [] })
  })

  test.each<[string, string, string]>([
    ['password', 'x', 'entry password is no key: its name must be a number from 0 to 255'],
    ['256', 'x', 'entry 256 is no key: its name must be a number from 0 to 255'],
    ['01', 'x', 'entry 01 is no key: its name must be a number from 0 to 255'],
    ['1', '', 'key 1 has 0 octets: 1 to 20 are possible'],
    ['1', 'a secret that is far too long', 'key 1 has 29 octets: 1 to 20 are possible'],
  ])('with the entry %s: %s is told what is wrong, and its other keys are used', (name, value, problem) => {
    expect(read({ [name]: value, 7: 'good' })).toEqual({ keys: [key(7, 'good')], problems: [problem] })
  })

  test('that vanishes, or has no key any more, takes no key along', () => {
    const ring = ringOf([0, [key(1)]])
    expect(learn(ring, [], 5, label)).toBe(ring)
  })
})

describe('a process', () => {
  const sends = (ring: KeyRing, announced: string | undefined, nowMs = 0): number | undefined =>
    authenticationWith(ring, announced, nowMs)?.send?.id
  const believes = (ring: KeyRing, announced: string | undefined, nowMs = 0): readonly number[] | undefined =>
    authenticationWith(ring, announced, nowMs)?.accept.map(({ id }) => id)

  test('without a key neither sends nor believes authenticated packets', () => {
    expect(authenticationWith(noKeys, '1:secret 1', 0)).toBe(undefined)
    expect(announcedKeys(noKeys)).toBe('')
  })

  test('sends the key with the highest number that the peer says it has', () => {
    const ring = ringOf([0, [key(1), key(2), key(3)]])
    expect(announcedKeys(ring)).toBe('3:secret 3,2:secret 2,1:secret 1')
    expect(sends(ring, '2:secret 2,1:secret 1')).toBe(2)
    expect(believes(ring, '2:secret 2')).toEqual([3, 2, 1])
  })

  test.each<[string, string | undefined]>([
    ['says nothing', undefined],
    ['has another key of the same number', '1:other'],
  ])('sends without to a peer that %s, and believes both', (_, announced) => {
    const ring = ringOf([0, [key(1)]])
    expect(sends(ring, announced)).toBe(undefined)
    expect(believes(ring, announced)).toEqual([1])
    expect(authenticationWith(ring, announced, 0)?.plainForMs).toBe(plainForMs)
  })

  test('believes a key that was replaced for ten minutes', () => {
    const ring = ringOf([0, [key(1)]], [1000, [key(2)]])
    const both = announcedKeys(ring)
    expect(sends(ring, both)).toBe(2)
    expect(changesAtMs(ring, 1000)).toBe(1000 + retiredForMs)
    expect(believes(ring, both, 1000 + retiredForMs - 1)).toEqual([2, 1])
    expect(believes(ring, both, 1000 + retiredForMs)).toEqual([2])
    expect(changesAtMs(ring, 1000 + retiredForMs)).toBe(undefined)
  })

  test('uses a key that was replaced for as long as the peer has no other', () => {
    const ring = ringOf([0, [key(1)]], [1000, [key(2)]])
    expect(sends(ring, '1:secret 1', 10 * retiredForMs)).toBe(1)
    expect(believes(ring, '1:secret 1', 10 * retiredForMs)).toEqual([2, 1])
  })

  test('tells two keys of one number apart', () => {
    const ring = ringOf([0, [key(1, 'old')]], [1000, [key(1, 'new')]])
    expect(authenticationWith(ring, '1:old', 1000)?.send).toEqual(key(1, 'old'))
    expect(authenticationWith(ring, '1:new,1:old', 1000)?.send).toEqual(key(1, 'new'))
  })

  test('that takes a key back forgets that it was replaced', () => {
    const ring = ringOf([0, [key(1)]], [1000, [key(2)]], [2000, [key(1)]])
    expect(sends(ring, announcedKeys(ring), 2000)).toBe(1)
    expect(changesAtMs(ring, 2000)).toBe(2000 + retiredForMs)
  })
})

// Two processes, each with what it has read of the Secret and of the other's Lease, which may be any earlier state of either.
test('in whatever order two processes learn of keys and of each other, each believes what the other sends', () => {
  const secret = fc.constantFrom<readonly BfdKey[]>([], [key(1)], [key(1), key(2)], [key(2)], [key(1, 'other')])
  const step = fc.oneof(
    fc.record({ type: fc.constant('edit' as const), secret }),
    fc.record({
      type: fc.constantFrom('reads' as const, 'hears' as const),
      who: fc.constantFrom(0 as const, 1 as const),
    }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const edits: (readonly BfdKey[])[] = [[]]
      const rings: [KeyRing, KeyRing] = [noKeys, noKeys]
      const heard: [string, string] = ['', '']
      const authenticated: [boolean, boolean] = [false, false]
      steps.forEach((each, nowMs) => {
        if (each.type === 'edit') edits.push(each.secret)
        else if (each.type === 'reads') rings[each.who] = learn(rings[each.who], edits.at(-1) ?? [], nowMs, label)
        else heard[each.who] = announcedKeys(rings[each.who === 0 ? 1 : 0])
        for (const sender of [0, 1] as const) {
          const receiver = sender === 0 ? 1 : 0
          const sending = authenticationWith(rings[sender], heard[sender], nowMs)?.send
          const believing = authenticationWith(rings[receiver], heard[receiver], nowMs)
          if (sending === undefined) {
            // Within the minute in which packets without authentication count; it takes less to hear of each other.
            if (believing?.send === undefined) authenticated[receiver] = false
            expect(authenticated[receiver] && believing?.send !== undefined).toBe(false)
          } else {
            expect(isBelieved(sending, believing)).toBe(true)
            authenticated[receiver] = true
          }
        }
      })
    }),
  )
})

const isBelieved = (sent: BfdKey, by: BfdAuthentication | undefined): boolean =>
  (by?.accept ?? []).some((each) => label(each) === label(sent))
