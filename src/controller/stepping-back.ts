// A replica that is cut off from the API server goes on announcing what it last knew, unless others know better: it asks the other
// replicas over the LAN, and is quiet towards every router to which one that sees the cluster has a session. In an outage of the API
// server nobody sees it, so nobody is quiet; alone, or at a router that only it reaches, it announces on.

import type { SignOfLife } from '../k8s/heartbeat-watch.ts'
import { asList, asObject } from '../k8s/json.ts'
import { controllerAnnotation } from '../liveness/watched-sessions.ts'
import { familyOf, parseIp } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { replicaBeat } from './presence.ts'

/** What a replica answers another one at `/standing`. */
export interface Standing {
  /** It sees the cluster: the API server has just taken its word. */
  readonly connected: boolean
  /** BgpPeers to which it has a session and announces something: one that has just come up is no reason to be quiet. */
  readonly established: readonly string[]
}

/** Path of the status server. */
const standingPath = '/standing'

export interface SteppingBackOptions {
  /** When the API server last took our word, monotonic; undefined = never yet. */
  readonly renewedMs: () => number | undefined
  /** The Leases of all replicas, as last seen. */
  readonly replicas: () => Iterable<SignOfLife>
  /** Our own identity among them. */
  readonly name: string
  /** Of the status servers: the same on every replica; 0 = there is none, and nobody is asked. */
  readonly httpPort: number
  /** Asks one URL; undefined when there is no usable answer. Never rejects. */
  readonly ask: (url: string, signal: AbortSignal) => Promise<Standing | undefined>
  /** The peers towards which to be quiet are others. */
  readonly onChange: () => void
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
}

export interface SteppingBack {
  /** BgpPeers that another replica tells better. */
  readonly quiet: () => ReadonlySet<string>
  readonly isConnected: () => boolean
}

/**
 * Whoever has not been heard for so long is cut off. More than a renewal apart from `connectedMs`, so that in an outage of the API
 * server the first one to notice is told by the others that they do not see it either.
 */
export const cutOffMs = 2 * replicaBeat.renewSeconds * 1000 + 2000
const connectedMs = replicaBeat.renewSeconds * 1000 + 1000
/** For how long an answer holds when no other follows. */
const answerMs = 3000
const lookMs = 1000
const stoppedMs = 3 * lookMs

export function createSteppingBack(options: SteppingBackOptions): SteppingBack {
  const { clock, log, signal } = options
  /** By URL: who said last that it sees the cluster, and when. */
  const answers = new Map<string, { readonly established: readonly string[]; readonly atMs: number }>()
  let quiet: ReadonlySet<string> = new Set()
  let cancelTimer: CancelTimer | undefined

  const silentMs = (): number => clock.monotonicMs() - (options.renewedMs() ?? Number.NEGATIVE_INFINITY)
  const become = (next: ReadonlySet<string>): void => {
    if (next.size === quiet.size && [...next].every((peer) => quiet.has(peer))) return
    log.warn({
      event: 'stepping-back',
      quietTowards: [...next].sort(),
      because: next.size > 0 ? quietBecause : loudBecause,
    })
    quiet = next
    options.onChange()
  }
  const ask = async (): Promise<void> => {
    const nowMs = clock.monotonicMs()
    await Promise.all(
      standingUrls(options).map(async (url) => {
        const standing = await options.ask(url, signal)
        if (standing?.connected === true) answers.set(url, { established: standing.established, atMs: nowMs })
        else if (standing !== undefined) answers.delete(url)
      }),
    )
    for (const [url, { atMs }] of answers) if (nowMs - atMs > answerMs) answers.delete(url)
  }
  let lookedMs = clock.monotonicMs()
  const look = async (): Promise<void> => {
    // Whoever was stopped for a while has not been cut off: the API server is asked again before anybody else is.
    const wasStopped = clock.monotonicMs() - lookedMs > stoppedMs
    lookedMs = clock.monotonicMs()
    // Before the first renewal nothing is announced that could be old.
    if (options.renewedMs() !== undefined && silentMs() > cutOffMs && !wasStopped) await ask()
    else answers.clear()
    if (signal.aborted) return
    become(new Set([...answers.values()].flatMap(({ established }) => established)))
    cancelTimer = clock.setTimer(lookMs, () => void look())
  }
  signal.addEventListener('abort', () => cancelTimer?.())
  if (options.httpPort !== 0) void look()
  return { quiet: () => quiet, isConnected: () => silentMs() < connectedMs }
}

const quietBecause = 'cut off from the API server, and another replica that sees it has sessions with them'
const loudBecause = 'the API server answers, or no other replica sees it either'

const standingUrls = ({ replicas, name, httpPort }: SteppingBackOptions): readonly string[] =>
  [...replicas()].flatMap((sign) => (sign.identity === name ? [] : (standingUrlOf(sign, httpPort) ?? [])))

/** Where a replica can be asked; undefined while its Lease does not say. */
export function standingUrlOf({ annotations }: Pick<SignOfLife, 'annotations'>, httpPort: number): string | undefined {
  const address = parseIp(annotations[controllerAnnotation] ?? '')
  if (!address.ok) return undefined
  const host = familyOf(address.value) === 'IPv6' ? `[${address.value}]` : address.value
  return `http://${host}:${httpPort}${standingPath}`
}

const timeoutMs = 1000

/** Asks over the network. */
export async function askStanding(url: string, signal: AbortSignal): Promise<Standing | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) })
    const body = asObject(await answer.json())
    if (!answer.ok || body === undefined) return undefined
    return { connected: body['connected'] === true, established: (asList(body['established']) ?? []).map(String) }
  } catch {
    return undefined
  }
}
