import { describe, expect, test } from 'vitest'
import { createStory } from '../../../src/lab/demo/story.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'

function tell(): { readonly story: ReturnType<typeof createStory>; readonly text: () => string } {
  const lines: string[] = []
  const story = createStory({ write: (text) => lines.push(text), clock: systemClock, terminal: false })
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

  test('what a probe shows stands below its claim, and only what its last look showed', async () => {
    const { story, text } = tell()
    let looks = 0
    const probe = (): string | undefined => {
      looks++
      story.show(`look ${looks}`)
      return looks < 2 ? 'not yet' : undefined
    }
    await story.check('second look', probe, { everyMs: 1 })
    expect(text()).toMatch(/^ {2}✓ second look \(\d+ ms\)\n {6}look 2\n$/)
  })

  test('on a terminal says what it is waiting for, and takes that back', async () => {
    const written: string[] = []
    const story = createStory({ write: (text) => written.push(text), clock: systemClock, terminal: true })
    await story.check('the route is there', () => undefined)
    expect(written.slice(0, 2)).toEqual(['  … the route is there', '\r\u001b[2K'])
  })
})
