import { describe, expect, test } from 'vitest'
import type { BgpConf, BgpPeer, Secret } from '../../src/k8s/objects.ts'
import { parseRouterId } from '../../src/net/asn.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { planPeers } from '../../src/plan/peers.ts'
import type { PlanContext } from '../../src/plan/types.ts'
import { must } from '../../src/runtime/result.ts'
import { asn, conf, ip, meta, peer, view } from '../vip/cluster.ts'

const context: PlanContext = { serviceClass: { name: 'bellhop.io/bgp', handleDefault: true }, nodeLiveness: new Map() }
const { routerId: _, ...anonymous } = conf()

interface Given {
  readonly peers?: readonly BgpPeer[]
  readonly confs?: readonly BgpConf[]
  readonly secrets?: readonly Secret[]
  readonly context?: Partial<PlanContext>
}
const plan = ({ peers = [peer('leaf', '10.0.0.1')], confs = [conf()], secrets = [], context: over = {} }: Given) =>
  planPeers(view({ peers, confs, secrets }), { ...context, ...over }, () => 'all')

const secret = (name: string, data: Readonly<Record<string, Uint8Array>>): Secret => ({
  meta: meta(name, { namespace: 'bellhop-system' }),
  data: new Map(Object.entries(data)),
})
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const guarded = peer('leaf', '10.0.0.1', { passwordSecretRef: { name: 'md5', key: 'password' } })

test('a peer becomes a session with everything that was said, and the defaults of the rest', () => {
  expect(plan({})).toEqual({
    refusals: [],
    ranges: [],
    atNodes: [],
    routerId: '10.0.0.250',
    configs: [
      {
        name: 'leaf',
        address: '10.0.0.1',
        port: 179,
        peerAsn: 64513,
        localAsn: 64512,
        holdTimeSeconds: 90,
        keepaliveSeconds: 30,
        connectRetrySeconds: 10,
        ttl: 1,
        families: ['ipv4-unicast'],
        addPath: 'auto',
        nextHop: 'node',
        passive: false,
        maxPrefixesIn: 1000,
        table: 'all',
      },
    ],
  })
})

test.each<[string, Parameters<typeof peer>[2], Readonly<Record<string, unknown>>]>([
  ['eBGP over one hop', {}, { ttl: 1 }],
  ['eBGP over several hops', { ebgpMultihopTtl: 4 }, { ttl: 4 }],
  ['iBGP', { asn: asn(64512) }, { ttl: 255, localAsn: 64512, peerAsn: 64512 }],
  ['GTSM', { ttlSecurityHops: 1 }, { ttlSecurityHops: 1 }],
  [
    'BFD',
    { bfd: { transmitMs: 300, receiveMs: 200, multiplier: 4 } },
    { bfd: { transmitMs: 300, receiveMs: 200, multiplier: 4 } },
  ],
  ["the session's own AS", { localAsn: asn(65010) }, { localAsn: 65010 }],
  ['iBGP by its own AS', { localAsn: asn(64513) }, { ttl: 255 }],
  ['families', { families: ['ipv4-unicast', 'ipv6-unicast'] }, { families: ['ipv4-unicast', 'ipv6-unicast'] }],
  ['no families: that of the address', { families: [] }, { families: ['ipv4-unicast'] }],
  ['a source address', { sourceAddress: ip('10.0.0.9') }, { sourceAddress: '10.0.0.9' }],
  ['shutdown', { shutdown: 'maintenance' }, { shutdown: 'maintenance' }],
  [
    'its own graceful restart',
    { gracefulRestart: { enabled: true, restartSeconds: 60, longLivedSeconds: 5 } },
    { gracefulRestart: { restartSeconds: 60, longLivedSeconds: 5 } },
  ],
])('%s', (_, over, expected) => {
  expect(plan({ peers: [peer('leaf', '10.0.0.1', over)] }).configs[0]).toMatchObject(expected)
})

test('graceful restart is that of the BgpConf unless the peer says otherwise', () => {
  const on = conf({ gracefulRestart: { enabled: true, restartSeconds: 90, longLivedSeconds: 0 } })
  const off = peer('leaf', '10.0.0.1', { gracefulRestart: { enabled: false, restartSeconds: 90, longLivedSeconds: 0 } })
  expect(plan({ confs: [on] }).configs[0]?.gracefulRestart).toEqual({ restartSeconds: 90, longLivedSeconds: 0 })
  expect(plan({ confs: [on], peers: [off] }).configs[0]).not.toHaveProperty('gracefulRestart')
})

test('a password is the text of the Secret, as it is', () => {
  expect(
    plan({ peers: [guarded], secrets: [secret('md5', { password: bytes('gehe1m ü') })] }).configs[0]?.password,
  ).toBe('gehe1m ü')
})

const keyed = peer('leaf', '10.0.0.1', {
  bfd: {
    ...{ transmitMs: 300, receiveMs: 300, multiplier: 3 },
    authentication: { type: 'keyed-sha1', keyId: 7, secretRef: { name: 'bfd', key: 'password' } },
  },
})

