// A watch's answer, line by line as it comes, until it ends, breaks or is cancelled.

import type { IncomingMessage } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { collect, readAnswer } from './answer.ts'
import type { KubeStreamRequest } from './client.ts'
import type { Connector, Sendable } from './connector.ts'
import { type Conversation, converse, lostError } from './conversation.ts'
import { parseJson } from './json.ts'
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
  return converse<void>(connector, clock, {
    sendable,
    limit: { ms: wanted.totalTimeoutMs, missing: 'the server did not end the stream' },
    openingLimit: { ms: wanted.openTimeoutMs, missing: 'no answer' },
    signal: wanted.signal,
    hear: (response, conversation) => {
      if (response.statusCode === 200) {
        conversation.opened()
        wanted.onOpen()
        followLines(response, sendable, wanted.onValue, conversation)
      } else
        collect(response, (text) =>
          text.ok
            ? conversation.end(err(refusalOf(response, text.value)))
            : conversation.breakOff(lostError(sendable, text.error)),
        )
    },
  })
}

/** What an answer without a stream says. */
function refusalOf(response: IncomingMessage, text: string): KubeError {
  const answer = readAnswer(response, text)
  return answer.ok ? localError('NotKubernetes', `a watch was answered with HTTP ${response.statusCode}`) : answer.error
}

function followLines(
  response: IncomingMessage,
  sendable: Sendable,
  onValue: (value: unknown) => void,
  { end, breakOff, isOver }: Conversation<void>,
): void {
  const splitter = createLineSplitter({ lineBytesMax })
  const lost = (because: string): void => breakOff(lostError(sendable, because))
  const onLine = (line: string): void => {
    if (isOver()) return
    const value = parseJson(line)
    if (value !== undefined) onValue(value)
    else breakOff({ status: 200, reason: 'NotKubernetes', message: describeForeignBody(200, line) })
  }
  response.on('data', (chunk: Buffer) => {
    if (isOver()) return
    try {
      splitter.push(chunk, onLine)
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error
      breakOff(localError('TooLarge', `GET ${sendable.path}: ${error.message}`))
    }
  })
  response.on('end', () =>
    response.complete && splitter.pendingBytes() === 0
      ? end(ok(undefined))
      : lost('the stream was cut inside an event'),
  )
  response.on('error', () => lost('the connection broke'))
  response.on('close', () => lost('the connection closed'))
}
