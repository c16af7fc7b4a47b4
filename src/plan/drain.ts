// How far the drains that Nodes ask for have come: from the annotations, from what was seen before, and from the time, which is an
// argument. A node that is drained leaves first, so that routers turn to the others while it still serves, and is out when the
// grace time is over. Every replica comes to the same answer from the same cluster, but for the moment at which it first saw the
// annotation; where the annotation says when, not even for that.

import type { Node } from '../k8s/objects.ts'

export const drainAnnotation = 'bellhop.io/drain'

/** `staying`: the drain begins later. `leaving`: routers are to prefer other nodes. `left`: it is no next hop. */
export type DrainPhase = 'staying' | 'leaving' | 'left'

/** Any value drains but an explicit no. */
export const isDrained = (value: string | undefined): boolean =>
  value !== undefined && !/^(false|no|0|)$/i.test(value.trim())

/** What was seen of the Nodes so far. */
export interface DrainsSeen {
  /** Of Nodes that were there without a drain: a drain that begins here has something to take leave of. */
  readonly known: ReadonlySet<string>
  readonly drains: ReadonlyMap<string, Drain>
}

/** One moment by both clocks. `wallMs`: since 1970. */
export interface Now {
  readonly wallMs: number
  readonly monotonicMs: number
}

/**
 * `sinceMs`: monotonic milliseconds, and the same moment by the wall clock, of a drain that was seen to begin, by us or by others: the
 * wall clock may be set meanwhile. `atMs`: wall-clock milliseconds since 1970, as the annotation says.
 */
type Drain = { readonly sinceMs: number; readonly wallMs: number } | { readonly atMs: number }

export const noDrainsSeen: DrainsSeen = { known: new Set(), drains: new Map() }

const longAgo: Drain = { sinceMs: Number.NEGATIVE_INFINITY, wallMs: Number.NEGATIVE_INFINITY }

const nobodyKnows: ReadonlyMap<string, number> = new Map()

/**
 * What is seen with these Nodes, which are all there are. A Node that comes with the annotation has left already: a replica
 * that starts must not bring back the paths of a node that has been drained for hours. `begun` knows better, of those who were seen to
 * begin by somebody else: wall-clock milliseconds since 1970, by node.
 */
export function seeDrains(
  before: DrainsSeen,
  nodes: ReadonlyMap<string, Node>,
  now: Now,
  begun: ReadonlyMap<string, number> = nobodyKnows,
): DrainsSeen {
  const known = new Set<string>()
  const drains = new Map<string, Drain>()
  for (const [name, { meta }] of nodes) {
    const value = meta.annotations[drainAnnotation]
    if (value === undefined || !isDrained(value)) {
      known.add(name)
      continue
    }
    const atMs = timeOf(value)
    const earlier = before.drains.get(name)
    const drain = earlier ?? (before.known.has(name) ? begunNow(now) : begunAt(begun.get(name), now))
    // Another word for the same wish does not begin it anew, and one without a time means now.
    if (atMs === undefined) drains.set(name, 'atMs' in drain ? begunAt(drain.atMs, now) : drain)
    else drains.set(name, { atMs })
  }
  return { known, drains }
}

const begunNow = ({ monotonicMs, wallMs }: Now): Drain => ({ sinceMs: monotonicMs, wallMs })

/** It has begun, whenever that is said to have been; with a clock that differs from ours it may seem to come yet. */
function begunAt(atMs: number | undefined, { monotonicMs, wallMs }: Now): Drain {
  if (atMs === undefined) return longAgo
  const agoMs = Math.max(0, wallMs - atMs)
  return { sinceMs: monotonicMs - agoMs, wallMs: wallMs - agoMs }
}

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/i

/** An RFC 3339 time in milliseconds since 1970; undefined for any other text. */
function timeOf(value: string): number | undefined {
  const text = value.trim()
  const ms = rfc3339.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}

export interface DrainsNow {
  /** By node, every one that is annotated. */
  readonly phases: ReadonlyMap<string, DrainPhase>
  /** Of those that are leaving: when that began, in wall-clock milliseconds since 1970, for who starts meanwhile. */
  readonly begun: ReadonlyMap<string, number>
  /** In how many milliseconds `phases` will be something else; absent = never. */
  readonly nextMs?: number
}

/** How far the drains have come at a moment. `graceMs`: how long a node leaves. */
export function drainsAt({ drains }: DrainsSeen, now: Now, graceMs: number): DrainsNow {
  const phases = new Map<string, DrainPhase>()
  const begun = new Map<string, number>()
  let nextMs = Number.POSITIVE_INFINITY
  for (const [node, drain] of drains) {
    const agoMs = 'atMs' in drain ? now.wallMs - drain.atMs : now.monotonicMs - drain.sinceMs
    const phase: DrainPhase = agoMs < 0 ? 'staying' : agoMs < graceMs ? 'leaving' : 'left'
    phases.set(node, phase)
    if (phase === 'staying') nextMs = Math.min(nextMs, -agoMs)
    if (phase === 'leaving') nextMs = Math.min(nextMs, graceMs - agoMs)
    if (phase === 'leaving') begun.set(node, 'atMs' in drain ? drain.atMs : drain.wallMs)
  }
  return nextMs === Number.POSITIVE_INFINITY ? { phases, begun } : { phases, begun, nextMs }
}
