// The set is held against one that keeps everything.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createPrefixSet } from '../../../src/bgp/speaker/prefix-set.ts'

const octetsOf = (value: number): Uint8Array =>
  Uint8Array.of(32, value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)

const operation = fc.record({ add: fc.boolean(), tag: fc.constantFrom(32, 128), value: fc.nat({ max: 300 }) })

test('it holds what was added and not removed since', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 2000, size: 'max' }), (operations) => {
      const set = createPrefixSet()
      const expected = new Set<string>()
      for (const { add, tag, value } of operations) {
        const octets = octetsOf(value)
        if (add) {
          set.add(tag, octets, octets.length)
          expected.add(`${tag} ${value}`)
        } else {
          set.delete(tag, octets, octets.length)
          expected.delete(`${tag} ${value}`)
        }
        expect(set.size).toBe(expected.size)
      }
    }),
    { numRuns: 60 },
  )
})

test('a hundred thousand neighbours are a hundred thousand, and none when all are gone', () => {
  const set = createPrefixSet()
  const all = Array.from({ length: 100_000 }, (_, i) => octetsOf(0x0a00_0000 + i))
  for (const octets of all) set.add(32, octets, octets.length)
  for (const octets of all) set.add(32, octets, octets.length)
  expect(set.size).toBe(all.length)
  for (const octets of all) set.delete(32, octets, octets.length)
  expect(set.size).toBe(0)
})

test('octets behind the given length do not count', () => {
  const set = createPrefixSet()
  set.add(32, Uint8Array.of(8, 10, 1), 2)
  set.add(32, Uint8Array.of(8, 10, 2), 2)
  set.add(32, Uint8Array.of(8, 10), 2)
  expect(set.size).toBe(1)
})
