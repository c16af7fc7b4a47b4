// What is due next, among thousands: a binary heap whose members know their place in it, so that one timer serves all sessions
// and a changed deadline costs a handful of comparisons.

/** A member of one queue. Both fields are the queue's to write. */
export interface Due {
  /** Milliseconds on the monotonic clock. */
  dueMs: number
  /** Place in the heap; -1 outside. */
  place: number
}

export interface DueQueue<T extends Due> {
  /** The member that is due first. */
  readonly first: () => T | undefined
  /** Adds the member, or moves it to its new deadline. Infinity takes it out. */
  readonly set: (member: T, dueMs: number) => void
  readonly size: number
}

export function createDueQueue<T extends Due>(): DueQueue<T> {
  const heap: T[] = []

  const put = (member: T, place: number): void => {
    heap[place] = member
    member.place = place
  }

  const rise = (member: T): void => {
    let place = member.place
    while (place > 0) {
      const above = heap[(place - 1) >> 1]
      if (above === undefined || above.dueMs <= member.dueMs) break
      const next = above.place
      put(above, place)
      place = next
    }
    put(member, place)
  }

  const sink = (member: T): void => {
    let place = member.place
    for (;;) {
      const left = heap[2 * place + 1]
      const right = heap[2 * place + 2]
      const child = right !== undefined && left !== undefined && right.dueMs < left.dueMs ? right : left
      if (child === undefined || child.dueMs >= member.dueMs) break
      const next = child.place
      put(child, place)
      place = next
    }
    put(member, place)
  }

  const remove = (member: T): void => {
    const last = heap.pop()
    if (last === undefined || last === member) {
      member.place = -1
      return
    }
    put(last, member.place)
    member.place = -1
    rise(last)
    sink(last)
  }

  return {
    first: () => heap[0],
    set: (member, dueMs) => {
      const isIn = member.place >= 0
      if (dueMs === Number.POSITIVE_INFINITY) {
        if (isIn) remove(member)
        member.dueMs = dueMs
        return
      }
      member.dueMs = dueMs
      if (!isIn) {
        member.place = heap.length
        heap.push(member)
      }
      rise(member)
      sink(member)
    },
    get size() {
      return heap.length
    },
  }
}
