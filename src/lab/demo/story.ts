// The demo as a told story: every step says what a user would type, then checks what they would see. A check waits for its
// condition with a bound, never for a time; the last line counts, and the exit status says the same.

import type { Clock } from '../../runtime/clock.ts'

export interface Story {
  /** A heading. */
  readonly chapter: (title: string) => void
  /** A sentence of explanation. */
  readonly say: (text: string) => void
  /** A command as the user would type it. */
  readonly command: (line: string) => void
  /** Output of a command, indented. What a probe shows appears below its claim, and only that of its last look. */
  readonly show: (text: string) => void
  /** Polls `probe` until it returns undefined (the check holds) or `withinMs` has passed; then the last reason is printed. */
  readonly check: (claim: string, probe: Probe, options?: CheckOptions) => Promise<boolean>
  readonly summary: () => { readonly passed: number; readonly total: number }
}

/** Why a claim does not hold yet, or undefined when it does. */
export type Probe = () => Promise<string | undefined> | string | undefined

export interface CheckOptions {
  /** Default 40 000 ms. */
  readonly withinMs?: number
  /** Milliseconds between two looks; default 100. */
  readonly everyMs?: number
}

export interface StoryOptions {
  readonly write: (text: string) => void
  readonly clock: Clock
  /** A terminal: colours, and a line for the check that is being waited for. */
  readonly terminal: boolean
}

/** What fits in a line of the narrowest terminal, so that it can be taken back. */
const pendingLengthMax = 70

/** Creates a story that prints as it goes. */
export function createStory({ write, clock, terminal }: StoryOptions): Story {
  let passed = 0
  let total = 0
  let shown: string[] | undefined
  const paint = (code: number, text: string): string => (terminal ? `\u001b[${code}m${text}\u001b[0m` : text)
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void clock.setTimer(ms, resolve))
  const print = (text: string): void => {
    for (const line of text.trimEnd().split('\n')) write(`      ${paint(2, line)}\n`)
  }
  const attempt = async (probe: Probe): Promise<string | undefined> => {
    shown = []
    try {
      return await probe()
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  return {
    chapter: (title) => write(`\n${paint(1, title)}\n`),
    say: (text) => write(`  ${text}\n`),
    command: (line) => write(`  ${paint(36, '$')} ${paint(36, line)}\n`),
    show: (text) => {
      if (shown === undefined) print(text)
      else shown.push(text)
    },
    summary: () => ({ passed, total }),
    check: async (claim, probe, { withinMs = 40_000, everyMs = 100 } = {}) => {
      total++
      if (terminal) write(`  … ${claim.slice(0, pendingLengthMax)}`)
      const startMs = clock.monotonicMs()
      let reason = await attempt(probe)
      while (reason !== undefined && clock.monotonicMs() - startMs < withinMs) {
        await pause(everyMs)
        reason = await attempt(probe)
      }
      const tookMs = Math.round(clock.monotonicMs() - startMs)
      if (terminal) write('\r\u001b[2K')
      if (reason === undefined) {
        passed++
        write(`  ${paint(32, '✓')} ${claim} ${paint(2, `(${tookMs} ms)`)}\n`)
      } else {
        write(`  ${paint(31, '✗')} ${claim}\n`)
        for (const line of reason.split('\n')) write(`      ${paint(31, line)}\n`)
      }
      for (const text of shown ?? []) print(text)
      shown = undefined
      return reason === undefined
    },
  }
}
