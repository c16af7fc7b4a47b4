// All versions of one kind that are still reachable: the present objects, and a bounded log of changes from which watches are
// fed and older states are rebuilt. What fell out of the log is answered with "expired", as after an etcd compaction.

import type { Stored } from './stored.ts'

export interface ChangeEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  /** The revision this change made. */
  readonly revision: number
  /** The object after the change; for DELETED its last state, with the revision of the deletion. */
  readonly current: Stored
  /** The object before the change. */
  readonly previous: Stored | undefined
}

export type ChangeListener = (event: ChangeEvent) => void

/** States remembered for clients in the middle of a paged list, beyond what the log reaches. */
const snapshotsMax = 8

/** The sorted objects of every revision from `from` to before `until`. */
interface Snapshot {
  readonly from: number
  readonly until: number
  readonly sorted: readonly Stored[]
}

export class Bucket {
  readonly #objects = new Map<string, Stored>()
  readonly #listeners = new Set<ChangeListener>()
  readonly #historyMax: number
  #log: ChangeEvent[] = []
  /** Changes up to and including this revision are forgotten. */
  #compacted: number
  /** Asked for by compact(): nothing from before is shown, even where it could be. */
  #floor = 0
  #lastChange: number
  #snapshots: readonly Snapshot[] = []

  constructor(options: { readonly historyMax: number; readonly startRevision: number }) {
    this.#historyMax = options.historyMax
    this.#compacted = options.startRevision
    this.#lastChange = options.startRevision
  }

  get size(): number {
    return this.#objects.size
  }

  get(key: string): Stored | undefined {
    return this.#objects.get(key)
  }

  /** Records a change and tells the listeners, in the order of revisions. */
  apply(event: ChangeEvent): void {
    if (event.type === 'DELETED') this.#objects.delete(event.current.key)
    else this.#objects.set(event.current.key, event.current)
    this.#log.push(event)
    this.#lastChange = event.revision
    const latest = this.#snapshots.at(-1)
    if (latest?.until === Number.POSITIVE_INFINITY)
      this.#snapshots = [...this.#snapshots.slice(0, -1), { ...latest, until: event.revision }]
    if (this.#log.length > 2 * this.#historyMax) this.#forget(this.#log.length - this.#historyMax)
    for (const listener of this.#listeners) listener(event)
  }

  // Trimmed by halves, so that a change costs O(1) on average.
  #forget(count: number): void {
    this.#compacted = this.#log[count - 1]?.revision ?? this.#compacted
    this.#log = this.#log.slice(count)
  }

  /** Forgets all history, so that every watch or list from before now is answered with "expired". */
  compact(revision: number): void {
    this.#log = []
    this.#snapshots = []
    this.#compacted = revision
    this.#floor = revision
  }

  /** The objects as they were at `revision`, sorted by key; undefined when that state is forgotten. */
  at(revision: number): readonly Stored[] | undefined {
    if (revision < this.#floor) return undefined
    const remembered = this.#snapshots.find(({ from, until }) => from <= revision && revision < until)
    if (remembered !== undefined) return remembered.sorted
    if (revision >= this.#lastChange) {
      const sorted = [...this.#objects.values()].sort(byKey)
      this.#remember({ from: this.#lastChange, until: Number.POSITIVE_INFINITY, sorted })
      return sorted
    }
    if (revision < this.#compacted) return undefined
    const sorted = this.#rolledBackTo(revision)
    this.#remember({ from: revision, until: revision + 1, sorted })
    return sorted
  }

  #rolledBackTo(revision: number): readonly Stored[] {
    const objects = new Map(this.#objects)
    for (const event of this.#log.toReversed()) {
      if (event.revision <= revision) break
      if (event.previous === undefined) objects.delete(event.current.key)
      else objects.set(event.previous.key, event.previous)
    }
    return [...objects.values()].sort(byKey)
  }

  #remember(snapshot: Snapshot): void {
    this.#snapshots = [...this.#snapshots.slice(1 - snapshotsMax), snapshot].sort((a, b) => a.until - b.until)
  }

  /** The changes after `revision`, oldest first; undefined when some of them are forgotten. */
  since(revision: number): readonly ChangeEvent[] | undefined {
    if (revision < this.#compacted) return undefined
    const first = this.#log.findIndex((event) => event.revision > revision)
    return first < 0 ? [] : this.#log.slice(first)
  }

  /** Calls `listener` for every change from now on, until the returned function is called. */
  listen(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }
}

const byKey = (a: Stored, b: Stored): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)
