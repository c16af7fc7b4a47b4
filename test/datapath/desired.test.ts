// The order in which back ends are told the VIPs: by address, whatever was sorted before.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addressesOnly, sortRules, type VipRules } from '../../src/datapath/desired.ts'
import { compareIp, ipFromBigInt } from '../../src/net/ip.ts'

const address = fc.oneof(
  fc.bigInt(0n, 300n).map((n) => ipFromBigInt('IPv4', 0xcb00_70f0n + n)),
  fc.bigInt(0n, 300n).map((n) => ipFromBigInt('IPv6', (0x2001_0db8n << 96n) + n)),
)
const addresses = fc.uniqueArray(address, { maxLength: 60 })

test('any VIPs are sorted by address, IPv4 first, and those that were sorted before are the same values', () => {
  fc.assert(
    fc.property(addresses, addresses, (before, after) => {
      const known = new Map(addressesOnly([...before, ...after]).map((vip) => [vip.address, vip]))
      const rulesOf = (list: typeof before): readonly VipRules[] =>
        list.flatMap((ip) => {
          const vip = known.get(ip)
          return vip === undefined ? [] : [vip]
        })
      const sorted = sortRules(rulesOf(after), sortRules(rulesOf(before)))
      expect(sorted).toEqual(rulesOf([...after].sort(compareIp)))
      expect(sorted.every((vip) => known.get(vip.address) === vip)).toBe(true)
    }),
  )
})
