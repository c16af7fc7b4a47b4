// The steps of one Service are decided upon one version, and each of them makes another one of it.

import { expect, test } from 'vitest'
import { createOwnVersions, type OwnVersions } from '../../src/k8s/own-versions.ts'

const latest = (versions: OwnVersions, resourceVersion: string, uid = 'u1'): string =>
  versions.latest({ uid, resourceVersion })

test('what nobody wrote is at the version that it was decided upon', () => {
  expect(latest(createOwnVersions(), '5')).toBe('5')
})

test.each<[string, readonly (readonly [string, string])[], Readonly<Record<string, string>>]>([
  ['one write', [['5', '6']], { 5: '6', 6: '6', 4: '4' }],
  [
    'writes one upon the other',
    [
      ['5', '6'],
      ['6', '9'],
    ],
    { 5: '9', 6: '9', 9: '9' },
  ],
  ['a write that changed nothing', [['5', '5']], { 5: '5' }],
  // Somebody wrote 7: what was decided upon 5 or 6 was not decided upon that.
  [
    'a write of somebody else in between',
    [
      ['5', '6'],
      ['7', '8'],
    ],
    { 5: '5', 6: '6', 7: '8' },
  ],
])('%s', (_what, writes, expected) => {
  const versions = createOwnVersions()
  for (const [from, to] of writes) versions.note('u1', from, to)
  expect(Object.fromEntries(Object.keys(expected).map((version) => [version, latest(versions, version)]))).toEqual(
    expected,
  )
  expect(latest(versions, '5', 'u2')).toBe('5')
})

test('of many writes the last nine are remembered, and of many objects the ten thousand written last', () => {
  const versions = createOwnVersions()
  for (let version = 1; version <= 20; version++) versions.note('u1', `${version}`, `${version + 1}`)
  expect([latest(versions, '11'), latest(versions, '12')]).toEqual(['11', '21'])
  for (let object = 0; object < 9_999; object++) versions.note(`other-${object}`, '1', '2')
  expect(latest(versions, '12')).toBe('21')
  versions.note('one-more', '1', '2')
  expect(latest(versions, '12')).toBe('12')
})
