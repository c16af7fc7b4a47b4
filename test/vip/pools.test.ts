import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { VipPool } from '../../src/k8s/objects.ts'
import { type IpRange, parseRange, rangeContains } from '../../src/net/range.ts'
import { must } from '../../src/runtime/result.ts'
import { countAddresses, divideAddresses, walkAddresses } from '../../src/vip/pool-ranges.ts'
import { indexPools } from '../../src/vip/pools.ts'
import { ip, labels, namespace, type PoolOver, pool, service, view } from './cluster.ts'

const ranges = (...texts: readonly string[]): readonly IpRange[] => texts.map((text) => must(parseRange(text)))

describe('admission', () => {
  const teamA = namespace('team-a', { tier: 'gold' })
  const admits = (over: PoolOver, path = 'team-a/web'): boolean => {
    const of = service(path, { meta: { labels: { app: 'web' } } })
    const pools = indexPools(
      view({ services: [of], namespaces: [teamA, namespace('empty')], pools: [pool('p', ['203.0.113.0/24'], over)] }),
    )
    const [only] = pools.all
    return only !== undefined && pools.admissionRefusal(only, of) === undefined
  }
  // api.md, VipPool: namespaces OR namespaceSelector; AND serviceSelector. Allocation 3: also for explicit requests.
  test.each<[string, PoolOver, boolean]>([
    ['no rule', {}, true],
    ['its namespace by name', { namespaces: ['team-a'] }, true],
    ['other namespaces by name', { namespaces: ['team-b'] }, false],
    ['a selector that matches its namespace', { namespaceSelector: labels({ tier: 'gold' }) }, true],
    ['a selector that matches no namespace at all', { namespaceSelector: labels({ tier: 'lead' }) }, false],
    ['an empty selector, which matches all', { namespaceSelector: labels({}) }, true],
    [
      'other namespaces by name, or a selector that matches',
      { namespaces: ['team-b'], namespaceSelector: labels({ tier: 'gold' }) },
      true,
    ],
    [
      'its namespace by name, or a selector that does not match',
      { namespaces: ['team-a'], namespaceSelector: labels({ tier: 'lead' }) },
      true,
    ],
    ['a serviceSelector that matches', { serviceSelector: labels({ app: 'web' }) }, true],
    ['a serviceSelector that does not', { serviceSelector: labels({ app: 'db' }) }, false],
    [
      'its namespace, and a serviceSelector that does not match',
      { namespaces: ['team-a'], serviceSelector: labels({ app: 'db' }) },
      false,
    ],
  ])('with %s: %s', (_, over, expected) => {
    expect(admits(over)).toBe(expected)
  })

  test('a namespace that is not known matches no selector, not even one that asks for the absence of a label', () => {
    const pools = indexPools({
      ...view({
        pools: [
          pool('p', ['203.0.113.0/24'], {
            namespaceSelector: {
              matchLabels: {},
              matchExpressions: [{ key: 'x', operator: 'DoesNotExist', values: [] }],
            },
          }),
        ],
      }),
      namespaces: new Map(),
    })
    const [only] = pools.all
    expect(only && pools.admissionRefusal(only, service('ghost/web'))).toBe('pool p does not admit namespace ghost')
  })
})

// Allocation 4: by priority, then selective pools before open ones, then by name; auto-assigning and open for business only.
test('pools are tried by priority, selective before open ones of the same priority, then by name', () => {
  const pools = [
    pool('z-late', ['10.0.0.0/28'], { priority: 1 }),
    pool('b-open', ['10.0.1.0/28']),
    pool('a-open', ['10.0.2.0/28']),
    pool('z-selective', ['10.0.3.0/28'], { namespaces: ['default'] }),
    pool('y-selective', ['10.0.4.0/28'], { serviceSelector: labels({}) }),
    pool('first', ['10.0.5.0/28'], { priority: -1 }),
    pool('manual', ['10.0.6.0/28'], { autoAssign: false }),
    pool('disabled', ['10.0.7.0/28'], { disabled: true }),
    pool('leaving', ['10.0.8.0/28'], { meta: { deleting: true } }),
    pool('v6', ['2001:db8::/64']),
  ]
  const index = indexPools(view({ services: [service('web')], pools }))
  const names = index.automatic(service('web'), 'IPv4').map(({ meta }) => meta.name)
  expect(names).toEqual(['first', 'y-selective', 'z-selective', 'a-open', 'b-open', 'z-late'])
})

