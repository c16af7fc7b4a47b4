// Closes a test run with what it did not test, and why: a skipped test that nobody counts is a hole that nobody sees.

import type { Reporter, TestCase, TestModule } from 'vitest/node'
import { skipMark } from './skip-mark.ts'

/** Add to `reporters` in vitest.config.ts, after the one that prints the results. */
export function createSkippedReporter(print: (line: string) => void = console.log): Reporter {
  return {
    onTestRunEnd: (modules, errors) => {
      for (const line of renderSkipped(skippedReasons(modules))) print(line)
      print(renderTotals(modules, errors.length))
    },
  }
}

/** The run in one line, last of all. A module that cannot be loaded, a hook that throws, an error outside of tests: each a failure. */
function renderTotals(modules: readonly TestModule[], errors: number): string {
  const states = modules.flatMap((module) => [...module.children.allTests()].map((test) => test.result().state))
  const count = (state: string): number => states.filter((each) => each === state).length
  const places = modules.flatMap((module) => [module, ...module.children.allSuites()])
  const broken = places.filter((place) => place.errors().length > 0).length
  return `tests: ${count('passed')} passed, ${count('failed') + broken + errors} failed, ${count('skipped')} skipped`
}

/** The reason of each skipped test. */
function skippedReasons(modules: readonly TestModule[]): readonly string[] {
  return modules.flatMap((module) =>
    [...module.children.allTests()].filter((test) => test.result().state === 'skipped').map(reasonOf),
  )
}

/** The lines to print for a list of reasons, one entry a skipped test. */
export function renderSkipped(reasons: readonly string[]): readonly string[] {
  const counts = new Map<string, number>()
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  const lines = [...counts].sort(([, a], [, b]) => b - a).map(([reason, count]) => `  ${count} skipped: ${reason}`)
  return [`Skipped tests: ${reasons.length}`, ...lines]
}

/** The words between the mark and its bracket in the full name, else a complaint. */
export function reasonIn(fullName: string): string {
  const start = fullName.indexOf(skipMark)
  if (start < 0) return 'no reason given'
  const rest = fullName.slice(start + skipMark.length)
  return rest.slice(0, rest.indexOf(']'))
}

const reasonOf = (test: TestCase): string => reasonIn(test.fullName)
