// A long-running program inside a network namespace: its lines, its input, its end. It is known by its process id and
// stopped by it; nothing in the lab ever looks a program up by name.

import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { type WaitOptions, waitFor } from './wait.ts'

export interface LabProcessOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** File that receives everything the program prints, both streams. */
  readonly logPath?: string
}

export interface LabProcess {
  readonly pid: number
  /** Set once the program has ended: exit status, or 128 + signal number is left to the reader of `signal`. */
  readonly ended: () => ProcessEnd | undefined
  readonly end: Promise<ProcessEnd>
  /** The last lines of both streams (at most 2 000), for error messages. */
  readonly output: () => string
  /** Calls `listener` for each further line of standard output. */
  readonly onLine: (listener: (line: string) => void) => void
  /** Writes one line to standard input. */
  readonly writeLine: (line: string) => void
  /** Looks until `look` gives something; fails at once, with the program's output, when the program ends before. */
  readonly waitUntil: <T>(
    look: () => T | undefined | false | Promise<T | undefined | false>,
    options: Pick<WaitOptions, 'what' | 'timeoutMs' | 'intervalMs'>,
  ) => Promise<T>
  readonly kill: (signal: NodeJS.Signals) => void
  /** SIGTERM (or `signal`), SIGKILL after `graceMs` (default 3 000); resolves when the program has ended. */
  readonly stop: (options?: { readonly signal?: NodeJS.Signals; readonly graceMs?: number }) => Promise<ProcessEnd>
}

export interface ProcessEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

const outputLinesMax = 2000

/** Starts `argv` and follows it. Throws when the program could not be started at all. */
export function startProcess(argv: readonly string[], options: LabProcessOptions = {}): LabProcess {
  const [file = '', ...args] = argv
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
  })
  const { pid } = child
  if (pid === undefined) throw new Error(`cannot start ${argv.join(' ')}`)
  const lines: string[] = []
  const listeners: ((line: string) => void)[] = []
  followOutput(child, options.logPath, (line, stream) => {
    if (lines.push(line) > outputLinesMax) lines.shift()
    if (stream === 'stdout') for (const listener of listeners) listener(line)
  })
  let ended: ProcessEnd | undefined
  const end = new Promise<ProcessEnd>((resolve) => {
    child.on('close', (status, signal) => {
      ended = { status, signal }
      resolve(ended)
    })
  })
  // A program that ends while it is written to breaks the pipe; `end` tells that story.
  child.stdin.on('error', () => {})
  child.on('error', (error) => void lines.push(String(error)))
  const output = (): string => lines.join('\n')
  return {
    pid,
    ended: () => ended,
    end,
    output,
    onLine: (listener) => void listeners.push(listener),
    writeLine: (line) => void child.stdin.write(`${line}\n`),
    waitUntil: async (look, wait) => {
      const outcome = await waitFor(async () => (ended === undefined ? wrap(await look()) : { gone: ended }), {
        ...wait,
        evidence: () => `output of ${argv.join(' ')}:\n${output()}`,
      })
      if ('found' in outcome) return outcome.found
      throw new Error(`${argv.join(' ')} ended (${JSON.stringify(outcome.gone)}) before: ${wait.what}\n${output()}`)
    },
    kill: (signal) => void child.kill(signal),
    stop: async ({ signal = 'SIGTERM', graceMs = 3000 } = {}) => {
      child.kill(signal)
      const force = setTimeout(() => child.kill('SIGKILL'), graceMs)
      const how = await end
      clearTimeout(force)
      return how
    },
  }
}

const wrap = <T>(seen: T | undefined | false): { readonly found: T } | undefined =>
  seen === undefined || seen === false ? undefined : { found: seen }

function followOutput(
  child: ChildProcess,
  logPath: string | undefined,
  onLine: (line: string, stream: 'stdout' | 'stderr') => void,
): void {
  const log = logPath === undefined ? undefined : createWriteStream(logPath, { flags: 'a' })
  for (const stream of ['stdout', 'stderr'] as const) {
    const input = child[stream]
    if (input === null) continue
    createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }).on('line', (line) => {
      log?.write(`${line}\n`)
      onLine(line, stream)
    })
  }
  child.on('close', () => log?.end())
}
