import { describe, expect, test } from 'vitest'
import { createStory } from '../../../src/lab/demo/story.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'

function tell(): { readonly story: ReturnType<typeof createStory>; readonly text: () => string } {
  const lines: string[] = []
  const story = createStory({ write: (text) => lines.push(text), clock: systemClock, colour: false })
  return { story, text: () => lines.join('') }
}

describe('a story', () => {
  test('waits for a claim to hold, then counts it', async () => {
    const { story, text } = tell()
    let looks = 0
    expect(await story.check('third time lucky', () => (++looks < 3 ? 'not yet' : undefined), { everyMs: 1 })).toBe(
      true,
    )
    expect(story.summary()).toEqual({ passed: 1, total: 1 })
    expect(text()).toMatch(/✓ third time lucky \(\d+ ms\)/)
  })

  test('gives up after its bound, says why, and counts it as failed', async () => {
    const { story, text } = tell()
    expect(await story.check('never', () => 'the route is missing', { withinMs: 5, everyMs: 1 })).toBe(false)
    expect(story.summary()).toEqual({ passed: 0, total: 1 })
    expect(text()).toContain('✗ never\n      the route is missing\n')
  })

  test('a probe that throws is a reason, not the end of the story', async () => {
    const { story, text } = tell()
    await story.check('reachable', () => Promise.reject(new Error('connection refused')), { withinMs: 1, everyMs: 1 })
    expect(text()).toContain('connection refused')
  })
})
