// The queue against what it stands for: the member with the least deadline, whatever was set, moved and taken out.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createDueQueue, type Due } from '../../src/bfd/due-queue.ts'

const outside = (): Due => ({ dueMs: Number.POSITIVE_INFINITY, place: -1 })

test('the first is always one of those that are due first', () => {
  const change = fc.record({
    who: fc.nat(30),
    dueMs: fc.oneof(fc.nat(100), fc.constant(Number.POSITIVE_INFINITY)),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
      const members = Array.from({ length: 31 }, outside)
      const queue = createDueQueue<Due>()
      for (const { who, dueMs } of changes) {
        const member = members[who]
        if (member !== undefined) queue.set(member, dueMs)
        const waiting = members.filter((each) => each.dueMs !== Number.POSITIVE_INFINITY)
        expect(queue.size).toBe(waiting.length)
        expect(queue.first()?.dueMs).toBe(waiting.map((each) => each.dueMs).sort((a, b) => a - b)[0])
      }
    }),
  )
})

test('members come in the order of their deadlines', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000)), (deadlines) => {
      const queue = createDueQueue<Due>()
      for (const dueMs of deadlines) queue.set(outside(), dueMs)
      const order: number[] = []
      for (let first = queue.first(); first !== undefined; first = queue.first()) {
        order.push(first.dueMs)
        queue.set(first, Number.POSITIVE_INFINITY)
      }
      expect(order).toEqual(deadlines.toSorted((a, b) => a - b))
    }),
  )
})
