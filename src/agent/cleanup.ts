// `bellhop agent --cleanup`: nothing of ours is left on the node. Needs no API server.

import type { DatapathError } from '../datapath/choose.ts'
import { type RemovedPlace, removeEverything } from '../datapath/cleanup.ts'
import { type IpError, removeAllAddresses } from '../layer2/addresses.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import type { Result } from '../runtime/result.ts'

export interface AgentCleanupDeps {
  readonly clock: Clock
  readonly exec: Exec
  readonly log: Log
}

/** Removes every rule and every VIP of ours from this node, whichever back end the rules are in. */
export async function runAgentCleanup(
  deps: AgentCleanupDeps,
): Promise<Result<readonly RemovedPlace[], DatapathError | IpError>> {
  const addresses = await removeAllAddresses(deps.exec)
  if (addresses.ok) deps.log.info({ event: 'layer2-addresses-removed', removed: addresses.value })
  else deps.log.error({ event: 'layer2-addresses-not-removed', ...addresses.error })
  const outcome = await removeEverything(deps)
  if (outcome.ok) deps.log.info({ event: 'forward-rules-removed', removed: outcome.value })
  else deps.log.error({ event: 'forward-rules-not-removed', ...outcome.error })
  return addresses.ok ? outcome : addresses
}
