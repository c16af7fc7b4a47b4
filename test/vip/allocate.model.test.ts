// Allocation under everything that can go wrong between deciding and having done it: see model.ts for the world.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { leftovers, play } from './model.ts'

const history = fc.array(fc.nat(1000), { minLength: 20, maxLength: 1200, size: 'max' })
const numRuns = 600

test('one controller at a time, crashes and handovers between any two writes, old caches, users at work', () => {
  fc.assert(
    fc.property(history, (numbers) => {
      const { world, passes } = play(numbers, 'lease')
      expect({
        violations: world.violations,
        slips: world.slips,
        left: leftovers(world),
        ends: passes < 100,
      }).toEqual({
        violations: [],
        slips: [],
        left: [],
        ends: true,
      })
    }),
    { numRuns },
  )
})

test('two controllers that both believe to lead never let two Services hold one address, and leave nothing behind', () => {
  fc.assert(
    fc.property(history, (numbers) => {
      const { world, passes } = play(numbers, 'split-brain')
      expect({ violations: world.violations, left: leftovers(world), ends: passes < 100 }).toEqual({
        violations: [],
        left: [],
        ends: true,
      })
    }),
    { numRuns },
  )
})
