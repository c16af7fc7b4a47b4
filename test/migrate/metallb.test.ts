// MetalLB field by field: what the spec of one object becomes, and the words for what it does not.

import { describe, expect, test } from 'vitest'
import type { RawObject } from '../../src/k8s/json.ts'
import { migrate } from '../../src/migrate/migrate.ts'
import type { Migration } from '../../src/migrate/types.ts'
import { yaml } from './cases.ts'

const meta = (kind: string, name: string, spec: string, version = 'v1beta1'): string =>
  `---\n{apiVersion: metallb.io/${version}, kind: ${kind}, metadata: {name: ${name}, namespace: metallb-system}, spec: ${spec}}\n`
const peerOf = (spec: string, name = 'tor'): string =>
  meta('BGPPeer', name, `{myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, ${spec}}`, 'v1beta2')
const pool = (name: string, more = ''): string =>
  meta('IPAddressPool', name, `{addresses: [203.0.113.${name.length}0/31]${more === '' ? '' : `, ${more}`}}`)
const bgp = (name: string, spec = '{}'): string => meta('BGPAdvertisement', name, spec)
const l2 = (name: string, spec = '{}'): string => meta('L2Advertisement', name, spec)

const convert = (text: string): Migration => migrate(yaml(text), { from: 'metallb', services: [] })
const specs = ({ objects }: Migration, kind: string): Readonly<Record<string, RawObject>> =>
  Object.fromEntries(
    objects.flatMap(({ object }) => (object.kind === kind ? [[object.metadata.name, object.spec]] : [])),
  )
/** All notes as lines: level, path, text. */
const notes = ({ objects, without }: Migration): readonly string[] =>
  [...objects.flatMap(({ origins }) => origins), ...without].flatMap((origin) =>
    origin.notes.map(({ level, path, text }) => `${level} ${path}: ${text}`),
  )
const noteOn = (migration: Migration, path: string): string =>
  notes(migration).find((line) => line.split(' ')[1] === `${path}:`) ?? ''

