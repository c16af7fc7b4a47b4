// Which replica allocates: the one that leads, for as long as its fence holds. All others know nothing of allocations, and forget
// nothing that they would need when they are elected. What a leader does stands in allocation-term.ts.

import type { EventNote } from '../k8s/events.ts'
import type { Fence } from '../k8s/fence.ts'
import type { ClusterChanges } from '../k8s/objects.ts'
import type { Allocation } from '../vip/types.ts'
import { createAllocationFilter } from './allocation-filter.ts'
import { type AllocationTerm, type AllocationTermOptions, startAllocationTerm } from './allocation-term.ts'

export interface Leadership {
  readonly begin: (fence: Fence) => void
  /** The cluster changed: a pass follows if allocation depends on it. */
  readonly changed: (changes: ClusterChanges) => void
  /** Something else that allocation waits for has happened. */
  readonly pull: () => void
  /** Records an Event, on the replica that leads. */
  readonly note: (note: EventNote) => void
  /** The last pass's decision; undefined on replicas that do not lead. */
  readonly allocation: () => Allocation | undefined
  readonly stop: () => Promise<void>
}

export function createLeadership(options: AllocationTermOptions): Leadership {
  let term: AllocationTerm | undefined
  let ending: Promise<unknown> = Promise.resolve()
  const filter = createAllocationFilter()

  return {
    begin: (fence) => {
      const begun = startAllocationTerm(options, fence)
      term = begun
      fence.signal.addEventListener(
        'abort',
        () => {
          if (term === begun) term = undefined
          ending = Promise.all([ending, begun.stop()])
        },
        { once: true },
      )
    },
    changed: (changes) => {
      if (filter.concerns(options.store.view(), changes)) term?.pull()
    },
    pull: () => term?.pull(),
    note: (note) => term?.note(note),
    allocation: () => term?.allocation(),
    stop: async () => {
      await term?.stop()
      await ending
    },
  }
}
