// What is to be announced, before any session adapts it: the vocabulary between the planner and the speaker.
// Plain data: it crosses the border to the worker thread by structured clone.

import type { Community, LargeCommunity } from '../../net/community.ts'
import type { Ip } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'
import type { Origin } from '../packet/message.ts'

/** Attributes shared by every path of a route: any difference would take legs out of the router's ECMP group. */
export interface RouteAttributes {
  readonly origin: Origin
  /** MULTI_EXIT_DISC; absent = not sent. */
  readonly med?: number
  /** LOCAL_PREF on iBGP sessions; absent = 100. Never sent on eBGP. */
  readonly localPref?: number
  /** How many times the local AS is prepended beyond the one that eBGP demands. */
  readonly prepend: number
  /** Sorted, without duplicates. */
  readonly communities: readonly Community[]
  readonly largeCommunities: readonly LargeCommunity[]
}

/** One next hop of a route. */
export interface Path {
  /** 1 .. 2^32-1; a stable function of the next hop, equal in every replica (RFC 7911). */
  readonly pathId: number
  readonly nextHop: Ip
  /** Bytes per second for the link-bandwidth community; set on all paths of a route or on none. */
  readonly linkBandwidth?: number
  /** The next hop is about to go: routers are to prefer the others, and to use this one while there is no other (RFC 8326). */
  readonly leaving?: true
}

/** A prefix with its next hops. Never without a path: then the route does not exist. */
export interface Route {
  readonly prefix: Prefix
  readonly attributes: RouteAttributes
  /** Sorted by pathId, unique. */
  readonly paths: readonly Path[]
}
