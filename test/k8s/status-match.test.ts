// What counts when a status is compared with the one that should be there.
import { expect, test } from 'vitest'
import { digestMatches, digestOf, statusMatches } from '../../src/k8s/status-match.ts'

const withdrawn = { services: 'default/web', nextHops: [], announcedTo: [] }

// kube-apiserver v1.36.2 answers an apply of empty lists with either, depending on what was there before.
test.each([
  ['as they were applied', withdrawn, true],
  ['not at all', { services: 'default/web' }, true],
  ['with items', { ...withdrawn, nextHops: [{ node: 'node1' }] }, false],
])('empty lists that a server keeps %s: the status says what it should: %s', (_, observed, same) => {
  expect(statusMatches('Vip', withdrawn, observed)).toBe(same)
  expect(digestMatches(withdrawn, digestOf(observed))).toBe(same)
})
