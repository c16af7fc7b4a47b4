// Whether the paths of a BgpPeer's sessions are watched by BFD, as its BgpPeer asks: a session without is as good as any other until
// the router dies, and then it is the hold time that notices. Pure; what BFD says of itself stands in the sessions.

import type { BgpPeer } from '../k8s/objects.ts'
import type { UnstampedCondition } from './status-text.ts'

/** What of a session in a status says how its path is. */
export interface WatchedPath {
  readonly speaker: string
  /** State of the BFD session, or `Starting` while it can not be up yet; empty: there is none. */
  readonly bfd: string
  /** Why there can not be one, in an operator's words; else empty. */
  readonly bfdError: string
}

/** The condition `PathWatched`; undefined for a BgpPeer that asks for no BFD. `established`: its sessions that are up. */
export function pathCondition(
  { bfd }: Pick<BgpPeer, 'bfd'>,
  established: readonly WatchedPath[],
): Omit<UnstampedCondition, 'observedGeneration'> | undefined {
  if (bfd === undefined) return undefined
  const type = 'PathWatched'
  const no = (reason: string, message: string) => ({ type, status: 'False', reason, message }) as const
  if (established.length === 0) return { type, status: 'Unknown', reason: 'NotEstablished', message: '' }
  const failing = established.find(({ bfdError }) => bfdError !== '')
  if (failing !== undefined)
    return no(
      'NoBfd',
      `${failing.speaker} goes on without BFD and notices a dead router by the hold time: ${failing.bfdError}`,
    )
  const down = established.find((session) => session.bfd !== 'Up' && session.bfd !== starting)
  if (down !== undefined)
    return no(
      'BfdDown',
      `${down.speaker}: BGP is up without BFD, which the router does not answer: does it have BFD on, too?`,
    )
  const isStarting = established.some((session) => session.bfd === starting)
  return isStarting
    ? { type, status: 'Unknown', reason: starting, message: 'BFD begins a moment after BGP' }
    : { type, status: 'True', reason: 'Up', message: '' }
}

const starting = 'Starting'
