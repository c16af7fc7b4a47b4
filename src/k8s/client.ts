// The conversation with an API server: requests and streams over keep-alive HTTP, with errors as values, a time limit on each
// request, a bound on how many run at once, and patience where the server asks for it (429, Retry-After).
// Deliberately small: paths, kinds and meaning belong to the callers.

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { type Connector, createConnector, type Sendable } from './connector.ts'
import { type Credentials, type CredentialsSource, loadCredentials } from './credentials.ts'
import { createGate } from './gate.ts'
import { asObject, type RawObject } from './json.ts'
import { describeForeignBody, errorFromAnswer, type KubeError, localError } from './kube-error.ts'
import { createLineSplitter, LineTooLong } from './lines.ts'
import { createListSplitter } from './list-items.ts'
import { pause } from './pause.ts'

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

const defaultTimeoutMs = 30_000
const defaultConcurrency = 16
const answerBytesMax = 256 * 1024 * 1024
const lineBytesMax = 32 * 1024 * 1024
/** More than a server stores in one object. */
const itemBytesMax = 32 * 1024 * 1024
const throttledAttemptsMax = 5
const retryAfterSecondsMax = 30

const contentTypes: Readonly<Record<PatchType, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
}

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

const cancelled = localError('Cancelled', 'the request was cancelled')

// --------------------------------------------------------------------------------------------------- one exchange

/** Sends, collects the whole answer, parses it. A GET that met a connection the server had just closed is sent once more. */
async function exchange(
  connector: Connector,
  clock: Clock,
  wanted: KubeRequest,
): Promise<Result<RawObject, KubeError>> {
  const sendable: Sendable = {
    method: wanted.method,
    path: wanted.path,
    ...(wanted.query === undefined ? {} : { query: wanted.query }),
    ...(wanted.body === undefined
      ? {}
      : {
          body: JSON.stringify(wanted.body),
          contentType: wanted.patchType === undefined ? 'application/json' : contentTypes[wanted.patchType],
        }),
  }
  for (let attempts = 1; ; attempts++) {
    const answer = await converse(connector, clock, sendable, wanted)
    if (answer.ok) return readAnswer(answer.value)
    if (!(answer.error.stale && wanted.method === 'GET' && attempts === 1)) return err(answer.error.error)
  }
}

interface Answer {
  readonly status: number
  readonly retryAfter?: string
  readonly text: string
}

interface BrokenConversation {
  readonly error: KubeError
  /** The connection was an idle one, and closed before it brought a byte. */
  readonly stale: boolean
}

function converse(
  connector: Connector,
  clock: Clock,
  sendable: Sendable,
  limits: Pick<KubeRequest, 'timeoutMs' | 'signal' | 'onItem'>,
): Promise<Result<Answer, BrokenConversation>> {
  const timeoutMs = limits.timeoutMs ?? defaultTimeoutMs
  return new Promise((resolve) => {
    let opened: ClientRequest | undefined
    let answered = false
    let over = false
    const finish = (result: Result<Answer, BrokenConversation>): void => {
      if (over) return
      over = true
      cancelTimer()
      limits.signal?.removeEventListener('abort', onAbort)
      if (!result.ok) opened?.destroy()
      resolve(result)
    }
    const fail = (error: KubeError): void =>
      finish(err({ error, stale: !answered && opened?.reusedSocket === true && error.reason === 'ConnectionLost' }))
    const onAbort = (): void => fail(cancelled)
    const cancelTimer = clock.setTimer(timeoutMs, () =>
      fail(localError('Timeout', `${sendable.method} ${sendable.path}: no complete answer within ${timeoutMs} ms`)),
    )
    if (limits.signal?.aborted) {
      onAbort()
      return
    }
    limits.signal?.addEventListener('abort', onAbort, { once: true })
    connector.open(sendable).then((result) => {
      if (!result.ok) {
        fail(result.error)
        return
      }
      opened = result.value
      opened.on('error', (error) => fail(connectionError(error, sendable)))
      if (over) {
        opened.destroy()
        return
      }
      opened.on('response', (response) => {
        answered = true
        const isOk = response.statusCode === 200
        const onItem =
          limits.onItem === undefined || !isOk ? undefined : (item: unknown) => over || limits.onItem?.(item)
        const gather = onItem === undefined ? collect : collectList(onItem)
        gather(response, (text) =>
          text.ok ? finish(ok(answerOf(response, text.value))) : fail(lostError(sendable, text.error)),
        )
      })
      opened.end(sendable.body)
    }, rethrowLater)
  })
}

function answerOf(response: IncomingMessage, text: string): Answer {
  const retryAfter = response.headers['retry-after']
  return { status: response.statusCode ?? 0, text, ...(retryAfter === undefined ? {} : { retryAfter }) }
}

// The body as text, or why it is not complete.
function collect(response: IncomingMessage, done: (result: Result<string, string>) => void): void {
  const chunks: Buffer[] = []
  let length = 0
  response.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length > answerBytesMax) {
      done(err(`the answer is larger than ${answerBytesMax} bytes`))
      response.destroy()
    } else chunks.push(chunk)
  })
  endings(
    response,
    () => Buffer.concat(chunks).toString('utf8'),
    () => length,
    done,
  )
}

function endings(
  response: IncomingMessage,
  text: () => string,
  length: () => number,
  done: (result: Result<string, string>) => void,
): void {
  response.on('end', () => done(response.complete ? ok(text()) : err('it was cut off')))
  response.on('error', () => done(err(`the connection broke after ${length()} bytes of the answer`)))
  response.on('close', () => done(err(`the connection closed after ${length()} bytes of the answer`)))
}

