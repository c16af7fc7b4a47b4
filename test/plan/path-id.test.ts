import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ipFromBigInt } from '../../src/net/ip.ts'
import { hash32 } from '../../src/plan/hash.ts'
import { pathIds } from '../../src/plan/path-id.ts'
import { ip } from '../vip/cluster.ts'

// Announcing 2. Changing any of these values would make every router re-learn every path.
test.each([
  ['10.0.0.11', 0x0a00_000b],
  ['255.255.255.254', 0xffff_fffe],
  ['0.0.0.0', 1],
])('the path id of %s is the address as a number: %i', (address, id) => {
  expect(pathIds([ip(address)]).get(ip(address))).toBe(id)
})

test.each([
  ['2001:db8::11', hash32('2001:db8::11')],
  ['fd00::1', hash32('fd00::1')],
])('the path id of %s is its hash', (address, id) => {
  expect(pathIds([ip(address)]).get(ip(address))).toBe(id)
})

test('the hash is the same on every machine and in every version', () => {
  expect(['', '2001:db8::11', 'fd00::1'].map((text) => hash32(text))).toEqual([0xab3e_7c0b, 0x871a_74d1, 0xea6a_526b])
  expect(hash32('fd00::1', 1)).not.toBe(hash32('fd00::1'))
})

const address = fc.oneof(
  fc.bigInt({ min: 1n, max: 2n ** 32n - 1n }).map((value) => ipFromBigInt('IPv4', value)),
  fc.bigInt({ min: 1n, max: 2n ** 128n - 1n }).map((value) => ipFromBigInt('IPv6', value)),
)

test('ids are in 1 .. 2^32-1, unique in each family, and do not depend on the order of the nodes', () => {
  fc.assert(
    fc.property(fc.uniqueArray(address, { maxLength: 60 }), (addresses) => {
      const ids = pathIds(addresses)
      expect(pathIds(addresses.toReversed())).toEqual(ids)
      for (const family of [':', '.']) {
        const of = [...ids].filter(([each]) => each.includes(family) === true)
        expect(new Set(of.map(([, id]) => id)).size).toBe(of.length)
      }
      for (const id of ids.values()) expect(Number.isInteger(id) && id >= 1 && id <= 0xffff_ffff).toBe(true)
    }),
  )
})

// Found by search: about 2^16 addresses hold such a pair.
const [a, b] = [ip('2001:db8::1:a16d'), ip('2001:db8::5:7ad0')]

test('where two hashes collide both have an id, the same in every replica, and others keep theirs', () => {
  expect(hash32(a)).toBe(hash32(b))
  const ids = pathIds([b, a, ip('2001:db8::11')])
  expect(ids.get(a)).not.toBe(ids.get(b))
  expect([ids.get(a), ids.get(b)]).toContain(hash32(a))
  expect(pathIds([ip('2001:db8::11'), a, b])).toEqual(ids)
  expect(ids.get(ip('2001:db8::11'))).toBe(hash32('2001:db8::11'))
})
