// One request and its whole answer over a connection of the connector's: sent, collected within its bounds, parsed, and every way in which
// that can end as a value. Whose turn it is, and what to try again, is the client's.

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { KubeRequest, PatchType } from './client.ts'
import type { Connector, Sendable } from './connector.ts'
import { asObject, type RawObject } from './json.ts'
import { describeForeignBody, errorFromAnswer, type KubeError, localError } from './kube-error.ts'
import { createListSplitter } from './list-items.ts'

const defaultTimeoutMs = 30_000
const answerBytesMax = 256 * 1024 * 1024
/** More than a server stores in one object. */
const itemBytesMax = 32 * 1024 * 1024

const contentTypes: Readonly<Record<PatchType, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
}

export const cancelled = localError('Cancelled', 'the request was cancelled')

/** Sends, collects the whole answer, parses it. A GET that met a connection the server had just closed is sent once more. */
export async function exchange(
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

/** As it came, complete. */
export interface Answer {
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
        const gather = onItem === undefined ? collect : collectList(onItem, clock)
        gather(response, (text) =>
          text.ok ? finish(ok(answerOf(response, text.value))) : fail(lostError(sendable, text.error)),
        )
      })
      opened.end(sendable.body)
    }, rethrowLater)
  })
}

/** The answer whose body is `text`. */
export function answerOf(response: IncomingMessage, text: string): Answer {
  const retryAfter = response.headers['retry-after']
  return { status: response.statusCode ?? 0, text, ...(retryAfter === undefined ? {} : { retryAfter }) }
}

/** The body as text, or why it is not complete. */
export function collect(response: IncomingMessage, done: (result: Result<string, string>) => void): void {
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

/** So long a list may hold the thread; then whatever else has happened gets its turn. */
const readingMs = 5

// As `collect`, with the items of the list taken out. A server that is near fills the connection faster than a list is read, and what
// is there would be read to its end: half a second, with several lists under way.
const collectList =
  (onItem: (item: unknown) => void, clock: Clock) =>
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
    let busyMs = 0
    const rest = (): void => {
      busyMs = 0
      response.pause()
      setImmediate(() => response.resume())
    }
    response.on('data', (chunk: Buffer) => {
      length += chunk.length
      const begunMs = clock.monotonicMs()
      splitter.push(chunk, takeItem)
      busyMs += clock.monotonicMs() - begunMs
      if (busyMs >= readingMs) rest()
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

/** The object in it; an error for any status but 2xx, and for what is no Kubernetes object. */
export function readAnswer(answer: Answer): Result<RawObject, KubeError> {
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

/** undefined where it is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** The answer did not come to its end. */
export const lostError = (sendable: Sendable, because: string): KubeError =>
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

/** What Node says of a connection, in our words. */
export function connectionError(error: Error & { readonly code?: string }, sendable: Sendable): KubeError {
  const code = error.code ?? ''
  const text = `${sendable.method} ${sendable.path}: ${error.message || code}`
  if (unreachableCodes.has(code) || error instanceof AggregateError) return localError('Unreachable', text)
  return localError(tlsCode.test(code) ? 'TlsRefused' : 'ConnectionLost', text)
}

/** Opening never rejects because of the world; if it does, the mistake is ours and must reach the supervisor. */
export function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
