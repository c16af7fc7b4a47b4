// Kubernetes Events: what `kubectl describe` shows at the bottom. core/v1, since that is what it reads. Only transitions are
// worth one; whoever repeats himself raises a count, and no object can flood the API server or its neighbours.

import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { KubeClient } from './client.ts'
import { type Fence, unfenced } from './fence.ts'
import type { RawObject } from './json.ts'
import { eventResource, resourcePath } from './resources.ts'
import { renderTime } from './times.ts'
import { createTokenBucket, type RateLimit, type TokenBucket } from './token-bucket.ts'

/** The object an Event is about. */
export interface EventSubject {
  readonly apiVersion: string
  readonly kind: string
  /** Empty for cluster-scoped objects. */
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface EventNote {
  readonly subject: EventSubject
  readonly severity: 'Normal' | 'Warning'
  /** CamelCase, as in conditions. */
  readonly reason: string
  readonly message: string
}

export interface EventRecorderOptions {
  readonly client: KubeClient
  /** `bellhop-controller`. */
  readonly component: string
  /** The Pod's name. */
  readonly instance: string
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  readonly fence?: Fence
  /** All Events together; default 5 a second, 50 at once. */
  readonly rate?: RateLimit
  /** Events about one object; default one a minute, 25 at once. */
  readonly ratePerObject?: RateLimit
}

export interface EventRecorderFacts {
  readonly sent: number
  /** Not sent because of a bound or a failure. */
  readonly dropped: number
}

export interface EventRecorder {
  /** Never blocks, never fails; an Event that was said before within ten minutes raises that one's count. */
  readonly record: (note: EventNote) => void
  readonly facts: () => EventRecorderFacts
  /** Resolves when all that was recorded has been sent or dropped. */
  readonly idle: () => Promise<void>
}

const repeatWindowMs = 10 * 60_000
/** A count is brought up to date this often. */
const countIntervalMs = 60_000
const rememberedMax = 4_096
const queueMax = 500
const messageLengthMax = 1_024
const sentTimeoutMs = 10_000

interface Remembered {
  readonly note: EventNote
  readonly name: string
  readonly firstWallMs: number
  count: number
  sentCount: number
  lastWallMs: number
  lastMs: number
  sentMs: number
  queued: boolean
}

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, clock, log, signal } = options
  const fence = options.fence ?? unfenced
  const overall = createTokenBucket(options.rate ?? { perSecond: 5, burst: 50 }, clock)
  const perObject = new Map<string, TokenBucket>()
  const remembered = new Map<string, Remembered>()
  const queue: Remembered[] = []
  const idlers: (() => void)[] = []
  let sending = false
  let sent = 0
  let dropped = 0
  let sequence = 0

  const record = (note: EventNote): void => {
    if (signal.aborted) return
    const nowMs = clock.monotonicMs()
    const key = [note.subject.uid, note.subject.name, note.severity, note.reason, note.message].join('\n')
    const before = remembered.get(key)
    remembered.delete(key)
    if (before !== undefined && nowMs - before.lastMs < repeatWindowMs) {
      before.count++
      before.lastMs = nowMs
      before.lastWallMs = clock.wallMs()
      remembered.set(key, before)
      if (!before.queued && nowMs - before.sentMs >= countIntervalMs) enqueue(before)
      return
    }
    if (!bucketOf(note.subject).take()) {
      dropped++
      return
    }
    const fresh: Remembered = {
      note,
      name: eventName(note.subject.name, clock.wallMs(), sequence++),
      firstWallMs: clock.wallMs(),
      count: 1,
      sentCount: 0,
      lastWallMs: clock.wallMs(),
      lastMs: nowMs,
      // It is on its way: repetitions wait for their minute.
      sentMs: nowMs,
      queued: false,
    }
    remembered.set(key, fresh)
    trim(remembered, rememberedMax)
    enqueue(fresh)
  }

  const bucketOf = ({ uid, kind, namespace, name }: EventSubject): TokenBucket => {
    const key = `${uid}/${kind}/${namespace}/${name}`
    const bucket =
      perObject.get(key) ?? createTokenBucket(options.ratePerObject ?? { perSecond: 1 / 60, burst: 25 }, clock)
    perObject.delete(key)
    perObject.set(key, bucket)
    trim(perObject, rememberedMax)
    return bucket
  }

  const enqueue = (event: Remembered): void => {
    if (queue.length >= queueMax) {
      dropped++
      return
    }
    event.queued = true
    queue.push(event)
    if (!sending) void drain()
  }

  const drain = async (): Promise<void> => {
    sending = true
    while (!signal.aborted) {
      const next = queue[0]
      if (next === undefined) break
      if (!overall.take()) {
        await new Promise<void>((resolve) => void clock.setTimer(overall.nextInMs(), resolve))
        continue
      }
      queue.shift()
      next.queued = false
      await send(next)
    }
    sending = false
    for (const resolve of idlers.splice(0)) resolve()
  }

  const send = async (event: Remembered): Promise<void> => {
    if (!fence.holds()) {
      dropped++
      return
    }
    const namespace = namespaceOf(event.note.subject)
    const first = event.sentCount === 0
    const body = first ? eventBody(event, options) : { count: event.count, lastTimestamp: renderTime(event.lastWallMs) }
    const { count } = event
    const answer = await client.request({
      method: first ? 'POST' : 'PATCH',
      path: resourcePath(eventResource, first ? { namespace } : { namespace, name: event.name }),
      ...(first ? {} : { patchType: 'merge' }),
      body,
      timeoutMs: sentTimeoutMs,
      signal,
    })
    event.sentMs = clock.monotonicMs()
    // Ours by its name: an earlier attempt arrived although its answer did not.
    if (answer.ok || (first && answer.error.status === 409)) {
      sent++
      event.sentCount = count
      return
    }
    dropped++
    // Events live an hour in etcd: one that is gone is created anew at its next occasion.
    if (answer.error.status === 404) event.sentCount = 0
    const { reason: because, message } = answer.error
    log.debug({ event: 'event-not-sent', reason: event.note.reason, because, message })
  }

  return {
    record,
    facts: () => ({ sent, dropped }),
    idle: () => (sending ? new Promise((resolve) => void idlers.push(resolve)) : Promise.resolve()),
  }
}

