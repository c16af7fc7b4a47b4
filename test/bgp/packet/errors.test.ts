import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ceaseError,
  decodeShutdownCommunication,
  describeNotification,
  describeSessionError,
  encodeShutdownCommunication,
  headerError,
  holdTimerExpiredError,
  isAssignedError,
  notificationOf,
  openError,
  renderErrorCode,
  routeRefreshLengthError,
  sendHoldTimerExpiredError,
  stateMachineError,
  updateError,
} from '../../../src/bgp/packet/errors.ts'
import { decodeUtf8, encodeUtf8 } from '../../../src/bgp/packet/utf8.ts'
import { fromHex, toHex } from './wire.ts'

const text = (value: string): string => toHex(new TextEncoder().encode(value))

describe('constructors give the assigned numbers', () => {
  test.each([
    [headerError('not-synchronized', 'x'), 1, 1],
    [openError('unsupported-capability', 'x'), 2, 7],
    [openError('role-mismatch', 'x'), 2, 11],
    [updateError('malformed-as-path', 'x'), 3, 11],
    [holdTimerExpiredError(90), 4, 0],
    [stateMachineError('OpenConfirm', 'x'), 5, 2],
    [ceaseError('administrative-shutdown', 'x'), 6, 2],
    [ceaseError('connection-collision', 'x'), 6, 7],
    [ceaseError('hard-reset', 'x'), 6, 9],
    [ceaseError('bfd-down', 'x'), 6, 10],
    [routeRefreshLengthError(new Uint8Array(24)), 7, 1],
    [sendHoldTimerExpiredError(480), 8, 0],
  ])('%o', (error, code, subcode) => {
    expect([error.code, error.subcode]).toEqual([code, subcode])
    expect(isAssignedError(code, subcode)).toBe(true)
    expect(notificationOf(error)).toEqual({ type: 'NOTIFICATION', code, subcode, data: error.data })
  })

  test.each([
    [0, 0],
    [1, 4],
    [2, 12],
    [3, 7],
    [6, 11],
    [9, 0],
  ])('%i/%i is not assigned', (code, subcode) => {
    expect(isAssignedError(code, subcode)).toBe(false)
  })
})

// RFC 9003 section 2
describe('shutdown communication', () => {
  test.each<[string, string, string]>([
    ['plain text', 'maintenance', `0b${text('maintenance')}`],
    ['no text: no data', '', ''],
    ['UTF-8', 'Müller', `07${text('Müller')}`],
    ['255 octets', 'x'.repeat(255), `ff${'78'.repeat(255)}`],
    ['cut at 255 octets', 'x'.repeat(300), `ff${'78'.repeat(255)}`],
    ['cut between characters: two octets', `${'x'.repeat(254)}é`, `fe${'78'.repeat(254)}`],
    ['cut between characters: three octets', `${'x'.repeat(253)}€`, `fd${'78'.repeat(253)}`],
    ['cut between characters: four octets', `${'x'.repeat(252)}🚪`, `fc${'78'.repeat(252)}`],
  ])('%s', (_, words, hex) => {
    expect(toHex(encodeShutdownCommunication(words))).toBe(hex)
  })

  test('for those who read no more than the 128 octets of RFC 8203', () => {
    expect(encodeShutdownCommunication('x'.repeat(300), 128).length).toBe(129)
  })

  test.each<[string, string, ReturnType<typeof decodeShutdownCommunication>]>([
    ['no data', '', undefined],
    ['a length of zero', '00', undefined],
    ['text', '02 6f6b', { type: 'text', text: 'ok' }],
    ['more data than text: the rest is not of it', '02 6f6b ff', { type: 'text', text: 'ok' }],
    ['less data than text', '05 6f6b', { type: 'malformed', bytes: fromHex('056f6b') }],
    ['not UTF-8', '02 c328', { type: 'malformed', bytes: fromHex('02c328') }],
    ['a cut character', '01 c3', { type: 'malformed', bytes: fromHex('01c3') }],
    ['an overlong form', '02 c080', { type: 'malformed', bytes: fromHex('02c080') }],
    ['a surrogate', '03 eda080', { type: 'malformed', bytes: fromHex('03eda080') }],
    ['beyond U+10FFFF', '04 f4908080', { type: 'malformed', bytes: fromHex('04f4908080') }],
  ])('received: %s', (_, hex, expected) => {
    expect(decodeShutdownCommunication(fromHex(hex))).toEqual(expected)
  })

  test('any text comes back, as far as it fits', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }), (words) => {
        const received = decodeShutdownCommunication(encodeShutdownCommunication(words))
        expect(received?.type).toBe('text')
        expect(received?.type === 'text' && words.startsWith(received.text)).toBe(true)
      }),
    )
  })

  test('UTF-8 is that of the platform', () => {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const accepted = (bytes: Uint8Array): string | undefined => {
      try {
        return decoder.decode(bytes)
      } catch {
        return undefined
      }
    }
    const likely = fc.constantFrom(0x41, 0x80, 0xa0, 0x90, 0xbf, 0xc1, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5)
    fc.assert(
      fc.property(fc.array(likely, { maxLength: 6 }), (octets) => {
        const bytes = Uint8Array.from(octets)
        expect(decodeUtf8(bytes)).toBe(accepted(bytes))
      }),
      { numRuns: 3000 },
    )
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (words) => {
        expect(encodeUtf8(words)).toEqual(new TextEncoder().encode(words))
      }),
    )
  })
})

