// The drains of this replica: what plan/drain.ts says of the Nodes, asked again when time alone changes the answer.

import type { Node } from '../k8s/objects.ts'
import { type DrainPhase, drainsAt, type Now, noDrainsSeen, seeDrains } from '../plan/drain.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface DrainWatch {
  /** The cluster's Nodes, again when one of them changed. */
  readonly setNodes: (nodes: ReadonlyMap<string, Node>) => void
  /**
   * How far every drain has come, for a plan that is made now; `onDue` follows when this becomes outdated. The grace time is that of
   * the BgpConf, if there is one.
   */
  readonly phases: (graceSeconds?: number) => ReadonlyMap<string, DrainPhase>
  /** Nodes that were leaving when `phases` was asked last: since when, in wall-clock milliseconds since 1970. */
  readonly begun: () => ReadonlyMap<string, number>
}

export interface DrainWatchOptions {
  readonly clock: Clock
  /** Nothing is due when it has fired. */
  readonly signal: AbortSignal
  /** Drains that others saw begin, as of `begun`; default none. */
  readonly seenByOthers?: () => ReadonlyMap<string, number>
  /** Time alone has changed the answer, or the clock is to be looked at again. */
  readonly onDue: () => void
}

/** What the schema of BgpConf has for a default. */
const defaultGraceSeconds = 30

/** The wall clock may be set meanwhile, and timers have a limit: the time is looked at this often at least. */
const waitMsMax = 60_000

export function createDrainWatch({ clock, signal, onDue, seenByOthers }: DrainWatchOptions): DrainWatch {
  let seen = noDrainsSeen
  let begun: ReadonlyMap<string, number> = new Map()
  const now = (): Now => ({ wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() })
  let cancel: CancelTimer | undefined
  signal.addEventListener('abort', () => cancel?.(), { once: true })
  return {
    setNodes: (nodes) => {
      seen = seeDrains(seen, nodes, now(), seenByOthers?.())
    },
    begun: () => begun,
    phases: (graceSeconds = defaultGraceSeconds) => {
      const { phases, nextMs, ...leaving } = drainsAt(seen, now(), graceSeconds * 1000)
      begun = leaving.begun
      cancel?.()
      // Rounded up: a timer that fires before the time would only be set again.
      cancel =
        nextMs === undefined || signal.aborted
          ? undefined
          : clock.setTimer(Math.ceil(Math.min(nextMs, waitMsMax)), onDue)
      return phases
    },
  }
}