test('the key of BFD is the text of its Secret', () => {
  const [config] = plan({
    peers: [keyed],
    secrets: [secret('bfd', { password: bytes('twenty octets of key') })],
  }).configs
  expect(config?.bfd).toEqual({
    ...{ transmitMs: 300, receiveMs: 300, multiplier: 3 },
    authentication: { type: 'keyed-sha1', keyId: 7, password: 'twenty octets of key' },
  })
})

// Every peer without a session, in an operator's words. Decision 10: no silent plain session.
test.each<[string, Given, string, string]>([
  ['no BgpConf', { confs: [] }, 'NoBgpConf', 'there is no BgpConf named default'],
  [
    'a BgpConf of another name',
    { confs: [conf({ meta: meta('mine') })] },
    'NoBgpConf',
    'there is no BgpConf named default; mine is ignored',
  ],
  [
    'no router id',
    { confs: [anonymous] },
    'NoRouterId',
    'BgpConf default has no routerId, and the Node that this controller is told to run on (NODE_NAME) is not there to make one of',
  ],
  ['no Secret', { peers: [guarded] }, 'SecretMissing', "there is no Secret md5 in Bellhop's namespace"],
  [
    'no such key',
    { peers: [guarded], secrets: [secret('md5', { other: bytes('x') })] },
    'SecretMissing',
    'Secret md5 has no key password',
  ],
  [
    'an empty password',
    { peers: [guarded], secrets: [secret('md5', { password: bytes('') })] },
    'PasswordInvalid',
    'the password in Secret md5, key password, is empty',
  ],
  [
    'a password of 81 bytes',
    { peers: [guarded], secrets: [secret('md5', { password: bytes(`ü${'x'.repeat(79)}`) })] },
    'PasswordInvalid',
    'the password in Secret md5, key password, has 81 bytes: TCP-MD5 takes at most 80',
  ],
  [
    'a password that is no text',
    { peers: [guarded], secrets: [secret('md5', { password: Uint8Array.of(0xff, 0xfe) })] },
    'PasswordInvalid',
    'the password in Secret md5, key password, is not UTF-8 text',
  ],
  ['no Secret for BFD', { peers: [keyed] }, 'SecretMissing', "there is no Secret bfd in Bellhop's namespace"],
  [
    'a BFD key of 21 bytes',
    { peers: [keyed], secrets: [secret('bfd', { password: bytes('x'.repeat(21)) })] },
    'PasswordInvalid',
    'the password in Secret bfd, key password, has 21 bytes: a BFD key takes at most 20',
  ],
  [
    'an address that is no host',
    { peers: [peer('leaf', '224.0.0.1')] },
    'AddressInvalid',
    '224.0.0.1 is a multicast address',
  ],
  [
    'a source address of the other family',
    { peers: [peer('leaf', '10.0.0.1', { sourceAddress: ip('fd00::1') })] },
    'AddressInvalid',
    'sourceAddress fd00::1 and address 10.0.0.1 are of different families',
  ],
  [
    'ebgpMultihop within one AS',
    { peers: [peer('leaf', '10.0.0.1', { asn: asn(64512), ebgpMultihopTtl: 2 })] },
    'TtlConflict',
    'ebgpMultihop is set, but AS 64512 is our own: iBGP sessions need none',
  ],
  [
    'a peer of the nodes that makes no sense on any',
    { peers: [peer('leaf', '10.0.0.1', { speaker: 'node', asn: asn(64512), ebgpMultihopTtl: 2 })] },
    'TtlConflict',
    'ebgpMultihop is set, but AS 64512 is our own: iBGP sessions need none',
  ],
])('%s is a refusal', (_, given, reason, message) => {
  const { configs, refusals } = plan(given)
  expect([configs, refusals]).toEqual([[], [{ peer: 'leaf', reason, message }]])
})

test('a password of 80 bytes is none', () => {
  expect(plan({ peers: [guarded], secrets: [secret('md5', { password: bytes('x'.repeat(80)) })] }).configs.length).toBe(
    1,
  )
})

test("a router id comes from this replica's own address where the BgpConf has none", () => {
  expect(
    plan({ confs: [anonymous], context: { defaultRouterId: must(parseRouterId('10.0.0.7')) } }).configs.length,
  ).toBe(1)
})

test('of two peers with one address the older keeps it; peers of the nodes have sessions of their own', () => {
  const twins = [
    peer('newer', '10.0.0.1', { meta: { creationTimestampMs: 2 } }),
    peer('older', '10.0.0.1', { meta: { creationTimestampMs: 1 } }),
    peer('nodes', '10.0.0.1', { speaker: 'node' }),
  ]
  const { configs, refusals, atNodes } = plan({ peers: twins })
  expect(configs.map(({ name }) => name)).toEqual(['older'])
  expect(atNodes.map(({ name }) => name)).toEqual(['nodes'])
  expect(refusals.map(({ peer: name, reason }) => [name, reason])).toEqual([['newer', 'AddressConflict']])
  expect(refusals[0]?.message).toBe(
    'BgpPeer older has the address 10.0.0.1 already: a second session needs another port or sourceAddress',
  )
})

