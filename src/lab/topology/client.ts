// The client two hops away: sends requests to a VIP, each on a connection of its own, and says which pods answered, what
// source address they saw and what failed.

import { familyOf, type Ip } from '../../net/ip.ts'
import type { Namespace } from '../netns/namespace.ts'
import { type LoadOptions, type RunningLoad, startLoad } from './load.ts'

export interface RequestOptions {
  /** Default 80. */
  readonly port?: number
  /** How many, one after the other; default 1. */
  readonly count?: number
  /** For each, connecting included; default 1000. */
  readonly timeoutMs?: number
}

/** One answer of a lab pod (whoami-program.ts), or what curl said. */
export type Answer =
  | { readonly ok: true; readonly pod: string; readonly node: string; readonly client: string }
  | { readonly ok: false; readonly error: string }

export interface Answers {
  readonly all: readonly Answer[]
  readonly failed: number
  /** Answers by pod, by node, and by the source address that the pod saw. */
  readonly byPod: ReadonlyMap<string, number>
  readonly byNode: ReadonlyMap<string, number>
  readonly bySource: ReadonlyMap<string, number>
  /** Error texts and how often. */
  readonly errors: ReadonlyMap<string, number>
}

export interface LabClient {
  readonly namespace: Namespace
  readonly request: (vip: Ip, options?: RequestOptions) => Promise<Answers>
  /** Goes on asking until it is stopped: to see whether anything is lost meanwhile. */
  readonly startLoad: (vip: Ip, options?: LoadOptions) => Promise<RunningLoad>
}

export const labClient = (namespace: Namespace): LabClient => ({
  namespace,
  request: (vip, options) => request(namespace, vip, options),
  startLoad: (vip, options) => startLoad(namespace, vip, options),
})

/** `http://203.0.113.10:80/`, with brackets around IPv6. */
export const urlOf = (ip: Ip, port: number): string =>
  `http://${familyOf(ip) === 'IPv6' ? `[${ip}]` : ip}${port === 80 ? '' : `:${port}`}/`

async function request(
  namespace: Namespace,
  vip: Ip,
  { port = 80, count = 1, timeoutMs = 1000 }: RequestOptions = {},
): Promise<Answers> {
  const seconds = String(timeoutMs / 1000)
  const urls = Array.from({ length: count }, () => urlOf(vip, port))
  const { stdout } = await namespace.exec(
    // Each answer on a line of its own, after it the exit code and the complaint of that one transfer.
    [
      'curl',
      '-gs',
      '-m',
      seconds,
      '--connect-timeout',
      seconds,
      '-H',
      'Connection: close',
      '-w',
      '\n%{exitcode} %{errormsg}\n',
      ...urls,
    ],
    { timeoutMs: count * timeoutMs + 10_000 },
  )
  return summarise(parseAnswers(stdout))
}

/** Reads what curl wrote: for each transfer perhaps a JSON line, then `<exit code> <error>`. */
export function parseAnswers(text: string): readonly Answer[] {
  const answers: Answer[] = []
  let body = ''
  for (const line of text.split('\n')) {
    const end = /^(\d+) (.*)$/.exec(line)
    if (end === null) body += line
    else {
      answers.push(end[1] === '0' ? parseBody(body) : { ok: false, error: end[2] || `curl exit code ${end[1]}` })
      body = ''
    }
  }
  return answers
}

function parseBody(body: string): Answer {
  try {
    const { pod, node, client } = JSON.parse(body) as Readonly<Record<string, unknown>>
    return { ok: true, pod: String(pod), node: String(node), client: String(client) }
  } catch {
    return { ok: false, error: `not an answer of a lab pod: ${body.slice(0, 80)}` }
  }
}

/** Counts answers. */
export function summarise(all: readonly Answer[]): Answers {
  const good = all.filter((answer) => answer.ok)
  const bad = all.filter((answer) => !answer.ok)
  return {
    all,
    failed: bad.length,
    byPod: countBy(good.map(({ pod }) => pod)),
    byNode: countBy(good.map(({ node }) => node)),
    bySource: countBy(good.map(({ client }) => client)),
    errors: countBy(bad.map(({ error }) => error)),
  }
}

function countBy(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const name of [...names].sort()) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}
