// `bellhop replay`: plays a recording of BGP sessions (`bellhop controller --record`) through the state machine of this version, prints
// every change of state, and says where this version does something else than the recorded one did.

import { readFileSync } from 'node:fs'
import { parseRecorded, type Recorded, type Replayed, replay } from '../../bgp/speaker/recording.ts'

/** Prints the course of the sessions; the exit status is 1 when the recording can not be read or led elsewhere. */
export function replayVerb(file: string): void {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
    return
  }
  const { lines, same } = renderReplay(text)
  process.stdout.write(`${lines.join('\n')}\n`)
  process.exitCode = same ? 0 : 1
}

/** The course of a recording in lines for people. */
export function renderReplay(text: string): { readonly lines: readonly string[]; readonly same: boolean } {
  const { entries, unread } = readEntries(text)
  const lines: string[] = []
  const counts = { inputs: 0, changes: 0, differences: 0 }
  let startMs: number | undefined
  let broken: string | undefined
  try {
    for (const step of replay(entries)) {
      startMs ??= step.atMs
      counts.inputs++
      if (step.before !== step.state) counts.changes++
      if (step.recorded !== undefined) counts.differences++
      lines.push(...linesOf(step, step.atMs - startMs))
    }
  } catch (error) {
    broken = error instanceof Error ? error.message : String(error)
  }
  const difference = counts.differences === 0 ? 'as recorded' : `${counts.differences} not as recorded`
  lines.push(`${counts.inputs} inputs, ${counts.changes} changes of state, ${difference}`)
  lines.push(...[unread, broken].filter((words) => words !== undefined))
  return { lines, same: counts.differences === 0 && unread === undefined && broken === undefined }
}

// Nothing after a line that makes no sense can be trusted: the state machine would not be where it was.
function readEntries(text: string): { readonly entries: readonly Recorded[]; readonly unread?: string } {
  const entries: Recorded[] = []
  const lines = text.split('\n').filter((line) => line !== '')
  for (const [i, line] of lines.entries()) {
    try {
      entries.push(parseRecorded(line))
    } catch (error) {
      return { entries, unread: `line ${i + 1} of ${lines.length}: ${error instanceof Error ? error.message : error}` }
    }
  }
  return { entries }
}

function linesOf(step: Replayed, sinceMs: number): readonly string[] {
  const { peer, before, state, recorded } = step
  const at = `+${(sinceMs / 1000).toFixed(3)} s`.padStart(12)
  const change = before === state ? state : `${before} -> ${state}`
  if (recorded === undefined) return before === state ? [] : [`${at}  ${peer}  ${change}  ${inputOf(step)}`]
  return [
    `${at}  ${peer}  ${change}  ${inputOf(step)}  NOT AS RECORDED`,
    ...describe('recorded', recorded.state, recorded.actions),
    ...describe('now', state, step.actions),
  ]
}

const describe = (which: string, state: string, actions: readonly string[]): readonly string[] =>
  [`${state}`, ...actions].map((line) => `${' '.repeat(14)}${which}: ${line}`)

/** The event, and what it says where that is worth reading. */
function inputOf({ input }: Replayed): string {
  if (input.type === 'incoming') return 'incoming connection'
  const { event } = input
  if ('reason' in event) return `${event.type}: ${event.reason}`
  if ('error' in event) return `${event.type}: ${event.error.reason}`
  if ('notification' in event) return `${event.type} ${event.notification.code}/${event.notification.subcode}`
  return event.type
}
