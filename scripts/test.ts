// Every test, or those of the files that are named, once. In CI the machine is one that others load, under five routing daemons and a
// kernel: there a file that fails has a second chance, as a whole, because its tests build on each other, and without others beside
// it. Who needed it stands in the last lines.

import { startVitest, type Vitest } from 'vitest/node'

/** More than so many broken files are no accident. */
const secondChancesMax = 3

const run = (files: readonly string[], options: { readonly fileParallelism?: false }): Promise<Vitest> =>
  startVitest('test', [...files], { watch: false, run: true, ...options })

/** What cannot be run again: errors of no test's, a run that did not get to its end. */
const isSound = ({ state }: Vitest): boolean => state.getUnhandledErrors().length === 0

const first = await run(process.argv.slice(2), {})
const failed = first.state.getFailedFilepaths()
await first.close()
const mayTryAgain =
  process.env['CI'] === 'true' && isSound(first) && failed.length > 0 && failed.length <= secondChancesMax
if (mayTryAgain) {
  console.log(`\nSecond chance, alone on the machine: ${failed.join(' ')}\n`)
  process.exitCode = 0
  const second = await run(failed, { fileParallelism: false })
  const failedAgain = second.state.getFailedFilepaths()
  await second.close()
  console.log(`Second chance: ${failed.length - failedAgain.length} of ${failed.length} files passed`)
}
