// The messages without a file of their own, and what holds for all of them.
import { describe, expect, test } from 'vitest'
import { decodeMessage, scanUpdate } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import type { BgpMessage } from '../../../src/bgp/packet/message.ts'
import { codec, fromHex, message, toHex, update } from './wire.ts'

const enhanced = codec({ enhancedRouteRefresh: true })

test.each<[string, Uint8Array, BgpMessage]>([
  ['KEEPALIVE (RFC 4271 section 4.4)', message(4, ''), { type: 'KEEPALIVE' }],
  [
    'NOTIFICATION (RFC 4271 section 4.5)',
    message(3, '06 02 02 6f6b'),
    { type: 'NOTIFICATION', code: 6, subcode: 2, data: fromHex('026f6b') },
  ],
  ['NOTIFICATION without data', message(3, '04 00'), { type: 'NOTIFICATION', code: 4, subcode: 0, data: fromHex('') }],
  [
    'NOTIFICATION with numbers that nobody knows',
    message(3, 'ff fe 01'),
    { type: 'NOTIFICATION', code: 255, subcode: 254, data: fromHex('01') },
  ],
  ['ROUTE-REFRESH (RFC 2918)', message(5, '0002 00 01'), { type: 'ROUTE-REFRESH', afi: 2, subtype: 0, safi: 1 }],
  ['BoRR (RFC 7313)', message(5, '0001 01 01'), { type: 'ROUTE-REFRESH', afi: 1, subtype: 1, safi: 1 }],
  ['EoRR', message(5, '0001 02 01'), { type: 'ROUTE-REFRESH', afi: 1, subtype: 2, safi: 1 }],
  [
    'ROUTE-REFRESH of a subtype to be ignored',
    message(5, '0001 09 01'),
    { type: 'ROUTE-REFRESH', afi: 1, subtype: 9, safi: 1 },
  ],
])('%s', (_, bytes, value) => {
  expect(decodeMessage(bytes, codec())).toEqual({ ok: true, message: value, issues: [] })
  expect(toHex(encodeMessage(value, codec()))).toBe(toHex(bytes))
})

describe('ROUTE-REFRESH of the wrong length', () => {
  test.each<[string, string, typeof enhanced, [number, number, string] | 'taken']>([
    ['too short: 1/2', '0001', codec(), [1, 2, '0015']],
    ['too short to see the subtype: 1/2', '0001', enhanced, [1, 2, '0015']],
    [
      'a BoRR of three octets (RFC 7313 section 5): 7/1 with the whole message',
      '0001 01',
      enhanced,
      [7, 1, toHex(message(5, '0001 01'))],
    ],
    ['an EoRR of five octets', '0001 02 01 00', enhanced, [7, 1, toHex(message(5, '0001 02 01 00'))]],
    ['the same from one who did not announce RFC 7313', '0001 02 01 00', codec(), 'taken'],
    [
      'a request with an outbound route filter (RFC 5291): the request counts',
      '0001 00 01 01 40 0000',
      enhanced,
      'taken',
    ],
  ])('%s', (_, body, session, expected) => {
    const decoded = decodeMessage(message(5, body), session)
    const answer = decoded.ok ? 'taken' : [decoded.error.code, decoded.error.subcode, toHex(decoded.error.data)]
    expect(answer).toEqual(expected)
  })
})

describe('what is not one whole message', () => {
  test.each<[string, Uint8Array, [number, number]]>([
    ['nothing', fromHex(''), [1, 2]],
    ['less than a header', fromHex('ff'.repeat(18)), [1, 2]],
    ['more than the header says', fromHex(`${toHex(message(4, ''))}00`), [1, 2]],
    ['less than the header says', message(3, '0602').subarray(0, 20), [1, 2]],
    ['an unknown type', message(9, ''), [1, 3]],
  ])('%s', (_, bytes, [code, subcode]) => {
    expect(decodeMessage(bytes, codec())).toMatchObject({ ok: false, error: { code, subcode } })
    expect(scanUpdate(bytes, codec())).toMatchObject({ ok: false, error: { code } })
  })
})

describe('the scanner', () => {
  test('counts announced and withdrawn routes of both families', () => {
    const mpReach = `80 0e 16 0002 01 10 20010db8000000000000000000000001 00 00`
    const fields = {
      withdrawn: '20 0a000001 20 0a000002',
      attributes: `${mpReach} 80 0f 05 0002 01 00 00 40 01 01 00 40 02 00 40 03 04 0a000065`,
      nlri: '18 c00002',
    }
    expect(scanUpdate(update(fields), codec())).toEqual({ ok: true, announced: 2, withdrawn: 4, issues: [] })
    const malformed = { ...fields, attributes: fields.attributes.replace('40 01 01 00', '40 01 01 07') }
    expect(scanUpdate(update(malformed), codec())).toMatchObject({ ok: true, announced: 0, withdrawn: 6 })
  })

  test('knows an End-of-RIB', () => {
    expect(scanUpdate(update({}), codec())).toMatchObject({ announced: 0, withdrawn: 0, endOfRib: { afi: 1, safi: 1 } })
  })

  test('takes nothing but UPDATEs', () => {
    expect(scanUpdate(message(4, ''), codec())).toMatchObject({ ok: false, error: { code: 1, subcode: 3 } })
  })
})
