import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { selectPaths } from '../../../src/bgp/rib/select.ts'
import { routeOver, withLeaving } from './support.ts'

const vip = (i: number): string => `198.18.${i >> 8}.${i & 255}/32`
const nodes = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i + 1)
const chosen = (text: string, among: readonly number[], limit: number, seed = 'seed'): readonly number[] => {
  const route = routeOver(text, among)
  return selectPaths(route.paths, limit, seed, route.prefix).map(({ pathId }) => pathId)
}

describe('choosing paths for a peer that can not have them all', () => {
  test('all are taken when they fit', () => {
    expect(chosen(vip(0), [3, 5, 9], 3)).toEqual([3, 5, 9])
  })

  test('the choice keeps the order of path ids', () => {
    const ids = chosen(vip(0), nodes(40), 8)
    expect(ids).toEqual([...ids].sort((a, b) => a - b))
    expect(new Set(ids).size).toBe(8)
  })

  test.each([1, 4])('VIPs spread over the nodes, %i path(s) each', (limit) => {
    const counts = new Map<number, number>()
    for (let i = 0; i < 8000; i++)
      for (const id of chosen(vip(i), nodes(16), limit)) counts.set(id, (counts.get(id) ?? 0) + 1)
    const fair = (8000 * limit) / 16
    for (const id of nodes(16)) expect(Math.abs((counts.get(id) ?? 0) - fair) / fair).toBeLessThan(0.2)
  })

  test('another seed gives another spread', () => {
    const spread = (seed: string): string =>
      nodes(64)
        .map((i) => chosen(vip(i), nodes(16), 1, seed))
        .join()
    expect(spread('a')).not.toBe(spread('b'))
  })

  test('a node that leaves moves only what it held, and a node that comes takes only what it wins', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 0xffff }), { minLength: 2, maxLength: 20 }),
        fc.integer({ min: 1, max: 6 }),
        fc.nat(5000),
        (ids, limit, i) => {
          const all = [...ids].sort((a, b) => a - b)
          const [gone = 0, ...rest] = ids
          const before = chosen(vip(i), all, limit)
          const after = chosen(
            vip(i),
            rest.sort((a, b) => a - b),
            limit,
          )
          const kept = before.filter((id) => id !== gone)
          expect(after).toEqual(expect.arrayContaining(kept))
          expect(after.length - kept.length).toBeLessThanOrEqual(1)
        },
      ),
    )
  })

  test('a path that leaves comes after all that stay, and what it held moves as if it had left', () => {
    const ids = nodes(9)
    for (let i = 0; i < 50; i++) {
      const route = withLeaving(routeOver(vip(i), ids), [2, 5, 7])
      const pick = (limit: number): readonly number[] =>
        selectPaths(route.paths, limit, 'seed', route.prefix).map(({ pathId }) => pathId)
      const staying = ids.filter((id) => ![2, 5, 7].includes(id))
      for (const limit of [1, 3, 6]) expect(pick(limit)).toEqual(chosen(vip(i), staying, limit))
      const more = pick(7)
      expect(more.filter((id) => staying.includes(id))).toEqual(staying)
      expect(more).toHaveLength(7)
    }
  })
})
