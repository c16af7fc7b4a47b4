// The way out of a node: every trace of ours in iptables and nftables, whichever back end wrote it, and in both families.

import { installedBackends } from '../iptables/backend.ts'
import { removeAll, removeFrom } from '../iptables/reconcile.ts'
import { removeNft } from '../nftables/reconcile.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import { ok, type Result } from '../runtime/result.ts'
import type { DatapathBackend, DatapathError } from './choose.ts'

export interface CleanupDeps {
  readonly exec: Exec
  readonly clock: Clock
}

/** One place where something of ours was found and removed, in words: `nft IPv4`, `table inet bellhop`. */
export type RemovedPlace = string

/** Removes everything of ours. Goes on after an error and returns the first; a node without iptables, or nftables, has nothing of ours there. */
export async function removeEverything(deps: CleanupDeps): Promise<Result<readonly RemovedPlace[], DatapathError>> {
  const iptables = await removeAll(deps)
  const nft = await removeNft(deps.exec)
  if (!iptables.ok && iptables.error.code !== 'iptables/not-installed') return iptables
  if (!nft.ok) return nft
  const inIptables = iptables.ok ? iptables.value.map(({ backend, family }) => `${backend} ${family}`) : []
  return ok([...inIptables, ...nft.value.map((table) => `table ${table}`)])
}

/** Removes what stands in the back ends that are not in use. What cannot be removed there disturbs nobody. */
export async function removeFromOthers(inUse: DatapathBackend, deps: CleanupDeps): Promise<void> {
  const installed = await installedBackends(deps.exec)
  if (!installed.ok) return
  for (const backend of installed.value) if (backend.name !== inUse.name) await removeFrom(backend, deps)
}
