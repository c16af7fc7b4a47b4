// How often one object is written: at once when it was left alone for a while, and more and more rarely while it keeps changing.

export interface Settle {
  /** Between two writes of an object that has settled. */
  readonly minMs: number
  /** Between two writes of one that never does. */
  readonly maxMs: number
}

export interface Pace {
  /** When it was last written, monotonic. */
  readonly lastMs: number
  /** How long it is left alone since. */
  readonly intervalMs: number
}

/** The pace after a write at `nowMs`; undefined: it was not written before. */
export function paceAfter(before: Pace | undefined, nowMs: number, settle: Settle): Pace {
  const settled = before === undefined || nowMs >= settledAtMs(before, settle)
  return { lastMs: nowMs, intervalMs: settled ? settle.minMs : Math.min(settle.maxMs, before.intervalMs * 2) }
}

/** From then on it may be written again. */
export const dueAtMs = ({ lastMs, intervalMs }: Pace): number => lastMs + intervalMs

/** Whatever changes from then on is news, and no unrest: after twice its interval, and a little. */
export const settledAtMs = ({ lastMs, intervalMs }: Pace, { minMs }: Settle): number => lastMs + 2 * intervalMs + minMs