describe('what an operator reads', () => {
  const received = (code: number, subcode: number, data = ''): string =>
    describeNotification({ type: 'NOTIFICATION', code, subcode, data: fromHex(data) })

  test.each<[string, string]>([
    [
      received(6, 2, `17${text('maintenance until 18:00')}`),
      'the router closed the session: cease, administrative shutdown: "maintenance until 18:00"',
    ],
    [received(6, 2), 'the router closed the session: cease, administrative shutdown'],
    [received(6, 4, '05 6f6b'), 'the router closed the session: cease, administrative reset: data 056f6b'],
    [received(6, 2, '02 c328'), 'the router closed the session: cease, administrative shutdown: data 02c328'],
    [
      received(6, 1, '0001 01 000003e8'),
      'the router closed the session: cease, maximum number of prefixes reached: ipv4-unicast, limit 1000',
    ],
    [
      received(6, 1, '0019 46 00000005'),
      'the router closed the session: cease, maximum number of prefixes reached: AFI 25 SAFI 70, limit 5',
    ],
    [
      received(6, 9, '06 02 02 6f6b'),
      'the router closed the session: cease, hard reset because of cease, administrative shutdown: "ok"',
    ],
    [
      received(6, 9, '06 09 06 09 06 09'),
      'the router closed the session: cease, hard reset because of cease, hard reset: data 06090609',
    ],
    [received(6, 77), 'the router closed the session: cease, subcode 77'],
    [received(4, 0), 'the router closed the session: hold timer expired'],
    [
      received(2, 1, '0003'),
      'the router closed the session: OPEN message error, unsupported version number: it speaks version 3',
    ],
    [
      received(2, 7, '45 04 00010103 ef 00 47 ff'),
      'the router closed the session: OPEN message error, unsupported capability: add-path, capability 239, long-lived-graceful-restart',
    ],
    [received(2, 2), 'the router closed the session: OPEN message error, bad peer AS'],
    [received(2, 0), 'the router closed the session: OPEN message error, unspecific'],
    [received(1, 2, '0013'), 'the router closed the session: message header error, bad message length: 19 octets'],
    [
      received(3, 4, 'c0010100'),
      'the router closed the session: UPDATE message error, attribute flags error: data c0010100',
    ],
    [received(3, 0), 'the router closed the session: UPDATE message error'],
    [received(200, 7), 'the router closed the session: error code 200, subcode 7'],
    [
      received(3, 1, 'aa'.repeat(40)),
      `the router closed the session: UPDATE message error, malformed attribute list: data ${'aa'.repeat(32)}...`,
    ],
    [
      describeSessionError(openError('unacceptable-hold-time', 'hold time of 1 s, must be 0 or at least 3')),
      'the session was closed from here: OPEN message error, unacceptable hold time: hold time of 1 s, must be 0 or at least 3',
    ],
  ])('%s', (said, expected) => {
    expect(said).toBe(expected)
  })

  test('control characters of the router reach no terminal', () => {
    const words = 'a\u001b[31mb\n"c\\\u202e'
    const data = encodeShutdownCommunication(words)
    expect(describeNotification({ type: 'NOTIFICATION', code: 6, subcode: 2, data })).toBe(
      'the router closed the session: cease, administrative shutdown: "a\\u{1b}[31mb\\u{a}\\"c\\\\\\u{202e}"',
    )
  })

  test('every assigned pair has words', () => {
    for (let code = 1; code <= 8; code++)
      for (let subcode = 1; subcode < 256; subcode++)
        if (isAssignedError(code, subcode)) expect(renderErrorCode(code, subcode)).not.toMatch(/\d/)
  })
})
