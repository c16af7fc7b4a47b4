// Who leads next when the leader's node falls silent: a replica that sees it by BFD does not wait for the end of the leader's lease, and a
// leader that sees any trouble renews at once, so that nobody takes a wire between the two for its death. What is taken, and how
// carefully, is decided in `k8s/leader.ts`.

import type { SignOfLife } from '../k8s/heartbeat-watch.ts'
import { type LeaderElection, successionGraceMs } from '../k8s/leader.ts'
import type { OpinionChange } from '../liveness/agent-watch.ts'
import { nodeAnnotation } from '../liveness/watched-sessions.ts'
import { type Standing, standingUrlOf } from './stepping-back.ts'

export interface SuccessionOptions {
  readonly election: Pick<LeaderElection, 'renew' | 'succeed'>
  /** The Leases of all replicas, as last seen. */
  readonly replicas: () => Iterable<SignOfLife>
  /** What is thought of the nodes now. */
  readonly nodeLiveness: () => ReadonlyMap<string, 'up' | 'down'>
  /** Of the status servers: the same on every replica; 0 = there is none, and nobody is asked. */
  readonly httpPort: number
  /** Asks one URL; undefined when there is no usable answer. Never rejects. */
  readonly ask: (url: string, signal: AbortSignal) => Promise<Standing | undefined>
  readonly signal: AbortSignal
}

/** What follows from opinions that changed. */
export function followOpinions(options: SuccessionOptions, changes: readonly OpinionChange[]): void {
  const { election, nodeLiveness } = options
  // Whoever does not hear us may believe that we are dead.
  if (changes.some(({ to }) => to !== 'up')) election.renew()
  for (const { node, to } of changes) {
    const replicas = [...options.replicas()].filter(({ annotations }) => annotations[nodeAnnotation] === node)
    if (to !== 'down' || replicas.length === 0) continue
    election.succeed({
      concerns: (holder) => replicas.some(({ identity }) => holder.startsWith(`${identity}_`)),
      stands: () => nodeLiveness().get(node) === 'down',
      answers: async () => (await Promise.all(replicas.map((replica) => isLeading(replica, options)))).includes(true),
    })
  }
}

// One that has lost the API server cannot lead, and may be succeeded though it lives.
async function isLeading(replica: SignOfLife, { ask, httpPort, signal }: SuccessionOptions): Promise<boolean> {
  const url = httpPort === 0 ? undefined : standingUrlOf(replica, httpPort)
  if (url === undefined) return false
  const standing = await ask(url, AbortSignal.any([signal, AbortSignal.timeout(successionGraceMs)]))
  return standing?.connected === true
}
