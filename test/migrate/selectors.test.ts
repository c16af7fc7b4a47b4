// Which lists of selectors are one selector.

import { describe, expect, test } from 'vitest'
import { type LabelSelector, matchesSelector } from '../../src/k8s/objects.ts'
import { both, describeSelector, unite } from '../../src/migrate/selectors.ts'

const labels = (matchLabels: Readonly<Record<string, string>>): LabelSelector => ({ matchLabels, matchExpressions: [] })
const oneOf = (key: string, ...values: readonly string[]): LabelSelector => ({
  matchLabels: {},
  matchExpressions: [{ key, operator: 'In', values }],
})

describe('a list of selectors, of which any may match', () => {
  test.each<[string, readonly LabelSelector[], string]>([
    ['nothing', [], 'all'],
    ['one that is empty', [labels({ a: '1' }), labels({})], 'all'],
    ['a single one', [labels({ a: '1', b: '2' })], 'a=1 and b=2'],
    ['the same one twice', [labels({ a: '1', b: '2' }), labels({ a: '1', b: '2' })], 'a=1 and b=2'],
    ['values of one label', [labels({ a: '1' }), oneOf('a', '2', '3'), labels({ a: '1' })], 'a In (1, 2, 3)'],
    ['different labels', [labels({ a: '1' }), labels({ b: '1' })], 'several'],
    ['more than one label', [labels({ a: '1', b: '1' }), labels({ a: '2', b: '1' })], 'several'],
  ])('%s', (_, selectors, expected) => {
    const united = unite(selectors)
    expect(united.type === 'one' ? describeSelector(united.selector) : united.type).toBe(expected)
  })
})

test('two selectors that must both match, even where they contradict each other', () => {
  const contradiction = both(labels({ rack: 'r1' }), labels({ rack: 'r2', role: 'edge' }))
  for (const rack of ['r1', 'r2'])
    expect(contradiction && matchesSelector(contradiction, { rack, role: 'edge' })).toBe(false)
  const fitting = both(labels({ rack: 'r1' }), oneOf('role', 'edge'))
  expect(fitting && matchesSelector(fitting, { rack: 'r1', role: 'edge' })).toBe(true)
  expect(fitting && matchesSelector(fitting, { rack: 'r1', role: 'core' })).toBe(false)
})
