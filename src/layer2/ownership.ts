// Which node answers for a VIP of mode layer2: a pure function of the nodes that could. The owner stays as long as it can, because a
// move breaks the connections that it carries; where one is needed, rendezvous hashing spreads the VIPs over the nodes, so that a
// lost node's VIPs go to all the others and nobody else's move.

import { familyOf, type Ip } from '../net/ip.ts'
import { prefixContains } from '../net/prefix.ts'
import { hash32 } from '../plan/hash.ts'
import type { Link } from './links.ts'

/** A node that could answer for a VIP, on this interface. */
export interface Candidate {
  readonly node: string
  readonly interface: string
  /** Better than others for a new owner: it has endpoints of its own. */
  readonly preferred: boolean
}

export interface Owner {
  readonly node: string
  readonly interface: string
}

/**
 * The owner of `vip` among the candidates, whose order does not matter: the present one while it is a candidate, else the preferred
 * candidate with the highest hash. undefined without any candidate.
 */
export function chooseOwner(
  vip: string,
  present: string | undefined,
  candidates: readonly Candidate[],
): Owner | undefined {
  const staying = candidates.find(({ node }) => node === present)
  const preferred = candidates.filter((candidate) => candidate.preferred)
  const chosen = staying ?? highest(vip, preferred.length > 0 ? preferred : candidates)
  return chosen === undefined ? undefined : { node: chosen.node, interface: chosen.interface }
}

function highest(vip: string, candidates: readonly Candidate[]): Candidate | undefined {
  let best: { readonly candidate: Candidate; readonly rank: number } | undefined
  for (const candidate of candidates) {
    const rank = hash32(`${vip} ${candidate.node}`)
    const wins = best === undefined || rank > best.rank || (rank === best.rank && candidate.node < best.candidate.node)
    if (wins) best = { candidate, rank }
  }
  return best?.candidate
}

/**
 * The interface on which a node with these links answers for `address`: one in the address's subnet. Where interfaces are named, one
 * of them, and the subnet only decides between several: whoever names them may have a network without an address on the nodes.
 * Of several that are as good the one stays on which the node answers already (`present`).
 */
export function linkFor(
  address: Ip,
  links: readonly Link[],
  named: readonly string[],
  present?: string,
): Link | undefined {
  const allowed = named.length === 0 ? links : links.filter(({ name }) => named.includes(name))
  const inSubnet = allowed.filter(({ subnets }) => subnets.some((subnet) => prefixContains(subnet, address)))
  const able = inSubnet.length > 0 || named.length === 0 ? inSubnet : allowed
  return able.find(({ name }) => name === present) ?? able[0]
}

/** Why a node with these links cannot answer, continuing "node n1 ...". */
export const linkRefusal = (address: Ip, named: readonly string[]): string =>
  named.length === 0
    ? `has no interface in the subnet of ${address}`
    : `has no interface ${named.join(' or ')} that is up and can carry ${familyOf(address)}`
