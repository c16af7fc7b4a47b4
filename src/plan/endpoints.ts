// Which endpoints of a Service count, by Kubernetes' conditions ready, serving and terminating. Everything about traffic starts
// here: a node without an endpoint that counts is no next hop.

import type { Endpoint, EndpointSlice } from '../k8s/objects.ts'
import type { IpFamily } from '../net/ip.ts'

export type EndpointPolicy = 'Ready' | 'Serving'

export interface CountedEndpoints {
  /** By the node that hosts them. */
  readonly byNode: ReadonlyMap<string, number>
  /** Endpoints that name no node: reachable from everywhere, hosted nowhere that we know. */
  readonly nodeless: number
  readonly total: number
}

const none: CountedEndpoints = { byNode: new Map(), nodeless: 0, total: 0 }

/**
 * How an endpoint's conditions are read. `last-resort`: it terminates and still serves, and counts only when no endpoint of the
 * Service counts otherwise. An endpoint that is ready while it terminates was published so on purpose (publishNotReadyAddresses).
 */
export function endpointWeight(
  { ready, serving, terminating }: Pick<Endpoint, 'ready' | 'serving' | 'terminating'>,
  policy: EndpointPolicy,
): 'counts' | 'last-resort' | 'ignored' {
  if (ready) return 'counts'
  if (!serving) return 'ignored'
  if (policy === 'Serving') return 'counts'
  return terminating ? 'last-resort' : 'ignored'
}

/** Unites all slices of one Service and one family, and counts what counts. An endpoint that stands in two slices is one. */
export function countEndpoints(
  slices: readonly EndpointSlice[],
  family: IpFamily,
  policy: EndpointPolicy,
): CountedEndpoints {
  const counting = select(slices, family, policy, 'counts')
  const chosen = counting.length > 0 ? counting : select(slices, family, policy, 'last-resort')
  if (chosen.length === 0) return none
  const byNode = new Map<string, number>()
  let nodeless = 0
  for (const { nodeName } of chosen) {
    if (nodeName === undefined) nodeless++
    else byNode.set(nodeName, (byNode.get(nodeName) ?? 0) + 1)
  }
  return { byNode, nodeless, total: chosen.length }
}

function select(
  slices: readonly EndpointSlice[],
  family: IpFamily,
  policy: EndpointPolicy,
  weight: 'counts' | 'last-resort',
): readonly Endpoint[] {
  const seen = new Set<string>()
  const found: Endpoint[] = []
  for (const slice of slices) {
    if (slice.addressType !== family) continue
    for (const endpoint of slice.endpoints) {
      if (endpointWeight(endpoint, policy) !== weight) continue
      if (slices.length > 1) {
        const identity = `${endpoint.nodeName ?? ''} ${endpoint.address}`
        if (seen.has(identity)) continue
        seen.add(identity)
      }
      found.push(endpoint)
    }
  }
  return found
}
