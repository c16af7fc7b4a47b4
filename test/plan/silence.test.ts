// Histories of what the API server hears of Nodes, and whose silence counts after each step. A node is `up`, `unready` by its own
// word, or `silent` since so many seconds (by the node controller's clock).

import { expect, test } from 'vitest'
import type { Node } from '../../src/k8s/objects.ts'
import { excludeLabel } from '../../src/plan/eligibility.ts'
import { nothingSeen, returnMs, seeSilence } from '../../src/plan/silence.ts'
import { node } from '../vip/cluster.ts'

type Word = 'up' | 'unready' | 'leaving' | { readonly silentSince: number } | 'gone'
/** Seconds at which it is seen, what it is, and the nodes whose last word counts. */
type Step = readonly [seconds: number, words: Readonly<Record<string, Word>>, together: string]

const silent = (silentSince: number): Word => ({ silentSince })
const nodeOf = (name: string, word: Word): Node => {
  const labels = name.startsWith('cp') ? { [excludeLabel]: '' } : {}
  const at = { meta: { labels, ...(word === 'leaving' ? { deleting: true } : {}) } }
  if (typeof word === 'string') return node(name, [], { ...at, ready: word !== 'unready' })
  return node(name, [], { ...at, ready: false, silentSinceMs: word.silentSince * 1000 })
}
const graceSeconds = returnMs / 1000

test.each<[string, readonly Step[]]>([
  ['one of three', [[0, { a: 'up', b: 'up', c: silent(0) }, '']]],
  ['two of three', [[0, { a: 'up', b: silent(0), c: silent(0) }, '']]],
  [
    'all, one after the other',
    [
      [0, { a: 'up', b: 'up', c: 'up' }, ''],
      [5, { a: silent(5), b: silent(5), c: 'up' }, ''],
      [10, { a: silent(5), b: silent(5), c: silent(10) }, 'a b c'],
      [9999, { a: silent(5), b: silent(5), c: silent(10) }, 'a b c'],
    ],
  ],
  ['all, before we began', [[0, { a: silent(0), b: silent(3) }, 'a b']]],
  ['the only one', [[0, { a: silent(0) }, 'a']]],
  ['all, but one long before', [[0, { a: silent(0), b: silent(0), c: silent(-600) }, 'a b']]],
  [
    'all, one of which had said that it is not ready',
    [
      [0, { a: 'up', b: 'unready' }, ''],
      [50, { a: silent(50), b: silent(50) }, 'a'],
    ],
  ],
  ['all but one that says that it is not ready', [[0, { a: silent(0), b: 'unready' }, '']]],
  ['all but one that nobody may be sent to', [[0, { a: silent(0), b: silent(0), cp: 'up' }, 'a b']]],
  ['all but one that is being deleted', [[0, { a: silent(0), b: 'leaving' }, 'a']]],
  [
    'all, which return one after the other: until the last, or until the time is over',
    [
      [0, { a: silent(0), b: silent(0), c: silent(0) }, 'a b c'],
      [70, { a: 'up', b: silent(0), c: silent(0) }, 'a b c'],
      [75, { a: 'up', b: 'up', c: silent(0) }, 'a b c'],
      [70 + graceSeconds - 1, { a: 'up', b: 'up', c: silent(0) }, 'a b c'],
      [70 + graceSeconds, { a: 'up', b: 'up', c: silent(0) }, ''],
      [9999, { a: 'up', b: 'up', c: silent(0) }, ''],
    ],
  ],
  [
    'all, again, while they return',
    [
      [0, { a: silent(0), b: silent(0) }, 'a b'],
      [100, { a: 'up', b: silent(0) }, 'a b'],
      [110, { a: silent(110), b: silent(0) }, 'a b'],
      [200, { a: silent(110), b: silent(0) }, 'a b'],
    ],
  ],
  [
    'all, one of which is removed',
    [
      [0, { a: silent(0), b: silent(0) }, 'a b'],
      [10, { a: silent(0), b: 'gone' }, 'a'],
    ],
  ],
  ['nobody', [[0, {}, '']]],
])('Silent: %s', (_, steps) => {
  let seen = nothingSeen
  const said: string[] = []
  for (const [seconds, words] of steps) {
    const nodes = Object.entries(words).flatMap(([name, word]): [string, Node][] =>
      word === 'gone' ? [] : [[name, nodeOf(name, word)]],
    )
    seen = seeSilence(seen, new Map(nodes), seconds * 1000)
    said.push([...seen.together].sort().join(' '))
  }
  expect(said).toEqual(steps.map(([, , together]) => together))
})
