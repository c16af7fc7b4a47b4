// Recordings: every entry survives its line, files are bounded and begin anywhere, nothing secret is in them, and a replay that
// leads elsewhere says so.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SpeakerCore } from '../../../src/bgp/speaker/core.ts'
import { createMemoryNetwork } from '../../../src/bgp/speaker/memory-transport.ts'
import { createRecordFiles } from '../../../src/bgp/speaker/record-files.ts'
import {
  parseRecorded,
  type Recorded,
  type Recorder,
  renderRecorded,
  replay,
} from '../../../src/bgp/speaker/recording.ts'
import { createVirtualClock } from '../../../src/runtime/virtual-clock.ts'
import { createPair, latencyMs, ours, peerOf, randomFrom, router, routerId } from './bench.ts'

/** A session over `hours`, its keepalives and a broken network now and then. */
function eventfulSession(options: { readonly hours?: number; readonly password?: string } = {}): readonly Recorded[] {
  const { hours = 0, password } = options
  const secured = password === undefined ? {} : { password }
  const bench = createPair({ ours: { holdTimeSeconds: 9, ...secured }, router: secured })
  bench.pass(10)
  bench.network.partition(ours.address, router.address)
  bench.pass(20)
  bench.network.heal(ours.address, router.address)
  bench.pass(60 + 3600 * hours)
  bench.ours.send({ type: 'clear', peer: 'router', soft: false })
  bench.pass(10)
  expect(bench.ours.status('router').state).toBe('Established')
  return bench.ours.recorded
}

const differences = (entries: Iterable<Recorded>): readonly unknown[] =>
  [...replay(entries)].filter(({ recorded }) => recorded !== undefined)

describe('the lines of a recording', () => {
  test('hold every entry as it was, octets, sets and maps included', () => {
    const entries = eventfulSession()
    const lines = entries.map(renderRecorded)
    expect(lines.every((line) => !line.includes('\n'))).toBe(true)
    expect(lines.map(parseRecorded)).toEqual(entries)
    expect(differences(lines.map(parseRecorded))).toEqual([])
  })

  test.each(['', '{}', '[]', '{"type":"input"}', '{"type":"else","peer":"tor"}'])(
    'a foreign line is refused: %s',
    (line) => {
      expect(() => parseRecorded(line)).toThrow()
    },
  )

  test('do not hold the password', () => {
    const lines = eventfulSession({ password: 'correct-horse' }).map(renderRecorded)
    expect(lines.filter((line) => line.includes('correct-horse'))).toEqual([])
  })
})

describe('a replay', () => {
  test('notices an outcome that is not what the transitions of today lead to', () => {
    const entries = eventfulSession().map(
      (entry): Recorded =>
        entry.type === 'outcome' && entry.state === 'OpenConfirm' ? { ...entry, state: 'OpenSent' } : entry,
    )
    const [first] = [...replay(entries)].filter(({ recorded }) => recorded !== undefined)
    expect(first).toMatchObject({ state: 'OpenConfirm', recorded: { state: 'OpenSent' } })
  })

  test('notices a single octet', () => {
    const entries = eventfulSession().map(
      (entry): Recorded =>
        entry.type === 'outcome'
          ? { ...entry, actions: entry.actions.map((action) => action.replace('fc00', 'fc01')) }
          : entry,
    )
    expect(differences(entries).length).toBeGreaterThan(0)
  })

  test('ends with the input that ended the process', () => {
    const entries = eventfulSession()
    const last = entries.findLastIndex(({ type }) => type === 'input')
    const replayed = [...replay(entries.slice(0, last + 1))]
    expect(replayed).toHaveLength(entries.filter(({ type }) => type === 'input').length)
    expect(replayed.at(-1)?.recorded).toBeUndefined()
  })

  test('of a recording without a beginning is refused', () => {
    expect(() => [...replay(eventfulSession().slice(1))]).toThrow('before its configuration')
  })
})

describe('the files of a recording', () => {
  let directory = ''
  const failures: string[] = []
  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'bhrec-'))
    failures.length = 0
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))
  const files = (fileBytesMax: number, at = directory): Recorder =>
    createRecordFiles({ directory: at, fileBytesMax, failed: (reason) => failures.push(reason) })

  const read = (name: string): readonly Recorded[] =>
    readFileSync(path.join(directory, name), 'utf8').trimEnd().split('\n').map(parseRecorded)

  /** A speaker whose router never answers, recorded while it tries. */
  function tryFor(seconds: number, record: Recorder): void {
    const clock = createVirtualClock()
    const network = createMemoryNetwork({ clock, latencyMs })
    const core = new SpeakerCore({
      clock,
      random: randomFrom(1),
      transport: network.host(ours.address),
      onEvent: () => {},
      record,
    })
    const peers = [peerOf(ours, router, { connectRetrySeconds: 1 })]
    core.handle({
      type: 'configure',
      config: { routerId: routerId('10.0.0.10'), listenPort: 0, listenAddresses: [], peers },
    })
    clock.advance(1000 * seconds)
  }

  test('stay within their bound, are private, and each can be played back by itself', () => {
    tryFor(2000, files(20_000))
    expect(readdirSync(directory).sort()).toEqual(['router.1.jsonl', 'router.jsonl'])
    for (const name of readdirSync(directory)) {
      const { size, mode } = statSync(path.join(directory, name))
      expect(size).toBeLessThan(22_000)
      expect(mode & 0o777).toBe(0o600)
      expect(differences(read(name))).toEqual([])
    }
    expect([...replay(read('router.1.jsonl'))].length).toBeGreaterThan(20)
  })

  test('of a process before are kept as the older one', () => {
    tryFor(10, files(1_000_000))
    const before = readFileSync(path.join(directory, 'router.jsonl'), 'utf8')
    tryFor(10, files(1_000_000))
    expect(readFileSync(path.join(directory, 'router.1.jsonl'), 'utf8')).toBe(before)
  })

  test('that can not be written are given up once, and the session goes on', () => {
    writeFileSync(path.join(directory, 'occupied'), '')
    tryFor(60, files(1000, path.join(directory, 'occupied')))
    expect(failures).toHaveLength(1)
    expect(failures[0]).toMatch(/EEXIST|ENOTDIR/)
  })
})
