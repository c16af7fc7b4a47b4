// Our own kinds from raw objects: defaults where nothing is said, and refusals that name the path and say it in operators' words.

import { expect, test } from 'vitest'
import { type Kind, matchesSelector } from '../../../src/k8s/objects.ts'
import { type KindValues, parseObject } from '../../../src/k8s/schemas/parse.ts'
import { parseDurationSeconds } from '../../../src/k8s/schemas/selector.ts'
import { renderRange } from '../../../src/net/range.ts'

const raw = (spec: unknown, metadata: Record<string, unknown> = {}, status?: unknown): unknown => ({
  metadata: {
    name: 'x',
    uid: 'u',
    resourceVersion: '7',
    generation: 3,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...metadata,
  },
  spec,
  ...(status === undefined ? {} : { status }),
})

function value<K extends Kind>(kind: K, object: unknown): KindValues[K] {
  const parsed = parseObject(kind, object)
  if (parsed.type !== 'value') throw new Error(JSON.stringify(parsed))
  return parsed.value
}

function problems(kind: Kind, object: unknown): readonly string[] {
  const parsed = parseObject(kind, object)
  return parsed.type === 'refusal' ? parsed.refusal.problems.map(({ path, message }) => `${path}: ${message}`) : []
}

// ----------------------------------------------------------------------------------------------------- defaults

test('a BgpConf that says only its AS number has every default', () => {
  const { meta, ...conf } = value('BgpConf', raw({ asn: 64512 }))
  expect(meta).toMatchObject({ name: 'x', namespace: '', generation: 3, deleting: false })
  expect(conf).toEqual({
    asn: 64512,
    listenPort: 179,
    listenAddresses: [],
    gracefulRestart: { enabled: false, restartSeconds: 120, longLivedSeconds: 0 },
    origin: 'IGP',
    maxNextHops: 0,
    withdrawGuard: { percent: 50, minimumVips: 20 },
    drainGraceSeconds: 30,
    communities: new Map(),
    status: {},
  })
})

test('a BgpPeer that says only who and where has every default', () => {
  const { meta: _meta, ...peer } = value('BgpPeer', raw({ address: '10.0.0.1', asn: 4_200_000_000 }))
  expect(peer).toEqual({
    address: '10.0.0.1',
    asn: 4_200_000_000,
    maxSessions: 100,
    port: 179,
    timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 10 },
    families: ['ipv4-unicast'],
    addPath: 'auto',
    nextHop: 'node',
    speaker: 'controller',
    nodeSelector: { matchLabels: {}, matchExpressions: [] },
    passive: false,
    maxPrefixesIn: 1000,
    status: {},
  })
})

test('a BgpPeer with a range waits for routers, and speaks the family of the range', () => {
  expect(value('BgpPeer', raw({ addressRange: '2001:db8::/64', asn: 1, maxSessions: 7 }))).toMatchObject({
    addressRange: '2001:db8::/64',
    maxSessions: 7,
    passive: true,
    families: ['ipv6-unicast'],
  })
})

test('a VipPool that says only its addresses has every default', () => {
  const { meta: _meta, ranges, ...pool } = value('VipPool', raw({ addresses: ['203.0.113.0/24'] }))
  expect(ranges.map(renderRange)).toEqual(['203.0.113.0-203.0.113.255'])
  expect(pool).toEqual({
    autoAssign: true,
    priority: 0,
    avoidBuggyIPs: false,
    namespaces: [],
    sharing: 'SameNamespace',
    holdSeconds: 0,
    disabled: false,
    mode: 'bgp',
    layer2: { interfaces: [] },
    nextHops: 'Endpoints',
    endpointPolicy: 'Ready',
    status: {},
  })
})

