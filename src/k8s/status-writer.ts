// Makes the statuses in the cluster say what they should: it writes only what differs, the latest value wins, and its pace is bounded
// twice: overall, and for each object, where a value that keeps changing is written more and more rarely. Nobody waits for it.
// Of the few it is told the complete set each time; of the many (Vips) only what may have changed, and it remembers none of them
// for longer than it takes until the object says so and has settled.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { backoffMs } from './backoff.ts'
import { stampConditions } from './conditions.ts'
import { asObject, identityOf, type RawObject } from './json.ts'
import type { KubeError } from './kube-error.ts'
import type { Condition, Kind, StatusDigest } from './objects.ts'
import { parseConditions } from './schemas/meta.ts'
import type { ApplyStatus, StatusApply } from './status-applier.ts'
import { digestMatches, statusMatches } from './status-match.ts'
import { createTokenBucket, type RateLimit } from './token-bucket.ts'
import { isNewer } from './versions.ts'

/** One manager's whole opinion on one object's status. Conditions may come without `lastTransitionTime`. */
export type DesiredStatus = StatusApply

export type StatusKey = string

/** The key under which a desired status is submitted. */
export const statusKey = (desired: Pick<DesiredStatus, 'kind' | 'name' | 'fieldManager'>): StatusKey =>
  `${desired.kind}/${desired.name}/${desired.fieldManager}`

/** `unknown`: this process does not follow the kind. `absent`: the object does not exist. */
export type ObservedStatus = SeenStatus | 'absent' | 'unknown'

type SeenStatus =
  | { readonly resourceVersion: string; readonly status: RawObject }
  | { readonly resourceVersion: string; readonly digest: StatusDigest }

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
  readonly settle?: { readonly minMs: number; readonly maxMs: number }
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
  /** undefined: to be given up. */
  desired: RawObject | undefined
  text: string
  written: Written | undefined
  writing: boolean
  failures: number
  notBeforeMs: number
  settleMs: number
  lastWriteMs: number
}

interface Written {
  readonly text: string
  /** The object has said so since this version. */
  readonly resourceVersion: string
  /** The server kept all of it; false with an older CRD, and then what is missing is no drift. */
  readonly faithful: boolean
  readonly conditions: readonly Condition[]
}

