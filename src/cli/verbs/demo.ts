// `bellhop demo`: the story in network namespaces, or its shorter form on loopback where there are none.

import { tellStory } from '../../lab/demo/demo.ts'
import { tellLoopbackStory } from '../../lab/demo/loopback.ts'
import { createStory } from '../../lab/demo/story.ts'
import { startLab } from '../../lab/lab.ts'
import { missingForLab } from '../../lab/requirements.ts'
import { silentLog } from '../../runtime/log.ts'
import { systemClock } from '../../runtime/system-clock.ts'

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`

export async function demoVerb(): Promise<void> {
  const startMs = systemClock.monotonicMs()
  const story = createStory({
    write: (text) => void process.stdout.write(text),
    clock: systemClock,
    colour: process.stdout.isTTY === true,
  })
  const missing = await missingForLab()
  if (missing.length > 0) {
    story.say(`Not possible here: ${missing.join(', ')}. The demo runs on loopback instead.`)
    await tellLoopbackStory(story)
  } else {
    const lab = await startLab({ prefix: 'demo', leaves: ['bird', 'frr'], clock: systemClock, log: silentLog })
    const stop = (): void => void lab.destroy().finally(() => process.exit(130))
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
    try {
      await tellStory(lab, story)
    } finally {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
      await lab.destroy()
    }
  }
  const { passed, total } = story.summary()
  process.stdout.write(
    `\n(${seconds(systemClock.monotonicMs() - startMs)})\ndemo: ${passed} of ${total} checks passed\n`,
  )
  process.exitCode = passed === total ? 0 : 1
}
