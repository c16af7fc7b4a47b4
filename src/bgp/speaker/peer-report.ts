// What the world is told about a peer: its state and since when, the last error in words, counters. Important things at once, counters
// at most once a second, so that a busy session does not flood whoever listens.

import type { Clock } from '../../runtime/clock.ts'
import type { SessionStateName, SessionStatus, SpeakerEvent } from './protocol.ts'

/** Counters are reported at most this often; everything else at once. */
const countersMs = 1000
/** "Connection refused" does not take the place of a reason the router or we gave so recently: it mostly follows from it. */
const reasonStandsMs = 60_000

/** What of a status the session knows and the report does not. */
export type SessionFacts = Omit<SessionStatus, 'peer' | 'state' | 'sinceMs' | 'lastError' | 'lastErrorAtMs' | Counter>

type Counter = 'establishedCount' | 'messagesIn' | 'messagesOut' | 'updatesOut'

export interface PeerReportOptions {
  readonly peer: string
  readonly clock: Clock
  readonly emit: (event: SpeakerEvent) => void
  readonly facts: () => SessionFacts
}

type LogFields = { readonly event: string } & Readonly<Record<string, unknown>>

interface LastError {
  readonly reason: string
  /** Of the wall clock, for people; it may be set meanwhile. */
  readonly atMs: number
  readonly atMonotonicMs: number
  readonly isTransport: boolean
}

export interface PeerReport {
  readonly state: SessionStateName
  /** The state is this now; `because` is the event that led to it. Emits a status when it, or an error, is news. */
  readonly enter: (state: SessionStateName, because: string) => void
  /** `isTransport`: about reaching the router, not about what was said. Emitted with the next `enter` or `publish`. */
  readonly fail: (reason: string, options: { readonly isTransport: boolean }) => void
  readonly count: (counter: Counter, by: number) => void
  readonly publish: () => void
  readonly log: (level: 'debug' | 'info' | 'warn', fields: LogFields) => void
  /** Nothing is published from now on. */
  readonly end: () => void
}

export function createPeerReport({ peer, clock, emit, facts }: PeerReportOptions): PeerReport {
  const counters: Record<Counter, number> = { establishedCount: 0, messagesIn: 0, messagesOut: 0, updatesOut: 0 }
  let state: SessionStateName = 'Idle'
  let sinceMs = clock.wallMs()
  let lastError: LastError | undefined
  let news = false
  let ended = false
  let cancelCounters: (() => void) | undefined

  const log: PeerReport['log'] = (level, fields) => emit({ type: 'log', level, fields: { ...fields, peer } })

  const publish = (): void => {
    news = false
    if (ended) return
    const error = lastError === undefined ? {} : { lastError: lastError.reason, lastErrorAtMs: lastError.atMs }
    emit({ type: 'session', status: { peer, state, sinceMs, ...facts(), ...error, ...counters } })
  }

  return {
    log,
    publish,
    get state() {
      return state
    },
    enter: (next, because) => {
      if (next !== state) {
        const matters = state === 'Established' || next === 'Established'
        log(matters ? 'info' : 'debug', { event: 'session-state', from: state, to: next, because })
        state = next
        sinceMs = clock.wallMs()
        news = true
      }
      if (news) publish()
    },
    fail: (reason, { isTransport }) => {
      const atMonotonicMs = clock.monotonicMs()
      const repeated = lastError?.reason === reason
      log(repeated ? 'debug' : 'warn', { event: 'session-error', reason })
      const stands = lastError?.isTransport === false && atMonotonicMs - lastError.atMonotonicMs < reasonStandsMs
      if (isTransport && stands) return
      lastError = { reason, atMs: clock.wallMs(), atMonotonicMs, isTransport }
      news ||= !repeated
    },
    count: (counter, by) => {
      counters[counter] += by
      if (ended) return
      cancelCounters ??= clock.setTimer(countersMs, () => {
        cancelCounters = undefined
        publish()
      })
    },
    end: () => {
      ended = true
      cancelCounters?.()
      cancelCounters = undefined
    },
  }
}
