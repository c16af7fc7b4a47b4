// What becomes of an UPDATE that is not as it should be. One row per rule; the source in each expected issue is the rule.
import { describe, expect, test } from 'vitest'
import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import type { Family, SessionCodec, Treatment } from '../../../src/bgp/packet/message.ts'
import { issuesMax } from '../../../src/bgp/packet/update-rules.ts'
import { asPath, codec, mandatory, nextHop, origin, route, toHex, type UpdateFields, update } from './wire.ts'

const ibgp = codec({ sessionType: 'ibgp' })
const oldSpeaker = codec({ fourOctetAs: false })
const addPath = codec({ addPathReceive: new Set<Family>(['ipv4-unicast', 'ipv6-unicast']) })
const ipv4Only = codec({ families: new Set<Family>(['ipv4-unicast']) })
const ipv6Only = codec({ families: new Set<Family>(['ipv6-unicast']) })
const extendedNextHop = codec({ extendedNextHop: new Set<Family>(['ipv4-unicast']) })

const globalHop = '20010db8000000000000000000000001'
const linkLocalHop = 'fe800000000000000000000000000001'
const ipv6Route = '40 20010db800010002'
/** MP_REACH_NLRI of 2001:db8:1:2::/64. */
const mpReach = `80 0e 1e 0002 01 10 ${globalHop} 00 ${ipv6Route}`
const withRoute = (attributes: string): UpdateFields => ({ attributes, nlri: route })

// ---------------------------------------------------------------------------------------------- mild treatments

// Attribute code (undefined: the message), treatment, rule.
type Issue = [number | undefined, Treatment, string]
const discard = (attribute: number | undefined, source: string): Issue => [attribute, 'attribute-discard', source]
const withdraw = (attribute: number | undefined, source: string): Issue => [attribute, 'treat-as-withdraw', source]

