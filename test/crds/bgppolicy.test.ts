// What a user sees after `kubectl apply` of a BgpPolicy.
import { describe, expect, test } from 'vitest'
import { judge, RULES_NOT_RUN, yaml } from './crd-files.ts'

const bgpPolicy = judge('BgpPolicy')
const policy = (spec: string) => yaml(`{metadata: {name: premium}, spec: ${spec}}`)
const notACommunity = (text: string) =>
  `"${text}" is not a community: write a standard one as 64512:100 (both at most 65535) or a large one as 64512:1:2 (each at most 4294967295)`

test('a BgpPolicy is filled in', () => {
  expect(bgpPolicy(policy('{}'))).toMatchObject({ errors: [] })
  expect(bgpPolicy(policy('{}')).stored['spec']).toEqual({
    priority: 0,
    pools: [],
    peers: [],
    communities: [],
    prepend: 0,
    aggregationLength: { ipv4: 32, ipv6: 128 },
    linkBandwidth: 'None',
    announce: true,
  })
})

describe('communities', () => {
  test.each([
    '64512:200',
    '0:0',
    '65535:65535',
    '64512:1:2',
    '4294967295:4294967295:4294967295',
    'no-export',
    'graceful-shutdown',
    'premium',
    'Large_EU.1',
  ])('may hold %s', (community) => {
    expect(bgpPolicy(policy(`{communities: ["${community}"]}`)).errors).toEqual([])
  })

  test.each([
    ['65536:1', notACommunity('65536:1')],
    ['1:65536', notACommunity('1:65536')],
    ['1:2:4294967296', notACommunity('1:2:4294967296')],
    ['1:2:3:4', notACommunity('1:2:3:4')],
    ['12345', notACommunity('12345')],
    ['01:1', notACommunity('01:1')],
    ['no export', '"no export" is neither a community nor a name: names consist of letters, digits, ".", "_" and "-"'],
    ['rt:1:2', '"rt:1:2" is neither a community nor a name: names consist of letters, digits, ".", "_" and "-"'],
  ])('may not hold %s', (community, message) => {
    expect(bgpPolicy(policy(`{communities: ["${community}"]}`)).errors).toEqual([
      `spec.communities[0]: Invalid value: "${community}": ${message}`,
    ])
  })
})

test.each([
  ['{localPref: 4294967295, med: 0, prepend: 16}', []],
  [
    '{localPref: -1}',
    ['spec.localPref: Invalid value: -1: spec.localPref in body should be greater than or equal to 0'],
  ],
  [
    '{med: 4294967296}',
    ['spec.med: Invalid value: 4294967296: spec.med in body should be less than or equal to 4294967295'],
  ],
  ['{prepend: 17}', ['spec.prepend: Invalid value: 17: spec.prepend in body should be less than or equal to 16']],
  ['{aggregationLength: {ipv4: 24}}', []],
  [
    '{aggregationLength: {ipv4: 33}}',
    [
      'spec.aggregationLength.ipv4: Invalid value: 33: spec.aggregationLength.ipv4 in body should be less than or equal to 32',
    ],
  ],
  [
    '{aggregationLength: {ipv6: 8}}',
    [
      'spec.aggregationLength.ipv6: Invalid value: 8: spec.aggregationLength.ipv6 in body should be greater than or equal to 16',
    ],
  ],
  [
    '{linkBandwidth: Pods}',
    ['spec.linkBandwidth: Unsupported value: "Pods": supported values: "None", "Endpoints"', RULES_NOT_RUN],
  ],
  ['{peers: [leaf1, leaf1]}', ['spec.peers[1]: Duplicate value: "leaf1"']],
])('%s: %o', (spec, errors) => {
  expect(bgpPolicy(policy(spec)).errors).toEqual(errors)
})
