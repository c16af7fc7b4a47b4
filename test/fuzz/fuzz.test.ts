// Each fuzz target for a moment, as `make fuzz` runs it for longer: that it still runs, finds nothing, and gets to where it is to look.

import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type Case, runCases } from './runner.ts'

const run = promisify(execFile)
const target = (name: string): string => path.join(import.meta.dirname, name)

/** How many cases make about two seconds, and what each target must have met at least once among them. */
const targets: Readonly<Record<string, { readonly cases: number; readonly met: readonly string[] }>> = {
  'framer-fuzz.ts': { cases: 200, met: ['ways of cutting', 'messages', 'streams refused'] },
  'fsm-fuzz.ts': {
    cases: 400,
    met: ['events in any order', 'events that can happen', 'times OpenConfirm', 'times Established'],
  },
  'packet-fuzz.ts': {
    cases: 4000,
    met: ['taken', 'attribute-discard', 'treat-as-withdraw', 'session-reset'].flatMap((outcome) => [
      `built ${outcome}`,
      `mutated ${outcome}`,
    ]),
  },
  'speaker-fuzz.ts': {
    cases: 25,
    met: ['messages survived', 'messages refused', 'messages heard', 'floods', 'ended by UpdateMsgErr'],
  },
}

test('every target is listed here', () => {
  const files = readdirSync(import.meta.dirname).filter((file) => file.endsWith('-fuzz.ts'))
  expect(files.sort()).toEqual(Object.keys(targets).sort())
})

test.each(Object.entries(targets))('%s finds nothing in its first cases', async (name, { cases, met }) => {
  const { stdout, stderr } = await run(process.execPath, [target(name), '--cases', String(cases), '--seed', '1'])
  expect(stderr).toBe('')
  for (const what of met) expect(stdout).toMatch(new RegExp(`\\b[1-9]\\d* ${what}\\b`))
})

describe('a case that fails', () => {
  const failsAtZero: Case = (random, count) => {
    count('tries')
    if (random.below(50) === 0) throw new Error('found')
  }

  test('ends the run, and is told by a number that fails again', () => {
    const { cases, counts, failure } = runCases(failsAtZero, 1000, (done) => done < 10_000)
    expect(failure?.error).toEqual(new Error('found'))
    expect(failure?.number).toBe(1000 + cases - 1)
    expect(counts.get('tries')).toBe(cases)
    const again = runCases(failsAtZero, failure?.number ?? 0, (done) => done < 1)
    expect(again.failure).toEqual(failure)
  })
})
