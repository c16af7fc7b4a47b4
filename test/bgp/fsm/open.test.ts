// The OPEN we send, the judgement of the one we receive (RFC 4271 section 6.2), and what the two agree on.

import { describe, expect, test } from 'vitest'
import { eventOfError, eventOfMessage } from '../../../src/bgp/fsm/classify.ts'
import { negotiate } from '../../../src/bgp/fsm/negotiate.ts'
import { createOpen, validateOpen } from '../../../src/bgp/fsm/open.ts'
import {
  sampleConfig,
  sampleContext,
  sampleEvents,
  samplePeerOpen,
  sampleStates,
} from '../../../src/bgp/fsm/render-table.ts'
import type { SessionConfig, SessionEvent } from '../../../src/bgp/fsm/session.ts'
import {
  type AddPathMode,
  afiSafiOf,
  type BgpMessage,
  type Capability,
  type OpenMessage,
} from '../../../src/bgp/packet/message.ts'
import { parseAsn } from '../../../src/net/asn.ts'
import { must } from '../../../src/runtime/result.ts'

const asn = (value: number) => must(parseAsn(value))
const v4 = afiSafiOf['ipv4-unicast']
const v6 = afiSafiOf['ipv6-unicast']
const fresh = { restarting: false, withoutCapabilities: [] }

const peerOpen = (changes: Partial<OpenMessage>): OpenMessage => ({ ...samplePeerOpen, ...changes })
const peerWith = (...capabilities: readonly Capability[]): OpenMessage => peerOpen({ capabilities })

const fourOctets: Capability = { type: 'four-octet-as', asn: 65001 }
const multiprotocol = (...families: readonly (typeof v4)[]): readonly Capability[] =>
  families.map((family) => ({ type: 'multiprotocol', ...family }))
const addPath = (...families: readonly (typeof v4 & { readonly mode: AddPathMode })[]): Capability => ({
  type: 'add-path',
  families,
})

describe('the OPEN we send', () => {
  test('announces families, IPv6 next hops, refresh, extended messages, four-octet AS and ADD-PATH for sending', () => {
    expect(createOpen({ ...sampleConfig, families: ['ipv4-unicast', 'ipv6-unicast'] }, fresh)).toEqual({
      type: 'OPEN',
      version: 4,
      myAs: 64512,
      holdTimeSeconds: 90,
      bgpIdentifier: 0x0a00_000a,
      capabilities: [
        { type: 'multiprotocol', afi: 1, safi: 1 },
        { type: 'multiprotocol', afi: 2, safi: 1 },
        { type: 'extended-next-hop', tuples: [{ ...v4, nextHopAfi: 2 }] },
        { type: 'route-refresh' },
        { type: 'enhanced-route-refresh' },
        { type: 'extended-message' },
        { type: 'four-octet-as', asn: 64512 },
        addPath({ ...v4, mode: 'send' }, { ...v6, mode: 'send' }),
      ],
    })
  })

  test('has AS_TRANS where the AS needs four octets (RFC 6793)', () => {
    const open = createOpen({ ...sampleConfig, localAsn: asn(4_200_000_000) }, fresh)
    expect(open.myAs).toBe(23456)
    expect(open.capabilities).toContainEqual({ type: 'four-octet-as', asn: 4_200_000_000 })
  })

  test('leaves ADD-PATH out when it is off', () => {
    const { capabilities } = createOpen({ ...sampleConfig, addPath: 'disabled' }, fresh)
    expect(capabilities.map(({ type }) => type)).not.toContain('add-path')
  })

  test('with graceful restart keeps F set, R while restarting, and at most 4095 s (RFC 4724)', () => {
    const config: SessionConfig = { ...sampleConfig, gracefulRestart: { restartSeconds: 9000, longLivedSeconds: 3600 } }
    const { capabilities } = createOpen(config, { ...fresh, restarting: true })
    expect(capabilities).toContainEqual({
      type: 'graceful-restart',
      restarting: true,
      notification: true,
      restartTimeSeconds: 4095,
      families: [{ ...v4, forwardingPreserved: true }],
    })
    expect(capabilities).toContainEqual({
      type: 'long-lived-graceful-restart',
      families: [{ ...v4, forwardingPreserved: true, staleTimeSeconds: 3600 }],
    })
  })
})

