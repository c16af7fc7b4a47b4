// What the world is told about a range of routers: how many sessions it has, what went wrong with one of them last, and what those that
// are gone had counted. All of it at a distance, so that a flood of routers that come and go costs one event in it.

import type { Clock } from '../../runtime/clock.ts'
import { createLogLimit, peerLogLimit } from './log-limit.ts'
import type { RangeStatus, SessionCounter, SessionStatus, SpeakerEvent } from './protocol.ts'

export interface RangeReportOptions {
  readonly range: string
  readonly clock: Clock
  readonly emit: (event: SpeakerEvent) => void
  /** How many there are. */
  readonly sessions: () => number
}

export interface RangeReport {
  /** Something is another way than before: a session has come, or is gone. */
  readonly publishSoon: () => void
  /** Something went wrong, now or at `atMs` of the wall clock. */
  readonly fail: (reason: string, atMs?: number) => void
  /** A connection was refused. */
  readonly refuse: (reason: string) => void
  /** A session is gone: what it had counted is the range's from now on. */
  readonly inherit: (status: Pick<SessionStatus, SessionCounter>) => void
  /** Passes on what a session logs. Each new one of a router that fails again and again would have warnings of its own. */
  readonly log: (event: Extract<SpeakerEvent, { readonly type: 'log' }>) => void
  /** Nothing is published from now on. */
  readonly end: () => void
}

/** From what happens to the status that tells of it. */
const statusMs = 500

const counters: readonly SessionCounter[] = ['establishedCount', 'messagesIn', 'messagesOut', 'updatesOut']

export function createRangeReport({ range, clock, emit, sessions }: RangeReportOptions): RangeReport {
  const past: Record<SessionCounter, number> = { establishedCount: 0, messagesIn: 0, messagesOut: 0, updatesOut: 0 }
  let refused = 0
  let error: Pick<RangeStatus, 'lastError' | 'lastErrorAtMs'> = {}
  let cancelStatus: (() => void) | undefined
  const warnings = createLogLimit({
    ...{ clock, ...peerLogLimit },
    suppressed: (count) =>
      emit({ type: 'log', level: 'warn', fields: { event: 'session-errors-suppressed', peer: range, count } }),
  })

  const publishSoon = (): void => {
    cancelStatus ??= clock.setTimer(statusMs, () => {
      cancelStatus = undefined
      emit({ type: 'range', status: { range, sessions: sessions(), refused, ...error, past: { ...past } } })
    })
  }
  const fail = (reason: string, atMs = clock.wallMs()): void => {
    error = { lastError: reason, lastErrorAtMs: atMs }
    publishSoon()
  }

  return {
    publishSoon,
    fail,
    refuse: (reason) => {
      refused++
      fail(reason)
    },
    inherit: (status) => {
      for (const counter of counters) past[counter] += status[counter]
    },
    log: (event) => {
      if (event.level !== 'warn' || warnings.admits()) emit(event)
    },
    end: () => {
      cancelStatus?.()
      warnings.end()
    },
  }
}
