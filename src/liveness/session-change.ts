// A change of a BFD session, as the thread that runs BFD tells it, and what it says about the node at the other end.

import type { BfdState } from '../bfd/packet.ts'
import type { LivenessEvent } from './liveness.ts'

export interface SessionChange {
  readonly key: string
  readonly from: BfdState
  readonly to: BfdState
  /** An index into bfdDiagnostics. */
  readonly diagnostic: number
  readonly remoteState: BfdState
  /** The silence is not a dead host's, as src/bfd/session-config.ts has it. */
  readonly excused?: true
  /** Monotonic milliseconds of the thread. */
  readonly atMs: number
  /** How many other sessions were up then, and had not been heard for more than half a detection time. */
  readonly alsoSilent: number
}

/** RFC 5880 section 4.1: control detection time expired. */
const detectionTimeExpired = 1

/** What the change says about `node`; undefined: nothing, as from Down to Init. */
export function livenessEventOf(node: string, change: SessionChange): LivenessEvent | undefined {
  const { from, to, diagnostic, excused, atMs, alsoSilent } = change
  if (to === 'Up') return { type: 'up', node }
  if (from !== 'Up') return undefined
  if (to === 'Down' && diagnostic === detectionTimeExpired && !excused)
    return { type: 'silent', node, atMs, alsoSilent }
  return { type: 'ended', node }
}