test('an empty BgpPolicy has every default', () => {
  const { meta: _meta, ...policy } = value('BgpPolicy', raw({}))
  expect(policy).toEqual({
    priority: 0,
    pools: [],
    peers: [],
    communities: [],
    prepend: 0,
    aggregationLength: { ipv4: 32, ipv6: 128 },
    linkBandwidth: 'None',
    announce: true,
  })
  expect(value('BgpPolicy', raw(undefined))).toMatchObject({ announce: true })
})

// -------------------------------------------------------------------------------------------------- what is read

test.each<[string, unknown, Partial<KindValues['BgpPeer']>]>([
  [
    'BFD with a key, meticulous unless it says otherwise',
    { bfd: { authentication: { secretRef: { name: 'bfd' } } } },
    {
      bfd: {
        ...{ transmitMs: 300, receiveMs: 300, multiplier: 3 },
        authentication: { type: 'meticulous-keyed-sha1', keyId: 1, secretRef: { name: 'bfd', key: 'password' } },
      },
    },
  ],
  [
    'BFD with another key',
    { bfd: { authentication: { type: 'KeyedSHA1', keyId: 0, secretRef: { name: 'bfd', key: 'k' } } } },
    {
      bfd: {
        ...{ transmitMs: 300, receiveMs: 300, multiplier: 3 },
        authentication: { type: 'keyed-sha1', keyId: 0, secretRef: { name: 'bfd', key: 'k' } },
      },
    },
  ],
  [
    'a link-local router with its interface',
    { address: 'fe80::1%eth0' },
    { address: 'fe80::1' as never, zone: 'eth0', families: ['ipv6-unicast'] },
  ],
  ['an IPv6 address in another spelling', { address: '2001:DB8:0:0::1' }, { address: '2001:db8::1' as never }],
  ['null as absent', { localAsn: null, sourceAddress: null, shutdown: null, gracefulRestart: null }, { port: 179 }],
  [
    'a hold time; keepalives come at a third of it',
    { timers: { holdSeconds: 9 } },
    { timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 10 } },
  ],
  [
    'no hold time at all',
    { timers: { holdSeconds: 0 } },
    { timers: { holdSeconds: 0, keepaliveSeconds: 0, connectRetrySeconds: 10 } },
  ],
  ['multihop without a number', { ebgpMultihop: {} }, { ebgpMultihopTtl: 2 }],
  ['TTL security without a number', { ttlSecurity: {} }, { ttlSecurityHops: 1 }],
  ['BFD without numbers', { bfd: {} }, { bfd: { transmitMs: 300, receiveMs: 300, multiplier: 3 } }],
  [
    'graceful restart named is graceful restart wanted',
    { gracefulRestart: {} },
    { gracefulRestart: { enabled: true, restartSeconds: 120, longLivedSeconds: 0 } },
  ],
  [
    'both families, once each',
    { families: ['ipv6-unicast', 'ipv4-unicast', 'ipv6-unicast'] },
    { families: ['ipv6-unicast', 'ipv4-unicast'] },
  ],
  [
    'a Secret without a key',
    { passwordSecretRef: { name: 'md5' } },
    { passwordSecretRef: { name: 'md5', key: 'password' } },
  ],
  ['an empty shutdown message, which is down all the same', { shutdown: '' }, { shutdown: '' }],
])('a peer with %s', (_what, spec, expected) => {
  expect(value('BgpPeer', raw({ address: '10.0.0.1', asn: 64513, ...(spec as object) }))).toMatchObject(expected)
})

test.each<[readonly string[], readonly string[], readonly string[]]>([
  [['203.0.113.0/30'], ['203.0.113.1'], ['203.0.113.0', '203.0.113.2-203.0.113.3']],
  [['203.0.113.10-203.0.113.20', '203.0.113.15 - 203.0.113.30'], [], ['203.0.113.10-203.0.113.30']],
  [['2001:db8:1::/126', '203.0.113.7'], [], ['203.0.113.7', '2001:db8:1::-2001:db8:1::3']],
  [['203.0.113.0/24'], ['203.0.113.0/25', '203.0.113.128/25'], []],
  [['203.0.113.0/24'], ['2001:db8::/32'], ['203.0.113.0-203.0.113.255']],
])('a pool of %j without %j is %j', (addresses, exclude, expected) => {
  expect(value('VipPool', raw({ addresses, exclude })).ranges.map(renderRange)).toEqual(expected)
})

