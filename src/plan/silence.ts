// Whose silence is believed. When the API server hears of no node at all any more, it is the API server that is deaf, or just back:
// the Nodes' conditions, and the readiness that is taken from their pods for it, then say nothing about nodes, and what was heard last
// counts. From the Nodes, from what was seen before, and from the time, which is an argument.

import type { Node } from '../k8s/objects.ts'
import { excludeLabel } from './eligibility.ts'

export interface Silence {
  /** Nodes of which nothing is heard. */
  readonly silent: ReadonlySet<string>
  /**
   * Those that fell silent when all did, as long as nobody is heard, and for a while after the first is: what was heard of them and
   * of their endpoints last counts.
   */
  readonly together: ReadonlySet<string>
}

export const nobodySilent: Silence = { silent: new Set(), together: new Set() }

/** What was seen of the Nodes so far. */
export interface SilenceSeen extends Silence {
  /** Nodes that said themselves, when they were heard last, that they are not ready. */
  readonly unready: ReadonlySet<string>
  /** The first is heard again: monotonic milliseconds at which the others are judged by their conditions; absent = not yet. */
  readonly endMs?: number
}

export const nothingSeen: SilenceSeen = { ...nobodySilent, unready: new Set() }

/** The node controller calls nodes silent one after the other, and writes to each of their pods in between. */
const togetherMs = 60_000
/** A kubelet tries every ten seconds, after an outage within seven, and needs as long again for its pods. */
export const returnMs = 30_000

/** What is seen with these Nodes, which are all there are. */
export function seeSilence(before: SilenceSeen, nodes: ReadonlyMap<string, Node>, nowMs: number): SilenceSeen {
  const silent = new Map<string, number>()
  const unready = new Set<string>()
  let counted = 0
  let heard = 0
  for (const [name, node] of nodes) {
    const isSilent = node.silentSinceMs !== undefined
    if (node.silentSinceMs !== undefined) silent.set(name, node.silentSinceMs)
    if (isSilent ? before.unready.has(name) : !node.ready) unready.add(name)
    // Who is no next hop in any case is no witness: control planes often hear themselves alone.
    if (excludeLabel in node.meta.labels || node.meta.deleting) continue
    counted++
    if (!isSilent) heard++
  }
  const known = { silent: new Set(silent.keys()), unready }
  const staying = new Set([...before.together].filter((name) => nodes.has(name)))
  if (counted > 0 && heard === 0) {
    const latest = Math.max(...silent.values())
    const fell = [...silent].filter(([name, sinceMs]) => latest - sinceMs <= togetherMs && !unready.has(name))
    return { ...known, together: new Set([...staying, ...fell.map(([name]) => name)]) }
  }
  const endMs = before.endMs ?? nowMs + returnMs
  return staying.size === 0 || nowMs >= endMs
    ? { ...known, together: nobodySilent.together }
    : { ...known, together: staying, endMs }
}
