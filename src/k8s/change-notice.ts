// Which objects have changed, and one notice of it: once a turn of the event loop, however many changes came in it, and never from
// inside of what made the change.

import type { ClusterChanges, Kind } from './objects.ts'

export interface ChangeNotice {
  readonly note: (kind: Kind, key: string) => void
  /** Gives notice although no object has changed. */
  readonly wake: () => void
  /** What changed since the last call. */
  readonly take: () => ClusterChanges
}

/** Calls `tell` after the turn in which the first change came. */
export function createChangeNotice(tell: () => void): ChangeNotice {
  let changed = new Map<Kind, Set<string>>()
  let waking = false
  const wake = (): void => {
    if (waking) return
    waking = true
    setImmediate(() => {
      waking = false
      tell()
    })
  }
  return {
    wake,
    note: (kind, key) => {
      const keys = changed.get(kind)
      if (keys === undefined) changed.set(kind, new Set([key]))
      else keys.add(key)
      wake()
    },
    take: () => {
      const taken = changed
      changed = new Map()
      return taken
    },
  }
}
