import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ipFromBigInt } from '../../src/net/ip.ts'
import { parseVipName, vipName } from '../../src/vip/vip-name.ts'
import { ip } from './cluster.ts'

test.each([
  ['203.0.113.10', '203.0.113.10'],
  ['2001:db8::1', '2001-0db8-0000-0000-0000-0000-0000-0001'],
  ['::ffff:203.0.113.10', '0000-0000-0000-0000-0000-ffff-cb00-710a'],
])('the Vip of %s is named %s, and the name says which address it is', (address, name) => {
  expect(vipName(ip(address))).toBe(name)
  expect(parseVipName(name)).toBe(ip(address))
})

test.each([
  '',
  'web',
  '203.0.113',
  '203.0.113.010',
  '2001:db8::1',
  '2001-db8--1',
  '2001-0DB8-0000-0000-0000-0000-0000-0001',
])('"%s" is the name of no address', (name) => expect(parseVipName(name)).toBeUndefined())

test('every address has its own name, which is a valid object name', () => {
  const address = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ipFromBigInt('IPv4', value)),
    fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value) => ipFromBigInt('IPv6', value)),
  )
  fc.assert(
    fc.property(address, (of) => {
      expect(parseVipName(vipName(of))).toBe(of)
      expect(vipName(of)).toMatch(/^[a-z0-9]([-a-z0-9.]{0,37}[a-z0-9])?$/)
    }),
  )
})
