// Who may share an address with whom. Asked when a Service joins an address, and again when one that shares is edited: the address
// is the same for all, so ports must not clash, and under `Local` every next hop must serve every Service behind the address.

import type { Service, VipClaim, VipPool } from '../k8s/objects.ts'

/** One Service on an address: the Service as it is, and what it claims. */
export interface Sharer {
  readonly service: Service
  readonly claim: VipClaim
}

/** A Service's claim on an address. Lists are sorted, so that their order in the Service means nothing. */
export function claimOf(service: Service, shareKey: string): VipClaim {
  const ports = service.ports
    .map(({ protocol, port }) => ({ protocol, port }))
    .sort((a, b) => (a.protocol === b.protocol ? a.port - b.port : a.protocol < b.protocol ? -1 : 1))
  const { namespace, name, uid } = service.meta
  const sourceRanges = [...new Set(service.sourceRanges)].sort()
  return { namespace, name, uid, ports, shareKey, ...(sourceRanges.length === 0 ? {} : { sourceRanges }) }
}

export function sameClaim(a: VipClaim, b: VipClaim): boolean {
  return (
    a === b ||
    (a.uid === b.uid &&
      a.shareKey === b.shareKey &&
      a.name === b.name &&
      a.namespace === b.namespace &&
      (a.sourceRanges ?? []).join() === (b.sourceRanges ?? []).join() &&
      a.ports.length === b.ports.length &&
      a.ports.every((port, i) => port.port === b.ports[i]?.port && port.protocol === b.ports[i]?.protocol))
  )
}

/** Why two claims cannot stand on one address, in words; undefined when they can. What is recorded is enough to tell. */
export function claimRefusal(claim: VipClaim, other: VipClaim): string | undefined {
  const name = `${other.namespace}/${other.name}`
  if (claim.shareKey === '') return `it belongs to ${name}, and this Service has no sharing key`
  if (claim.shareKey !== other.shareKey) return `it belongs to ${name}, whose sharing key is another one`
  const clash = claim.ports.find((mine) =>
    other.ports.some((theirs) => mine.port === theirs.port && mine.protocol === theirs.protocol),
  )
  return clash === undefined ? undefined : `port ${clash.port}/${clash.protocol} on it is taken by ${name}`
}

/** Why the pool or the two Services' traffic policies keep them apart, in words; undefined when they do not. */
export function policyRefusal(service: Service, other: Service, pool: VipPool): string | undefined {
  const name = `${other.meta.namespace}/${other.meta.name}`
  const sameNamespace = service.meta.namespace === other.meta.namespace
  if (pool.sharing === 'None') return `pool ${pool.meta.name} does not let Services share, and ${name} has it`
  if (pool.sharing === 'SameNamespace' && !sameNamespace)
    return `pool ${pool.meta.name} lets only Services of one namespace share, and ${name} has it`
  if (service.externalTrafficPolicy === 'Cluster' && other.externalTrafficPolicy === 'Cluster') return undefined
  if (service.externalTrafficPolicy !== other.externalTrafficPolicy)
    return `externalTrafficPolicy is ${service.externalTrafficPolicy} here and ${other.externalTrafficPolicy} in ${name}`
  if (!sameNamespace || !sameSelector(service.selector, other.selector))
    return `with externalTrafficPolicy Local only Services with the same pods may share, and ${name} selects others`
  return undefined
}

/** Everything that keeps `joining` away from an address that `other` has. */
export function sharingRefusal(joining: Sharer, other: Sharer, pool: VipPool): string | undefined {
  return claimRefusal(joining.claim, other.claim) ?? policyRefusal(joining.service, other.service, pool)
}

// An empty selector selects nothing that we know of: two of them are not the same pods.
function sameSelector(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a)
  return keys.length > 0 && keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key])
}
