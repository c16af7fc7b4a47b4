// What the configuration of a peer means for its packets, and which changes of it a session survives.

import { describe, expect, test } from 'vitest'
import type { PeerConfig } from '../../../src/bgp/speaker/protocol.ts'
import { dialOptionsOf, resettingChanges, socketOptionsOf } from '../../../src/bgp/speaker/session-config.ts'
import { asn, ip, ours, peerOf, router } from './bench.ts'

const peer = peerOf(ours, router)

describe('packets', () => {
  test.each<[string, Partial<PeerConfig>, object]>([
    ['eBGP: the TTL that is configured', { ttl: 1 }, { ttl: 1 }],
    ['eBGP multihop', { ttl: 5 }, { ttl: 5 }],
    ['iBGP: the TTL of the system', { localAsn: router.asn }, {}],
    ['GTSM, one hop (RFC 5082)', { ttlSecurityHops: 1 }, { ttl: 255, ttlMin: 255 }],
    ['GTSM, three hops', { ttlSecurityHops: 3 }, { ttl: 255, ttlMin: 253 }],
    ['GTSM on iBGP', { localAsn: router.asn, ttlSecurityHops: 1 }, { ttl: 255, ttlMin: 255 }],
    ['a password', { password: 'secret' }, { ttl: 1, password: 'secret' }],
  ])('%s', (_, change, options) => {
    expect(socketOptionsOf({ ...peer, ...change })).toEqual(options)
  })

  test('go where the configuration says', () => {
    const linkLocal = { address: ip('fe80::1'), zone: 'eth0', sourceAddress: ip('fe80::2'), port: 1790 }
    expect(dialOptionsOf({ ...peer, ...linkLocal })).toEqual({ ...linkLocal, ttl: 1 })
  })
})

describe('a session survives', () => {
  test.each<[string, Partial<PeerConfig>, readonly string[]]>([
    ['no change', {}, []],
    ['another table', { table: 'rack7' }, []],
    ['another limit of prefixes', { maxPrefixesIn: 5 }, []],
    ['another retry time', { connectRetrySeconds: 5 }, []],
    ['the same families, said again', { families: ['ipv4-unicast'] }, []],
    ['not another address', { address: ip('10.0.0.9') }, ['address']],
    ['not another AS', { peerAsn: asn(65009), localAsn: asn(65010) }, ['peerAsn', 'localAsn']],
    ['not another password', { password: 'secret' }, ['password']],
    ['not another next hop: its paths have other ids', { nextHop: 'self' }, ['nextHop']],
    [
      'not another graceful restart',
      { gracefulRestart: { restartSeconds: 60, longLivedSeconds: 0 } },
      ['gracefulRestart'],
    ],
  ])('%s', (_, change, resetting) => {
    expect(resettingChanges(peer, { ...peer, ...change }).toSorted()).toEqual(resetting.toSorted())
    expect(resettingChanges({ ...peer, ...change }, peer).toSorted()).toEqual(resetting.toSorted())
  })
})