describe('attributes that are discarded, and routes that are withdrawn', () => {
  test.each<[string, UpdateFields, SessionCodec, Issue[]]>([
    // Flags
    [
      'ORIGIN marked optional',
      withRoute(`c0 01 01 00 ${asPath} ${nextHop}`),
      codec(),
      [withdraw(1, 'RFC 7606 section 3.c')],
    ],
    [
      'MED marked transitive',
      withRoute(`${mandatory} c0 04 04 00000000`),
      codec(),
      [withdraw(4, 'RFC 7606 section 3.c')],
    ],
    [
      'COMMUNITIES marked non-transitive',
      withRoute(`${mandatory} 80 08 04 00010002`),
      codec(),
      [withdraw(8, 'RFC 7606 section 3.c')],
    ],
    [
      'ATOMIC_AGGREGATE marked optional',
      withRoute(`${mandatory} c0 06 00`),
      codec(),
      [withdraw(6, 'RFC 7606 section 3.c')],
    ],
    ['ORIGIN with Partial and unused bits: not judged', withRoute(`6f 01 01 00 ${asPath} ${nextHop}`), codec(), []],
    ['Extended Length where one octet would do', withRoute(`50 01 0001 00 ${asPath} ${nextHop}`), codec(), []],
    // ORIGIN
    ['ORIGIN of no octet', withRoute(`40 01 00 ${asPath} ${nextHop}`), codec(), [withdraw(1, 'RFC 7606 section 7.1')]],
    [
      'ORIGIN of two octets',
      withRoute(`40 01 02 0000 ${asPath} ${nextHop}`),
      codec(),
      [withdraw(1, 'RFC 7606 section 7.1')],
    ],
    ['ORIGIN 3', withRoute(`40 01 01 03 ${asPath} ${nextHop}`), codec(), [withdraw(1, 'RFC 7606 section 7.1')]],
    // AS_PATH
    [
      'AS_PATH with segment type 0',
      withRoute(`${origin} 40 02 06 00 01 0000fdf2 ${nextHop}`),
      codec(),
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    [
      'AS_PATH with segment type 5',
      withRoute(`${origin} 40 02 06 05 01 0000fdf2 ${nextHop}`),
      ibgp,
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    [
      'AS_PATH with an empty segment',
      withRoute(`${origin} 40 02 02 02 00 ${nextHop}`),
      codec(),
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    [
      'AS_PATH with a segment overrun',
      withRoute(`${origin} 40 02 06 02 02 0000fdf2 ${nextHop}`),
      codec(),
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    [
      'AS_PATH with one octet left',
      withRoute(`${origin} 40 02 07 02 01 0000fdf2 02 ${nextHop}`),
      codec(),
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    [
      'AS_PATH of two octets a number from a four-octet speaker',
      withRoute(`${origin} 40 02 04 02 01 fdf2 ${nextHop}`),
      codec(),
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    [
      'AS_PATH with AS 0 (RFC 7607)',
      withRoute(`${origin} 40 02 06 02 01 00000000 ${nextHop}`),
      codec(),
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    [
      'AS_PATH with a confederation segment from outside (RFC 5065)',
      withRoute(`${origin} 40 02 06 03 01 0000fdf2 ${nextHop}`),
      codec(),
      [withdraw(2, 'RFC 7606 section 7.2')],
    ],
    ['the same from inside', withRoute(`${origin} 40 02 06 03 01 0000fdf2 ${nextHop}`), ibgp, []],
    ['an empty AS_PATH', withRoute(`${origin} 40 02 00 ${nextHop}`), ibgp, []],
    // NEXT_HOP
    [
      'NEXT_HOP of three octets',
      withRoute(`${origin} ${asPath} 40 03 03 0a0000`),
      codec(),
      [withdraw(3, 'RFC 7606 section 7.3')],
    ],
    [
      'NEXT_HOP of 16 octets',
      withRoute(`${origin} ${asPath} 40 03 10 ${globalHop}`),
      codec(),
      [withdraw(3, 'RFC 7606 section 7.3')],
    ],
    [
      'NEXT_HOP 0.0.0.0 (RFC 4271 section 6.3)',
      withRoute(`${origin} ${asPath} 40 03 04 00000000`),
      codec(),
      [withdraw(3, 'RFC 7606 section 7.3')],
    ],
    [
      'NEXT_HOP 127.0.0.1',
      withRoute(`${origin} ${asPath} 40 03 04 7f000001`),
      codec(),
      [withdraw(3, 'RFC 7606 section 7.3')],
    ],
    [
      'NEXT_HOP 224.0.0.1',
      withRoute(`${origin} ${asPath} 40 03 04 e0000001`),
      codec(),
      [withdraw(3, 'RFC 7606 section 7.3')],
    ],
    [
      'NEXT_HOP 255.255.255.255',
      withRoute(`${origin} ${asPath} 40 03 04 ffffffff`),
      codec(),
      [withdraw(3, 'RFC 7606 section 7.3')],
    ],
    ['NEXT_HOP 223.255.255.254 is a host', withRoute(`${origin} ${asPath} 40 03 04 dffffffe`), codec(), []],
    [
      'any NEXT_HOP beside MP_REACH_NLRI alone is ignored (RFC 4760 section 3)',
      { attributes: `${mpReach} ${origin} ${asPath} 40 03 04 00000000` },
      codec(),
      [],
    ],
    ['even of the wrong length', { attributes: `${mpReach} ${origin} ${asPath} 40 03 01 00` }, codec(), []],
    // Optional and discretionary
    ['MED of three octets', withRoute(`${mandatory} 80 04 03 000000`), codec(), [withdraw(4, 'RFC 7606 section 7.4')]],
    [
      'LOCAL_PREF of five octets',
      withRoute(`${mandatory} 40 05 05 0000000064`),
      ibgp,
      [withdraw(5, 'RFC 7606 section 7.5')],
    ],
    [
      'LOCAL_PREF from outside',
      withRoute(`${mandatory} 40 05 04 00000064`),
      codec(),
      [discard(5, 'RFC 7606 section 7.5')],
    ],
    [
      'a malformed LOCAL_PREF from outside',
      withRoute(`${mandatory} 40 05 01 00`),
      codec(),
      [discard(5, 'RFC 7606 section 7.5')],
    ],
    ['no LOCAL_PREF from inside: discretionary', withRoute(mandatory), ibgp, []],
    [
      'ATOMIC_AGGREGATE with a value',
      withRoute(`${mandatory} 40 06 01 00`),
      codec(),
      [discard(6, 'RFC 7606 section 7.6')],
    ],
    [
      'AGGREGATOR of six octets from a four-octet speaker',
      withRoute(`${mandatory} c0 07 06 fdf2 0a000001`),
      codec(),
      [discard(7, 'RFC 7606 section 7.7')],
    ],
    [
      'AGGREGATOR of eight octets from a two-octet speaker',
      withRoute(`${origin} 40 02 04 02 01 fdf2 ${nextHop} c0 07 08 0000fdf2 0a000001`),
      oldSpeaker,
      [discard(7, 'RFC 7606 section 7.7')],
    ],
    [
      'AGGREGATOR with AS 0 (RFC 7607)',
      withRoute(`${mandatory} c0 07 08 00000000 0a000001`),
      codec(),
      [discard(7, 'RFC 7606 section 7.7')],
    ],
    ['COMMUNITIES of no octet', withRoute(`${mandatory} c0 08 00`), codec(), [withdraw(8, 'RFC 7606 section 7.8')]],
    [
      'COMMUNITIES of six octets',
      withRoute(`${mandatory} c0 08 06 000100020003`),
      codec(),
      [withdraw(8, 'RFC 7606 section 7.8')],
    ],
    [
      'ORIGINATOR_ID of three octets',
      withRoute(`${mandatory} 80 09 03 0a0000`),
      ibgp,
      [withdraw(9, 'RFC 7606 section 7.9')],
    ],
    [
      'ORIGINATOR_ID from outside',
      withRoute(`${mandatory} 80 09 04 0a000001`),
      codec(),
      [discard(9, 'RFC 7606 section 7.9')],
    ],
    ['CLUSTER_LIST of no octet', withRoute(`${mandatory} 80 0a 00`), ibgp, [withdraw(10, 'RFC 7606 section 7.10')]],
    [
      'CLUSTER_LIST from outside',
      withRoute(`${mandatory} 80 0a 04 0a000001`),
      codec(),
      [discard(10, 'RFC 7606 section 7.10')],
    ],
    [
      'EXTENDED_COMMUNITIES of seven octets',
      withRoute(`${mandatory} c0 10 07 00020001000000`),
      codec(),
      [withdraw(16, 'RFC 7606 section 7.14')],
    ],
    [
      'IPV6_EXTENDED_COMMUNITIES of 19 octets',
      withRoute(`${mandatory} c0 19 13 ${'00'.repeat(19)}`),
      codec(),
      [withdraw(25, 'RFC 7606 section 7.15')],
    ],
    [
      'AIGP with a TLV too short',
      withRoute(`${mandatory} 80 1a 03 01 0002`),
      codec(),
      [discard(26, 'RFC 7311 section 3.2')],
    ],
    [
      'AIGP with a TLV too long',
      withRoute(`${mandatory} 80 1a 04 02 0009 00`),
      codec(),
      [discard(26, 'RFC 7311 section 3.2')],
    ],
    [
      'AIGP marked transitive',
      withRoute(`${mandatory} c0 1a 0b 01 000b 0000000000000001`),
      codec(),
      [discard(26, 'RFC 7311 section 3.2')],
    ],
    [
      'LARGE_COMMUNITY of eleven octets',
      withRoute(`${mandatory} c0 20 0b ${'00'.repeat(11)}`),
      codec(),
      [withdraw(32, 'RFC 8092 section 6')],
    ],
    [
      'ONLY_TO_CUSTOMER of two octets',
      withRoute(`${mandatory} c0 23 02 0001`),
      codec(),
      [withdraw(35, 'RFC 9234 section 5')],
    ],
    // RFC 6793 section 6
    [
      'AS4_PATH from a four-octet speaker',
      withRoute(`${mandatory} c0 11 06 02 01 0000fdf2`),
      codec(),
      [discard(17, 'RFC 6793 section 6')],
    ],
    [
      'AS4_AGGREGATOR from a four-octet speaker',
      withRoute(`${mandatory} c0 12 08 0000fdf2 0a000001`),
      codec(),
      [discard(18, 'RFC 6793 section 6')],
    ],
    [
      'a malformed AS4_PATH',
      withRoute(`${origin} 40 02 04 02 01 5ba0 ${nextHop} c0 11 04 02 01 fdf2`),
      oldSpeaker,
      [discard(17, 'RFC 6793 section 6')],
    ],
    [
      'an empty AS4_PATH',
      withRoute(`${origin} 40 02 04 02 01 5ba0 ${nextHop} c0 11 00`),
      oldSpeaker,
      [discard(17, 'RFC 6793 section 6')],
    ],
    [
      'AS4_PATH with AS 0 (RFC 7607)',
      withRoute(`${origin} 40 02 04 02 01 5ba0 ${nextHop} c0 11 06 02 01 00000000`),
      oldSpeaker,
      [discard(17, 'RFC 6793 section 6')],
    ],
    [
      'AS4_AGGREGATOR of six octets',
      withRoute(`${origin} 40 02 04 02 01 5ba0 ${nextHop} c0 12 06 fdf2 0a000001`),
      oldSpeaker,
      [discard(18, 'RFC 6793 section 6')],
    ],
    // The list of attributes
    [
      'an attribute twice: the first counts',
      withRoute(`${mandatory} 40 01 01 02`),
      codec(),
      [discard(1, 'RFC 7606 section 3.g')],
    ],
    [
      'an unknown attribute twice',
      withRoute(`${mandatory} c0 63 01 01 c0 63 01 02`),
      codec(),
      [discard(99, 'RFC 7606 section 3.g')],
    ],
    [
      'a malformed attribute first, a good one again',
      withRoute(`40 01 01 09 ${mandatory}`),
      codec(),
      [withdraw(1, 'RFC 7606 section 7.1'), discard(1, 'RFC 7606 section 3.g')],
    ],
    ['no ORIGIN', withRoute(`${asPath} ${nextHop}`), codec(), [withdraw(1, 'RFC 7606 section 3.d')]],
    ['no AS_PATH', withRoute(`${origin} ${nextHop}`), codec(), [withdraw(2, 'RFC 7606 section 3.d')]],
    ['no NEXT_HOP', withRoute(`${origin} ${asPath}`), codec(), [withdraw(3, 'RFC 7606 section 3.d')]],
    ['no attribute at all', { nlri: route }, codec(), [1, 2, 3].map((code) => withdraw(code, 'RFC 7606 section 3.d'))],
    [
      'MP_REACH_NLRI without ORIGIN',
      { attributes: `${mpReach} ${asPath}` },
      codec(),
      [withdraw(1, 'RFC 7606 section 3.d')],
    ],
    ['MP_REACH_NLRI needs no NEXT_HOP', { attributes: `${mpReach} ${origin} ${asPath}` }, codec(), []],
    ['MP_REACH_NLRI without a route needs nothing', { attributes: `80 0e 15 0002 01 10 ${globalHop} 00` }, codec(), []],
    [
      'an attribute that runs beyond the attributes',
      withRoute(`${mandatory} 80 04 05 00000000`),
      codec(),
      [withdraw(undefined, 'RFC 7606 section 4')],
    ],
    ['one octet left', withRoute(`${mandatory} 80`), codec(), [withdraw(undefined, 'RFC 7606 section 4')]],
    [
      'one octet left: what stands behind it is a prefix of 14 bits, not the code of MP_REACH_NLRI',
      { attributes: `${mandatory} 80`, nlri: '0e c000' },
      codec(),
      [withdraw(undefined, 'RFC 7606 section 4')],
    ],
    ['two octets left', withRoute(`${mandatory} 80 04`), codec(), [withdraw(undefined, 'RFC 7606 section 4')]],
    [
      'three octets left with Extended Length',
      withRoute(`${mandatory} 90 04 00`),
      codec(),
      [withdraw(undefined, 'RFC 7606 section 4')],
    ],
    [
      'several errors: all are told',
      withRoute(`40 01 01 07 ${asPath} ${nextHop} 40 06 01 00`),
      codec(),
      [withdraw(1, 'RFC 7606 section 7.1'), discard(6, 'RFC 7606 section 7.6')],
    ],
    // Families
    [
      'IPv6 routes where IPv6 was not negotiated',
      { attributes: `${mpReach} ${origin} ${asPath}` },
      ipv4Only,
      [discard(14, 'RFC 4760 section 8')],
    ],
    [
      'withdrawn IPv6 routes where IPv6 was not negotiated',
      { attributes: `80 0f 0c 0002 01 ${ipv6Route}` },
      ipv4Only,
      [discard(15, 'RFC 4760 section 8')],
    ],
    [
      'VPN routes',
      { attributes: `${origin} ${asPath} 80 0e 06 0001 80 00 00 11` },
      codec(),
      [discard(14, 'RFC 4760 section 8')],
    ],
    [
      'VPN routes and an attribute error: nothing of ours to withdraw',
      { attributes: `40 01 01 07 80 0e 06 0001 80 00 00 11` },
      codec(),
      [withdraw(1, 'RFC 7606 section 7.1'), discard(14, 'RFC 4760 section 8')],
    ],
    ['IPv4 routes where IPv4 was not negotiated', withRoute(''), ipv6Only, [discard(undefined, 'RFC 4760 section 8')]],
  ])('%s', (_, fields, session, expected) => {
    const decoded = decodeMessage(update(fields), session)
    if (!decoded.ok) throw new Error(`session reset: ${decoded.error.reason}`)
    expect(decoded.issues.map(({ attribute, treatment, source }) => [attribute, treatment, source])).toEqual(expected)
  })

  test('of thousands of repeated attributes only so many are told', () => {
    const decoded = decodeMessage(update(withRoute(`${mandatory} ${'c06300'.repeat(1000)}`)), codec())
    expect(decoded.ok && decoded.issues.length).toBe(issuesMax)
  })
})

// ----------------------------------------------------------------------------------------------- session resets

describe('errors that end the session', () => {
  // The data of the NOTIFICATION is the attribute at fault, or nothing.
  test.each<[string, UpdateFields, SessionCodec, [number, number, string]]>([
    [
      'an unknown well-known attribute (RFC 4271 section 6.3)',
      withRoute(`${mandatory} 40 63 01 00`),
      codec(),
      [3, 2, '40630100'],
    ],
    [
      'MP_REACH_NLRI twice (RFC 7606 section 3.g)',
      { attributes: `${mpReach} ${mpReach} ${origin} ${asPath}` },
      codec(),
      [3, 1, ''],
    ],
    ['MP_UNREACH_NLRI twice', { attributes: '80 0f 03 000201 80 0f 03 000201' }, codec(), [3, 1, '']],
    [
      'a prefix of 33 bits (RFC 7606 section 5.3)',
      { attributes: mandatory, nlri: '21 c000020000' },
      codec(),
      [3, 10, ''],
    ],
    ['a prefix that is cut off', { attributes: mandatory, nlri: '18 c000' }, codec(), [3, 10, '']],
    ['a withdrawn prefix of 33 bits (RFC 7606 section 3.i)', { withdrawn: '21 c000020000' }, codec(), [3, 10, '']],
    ['a path id without a prefix (RFC 7911)', { attributes: mandatory, nlri: '00000001' }, addPath, [3, 10, '']],
    [
      'routes without path ids where they were negotiated',
      { attributes: mandatory, nlri: '18 c00002' },
      addPath,
      [3, 10, ''],
    ],
    [
      'MP_REACH_NLRI of four octets (RFC 7606 section 7.11)',
      { attributes: '80 0e 04 00020110' },
      codec(),
      [3, 9, '800e0400020110'],
    ],
    [
      'MP_REACH_NLRI with a next hop of four octets for IPv6',
      { attributes: '80 0e 09 0002 01 04 0a000001 00' },
      codec(),
      [3, 9, '800e090002010' + '40a00000100'],
    ],
    [
      'MP_REACH_NLRI with a next hop that exceeds it',
      { attributes: '80 0e 08 0002 01 10 20010db8' },
      codec(),
      [3, 9, '800e080002011020010db8'],
    ],
    [
      'MP_REACH_NLRI without its reserved octet',
      { attributes: `80 0e 14 0002 01 10 ${globalHop}` },
      codec(),
      [3, 9, `800e1400020110${globalHop}`],
    ],
    [
      'MP_REACH_NLRI with a prefix of 129 bits',
      { attributes: `80 0e 16 0002 01 10 ${globalHop} 00 81` },
      codec(),
      [3, 9, `800e1600020110${globalHop}0081`],
    ],
    [
      'MP_REACH_NLRI of IPv4 with an IPv6 next hop, RFC 8950 not negotiated',
      { attributes: `80 0e 15 0001 01 10 ${globalHop} 00` },
      codec(),
      [3, 9, `800e1500010110${globalHop}00`],
    ],
    [
      'MP_REACH_NLRI with the wrong flags (RFC 7606 section 3.j)',
      { attributes: `c0 0e 15 0002 01 10 ${globalHop} 00` },
      codec(),
      [3, 4, `c00e1500020110${globalHop}00`],
    ],
    [
      'MP_UNREACH_NLRI of two octets (RFC 7606 section 7.12)',
      { attributes: '80 0f 02 0002' },
      codec(),
      [3, 9, '800f020002'],
    ],
    [
      'MP_UNREACH_NLRI with a prefix that is cut off',
      { attributes: '80 0f 05 0002 01 40 20' },
      codec(),
      [3, 9, '800f050002014020'],
    ],
    ['MP_UNREACH_NLRI with the wrong flags', { attributes: '40 0f 03 000201' }, codec(), [3, 4, '400f03000201']],
    [
      'an MP_REACH_NLRI that runs beyond the attributes (RFC 7606 section 3.j)',
      withRoute(`${mandatory} 80 0e ff 0002 01`),
      codec(),
      [3, 1, ''],
    ],
    ['an MP_UNREACH_NLRI of which only flags and code are there', withRoute(`${mandatory} 80 0f`), codec(), [3, 1, '']],
    [
      'a mild error and a severe one: the severe one',
      withRoute(`40 01 01 07 ${asPath} ${nextHop} 40 63 00`),
      codec(),
      [3, 2, '406300'],
    ],
    // RFC 7606 section 5.2: the error that RFC 4271 has for the attribute
    ['ORIGIN 7 and no route', { attributes: '40 01 01 07' }, codec(), [3, 6, '40010107']],
    ['ORIGIN of two octets and no route', { attributes: '40 01 02 0000' }, codec(), [3, 5, '4001020000']],
    ['wrong flags and no route', { attributes: 'c0 01 01 00' }, codec(), [3, 4, 'c0010100']],
    ['a malformed AS_PATH and no route', { attributes: '40 02 01 00' }, codec(), [3, 11, '40020100']],
    ['an attribute overrun and no route', { attributes: '40 01 09 00' }, codec(), [3, 1, '']],
    [
      'withdrawn routes are no reachable ones',
      { withdrawn: route, attributes: '40 01 01 07' },
      codec(),
      [3, 6, '40010107'],
    ],
    [
      'an MP_REACH_NLRI without routes is none',
      { attributes: `80 0e 15 0002 01 10 ${globalHop} 00 40 01 01 07` },
      codec(),
      [3, 6, '40010107'],
    ],
  ])('%s', (_, fields, session, [code, subcode, data]) => {
    const decoded = decodeMessage(update(fields), session)
    if (decoded.ok) throw new Error(`not refused: ${JSON.stringify(decoded.issues)}`)
    expect([decoded.error.code, decoded.error.subcode, toHex(decoded.error.data)]).toEqual([code, subcode, data])
    expect(decoded.issues?.some(({ treatment }) => treatment === 'session-reset')).toBe(true)
  })

  test.each<[string, string]>([
    ['40 63 00', 'RFC 4271 section 6.3'],
    [`c0 0e 15 0002 01 10 ${globalHop} 00`, 'RFC 7606 section 3.j'],
    ['80 0e 04 00020110', 'RFC 7606 section 7.11'],
    ['80 0f 02 0002', 'RFC 7606 section 7.12'],
    ['80 0f 05 0002 01 40 20', 'RFC 7606 section 5.3'],
    ['40 01 01 07', 'RFC 7606 section 5.2'],
  ])('%s is refused by %s', (attributes, source) => {
    const decoded = decodeMessage(update({ attributes }), codec())
    expect(decoded.issues?.at(-1)).toMatchObject({ treatment: 'session-reset', source })
  })

  test('an attribute-discard alone does not reset, with or without a route (RFC 7606 section 5.2)', () => {
    expect(decodeMessage(update({ attributes: '40 06 01 00' }), codec())).toMatchObject({ ok: true })
  })

  // RFC 7606 section 3.b
  test.each<[string, string]>([
    ['withdrawn routes', '0001 0000'],
    ['withdrawn routes to the last octet', '0002 0000'],
    ['path attributes', '0000 0001'],
  ])('a length of %s beyond the message is 3/1', (_, lengths) => {
    const bytes = update({})
    bytes.set(Buffer.from(lengths.replace(' ', ''), 'hex'), 19)
    expect(decodeMessage(bytes, codec())).toMatchObject({ ok: false, error: { code: 3, subcode: 1 } })
  })

  test('the data of a NOTIFICATION fits in 4096 octets, however long the attribute', () => {
    const long = codec({ messageBytesMaxReceive: 65535 })
    const decoded = decodeMessage(update({ attributes: `50 63 c350 ${'00'.repeat(50_000)}` }), long)
    expect(!decoded.ok && decoded.error.data.length).toBe(4096 - 21)
  })
})

// ------------------------------------------------------------------------------------- what treat-as-withdraw leaves

describe('treat-as-withdraw', () => {
  const bad = '40 01 01 07'

  test('announced IPv4 routes join the withdrawn ones, and the attributes are gone', () => {
    const fields = { withdrawn: '20 0a000001', attributes: `${bad} ${asPath} ${nextHop}`, nlri: route }
    expect(decodeMessage(update(fields), codec())).toMatchObject({
      ok: true,
      message: {
        type: 'UPDATE',
        withdrawn: [{ prefix: '10.0.0.1/32' }, { prefix: '192.0.2.0/24' }],
        attributes: {},
        nlri: [],
      },
    })
  })

  test('announced IPv6 routes join those of MP_UNREACH_NLRI', () => {
    const mpUnreach = '80 0f 14 0002 01 80 20010db8000000000000000000000005'
    const decoded = decodeMessage(update({ attributes: `${mpReach} ${mpUnreach} ${bad} ${asPath}` }), codec())
    expect(decoded.ok && decoded.message).toEqual({
      type: 'UPDATE',
      withdrawn: [],
      attributes: {
        mpUnreach: { afi: 2, safi: 1, withdrawn: [{ prefix: '2001:db8::5/128' }, { prefix: '2001:db8:1:2::/64' }] },
      },
      nlri: [],
    })
  })

  test('IPv4 routes in multiprotocol attributes join the IPv4 ones, path ids and all', () => {
    const session = codec({ ...addPath, extendedNextHop: new Set<Family>(['ipv4-unicast']) })
    const reach = `80 0e 1d 0001 01 10 ${globalHop} 00 00000007 18 c00002`
    const unreach = '80 0f 10 0002 01 00000009 40 20010db800010002'
    const decoded = decodeMessage(update({ attributes: `${reach} ${unreach} ${bad} ${asPath}` }), session)
    expect(decoded.ok && decoded.message).toEqual({
      type: 'UPDATE',
      withdrawn: [{ prefix: '192.0.2.0/24', pathId: 7 }],
      attributes: { mpUnreach: { afi: 2, safi: 1, withdrawn: [{ prefix: '2001:db8:1:2::/64', pathId: 9 }] } },
      nlri: [],
    })
  })

  test('it is not an End-of-RIB when the routes were of a family that we do not have', () => {
    const decoded = decodeMessage(update(withRoute(`${bad} ${asPath} ${nextHop}`)), ipv6Only)
    expect(decoded).toMatchObject({ ok: true, message: { withdrawn: [], nlri: [] } })
    expect(decoded.ok && decoded.endOfRib).toBeUndefined()
  })
})

test('an IPv6 next hop for IPv4 routes is legal with RFC 8950', () => {
  const attributes = `80 0e 2a 0001 01 20 ${globalHop} ${linkLocalHop} 00 20 c0000201 ${origin} ${asPath}`
  expect(decodeMessage(update({ attributes }), extendedNextHop)).toMatchObject({
    ok: true,
    message: { attributes: { mpReach: { nextHops: ['2001:db8::1', 'fe80::1'], nlri: [{ prefix: '192.0.2.1/32' }] } } },
    issues: [],
  })
})