describe('the OPEN we receive', () => {
  const sent = createOpen(sampleConfig, fresh)
  const judge = (open: OpenMessage, config: SessionConfig = sampleConfig) => {
    const verdict = validateOpen(createOpen(config, fresh), open, config)
    return verdict.ok
      ? 'accepted'
      : [verdict.error.code, verdict.error.subcode, [...verdict.error.data], verdict.error.reason]
  }

  test.each<[string, Partial<OpenMessage>, readonly unknown[]]>([
    ['another version', { version: 3 }, [2, 1, [0, 4], 'the router speaks BGP version 3, not 4']],
    [
      'another AS',
      { myAs: 65010, capabilities: [{ type: 'four-octet-as', asn: 65010 }] },
      [2, 2, [], 'the router says its AS is 65010, BgpPeer leaf1 expects 65001'],
    ],
    [
      'AS 0 in the capability (RFC 7607)',
      { capabilities: [{ type: 'four-octet-as', asn: 0 }] },
      [2, 2, [], 'the router says its AS is 0, which no speaker may use (RFC 7607)'],
    ],
    [
      'AS 0 in the fixed field (RFC 7607)',
      { myAs: 0, capabilities: [] },
      [2, 2, [], 'the router says its AS is 0, which no speaker may use (RFC 7607)'],
    ],
    ['identifier 0 (RFC 6286)', { bgpIdentifier: 0 }, [2, 3, [], "the router's BGP identifier is 0.0.0.0"]],
    [
      'a hold time of 1 s',
      { holdTimeSeconds: 1 },
      [2, 6, [], 'the router asks for a hold time of 1 s; it must be 0 or at least 3'],
    ],
    [
      'a hold time of 2 s',
      { holdTimeSeconds: 2 },
      [2, 6, [], 'the router asks for a hold time of 2 s; it must be 0 or at least 3'],
    ],
    [
      'no family in common',
      { capabilities: [...multiprotocol(v6), fourOctets] },
      [
        2,
        7,
        [1, 4, 0, 1, 0, 1],
        'no address family in common: the router offers ipv6-unicast, BgpPeer leaf1 asks for ipv4-unicast',
      ],
    ],
  ])('is refused for %s', (_, changes, refusal) => {
    expect(judge(peerOpen(changes))).toEqual(refusal)
  })

  test.each<[string, Partial<OpenMessage>]>([
    ['a hold time of 0', { holdTimeSeconds: 0 }],
    ['a hold time of 3 s', { holdTimeSeconds: 3 }],
    ['no capabilities at all: an IPv4 session', { capabilities: [] }],
    ['our own identifier in another AS (RFC 6286)', { bgpIdentifier: 0x0a00_000a }],
    ['an identifier that is no unicast address (RFC 6286)', { bgpIdentifier: 0xffff_ffff }],
    ['AS_TRANS with the real AS in the capability', { myAs: 23456 }],
  ])('is accepted with %s', (_, changes) => {
    expect(judge(peerOpen(changes))).toBe('accepted')
  })

  test('with our own identifier inside our AS is refused (RFC 6286)', () => {
    const open = { ...peerOpen({ bgpIdentifier: 0x0a00_000a }), capabilities: [] }
    expect(judge(open, { ...sampleConfig, localAsn: asn(65001) })).toEqual([
      2,
      3,
      [],
      "the router's BGP identifier 10.0.0.10 is our own; within an AS each speaker needs its own (RFC 6286)",
    ])
  })

  test('without ADD-PATH where it is required is refused with the capability (RFC 5492)', () => {
    const config: SessionConfig = { ...sampleConfig, addPath: 'require', families: ['ipv4-unicast', 'ipv6-unicast'] }
    const open = peerWith(
      ...multiprotocol(v4, v6),
      fourOctets,
      addPath({ ...v4, mode: 'both' }, { ...v6, mode: 'send' }),
    )
    expect(judge(open, config)).toEqual([
      2,
      7,
      [69, 4, 0, 2, 1, 2],
      'the router does not receive ADD-PATH for ipv6-unicast, BgpPeer leaf1 requires it',
    ])
  })

  test.each<[string, BgpMessage, SessionEvent['type']]>([
    ['a valid OPEN', samplePeerOpen, 'BgpOpen'],
    ['an OPEN of another AS', peerOpen({ myAs: 65010, capabilities: [] }), 'BgpOpenMsgErr'],
    ['KEEPALIVE', { type: 'KEEPALIVE' }, 'KeepAliveMsg'],
    ['UPDATE', { type: 'UPDATE', withdrawn: [], attributes: {}, nlri: [] }, 'UpdateMsg'],
    ['ROUTE-REFRESH', { type: 'ROUTE-REFRESH', ...v4, subtype: 0 }, 'RouteRefreshMsg'],
    ['NOTIFICATION 2/1', { type: 'NOTIFICATION', code: 2, subcode: 1, data: new Uint8Array(2) }, 'NotifMsgVerErr'],
    ['NOTIFICATION 2/2', { type: 'NOTIFICATION', code: 2, subcode: 2, data: new Uint8Array(0) }, 'NotifMsg'],
    ['NOTIFICATION 6/1', { type: 'NOTIFICATION', code: 6, subcode: 1, data: new Uint8Array(0) }, 'NotifMsg'],
  ])('%s is the event it should be: %o', (_, message, event) => {
    expect(eventOfMessage(sampleStates.OpenSent, message, sampleContext).type).toBe(event)
  })

  test('an OPEN while ours is being delayed is event 20', () => {
    const delaying = { ...sampleStates.Active, delayingOpen: true } as typeof sampleStates.Active
    expect(eventOfMessage(delaying, samplePeerOpen, sampleContext).type).toBe('BgpOpenWithDelayOpenTimerRunning')
  })

  test.each<[SessionEvent['type'], Extract<SessionEvent, { readonly error: unknown }>]>([
    ['BgpHeaderErr', sampleEvents.BgpHeaderErr],
    ['BgpOpenMsgErr', sampleEvents.BgpOpenMsgErr],
    ['UpdateMsgErr', sampleEvents.UpdateMsgErr],
    ['RouteRefreshMsgErr', sampleEvents.RouteRefreshMsgErr],
  ])('a decoding error is %s by its code', (type, event) => {
    expect(eventOfError(event.error).type).toBe(type)
  })

  test('and ours agree on the same session whatever the order of capabilities', () => {
    const reversed = peerOpen({ capabilities: samplePeerOpen.capabilities.toReversed() })
    expect(negotiate(sent, reversed, sampleConfig)).toEqual(negotiate(sent, samplePeerOpen, sampleConfig))
  })
})

