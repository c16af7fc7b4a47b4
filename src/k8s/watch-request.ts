// One watch: opened at a version, its events read as the watch protocol has them, until it ends or says what it may not.

import type { Clock } from '../runtime/clock.ts'
import type { KubeClient } from './client.ts'
import { asObject, identityOf } from './json.ts'
import { errorFromStatusObject, type KubeError } from './kube-error.ts'

export interface WatchRequest {
  readonly path: string
  readonly selectors: Readonly<Record<string, string>>
  /** Only what came after it is told. */
  readonly resourceVersion: string
  /** How long the server is asked to keep it open; we wait a little longer. */
  readonly seconds: number
  readonly onOpen: () => void
  readonly onPut: (object: unknown) => void
  readonly onRemove: (object: unknown) => void
  /** After each event and bookmark, with the version that everything is known up to; empty where it names none. */
  readonly onProgress: (resourceVersion: string) => void
  readonly signal: AbortSignal
}

export interface WatchEnd {
  /** Absent: by the server's time limit. */
  readonly error?: KubeError
  readonly openForMs: number
  /** Bookmarks are events, too. */
  readonly events: number
}

/** How much later than the server we end a watch that it should have ended. */
const marginMs = 15_000
const openTimeoutMs = 30_000

/** Resolves with its end; never rejects. Nothing is told after the signal has fired. */
export async function followWatch(client: KubeClient, clock: Clock, wanted: WatchRequest): Promise<WatchEnd> {
  const broken = new AbortController()
  let openedAtMs: number | undefined
  let events = 0
  let violation: KubeError | undefined
  const result = await client.stream({
    path: wanted.path,
    query: {
      ...wanted.selectors,
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: wanted.resourceVersion,
      timeoutSeconds: String(wanted.seconds),
    },
    openTimeoutMs,
    totalTimeoutMs: wanted.seconds * 1000 + marginMs,
    signal: AbortSignal.any([wanted.signal, broken.signal]),
    onOpen: () => {
      openedAtMs = clock.monotonicMs()
      wanted.onOpen()
    },
    onValue: (value) => {
      violation = takeIn(value, wanted)
      if (violation !== undefined) broken.abort()
      else {
        events++
        wanted.onProgress(identityOf(asObject(value)?.['object']).resourceVersion)
      }
    },
  })
  const error = violation ?? (result.ok ? undefined : result.error)
  const openForMs = openedAtMs === undefined ? 0 : clock.monotonicMs() - openedAtMs
  return { openForMs, events, ...(error === undefined ? {} : { error }) }
}

/** Hands one event on; the error is the one that it tells, or that it is none of the watch protocol. */
function takeIn(value: unknown, { onPut, onRemove }: WatchRequest): KubeError | undefined {
  const event = asObject(value)
  const object = event?.['object']
  switch (event?.['type']) {
    case 'ADDED':
    case 'MODIFIED':
      onPut(object)
      return undefined
    case 'DELETED':
      onRemove(object)
      return undefined
    case 'BOOKMARK':
      return undefined
    case 'ERROR':
      return errorFromStatusObject(object)
    default:
      return { status: 200, reason: 'NotKubernetes', message: `a watch event of type ${String(event?.['type'])}` }
  }
}
