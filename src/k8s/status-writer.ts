// Makes the statuses in the cluster say what they should: it writes only what differs, the latest value wins, and its pace is bounded
// twice: overall, and for each object, where a value that keeps changing is written more and more rarely. Nobody waits for it.
// Of the few it is told the complete set each time; of the many (Vips) only what may have changed, and it remembers none of them
// for longer than it takes until the object says so and has settled. What has to be written is decided in status-opinion.ts.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { backoffMs } from './backoff.ts'
import type { KubeError } from './kube-error.ts'
import type { Kind } from './objects.ts'
import { dueAtMs, type Pace, paceAfter, type Settle, settledAtMs } from './settling.ts'
import type { ApplyStatus, StatusApply } from './status-applier.ts'
import {
  bodyOf,
  givenUp,
  judge,
  noOpinion,
  type ObservedStatus,
  type Opinion,
  says,
  unwritten,
  wanting,
  writtenAs,
} from './status-opinion.ts'
import { createTokenBucket, type RateLimit } from './token-bucket.ts'

/** One manager's whole opinion on one object's status. Conditions may come without `lastTransitionTime`. */
export type DesiredStatus = StatusApply

export type StatusKey = string

/** The key under which a desired status is submitted. */
export const statusKey = (desired: Pick<DesiredStatus, 'kind' | 'name' | 'fieldManager'>): StatusKey =>
  `${desired.kind}/${desired.name}/${desired.fieldManager}`

export interface StatusWriterOptions {
  readonly write: ApplyStatus
  readonly observed: (kind: Kind, name: string) => ObservedStatus
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Ends all writing. */
  readonly signal: AbortSignal
  /** Default 50 a second, 100 at once. */
  readonly rate?: RateLimit
  /** Writes under way at once; default 4. */
  readonly concurrency?: number
  /** Between two writes of one object: at least the first, growing to the second while it keeps changing. Default 1 s, 30 s. */
  readonly settle?: Settle
}

export interface StatusWriterFacts {
  /** Objects whose status is not yet what it should be. */
  readonly pending: number
  readonly writes: number
  readonly failures: number
  readonly lastError?: KubeError
}

export interface StatusWriter {
  /**
   * Everything that should stand in the cluster, by `statusKey`. What was submitted before and is missing now is given up: our
   * fields are taken out of the object. A value that is the same object as before costs nothing.
   */
  readonly submit: (desired: ReadonlyMap<StatusKey, DesiredStatus>) => void
  /** What should stand in some of many objects; the others stay as they are. To be repeated when an object has changed. */
  readonly offer: (desired: readonly DesiredStatus[]) => void
  /** An object of the many is gone. */
  readonly forget: (key: StatusKey) => void
  readonly facts: () => StatusWriterFacts
  /** Resolves when nothing is left to do. */
  readonly idle: () => Promise<void>
}

interface Entry {
  readonly kind: Kind
  readonly name: string
  readonly fieldManager: string
  /** One of the many: forgotten as soon as there is nothing to remember. */
  readonly passing: boolean
  opinion: Opinion
  writing: boolean
  failures: number
  notBeforeMs: number
  /** undefined: not written yet. */
  pace: Pace | undefined
}

const defaultRate: RateLimit = { perSecond: 50, burst: 100 }
const defaultSettle = { minMs: 1_000, maxMs: 30_000 }
const failureBounds = { baseMs: 1_000, capMs: 60_000 }

