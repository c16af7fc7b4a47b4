// RFC 6793 section 4.2.3: what a speaker of two-octet AS numbers passes on is put together again.
import { describe, expect, test } from 'vitest'
import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import type { AsPathSegment, PathAttributes, SessionCodec } from '../../../src/bgp/packet/message.ts'
import { codec, nextHop, origin, route, toHex, update } from './wire.ts'

const oldSpeaker = codec({ fourOctetAs: false })
const oldInternal = codec({ fourOctetAs: false, sessionType: 'ibgp' })
const sequence = (...asns: number[]): AsPathSegment => ({ type: 'AS_SEQUENCE', asns })
const set = (...asns: number[]): AsPathSegment => ({ type: 'AS_SET', asns })

function attributesOf(attributes: string, session: SessionCodec): PathAttributes {
  const decoded = decodeMessage(update({ attributes: `${origin} ${attributes} ${nextHop}`, nlri: route }), session)
  if (!decoded.ok || decoded.message.type !== 'UPDATE') throw new Error(JSON.stringify(decoded))
  expect(decoded.issues).toEqual([])
  return decoded.message.attributes
}

describe('the path', () => {
  test.each<[string, string, string, AsPathSegment[], SessionCodec]>([
    [
      'both of one length: AS4_PATH',
      '02 02 5ba0 fdf2',
      '02 02 00061a80 0000fdf2',
      [sequence(400000, 65010)],
      oldSpeaker,
    ],
    [
      'what two-octet speakers prepended since stands first',
      '02 04 0001 0002 5ba0 fdf2',
      '02 02 00061a80 0000fdf2',
      [sequence(1, 2, 400000, 65010)],
      oldSpeaker,
    ],
    ['AS4_PATH is longer: ignored', '02 01 5ba0', '02 02 00061a80 0000fdf2', [sequence(23456)], oldSpeaker],
    [
      'a set counts for one',
      '02 01 0001 01 02 5ba0 fdf2',
      '01 02 00061a80 0000fdf2',
      [sequence(1), set(400000, 65010)],
      oldSpeaker,
    ],
    [
      'confederation segments in front count for nothing and stay',
      '03 01 fc00 02 02 5ba0 fdf2',
      '02 02 00061a80 0000fdf2',
      [{ type: 'AS_CONFED_SEQUENCE', asns: [64512] }, sequence(400000, 65010)],
      oldInternal,
    ],
    [
      'so do those next to what is prepended',
      '02 01 0001 03 01 fc00 02 01 5ba0',
      '02 01 00061a80',
      [sequence(1), { type: 'AS_CONFED_SEQUENCE', asns: [64512] }, sequence(400000)],
      oldInternal,
    ],
    [
      'confederation segments in AS4_PATH are passed over (section 6)',
      '02 01 5ba0',
      '03 01 0000fc00 02 01 00061a80',
      [sequence(400000)],
      oldSpeaker,
    ],
    [
      'a sequence that would grow beyond 255 numbers stays two segments',
      `02 ff ${'0001'.repeat(255)} 02 01 5ba0`,
      '02 01 00061a80',
      [sequence(...Array.from({ length: 255 }, () => 1)), sequence(400000)],
      oldSpeaker,
    ],
  ])('%s', (_, asPath, as4Path, expected, session) => {
    expect(attributesOf(`${attribute('40', '02', asPath)} ${attribute('c0', '11', as4Path)}`, session).asPath).toEqual(
      expected,
    )
  })

  const octets = (value: string): number => value.replaceAll(' ', '').length / 2
  const attribute = (flags: string, code: string, value: string): string =>
    octets(value) > 255
      ? `${(Number.parseInt(flags, 16) | 0x10).toString(16)} ${code} ${octets(value).toString(16).padStart(4, '0')} ${value}`
      : `${flags} ${code} ${octets(value).toString(16).padStart(2, '0')} ${value}`
})

describe('the aggregator', () => {
  const path = '40 02 04 02 01 5ba0'
  const as4Path = 'c0 11 06 02 01 00061a80'
  const as4Aggregator = 'c0 12 08 00061a81 0a000002'

  test('AS_TRANS is replaced by AS4_AGGREGATOR', () => {
    expect(attributesOf(`${path} ${as4Path} c0 07 06 5ba0 0a000001 ${as4Aggregator}`, oldSpeaker)).toMatchObject({
      asPath: [sequence(400000)],
      aggregator: { asn: 400001, address: '10.0.0.2' },
    })
  })

  test('another AS aggregated since: both AS4_ attributes are ignored', () => {
    expect(attributesOf(`${path} ${as4Path} c0 07 06 fdf2 0a000001 ${as4Aggregator}`, oldSpeaker)).toMatchObject({
      asPath: [sequence(23456)],
      aggregator: { asn: 65010, address: '10.0.0.1' },
    })
  })

  test('AS4_AGGREGATOR alone says nothing', () => {
    expect(attributesOf(`${path} ${as4Aggregator}`, oldSpeaker).aggregator).toBeUndefined()
  })

  test('AGGREGATOR alone is taken, and does not touch AS4_PATH', () => {
    expect(attributesOf(`${path} ${as4Path} c0 07 06 fdf2 0a000001`, oldSpeaker)).toMatchObject({
      asPath: [sequence(400000)],
      aggregator: { asn: 65010, address: '10.0.0.1' },
    })
  })
})

describe('what we send to a two-octet speaker (section 4.2.2)', () => {
  const attributesSent = (attributes: PathAttributes): string =>
    toHex(encodeMessage({ type: 'UPDATE', withdrawn: [], attributes, nlri: [] }, oldSpeaker)).slice(2 * 23)

  test('AS_TRANS, and AS4_PATH with the whole path', () => {
    expect(attributesSent({ asPath: [sequence(400000, 65010)] })).toBe(
      '40020602025ba0fdf2' + 'c0110a020200061a800000fdf2',
    )
  })

  test('no AS4_PATH where every number fits', () => {
    expect(attributesSent({ asPath: [sequence(65535)] })).toBe('4002040201ffff')
  })

  test('no confederation segments in AS4_PATH', () => {
    const asPath: AsPathSegment[] = [{ type: 'AS_CONFED_SEQUENCE', asns: [400001] }, sequence(400000)]
    expect(attributesSent({ asPath })).toBe('40020803015ba002015ba0' + 'c01106020100061a80')
  })

  test('AS4_AGGREGATOR where the number does not fit', () => {
    const address = '10.0.0.1' as NonNullable<PathAttributes['aggregator']>['address']
    expect(attributesSent({ aggregator: { asn: 400000, address } })).toBe(
      'c007065ba00a000001' + 'c0120800061a800a000001',
    )
    expect(attributesSent({ aggregator: { asn: 65010, address } })).toBe('c00706fdf20a000001')
  })
})
