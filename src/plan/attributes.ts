// What BgpConf and BgpPolicy say about a VIP's routes: the attributes that all its paths share, the length it is announced with,
// whether paths carry weights, and whether it is announced at all. Nothing here knows a node.

import type { RouteAttributes } from '../bgp/rib/route.ts'
import type { BgpConf, BgpPolicy, Service } from '../k8s/objects.ts'
import { matchesSelector } from '../k8s/objects.ts'
import type { Community, LargeCommunity, ParsedCommunity } from '../net/community.ts'

export interface RouteRules {
  readonly attributes: RouteAttributes
  readonly aggregationLength: { readonly ipv4: number; readonly ipv6: number }
  readonly linkBandwidth: 'None' | 'Endpoints'
  readonly announce: boolean
}

/** Highest priority first; among equals by name, so that the outcome does not depend on who was created when. */
export const byPriority = (a: BgpPolicy, b: BgpPolicy): number =>
  b.priority - a.priority || (a.meta.name < b.meta.name ? -1 : a.meta.name > b.meta.name ? 1 : 0)

/** Whether a policy speaks of a VIP of this pool and these Services; a shared VIP is one route, so one of them is enough. */
export function policyMatches(
  { pools, serviceSelector }: BgpPolicy,
  pool: string,
  services: readonly Service[],
): boolean {
  return (
    (pools.length === 0 || pools.includes(pool)) &&
    (serviceSelector === undefined || services.some(({ meta }) => matchesSelector(serviceSelector, meta.labels)))
  )
}

/**
 * The rules of the policies that apply, which come highest priority first. Communities are united. Otherwise the highest priority
 * that says something wins: `announce` is said by every policy, the others only where they differ from their default.
 */
export function routeRules(conf: Pick<BgpConf, 'origin' | 'communities'>, policies: readonly BgpPolicy[]): RouteRules {
  const communities = new Set<Community>()
  const largeCommunities = new Set<LargeCommunity>()
  for (const policy of policies)
    for (const written of policy.communities) {
      const community = resolveCommunity(conf, written)
      if (community?.kind === 'standard') communities.add(community.value)
      if (community?.kind === 'large') largeCommunities.add(community.value)
    }
  const med = first(policies, (policy) => policy.med)
  const localPref = first(policies, (policy) => policy.localPref)
  const length = (family: 'ipv4' | 'ipv6', host: number): number =>
    first(policies, ({ aggregationLength }) =>
      aggregationLength[family] === host ? undefined : aggregationLength[family],
    ) ?? host
  return {
    attributes: {
      origin: conf.origin,
      ...(med === undefined ? {} : { med }),
      ...(localPref === undefined ? {} : { localPref }),
      prepend: first(policies, ({ prepend }) => (prepend === 0 ? undefined : prepend)) ?? 0,
      communities: [...communities].sort((a, b) => a - b),
      largeCommunities: [...largeCommunities].sort(compareLarge),
    },
    aggregationLength: { ipv4: length('ipv4', 32), ipv6: length('ipv6', 128) },
    linkBandwidth:
      first(policies, ({ linkBandwidth }) => (linkBandwidth === 'None' ? undefined : linkBandwidth)) ?? 'None',
    announce: announced(policies),
  }
}

// Equals that contradict each other do not announce: a route too few is noticed, a route too many may not be.
function announced(policies: readonly BgpPolicy[]): boolean {
  const highest = policies[0]?.priority
  return policies.filter(({ priority }) => priority === highest).every(({ announce }) => announce)
}

/** The community that a policy means; undefined when it is a name that BgpConf does not define. */
export function resolveCommunity(
  { communities }: Pick<BgpConf, 'communities'>,
  written: BgpPolicy['communities'][number],
): ParsedCommunity | undefined {
  return written.kind === 'name' ? communities.get(written.value) : written
}

function first<T>(policies: readonly BgpPolicy[], read: (policy: BgpPolicy) => T | undefined): T | undefined {
  for (const policy of policies) {
    const value = read(policy)
    if (value !== undefined) return value
  }
  return undefined
}

// By number: the order in which the attribute is written (RFC 8092 section 3 leaves it open, equal sets must be equal bytes).
function compareLarge(a: LargeCommunity, b: LargeCommunity): number {
  const left = a.split(':').map(Number)
  const right = b.split(':').map(Number)
  return left.reduce((order, value, i) => order || value - (right[i] ?? 0), 0)
}
