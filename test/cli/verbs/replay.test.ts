// `bellhop replay` as an operator sees it: the course of a session in lines, and a status that a script can ask for.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Recorded, renderRecorded } from '../../../src/bgp/speaker/recording.ts'
import { renderReplay } from '../../../src/cli/verbs/replay.ts'
import { nodeProgram } from '../../../src/lab/netns/node-program.ts'
import { createPair } from '../../bgp/speaker/bench.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'bhreplay-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** A session that comes up and is shut down by the router. */
function recording(): readonly Recorded[] {
  const bench = createPair()
  bench.pass(5)
  bench.router.send({ type: 'stop', reason: 'maintenance' })
  bench.pass(0.5)
  return bench.ours.recorded
}

const linesOf = (entries: readonly Recorded[]): string => entries.map((entry) => `${renderRecorded(entry)}\n`).join('')

test('prints each change of state with its time and its cause, and what came of it all', () => {
  const { lines, same } = renderReplay(linesOf(recording()))
  expect(same).toBe(true)
  expect(lines.map((line) => line.trim())).toEqual([
    '+0.000 s  router  Idle -> Connect  AutomaticStartWithDampPeerOscillations',
    '+0.002 s  router  Connect -> OpenSent  TcpCrAcked',
    '+0.003 s  router  OpenSent -> OpenConfirm  BgpOpen',
    '+0.004 s  router  OpenConfirm -> Established  KeepAliveMsg',
    '+5.001 s  router  Established -> Idle  NotifMsg 6/2',
    expect.stringMatching(/^\d+ inputs, 5 changes of state, as recorded$/),
  ])
})

test('shows both courses where this version goes another way', () => {
  const other = recording().map(
    (entry): Recorded =>
      entry.type === 'outcome' && entry.state === 'Established'
        ? { ...entry, state: 'OpenConfirm', actions: [] }
        : entry,
  )
  const { lines, same } = renderReplay(linesOf(other))
  expect(same).toBe(false)
  const at = lines.findIndex((line) => line.endsWith('KeepAliveMsg  NOT AS RECORDED'))
  expect(lines.slice(at + 1, at + 3).map((line) => line.trim())).toEqual(['recorded: OpenConfirm', 'now: Established'])
  expect(lines.at(-1)).toContain('not as recorded')
})

test.each([
  ['a last line that was cut short', (text: string) => text.slice(0, -20), /^line \d+ of \d+: /],
  ['no beginning', (text: string) => text.slice(text.indexOf('\n') + 1), /before its configuration/],
  ['something else entirely', () => 'hello\n', /^line 1 of 1: /],
])('says what is wrong with a file with %s', (_what, spoil, complaint) => {
  const { lines, same } = renderReplay(spoil(linesOf(recording())))
  expect(same).toBe(false)
  expect(lines.at(-1)).toMatch(complaint)
})

test.each([
  ['0 when all is as recorded', (text: string) => text, 0],
  ['1 when it is not', (text: string) => text.replaceAll('send OPEN ff', 'send OPEN fe'), 1],
])('ends with status %s', async (_what, change, status) => {
  const file = path.join(directory, `${status}.jsonl`)
  writeFileSync(file, change(linesOf(recording())))
  const [program = '', ...args] = nodeProgram('src/cli/main.ts', ['replay', file])
  const ended = await new Promise((resolve) => {
    const child = execFile(program, args, () => resolve(child.exitCode))
  })
  expect(ended).toBe(status)
})
