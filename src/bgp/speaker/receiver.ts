// What arrives on a connection: bytes into the events of the state machine. Routes are looked at and forgotten; all that is
// kept of them is which prefixes the peer has announced, up to the number it may announce, so that announcing one again does
// not count twice.

import { eventOfError, eventOfMessage } from '../fsm/classify.ts'
import type { SessionContext, SessionEvent, SessionState } from '../fsm/session.ts'
import { decodeMessage } from '../packet/decode.ts'
import { messageTypeCode } from '../packet/encode.ts'
import { createFramer, type Framer } from '../packet/framing.ts'
import {
  type AfiSafi,
  afiSafiOf,
  type Nlri,
  openingCodec,
  type SessionCodec,
  type UpdateIssue,
  type UpdateMessage,
} from '../packet/message.ts'

export interface Received {
  readonly event: SessionEvent
  /** What was wrong with an UPDATE that the session survives (RFC 7606). */
  readonly issues: readonly UpdateIssue[]
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
  const held = new Set<string>()
  let failed = false

  const receiveUpdate = (message: UpdateMessage, maxPrefixes: number): AfiSafi | undefined => {
    const { mpReach, mpUnreach } = message.attributes
    for (const nlri of message.withdrawn) held.delete(keyOf(nlri))
    for (const nlri of mpUnreach?.withdrawn ?? []) held.delete(keyOf(nlri))
    const add = (entries: readonly Nlri[], family: AfiSafi): AfiSafi | undefined => {
      for (const nlri of entries) {
        held.add(keyOf(nlri))
        if (held.size > maxPrefixes) return family
      }
      return undefined
    }
    return add(message.nlri, afiSafiOf['ipv4-unicast']) ?? (mpReach && add(mpReach.nlri, mpReach))
  }

  const fail = (event: SessionEvent, issues: readonly UpdateIssue[] = noIssues): Received => {
    failed = true
    return { event, issues }
  }

  return {
    push: framer.push,
    next: (state, context, maxPrefixes) => {
      if (failed) return undefined
      const codec = codecOf(state)
      const framed = framer.next(codec.messageBytesMaxReceive)
      if (framed === undefined) return undefined
      if (framed.type === 'error') return fail(eventOfError(framed.error))
      // Before Established an UPDATE is wrong whatever it says, and there is no codec to read it with.
      if (framed.bytes[typeAt] === messageTypeCode.UPDATE && state.name !== 'Established')
        return { event: { type: 'UpdateMsg' }, issues: noIssues }
      const decoded = decodeMessage(framed.bytes, codec)
      if (!decoded.ok) return fail(eventOfError(decoded.error), decoded.issues)
      const { message, issues } = decoded
      const tooMany = message.type === 'UPDATE' ? receiveUpdate(message, maxPrefixes) : undefined
      const event = eventOfMessage(state, message, context)
      return { event, issues, ...(tooMany === undefined ? {} : { tooMany }) }
    },
    get receivedPrefixes() {
      return held.size
    },
  }
}

const keyOf = ({ prefix, pathId }: Nlri): string => (pathId === undefined ? prefix : `${prefix} ${pathId}`)
