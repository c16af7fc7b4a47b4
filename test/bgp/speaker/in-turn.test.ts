// The order of tasks that cause others.

import { expect, test } from 'vitest'
import { createInTurn } from '../../../src/bgp/speaker/in-turn.ts'

test('what a task causes comes after it, in order, and before the first caller goes on', () => {
  const inTurn = createInTurn()
  const order: string[] = []
  inTurn(() => {
    order.push('first begins')
    inTurn(() => {
      order.push('second')
      inTurn(() => order.push('fourth'))
    })
    inTurn(() => order.push('third'))
    order.push('first ends')
  })
  order.push('caller')
  expect(order).toEqual(['first begins', 'first ends', 'second', 'third', 'fourth', 'caller'])
})

test('a task that throws keeps nobody from having a turn later', () => {
  const inTurn = createInTurn()
  const order: string[] = []
  const failing = (): void =>
    inTurn(() => {
      throw new Error('a mistake of ours')
    })
  expect(failing).toThrow('a mistake of ours')
  inTurn(() => order.push('next'))
  expect(order).toEqual(['next'])
})