test('a pool keeps the difference between no selector and an empty one', () => {
  const pool = value(
    'VipPool',
    raw({
      addresses: ['203.0.113.0/24'],
      namespaceSelector: {},
      layer2: { nodeSelector: { matchExpressions: [{ key: 'rack', operator: 'NotIn', values: ['r1'] }] } },
    }),
  )
  expect(pool.namespaceSelector).toEqual({ matchLabels: {}, matchExpressions: [] })
  expect(pool.serviceSelector).toBeUndefined()
  expect(pool.layer2.nodeSelector && matchesSelector(pool.layer2.nodeSelector, { rack: 'r1' })).toBe(false)
})

test('communities: numbers are parsed, names are kept for BgpConf to explain, well-known ones are known', () => {
  expect(
    value('BgpPolicy', raw({ communities: ['64512:100', '64512:1:2', 'no-export', 'premium'] })).communities,
  ).toEqual([
    { kind: 'standard', value: 64512 * 65536 + 100 },
    { kind: 'large', value: '64512:1:2' },
    { kind: 'standard', value: 0xffff_ff01 },
    { kind: 'name', value: 'premium' },
  ])
  expect(value('BgpConf', raw({ asn: 1, communities: { premium: '64512:100' } })).communities.get('premium')).toEqual({
    kind: 'standard',
    value: 64512 * 65536 + 100,
  })
})

test('a Vip carries its claims and its hold', () => {
  const claim = { namespace: 'default', name: 'web', uid: 'u1', ports: [{ protocol: 'UDP', port: 53 }] }
  expect(
    value('Vip', raw({ address: '203.0.113.10', pool: 'p', services: [claim] }, { name: '203.0.113.10' })),
  ).toMatchObject({
    address: '203.0.113.10',
    services: [{ ...claim, shareKey: '' }],
  })
  const restricted = { ...claim, sourceRanges: ['10.0.0.0/8'] }
  expect(
    value('Vip', raw({ address: '203.0.113.10', pool: 'p', services: [restricted] }, { name: '203.0.113.10' }))
      .services,
  ).toEqual([{ ...restricted, shareKey: '' }])
  const hold = { namespace: 'default', name: 'web', until: '2026-01-01T00:00:00Z' }
  expect(
    value(
      'Vip',
      raw(
        { address: '2001:db8::1', pool: 'p', services: [], hold },
        { name: '2001-0db8-0000-0000-0000-0000-0000-0001' },
      ),
    ).hold,
  ).toEqual({ namespace: 'default', name: 'web', untilMs: Date.UTC(2026, 0, 1) })
})

test('the status comes along as it is', () => {
  expect(value('BgpPeer', raw({ address: '10.0.0.1', asn: 1 }, {}, { state: 'Idle' })).status).toEqual({
    state: 'Idle',
  })
})

// -------------------------------------------------------------------------------------------------------- refusals

