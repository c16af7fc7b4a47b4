// One request over a connection of the connector's, from its opening to its one end: its answer was read, something broke it, time was up, or
// the caller's signal fired. Whichever comes first is the end, and all that comes later is nobody's. How an answer is read stands in
// exchange.ts (as a whole) and line-stream.ts (as it comes).

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { err, type Result } from '../runtime/result.ts'
import type { Connector, Sendable } from './connector.ts'
import { type KubeError, localError } from './kube-error.ts'

export interface TimeLimit {
  readonly ms: number
  /** What did not happen when it is over: `no complete answer`. */
  readonly missing: string
}

export interface ConversationOptions<T> {
  readonly sendable: Sendable
  /** From the first byte to the end, for each attempt. */
  readonly limit: TimeLimit
  /** Until `hear` says that the answer is the one hoped for. */
  readonly openingLimit?: TimeLimit
  readonly signal?: AbortSignal
  /** The head of an answer came: what follows is to be read, and the conversation ended. */
  readonly hear: (response: IncomingMessage, conversation: Conversation<T>) => void
}

/** As it looks to whoever reads the answer. */
export interface Conversation<T> {
  /** The answer is the one hoped for: the opening limit does not count any more. */
  readonly opened: () => void
  /** The answer was read to its end: the connection may serve another request. */
  readonly end: (result: Result<T, KubeError>) => void
  /** What comes cannot be read any further: the connection is closed. */
  readonly breakOff: (error: KubeError) => void
  readonly isOver: () => boolean
}

export const cancelled = localError('Cancelled', 'the request was cancelled')

/** Resolves with its end; never rejects. A GET that met a connection that the server had just closed is sent once more. */
export async function converse<T>(
  connector: Connector,
  clock: Clock,
  options: ConversationOptions<T>,
): Promise<Result<T, KubeError>> {
  const first = await attempt(connector, clock, options)
  if (!first.stale || options.sendable.method !== 'GET') return first.result
  return (await attempt(connector, clock, options)).result
}

interface Attempt<T> {
  readonly result: Result<T, KubeError>
  /** The connection was an idle one, and closed before it brought a byte. */
  readonly stale: boolean
}

function attempt<T>(connector: Connector, clock: Clock, options: ConversationOptions<T>): Promise<Attempt<T>> {
  const { sendable, limit, openingLimit, signal, hear } = options
  return new Promise((resolve) => {
    let request: ClientRequest | undefined
    let answered = false
    let over = false
    const end = (result: Result<T, KubeError>): void => {
      if (over) return
      over = true
      cancelOpeningLimit()
      cancelLimit()
      signal?.removeEventListener('abort', onAbort)
      const lost = !result.ok && result.error.reason === 'ConnectionLost'
      resolve({ result, stale: lost && !answered && request?.reusedSocket === true })
    }
    const breakOff = (error: KubeError): void => {
      if (over) return
      end(err(error))
      request?.destroy()
    }
    const onAbort = (): void => breakOff(cancelled)
    const setLimit = ({ ms, missing }: TimeLimit): (() => void) =>
      clock.setTimer(ms, () => breakOff(localError('Timeout', `${nameOf(sendable)}: ${missing} within ${ms} ms`)))
    const cancelLimit = setLimit(limit)
    const cancelOpeningLimit = openingLimit === undefined ? () => {} : setLimit(openingLimit)
    if (signal?.aborted) {
      onAbort()
      return
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    connector.open(sendable).then((opened) => {
      if (!opened.ok) {
        breakOff(opened.error)
        return
      }
      request = opened.value
      request.on('error', (error) => breakOff(connectionError(error, sendable)))
      if (over) {
        request.destroy()
        return
      }
      request.on('response', (response) => {
        answered = true
        hear(response, { end, breakOff, opened: cancelOpeningLimit, isOver: () => over })
      })
      request.end(sendable.body)
    }, rethrowLater)
  })
}

const nameOf = ({ method, path }: Sendable): string => `${method} ${path}`

/** The answer did not come to its end. */
export const lostError = (sendable: Sendable, because: string): KubeError =>
  localError('ConnectionLost', `${nameOf(sendable)}: ${because}`)

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
function connectionError(error: Error & { readonly code?: string }, sendable: Sendable): KubeError {
  const code = error.code ?? ''
  const text = `${nameOf(sendable)}: ${error.message || code}`
  if (unreachableCodes.has(code) || error instanceof AggregateError) return localError('Unreachable', text)
  return localError(tlsCode.test(code) ? 'TlsRefused' : 'ConnectionLost', text)
}

/** Opening never rejects because of the world; if it does, the mistake is ours and must reach the supervisor. */
function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
