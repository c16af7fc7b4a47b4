// The Secrets that an agent may read: those that its BgpPeers name, one watch each. An agent runs on every node, so it neither sees
// nor needs the others of the namespace; RBAC can allow it exactly these names.

import type { KubeClient } from '../k8s/client.ts'
import { type ClusterStore, createClusterStore } from '../k8s/cluster-store.ts'
import type { Secret } from '../k8s/objects.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'

export interface SecretWatchOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
  /** A Secret came, went or changed, or nothing more is to be waited for. */
  readonly onChange: () => void
}

export interface SecretWatch {
  /** From now on these and no others. */
  readonly follow: (names: ReadonlySet<string>) => void
  /** By name. */
  readonly secrets: () => ReadonlyMap<string, Secret>
  /** Names that changed since the last call. */
  readonly takeChanges: () => ReadonlySet<string>
  /** Each of them was read, or could not be for so long that the others need not wait for it. */
  readonly settled: () => boolean
}

/** How long sessions that need no Secret wait for one that cannot be read. */
const patienceMs = 3000

interface Followed {
  readonly store: ClusterStore
  readonly ending: AbortController
}

export function watchSecrets(options: SecretWatchOptions): SecretWatch {
  const { clock, signal, onChange } = options
  const followed = new Map<string, Followed>()
  let changed = new Set<string>()
  let cancelPatience: CancelTimer | undefined
  let isPatient = false
  signal.addEventListener('abort', () => cancelPatience?.(), { once: true })

  const begin = (name: string): Followed => {
    const ending = new AbortController()
    const store = createClusterStore({
      ...options,
      signal: AbortSignal.any([signal, ending.signal]),
      kinds: ['Secret'],
      select: { Secret: { fieldSelector: `metadata.name=${name}` } },
    })
    store.onChange(() => {
      if (ending.signal.aborted) return
      if ((store.takeChanges().get('Secret')?.size ?? 0) > 0) changed.add(name)
      onChange()
    })
    isPatient = true
    cancelPatience?.()
    cancelPatience = clock.setTimer(patienceMs, () => {
      isPatient = false
      onChange()
    })
    return { store, ending }
  }

  return {
    follow: (names) => {
      for (const [name, { ending }] of followed)
        if (!names.has(name)) {
          ending.abort()
          followed.delete(name)
          changed.add(name)
        }
      for (const name of names) if (!followed.has(name)) followed.set(name, begin(name))
    },
    secrets: () => new Map([...followed.values()].flatMap(({ store }) => [...store.view().secrets])),
    takeChanges: () => {
      const taken = changed
      changed = new Set()
      return taken
    },
    settled: () => !isPatient || [...followed.values()].every(({ store }) => store.synced()),
  }
}
