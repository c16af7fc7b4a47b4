// What `make demo` tells where there is neither root nor a network namespace: it must hold everywhere that kubectl is.

import { expect, test } from 'vitest'
import { tellLoopbackStory } from '../../src/lab/demo/loopback.ts'
import { createStory } from '../../src/lab/demo/story.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'

describeWith({ programs: ['kubectl'] }, 'The demo on loopback', () => {
  test('every check of it holds', { timeout: 240_000 }, async () => {
    const told: string[] = []
    const story = createStory({ write: (text) => told.push(text), clock: systemClock, terminal: false })
    await tellLoopbackStory(story)
    const { passed, total } = story.summary()
    expect(total).toBeGreaterThan(20)
    expect(passed, told.join('')).toBe(total)
  })
})
