// The body of an answer, collected within its bounds and read as one Kubernetes object, or as the error that it is.

import type { IncomingMessage } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { asObject, parseJson, type RawObject } from './json.ts'
import { describeForeignBody, errorFromAnswer, type KubeError } from './kube-error.ts'
import { createListSplitter } from './list-items.ts'

const answerBytesMax = 256 * 1024 * 1024
/** More than a server stores in one object. */
const itemBytesMax = 32 * 1024 * 1024

/** Called at least once, the first time counting: with the whole body as text, or why it is not complete. */
export type BodyDone = (body: Result<string, string>) => void

/** Gathers the body. */
export function collect(response: IncomingMessage, done: BodyDone): void {
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

/** So long a list may hold the thread; then whatever else has happened gets its turn. */
const readingMs = 5

/**
 * As `collect`, with the items of the list taken out and handed over as they come: also of a list that then breaks off. A server that is
 * near fills the connection faster than a list is read, and what is there would be read to its end: half a second, with several
 * lists under way.
 */
export function collectList(
  response: IncomingMessage,
  clock: Clock,
  onItem: (item: unknown) => void,
  done: BodyDone,
): void {
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

function endings(response: IncomingMessage, text: () => string, length: () => number, done: BodyDone): void {
  response.on('end', () => done(response.complete ? ok(text()) : err('it was cut off')))
  response.on('error', () => done(err(`the connection broke after ${length()} bytes of the answer`)))
  response.on('close', () => done(err(`the connection closed after ${length()} bytes of the answer`)))
}

/** The object in the body; an error for any status but 2xx, and for what is no Kubernetes object. */
export function readAnswer(
  { statusCode: status = 0, headers }: Pick<IncomingMessage, 'statusCode' | 'headers'>,
  text: string,
): Result<RawObject, KubeError> {
  const body = parseJson(text)
  if (status < 200 || status > 299) return err(errorFromAnswer(status, body ?? text, headers['retry-after']))
  const object = asObject(body)
  if (object === undefined) return err({ status, reason: 'NotKubernetes', message: describeForeignBody(status, text) })
  return ok(object)
}
