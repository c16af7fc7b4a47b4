// What all fuzz targets have in common: one case after the other, each a function of its own number, until the time is over or
// something that must hold does not. A case that failed can be run again by its number alone.

import { basename } from 'node:path'
import { inspect, parseArgs } from 'node:util'
import { randomFrom } from '../bgp/speaker/bench.ts'

export interface Random {
  /** An integer in [0, below). */
  readonly below: (below: number) => number
  /** True once in `n` times on average. */
  readonly oneIn: (n: number) => boolean
  readonly pick: <T>(list: readonly T[]) => T
  readonly bytes: (length: number) => Uint8Array<ArrayBuffer>
  /** In [0, 1), as the speaker takes it. */
  readonly unit: () => number
}

export function createRandom(seed: number): Random {
  const unit = randomFrom(seed)
  const below = (limit: number): number => Math.floor(unit() * limit)
  return {
    unit,
    below,
    oneIn: (n) => below(n) === 0,
    pick: (list) => {
      const item = list[below(list.length)]
      if (item === undefined) throw new Error('nothing to pick from')
      return item
    },
    bytes: (length) => Uint8Array.from({ length }, () => below(256)),
  }
}

/** One case. Throws when something does not hold that must; `count` is for the summary. */
export type Case = (random: Random, count: (what: string, times?: number) => void) => void

export interface Outcome {
  readonly cases: number
  readonly counts: ReadonlyMap<string, number>
  readonly failure?: { readonly number: number; readonly error: unknown }
}

/** Cases with consecutive numbers from `first` on, while `goOn` says so; ends at the first failure. */
export function runCases(run: Case, first: number, goOn: (cases: number) => boolean): Outcome {
  const counts = new Map<string, number>()
  const count = (what: string, times = 1): void => void counts.set(what, (counts.get(what) ?? 0) + times)
  let cases = 0
  while (goOn(cases)) {
    const number = first + cases
    cases++
    try {
      run(createRandom(number), count)
    } catch (error) {
      return { cases, counts, failure: { number, error } }
    }
  }
  return { cases, counts }
}

/** Seeds lie so far apart that their cases do not meet. */
const casesPerSeed = 100_000_000

/**
 * The command line of a target: `--seconds N --seed S`; `--cases N` for so many instead of so long, `--case N` for a single one.
 * Prints what was done; the exit status is 1 after a failure, and the command that brings it back is printed.
 */
export function fuzz(file: string, run: Case): void {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      seed: { type: 'string', default: '1' },
      cases: { type: 'string' },
      case: { type: 'string' },
    },
  })
  const name = basename(file)
  const number = (option: keyof typeof values): number => {
    const value = Number(values[option])
    if (!(value > 0)) throw new Error(`--${option} is a positive number`)
    return value
  }
  const startMs = performance.now()
  const deadlineMs = startMs + 1000 * number('seconds')
  const seed = number('seed')
  const goOn =
    values.cases === undefined
      ? () => performance.now() < deadlineMs
      : (cases: number): boolean => cases < number('cases')
  const outcome =
    values.case === undefined
      ? runCases(run, seed * casesPerSeed, goOn)
      : runCases(run, number('case'), (cases) => cases === 0)
  const took = ((performance.now() - startMs) / 1000).toFixed(0)
  const counts = [...outcome.counts].sort().map(([what, times]) => `${times} ${what}`)
  process.stdout.write(`${name}, seed ${seed}: ${outcome.cases} cases in ${took} s: ${counts.join(', ')}\n`)
  if (outcome.failure === undefined) return
  const { failure } = outcome
  process.stderr.write(`${inspect(failure.error)}\nagain: node test/fuzz/${name} --case ${failure.number}\n`)
  process.exitCode = 1
}
