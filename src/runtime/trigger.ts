// "Do not act in a callback: enqueue, drain." A trigger runs its job once after any number of pulls, never twice at the same time,
// and not more often than asked: the one scheduling rule of all loops.

import type { CancelTimer, Clock } from './clock.ts'

export interface Trigger {
  /** Asks for a run. A pull during a run asks for another one after it. */
  readonly pull: () => void
  /** No further runs; resolves when the present one has ended. */
  readonly stop: () => Promise<void>
}

export interface TriggerOptions {
  readonly clock: Clock
  /** Least time from the end of one run to the start of the next; default 0: in the next turn of the event loop. */
  readonly intervalMs?: number
  /**
   * How long the last run kept the thread busy. From its start to that of the next one it is ten times as long at least, so that a
   * job over a large cluster leaves nine tenths of the thread to the announcements; what the run only waits for counts as rest.
   */
  readonly busyMs?: () => number
  /** A job that throws is our own mistake: the owner decides what becomes of the process. */
  readonly onError: (error: unknown) => void
}

/** From start to start, in times that a job was busy. */
const busyShare = 10

/** Creates a trigger for `job`. */
export function createTrigger(job: () => Promise<void> | void, options: TriggerOptions): Trigger {
  const { clock, intervalMs = 0, busyMs = () => 0 } = options
  let wanted = false
  let stopped = false
  let running: Promise<void> | undefined
  let cancelTimer: CancelTimer | undefined
  let lastStartMs = Number.NEGATIVE_INFINITY
  let lastEndMs = Number.NEGATIVE_INFINITY

  const schedule = (): void => {
    if (stopped || running !== undefined || cancelTimer !== undefined) return
    const notBeforeMs = Math.max(lastEndMs + intervalMs, lastStartMs + busyShare * busyMs())
    const delayMs = Math.max(0, notBeforeMs - clock.monotonicMs())
    cancelTimer = clock.setTimer(delayMs, () => {
      cancelTimer = undefined
      running = run().then(() => {
        running = undefined
        if (wanted) schedule()
      })
    })
  }
  const run = async (): Promise<void> => {
    wanted = false
    lastStartMs = clock.monotonicMs()
    try {
      await job()
    } catch (error) {
      options.onError(error)
    }
    lastEndMs = clock.monotonicMs()
  }
  return {
    pull: () => {
      wanted = true
      schedule()
    },
    stop: async () => {
      stopped = true
      cancelTimer?.()
      await running
    },
  }
}
