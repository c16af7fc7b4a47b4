// The sending half of an Established session: pulls UPDATEs from its update group as fast as the peer takes them, and says when
// it is done: End-of-RIB after the first full table, EoRR after a refresh (RFC 7313), `drained` for everybody who waits.
// What waits for a slow peer gathers there, bounded and by prefix, so it costs neither memory nor stale UPDATEs.

import type { Clock } from '../../runtime/clock.ts'
import type { Negotiated } from '../fsm/negotiate.ts'
import { concatBytes } from '../packet/bytes.ts'
import { encodeMessage } from '../packet/encode.ts'
import { afiSafiOf, type Family } from '../packet/message.ts'
import { encodeEndOfRib } from '../rib/pack.ts'
import type { UpdateStream } from '../rib/update-groups.ts'
import type { Connection } from './transport.ts'

export interface AnnouncerOptions {
  readonly stream: UpdateStream
  readonly connection: Connection
  readonly negotiated: Negotiated
  readonly clock: Clock
  /** Messages that were written. */
  readonly wrote: (messages: number) => void
  /** The peer's table is the desired one, and the kernel has all of it. Called at the end of each `pump` that got there. */
  readonly drained: () => void
}

export interface Announcer {
  /** Announces from now on; before, changes are only noted. End-of-RIB follows the first full table. */
  readonly begin: () => void
  /** Writes what there is and the peer takes. Called after changes and when the connection has drained. */
  readonly pump: () => void
  /** ROUTE-REFRESH: everything of the family again. */
  readonly refresh: (family: Family) => void
  readonly end: () => void
  /** Nothing is on its way to the peer. */
  readonly idle: boolean
  readonly stream: UpdateStream
  readonly negotiated: Negotiated
}

/** Messages are collected up to this size and written at once. */
const batchBytes = 64 * 1024
/** As much as may wait for a slow peer outside the kernel. */
export const pendingBytesMax = 256 * 1024
/** One peer's full table is not to keep the others, and the timers, waiting: after so much the others have their turn. */
const turnBytes = 512 * 1024

const borrMessage = (family: Family, subtype: 1 | 2, negotiated: Negotiated): Uint8Array =>
  encodeMessage({ type: 'ROUTE-REFRESH', ...afiSafiOf[family], subtype }, negotiated.codec)

export function createAnnouncer(options: AnnouncerOptions): Announcer {
  const { stream, connection, negotiated, clock, wrote, drained } = options
  const refreshing = new Set<Family>()
  let begun = false
  let ended = false
  let sentEndOfRib = false
  let cancelTurn: (() => void) | undefined

  const write = (messages: readonly Uint8Array[]): void => {
    if (messages.length === 0) return
    for (const piece of piecesOf(messages)) connection.write(piece)
    wrote(messages.length)
  }

  /** Up to a batch of UPDATEs; empty when the peer has everything. */
  const nextBatch = (): readonly Uint8Array[] => {
    const messages: Uint8Array[] = []
    for (let bytes = 0; bytes < batchBytes; ) {
      const message = stream.next()
      if (message === undefined) break
      messages.push(message)
      bytes += message.length
    }
    return messages
  }

  // What is due once the peer has everything.
  const markers = (): readonly Uint8Array[] => {
    const due: Uint8Array[] = []
    if (!sentEndOfRib) due.push(...negotiated.families.map(encodeEndOfRib))
    sentEndOfRib = true
    for (const family of refreshing) due.push(borrMessage(family, 2, negotiated))
    refreshing.clear()
    return due
  }

  const pump = (): void => {
    if (!begun || ended || cancelTurn !== undefined) return
    let written = 0
    while (connection.pendingBytes < pendingBytesMax) {
      if (written >= turnBytes) {
        cancelTurn = clock.setTimer(0, () => {
          cancelTurn = undefined
          pump()
        })
        return
      }
      const messages = nextBatch()
      if (messages.length === 0) {
        write(markers())
        if (connection.pendingBytes === 0) drained()
        return
      }
      written += messages.reduce((sum, { length }) => sum + length, 0)
      write(messages)
    }
  }

  return {
    stream,
    negotiated,
    begin: () => {
      begun = true
      pump()
    },
    pump,
    refresh: (family) => {
      // Until the first End-of-RIB the peer is being sent everything anyway; a BoRR then would be an error (RFC 7313 section 4.1).
      // Asked again before the EoRR, the table is sent from its beginning and the BoRR stands: a peer that asks without reading is
      // not to fill the memory with them.
      if (sentEndOfRib && negotiated.enhancedRouteRefresh && !refreshing.has(family)) {
        write([borrMessage(family, 1, negotiated)])
        refreshing.add(family)
      }
      stream.resend(family)
      pump()
    },
    end: () => {
      ended = true
      stream.end()
      cancelTurn?.()
      cancelTurn = undefined
    },
    get idle() {
      return begun && sentEndOfRib && !stream.pending && refreshing.size === 0 && connection.pendingBytes === 0
    },
  }
}

/** So many octets in one place are written from there. */
const pieceBytesMin = 16 * 1024

/** The messages as few pieces: neighbours in memory stay where they are, others are copied together. */
function piecesOf(messages: readonly Uint8Array[]): readonly Uint8Array[] {
  if (messages.length === 1) return messages
  const pieces: Uint8Array[] = []
  let scattered: Uint8Array[] = []
  for (const run of runsOf(messages)) {
    if (run.length < pieceBytesMin) {
      scattered.push(run)
      continue
    }
    if (scattered.length > 0) pieces.push(concatBytes(scattered))
    scattered = []
    pieces.push(run)
  }
  if (scattered.length > 0) pieces.push(concatBytes(scattered))
  return pieces
}

function runsOf(messages: readonly Uint8Array[]): readonly Uint8Array[] {
  const runs: Uint8Array[] = []
  let run: Uint8Array | undefined
  for (const message of messages) {
    if (run !== undefined && message.buffer === run.buffer && message.byteOffset === run.byteOffset + run.length)
      run = new Uint8Array(run.buffer, run.byteOffset, run.length + message.length)
    else {
      if (run !== undefined) runs.push(run)
      run = message
    }
  }
  if (run !== undefined) runs.push(run)
  return runs
}
