// OpenELB and Porter field by field.

import { describe, expect, test } from 'vitest'
import type { RawObject } from '../../src/k8s/json.ts'
import { migrate } from '../../src/migrate/migrate.ts'
import type { Migration } from '../../src/migrate/types.ts'
import { yaml } from './cases.ts'

const object = (kind: string, name: string, spec: string, more = ''): string =>
  `---\n{apiVersion: network.kubesphere.io/v1alpha2, kind: ${kind}, metadata: {name: ${name}${more}}, spec: ${spec}}\n`
const conf = (spec = '{as: 50000}'): string => object('BgpConf', 'default', spec)
const peer = (spec = ''): string =>
  object('BgpPeer', 'tor', `{conf: {peerAs: 50001, neighborAddress: 192.168.0.5}${spec === '' ? '' : `, ${spec}`}}`)
const eip = (name: string, address: string, more = '', metadata = ''): string =>
  object('Eip', name, `{address: ${address}${more === '' ? '' : `, ${more}`}}`, metadata)
const isDefault = ', annotations: {eip.openelb.kubesphere.io/is-default-eip: "true"}'

const convert = (text: string): Migration => migrate(yaml(text), { from: 'openelb', services: [] })
const spec = ({ objects }: Migration, kind: string, name: string): RawObject | undefined =>
  objects.find((made) => made.object.kind === kind && made.object.metadata.name === name)?.object.spec

describe('a BgpConf', () => {
  test.each<[string, RawObject]>([
    ['{as: 50000}', { asn: 50000 }],
    ['{as: 4200000001}', { asn: 4200000001 }],
    ['{as: 50000, listenPort: 17900}', { asn: 50000, listenPort: 17900 }],
    ['{as: 50000, listenPort: 179}', { asn: 50000 }],
    ['{as: 50000, listenPort: -1}', { asn: 50000, listenPort: 0 }],
    ['{as: 50000, listenAddresses: [0.0.0.0, "::"]}', { asn: 50000 }],
  ])('%s', (written, expected) => {
    expect(spec(convert(conf(written)), 'BgpConf', 'default')).toEqual(expected)
  })
})

describe('a BgpPeer', () => {
  const base = { address: '192.168.0.5', asn: 50001 }

  test.each<[string, string, RawObject]>([
    ['nothing more', '', base],
    [
      'timers as text',
      'timers: {config: {holdTime: "30", keepaliveInterval: "10"}}',
      { ...base, timers: { holdSeconds: 30 } },
    ],
    [
      'timers as numbers',
      'timers: {config: {holdTime: 30, keepaliveInterval: 5}}',
      { ...base, timers: { holdSeconds: 30, keepaliveSeconds: 5 } },
    ],
    ['timers of zero, which mean the default', 'timers: {config: {holdTime: "0", connectRetry: "0"}}', base],
    ['multihop without a number', 'ebgpMultihop: {enabled: true}', { ...base, ebgpMultihop: { ttl: 255 } }],
    ['multihop that is off', 'ebgpMultihop: {enabled: false, multihopTtl: 4}', base],
    ['multihop of one hop', 'ebgpMultihop: {enabled: true, multihopTtl: 1}', base],
    [
      'families by number',
      'afiSafis: [{config: {family: {afi: 2, safi: 1}, enabled: true}}]',
      { ...base, families: ['ipv6-unicast'] },
    ],
    [
      'a family that is off',
      'afiSafis: [{config: {family: {afi: AFI_IP6, safi: SAFI_UNICAST}, enabled: false}}]',
      base,
    ],
  ])('with %s', (_, written, expected) => {
    expect(spec(convert(conf() + peer(written)), 'BgpPeer', 'tor')).toEqual(expected)
  })

  test('announces the nodes of its rack only where racks have AS numbers', () => {
    const rack = 'nodeSelector: {matchLabels: {openelb.kubesphere.io/rack: r1}}'
    const selected = { matchLabels: { 'openelb.kubesphere.io/rack': 'r1' } }
    const withRacks = convert(conf('{as: 50000, asPerRack: {r1: 50009}}') + peer(rack))
    expect(spec(withRacks, 'BgpPeer', 'tor')).toEqual({ ...base, localAsn: 50009, nodeSelector: selected })
    expect(spec(convert(conf() + peer(rack)), 'BgpPeer', 'tor')).toEqual(base)
  })
})

describe('which Eip a Service gets without naming one', () => {
  const chosen = (text: string): readonly unknown[] =>
    convert(text).objects.map(({ object: made }) => [
      made.metadata.name,
      made.spec['autoAssign'] ?? true,
      made.spec['priority'] ?? 0,
    ])

  test.each<[string, string, readonly unknown[]]>([
    ['the only one there is', eip('a', '10.0.0.1'), [['a', true, 0]]],
    [
      'the default one, and no other',
      eip('a', '10.0.0.1') + eip('b', '10.0.0.2', '', isDefault),
      [
        ['a', false, 0],
        ['b', true, 0],
      ],
    ],
    [
      'one that is bound to its namespace, lower priority first, and the default one after all of them',
      eip('a', '10.0.0.1', 'namespaces: [x], priority: 7') +
        eip('b', '10.0.0.2', 'namespaceSelector: {t: g}, priority: 3') +
        eip('c', '10.0.0.3', '', isDefault),
      [
        ['a', true, 7],
        ['b', true, 3],
        ['c', true, 8],
      ],
    ],
  ])('%s', (_, text, expected) => {
    expect(chosen(text)).toEqual(expected)
  })
})

test.each<[string, string]>([
  ['192.168.0.91', '192.168.0.91'],
  ['192.168.0.0/24', '192.168.0.0/24'],
  ['192.168.0.17/24', '192.168.0.0/24'],
  ['192.168.0.91-192.168.0.100', '192.168.0.91-192.168.0.100'],
])('the address %s of an Eip is %s in a VipPool', (written, expected) => {
  expect(spec(convert(eip('a', written)), 'VipPool', 'a')?.['addresses']).toEqual([expected])
})