describe('a BGPPeer', () => {
  test.each<[string, string, RawObject]>([
    ['a hold time alone', 'holdTime: 90s', { timers: { holdSeconds: 90 } }],
    ['a keepalive time alone means three times as much', 'keepaliveTime: 3s', { timers: { holdSeconds: 9 } }],
    ['hours, minutes and seconds', 'holdTime: 1h1m1s', { timers: { holdSeconds: 3661 } }],
    ['no hold time at all', 'holdTime: 0s', { timers: { holdSeconds: 0 } }],
    ['both, as Bellhop would choose them', 'holdTime: 9s, keepaliveTime: 3s', { timers: { holdSeconds: 9 } }],
    ['a connect time', 'connectTime: 7s', { timers: { connectRetrySeconds: 7 } }],
    ['the usual port', 'peerPort: 179', {}],
    ['multihop', 'ebgpMultiHop: true', { ebgpMultihop: { ttl: 255 } }],
    ['no multihop', 'ebgpMultiHop: false', {}],
    ['all nodes', 'nodeSelectors: []', {}],
    ['all nodes in other words', 'nodeSelectors: [{}]', {}],
  ])('with %s', (_, spec, expected) => {
    const migration = convert(peerOf(spec))
    expect(specs(migration, 'BgpPeer')).toEqual({ tor: { address: '10.0.0.1', asn: 64513, ...expected } })
    expect(notes(migration).filter((line) => line.startsWith('problem'))).toEqual([])
  })

  test.each<[string, string, string]>([
    ['a keepalive time that risks the session', 'holdTime: 9s, keepaliveTime: 8s', 'spec.keepaliveTime'],
    ['a hold time that is none', 'holdTime: 2s', 'spec.holdTime'],
    ['a duration that is none', 'holdTime: soon', 'spec.holdTime'],
    ['a port that is none', 'peerPort: 70000', 'spec.peerPort'],
    ['a port that is text', 'peerPort: bgp', 'spec.peerPort'],
    ['graceful restart', 'enableGracefulRestart: true', 'spec.enableGracefulRestart'],
    ['a router id', 'routerID: 10.0.0.9', 'spec.routerID'],
  ])('with %s is converted without it, and says so', (_, spec, path) => {
    const migration = convert(peerOf(spec))
    const { tor } = specs(migration, 'BgpPeer')
    expect({ address: tor?.['address'], port: tor?.['port'] }).toEqual({ address: '10.0.0.1', port: undefined })
    expect(noteOn(migration, path)).not.toBe('')
  })

  test.each<[string, string]>([
    ['no address', '{myASN: 1, peerASN: 2}'],
    ['a name for an address', '{myASN: 1, peerASN: 2, peerAddress: tor1.example}'],
    ['a link-local address', '{myASN: 1, peerASN: 2, peerAddress: "fe80::1"}'],
    ['a multicast address', '{myASN: 1, peerASN: 2, peerAddress: 224.0.0.5}'],
    ['no AS number', '{myASN: 1, peerAddress: 10.0.0.1}'],
    ['a reserved AS number', '{myASN: 1, peerASN: 23456, peerAddress: 10.0.0.1}'],
    ['an AS number to be found out', '{myASN: 1, dynamicASN: external, peerAddress: 10.0.0.1}'],
    ['an interface', '{myASN: 1, peerASN: 2, interface: eth0}'],
  ])('with %s is left out, and that is a problem', (_, spec) => {
    const migration = convert(meta('BGPPeer', 'tor', spec, 'v1beta2'))
    expect(migration.objects).toEqual([])
    expect(notes(migration).filter((line) => line.startsWith('problem')).length).toBeGreaterThan(0)
  })

  test('of the first API version is the same', () => {
    const older = meta('BGPPeer', 'tor', '{myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, holdTime: 30s}')
    expect(convert(older)).toEqual(convert(peerOf('holdTime: 30s')))
  })

  test('given twice counts as it comes last', () => {
    expect(specs(convert(peerOf('peerPort: 1') + peerOf('peerPort: 2')), 'BgpPeer')).toMatchObject({ tor: { port: 2 } })
  })

  test('multihop is meant for other ASes only', () => {
    const migration = convert(
      meta('BGPPeer', 'rr', '{myASN: 1, peerASN: 1, peerAddress: 10.0.0.1, ebgpMultiHop: true}', 'v1beta2'),
    )
    expect(specs(migration, 'BgpPeer')['rr']).toEqual({ address: '10.0.0.1', asn: 1 })
    expect(noteOn(migration, 'spec.ebgpMultiHop')).toContain('our own AS')
  })
})

describe('IPAddressPools', () => {
  test.each<[string, readonly string[], Readonly<Record<string, number | undefined>>]>([
    ['without allocation rules need no numbers', [pool('a'), pool('bb')], { a: undefined, bb: undefined }],
    [
      'that are bound, but without numbers, need none: selective pools come first anyway',
      [pool('a'), pool('bb', 'serviceAllocation: {namespaces: [x]}')],
      { a: undefined, bb: undefined },
    ],
    [
      'with numbers keep them; 0 and none come after them, and pools without rules at the end',
      [
        pool('a', 'serviceAllocation: {priority: 20}'),
        pool('bb', 'serviceAllocation: {priority: 10}'),
        pool('ccc', 'serviceAllocation: {priority: 0, namespaces: [x]}'),
        pool('dddd', 'serviceAllocation: {namespaces: [y]}'),
        pool('eeeee'),
      ],
      { a: 20, bb: 10, ccc: 21, dddd: 21, eeeee: 22 },
    ],
  ])('%s', (_, pools, expected) => {
    const found = specs(convert(pools.join('')), 'VipPool')
    expect(Object.fromEntries(Object.entries(found).map(([name, spec]) => [name, spec['priority']]))).toEqual(expected)
  })

  test.each<[string, string, readonly string[]]>([
    ['spaces around the dash', '"203.0.113.1 -  203.0.113.9"', ['203.0.113.1-203.0.113.9']],
    ['host bits', '203.0.113.77/24', ['203.0.113.0/24']],
    ['IPv6', '"2001:db8::5/64"', ['2001:db8::/64']],
    ['one address', '203.0.113.5/32', ['203.0.113.5/32']],
    ['the same range twice', '203.0.113.0/24, 203.0.113.7/24', ['203.0.113.0/24']],
    ['something else beside a range', '203.0.113.0/24, everything', ['203.0.113.0/24']],
  ])('with %s', (_, addresses, expected) => {
    const migration = convert(meta('IPAddressPool', 'p', `{addresses: [${addresses}]}`))
    expect(specs(migration, 'VipPool')['p']?.['addresses']).toEqual(expected)
  })

  test('without a usable range become nothing, and that is a problem', () => {
    const migration = convert(meta('IPAddressPool', 'p', '{addresses: [203.0.113.9-203.0.113.1]}'))
    expect(migration.objects).toEqual([])
    expect(noteOn(migration, 'spec.addresses')).toContain('problem')
  })

  test('with selectors that are not one selector let in fewer, not more', () => {
    const migration = convert(
      pool('p', 'serviceAllocation: {serviceSelectors: [{matchLabels: {a: "1"}}, {matchLabels: {b: "1"}}]}'),
    )
    expect(specs(migration, 'VipPool')['p']?.['serviceSelector']).toEqual({ matchLabels: { a: '1' } })
    expect(noteOn(migration, 'spec.serviceAllocation.serviceSelectors')).toContain('problem')
  })
})

