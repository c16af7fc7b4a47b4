// Since when nodes have been leaving, in the status of the BgpConf: the one fact about drains that stands in no object else, and that a
// replica needs that starts meanwhile. Written by the leader, read by whoever starts.

import type { BgpConf } from '../k8s/objects.ts'
import { rfc3339 } from '../vip/rfc3339.ts'

/** What the schema takes. */
const drainsMax = 1000

/** The leader's fields; none where nobody is leaving. `begun`: wall-clock milliseconds since 1970, by node. */
export function drainStatus(begun: ReadonlyMap<string, number>): Readonly<Record<string, unknown>> {
  const drains = [...begun]
    .filter(([, ms]) => Number.isFinite(ms))
    .map(([node, ms]) => ({ node, since: rfc3339(ms) }))
    .sort((a, b) => (a.node < b.node ? -1 : 1))
    .slice(0, drainsMax)
  return drains.length === 0 ? {} : { drains }
}

/** What a status says, as `drainStatus` takes it. */
export function drainsIn(conf: Pick<BgpConf, 'status'> | undefined): ReadonlyMap<string, number> {
  const begun = new Map<string, number>()
  const drains = conf?.status['drains']
  for (const entry of Array.isArray(drains) ? drains : []) {
    const { node, since } = (entry ?? {}) as Readonly<Record<string, unknown>>
    const ms = typeof since === 'string' ? Date.parse(since) : Number.NaN
    if (typeof node === 'string' && !Number.isNaN(ms)) begun.set(node, ms)
  }
  return begun
}
