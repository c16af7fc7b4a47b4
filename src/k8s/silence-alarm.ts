// Tells when one of many falls silent: one timer for all, set for whoever would be the first. Who is heard again in time only moves his own
// moment, and costs nothing; the timer finds that out when it fires.

import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface SilenceAlarmOptions {
  /** Of each that is known: from when on he is silent unless he is heard again, monotonic milliseconds. */
  readonly silentAtMs: () => Iterable<number>
  /** At least one has fallen silent since the last call. */
  readonly onSilence: () => void
  readonly clock: Clock
  readonly signal: AbortSignal
}

export interface SilenceAlarm {
  /** One was heard, and is silent from then on. */
  readonly heard: (silentAtMs: number) => void
  /** The known ones are others now. */
  readonly reset: () => void
}

export function createSilenceAlarm({ silentAtMs, onSilence, clock, signal }: SilenceAlarmOptions): SilenceAlarm {
  /** Whoever is silent since before this moment has been told of. */
  let judgedMs = clock.monotonicMs()
  let setForMs = Number.POSITIVE_INFINITY
  let cancel: CancelTimer = () => {}

  const setFor = (atMs: number): void => {
    cancel()
    setForMs = atMs
    if (!Number.isFinite(atMs) || signal.aborted) return
    cancel = clock.setTimer(Math.max(0, atMs - clock.monotonicMs()), judge)
  }
  const judge = (): void => {
    const sinceMs = judgedMs
    judgedMs = clock.monotonicMs()
    let fellSilent = false
    for (const atMs of silentAtMs()) fellSilent ||= atMs > sinceMs && atMs <= judgedMs
    setForNext()
    if (fellSilent) onSilence()
  }
  const setForNext = (): void => {
    let nextMs = Number.POSITIVE_INFINITY
    for (const atMs of silentAtMs()) if (atMs > judgedMs) nextMs = Math.min(nextMs, atMs)
    setFor(nextMs)
  }
  signal.addEventListener('abort', () => cancel(), { once: true })

  return {
    heard: (atMs) => {
      if (atMs > judgedMs && atMs < setForMs) setFor(atMs)
    },
    reset: setForNext,
  }
}
