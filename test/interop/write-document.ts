// Runs every interop test and writes docs/interop.md from what they showed: `node test/interop/write-document.ts`. Needs all daemons, and
// root. The exit status is 1 when a cell is "no": the table then says so, and the test of the table fails until it is mended.

import { writeFileSync } from 'node:fs'
import type { TestModule } from 'vitest/node'
import { startVitest } from 'vitest/node'
import { frrDaemonDirectory } from '../../src/lab/routers/frr.ts'
import { openbgpdProgram } from '../../src/lab/routers/openbgpd.ts'
import type { RouterKind } from '../../src/lab/routers/router.ts'
import { systemExec } from '../../src/runtime/exec.ts'
import { daemons, type Outcome, type Outcomes, renderDocument } from './document.ts'
import { rows } from './features/features.ts'

const versionCommands: Readonly<Record<RouterKind, readonly [program: string, ...args: readonly string[]]>> = {
  bird: ['bird', '--version'],
  frr: [`${frrDaemonDirectory}/bgpd`, '--version'],
  gobgp: ['gobgpd', '--version'],
  openbgpd: [openbgpdProgram, '-V'],
  exabgp: ['exabgp', '--version'],
}

async function versionOf(kind: RouterKind): Promise<string> {
  const [program, ...args] = versionCommands[kind]
  const { stdout, stderr } = await systemExec(program, args)
  const version = /\d+\.\d+(\.\d+)*/.exec(`${stdout}${stderr}`)?.[0]
  if (version === undefined) throw new Error(`${program} does not say its version: ${stdout}${stderr}`)
  return version
}

/** What each test with a cell showed. */
function outcomesOf(modules: readonly TestModule[]): Outcomes {
  const outcomes = new Map<RouterKind, Map<string, Outcome>>()
  for (const test of modules.flatMap((module) => [...module.children.allTests()])) {
    const { interop } = test.meta()
    if (interop === undefined) continue
    const column = outcomes.get(interop.kind) ?? new Map<string, Outcome>()
    outcomes.set(interop.kind, column.set(interop.feature, test.result().state === 'passed' ? 'yes' : 'no'))
  }
  return outcomes
}

const files = [...daemons.map(({ kind }) => kind), 'bfd'].map((name) => `test/interop/${name}.test.ts`)
const vitest = await startVitest('test', files, { watch: false })
const outcomes = outcomesOf(vitest.state.getTestModules())
const versions = new Map(await Promise.all(daemons.map(async ({ kind }) => [kind, await versionOf(kind)] as const)))
const file = new URL('../../docs/interop.md', import.meta.url)
writeFileSync(file, renderDocument(rows, outcomes, versions))
console.log(`written: ${file.pathname}`)
await vitest.close()