function trim(map: Map<string, unknown>, sizeMax: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= sizeMax) return
    map.delete(oldest)
  }
}

// Events about cluster-scoped objects live in `default`: the API server insists.
const namespaceOf = (subject: EventSubject): string => (subject.namespace === '' ? 'default' : subject.namespace)

/** Unique without asking: `<object>.<time in hex><sequence>`, within the 253 characters of a name. */
const eventName = (name: string, wallMs: number, sequence: number): string =>
  `${name.slice(0, 200)}.${wallMs.toString(16)}${(sequence % 0x10000).toString(16).padStart(4, '0')}`

function eventBody(event: Remembered, options: EventRecorderOptions): RawObject {
  const { subject, severity, reason, message } = event.note
  const { apiVersion, kind, name, uid } = subject
  return {
    apiVersion: eventResource.apiVersion,
    kind: eventResource.kind,
    metadata: { name: event.name, namespace: namespaceOf(subject) },
    involvedObject: {
      apiVersion,
      kind,
      name,
      uid,
      ...(subject.namespace === '' ? {} : { namespace: subject.namespace }),
    },
    type: severity,
    reason,
    message: message.length > messageLengthMax ? `${message.slice(0, messageLengthMax - 3)}...` : message,
    source: { component: options.component },
    reportingComponent: options.component,
    reportingInstance: options.instance,
    count: event.count,
    firstTimestamp: renderTime(event.firstWallMs),
    lastTimestamp: renderTime(event.lastWallMs),
  }
}
