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
