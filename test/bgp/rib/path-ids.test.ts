import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createPathIds } from '../../../src/bgp/rib/path-ids.ts'
import { ip } from './support.ts'

test('an id is sent as the planner gave it', () => {
  const ids = createPathIds()
  expect([ids.wireId(7, ip('10.0.0.1')), ids.wireId(9, ip('10.0.0.2')), ids.wireId(7, ip('10.0.0.1'))]).toEqual([
    7, 9, 7,
  ])
})

test('the highest id wraps to the lowest when it is taken', () => {
  const ids = createPathIds()
  expect([ids.wireId(0xffff_ffff, ip('10.0.0.1')), ids.wireId(0xffff_ffff, ip('10.0.0.2'))]).toEqual([0xffff_ffff, 1])
})

test('no id ever stands for two next hops, whatever the planner claims, and answers never change', () => {
  const claim = fc.record({ pathId: fc.integer({ min: 1, max: 6 }), node: fc.integer({ min: 1, max: 6 }) })
  fc.assert(
    fc.property(fc.array(claim, { maxLength: 60 }), (claims) => {
      const ids = createPathIds()
      const claimOf = new Map<number, string>()
      for (const { pathId, node } of claims) {
        const nextHop = ip(`10.0.0.${node}`)
        const wireId = ids.wireId(pathId, nextHop)
        expect(claimOf.get(wireId) ?? `${pathId} ${nextHop}`).toBe(`${pathId} ${nextHop}`)
        claimOf.set(wireId, `${pathId} ${nextHop}`)
      }
    }),
  )
})
