// Lines out of bytes, wherever the bytes are cut, at a cost that grows with their number.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLineSplitter, LineTooLong } from '../../src/k8s/lines.ts'
import { compareVersions, isNewer } from '../../src/k8s/versions.ts'

test('any text in any pieces gives the same lines', () => {
  const line = fc.string({ unit: 'binary', maxLength: 40 }).map((text) => text.replace(/[\r\n]/g, '·').trim())
  fc.assert(
    fc.property(fc.array(line, { maxLength: 10 }), fc.array(fc.nat(20), { maxLength: 30 }), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''))
      const splitter = createLineSplitter({ lineBytesMax: 1_000 })
      const got: string[] = []
      let at = 0
      for (const cut of [...cuts, bytes.length]) {
        splitter.push(bytes.subarray(at, at + cut), (text) => void got.push(text))
        at = Math.min(bytes.length, at + cut)
      }
      expect(got).toEqual(lines.map((text) => Buffer.from(text).toString().trim()).filter((text) => text !== ''))
      expect(splitter.pendingBytes()).toBe(0)
    }),
  )
})

test('what has no end yet is pending', () => {
  const splitter = createLineSplitter({ lineBytesMax: 100 })
  splitter.push(Buffer.from('abc\nde'), () => {})
  expect(splitter.pendingBytes()).toBe(2)
})

test('a line beyond the bound is refused', () => {
  const splitter = createLineSplitter({ lineBytesMax: 8 })
  splitter.push(Buffer.from('12345'), () => {})
  expect(() => splitter.push(Buffer.from('6789'), () => {})).toThrow(LineTooLong)
})

test('a large object in small pieces is held once, not copied at every piece', () => {
  const splitter = createLineSplitter({ lineBytesMax: 64 * 1024 * 1024 })
  const piece = Buffer.alloc(256, 'x')
  // Quadratic joining of 64 Ki pieces would move half a terabyte.
  for (let i = 0; i < 65_536; i++) splitter.push(piece, () => {})
  let length = 0
  splitter.push(Buffer.from('\n'), (text) => {
    length = text.length
  })
  expect(length).toBe(256 * 65_536)
})

test.each<[string, string, number | undefined]>([
  ['9', '10', -1],
  ['10', '9', 1],
  ['10', '10', 0],
  ['18446744073709551616', '18446744073709551617', -1],
  ['a', 'b', undefined],
  ['a', 'a', 0],
  ['', '1', undefined],
  ['01', '1', undefined],
])('version %s against %s', (a, b, sign) => {
  const compared = compareVersions(a, b)
  expect(compared === undefined ? undefined : Math.sign(compared)).toBe(sign)
  expect(isNewer(a, b)).toBe(sign === 1)
})
