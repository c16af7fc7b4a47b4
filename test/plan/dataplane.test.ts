// A node becomes a next hop of a VIP when its agent has said that the rules are there, or when nobody waits for it.

import { expect, test } from 'vitest'
import { type Dataplane, dataplaneChanges, openDataplane, waitingFor } from '../../src/plan/dataplane.ts'

const dataplane = (over: Partial<Dataplane>): Dataplane => ({ ...openDataplane, ...over })
const waits = (vip: string, node: string, over: Partial<Dataplane>): boolean =>
  waitingFor(vip, dataplane(over))?.(node) ?? false

test.each<[string, boolean, Partial<Dataplane>]>([
  ['a VIP that is not young waits for nobody', false, { inPlace: new Map([['n1', 0n]]) }],
  ['a young VIP does not wait for a node without an agent', false, { young: new Map([['vip', 7n]]) }],
  ['nor for one that has it', false, { young: new Map([['vip', 7n]]), inPlace: new Map([['n1', 7n]]) }],
  ['but for one that has older ones only', true, { young: new Map([['vip', 7n]]), inPlace: new Map([['n1', 6n]]) }],
  ['and for one that has none', true, { young: new Map([['vip', 7n]]), inPlace: new Map([['n1', 0n]]) }],
  ['every VIP waits for a node that has just started', true, { unready: new Set(['n1']) }],
  ['and for no other', false, { unready: new Set(['n2']) }],
])('%s', (_what, expected, over) => {
  expect(waits('vip', 'n1', over)).toBe(expected)
})

test('two values may differ for their young VIPs, and for the nodes that were or became ready', () => {
  const before = dataplane({ young: new Map([['a', 1n]]), unready: new Set(['n1', 'n2']) })
  const after = dataplane({ young: new Map([['b', 2n]]), unready: new Set(['n2', 'n3']) })
  expect(dataplaneChanges(before, after)).toEqual({ vips: new Set(['a', 'b']), nodes: new Set(['n1', 'n3']) })
  expect(dataplaneChanges(before, before)).toEqual({ vips: new Set(), nodes: new Set() })
})
