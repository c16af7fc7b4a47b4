// A list in pieces says the same as a list in one piece, wherever it is cut.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createListSplitter } from '../../src/k8s/list-items.ts'

/** What comes out of `text` that arrives in chunks which end at `cuts`. */
function split(
  text: string,
  cuts: readonly number[] = [],
): { readonly items: readonly unknown[]; readonly rest: unknown } {
  const bytes = Buffer.from(text)
  const splitter = createListSplitter()
  const items: unknown[] = []
  const ends = [...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length].sort((a, b) => a - b)
  let begin = 0
  for (const end of ends) {
    splitter.push(bytes.subarray(begin, end), (item) => void items.push(JSON.parse(item)))
    begin = end
  }
  return { items, rest: JSON.parse(splitter.rest()) }
}

const list = {
  kind: 'ServiceList',
  metadata: { resourceVersion: '7', continue: 'items', items: [1] },
  items: [{ metadata: { name: 'ü "quoted" \\' }, items: [{ a: '}],{' }] }, {}, { list: [[], [[{}]]], n: null }],
  more: ['items', { items: ['x'] }],
}
const rest = { ...list, items: [] }

test('is the same cut at each byte', () => {
  const text = JSON.stringify(list)
  for (let cut = 0; cut <= Buffer.byteLength(text); cut++)
    expect(split(text, [cut])).toEqual({ items: list.items, rest })
})

test('is the same byte by byte', () => {
  const text = JSON.stringify(list)
  expect(split(text, [...Array(Buffer.byteLength(text)).keys()])).toEqual({ items: list.items, rest })
})

test('is the same with any values, with white space and in any pieces', () => {
  const value = fc.jsonValue({ maxDepth: 4 })
  const item = fc.dictionary(fc.string(), value)
  fc.assert(
    fc.property(
      ...([fc.array(item, { maxLength: 5 }), value, fc.constantFrom(undefined, 1, '\t')] as const),
      fc.array(fc.nat(400), { maxLength: 20 }),
      (items, metadata, indent, cuts) => {
        const whole = { kind: 'List', metadata, items }
        const text = JSON.stringify(whole, undefined, indent)
        const plain = JSON.parse(text) as typeof whole
        expect(split(text, cuts)).toEqual({ items: plain.items, rest: { ...plain, items: [] } })
      },
    ),
  )
})

describe('an answer that is no list of objects is what it is', () => {
  test.each<[string, string]>([
    ['no items', '{"metadata":{"name":"x"}}'],
    ['items that are null', '{"items":null,"metadata":{}}'],
    ['no items at all', '{"items":[],"metadata":{}}'],
    ['items that are an object', '{"items":{"a":[{}]}}'],
    ['items deeper down', '{"data":{"items":[{"a":1}]}}'],
  ])('%s', (_what, text) => {
    expect(split(text)).toEqual({ items: [], rest: JSON.parse(text) })
  })
})

test('what has not ended yet is counted', () => {
  const splitter = createListSplitter()
  const push = (text: string): number => {
    splitter.push(Buffer.from(text), () => {})
    return splitter.pendingBytes()
  }
  expect([push('{"items":[{"a":'), push('"12345'), push('"},'), push('{}]')]).toEqual([5, 11, 0, 1])
})
