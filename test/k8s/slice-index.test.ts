// The slices of a Service are one list, another one whenever one of them is.

import { expect, test } from 'vitest'
import type { EndpointSlice, NamespacedName } from '../../src/k8s/objects.ts'
import { namespacedName } from '../../src/k8s/objects.ts'
import { createSliceIndex } from '../../src/k8s/slice-index.ts'

const web = namespacedName('default', 'web')
const api = namespacedName('default', 'api')
const slice = (name: string, service: NamespacedName): EndpointSlice =>
  ({ meta: { name }, service }) as unknown as EndpointSlice

test('slices come in any order and stand in one', () => {
  const changed: NamespacedName[] = []
  const index = createSliceIndex((service) => void changed.push(service))
  const [a, b, c] = ['a', 'b', 'c'].map((name) => slice(name, web))
  index.change(undefined, c)
  index.change(undefined, a)
  index.change(undefined, b)
  expect(index.byService.get(web)).toEqual([a, b, c])
  expect(changed).toEqual([web, web, web])
})

test('a changed slice takes the place of what it was, in another list', () => {
  const index = createSliceIndex(() => {})
  const [before, after, other] = [slice('a', web), slice('a', web), slice('b', web)]
  index.change(undefined, before)
  index.change(undefined, other)
  const list = index.byService.get(web)
  index.change(before, after)
  expect(index.byService.get(web)).not.toBe(list)
  expect(index.byService.get(web)?.[0]).toBe(after)
  expect(index.byService.get(web)).toHaveLength(2)
})

test('a slice that is given to another Service leaves the first one, and both are told of', () => {
  const changed: NamespacedName[] = []
  const index = createSliceIndex((service) => void changed.push(service))
  const [before, after] = [slice('a', web), slice('a', api)]
  index.change(undefined, before)
  changed.length = 0
  index.change(before, after)
  expect([index.byService.get(web), index.byService.get(api)]).toEqual([undefined, [after]])
  expect(changed).toEqual([web, api])
})

test('a Service without slices has no list', () => {
  const index = createSliceIndex(() => {})
  const only = slice('a', web)
  index.change(undefined, only)
  index.change(only, undefined)
  expect(index.byService.has(web)).toBe(false)
})
