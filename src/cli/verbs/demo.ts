// `bellhop demo`: the story in network namespaces, or its shorter form on loopback where there are none.

import { cpSync, statSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import path from 'node:path'
import { tellStory } from '../../lab/demo/demo.ts'
import { tellLoopbackStory } from '../../lab/demo/loopback.ts'
import { createStory, type Story } from '../../lab/demo/story.ts'
import { shellLines, startLab } from '../../lab/lab.ts'
import { isInstalled, kubectlProgram, missingForLab } from '../../lab/requirements.ts'
import { silentLog } from '../../runtime/log.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import { type LabFlags, labCluster, onCluster } from './lab.ts'

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`

export async function demoVerb(flags: LabFlags): Promise<void> {
  const startMs = systemClock.monotonicMs()
  // What the story says of a lab that is being taken away is not the story any more.
  const ended = new AbortController()
  const story = createStory({
    write: (text) => void (ended.signal.aborted || process.stdout.write(text)),
    clock: systemClock,
    terminal: process.stdout.isTTY === true && process.env['TERM'] !== 'dumb',
  })
  if (!isInstalled(kubectlProgram())) {
    process.stderr.write(`the demo needs kubectl, and ${kubectlProgram()} is not in PATH\n`)
    process.exitCode = 1
    return
  }
  const missing = missingForLab()
  if (missing.length > 0 && flags.cluster !== undefined) {
    process.stderr.write(`the demo on a cluster needs more than there is here: ${missing.join(', ')}\n`)
    process.exitCode = 1
    return
  }
  if (missing.length === 0) {
    if (!(await onCluster(() => tellLabStory(story, flags, ended)))) return
  } else {
    story.say(`Not possible here: ${missing.join(', ')}. The demo runs on loopback instead.`)
    await tellLoopbackStory(story)
  }
  if (ended.signal.aborted) return
  const { passed, total } = story.summary()
  process.stdout.write(
    `\n(${seconds(systemClock.monotonicMs() - startMs)})\ndemo: ${passed} of ${total} checks passed\n`,
  )
  process.exitCode = passed === total ? 0 : 1
}

async function tellLabStory(story: Story, flags: LabFlags, ended: AbortController): Promise<void> {
  story.chapter('The machines')
  story.say(
    'Three nodes, two leaf routers (BIRD and FRR), an edge router and a client are built in network namespaces ...',
  )
  const cluster = await labCluster(flags)
  const starting = startLab({
    ...{ prefix: 'demo', leaves: ['bird', 'frr'] as const, ...cluster },
    ...{ clock: systemClock, log: silentLog },
  })
  // From here on there is something to be taken away. Who interrupts twice wants the end at once.
  const stop = (signal: NodeJS.Signals): void => {
    process.stdout.write(`\n${signal}: everything is taken away again ...\n`)
    ended.abort()
    void starting
      .then(
        (lab) => onCluster(() => lab.destroy()),
        // It was interrupted; that it could not be built for that is no news.
        () => undefined,
      )
      .finally(() => process.exit(128 + constants.signals[signal]))
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    await using lab = await starting
    story.say('Until the end of the story you can look around from another terminal, with what is printed here and:')
    for (const line of shellLines(lab.topology.network.directory)) story.command(line)
    await tellStory(lab, story)
    const { passed, total } = story.summary()
    if (passed < total && !ended.signal.aborted)
      story.say(`The logs of all programs are in ${keepLogs(lab.topology.network.directory)}.`)
  } catch (error) {
    if (!ended.signal.aborted) throw error
  }
  // Whoever was interrupted ends when everything is gone.
  if (ended.signal.aborted) return
  process.off('SIGINT', stop)
  process.off('SIGTERM', stop)
}

/** Copies the lab's logs to where they outlive it; the folder. */
function keepLogs(directory: string): string {
  const kept = path.join(tmpdir(), `bellhop-demo-logs-${process.pid}`)
  cpSync(directory, kept, {
    recursive: true,
    filter: (file) => file.endsWith('.log') || statSync(file).isDirectory(),
  })
  return kept
}
