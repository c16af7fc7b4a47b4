// How every cluster controller runs: changes name keys, keys are queued, and later, outside of the change, each key is
// reconciled from the present state. Nothing remembers what happened, so a missed or doubled change does no harm.

import type { CancelTimer } from '../../../runtime/clock.ts'
import type { Cluster } from '../cluster.ts'
import { ApiError } from '../errors.ts'
import type { Stored } from '../storage/stored.ts'

export interface Reconciler {
  /** Storage bucket to the keys that a change of one of its objects concerns. `object` is the state before or after it. */
  readonly watches: Readonly<Record<string, (object: Stored) => Iterable<string>>>
  /** Makes the state right for one key; returns milliseconds after which to look again, if time alone can change the answer. */
  readonly reconcile: (key: string) => number | undefined
}

/** Runs until the returned function is called. Begins with every key of the present state. */
export function runReconciler(cluster: Cluster, { watches, reconcile }: Reconciler): () => void {
  const dirty = new Set<string>()
  const later = new Map<string, CancelTimer>()
  let cancelDrain: CancelTimer | undefined
  const enqueue = (keys: Iterable<string>): void => {
    for (const key of keys) dirty.add(key)
    if (dirty.size > 0) cancelDrain ??= cluster.clock.setTimer(0, drain)
  }
  const drain = (): void => {
    cancelDrain = undefined
    const keys = [...dirty]
    dirty.clear()
    for (const key of keys) {
      later.get(key)?.()
      later.delete(key)
      const wait = reconcileOrRetry(reconcile, key)
      if (wait !== undefined)
        later.set(
          key,
          cluster.clock.setTimer(wait, () => enqueue([key])),
        )
    }
  }
  const stops = Object.entries(watches).map(([bucket, keysOf]) => {
    for (const stored of cluster.store.list(bucket)) enqueue(keysOf(stored))
    return cluster.store.listen(bucket, ({ previous, current }) => {
      if (previous !== undefined) enqueue(keysOf(previous))
      enqueue(keysOf(current))
    })
  })
  return () => {
    for (const stop of stops) stop()
    for (const cancel of later.values()) cancel()
    cancelDrain?.()
    cancelDrain = undefined
    dirty.clear()
  }
}

const retryMs = 1000

// A refusal (a namespace that is going away, an object that does not validate) is the state's answer, not a fault of ours.
function reconcileOrRetry(reconcile: Reconciler['reconcile'], key: string): number | undefined {
  try {
    return reconcile(key)
  } catch (error) {
    if (error instanceof ApiError) return retryMs
    throw error
  }
}

/** The key of an object itself. */
export const ownKey = (stored: Stored): readonly string[] => [stored.key]
