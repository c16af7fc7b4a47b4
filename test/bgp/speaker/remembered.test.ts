// What a peer with graceful restart may still hold while there is no session.

import { expect, test } from 'vitest'
import { createRemembered } from '../../../src/bgp/speaker/remembered.ts'
import { routeTo } from './bench.ts'

const lossMs = 1000
const vip1 = routeTo('203.0.113.1', '10.0.0.101', '10.0.0.102')
const vip2 = routeTo('203.0.113.2', '10.0.0.101')

test('nothing, before there was a session', () => {
  expect(createRemembered(lossMs).take()).toEqual([])
})

test('what it was told last, once', () => {
  const remembered = createRemembered(lossMs)
  remembered.keep([vip1, vip2], 0)
  expect(remembered.take()).toEqual([vip1, vip2])
  expect(remembered.take()).toEqual([])
})

test('what was withdrawn just before the end', () => {
  const remembered = createRemembered(lossMs)
  remembered.replaced(vip2, 500)
  remembered.keep([vip1], 1500)
  expect(remembered.take()).toEqual([vip1, vip2])
})

test('not what was withdrawn long before', () => {
  const remembered = createRemembered(lossMs)
  remembered.replaced(vip2, 499)
  remembered.keep([vip1], 1500)
  expect(remembered.take()).toEqual([vip1])
})

test('every next hop that one of several changes took away', () => {
  const remembered = createRemembered(lossMs)
  const [first, second] = vip1.paths
  if (first === undefined || second === undefined) throw new Error('two paths')
  remembered.replaced(vip1, 100)
  remembered.replaced({ ...vip1, paths: [second] }, 200)
  remembered.keep([{ ...vip1, paths: [first] }], 300)
  expect(remembered.take()).toEqual([vip1])
})

test('across a session that never came up', () => {
  const remembered = createRemembered(lossMs)
  remembered.keep([vip1], 0)
  remembered.keep([], 100_000)
  expect(remembered.take()).toEqual([vip1])
})
