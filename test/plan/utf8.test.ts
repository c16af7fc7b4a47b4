import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeUtf8 } from '../../src/plan/utf8.ts'

const reference = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

test.each([
  ['overlong NUL', [0xc0, 0x80]],
  ['overlong slash in three bytes', [0xe0, 0x80, 0xaf]],
  ['a surrogate', [0xed, 0xa0, 0x80]],
  ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
  ['a cut sequence', [0xe2, 0x82]],
  ['a stray continuation', [0x80]],
])('%s is no text', (_, bytes) => expect(decodeUtf8(Uint8Array.from(bytes))).toBeUndefined())

test('agrees with the platform on any text and on any bytes', () => {
  const agrees = (bytes: Uint8Array): void => void expect(decodeUtf8(bytes)).toBe(reference(bytes))
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => agrees(new TextEncoder().encode(text))))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 8 }), (bytes) => agrees(bytes)),
    { numRuns: 2000 },
  )
})
