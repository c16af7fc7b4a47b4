// What a user sees after `kubectl apply` of a VipPool.
import { describe, expect, test } from 'vitest'
import { parseRange } from '../../src/net/range.ts'
import { judge, RULES_NOT_RUN, yaml } from './crd-files.ts'

const vipPool = judge('VipPool')
const pool = (spec: string) => yaml(`{metadata: {name: default}, spec: ${spec}}`)
const of = (range: string) => pool(`{addresses: ["${range}"]}`)

const GOOD = [
  '203.0.113.0/24',
  '203.0.113.7/32',
  '198.51.100.10-198.51.100.50',
  '198.51.100.250-198.51.101.5',
  '10.0.0.1-10.0.0.1',
  '203.0.113.9',
  '2001:db8:1::/64',
  '2001:DB8:1::/64',
  '2001:db8::1-2001:db8::ff',
  '2001:db8::7',
  '0.0.0.0/0',
]

const form = (text: string) =>
  `"${text}" is not an address, a network as 203.0.113.0/24, or a range as 203.0.113.10-203.0.113.50`

const BAD: readonly (readonly [string, string])[] = [
  ['203.0.113.300', form('203.0.113.300')],
  ['203.0.113.0/33', form('203.0.113.0/33')],
  ['203.0.113.0/', form('203.0.113.0/')],
  ['203.0.113.', form('203.0.113.')],
  ['203.0.113.1-203.0.113', form('203.0.113.1-203.0.113')],
  ['203.0.113.1-5', form('203.0.113.1-5')],
  ['203.0.113.1 - 203.0.113.5', form('203.0.113.1 - 203.0.113.5')],
  ['10.0.0.1-10.0.0.2-10.0.0.3', form('10.0.0.1-10.0.0.2-10.0.0.3')],
  ['203.0.113.1/24', '"203.0.113.1/24" has host bits set: write the network address'],
  ['2001:db8::1/64', '"2001:db8::1/64" has host bits set: write the network address'],
  ['10.0.0.1-2001:db8::1', '"10.0.0.1-2001:db8::1" mixes IPv4 and IPv6'],
  ['203.0.113.50-203.0.113.10', '"203.0.113.50-203.0.113.10" ends before it begins'],
  ['203.0.114.0-203.0.113.255', '"203.0.114.0-203.0.113.255" ends before it begins'],
]

describe('the addresses of a VipPool', () => {
  test.each(GOOD)('may be %s, which the allocator understands too', (range) => {
    expect(vipPool(of(range)).errors).toEqual([])
    expect(parseRange(range)).toMatchObject({ ok: true })
  })

  test.each(BAD)('may not be %s', (range, message) => {
    expect(vipPool(of(range)).errors).toEqual([`spec.addresses[0]: Invalid value: "${range}": ${message}`])
  })

  test('are judged where they are excluded as well', () => {
    expect(vipPool(pool('{addresses: [10.0.0.0/24], exclude: [10.0.0.1, 10.0.0.0/8/8]}')).errors).toEqual([
      `spec.exclude[1]: Invalid value: "10.0.0.0/8/8": ${form('10.0.0.0/8/8')}`,
    ])
  })

  test.each([
    ['{addresses: []}', 'spec.addresses: Invalid value: 0: spec.addresses in body should have at least 1 items'],
    ['{addresses: [10.0.0.1, 10.0.0.1]}', 'spec.addresses[1]: Duplicate value: "10.0.0.1"'],
  ])('%s are refused', (spec, error) => {
    expect(vipPool(pool(spec)).errors).toEqual([error])
  })

  test('must be there', () => {
    expect(vipPool(pool('{}')).errors[0]).toBe('spec.addresses: Required value')
  })
})

test('a VipPool is filled in', () => {
  expect(vipPool(of('10.0.0.0/24')).stored['spec']).toEqual({
    addresses: ['10.0.0.0/24'],
    exclude: [],
    autoAssign: true,
    priority: 0,
    avoidBuggyIPs: false,
    namespaces: [],
    sharing: 'SameNamespace',
    hold: '0s',
    disabled: false,
    mode: 'bgp',
    nextHops: 'Endpoints',
    endpointPolicy: 'Ready',
  })
})

describe('hold', () => {
  test.each(['0s', '30s', '5m', '1h30m', '720h'])('may be %s', (hold) => {
    expect(vipPool(pool(`{addresses: [10.0.0.1], hold: ${hold}}`)).errors).toEqual([])
  })
  test.each(['5', 'soon', '-5s', '721h', '1.5h'])('may not be %s', (hold) => {
    expect(vipPool(pool(`{addresses: [10.0.0.1], hold: "${hold}"}`)).errors).toEqual([
      `spec.hold: Invalid value: "${hold}": "${hold}" is not a duration such as 30s, 5m or 1h30m of at most 720h`,
    ])
  })
})

test.each([
  ['layer2: {interfaces: [eth0]}', ['spec.layer2: Invalid value: is only read with mode layer2']],
  ['mode: layer2, layer2: {interfaces: [eth0]}', []],
  ['mode: arp', ['spec.mode: Unsupported value: "arp": supported values: "bgp", "layer2"', RULES_NOT_RUN]],
  [
    'sharing: All',
    [
      'spec.sharing: Unsupported value: "All": supported values: "None", "SameNamespace", "AnyNamespace"',
      RULES_NOT_RUN,
    ],
  ],
  ['sharing: None, namespaces: [team-a]', []],
  [
    'namespaces: [Team_A]',
    [
      'spec.namespaces[0]: Invalid value: "Team_A": spec.namespaces[0] in body should match \'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$\'',
    ],
  ],
  [
    'namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}, serviceSelector: {matchLabels: {app: web}}',
    [],
  ],
])('a VipPool with %s: %o', (more, errors) => {
  expect(vipPool(pool(`{addresses: [10.0.0.1], ${more}}`)).errors).toEqual(errors)
})