test.each<[Kind, unknown, readonly string[]]>([
  ['BgpConf', {}, ['spec.asn: is needed: the AS number Bellhop speaks as']],
  ['BgpConf', { asn: 23456 }, ['spec.asn: 23456 is a reserved AS number that no speaker may use']],
  ['BgpConf', { asn: '64512' }, ['spec.asn: must be a whole number from 0 to 4294967295, not "64512"']],
  [
    'BgpConf',
    { asn: 1, routerId: '0.0.0.0' },
    ['spec.routerId: "0.0.0.0" is no router id: four octets like 10.0.0.5, not 0.0.0.0'],
  ],
  [
    'BgpConf',
    { asn: 1, listenAddresses: ['::1', 'eth0'] },
    ['spec.listenAddresses[1]: "eth0" is no IPv4 or IPv6 address'],
  ],
  [
    'BgpConf',
    { asn: 1, communities: { a: '70000:1' } },
    ['spec.communities.a: "70000:1" is no community: write 64512:100, 64512:1:2 or a well-known name'],
  ],
  ['BgpConf', { asn: 1, origin: 'EGP' }, ['spec.origin: must be one of IGP, INCOMPLETE, not "EGP"']],
  ['BgpConf', { asn: 1, gracefulRestart: [] }, ['spec.gracefulRestart: must be an object, not a list']],
  [
    'BgpPeer',
    { address: '10.0.0.1', addressRange: '10.0.0.0/24', asn: 1 },
    ['spec.addressRange: address and addressRange exclude each other'],
  ],
  [
    'BgpPeer',
    { addressRange: '10.0.0.1/24', asn: 1 },
    ['spec.addressRange: "10.0.0.1/24" has bits set beyond its length'],
  ],
  ['BgpPeer', { addressRange: '10.0.0.1', asn: 1 }, ['spec.addressRange: "10.0.0.1" is no network as in 10.0.0.0/24']],
  [
    'BgpPeer',
    { addressRange: '10.0.0.0/24', asn: 1, sourceAddress: '10.0.0.9', speaker: 'node' },
    [
      'spec.sourceAddress: is for sessions that we open: with addressRange the routers do',
      'spec.speaker: is for sessions that nodes open: agents do not listen, so addressRange is for controllers',
    ],
  ],
  [
    'BgpPeer',
    { asn: 1 },
    ["spec.address: is needed: the router's address (or an addressRange for routers that connect to us)"],
  ],
  [
    'BgpPeer',
    { address: 'leaf1.example.com', asn: 1 },
    ['spec.address: "leaf1.example.com" is no IPv4 or IPv6 address'],
  ],
  [
    'BgpPeer',
    { address: 'fe80::1', asn: 1 },
    ['spec.address: fe80::1 is link-local: name the interface too, as in fe80::1%eth0'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1%eth0', asn: 1 },
    ['spec.address: only link-local IPv6 addresses have an interface (%eth0)'],
  ],
  ['BgpPeer', { address: '224.0.0.5', asn: 1 }, ['spec.address: 224.0.0.5 is a multicast address']],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, sourceAddress: '::1' },
    ["spec.sourceAddress: ::1 and the router's 10.0.0.1 are of different IP families"],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, timers: { holdSeconds: 2 } },
    ['spec.timers.holdSeconds: 2 is too short: 0 (never) or at least 3 seconds'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, timers: { holdSeconds: 9, keepaliveSeconds: 9 } },
    ['spec.timers.keepaliveSeconds: must be shorter than the hold time of 9 seconds'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, ebgpMultihop: { ttl: 2 }, ttlSecurity: { hops: 1 } },
    ['spec.ttlSecurity: ebgpMultihop and ttlSecurity exclude each other'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, speaker: 'node', passive: true },
    ['spec.passive: nodes dial and do not listen: a peer with speaker node cannot be passive'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, addPath: 'no' },
    ['spec.addPath: must be one of auto, require, disabled, not "no"'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, addPath: false },
    ['spec.addPath: must be one of auto, require, disabled, not false'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, families: ['vpnv4'] },
    ['spec.families[0]: "vpnv4" is none of ipv4-unicast, ipv6-unicast'],
  ],
  [
    'BgpPeer',
    { address: '10.0.0.1', asn: 1, passwordSecretRef: {} },
    ['spec.passwordSecretRef.name: is needed: the Secret in the namespace of Bellhop'],
  ],
  [
    'BgpPeer',
    { address: 'x', asn: 0, port: 0 },
    [
      'spec.address: "x" is no IPv4 or IPv6 address',
      'spec.asn: 0 is a reserved AS number that no speaker may use',
      'spec.port: must be a whole number from 1 to 65535, not 0',
    ],
  ],
  ['VipPool', {}, ['spec.addresses: is needed: prefixes (203.0.113.0/24) or ranges (first-last)']],
  [
    'VipPool',
    { addresses: ['203.0.113.1/24', '203.0.113.9-203.0.113.1', '10.0.0.1-2001:db8::1', 'all'] },
    [
      'spec.addresses[0]: "203.0.113.1/24" has host bits set: write the network address, or a range',
      'spec.addresses[1]: "203.0.113.9-203.0.113.1" ends before it begins',
      'spec.addresses[2]: "10.0.0.1-2001:db8::1" goes from one IP family to the other',
      'spec.addresses[3]: "all" is no address, prefix (a.b.c.d/n) or range (first-last)',
    ],
  ],
  [
    'VipPool',
    { addresses: ['224.0.0.0/8'] },
    ['spec.addresses: 224.0.0.0-224.255.255.255: 224.0.0.0 is a multicast address, no Service can have it'],
  ],
  [
    'VipPool',
    { addresses: ['fe80::10-fe80::20'] },
    ['spec.addresses: fe80::10-fe80::20: fe80::10 is a link-local address, no Service can have it'],
  ],
  [
    'VipPool',
    { addresses: ['203.0.113.0/24'], hold: '5 minutes' },
    ['spec.hold: "5 minutes" is no duration: write it like 30s, 5m or 1h30m'],
  ],
  [
    'VipPool',
    {
      addresses: ['203.0.113.0/24'],
      serviceSelector: {
        matchExpressions: [{ key: 'a', operator: 'In' }, { operator: 'Exists', values: ['b'] }, { key: 'c' }],
      },
    },
    [
      'spec.serviceSelector.matchExpressions[0].values: In needs at least one value',
      'spec.serviceSelector.matchExpressions[1].key: a label key is needed',
      'spec.serviceSelector.matchExpressions[1].values: Exists takes no values',
      'spec.serviceSelector.matchExpressions[2].operator: is needed: one of In, NotIn, Exists, DoesNotExist',
    ],
  ],
  [
    'BgpPolicy',
    { communities: ['64512:', '1:2:3:4'] },
    [
      'spec.communities[0]: "64512:" is neither a community (64512:100, 64512:1:2) nor a name that BgpConf could define',
      'spec.communities[1]: "1:2:3:4" is neither a community (64512:100, 64512:1:2) nor a name that BgpConf could define',
    ],
  ],
  [
    'BgpPolicy',
    { med: -1, prepend: 1.5 },
    [
      'spec.med: must be a whole number from 0 to 4294967295, not -1',
      'spec.prepend: must be a whole number from 0 to 64, not 1.5',
    ],
  ],
  ['Vip', { pool: 'p' }, ['spec.address: is needed']],
  [
    'Vip',
    { address: '203.0.113.10', pool: 'p' },
    ['spec.address: 203.0.113.10 belongs to the object named 203.0.113.10: under another name it locks nothing'],
  ],
  [
    'BgpPeer',
    'nonsense',
    [
      'spec: must be an object, not "nonsense"',
      "spec.address: is needed: the router's address (or an addressRange for routers that connect to us)",
      "spec.asn: is needed: the router's AS number",
    ],
  ],
])('%s %j is refused in these words', (kind, spec, expected) => {
  expect(problems(kind, raw(spec))).toEqual(expected)
})

test.each<[string, number | undefined]>([
  ['0', 0],
  ['0s', 0],
  ['30s', 30],
  ['5m', 300],
  ['1h30m', 5400],
  ['1.5h', 5400],
  ['500ms', 0.5],
  ['', undefined],
  ['5', undefined],
  ['5d', undefined],
  ['-5s', undefined],
  ['5m ', undefined],
])('the duration "%s" is %s seconds', (text, seconds) => {
  const parsed = parseDurationSeconds(text)
  expect(parsed.ok ? parsed.value : undefined).toBe(seconds)
})
