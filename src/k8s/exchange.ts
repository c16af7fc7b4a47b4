// One request and its whole answer: sent, collected, parsed, and every way in which that can end as a value. Whose turn it is, and what to
// try again, is the client's.

import type { Clock } from '../runtime/clock.ts'
import type { Result } from '../runtime/result.ts'
import { collect, collectList, readAnswer } from './answer.ts'
import type { KubeRequest, PatchType } from './client.ts'
import type { Connector, Sendable } from './connector.ts'
import { converse, lostError } from './conversation.ts'
import type { RawObject } from './json.ts'
import type { KubeError } from './kube-error.ts'

const defaultTimeoutMs = 30_000

const contentTypes: Readonly<Record<PatchType, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
}

/** Sends, collects the whole answer, parses it. Never rejects. */
export function exchange(
  connector: Connector,
  clock: Clock,
  wanted: KubeRequest,
): Promise<Result<RawObject, KubeError>> {
  const sendable = sendableOf(wanted)
  return converse<RawObject>(connector, clock, {
    sendable,
    limit: { ms: wanted.timeoutMs ?? defaultTimeoutMs, missing: 'no complete answer' },
    ...(wanted.signal === undefined ? {} : { signal: wanted.signal }),
    hear: (response, { end, breakOff, isOver }) => {
      const done = (text: Result<string, string>): void =>
        text.ok ? end(readAnswer(response, text.value)) : breakOff(lostError(sendable, text.error))
      const { onItem } = wanted
      if (onItem === undefined || response.statusCode !== 200) collect(response, done)
      else collectList(response, clock, (item) => isOver() || onItem(item), done)
    },
  })
}

function sendableOf({ method, path, query, body, patchType }: KubeRequest): Sendable {
  return {
    method,
    path,
    ...(query === undefined ? {} : { query }),
    ...(body === undefined
      ? {}
      : {
          body: JSON.stringify(body),
          contentType: patchType === undefined ? 'application/json' : contentTypes[patchType],
        }),
  }
}
