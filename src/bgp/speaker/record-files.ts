// Recordings on disk: JSON lines, two files a peer at most, the older one thrown away when the newer is full. Each file begins with
// the configuration and the state machine as they are then, so that each can be played back by itself. Written entry by entry, for
// the last one before a crash is the one that matters.

import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import type { PeerMachine } from '../fsm/collision.ts'
import type { SessionConfig } from '../fsm/session.ts'
import { type Recorded, type Recorder, renderRecorded } from './recording.ts'

export interface RecordFilesOptions {
  /** Made when it is not there. */
  readonly directory: string
  /** At most this many bytes in each of a peer's two files. */
  readonly fileBytesMax?: number
  /** The disk is full, or the like: nothing is recorded from then on. */
  readonly failed: (reason: string) => void
}

const fileBytesMaxDefault = 8 * 1024 * 1024
/** Routers that connect from a range have names without end; of so many peers there are files, and none of the others. */
const peersMax = 1000

interface RecordFile {
  readonly fd: number
  bytes: number
}

/** Records to `<peer>.jsonl`; what was there before, from this process or another, becomes `<peer>.1.jsonl`. */
export function createRecordFiles(options: RecordFilesOptions): Recorder {
  const { directory, fileBytesMax = fileBytesMaxDefault } = options
  const files = new Map<string, RecordFile>()
  const configs = new Map<string, SessionConfig>()
  let stopped = false

  const fileOf = (peer: string): string => path.join(directory, `${encodeURIComponent(peer)}.jsonl`)

  const open = (peer: string): RecordFile => {
    const file = fileOf(peer)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const older = file.replace(/jsonl$/, '1.jsonl')
    rmSync(older, { force: true })
    try {
      renameSync(file, older)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    const opened = { fd: openSync(file, 'wx', 0o600), bytes: 0 }
    files.set(peer, opened)
    return opened
  }

  const write = (file: RecordFile, entry: Recorded): void => {
    const line = Buffer.from(`${renderRecorded(entry)}\n`)
    writeSync(file.fd, line)
    file.bytes += line.length
  }

  const record = (entry: Recorded, machine: PeerMachine): void => {
    const { peer } = entry
    const known = files.get(peer)
    if (known === undefined && files.size >= peersMax) return
    if (entry.type === 'configured') configs.set(peer, entry.config)
    const config = configs.get(peer)
    // An outcome stays with its input: a file may end a little beyond its bound.
    const isFull = known !== undefined && known.bytes >= fileBytesMax && entry.type !== 'outcome'
    if (known !== undefined && !isFull) {
      write(known, entry)
      return
    }
    if (known !== undefined) closeSync(known.fd)
    const file = open(peer)
    const isWhole = entry.type === 'configured' && entry.machine !== undefined
    if (!isWhole && config !== undefined) write(file, { type: 'configured', peer, config, machine })
    if (entry.type !== 'configured' || isWhole) write(file, entry)
  }

  return (entry, machine) => {
    if (stopped) return
    try {
      record(entry, machine)
    } catch (error) {
      stopped = true
      for (const { fd } of files.values()) closeSync(fd)
      options.failed(error instanceof Error ? error.message : String(error))
    }
  }
}
