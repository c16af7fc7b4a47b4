// An answer as a value, from the handlers to the one place that writes it.

import type { JsonObject } from '../json.ts'

export interface Reply {
  readonly code: number
  readonly body: string
  readonly contentType: string
  readonly headers: Readonly<Record<string, string | readonly string[]>>
}

export const jsonReply = (code: number, object: JsonObject, headers: Reply['headers'] = {}): Reply =>
  textReply(code, JSON.stringify(object), headers)

/** A reply whose JSON text is already there. */
export const textReply = (code: number, body: string, headers: Reply['headers'] = {}): Reply => ({
  code,
  body,
  contentType: 'application/json',
  headers,
})

export const plainReply = (code: number, body: string): Reply => ({
  code,
  body,
  contentType: 'text/plain; charset=utf-8',
  headers: { 'x-content-type-options': 'nosniff' },
})
