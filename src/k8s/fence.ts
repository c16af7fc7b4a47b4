// Permission to write: what leadership hands to those who act for it. Asking costs a clock read, so every write asks.

/** Held by one candidate at a time; lost for good once `holds` said false. */
export interface Fence {
  /** Fires when the permission ends. */
  readonly signal: AbortSignal
  /** Whether it holds right now, also after a pause in which no timer could fire. */
  readonly holds: () => boolean
}

/** For processes that need nobody's permission: what a replica writes about itself. */
export const unfenced: Fence = { signal: new AbortController().signal, holds: () => true }