// As `collect`, with the items of the list taken out.
const collectList =
  (onItem: (item: unknown) => void) =>
  (response: IncomingMessage, done: (result: Result<string, string>) => void): void => {
    const splitter = createListSplitter()
    const takeItem = (text: string): void => {
      const item = parseJson(text)
      if (item !== undefined) onItem(item)
      else {
        done(err('an item of the list is no JSON'))
        response.destroy()
      }
    }
    let length = 0
    response.on('data', (chunk: Buffer) => {
      length += chunk.length
      splitter.push(chunk, takeItem)
      if (splitter.pendingBytes() <= itemBytesMax) return
      done(err(`an item of the list is larger than ${itemBytesMax} bytes`))
      response.destroy()
    })
    endings(
      response,
      () => splitter.rest(),
      () => length,
      done,
    )
  }

function readAnswer(answer: Answer): Result<RawObject, KubeError> {
  const body = parseJson(answer.text)
  if (answer.status < 200 || answer.status > 299)
    return err(errorFromAnswer(answer.status, body ?? answer.text, answer.retryAfter))
  const object = asObject(body)
  if (object === undefined)
    return err({
      status: answer.status,
      reason: 'NotKubernetes',
      message: describeForeignBody(answer.status, answer.text),
    })
  return ok(object)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

const lostError = (sendable: Sendable, because: string): KubeError =>
  localError('ConnectionLost', `${sendable.method} ${sendable.path}: ${because}`)

const unreachableCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
])
const tlsCode = /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH/

function connectionError(error: Error & { readonly code?: string }, sendable: Sendable): KubeError {
  const code = error.code ?? ''
  const text = `${sendable.method} ${sendable.path}: ${error.message || code}`
  if (unreachableCodes.has(code) || error instanceof AggregateError) return localError('Unreachable', text)
  return localError(tlsCode.test(code) ? 'TlsRefused' : 'ConnectionLost', text)
}

// Opening never rejects because of the world; if it does, the mistake is ours and must reach the supervisor.
function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

// -------------------------------------------------------------------------------------------------------- streams

function streamLines(connector: Connector, clock: Clock, wanted: KubeStreamRequest): Promise<Result<void, KubeError>> {
  const sendable: Sendable = {
    method: 'GET',
    path: wanted.path,
    ...(wanted.query === undefined ? {} : { query: wanted.query }),
  }
  return new Promise((resolve) => {
    let opened: ClientRequest | undefined
    let over = false
    const finish = (result: Result<void, KubeError>): void => {
      if (over) return
      over = true
      cancelOpenTimer()
      cancelTotalTimer()
      wanted.signal.removeEventListener('abort', onAbort)
      // Even a stream that ended well is not reused after we stopped reading it in the middle.
      if (!result.ok) opened?.destroy()
      resolve(result)
    }
    const fail = (error: KubeError): void => finish(err(error))
    const onAbort = (): void => fail(cancelled)
    const timeout = (whatFor: string, ms: number): (() => void) =>
      clock.setTimer(ms, () => fail(localError('Timeout', `GET ${wanted.path}: ${whatFor} within ${ms} ms`)))
    const cancelOpenTimer = timeout('no answer', wanted.openTimeoutMs)
    const cancelTotalTimer = timeout('the server did not end the stream', wanted.totalTimeoutMs)
    if (wanted.signal.aborted) {
      onAbort()
      return
    }
    wanted.signal.addEventListener('abort', onAbort, { once: true })
    connector.open(sendable).then((result) => {
      if (!result.ok) {
        fail(result.error)
        return
      }
      opened = result.value
      opened.on('error', (error) => fail(connectionError(error, sendable)))
      if (over) {
        opened.destroy()
        return
      }
      opened.on('response', (response) => {
        cancelOpenTimer()
        if (response.statusCode !== 200) {
          collect(response, (text) => {
            const answer = text.ok ? readAnswer(answerOf(response, text.value)) : err(lostError(sendable, text.error))
            fail(
              answer.ok
                ? localError('NotKubernetes', `a watch was answered with HTTP ${response.statusCode}`)
                : answer.error,
            )
          })
          return
        }
        wanted.onOpen()
        followLines(response, wanted, () => over, finish)
      })
      opened.end()
    }, rethrowLater)
  })
}

function followLines(
  response: IncomingMessage,
  wanted: KubeStreamRequest,
  isOver: () => boolean,
  finish: (result: Result<void, KubeError>) => void,
): void {
  const splitter = createLineSplitter({ lineBytesMax })
  const lost = (because: string): void => finish(err(localError('ConnectionLost', `GET ${wanted.path}: ${because}`)))
  const onLine = (line: string): void => {
    if (isOver()) return
    const value = parseJson(line)
    if (value !== undefined) wanted.onValue(value)
    else finish(err({ status: 200, reason: 'NotKubernetes', message: describeForeignBody(200, line) }))
  }
  response.on('data', (chunk: Buffer) => {
    if (isOver()) return
    try {
      splitter.push(chunk, onLine)
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error
      finish(err(localError('TooLarge', `GET ${wanted.path}: ${error.message}`)))
    }
  })
  response.on('end', () =>
    response.complete && splitter.pendingBytes() === 0
      ? finish(ok(undefined))
      : lost('the stream was cut inside an event'),
  )
  response.on('error', () => lost('the connection broke'))
  response.on('close', () => lost('the connection closed'))
}
