// Chaos by seed: rounds of overlapping faults and edits, and after each the question whether everything is as it must be. Run by hand
// or by `make chaos`; as root, it needs what `make demo` needs.
//
//   node test/e2e/chaos/chaos.ts --seed 1 --steps 30 --seconds 600
//
// `--groups services,api,...` draws from some of the steps alone, and `--gap 200` waits at most so many milliseconds between two.
// `--steps` a round, as many rounds as begin within `--seconds`. The first problem ends the run with status 1: what is wrong is printed
// below the steps that led to it, and the logs of all programs are kept in the directory that is named (`--keep`).

import { cpSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { createRandom, type Random } from '../../fuzz/runner.ts'
import { settle } from './settle.ts'
import type { Step } from './steps/step.ts'
import { drawStep, groupNames } from './steps.ts'
import { type ChaosWorld, createWorld, pause } from './world.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '30' },
    seconds: { type: 'string', default: '60' },
    // Services are what it is all about.
    groups: { type: 'string', default: [...groupNames, 'services', 'services'].join() },
    gap: { type: 'string', default: '2500' },
    keep: { type: 'string' },
  },
})
const number = (option: 'seed' | 'steps' | 'seconds' | 'gap'): number => {
  const value = Number(values[option])
  if (!(value > 0)) throw new Error(`--${option} is a positive number`)
  return value
}

const groups = values.groups.split(',')
const unknown = groups.filter((group) => !groupNames.includes(group))
if (unknown.length > 0) throw new Error(`--groups has ${unknown.join()}; there are ${groupNames.join()}`)

const startMs = performance.now()
const log = (line: string): void => {
  process.stdout.write(`${((performance.now() - startMs) / 1000).toFixed(1).padStart(7)} ${line}\n`)
}

/** Takes steps one after the other without waiting for their end; resolves when all have ended. */
async function playRound(world: ChaosWorld, random: Random, steps: number): Promise<number> {
  const taken = new Set<string>()
  const under: Promise<void>[] = []
  let played = 0
  for (let i = 0; i < steps; i++) {
    const step = drawStep(random, world, groups)
    const gapMs = random.pick([0, 0.02, 0.1, 0.4, 1]) * number('gap')
    if (step.locks.some((lock) => taken.has(lock))) log(`- left out: ${step.words}`)
    else {
      log(`+ ${step.words}`)
      played++
      for (const lock of step.locks) taken.add(lock)
      under.push(takeStep(world, step).finally(() => step.locks.forEach((lock) => void taken.delete(lock))))
    }
    await pause(gapMs)
  }
  await Promise.all(under)
  return played
}

async function takeStep(world: ChaosWorld, step: Step): Promise<void> {
  try {
    await step.take(world)
  } catch (error) {
    world.find(`the step could not be taken: ${step.words}: ${error instanceof Error ? error.stack : String(error)}`)
  }
}

async function run(world: ChaosWorld): Promise<void> {
  const seed = number('seed')
  let played = 0
  let rounds = 0
  const begunMs = performance.now()
  while (performance.now() - begunMs < 1000 * number('seconds') && world.findings.length === 0) {
    log(`round ${rounds} of seed ${seed}`)
    played += await playRound(world, createRandom(seed * 1000 + rounds), number('steps'))
    await settle(world)
    rounds++
  }
  log(
    `seed ${seed}: ${rounds} rounds, ${played} steps, ${world.calmRequests()} requests to the untouched Service, ${world.findings.length} problems`,
  )
}

const world = await createWorld(log)
try {
  await run(world)
  if (world.findings.length > 0) {
    process.exitCode = 1
    const keep = values.keep ?? path.join('/tmp', `bellhop-chaos-${number('seed')}-${process.pid}`)
    mkdirSync(keep, { recursive: true })
    cpSync(world.lab.topology.network.directory, keep, {
      recursive: true,
      filter: (file) => !/\.(ctl|sock|api|vty)$/.test(file),
    })
    for (const finding of world.findings) log(`PROBLEM ${finding}`)
    log(`logs are in ${keep}`)
  }
} finally {
  await world.destroy()
}
