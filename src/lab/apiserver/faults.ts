// Faults that a test injects into a running server: what a client meets when the real thing is overloaded, restarting, behind
// a broken proxy, or has forgotten its history. Every fault is switched off by the function that its switch returns.

import type { RequestInfo } from './http/request-info.ts'

export type RequestPredicate = (request: RequestInfo) => boolean

export type Fault =
  | {
      readonly kind: 'status'
      readonly code: 401 | 403 | 404 | 409 | 429 | 500 | 503 | 504
      /** Retry-After of 429 and 503; the default is 1. */
      readonly retryAfterSeconds?: number
    }
  | { readonly kind: 'delay'; readonly milliseconds: number }
  /** The request is read and never answered. */
  | { readonly kind: 'hang' }
  /** The connection is reset before an answer. */
  | { readonly kind: 'drop' }
  /** The answer ends, with its connection, after this many bytes. */
  | { readonly kind: 'truncate'; readonly bytes: number }

interface Injected {
  readonly fault: Fault
  readonly matches: RequestPredicate
  remaining: number
}

export class Faults {
  readonly #injected = new Set<Injected>()
  #bookmarksPaused = false

  /**
   * Applies `fault` to requests that match, `times` times (default: until undone). Returns the undo. A fault may be `delay`
   * together with another; otherwise the first injected that matches counts.
   */
  inject(fault: Fault, options: { readonly matches?: RequestPredicate; readonly times?: number } = {}): () => void {
    const entry = {
      fault,
      matches: options.matches ?? (() => true),
      remaining: options.times ?? Number.POSITIVE_INFINITY,
    }
    this.#injected.add(entry)
    return () => {
      this.#injected.delete(entry)
    }
  }

  /** Holds bookmarks back until called with false. */
  pauseBookmarks(options: { readonly paused: boolean }): void {
    this.#bookmarksPaused = options.paused
  }

  get bookmarksPaused(): boolean {
    return this.#bookmarksPaused
  }

  /** Undoes every fault. */
  clear(): void {
    this.#injected.clear()
    this.#bookmarksPaused = false
  }

  /** The faults that this request meets: at most one delay and one other. Counts them as used. */
  take(request: RequestInfo): {
    readonly delayMs: number
    readonly fault: Exclude<Fault, { kind: 'delay' }> | undefined
  } {
    let delayMs = 0
    let chosen: Exclude<Fault, { kind: 'delay' }> | undefined
    for (const entry of this.#injected) {
      const { fault } = entry
      if ((fault.kind !== 'delay' && chosen !== undefined) || !entry.matches(request)) continue
      if (fault.kind === 'delay') delayMs = Math.max(delayMs, fault.milliseconds)
      else chosen = fault
      entry.remaining -= 1
      if (entry.remaining <= 0) this.#injected.delete(entry)
    }
    return { delayMs, fault: chosen }
  }
}