describe('how a pool is announced', () => {
  const modeOf = (text: string): unknown => specs(convert(text), 'VipPool')['p']?.['mode'] ?? 'bgp'

  test.each<[string, string, 'bgp' | 'layer2']>([
    ['an L2Advertisement', pool('p') + l2('l'), 'layer2'],
    ['an L2Advertisement of this pool', pool('p') + l2('l', '{ipAddressPools: [p]}'), 'layer2'],
    ['an L2Advertisement of another pool', pool('p') + pool('qq') + l2('l', '{ipAddressPools: [qq]}'), 'bgp'],
    ['both, but no router', pool('p') + l2('l') + bgp('b'), 'layer2'],
    ['both, and a router', pool('p') + l2('l') + bgp('b') + peerOf(''), 'bgp'],
  ])('%s', (_, text, mode) => {
    expect(modeOf(text)).toBe(mode)
  })

  test('by both at once is a problem', () => {
    const migration = convert(pool('p') + l2('l') + bgp('b') + peerOf(''))
    expect(notes(migration).some((line) => line.startsWith('problem : pool p is announced by BGP too'))).toBe(true)
  })
})

describe('what is announced to whom', () => {
  const two = peerOf('', 'a') + meta('BGPPeer', 'b', '{myASN: 64512, peerASN: 1, peerAddress: 10.0.0.2}', 'v1beta2')

  /** The policies that are not about attributes: pool, routers, priority. */
  const denied = (text: string): readonly unknown[] =>
    Object.values(specs(convert(text), 'BgpPolicy'))
      .filter((spec) => spec['announce'] === false)
      .map((spec) => [spec['pools'], spec['peers'] ?? 'all', spec['priority']])

  test.each<[string, string, readonly unknown[]]>([
    ['everything', pool('p') + bgp('x'), []],
    ['a pool to all routers', pool('p') + bgp('x', '{ipAddressPools: [p]}'), []],
    ['nothing: no advertisement', pool('p'), [[['p'], 'all', 1000]]],
    ['a pool to one router', pool('p') + bgp('x', '{peers: [a]}'), [[['p'], ['b'], 1000]]],
    ['a pool to a router that is not there', pool('p') + bgp('x', '{peers: [c]}'), [[['p'], 'all', 1000]]],
    [
      'some Services only',
      pool('p') + bgp('x', '{serviceSelectors: [{matchLabels: {a: "1"}}]}'),
      [[['p'], 'all', -1000]],
    ],
    [
      'some Services to one router, all to the other',
      pool('p') + bgp('x', '{peers: [a], serviceSelectors: [{matchLabels: {a: "1"}}]}') + bgp('y', '{peers: [b]}'),
      [[['p'], ['a'], -1000]],
    ],
  ])('%s', (_, text, expected) => {
    expect(denied(two + text)).toEqual(expected)
  })

  test('an advertisement that sets nothing becomes no policy', () => {
    expect(specs(convert(two + pool('p') + bgp('x', '{aggregationLength: 32}')), 'BgpPolicy')).toEqual({})
  })

  test('of a host route and an aggregate of the same pool the host route stays', () => {
    const migration = convert(
      two + pool('p') + bgp('host', '{communities: ["65535:65281"]}') + bgp('net', '{aggregationLength: 24}'),
    )
    expect(Object.keys(specs(migration, 'BgpPolicy'))).toEqual(['host'])
    expect(notes(migration).some((line) => line.startsWith('problem : left out: host announces'))).toBe(true)
  })

  test('a host route to one router and an aggregate to another do not meet', () => {
    const migration = convert(
      two + pool('p') + bgp('host', '{peers: [a], localPref: 7}') + bgp('net', '{peers: [b], aggregationLength: 24}'),
    )
    expect(specs(migration, 'BgpPolicy')).toEqual({
      host: { peers: ['a'], localPref: 7 },
      net: { peers: ['b'], aggregationLength: { ipv4: 24 } },
    })
  })

  test('nodes that all advertisements to a router agree on are those the router hears of', () => {
    const edge = 'nodeSelectors: [{matchLabels: {role: edge}}]'
    const agreed = convert(two + pool('p') + bgp('x', `{peers: [a], ${edge}}`) + bgp('y', '{peers: [b]}'))
    expect(specs(agreed, 'BgpPeer')['a']?.['nodeSelector']).toEqual({ matchLabels: { role: 'edge' } })
    expect(specs(agreed, 'BgpPeer')['b']?.['nodeSelector']).toBeUndefined()
    const not = convert(
      two + pool('p') + pool('qq') + bgp('x', `{ipAddressPools: [p], ${edge}}`) + bgp('y', '{ipAddressPools: [qq]}'),
    )
    expect(specs(not, 'BgpPeer')['a']?.['nodeSelector']).toBeUndefined()
    expect(noteOn(not, 'spec.nodeSelectors')).toContain('problem')
  })
})

