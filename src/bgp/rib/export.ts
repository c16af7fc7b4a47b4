// What a route looks like on one session: the attributes its kind of peer gets, and which of its next hops (RFC 4271
// section 5.1, RFC 2545, RFC 7911). Pure functions of the route and the session, so that what was sent before can be
// computed again from the route that was sent, and nothing has to be remembered path by path.

import type { Asn } from '../../net/asn.ts'
import { gracefulShutdown, linkBandwidthCommunity } from '../../net/community.ts'
import { familyOf, type Ip } from '../../net/ip.ts'
import type { Family, PathAttributes, SessionCodec } from '../packet/message.ts'
import type { Path, Route, RouteAttributes } from './route.ts'
import { selectPaths } from './select.ts'

/** All that decides how routes are written for a peer. Peers with equal contexts are sent equal bytes. */
export interface ExportContext {
  readonly codec: SessionCodec
  readonly localAsn: Asn
  readonly peerAsn: Asn
  /** Present: next hop self, by family of the next hop. A family without an address is not announced. */
  readonly nextHopSelf?: { readonly ipv4?: Ip; readonly ipv6?: Ip }
  /** How many paths a prefix the peer takes (capability 76); a family that is absent, or at 0, has no limit. */
  readonly pathsLimit: ReadonlyMap<Family, number>
  /** Equal in all replicas: the choice of paths depends on it. */
  readonly seed: string
}

/** LOCAL_PREF where the route asks for none. */
const localPrefDefault = 100

/** With next hop self all paths of a prefix are one, and its path id can be any: it never changes. */
const selfPathId = 1

/** The worst MED there is, and what a router that takes a missing one for the worst has for those without. */
const medMax = 0xffff_ffff

/** The attributes that all paths of a route share on this session: everything but next hop, link bandwidth and leaving. */
export function exportAttributes(attributes: RouteAttributes, context: ExportContext): PathAttributes {
  const { origin, med, localPref, prepend, communities, largeCommunities } = attributes
  const ibgp = context.codec.sessionType === 'ibgp'
  const asns: readonly number[] = Array.from({ length: 1 + prepend }, () => context.localAsn)
  return {
    origin,
    // Prepending inside an AS would look like a loop to the receiver (RFC 4271 section 5.1.2 forbids it).
    asPath: ibgp ? [] : [{ type: 'AS_SEQUENCE', asns }],
    ...(med === undefined ? {} : { med }),
    ...(ibgp ? { localPref: localPref ?? localPrefDefault } : {}),
    ...(communities.length === 0 ? {} : { communities }),
    ...(largeCommunities.length === 0 ? {} : { largeCommunities }),
  }
}

/**
 * What is said of a path that leaves, by three signs, because routers differ in which they heed: the community of RFC 8326, which
 * is for eBGP and for routers that know it; the least LOCAL_PREF, which decides inside an AS; the worst MED, which decides between
 * paths of one neighbouring AS without any knowledge of the rest.
 */
export const leavingAttributes = (attributes: PathAttributes, { codec }: ExportContext): PathAttributes => ({
  ...attributes,
  med: medMax,
  ...(codec.sessionType === 'ibgp' ? { localPref: 0 } : {}),
  communities: [...new Set([...(attributes.communities ?? []), gracefulShutdown])].sort((a, b) => a - b),
})

/** Adds the link-bandwidth community (draft-ietf-idr-link-bandwidth) of one path. */
export const withLinkBandwidth = (attributes: PathAttributes, asn: Asn, bytesPerSecond: number): PathAttributes => ({
  ...attributes,
  extendedCommunities: [linkBandwidthCommunity(asn, bytesPerSecond)],
})

/** Whether all paths carry a link bandwidth; if one does not, routers ignore the others, so none is sent. */
export const hasLinkBandwidth = (paths: readonly Path[]): boolean =>
  paths.every(({ linkBandwidth }) => linkBandwidth !== undefined)

/**
 * The paths of `route` that this peer is to have, sorted by path id: those whose next hop is of the family of the prefix
 * (or of any, by RFC 8950), collapsed by next hop self, at most as many as the peer takes. Without ADD-PATH at most one.
 */
export function exportPaths(route: Route, family: Family, context: ExportContext): readonly Path[] {
  const isAnyFamily = context.codec.extendedNextHop?.has(family) === true
  if (context.nextHopSelf !== undefined)
    return selfPaths(route, ownNextHop(family, context.nextHopSelf, { isAnyFamily }))
  const eligible = isAnyFamily ? route.paths : sameFamily(route.paths, family)
  if (eligible.length <= 1) return eligible
  const limit = context.codec.addPathSend.has(family) ? context.pathsLimit.get(family) : 1
  return limit === undefined || limit === 0 ? eligible : selectPaths(eligible, limit, context.seed, route.prefix)
}

/** Our own address as a next hop in `family`. `isAnyFamily`: the router takes IPv6 next hops for IPv4 (RFC 8950). */
export function ownNextHop(
  family: Family,
  { ipv4, ipv6 }: NonNullable<ExportContext['nextHopSelf']>,
  { isAnyFamily }: { readonly isAnyFamily: boolean },
): Ip | undefined {
  if (family === 'ipv6-unicast') return ipv6
  return ipv4 ?? (isAnyFamily ? ipv6 : undefined)
}

function selfPaths(route: Route, nextHop: Ip | undefined): readonly Path[] {
  if (nextHop === undefined || route.paths.length === 0) return []
  const staying = route.paths.filter(({ leaving }) => leaving === undefined)
  // Behind us are those that stay; we leave with the last of them.
  const path: Path = { pathId: selfPathId, nextHop, ...(staying.length === 0 ? { leaving: true } : {}) }
  if (!hasLinkBandwidth(route.paths)) return [path]
  const behind = staying.length === 0 ? route.paths : staying
  return [{ ...path, linkBandwidth: behind.reduce((sum, { linkBandwidth = 0 }) => sum + linkBandwidth, 0) }]
}

function sameFamily(paths: readonly Path[], family: Family): readonly Path[] {
  const wanted = family === 'ipv4-unicast' ? 'IPv4' : 'IPv6'
  const fits = ({ nextHop }: Path): boolean => familyOf(nextHop) === wanted
  return paths.every(fits) ? paths : paths.filter(fits)
}
