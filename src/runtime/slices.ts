// Long work that must not hold up the thread: done in slices, between which whatever else has happened gets its turn.

import type { Clock } from './clock.ts'

export interface SliceOptions {
  readonly clock: Clock
  /** Ends the work between two slices. */
  readonly signal: AbortSignal
}

/** What an urgent change may have to wait for. */
const sliceMs = 1
/** So many items are done without a look at the clock. */
const batchItems = 10

/**
 * Hands all items to `work`, a few at a time and in order. Resolves when all are done, or when the signal has fired; rejects when
 * `work` throws.
 */
export async function inSlices<T>(
  items: Iterable<T>,
  { clock, signal }: SliceOptions,
  work: (items: readonly T[]) => void,
): Promise<void> {
  let begunMs = clock.monotonicMs()
  let batch: T[] = []
  for (const item of items) {
    batch.push(item)
    if (batch.length < batchItems) continue
    work(batch)
    batch = []
    if (clock.monotonicMs() - begunMs < sliceMs) continue
    await new Promise((resolve) => setImmediate(resolve))
    if (signal.aborted) return
    begunMs = clock.monotonicMs()
  }
  if (batch.length > 0) work(batch)
}

/**
 * Runs work that pauses by itself, with whatever else has happened getting its turn between slices of it. Resolves with its result, also
 * when the signal fires: then the rest is done at once.
 */
export async function runInSlices<T>(
  work: Generator<undefined, T, undefined>,
  { clock, signal }: SliceOptions,
): Promise<T> {
  let begunMs = clock.monotonicMs()
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
    // After each step, for some take as long as hundreds of others.
    if (signal.aborted || clock.monotonicMs() - begunMs < sliceMs) continue
    await new Promise((resolve) => setImmediate(resolve))
    begunMs = clock.monotonicMs()
  }
}

/** A turn has ten times what other long work has between two looks at what else there is: routes go before statuses. */
const turnSliceMs = 10

/** Turns of some work, one after the other. */
export interface Turns {
  /** Begins a turn before it returns; while one is under way, another one follows it. */
  readonly pull: () => void
  /** Resolves when no turn is under way, nor asked for. */
  readonly settled: () => Promise<void>
}

/**
 * Work that comes again and again, is short mostly and long at times: a turn that does not pause is done when `pull` returns, and one
 * that does goes on in slices. None goes on after the signal. What a turn throws is thrown out of the event loop.
 */
export function createTurns(turn: () => Generator<undefined, void, undefined>, { clock, signal }: SliceOptions): Turns {
  let isUnderWay = false
  let again = false
  const waiting: (() => void)[] = []

  const goOn = (work: Generator<undefined, void, undefined>): void => {
    const begunMs = clock.monotonicMs()
    while (work.next().done !== true)
      if (clock.monotonicMs() - begunMs >= turnSliceMs) {
        setImmediate(() => (signal.aborted ? end() : goOn(work)))
        return
      }
    end()
  }
  const end = (): void => {
    isUnderWay = false
    if (again && !signal.aborted) pull()
    else for (const resolve of waiting.splice(0)) resolve()
  }
  const pull = (): void => {
    again = isUnderWay
    if (isUnderWay) return
    isUnderWay = true
    goOn(turn())
  }
  return {
    pull,
    settled: () =>
      new Promise((resolve) => {
        if (isUnderWay) waiting.push(resolve)
        else resolve()
      }),
  }
}
