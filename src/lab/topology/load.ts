// A load that runs beside a change of the lab and tells afterwards what the change cost: failed requests, broken
// connections, the longest time without an answer.

import type { Ip } from '../../net/ip.ts'
import type { Namespace } from '../netns/namespace.ts'
import { nodeProgram } from '../netns/node-program.ts'
import { urlOf } from './client.ts'

export interface LoadOptions {
  /** Default 80. */
  readonly port?: number
  /** Start of one request to start of the next, at the least; default 50. */
  readonly intervalMs?: number
  /** How many ask beside each other, each at the interval; default 1. */
  readonly askers?: number
  /** `new`: each request on its own connection. `kept`: all of an asker on one, as a long download would be. Default `new`. */
  readonly connections?: 'new' | 'kept'
  /** Default 1000. */
  readonly timeoutMs?: number
}

export interface LoadReport {
  readonly requests: number
  readonly failed: number
  readonly errors: readonly string[]
  /** Askers of which at least one request failed. */
  readonly disturbed: number
  /** Longest time from one good answer to the next. */
  readonly longestGapMs: number
  /** Answers by pod. */
  readonly byPod: ReadonlyMap<string, number>
}

export interface RunningLoad {
  /** What has happened so far. */
  readonly report: () => LoadReport
  /** Forgets what has happened so far, and the requests under way: only those that begin from now on count. */
  readonly reset: () => void
  readonly stop: () => Promise<LoadReport>
}

interface Line {
  readonly atMs: number
  readonly tookMs: number
  readonly asker: number
  readonly pod?: string
  readonly error?: string
}

/** Starts asking `vip` from `namespace`; resolves after the first answer to each asker, good or bad. */
export async function startLoad(
  namespace: Namespace,
  vip: Ip,
  { port = 80, intervalMs = 50, connections = 'new', timeoutMs = 1000, askers = 1 }: LoadOptions = {},
): Promise<RunningLoad> {
  const args = [urlOf(vip, port), String(intervalMs), connections, String(timeoutMs), String(askers)]
  const program = namespace.spawn(nodeProgram('src/lab/topology/load-program.ts', args))
  let lines: Line[] = []
  let sinceMs = 0
  program.onLine((text) => {
    const line = JSON.parse(text) as Line
    if (line.atMs >= sinceMs) lines.push(line)
  })
  const allBegan = (): boolean => new Set(lines.map(({ asker }) => asker)).size === askers
  await program.waitUntil(() => lines.length >= askers && allBegan(), { what: 'the first answers to the load' })
  return {
    report: () => reportOf(lines),
    reset: () => {
      lines = []
      sinceMs = Date.now()
    },
    stop: async () => {
      await program.stop()
      return reportOf(lines)
    },
  }
}

function reportOf(lines: readonly Line[]): LoadReport {
  const errors = lines.flatMap(({ error }) => error ?? [])
  const byPod = new Map<string, number>()
  let longestGapMs = 0
  let previousMs = lines[0]?.atMs ?? 0
  for (const { pod, atMs, tookMs } of lines) {
    longestGapMs = Math.max(longestGapMs, atMs + tookMs - previousMs)
    if (pod === undefined) continue
    previousMs = atMs + tookMs
    byPod.set(pod, (byPod.get(pod) ?? 0) + 1)
  }
  const disturbed = new Set(lines.flatMap(({ error, asker }) => (error === undefined ? [] : [asker]))).size
  return { requests: lines.length, failed: errors.length, errors, disturbed, longestGapMs, byPod }
}
