// The drains of this replica: what plan/drain.ts says of the Nodes, asked again when time alone changes the answer.

import type { Node } from '../k8s/objects.ts'
import { type DrainPhase, drainsAt, type Now, noDrainsSeen, seeDrains } from '../plan/drain.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface DrainWatch {
  /** The cluster's Nodes, again when one of them changed. */
  readonly setNodes: (nodes: ReadonlyMap<string, Node>) => void
  /** How far every drain has come, for a plan that is made now; `onDue` follows when this becomes outdated. */
  readonly phases: (graceSeconds: number) => ReadonlyMap<string, DrainPhase>
  readonly stop: () => void
}

/** The wall clock may be set meanwhile, and timers have a limit: the time is looked at this often at least. */
const waitMsMax = 60_000

export function createDrainWatch(options: { readonly clock: Clock; readonly onDue: () => void }): DrainWatch {
  const { clock, onDue } = options
  let seen = noDrainsSeen
  const now = (): Now => ({ wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() })
  let cancel: CancelTimer | undefined
  return {
    setNodes: (nodes) => {
      seen = seeDrains(seen, nodes, now())
    },
    phases: (graceSeconds) => {
      const { phases, nextMs } = drainsAt(seen, now(), graceSeconds * 1000)
      cancel?.()
      // Rounded up: a timer that fires before the time would only be set again.
      cancel = nextMs === undefined ? undefined : clock.setTimer(Math.ceil(Math.min(nextMs, waitMsMax)), onDue)
      return phases
    },
    stop: () => cancel?.(),
  }
}