export function createStatusWriter(options: StatusWriterOptions): StatusWriter {
  const { clock, log, signal } = options
  const settle = options.settle ?? defaultSettle
  const bucket = createTokenBucket(options.rate ?? defaultRate, clock)
  const concurrency = options.concurrency ?? 4
  const entries = new Map<StatusKey, Entry>()
  /** Keys that differ, oldest first. */
  const due = new Set<StatusKey>()
  /** Passing entries that were written and may change again soon. */
  const resting = new Set<StatusKey>()
  const idlers: (() => void)[] = []
  let underWay = 0
  let writes = 0
  let failures = 0
  let lastError: KubeError | undefined
  let cancelTimer: (() => void) | undefined

  // ---------------------------------------------------------------------------------------------- what is to be done

  const submit = (desired: ReadonlyMap<StatusKey, DesiredStatus>): void => {
    for (const [key, wanted] of desired) adopt(key, wanted, entries.get(key) ?? newEntry(wanted, { passing: false }))
    for (const [key, entry] of entries) {
      if (entry.passing || desired.has(key)) continue
      entry.opinion = givenUp(entry.opinion)
      look(key, entry)
    }
    pump()
  }

  const offer = (desired: readonly DesiredStatus[]): void => {
    for (const wanted of desired) {
      const key = statusKey(wanted)
      const known = entries.get(key)
      // The common case after a start: the object says so already, and there is nothing to remember.
      if (known === undefined && says(options.observed(wanted.kind, wanted.name), wanted.kind, wanted.status)) continue
      adopt(key, wanted, known ?? newEntry(wanted, { passing: true }))
    }
    pump()
  }

  const adopt = (key: StatusKey, wanted: DesiredStatus, entry: Entry): void => {
    entries.set(key, entry)
    entry.opinion = wanting(entry.opinion, wanted.status)
    look(key, entry)
  }

  const forget = (key: StatusKey): void => {
    entries.delete(key)
    due.delete(key)
    resting.delete(key)
  }

  /** Lets go of passing entries that have settled. Returns the milliseconds until the next one may have. */
  const letGo = (nowMs: number): number => {
    let nextMs = Number.POSITIVE_INFINITY
    for (const key of resting) {
      const entry = entries.get(key)
      if (entry === undefined || entry.writing || due.has(key)) resting.delete(key)
      else if (restUntilMs(entry) <= nowMs) forget(key)
      else nextMs = Math.min(nextMs, restUntilMs(entry) - nowMs)
    }
    return nextMs
  }

  /** Until then another change of the object would be one too soon. */
  const restUntilMs = ({ pace }: Entry): number =>
    pace === undefined ? Number.NEGATIVE_INFINITY : settledAtMs(pace, settle)

  /** Puts the entry among the due, or takes it out. */
  const look = (key: StatusKey, entry: Entry): void => {
    const observed = options.observed(entry.kind, entry.name)
    const { differs, opinion } = judge(entry.opinion, observed)
    entry.opinion = observed === 'absent' ? unwritten(opinion) : opinion
    if (differs) {
      due.add(key)
      return
    }
    due.delete(key)
    if (opinion.desired === undefined && !entry.writing) entries.delete(key)
    // Where the view cannot tell, or the server did not keep what was written, only the entry knows.
    else if (entry.passing && typeof observed === 'object' && opinion.written?.faithful === true) resting.add(key)
  }

  // ------------------------------------------------------------------------------------------------------- doing it

  const pump = (): void => {
    cancelTimer?.()
    cancelTimer = undefined
    if (signal.aborted) return
    const nowMs = clock.monotonicMs()
    let nextMs = letGo(nowMs)
    for (const key of due) {
      if (underWay >= concurrency) return
      const entry = entries.get(key)
      if (entry === undefined || entry.writing) continue
      if (entry.notBeforeMs > nowMs) {
        nextMs = Math.min(nextMs, entry.notBeforeMs - nowMs)
        continue
      }
      if (!bucket.take()) {
        nextMs = Math.min(nextMs, bucket.nextInMs())
        break
      }
      void writeOne(key, entry)
    }
    if (Number.isFinite(nextMs)) cancelTimer = clock.setTimer(nextMs, pump)
    if (due.size === 0 && underWay === 0) for (const resolve of idlers.splice(0)) resolve()
  }

  const writeOne = async (key: StatusKey, entry: Entry): Promise<void> => {
    const { kind, name, fieldManager, opinion: sent } = entry
    const body = bodyOf(sent, options.observed(kind, name), clock.wallMs())
    entry.writing = true
    underWay++
    due.delete(key)
    const result = await options.write({ kind, name, fieldManager, status: body })
    entry.writing = false
    underWay--
    if (signal.aborted) return
    const nowMs = clock.monotonicMs()
    if (result.ok) {
      writes++
      entry.failures = 0
      entry.opinion = writtenAs(entry.opinion, sent, body, result.value)
      if (entry.opinion.written?.faithful === false)
        log.warn({ event: 'status-not-kept', kind, name, advice: 'the installed CRD is older than this controller' })
      entry.pace = paceAfter(entry.pace, nowMs, settle)
      entry.notBeforeMs = dueAtMs(entry.pace)
      look(key, entry)
    } else if (result.error.status === 404) {
      // Gone. If it comes back, the next submission names it again.
      entry.opinion = unwritten(entry.opinion)
      if (entry.opinion.desired === undefined || entry.passing) forget(key)
    } else {
      failures++
      lastError = result.error
      entry.failures++
      const delayMs = backoffMs(entry.failures, options.random(), failureBounds)
      entry.notBeforeMs = nowMs + Math.max(delayMs, (result.error.retryAfterSeconds ?? 0) * 1000)
      due.add(key)
      log.debug({ event: 'status-write-failed', kind, name, status: result.error.status, reason: result.error.reason })
    }
    pump()
  }

  signal.addEventListener('abort', () => cancelTimer?.(), { once: true })

  return {
    submit,
    offer,
    forget,
    facts: () => ({
      pending: due.size + underWay,
      writes,
      failures,
      ...(lastError === undefined ? {} : { lastError }),
    }),
    idle: () =>
      new Promise((resolve) => {
        if (due.size === 0 && underWay === 0) resolve()
        else idlers.push(resolve)
      }),
  }
}

function newEntry({ kind, name, fieldManager }: DesiredStatus, options: { readonly passing: boolean }): Entry {
  return {
    ...{ kind, name, fieldManager, passing: options.passing },
    ...{ opinion: noOpinion(kind), writing: false, failures: 0, notBeforeMs: 0, pace: undefined },
  }
}
