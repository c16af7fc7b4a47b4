// The silence of nodes as this replica sees it: what plan/silence.ts says of the Nodes, asked again when time alone changes the answer.

import type { Node } from '../k8s/objects.ts'
import { nothingSeen, type Silence, seeSilence } from '../plan/silence.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'

export interface SilenceWatch {
  /** The cluster's Nodes, again when one of them changed. */
  readonly setNodes: (nodes: ReadonlyMap<string, Node>) => void
  /** Whose silence is believed, for a plan that is made now; `onDue` follows when this becomes outdated. */
  readonly silence: () => Silence
}

export interface SilenceWatchOptions {
  readonly clock: Clock
  readonly log: Log
  /** Nothing is due when it has fired. */
  readonly signal: AbortSignal
  /** Time alone has changed the answer. */
  readonly onDue: () => void
}

export function createSilenceWatch({ clock, log, signal, onDue }: SilenceWatchOptions): SilenceWatch {
  let seen = nothingSeen
  let nodes: ReadonlyMap<string, Node> = new Map()
  let cancel: CancelTimer | undefined
  signal.addEventListener('abort', () => cancel?.(), { once: true })

  const look = (): void => {
    const before = seen
    seen = seeSilence(before, nodes, clock.monotonicMs())
    cancel?.()
    cancel =
      seen.endMs === undefined || signal.aborted
        ? undefined
        : clock.setTimer(Math.max(0, Math.ceil(seen.endMs - clock.monotonicMs())), due)
    if (before.together.size === 0 && seen.together.size > 0)
      log.warn({
        event: 'all-nodes-silent',
        nodes: seen.together.size,
        because: 'the API server hears of no node: what it heard of them last counts',
      })
    if (before.together.size > 0 && seen.together.size === 0) log.warn({ event: 'nodes-heard-again' })
  }
  const due = (): void => {
    look()
    onDue()
  }
  return {
    setNodes: (all) => {
      nodes = all
      look()
    },
    silence: () => seen,
  }
}