const nothing: RawObject = Object.freeze({})
const nothingText = '{}'
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
    for (const [key, wanted] of desired) adopt(key, wanted, entries.get(key) ?? newEntry(wanted, settle.minMs))
    for (const [key, entry] of entries) {
      if (entry.passing || desired.has(key)) continue
      entry.desired = undefined
      entry.text = nothingText
      judge(key, entry)
    }
    pump()
  }

  const offer = (desired: readonly DesiredStatus[]): void => {
    for (const wanted of desired) {
      const key = statusKey(wanted)
      const known = entries.get(key)
      // The common case after a start: the object says so already, and there is nothing to remember.
      if (known === undefined && says(options.observed(wanted.kind, wanted.name), wanted)) continue
      adopt(key, wanted, known ?? { ...newEntry(wanted, settle.minMs), passing: true })
    }
    pump()
  }

  const adopt = (key: StatusKey, wanted: DesiredStatus, entry: Entry): void => {
    entries.set(key, entry)
    if (entry.desired !== wanted.status) {
      entry.desired = wanted.status
      entry.text = JSON.stringify(wanted.status)
    }
    judge(key, entry)
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
  const restUntilMs = (entry: Entry): number => entry.lastWriteMs + 2 * entry.settleMs + settle.minMs

  /** Puts the entry among the due, or takes it out. */
  const judge = (key: StatusKey, entry: Entry): void => {
    const observed = options.observed(entry.kind, entry.name)
    if (differs(entry, observed)) {
      due.add(key)
      return
    }
    due.delete(key)
    const givenUp = entry.desired === undefined && !entry.writing
    if (observed === 'absent') entry.written = undefined
    if (givenUp) entries.delete(key)
    // Where the view cannot tell, or the server did not keep what was written, only the entry knows.
    else if (entry.passing && typeof observed === 'object' && entry.written?.faithful === true) resting.add(key)
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
    const { kind, name, fieldManager, text } = entry
    const observed = options.observed(kind, name)
    const body = stamped(entry, observed, clock.wallMs())
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
      entry.written = writtenAs(kind, text, body, result.value)
      if (!entry.written.faithful)
        log.warn({ event: 'status-not-kept', kind, name, advice: 'the installed CRD is older than this controller' })
      // Still changing within twice the last interval: write more rarely.
      entry.settleMs = nowMs < restUntilMs(entry) ? Math.min(settle.maxMs, entry.settleMs * 2) : settle.minMs
      entry.lastWriteMs = nowMs
      entry.notBeforeMs = nowMs + entry.settleMs
      judge(key, entry)
    } else if (result.error.status === 404) {
      // Gone. If it comes back, the next submission names it again.
      entry.written = undefined
      if (entry.desired === undefined || entry.passing) forget(key)
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

function newEntry(wanted: DesiredStatus, settleMs: number): Entry {
  return {
    kind: wanted.kind,
    name: wanted.name,
    fieldManager: wanted.fieldManager,
    passing: false,
    desired: undefined,
    text: '',
    written: undefined,
    writing: false,
    failures: 0,
    notBeforeMs: 0,
    settleMs,
    lastWriteMs: Number.NEGATIVE_INFINITY,
  }
}

/** Whether the object is known to say what is wanted. */
function says(observed: ObservedStatus, { kind, status }: Pick<DesiredStatus, 'kind' | 'status'>): boolean {
  if (typeof observed === 'string') return false
  return 'digest' in observed ? digestMatches(status, observed.digest) : statusMatches(kind, status, observed.status)
}

const conditionsSeen = (observed: SeenStatus): readonly Condition[] =>
  'digest' in observed ? observed.digest.conditions : conditionsOf(observed.status)

/** Whether something has to be written. Notes in the entry what the object turned out to say already. */
function differs(entry: Entry, observed: ObservedStatus): boolean {
  if (observed === 'absent') return false
  const { desired, written } = entry
  if (desired === undefined) return written !== undefined && written.text !== nothingText
  if (written === undefined) {
    if (observed === 'unknown' || !says(observed, { kind: entry.kind, status: desired })) return true
    const { resourceVersion } = observed
    entry.written = { resourceVersion, text: entry.text, faithful: true, conditions: conditionsSeen(observed) }
    return false
  }
  if (written.text !== entry.text) return true
  if (observed === 'unknown' || !written.faithful || !isNewer(observed.resourceVersion, written.resourceVersion))
    return false
  // Somebody wrote after us: was it into what is ours?
  if (!says(observed, { kind: entry.kind, status: desired })) return true
  entry.written = { ...written, resourceVersion: observed.resourceVersion }
  return false
}

const conditionsOf = (status: RawObject): readonly Condition[] => parseConditions(status['conditions'])

/** The body to write: with transition times that tell since when. */
function stamped(entry: Entry, observed: ObservedStatus, nowWallMs: number): RawObject {
  const status = entry.desired ?? nothing
  if (status['conditions'] === undefined) return status
  // What we wrote last is fresher than what we have seen of it.
  const before = entry.written?.conditions ?? (typeof observed === 'object' ? conditionsSeen(observed) : [])
  return { ...status, conditions: stampConditions(conditionsOf(status), before, nowWallMs) }
}

function writtenAs(kind: Kind, text: string, body: RawObject, answer: RawObject): Written {
  const status = asObject(answer['status']) ?? nothing
  return {
    text,
    resourceVersion: identityOf(answer).resourceVersion,
    faithful: text === nothingText || statusMatches(kind, body, status),
    conditions: conditionsOf(body),
  }
}
