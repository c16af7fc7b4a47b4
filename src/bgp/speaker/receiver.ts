// What arrives on a connection: bytes into the events of the state machine. Routes are judged and forgotten, without
// being decoded; all that is kept of them is which prefixes the peer has announced, up to the number it may announce, so that
// announcing one again does not count twice.

import { eventOfError, eventOfMessage } from '../fsm/classify.ts'
import type { SessionContext, SessionEvent, SessionState } from '../fsm/session.ts'
import { decodeMessage } from '../packet/decode.ts'
import { messageTypeCode } from '../packet/encode.ts'
import { createFramer, type Framer } from '../packet/framing.ts'
import { type AfiSafi, afiSafiOf, openingCodec, type SessionCodec, type UpdateIssue } from '../packet/message.ts'
import type { MultiprotocolRoutes } from '../packet/multiprotocol-rules.ts'
import type { NlriForm, Span } from '../packet/nlri.ts'
import { type ExaminedUpdate, examineUpdate } from '../packet/update-rules.ts'
import { createPrefixSet } from './prefix-set.ts'

export interface Received {
  readonly event: SessionEvent
  /** What was wrong with an UPDATE that the session survives (RFC 7606). */
  readonly issues: readonly UpdateIssue[]
  /** The message that something was wrong with, or its header; valid until the next `push`. */
  readonly offending?: Uint8Array
  /** Present when the peer has now announced more than it may: in this family. */
  readonly tooMany?: AfiSafi
}

export interface Receiver {
  readonly push: (chunk: Uint8Array) => void
  /**
   * The next event, or undefined when more bytes are needed. `state` is the session's state now: each event may change it, and
   * with it how the next message is read. After an error there is nothing more.
   */
  readonly next: (state: SessionState, context: SessionContext, maxPrefixes: number) => Received | undefined
  readonly receivedPrefixes: number
}

const typeAt = 18
const noIssues: readonly UpdateIssue[] = []

/** The codec in force: the negotiated one from OpenConfirm on. */
const codecOf = (state: SessionState): SessionCodec =>
  state.name === 'OpenConfirm' || state.name === 'Established' ? state.negotiated.codec : openingCodec

/** The receiving half of one connection. */
export function createReceiver(): Receiver {
  const framer: Framer = createFramer()
  const held = createPrefixSet()
  let failed = false
  let previous: Uint8Array | undefined

  /** The family in which the peer has now announced more than it may. */
  const receiveUpdate = (bytes: Uint8Array, update: ExaminedUpdate, maxPrefixes: number): AfiSafi | undefined => {
    const { withdrawn, nlri, mpReach, mpUnreach, treatAsWithdraw } = update
    const remove = (routes: Routes): boolean =>
      forEachEntry(bytes, routes, (family, length) => {
        held.delete(family, entry, length)
        return true
      })
    const add = (routes: Routes): boolean =>
      forEachEntry(bytes, routes, (family, length) => {
        held.add(family, entry, length)
        return held.size <= maxPrefixes
      })
    const [announced, reached] = [routesIn(nlri), routesOf(mpReach)]
    remove(routesIn(withdrawn))
    remove(routesOf(mpUnreach))
    if (treatAsWithdraw) {
      remove(announced)
      remove(reached)
      return undefined
    }
    if (!add(announced)) return afiSafiOf['ipv4-unicast']
    return add(reached) ? undefined : mpReach
  }

  const fail = (event: SessionEvent, offending: Uint8Array, issues: readonly UpdateIssue[] = noIssues): Received => {
    failed = true
    return { event, issues, offending }
  }

  return {
    push: (chunk) => {
      framer.push(chunk)
      // What of the chunk before was not read yet is in a buffer of the framer's now. The collector would come for 64 kB apiece
      // only when there are very many.
      release(previous)
      previous = chunk
    },
    next: (state, context, maxPrefixes) => {
      if (failed) return undefined
      const codec = codecOf(state)
      const framed = framer.next(codec.messageBytesMaxReceive)
      if (framed === undefined) return undefined
      if (framed.type === 'error') return fail(eventOfError(framed.error), framed.header)
      // Before Established an UPDATE is wrong whatever it says, and there is no codec to read it with.
      if (framed.bytes[typeAt] === messageTypeCode.UPDATE) {
        if (state.name !== 'Established') return { event: { type: 'UpdateMsg' }, issues: noIssues }
        const examined = examineUpdate(framed.bytes, codec)
        if (!examined.ok) return fail(eventOfError(examined.error), framed.bytes, examined.issues)
        const tooMany = receiveUpdate(framed.bytes, examined.update, maxPrefixes)
        const { issues } = examined.update
        return {
          event: { type: 'UpdateMsg' },
          issues,
          ...(issues.length === 0 ? {} : { offending: framed.bytes }),
          ...(tooMany === undefined ? {} : { tooMany }),
        }
      }
      const decoded = decodeMessage(framed.bytes, codec)
      if (!decoded.ok) return fail(eventOfError(decoded.error), framed.bytes, decoded.issues)
      const event = eventOfMessage(state, decoded.message, context)
      return { event, issues: noIssues, ...('error' in event ? { offending: framed.bytes } : {}) }
    },
    get receivedPrefixes() {
      return held.size
    },
  }
}

/** Gives the memory of a chunk back, if it has it to itself. */
function release(chunk: Uint8Array | undefined): void {
  const buffer = chunk?.buffer
  if (buffer instanceof ArrayBuffer && buffer.byteLength === chunk?.byteLength) buffer.transfer(0)
}

type Routes = { readonly form: NlriForm; readonly span: Span } | undefined

const routesIn = (routes: ExaminedUpdate['nlri']): Routes =>
  routes.count === 0 ? undefined : { form: routes.form, span: routes }

const routesOf = (routes: MultiprotocolRoutes | undefined): Routes =>
  routes?.type === 'readable' ? { form: routes.form, span: routes.nlri } : undefined

// Room for a path id and the longest prefix.
const entry = new Uint8Array(4 + 17)

/** Calls `visit` for each entry of a field that was found well formed, until it returns false; then it returns false too. */
function forEachEntry(bytes: Uint8Array, routes: Routes, visit: (family: number, length: number) => boolean): boolean {
  if (routes === undefined) return true
  const { form, span } = routes
  const bitsAt = form.pathIds ? 4 : 0
  let at = span.start
  while (at < span.end) {
    const bits = bytes[at + bitsAt] ?? 0
    const length = bitsAt + 1 + ((bits + 7) >>> 3)
    for (let i = 0; i < length; i++) entry[i] = bytes[at + i] ?? 0
    // Bits beyond the length of the prefix may be anything (RFC 4271 section 4.3).
    if ((bits & 7) !== 0) entry[length - 1] = (entry[length - 1] ?? 0) & (0xff00 >>> (bits & 7))
    if (!visit(form.bitsMax, length)) return false
    at += length
  }
  return true
}