describe('negotiation', () => {
  const dual: SessionConfig = { ...sampleConfig, families: ['ipv6-unicast', 'ipv4-unicast'] }
  const agree = (open: OpenMessage, config: SessionConfig = dual) => negotiate(createOpen(config, fresh), open, config)

  test.each([
    [90, 90, 30],
    [9, 9, 3],
    [3, 3, 1],
    [180, 90, 30],
    [0, 0, 0],
  ])('a hold time of %i s against our 90 s: %i s, KEEPALIVE every %i s', (theirs, hold, keepalive) => {
    const { holdTimeSeconds, keepaliveSeconds } = agree(peerOpen({ holdTimeSeconds: theirs }))
    expect([holdTimeSeconds, keepaliveSeconds]).toEqual([hold, keepalive])
  })

  test('a shorter keepalive of ours holds', () => {
    expect(agree(samplePeerOpen, { ...dual, keepaliveSeconds: 10 }).keepaliveSeconds).toBe(10)
  })

  test.each<[string, OpenMessage, readonly string[]]>([
    ['both', peerWith(...multiprotocol(v4, v6)), ['ipv6-unicast', 'ipv4-unicast']],
    ['IPv6 only', peerWith(...multiprotocol(v6)), ['ipv6-unicast']],
    ['nothing, which means IPv4 (RFC 4760)', peerWith(fourOctets), ['ipv4-unicast']],
    ['IPv4 and VPNv4', peerWith(...multiprotocol({ afi: 1, safi: 128 }, v4)), ['ipv4-unicast']],
  ])('families are those of both sides, in our order: %s', (_, open, families) => {
    const negotiated = agree(open)
    expect(negotiated.families).toEqual(families)
    expect([...negotiated.codec.families]).toEqual(families)
  })

  test.each<[AddPathMode, boolean]>([
    ['receive', true],
    ['both', true],
    ['send', false],
  ])('ADD-PATH %s at the peer: we send path ids: %s (RFC 7911)', (mode, sends) => {
    const { codec } = agree(peerWith(...multiprotocol(v4, v6), addPath({ ...v4, mode })))
    expect([...codec.addPathSend]).toEqual(sends ? ['ipv4-unicast'] : [])
    expect([...codec.addPathReceive]).toEqual([])
  })

  test('ADD-PATH for a family that is not common counts for nothing', () => {
    const { codec } = agree(peerWith(...multiprotocol(v4), addPath({ ...v6, mode: 'both' })))
    expect([...codec.addPathSend]).toEqual([])
  })

  test.each<[string, readonly Capability[], readonly string[]]>([
    ['IPv6 for IPv4', [{ type: 'extended-next-hop', tuples: [{ ...v4, nextHopAfi: 2 }] }], ['ipv4-unicast']],
    ['IPv6 for VPNv4', [{ type: 'extended-next-hop', tuples: [{ afi: 1, safi: 128, nextHopAfi: 2 }] }], []],
    ['IPv4 for IPv6', [{ type: 'extended-next-hop', tuples: [{ ...v6, nextHopAfi: 1 }] }], []],
    ['nothing', [], []],
  ])('next hops of the other family only as the router takes them (RFC 8950): %s', (_, capabilities, families) => {
    const { codec } = agree(peerWith(...multiprotocol(v4, v6), ...capabilities))
    expect([...(codec.extendedNextHop ?? [])]).toEqual(families)
  })

  test('four octets an AS only where both sides say so', () => {
    expect(agree(peerWith(fourOctets)).codec.fourOctetAs).toBe(true)
    expect(agree(peerWith()).codec.fourOctetAs).toBe(false)
  })

  test('long messages: ours to receive, theirs to send (RFC 8654)', () => {
    const { codec } = agree(peerWith(fourOctets))
    expect([codec.messageBytesMaxReceive, codec.messageBytesMaxSend]).toEqual([65535, 4096])
    expect(agree(peerWith({ type: 'extended-message' })).codec.messageBytesMaxSend).toBe(65535)
  })

  test('refresh, plain and enhanced (RFC 2918, RFC 7313)', () => {
    const plain = agree(peerWith({ type: 'route-refresh' }))
    expect([plain.routeRefresh, plain.enhancedRouteRefresh]).toEqual([true, false])
    const enhanced = agree(peerWith({ type: 'route-refresh' }, { type: 'enhanced-route-refresh' }))
    expect([enhanced.routeRefresh, enhanced.enhancedRouteRefresh]).toEqual([true, true])
  })

  test('the paths limit of common families; 0 is no limit', () => {
    const families = [
      { ...v4, limit: 8 },
      { ...v6, limit: 0 },
      { afi: 25, safi: 70, limit: 3 },
    ]
    expect([...agree(peerWith(...multiprotocol(v4, v6), { type: 'paths-limit', families })).pathsLimit]).toEqual([
      ['ipv4-unicast', 8],
    ])
  })

  test('graceful restart needs both sides, the N bit too (RFC 4724, RFC 8538)', () => {
    const gracefulRestart = { restartSeconds: 120, longLivedSeconds: 0 }
    const theirs = (notification: boolean): Capability => ({
      type: 'graceful-restart',
      restarting: true,
      notification,
      restartTimeSeconds: 240,
      families: [],
    })
    expect(agree(peerWith(theirs(true)))).not.toHaveProperty('gracefulRestart')
    expect(agree(peerWith(), { ...dual, gracefulRestart })).not.toHaveProperty('gracefulRestart')
    for (const notification of [true, false])
      expect(agree(peerWith(theirs(notification)), { ...dual, gracefulRestart }).gracefulRestart).toEqual({
        restartTimeSeconds: 120,
        notification,
        peerRestarting: true,
      })
  })

  test('who it is with', () => {
    const negotiated = agree(peerWith({ type: 'fqdn', hostname: 'leaf1', domain: 'lab' }))
    expect(negotiated).toMatchObject({ peerRouterId: '10.0.0.1', peerHostname: 'leaf1' })
    expect(negotiated.codec.sessionType).toBe('ebgp')
    expect(agree(samplePeerOpen, { ...dual, localAsn: asn(65001) }).codec.sessionType).toBe('ibgp')
  })
})