// Allocation 8: the overlapping part belongs to the older pool.
describe('ownership', () => {
  const older = pool('older', ['10.0.0.0-10.0.0.9'], { meta: { creationTimestampMs: 1000 } })
  const newer = pool('newer', ['10.0.0.5-10.0.0.14', '10.0.1.0/31'], { meta: { creationTimestampMs: 2000 } })
  const owned = divideAddresses([newer, older])
  test.each([
    ['10.0.0.0', 'older'],
    ['10.0.0.5', 'older'],
    ['10.0.0.9', 'older'],
    ['10.0.0.10', 'newer'],
    ['10.0.1.1', 'newer'],
    ['10.0.0.15', undefined],
    ['2001:db8::1', undefined],
  ])('%s belongs to %s', (address, name) => {
    expect(owned.poolOf(ip(address))?.meta.name).toBe(name)
  })

  test('the newer pool is told what it did not get, the older one nothing', () => {
    expect(owned.overlapsOf('newer')).toEqual([{ range: '10.0.0.5-10.0.0.9', pool: 'older' }])
    expect(owned.overlapsOf('older')).toEqual([])
  })

  test('of two pools created in the same second the name decides', () => {
    expect(divideAddresses([pool('b', ['10.0.0.1']), pool('a', ['10.0.0.1'])]).poolOf(ip('10.0.0.1'))?.meta.name).toBe(
      'a',
    )
  })

  test('every address has the oldest pool that covers it, whatever the ranges', () => {
    const some = fc.array(fc.tuple(fc.nat(40), fc.nat(12)), { maxLength: 4 })
    fc.assert(
      fc.property(fc.array(some, { maxLength: 5 }), (specs) => {
        const pools = specs.map((of, i) =>
          pool(
            `p${i}`,
            of.map(([first, size]) => `10.0.0.${first}-10.0.0.${first + size}`),
            { meta: { creationTimestampMs: (i * 7) % 3 } },
          ),
        )
        const divided = divideAddresses(pools)
        const byAge = [...pools].sort(
          (a, b) => a.meta.creationTimestampMs - b.meta.creationTimestampMs || (a.meta.name < b.meta.name ? -1 : 1),
        )
        for (let i = 0; i < 60; i++) {
          const address = ip(`10.0.0.${i}`)
          const expected = byAge.find((each) => each.ranges.some((range) => rangeContains(range, address)))
          expect(divided.poolOf(address)).toBe(expected)
          for (const each of pools)
            expect(divided.rangesOf(each.meta.name).some((range) => rangeContains(range, address))).toBe(
              each === expected,
            )
        }
      }),
    )
  })
})

describe('free addresses', () => {
  const lowest = (
    of: Pick<VipPool, 'ranges' | 'avoidBuggyIPs'>,
    taken: readonly string[],
    family: 'IPv4' | 'IPv6' = 'IPv4',
  ): string | undefined => walkAddresses(of.ranges, family, of).next((address) => taken.includes(address))

  test.each<[string, readonly string[], readonly string[], string | undefined]>([
    ['the first', ['10.0.0.4/30'], [], '10.0.0.4'],
    ['the first that is free', ['10.0.0.4/30'], ['10.0.0.4', '10.0.0.5'], '10.0.0.6'],
    ['from the next range', ['10.0.0.4', '10.0.0.9'], ['10.0.0.4'], '10.0.0.9'],
    ['none', ['10.0.0.4/31'], ['10.0.0.4', '10.0.0.5'], undefined],
    ['none of the other family', ['2001:db8::/64'], [], undefined],
  ])('the lowest free address is %s', (_, of, taken, expected) => {
    expect(lowest({ ranges: ranges(...of), avoidBuggyIPs: false }, taken)).toBe(expected)
  })

  test('a network of 2^64 addresses is walked from its first one, not enumerated', () => {
    expect(
      lowest({ ranges: ranges('2001:db8::/64'), avoidBuggyIPs: false }, ['2001:db8::', '2001:db8::1'], 'IPv6'),
    ).toBe('2001:db8::2')
    expect(countAddresses(ranges('2001:db8::/64', '2001:db9::/64'), { avoidBuggyIPs: true })).toBe(2n ** 65n)
  })

  test.each([
    ['10.0.0.254-10.0.1.2', ['10.0.0.254', '10.0.1.1', '10.0.1.2']],
    ['10.0.0.0', []],
    ['10.0.0.255-10.0.1.0', []],
    ['10.0.0.0/29', ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.7']],
  ])('with avoidBuggyIPs %s gives out %o', (text, expected) => {
    const of = { ranges: ranges(text), avoidBuggyIPs: true }
    const given: string[] = []
    for (let next = lowest(of, given); next !== undefined; next = lowest(of, given)) given.push(next)
    expect(given).toEqual(expected)
    expect(countAddresses(of.ranges, of)).toBe(BigInt(expected.length))
  })

  test('a walk stays at an address until it is taken, and never goes back', () => {
    const walk = walkAddresses(ranges('10.0.0.1-10.0.0.3'), 'IPv4', { avoidBuggyIPs: false })
    expect(walk.next(() => false)).toBe('10.0.0.1')
    expect(walk.next(() => false)).toBe('10.0.0.1')
    expect(walk.next((address) => address === '10.0.0.1')).toBe('10.0.0.2')
    expect(walk.next(() => false)).toBe('10.0.0.2')
  })
})
