// The conversation with an API server: requests and streams over keep-alive HTTP, with errors as values, a time limit on each
// request, a bound on how many run at once, and patience where the server asks for it (429, Retry-After). How one request is
// answered stands in exchange.ts, how a watch is read in line-stream.ts; paths, kinds and meaning belong to the callers.

import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { pause } from '../runtime/pause.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { createConnector } from './connector.ts'
import { cancelled } from './conversation.ts'
import { type Credentials, type CredentialsSource, loadCredentials } from './credentials.ts'
import { exchange } from './exchange.ts'
import { createGate } from './gate.ts'
import type { RawObject } from './json.ts'
import type { KubeError } from './kube-error.ts'
import { streamLines } from './line-stream.ts'

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply'

export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** From `resourcePath`: `/api/v1/services`. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** How the server reads the body of a PATCH. */
  readonly patchType?: PatchType
  /** For each attempt, from its first byte to the last byte of the answer. Default 30 s. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /**
   * For lists: gets each item as it arrives, and `items` is empty in the answer. Also called for a list that then fails in the
   * middle.
   */
  readonly onItem?: (item: unknown) => void
  /** `vital` requests (leases) do not wait behind the others. Default `bulk`. */
  readonly lane?: 'vital' | 'bulk'
}

export interface KubeStreamRequest {
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  /** For the response's head. */
  readonly openTimeoutMs: number
  /** For the whole stream: past this it is ended with Timeout, however quiet or busy it is. */
  readonly totalTimeoutMs: number
  readonly signal: AbortSignal
  readonly onOpen: () => void
  /** One JSON value a line. Called synchronously as bytes arrive. */
  readonly onValue: (value: unknown) => void
}

export interface KubeClient {
  /** For people and logs: scheme, host and port. */
  readonly server: string
  /** The namespace the credentials name, if any. */
  readonly namespace?: string
  /** One request, one JSON object. Never rejects. */
  readonly request: (request: KubeRequest) => Promise<Result<RawObject, KubeError>>
  /** Reads a GET's answer line by line until it ends (ok), breaks or is cancelled (error). Never rejects. */
  readonly stream: (request: KubeStreamRequest) => Promise<Result<void, KubeError>>
  /**
   * Calls when the server answers a request after one found it away (not reachable, or silent), with the moment from which it was,
   * monotonic milliseconds. What else waits for the server, by streams or pauses, need not wait longer. Ends with the signal.
   */
  readonly onReturn: (listener: (awaySinceMs: number) => void, signal: AbortSignal) => void
  /** Closes idle connections and breaks the others. */
  readonly close: () => void
}

export interface KubeClientOptions {
  readonly credentials: CredentialsSource
  readonly clock: Clock
  readonly log: Log
  /** `bellhop/<version> (<role>)`. */
  readonly userAgent: string
  /** Requests at once in the bulk lane; default 16. Streams and vital requests do not count. */
  readonly concurrency?: number
}

const defaultConcurrency = 16
const throttledAttemptsMax = 5
const retryAfterSecondsMax = 30

/** Finds the credentials and returns a client; nothing is sent yet. */
export async function createKubeClient(options: KubeClientOptions): Promise<Result<KubeClient, KubeError>> {
  const credentials = await loadCredentials(options.credentials, { clock: options.clock })
  if (!credentials.ok) return credentials
  return ok(clientOf(credentials.value, options))
}

function clientOf(credentials: Credentials, options: KubeClientOptions): KubeClient {
  const { clock, log } = options
  const gate = createGate(options.concurrency ?? defaultConcurrency)
  const connector = createConnector(credentials, options)

  const presence = watchPresence(clock)

  const attempt = async (request: KubeRequest): Promise<Result<RawObject, KubeError>> => {
    const leave = request.lane === 'vital' ? undefined : await gate.enter(request.signal)
    if (leave === 'cancelled') return err(cancelled)
    try {
      const beganMs = clock.monotonicMs()
      const result = await exchange(connector, clock, request)
      presence.note(result, beganMs)
      return result
    } finally {
      leave?.()
    }
  }

  const request = async (wanted: KubeRequest): Promise<Result<RawObject, KubeError>> => {
    let authorizationRetried = false
    for (let attempts = 1; ; ) {
      const result = await attempt(wanted)
      if (result.ok) return result
      if (result.error.status === 401 && !authorizationRetried) {
        authorizationRetried = true
        credentials.invalidate()
        continue
      }
      // Who holds a lease has deadlines of its own, and decides itself when to try again.
      const waitSeconds = wanted.lane === 'vital' ? undefined : throttledForSeconds(result.error)
      if (waitSeconds === undefined || attempts >= throttledAttemptsMax) return result
      attempts++
      log.debug({ event: 'kube-throttled', method: wanted.method, path: wanted.path, waitSeconds })
      if (!(await pause(clock, waitSeconds * 1000, wanted.signal))) return err(cancelled)
    }
  }

  return {
    server: credentials.server.origin,
    ...(credentials.namespace === undefined ? {} : { namespace: credentials.namespace }),
    request,
    stream: (wanted) => streamLines(connector, clock, wanted).then((result) => forgetRejected(result, credentials)),
    onReturn: presence.onReturn,
    close: connector.close,
  }
}

const awayReasons: ReadonlySet<string> = new Set(['Unreachable', 'ConnectionLost', 'Timeout'])
/** A server that loses every other request is not there again each time. */
const returnIntervalMs = 5_000

/** Whether the server is there, from what became of requests. */
function watchPresence(clock: Clock): Pick<KubeClient, 'onReturn'> & {
  readonly note: (result: Result<unknown, KubeError>, beganMs: number) => void
} {
  const listeners = new Set<(awaySinceMs: number) => void>()
  let awaySinceMs: number | undefined
  let toldMs = Number.NEGATIVE_INFINITY
  return {
    onReturn: (listener, signal) => {
      listeners.add(listener)
      signal.addEventListener('abort', () => void listeners.delete(listener), { once: true })
    },
    note: (result, beganMs) => {
      if (!result.ok && result.error.status === 0) {
        if (awayReasons.has(result.error.reason)) awaySinceMs = Math.min(awaySinceMs ?? beganMs, beganMs)
        return
      }
      const nowMs = clock.monotonicMs()
      if (awaySinceMs === undefined || nowMs - toldMs < returnIntervalMs) return
      const sinceMs = awaySinceMs
      awaySinceMs = undefined
      toldMs = nowMs
      for (const listener of [...listeners]) listener(sinceMs)
    },
  }
}

function forgetRejected<T>(result: Result<T, KubeError>, credentials: Credentials): Result<T, KubeError> {
  if (!result.ok && result.error.status === 401) credentials.invalidate()
  return result
}

// 429 was not executed by definition; 503 with Retry-After is the same statement by a server that shuts down.
function throttledForSeconds(error: KubeError): number | undefined {
  if (error.status !== 429 && !(error.status === 503 && error.retryAfterSeconds !== undefined)) return undefined
  const seconds = error.retryAfterSeconds ?? 1
  return seconds > retryAfterSecondsMax ? undefined : seconds
}
