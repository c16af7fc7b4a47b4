// The committed table claims what is tested, and no more: every cell is a test that passes, or a reason why there is none. A cell
// that a run contradicts is a test that fails.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { RouterKind } from '../../src/lab/routers/router.ts'
import { daemons, type Outcome, renderDocument, versionsIn } from './document.ts'
import { bfdNames } from './features/bfd.ts'
import type { FeatureRow } from './features/feature.ts'
import { rows } from './features/features.ts'

const committed = readFileSync(new URL('../../docs/interop.md', import.meta.url), 'utf8')

const all = (outcome: Outcome, of: readonly FeatureRow[]) =>
  new Map(daemons.map(({ kind }) => [kind, new Map(of.map(({ name }) => [name, outcome]))]))

test('docs/interop.md is the list of features, each seen to work with every daemon that has no reason not to', () => {
  expect(committed).toBe(renderDocument(rows, all('yes', rows), versionsIn(committed)))
})

test('docs/interop.md names the version of every daemon', () => {
  expect([...versionsIn(committed).keys()]).toEqual(daemons.map(({ kind }) => kind))
})

test('no two features have one name', () => {
  expect(new Set(rows.map(({ name }) => name)).size).toBe(rows.length)
})

describe('the table', () => {
  const sample: readonly FeatureRow[] = [
    { name: 'first' },
    { name: 'second', except: { frr: 'is shy', exabgp: 'is shy' } },
    { name: 'third', except: { frr: 'is shy' } },
  ]
  const versions = new Map<RouterKind, string>(daemons.map(({ kind }, i) => [kind, `1.${i}`]))

  test('has a row a feature and a numbered reason for what was not tested', () => {
    const lines = renderDocument(sample, all('yes', sample), versions).split('\n')
    expect(lines.slice(lines.findIndex((line) => line.startsWith('|')))).toEqual([
      '|  | BIRD 1.0 | FRR 1.1 | GoBGP 1.2 | OpenBGPD 1.3 | ExaBGP 1.4 |',
      '| --- | :-: | :-: | :-: | :-: | :-: |',
      '| first | yes | yes | yes | yes | yes |',
      '| second | yes | (1) | yes | yes | (2) |',
      '| third | yes | (1) | yes | yes | yes |',
      '',
      'Not tested, because the daemon:',
      '',
      '- (1) FRR is shy',
      '- (2) ExaBGP is shy',
      '',
    ])
  })

  test('says no where a test failed', () => {
    const outcomes = new Map(all('yes', sample)).set('gobgp', new Map(sample.map(({ name }) => [name, 'no'])))
    expect(renderDocument(sample, outcomes, versions)).toContain('| first | yes | yes | no | yes | yes |')
  })

  test('is not made of half a run', () => {
    const outcomes = new Map(all('yes', sample))
    outcomes.delete('bird')
    expect(() => renderDocument(sample, outcomes, versions)).toThrow('bird was not tested: first')
  })
})

test('every row about BFD has its test, with both daemons that have it', () => {
  const tests = readFileSync(new URL('bfd.test.ts', import.meta.url), 'utf8')
  for (const name of bfdNames) expect(tests).toContain(`'${name}'`)
})
