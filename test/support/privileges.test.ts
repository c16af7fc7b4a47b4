import { describe, expect, test } from 'vitest'
import { missingOf } from './privileges.ts'
import { skipMark } from './skip-mark.ts'
import { reasonIn, renderSkipped } from './skipped-reporter.ts'

describe('requirements of a test', () => {
  test('a program that is installed is not missing, whether by name or by path', () => {
    expect(missingOf({ programs: ['sh', '/bin/sh'] })).toEqual([])
  })

  test('a program that is not installed is named', () => {
    expect(missingOf({ programs: ['sh', 'no-such-router'] })).toEqual(['program no-such-router'])
  })
})

describe('the count of skipped tests', () => {
  test('is by reason, the most frequent first', () => {
    expect(renderSkipped(['needs root', 'needs program bird', 'needs program bird'])).toEqual([
      'Skipped tests: 3',
      '  2 skipped: needs program bird',
      '  1 skipped: needs root',
    ])
  })

  test('is printed even when it is zero', () => {
    expect(renderSkipped([])).toEqual(['Skipped tests: 0'])
  })

  test.each([
    [`FRR ${skipMark}needs root] > keeps the session`, 'needs root'],
    ['keeps the session', 'no reason given'],
  ])('reads the reason from %s', (name, reason) => {
    expect(reasonIn(name)).toBe(reason)
  })
})
