import { expect, test } from 'vitest'
import type { BgpPolicy } from '../../src/k8s/objects.ts'
import { parseCommunity } from '../../src/net/community.ts'
import { byPriority, policyMatches, routeRules } from '../../src/plan/attributes.ts'
import { must } from '../../src/runtime/result.ts'
import { conf, labels, policy, service } from '../vip/cluster.ts'

const community = (text: string) => must(parseCommunity(text))
const named = (value: string): BgpPolicy['communities'][number] => ({ kind: 'name', value })
const settings = conf({
  communities: new Map([
    ['premium', community('64512:100')],
    ['large-eu', community('64512:1:2')],
  ]),
})
const rules = (...policies: readonly BgpPolicy[]) => routeRules(settings, [...policies].sort(byPriority))

test('without a policy a route is plain', () => {
  expect(rules()).toEqual({
    attributes: { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] },
    aggregationLength: { ipv4: 32, ipv6: 128 },
    linkBandwidth: 'None',
    announce: true,
  })
})

test('ORIGIN is that of the BgpConf', () => {
  expect(routeRules(conf({ origin: 'INCOMPLETE' }), []).attributes.origin).toBe('INCOMPLETE')
})

test('communities are united: literal, well-known and named ones, sorted and without duplicates; unknown names add none', () => {
  const { attributes } = rules(
    policy('a', { communities: [named('premium'), community('no-export'), named('nowhere')] }),
    policy('b', {
      communities: [
        community('64512:100'),
        community('1:1'),
        named('large-eu'),
        community('64512:1:10'),
        community('64512:1:2'),
      ],
    }),
  )
  expect(attributes.communities).toEqual([65537, 64512 * 65536 + 100, 0xffff_ff01])
  expect(attributes.largeCommunities).toEqual(['64512:1:2', '64512:1:10'])
})

const low = {
  priority: 0,
  localPref: 100,
  med: 5,
  prepend: 1,
  aggregationLength: { ipv4: 24, ipv6: 64 },
  announce: false,
}
test.each<[string, Partial<BgpPolicy>, unknown]>([
  [
    'everything it says',
    { localPref: 200, med: 10, prepend: 2, aggregationLength: { ipv4: 28, ipv6: 120 }, linkBandwidth: 'Endpoints' },
    [200, 10, 2, 28, 120, 'Endpoints', true],
  ],
  ['nothing it does not say, but whether to announce', {}, [100, 5, 1, 24, 64, 'None', true]],
  ['zero, where zero is something', { localPref: 0, med: 0 }, [0, 0, 1, 24, 64, 'None', true]],
])('the policy of the highest priority decides %s', (_, over, expected) => {
  const { attributes, aggregationLength, linkBandwidth, announce } = rules(
    policy('low', low),
    policy('high', { priority: 1, ...over }),
  )
  expect([
    attributes.localPref,
    attributes.med,
    attributes.prepend,
    aggregationLength.ipv4,
    aggregationLength.ipv6,
    linkBandwidth,
    announce,
  ]).toEqual(expected)
})

test('equals that contradict each other do not announce', () => {
  expect(rules(policy('a'), policy('b', { announce: false })).announce).toBe(false)
})

test.each<[string, Partial<BgpPolicy>, boolean]>([
  ['none: all', {}, true],
  ['its pool', { pools: ['default', 'x'] }, true],
  ['another pool', { pools: ['x'] }, false],
  ['its labels', { serviceSelector: labels({ app: 'web' }) }, true],
  ['the labels of one that shares', { serviceSelector: labels({ app: 'api' }) }, true],
  ['other labels', { serviceSelector: labels({ app: 'db' }) }, false],
  ['its pool and other labels', { pools: ['default'], serviceSelector: labels({ app: 'db' }) }, false],
])('a policy that selects %s', (_, over, expected) => {
  const services = ['web', 'api'].map((name) => service(name, { meta: { labels: { app: name } } }))
  expect(policyMatches(policy('p', over), 'default', services)).toBe(expected)
})
