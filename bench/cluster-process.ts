// The product under measurement: the bundle as an image has it, started with the settings of deploy/, watched from outside through
// /proc and /metrics.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import { bundle } from '../scripts/build.ts'
import { type JsonObject, objectsAt, stringAt } from '../src/lab/apiserver/json.ts'

const repositoryRoot = path.resolve(import.meta.dirname, '..')

/** Builds into `folder` and returns the file to run. */
export async function buildBundle(folder: string): Promise<string> {
  await bundle({ root: repositoryRoot, entry: 'src/cli/main.ts', outputFolder: folder })
  return path.join(folder, 'bellhop.mjs')
}

/**
 * The literal environment that deploy/ gives to the only container of a workload. Node lets the heap grow to half of a container's
 * memory limit; here is no container, so it is told.
 */
export function deployedEnvironment(workload: JsonObject): Readonly<Record<string, string>> {
  const [container = {}] = objectsAt(workload, 'spec', 'template', 'spec', 'containers')
  const env = Object.fromEntries(
    objectsAt(container, 'env').flatMap((variable) => {
      const value = stringAt(variable, 'value')
      return value === undefined ? [] : [[stringAt(variable, 'name') ?? '', value]]
    }),
  )
  const limitMb = Number.parseInt(stringAt(container, 'resources', 'limits', 'memory') ?? '', 10)
  return { ...env, NODE_OPTIONS: `${env['NODE_OPTIONS'] ?? ''} --max-old-space-size=${limitMb / 2}`.trim() }
}

/** The workload of this kind in a file of deploy/. */
export function deployedWorkload(file: string, kind: string): JsonObject {
  const text = readFileSync(path.join(repositoryRoot, 'deploy', file), 'utf8')
  const objects = parseAllDocuments(text).map((document) => document.toJS() as JsonObject)
  return objects.find((object) => object['kind'] === kind) ?? {}
}

export interface Memory {
  readonly residentMb: number
  /** Without what the processes of a machine share: Node's own program is 45 MB of every process's resident memory. */
  readonly anonymousMb: number
  readonly peakMb: number
}

export interface Running {
  readonly pid: number
  readonly startedAtMs: number
  readonly memory: () => Memory
  /** Seconds of processor time, both user's and system's, of all threads. */
  readonly cpuSeconds: () => number
  /** Sum over the label sets of each metric; names as in the text format (`x_bucket{le="0.001"}` keeps its le). */
  readonly metrics: () => Promise<ReadonlyMap<string, number>>
  readonly ended: Promise<number | null>
  readonly stop: () => Promise<void>
}

export interface StartOptions {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly logPath: string
  readonly httpPort: number
  readonly nowMs: () => number
}

/** Starts a program of which this process sees nothing but /proc and its status port. Its log goes to a file. */
export function start({ argv, env, logPath, httpPort, nowMs }: StartOptions): Running {
  const log = openSync(logPath, 'a')
  const startedAtMs = nowMs()
  const [file = '', ...args] = argv
  const child: ChildProcess = spawn(file, args, { stdio: ['ignore', log, log], env: { ...process.env, ...env } })
  closeSync(log)
  const { pid } = child
  if (pid === undefined) throw new Error(`cannot start ${argv.join(' ')}`)
  const killed = (): void => void child.kill('SIGKILL')
  process.once('exit', killed)
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', (status) => {
      process.off('exit', killed)
      resolve(status)
    })
  })
  return {
    pid,
    startedAtMs,
    ended,
    memory: () => memoryOf(pid),
    cpuSeconds: () => cpuSecondsOf(pid),
    metrics: async () => parseMetrics(await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()),
    stop: async () => {
      child.kill('SIGTERM')
      const force = setTimeout(killed, 10_000)
      await ended
      clearTimeout(force)
    },
  }
}

function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024
  return { residentMb: field('VmRSS'), anonymousMb: field('RssAnon'), peakMb: field('VmHWM') }
}

/** proc(5): utime and stime are the 14th and 15th field, in ticks of 10 ms; the 2nd may hold blanks. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** For a line of the report. */
export function renderMemory({ residentMb, anonymousMb, peakMb }: Memory): string {
  return `${residentMb.toFixed(0)} MB (own ${anonymousMb.toFixed(0)}), peak ${peakMb.toFixed(0)} MB`
}

function parseMetrics(text: string): ReadonlyMap<string, number> {
  const sums = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [, name = '', labels = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (name === '') continue
    const le = /le="([^"]+)"/.exec(labels)?.[1]
    const key = le === undefined ? name : `${name}{le="${le}"}`
    sums.set(key, (sums.get(key) ?? 0) + Number(value))
  }
  return sums
}