describe('communities', () => {
  const policyOf = (communities: string, names: string, more = peerOf('')): Migration =>
    convert(
      pool('p') +
        more +
        meta('Community', 'names', `{communities: [${names}]}`) +
        bgp('x', `{communities: [${communities}]}`),
    )

  test.each<[string, string, string, readonly string[], RawObject | undefined]>([
    ['by number', '"64512:7", "large:1:2:3"', '', ['64512:7', '1:2:3'], undefined],
    ['by name', 'mine', '{name: mine, value: "64512:7"}', ['mine'], { mine: '64512:7' }],
    ['by a name with zeros in front', 'mine', '{name: mine, value: "0064512:007"}', ['mine'], { mine: '64512:7' }],
    ['by the name of a well-known one', 'no-export', '{name: no-export, value: "64512:7"}', ['64512:7'], undefined],
    ['by a name that is none', 'my one', '{name: my one, value: "64512:7"}', ['64512:7'], undefined],
    ['that nobody named', 'whose, "64512:7"', '', ['64512:7'], undefined],
  ])('%s', (_, communities, names, expected, named) => {
    const migration = policyOf(communities, names)
    expect(specs(migration, 'BgpPolicy')['x']?.['communities']).toEqual(expected)
    expect(specs(migration, 'BgpConf')['default']?.['communities']).toEqual(named)
  })

  test('stand in the policies where there is no BgpConf', () => {
    const migration = policyOf('mine', '{name: mine, value: "64512:7"}', '')
    expect(specs(migration, 'BgpPolicy')['x']?.['communities']).toEqual(['64512:7'])
    expect(specs(migration, 'BgpConf')).toEqual({})
  })
})

test('a ConfigMap that is not YAML is a problem, not a crash', () => {
  const broken = yaml(
    '{apiVersion: v1, kind: ConfigMap, metadata: {name: config, namespace: metallb-system}, data: {config: "peers: ["}}',
  )
  expect(notes(migrate(broken, { from: 'metallb' }))).toEqual(['problem data.config: is not YAML that could be read'])
})

test('an L2 or BGP status that MetalLB wrote is passed over, a kind that nobody knows is not', () => {
  const migration = convert(meta('ServiceL2Status', 's', '{}') + meta('NodeMagic', 'm', '{}'))
  expect(notes(migration)).toEqual(['problem : the kind NodeMagic has no equal in Bellhop'])
})
