// Which next hops of a single-hop eBGP session are on none of its networks. RFC 4271 section 5.1.3 has a third party's address only
// there, and section 6.3 lets a router ignore any other; some do, some look it up. They are announced, and the BgpPeer says so: the
// networks are those of one replica's interface, and what replicas announce must not depend on where they run.

import type { PeerConfig } from '../bgp/speaker/protocol.ts'
import { type BgpPeer, type ClusterView, matchesSelector } from '../k8s/objects.ts'
import type { IpFamily } from '../net/ip.ts'
import { addressBits } from '../net/ip.ts'
import { type Prefix, prefixContains, prefixFamily, prefixLength } from '../net/prefix.ts'
import type { NodeEligibility } from './eligibility.ts'
import { shortList } from './status-text.ts'

/** Equal questions about the same nodes; a Node that changes makes another map. */
const answers = new WeakMap<ReadonlyMap<string, NodeEligibility>, Map<string, string | undefined>>()

/**
 * What is to be said of the next hops that `peer` hears of, for operators; undefined: all are on `networks`, those of the
 * interface that the session runs over, or nothing is known.
 */
export function offLinkNextHops(
  { view, nodes }: { readonly view: ClusterView; readonly nodes: ReadonlyMap<string, NodeEligibility> },
  peer: BgpPeer,
  config: Pick<PeerConfig, 'families' | 'localAsn' | 'peerAsn' | 'ttl' | 'ttlSecurityHops' | 'nextHop'>,
  networks: readonly Prefix[],
): string | undefined {
  const singleHop = config.localAsn !== config.peerAsn && config.ttl === 1 && (config.ttlSecurityHops ?? 1) === 1
  if (!singleHop || config.nextHop === 'self') return undefined
  const { families } = config
  const question = JSON.stringify([families, networks, peer.nodeSelector])
  const known = answers.get(nodes) ?? new Map<string, string | undefined>()
  answers.set(nodes, known)
  if (!known.has(question)) known.set(question, answer(view, nodes, peer, { families, networks }))
  return known.get(question)
}

function answer(
  view: ClusterView,
  nodes: ReadonlyMap<string, NodeEligibility>,
  { nodeSelector }: BgpPeer,
  { families, networks }: { readonly families: PeerConfig['families']; readonly networks: readonly Prefix[] },
): string | undefined {
  // An interface whose address is a whole network to itself says nothing about its neighbours.
  const wide = networks.filter((network) => prefixLength(network) < addressBits(prefixFamily(network)))
  for (const family of families.map((name): IpFamily => (name === 'ipv4-unicast' ? 'IPv4' : 'IPv6'))) {
    const own = wide.filter((network) => prefixFamily(network) === family)
    if (own.length === 0) continue
    const off = [...nodes.values()].flatMap(({ node, [family]: verdict }) =>
      verdict.ok &&
      matchesSelector(nodeSelector, view.nodes.get(node)?.meta.labels ?? {}) &&
      !own.some((network) => prefixContains(network, verdict.address))
        ? [`${node} (${verdict.address})`]
        : [],
    )
    if (off.length > 0)
      return `not on ${own.join(' or ')}, the network of the session: ${shortList(off.sort(), 3, 512)}. Many routers ignore such next hops on a single-hop eBGP session: where yours does not, or after it was told so, say ebgpMultihop`
  }
  return undefined
}
