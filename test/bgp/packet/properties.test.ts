// What holds for all messages and all bytes.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { messageFor, mutation, session, updateFor } from './arbitraries.ts'
import { receive } from './invariants.ts'

const runs = { numRuns: 500 }

const sessionAndMessage = session.chain((codec) => fc.tuple(fc.constant(codec), messageFor(codec)))
const sessionAndUpdate = session.chain((codec) => fc.tuple(fc.constant(codec), updateFor(codec)))

describe('every message of every session', () => {
  test('decode(encode(x)) equals x, without an issue', () => {
    fc.assert(
      fc.property(sessionAndMessage, ([codec, message]) => {
        const decoded = decodeMessage(encodeMessage(message, codec), codec)
        expect(decoded).toMatchObject({ ok: true, issues: [] })
        expect(decoded.ok && decoded.message).toEqual(message)
      }),
      runs,
    )
  })

  test('encode(decode(encode(x))) equals encode(x)', () => {
    fc.assert(
      fc.property(sessionAndMessage, ([codec, message]) => {
        const bytes = encodeMessage(message, codec)
        const decoded = decodeMessage(bytes, codec)
        expect(decoded.ok && encodeMessage(decoded.message, codec)).toEqual(bytes)
      }),
      runs,
    )
  })
})

describe('no bytes at all make the decoder or the scanner throw, and their verdicts agree', () => {
  test('random bytes', () => {
    fc.assert(
      fc.property(session, fc.uint8Array({ maxLength: 200 }), (codec, bytes) => void receive(bytes, codec)),
      runs,
    )
  })

  test('random bodies in a right header', () => {
    const body = fc.uint8Array({ maxLength: 300 })
    fc.assert(
      fc.property(session, fc.integer({ min: 1, max: 5 }), body, (codec, type, rest) => {
        const length = 19 + rest.length
        receive(
          Uint8Array.of(...Array.from({ length: 16 }, () => 0xff), length >> 8, length & 0xff, type, ...rest),
          codec,
        )
      }),
      runs,
    )
  })

  test('messages with a few octets changed, or cut, on any session', () => {
    fc.assert(
      fc.property(sessionAndMessage, session, mutation, ([sender, message], receiver, mutate) => {
        receive(mutate(encodeMessage(message, sender)), receiver)
      }),
      { numRuns: 2000 },
    )
  })

  test('UPDATEs cut at each place, their length field made to fit', () => {
    fc.assert(
      fc.property(sessionAndUpdate, ([codec, message]) => {
        const bytes = encodeMessage(message, codec)
        for (let length = 0; length < Math.min(bytes.length, 600); length++) {
          const cut = bytes.slice(0, length)
          receive(cut, codec)
          cut[16] = length >> 8
          cut[17] = length & 0xff
          receive(cut, codec)
        }
      }),
      { numRuns: 10 },
    )
  })
})
