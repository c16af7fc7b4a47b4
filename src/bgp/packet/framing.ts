// A stream of octets into messages, and the header checks that RFC 4271 section 6.1 asks for. Chunks come as the socket cuts
// them; each octet is copied at most a constant number of times, and less than one message and one chunk are ever held.
// After an error there is nothing to synchronise on: the framer stays failed and forgets what it is given.

import { hexOf, readU16, u16 } from './bytes.ts'
import { headerBytes, messageTypeCode } from './encode.ts'
import { headerError } from './errors.ts'
import type { SessionError } from './message.ts'

export type Framed =
  /** One message with its header: a view that no later `push` changes. */
  | { readonly type: 'message'; readonly bytes: Uint8Array }
  /** `header`: the octets that are to blame. */
  | { readonly type: 'error'; readonly error: SessionError; readonly header: Uint8Array }

export interface Framer {
  /** Takes the chunk over: the caller must not write to it any more. */
  readonly push: (chunk: Uint8Array) => void
  /**
   * The next message, an error that ends the session, or undefined when more octets are needed. `maxBytes` is
   * `messageBytesMaxReceive` of the session as it is now; OPEN and KEEPALIVE have limits of their own (RFC 8654 section 4).
   */
  readonly next: (maxBytes: number) => Framed | undefined
}

const lengthAt = 16
const typeAt = 18
const classicBytesMax = 4096

// RFC 4271 section 4; a ROUTE-REFRESH of the wrong length is judged where its subtype can be seen (RFC 7313 section 5).
const minimumBytes: readonly number[] = [0, 29, 23, 21, 19, 19]

/**
 * What is wrong with the header that starts at `at` (19 octets are there), or undefined. Order as in RFC 4271 section 6.1:
 * marker, length, type.
 */
export function headerProblem(bytes: Uint8Array, at: number, maxBytes: number): SessionError | undefined {
  for (let i = at; i < at + lengthAt; i++)
    if (bytes[i] !== 0xff)
      return headerError(
        'not-synchronized',
        `the marker is ${hexOf(bytes.subarray(at, at + lengthAt))}, must be all ones`,
      )
  const length = readU16(bytes, at + lengthAt)
  const type = bytes[at + typeAt] ?? 0
  const minimum = minimumBytes[type]
  const maximum = maximumBytes(type, maxBytes)
  if (length < (minimum || headerBytes) || length > maximum)
    return headerError('bad-length', `length ${length} in a message of type ${type}`, u16(length))
  if (!minimum) return headerError('bad-type', `message type ${type} is not known`, Uint8Array.of(type))
  return undefined
}

function maximumBytes(type: number, maxBytes: number): number {
  if (type === messageTypeCode.KEEPALIVE) return headerBytes
  return type === messageTypeCode.OPEN ? Math.min(maxBytes, classicBytesMax) : maxBytes
}

const empty: Uint8Array = new Uint8Array(0)

/** A framer for one connection. */
export function createFramer(): Framer {
  // What is held: `buffer[start .. end)`. Octets below `end` are never written again, so views handed out stay as they are.
  let buffer = empty
  let start = 0
  let end = 0
  let failed: { readonly error: SessionError; readonly header: Uint8Array } | undefined

  const push = (chunk: Uint8Array): void => {
    if (failed !== undefined) return
    const held = end - start
    if (held === 0) {
      buffer = chunk
      start = 0
      end = chunk.length
      return
    }
    // A buffer taken over as a chunk is full, so only one of our own ever has room.
    if (end + chunk.length > buffer.length) {
      // A chunk smaller than what is held doubles the room: crumbs then cost no copy each.
      const room = chunk.length >= held ? held + chunk.length : 2 * (held + chunk.length)
      const larger = new Uint8Array(room)
      larger.set(buffer.subarray(start, end))
      buffer = larger
      start = 0
      end = held
    }
    buffer.set(chunk, end)
    end += chunk.length
  }

  const next = (maxBytes: number): Framed | undefined => {
    if (failed !== undefined) return { type: 'error', ...failed }
    if (end - start < headerBytes) return undefined
    const problem = headerProblem(buffer, start, maxBytes)
    if (problem !== undefined) {
      failed = { error: problem, header: buffer.slice(start, start + headerBytes) }
      buffer = empty
      return { type: 'error', ...failed }
    }
    const length = readU16(buffer, start + lengthAt)
    if (end - start < length) return undefined
    const bytes = buffer.subarray(start, start + length)
    start += length
    return { type: 'message', bytes }
  }

  return { push, next }
}
