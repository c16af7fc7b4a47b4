// What a user sees after `kubectl apply` of a BgpPeer.
import { describe, expect, test } from 'vitest'
import { judge, yaml } from './crd-files.ts'

const bgpPeer = judge('BgpPeer')
const peer = (spec: string) => yaml(`{metadata: {name: leaf1}, spec: ${spec}}`)
const leaf = (more: string) => peer(`{address: 10.0.0.1, asn: 64513, ${more}}`)

describe('a BgpPeer is accepted', () => {
  test.each([
    ['an IPv4 router', '{address: 10.0.0.1, asn: 64513}'],
    ['an IPv6 router', '{address: "2001:db8::1", asn: 64513}'],
    ['a link-local router with its interface', '{address: "fe80::1%eth0", asn: 64513}'],
    ['a router on loopback', '{address: 127.0.0.1, port: 1790, asn: 64513}'],
    ['both families on one session', '{address: 10.0.0.1, asn: 1, families: [ipv4-unicast, ipv6-unicast]}'],
    ['GTSM', '{address: 10.0.0.1, asn: 1, ttlSecurity: {hops: 1}}'],
    ['no keepalives at all', '{address: 10.0.0.1, asn: 1, timers: {holdSeconds: 0, keepaliveSeconds: 30}}'],
    ['a short hold time by itself', '{address: 10.0.0.1, asn: 1, timers: {holdSeconds: 9}}'],
    ['no ADD-PATH', '{address: 10.0.0.1, asn: 1, addPath: disabled}'],
    ['a range', '{addressRange: 10.0.0.0/24, asn: 1, maxSessions: 20}'],
    ['a range of IPv6', '{addressRange: "2001:db8::/64", asn: 1}'],
    ['a range of link-local addresses', '{addressRange: "fe80::/10", asn: 1}'],
    ['a rack', '{address: 10.0.0.1, asn: 1, nodeSelector: {matchLabels: {rack: r1}}}'],
    ['an administrative shutdown without a text', '{address: 10.0.0.1, asn: 1, shutdown: ""}'],
    ['nulls where nothing is wanted', '{address: 10.0.0.1, asn: 1, localAsn: null, bfd: null, shutdown: null}'],
  ])('with %s', (_, spec) => {
    expect(bgpPeer(peer(spec))).toMatchObject({ errors: [], unknown: [] })
  })

  test('and filled in', () => {
    expect(bgpPeer(leaf('passwordSecretRef: {name: leaf1-md5}, bfd: {}')).stored['spec']).toEqual({
      address: '10.0.0.1',
      asn: 64513,
      port: 179,
      passwordSecretRef: { name: 'leaf1-md5', key: 'password' },
      timers: { holdSeconds: 90, connectRetrySeconds: 10 },
      bfd: { transmitMs: 300, receiveMs: 300, multiplier: 3 },
      addPath: 'auto',
      nextHop: 'node',
      speaker: 'controller',
      nodeSelector: {},
      passive: false,
      maxPrefixesIn: 1000,
    })
  })
})

const notAnAddress = (text: string) =>
  `spec.address: Invalid value: "${text}": "${text}" is not an IPv4 or IPv6 address`
const zoneRule = (text: string) =>
  `spec.address: Invalid value: "${text}": an interface (%eth0) belongs to an IPv6 link-local address, which needs one, and to no other address`

const oneAddress = 'spec: Invalid value: exactly one of address and addressRange says where the router is'

