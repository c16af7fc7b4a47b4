// Whether a node's rules for a VIP are in place, as far as its agent says. A node becomes a next hop of a new VIP only then: a route
// that is faster than the rules would lead into a closed FORWARD chain. Who stops waiting, and when, is decided where the time is
// known (`announce/dataplane-gate.ts`); the plan reads what is.

/** What the plan knows of the nodes' rules. A new value whenever something in it changed. */
export interface Dataplane {
  /** VIPs whose rules some agent may not have yet: the Vip's resourceVersion when it was first seen. */
  readonly young: ReadonlyMap<string, bigint>
  /** By node: the resourceVersion up to which the rules for all Vips are in place; 0 = none yet. Nodes without an agent are absent. */
  readonly inPlace: ReadonlyMap<string, bigint>
  /** Nodes whose agent has not put any rules in place since the node started. */
  readonly unready: ReadonlySet<string>
}

/** Nothing waits: no agent says anything. */
export const openDataplane: Dataplane = { young: new Map(), inPlace: new Map(), unready: new Set() }

/** Why a node is no next hop yet, continuing "node n1 ...". */
export const waitsForRules = 'is waited for: its agent has not said yet that the rules for the VIP are in place'

/** The nodes that are waited for, as a question; undefined when none can be. */
export function waitingFor(
  vip: string,
  { young, inPlace, unready }: Dataplane,
): ((node: string) => boolean) | undefined {
  const version = young.get(vip)
  if (version === undefined) return unready.size === 0 ? undefined : (node) => unready.has(node)
  return (node) => {
    const until = inPlace.get(node)
    return unready.has(node) || (until !== undefined && until < version)
  }
}

/** The VIPs and nodes for which two values may answer differently. */
export function dataplaneChanges(
  before: Dataplane,
  after: Dataplane,
): { readonly vips: ReadonlySet<string>; readonly nodes: ReadonlySet<string> } {
  if (before === after) return { vips: new Set(), nodes: new Set() }
  const nodes = [...before.unready, ...after.unready].filter(
    (node) => before.unready.has(node) !== after.unready.has(node),
  )
  return { vips: new Set([...before.young.keys(), ...after.young.keys()]), nodes: new Set(nodes) }
}
