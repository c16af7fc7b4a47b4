// Which nodes the traffic of one VIP is sent to: those that host endpoints that count, unless a pool or a Service asks for all
// nodes. Under externalTrafficPolicy Local a node must host an endpoint of every Service that has the address.

import type { IpFamily } from '../net/ip.ts'
import { type NextHopVerdict, type NodeEligibility, unknownNode } from './eligibility.ts'
import type { CountedEndpoints } from './endpoints.ts'
import { hash32 } from './hash.ts'
import type { ExcludedNode, NotAnnouncedReason, PlannedNextHop } from './types.ts'

/** One Service of a VIP, as far as next hops are concerned. */
export interface Backends {
  readonly counted: CountedEndpoints
  readonly local: boolean
  /** AllNodes asked for; under `local` it means nothing. */
  readonly allNodes: boolean
}

export interface NextHops {
  /** Sorted by node. */
  readonly hops: readonly PlannedNextHop[]
  readonly excluded: readonly ExcludedNode[]
  readonly refusal?: { readonly reason: NotAnnouncedReason; readonly message: string }
  /** Whether any node of the cluster may become a next hop, not only those that host endpoints. */
  readonly everyNode: boolean
}

/** Which of the nodes that could be next hops are meant. */
export interface Narrowed {
  /** Of the others nothing is known, and nothing wanted. */
  readonly onlyNode?: string | undefined
  /** What speaks against a node, continuing "node n1 ...". */
  readonly objection?: ((node: string) => string | undefined) | undefined
}

/**
 * The eligible nodes for one VIP of `family`, but for those that something speaks against. Never throws a VIP away for one bad node.
 */
export function planNextHops(
  backends: readonly Backends[],
  nodes: ReadonlyMap<string, NodeEligibility>,
  family: IpFamily,
  { onlyNode, objection }: Narrowed = {},
): NextHops {
  const total = backends.reduce((sum, { counted }) => sum + counted.total, 0)
  const none = { hops: [], excluded: [], everyNode: false }
  if (total === 0) return { ...none, refusal: { reason: 'NoReadyEndpoints', message: 'no endpoint is ready' } }
  const everyNode = backends.some(
    ({ local, allNodes, counted }) => !local && counted.total > 0 && (allNodes || counted.nodeless > 0),
  )
  const candidates = countByNode(backends, everyNode ? nodes.keys() : [])
  const locals = backends.filter(({ local }) => local)
  for (const node of candidates.keys())
    if (!locals.every(({ counted }) => counted.byNode.has(node))) candidates.delete(node)
  if (candidates.size === 0)
    return {
      ...none,
      everyNode,
      refusal: {
        reason: 'NoLocalEndpoints',
        message: 'externalTrafficPolicy is Local, and no node hosts an endpoint of every Service',
      },
    }
  const chosen = (of: ReadonlyMap<string, number>): NextHops => ({
    ...judge(of, nodes, family, objection),
    everyNode,
  })
  if (onlyNode === undefined) return chosen(candidates)
  const endpoints = candidates.get(onlyNode)
  if (endpoints !== undefined) return chosen(new Map([[onlyNode, endpoints]]))
  return {
    ...none,
    everyNode,
    refusal: { reason: 'NoLocalEndpoints', message: `node ${onlyNode} hosts no endpoint that counts` },
  }
}

// Endpoints that name no node count as reachable from every node, but only through `Cluster` forwarding.
function countByNode(backends: readonly Backends[], also: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const node of also) counts.set(node, 0)
  for (const { counted } of backends)
    for (const [node, endpoints] of counted.byNode) counts.set(node, (counts.get(node) ?? 0) + endpoints)
  const nodeless = backends.reduce((sum, { counted, local }) => sum + (local ? 0 : counted.nodeless), 0)
  if (nodeless > 0) for (const [node, endpoints] of counts) counts.set(node, endpoints + nodeless)
  return counts
}

function judge(
  candidates: ReadonlyMap<string, number>,
  nodes: ReadonlyMap<string, NodeEligibility>,
  family: IpFamily,
  objection: (node: string) => string | undefined = () => undefined,
): Omit<NextHops, 'everyNode'> {
  const hops: PlannedNextHop[] = []
  const excluded: ExcludedNode[] = []
  const byAddress = new Map<string, string>()
  let addressless = 0
  for (const [node, endpoints] of [...candidates].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const verdict: NextHopVerdict = nodes.get(node)?.[family] ?? unknownNode
    const twin = verdict.ok ? byAddress.get(verdict.address) : undefined
    const because = verdict.ok ? objection(node) : undefined
    if (because !== undefined) excluded.push({ node, because })
    else if (verdict.ok && twin === undefined) {
      byAddress.set(verdict.address, node)
      hops.push(nextHop(node, verdict, endpoints))
    } else if (endpoints > 0)
      excluded.push({ node, because: verdict.ok ? `has the same address as node ${twin}` : verdict.because })
    if (!verdict.ok && verdict.code === 'no-address') addressless++
  }
  // A list that grew has room for more, in each of ten thousand VIPs.
  if (hops.length > 0) return { hops: hops.slice(), excluded }
  const words = excluded.slice(0, 3).map(({ node, because }) => `node ${node} ${because}`)
  const more = excluded.length > 3 ? `, and ${excluded.length - 3} more` : ''
  return {
    hops,
    excluded,
    refusal: {
      reason: addressless === candidates.size ? 'NoNodeAddress' : 'NoEligibleNode',
      message: words.length === 0 ? 'no node of the cluster can be a next hop' : `${words.join('; ')}${more}`,
    },
  }
}

type Eligible = Extract<NextHopVerdict, { ok: true }>

/** By the verdict that it follows from: the next hop with one endpoint, which is what most of a hundred thousand are. */
const single = new WeakMap<Eligible, PlannedNextHop>()

function nextHop(node: string, verdict: Eligible, endpoints: number): PlannedNextHop {
  const known = endpoints === 1 ? single.get(verdict) : undefined
  if (known !== undefined) return known
  const hop = { node, address: verdict.address, endpoints, ...(verdict.leaving ? { leaving: true as const } : {}) }
  if (endpoints === 1) single.set(verdict, hop)
  return hop
}

/**
 * At most `max` of the next hops (0 = all), the same in every replica: rendezvous hashing, so that a node that comes or goes
 * changes at most one of the others. Nodes that leave come after all that stay. Sorted by node.
 */
export function capNextHops(vip: string, hops: readonly PlannedNextHop[], max: number): readonly PlannedNextHop[] {
  if (max === 0 || hops.length <= max) return hops
  return hops
    .map((hop) => ({ hop, last: hop.leaving === undefined ? 0 : 1, rank: hash32(`${vip} ${hop.node}`) }))
    .sort((a, b) => a.last - b.last || b.rank - a.rank || (a.hop.node < b.hop.node ? -1 : 1))
    .slice(0, max)
    .map(({ hop }) => hop)
    .sort((a, b) => (a.node < b.node ? -1 : 1))
}
