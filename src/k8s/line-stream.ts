// A watch's answer, line by line as it comes, until it ends, breaks or is cancelled.

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { KubeStreamRequest } from './client.ts'
import type { Connector, Sendable } from './connector.ts'
import {
  answerOf,
  cancelled,
  collect,
  connectionError,
  lostError,
  parseJson,
  readAnswer,
  rethrowLater,
} from './exchange.ts'
import { describeForeignBody, type KubeError, localError } from './kube-error.ts'
import { createLineSplitter, LineTooLong } from './lines.ts'

const lineBytesMax = 32 * 1024 * 1024

/** Resolves when the stream ended well, or with why it did not. Never rejects. */
export function streamLines(
  connector: Connector,
  clock: Clock,
  wanted: KubeStreamRequest,
): Promise<Result<void, KubeError>> {
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