describe('a BgpPeer is refused', () => {
  test.each([
    ['{asn: 1}', oneAddress],
    ['{address: 10.0.0.1, addressRange: 10.0.0.0/24, asn: 1}', oneAddress],
    [
      '{addressRange: 10.0.0.1, asn: 1}',
      'spec.addressRange: Invalid value: "10.0.0.1": "10.0.0.1" is not a network as in 10.0.0.0/24',
    ],
    [
      '{addressRange: 10.0.0.1/24, asn: 1}',
      'spec.addressRange: Invalid value: "10.0.0.1/24": must have no bits set beyond its length',
    ],
    [
      '{addressRange: 10.0.0.0/24, asn: 1, sourceAddress: 10.0.0.9}',
      'spec.sourceAddress: Invalid value: is for sessions that we open; with addressRange the routers do',
    ],
    [
      '{addressRange: 10.0.0.0/24, asn: 1, speaker: node}',
      'spec.speaker: Invalid value: must be controller with addressRange, because the agents of nodes do not listen',
    ],
    [
      '{address: 10.0.0.1, asn: 1, maxSessions: 3}',
      'spec.maxSessions: Invalid value: is for addressRange; a router with an address has one session',
    ],
    ['{address: leaf1.example, asn: 1}', notAnAddress('leaf1.example')],
    ['{address: 10.0.0.0/24, asn: 1}', notAnAddress('10.0.0.0/24')],
    ['{address: 10.0.0.01, asn: 1}', notAnAddress('10.0.0.01')],
    ['{address: "fe80::1%eth0/1", asn: 1}', notAnAddress('fe80::1%eth0/1')],
    ['{address: "fe80::1%", asn: 1}', notAnAddress('fe80::1%')],
    ['{address: "fe80::1", asn: 1}', zoneRule('fe80::1')],
    ['{address: "2001:db8::1%eth0", asn: 1}', zoneRule('2001:db8::1%eth0')],
    ['{address: "10.0.0.1%eth0", asn: 1}', zoneRule('10.0.0.1%eth0')],
    [
      '{address: 10.0.0.1, asn: 65535}',
      'spec.asn: Invalid value: 65535: AS 23456 and 65535 are reserved and cannot be used on a session',
    ],
    [
      '{address: 10.0.0.1, asn: 1, localAsn: 23456}',
      'spec.localAsn: Invalid value: 23456: AS 23456 and 65535 are reserved and cannot be used on a session',
    ],
    [
      '{address: 10.0.0.1, asn: 1, port: 0}',
      'spec.port: Invalid value: 0: spec.port in body should be greater than or equal to 1',
    ],
    [
      '{address: 10.0.0.1, asn: 1, ebgpMultihop: {ttl: 2}, ttlSecurity: {hops: 1}}',
      'spec: Invalid value: ebgpMultihop and ttlSecurity exclude each other',
    ],
    [
      '{address: 10.0.0.1, asn: 1, speaker: node, passive: true}',
      'spec.passive: Invalid value: nodes dial and do not listen; a peer with speaker node cannot be passive',
    ],
    [
      '{address: 10.0.0.1, asn: 1, ebgpMultihop: {ttl: 1}}',
      'spec.ebgpMultihop.ttl: Invalid value: 1: spec.ebgpMultihop.ttl in body should be greater than or equal to 2',
    ],
    [
      '{address: 10.0.0.1, asn: 1, sourceAddress: "fd00::5"}',
      'spec.sourceAddress: Invalid value: must be of the same family as address',
    ],
    [
      '{address: 10.0.0.1, asn: 1, timers: {holdSeconds: 2}}',
      'spec.timers.holdSeconds: Invalid value: 2: must be 0 or at least 3 seconds',
    ],
    [
      '{address: 10.0.0.1, asn: 1, timers: {holdSeconds: 9, keepaliveSeconds: 4}}',
      'spec.timers.keepaliveSeconds: Invalid value: must be at most a third of holdSeconds, so that one lost keepalive drops no session',
    ],
    [
      '{address: 10.0.0.1, asn: 1, families: [ipv4-unicast, ipv4-unicast]}',
      'spec.families[1]: Duplicate value: "ipv4-unicast"',
    ],
    [
      '{address: 10.0.0.1, asn: 1, bfd: {multiplier: 1}}',
      'spec.bfd.multiplier: Invalid value: 1: spec.bfd.multiplier in body should be greater than or equal to 2',
    ],
    [
      '{address: 10.0.0.1, asn: 1, nodeSelector: {matchExpressions: [{key: rack, operator: In}]}}',
      'spec.nodeSelector.matchExpressions[0]: Invalid value: In and NotIn need values, Exists and DoesNotExist take none',
    ],
    [
      '{address: 10.0.0.1, asn: 1, passwordSecretRef: {name: Leaf_1}}',
      'spec.passwordSecretRef.name: Invalid value: "Leaf_1": spec.passwordSecretRef.name in body should match \'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$\'',
    ],
  ])('%s', (spec, error) => {
    expect(bgpPeer(peer(spec)).errors).toEqual([error])
  })

  test.each([
    ['{address: 10.0.0.1}', 'spec.asn: Required value'],
    ['{address: 10.0.0.1}', 'spec.asn: Required value'],
    ['{address: 10.0.0.1, asn: 1, passwordSecretRef: {}}', 'spec.passwordSecretRef.name: Required value'],
    [
      '{address: 10.0.0.1, asn: 1, families: [ipv4]}',
      'spec.families[0]: Unsupported value: "ipv4": supported values: "ipv4-unicast", "ipv6-unicast"',
    ],
    [
      '{address: 10.0.0.1, asn: 1, nextHop: nodes}',
      'spec.nextHop: Unsupported value: "nodes": supported values: "node", "self"',
    ],
    [
      '{address: 10.0.0.1, asn: 1, families: [ipv4-unicast, ipv6-unicast, ipv4-unicast]}',
      'spec.families: Too many: 3: must have at most 2 items',
    ],
  ])('%s, and the rules are left for later', (spec, error) => {
    const { errors } = bgpPeer(peer(spec))
    expect(errors[0]).toBe(error)
    expect(errors.at(-1)).toContain('some validation rules were not checked')
  })

  test('with off unquoted, which YAML takes for false', () => {
    expect(bgpPeer(leaf('addPath: off')).errors).toContain(
      'spec.addPath: Invalid value: "boolean": spec.addPath in body must be of type string: "boolean"',
    )
  })

  test('with a shutdown text that is too long on the wire although it is short to the eye', () => {
    expect(bgpPeer(leaf(`shutdown: "${'ü'.repeat(128)}"`)).errors).toEqual([
      `spec.shutdown: Invalid value: "${'ü'.repeat(128)}": must have at most 255 bytes in UTF-8`,
    ])
  })
})

test('a router may move to another address: the name is the identity', () => {
  expect(bgpPeer(peer('{address: 10.0.0.2, asn: 1}'), peer('{address: 10.0.0.1, asn: 1}')).errors).toEqual([])
})

test('a fault that an update leaves alone does not block the update', () => {
  const faulty = peer('{address: leaf1, asn: 1}')
  expect(bgpPeer(peer('{address: leaf1, asn: 2}'), faulty).errors).toEqual([])
  expect(bgpPeer(peer('{address: leaf2, asn: 1}'), faulty).errors).toEqual([notAnAddress('leaf2')])
})