describe('several sessions with one address', () => {
  type Over = Parameters<typeof peer>[2]
  const both = (first: Over, second: Over) =>
    plan({
      peers: [
        peer('older', '10.0.0.1', { meta: { creationTimestampMs: 1 }, ...first }),
        peer('newer', '10.0.0.1', { meta: { creationTimestampMs: 2 }, ...second }),
      ],
      secrets: [secret('a', { password: bytes('a') }), secret('b', { password: bytes('b') })],
    })
  const source = (last: number) => ({ sourceAddress: ip(`10.0.0.${last}`) })
  const password = (name: string) => ({ passwordSecretRef: { name, key: 'password' } })

  test.each<[string, Over, Over]>([
    ['at two ports of the router', {}, { port: 1790 }],
    ['from two of our addresses', source(8), source(9)],
    ['at two ports, each with a password of its own', password('a'), { port: 1790, ...password('b') }],
    ['one that we open and one that we wait for', { port: 1790 }, { passive: true }],
    [
      'that both are waited for, at two of our addresses',
      { passive: true, ...source(8) },
      { passive: true, ...source(9) },
    ],
  ])('%s can be had', (_, first, second) => {
    const { configs, refusals } = both(first, second)
    expect([configs.map(({ name }) => name), refusals]).toEqual([['newer', 'older'], []])
  })

  test.each<[string, Over, Over, string]>([
    [
      'one with a source address and one without',
      {},
      source(9),
      'BgpPeer older has the address 10.0.0.1 already: for two sessions each needs a sourceAddress of its own',
    ],
    [
      'two that are waited for at any address',
      { passive: true },
      { passive: true, port: 1790 },
      'BgpPeer older waits for connections from 10.0.0.1, too: nothing but a sourceAddress of its own tells its session from this one',
    ],
    [
      'two that are waited for with two passwords',
      { passive: true, ...source(8), ...password('a') },
      { passive: true, ...source(9), ...password('b') },
      'BgpPeer older waits for connections from 10.0.0.1 with another password: the kernel knows one for each address',
    ],
    [
      'two that are waited for, one with GTSM',
      { passive: true, ...source(8) },
      { passive: true, ...source(9), ttlSecurityHops: 1 },
      'BgpPeer older waits for connections from 10.0.0.1 with another ttlSecurity: the kernel knows one for each address',
    ],
  ])('%s: the newer one is refused', (_, first, second, message) => {
    const { configs, refusals } = both(first, second)
    expect(configs.map(({ name }) => name)).toEqual(['older'])
    expect(refusals).toEqual([{ peer: 'newer', reason: 'AddressConflict', message }])
  })
})

describe('a range', () => {
  const network = (name: string, text: string, over: Parameters<typeof peer>[2] = {}): BgpPeer => {
    const { address: _, ...rest } = peer(name, '10.0.0.1', over)
    return { ...rest, addressRange: must(parsePrefix(text)), passive: true }
  }

  test('has the settings of its sessions, beside peers with an address', () => {
    const { ranges, configs } = plan({
      peers: [network('leaves', '10.0.0.0/24', { maxSessions: 5 }), peer('leaf', '10.0.0.1')],
    })
    expect(configs.map(({ name }) => name)).toEqual(['leaf'])
    expect(ranges).toMatchObject([{ name: 'leaves', range: '10.0.0.0/24', maxSessions: 5, peerAsn: 64513, ttl: 1 }])
    expect(ranges[0]).not.toHaveProperty('address')
  })

  test('has nothing to do with a router whose own BgpPeer can not be used', () => {
    const { ranges } = plan({ peers: [network('leaves', '10.0.0.0/24'), guarded] })
    expect(ranges[0]?.except).toEqual(['10.0.0.1'])
  })

  test.each<[string, Given, string]>([
    [
      'that is there twice',
      { peers: [network('a', '10.0.0.0/24'), network('b', '10.0.0.0/24')] },
      'BgpPeer a has the addressRange 10.0.0.0/24 already',
    ],
    [
      'while nobody listens',
      { peers: [network('a', '10.0.0.0/24')], confs: [conf({ listenPort: 0 })] },
      'nobody can connect: BgpConf default has listenPort 0',
    ],
    [
      'of nodes',
      { peers: [network('a', '10.0.0.0/24', { speaker: 'node' })] },
      'addressRange is for routers that connect to the controllers: agents do not listen',
    ],
  ])('%s is refused', (_, given, message) => {
    expect(plan(given).refusals.map((refusal) => refusal.message)).toEqual([message])
  })
})

test('one bad peer costs no other', () => {
  const { configs, refusals } = plan({ peers: [guarded, peer('other', '10.0.0.2')] })
  expect([configs.map(({ name }) => name), refusals.map(({ peer: name }) => name)]).toEqual([['other'], ['leaf']])
})
