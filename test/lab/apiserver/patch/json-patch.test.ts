import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from '../../../../src/lab/apiserver/json.ts'
import { jsonPatch } from '../../../../src/lab/apiserver/patch/json-patch.ts'
import { mergePatch } from '../../../../src/lab/apiserver/patch/merge-patch.ts'

// RFC 6902, appendix A, and the pointer escapes of RFC 6901.
test.each<[string, JsonObject, readonly JsonObject[], JsonObject]>([
  ['add a member', { foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { foo: 'bar', baz: 'qux' }],
  ['add an item', { foo: ['a', 'c'] }, [{ op: 'add', path: '/foo/1', value: 'b' }], { foo: ['a', 'b', 'c'] }],
  ['append an item', { foo: ['a'] }, [{ op: 'add', path: '/foo/-', value: 'b' }], { foo: ['a', 'b'] }],
  ['remove a member', { a: 1, b: 2 }, [{ op: 'remove', path: '/a' }], { b: 2 }],
  ['remove an item', { foo: ['a', 'b'] }, [{ op: 'remove', path: '/foo/0' }], { foo: ['b'] }],
  ['replace a value', { a: 1 }, [{ op: 'replace', path: '/a', value: 2 }], { a: 2 }],
  ['move a value', { a: { x: 1 }, b: {} }, [{ op: 'move', from: '/a/x', path: '/b/y' }], { a: {}, b: { y: 1 } }],
  ['copy a value', { a: [1] }, [{ op: 'copy', from: '/a', path: '/b' }], { a: [1], b: [1] }],
  ['test a value', { a: { b: 1 } }, [{ op: 'test', path: '/a', value: { b: 1 } }], { a: { b: 1 } }],
  [
    'escapes in pointers',
    { 'a/b': 1, 'c~d': 2 },
    [
      { op: 'remove', path: '/a~1b' },
      { op: 'remove', path: '/c~0d' },
    ],
    {},
  ],
])('%s', (_what, before, patch, after) => {
  expect(jsonPatch(before, patch)).toEqual(after)
})

describe('refusals', () => {
  test.each<[string, Json, number]>([
    ['no array', {}, 400],
    ['an unknown operation', [{ op: 'spam', path: '/a' }], 400],
    ['a path that is no pointer', [{ op: 'remove', path: 'a' }], 400],
    ['add without a value', [{ op: 'add', path: '/b' }], 400],
    ['removing what is not there', [{ op: 'remove', path: '/b' }], 422],
    ['replacing what is not there', [{ op: 'replace', path: '/b', value: 1 }], 422],
    ['adding beneath what is not there', [{ op: 'add', path: '/b/c', value: 1 }], 422],
    ['an index beyond the end', [{ op: 'add', path: '/list/2', value: 1 }], 422],
    ['a test that fails', [{ op: 'test', path: '/a', value: 2 }], 422],
  ])('%s', (_what, patch, code) => {
    expect(() => jsonPatch({ a: 1, list: [0] }, patch)).toThrow(expect.objectContaining({ code }))
  })
})

// RFC 7386, appendix A.
test.each<[Json, Json, Json]>([
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [
    ['a', 'b'],
    ['c', 'd'],
    ['c', 'd'],
  ],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
])('merging %j with %j gives %j', (before, patch, after) => {
  expect(mergePatch(before, patch)).toEqual(after)
})
