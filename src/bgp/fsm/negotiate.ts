// What two OPENs agree on: a pure function of the one we sent, the one we received and the configuration. Here and nowhere
// else is decided how a session's messages are encoded, so that sender, receiver and status all read one value.

import { type RouterId, routerIdFromNumber } from '../../net/asn.ts'
import { must } from '../../runtime/result.ts'
import type { AddPathMode, AfiSafi, Capability, Family, OpenMessage, SessionCodec } from '../packet/message.ts'
import { afiSafiOf, familyOfAfiSafi } from '../packet/message.ts'
import type { SessionConfig } from './session.ts'

export interface Negotiated {
  readonly codec: SessionCodec
  /** 0 = neither Hold nor Keepalive timer runs (RFC 4271 section 4.2). */
  readonly holdTimeSeconds: number
  readonly keepaliveSeconds: number
  /** In our configured order. */
  readonly families: readonly Family[]
  /** At most this many paths a prefix in this family (draft-ietf-idr-add-paths-limit); absent = no limit was given. */
  readonly pathsLimit: ReadonlyMap<Family, number>
  readonly routeRefresh: boolean
  /** RFC 7313: refreshes are bracketed by BoRR and EoRR. */
  readonly enhancedRouteRefresh: boolean
  readonly gracefulRestart?: GracefulRestart
  readonly peerRouterId: RouterId
  /** From the fqdn capability. */
  readonly peerHostname?: string
}

/** Present when both sides sent the capability (RFC 4724). */
export interface GracefulRestart {
  /** The peer keeps our routes for this long when we restart: what we asked for. */
  readonly restartTimeSeconds: number
  /** Both sent the N bit (RFC 8538): NOTIFICATION and hold timer expiry keep routes too. */
  readonly notification: boolean
  /** The peer itself has restarted. */
  readonly peerRestarting: boolean
}

type CapabilityOf<T extends Capability['type']> = Extract<Capability, { readonly type: T }>

/** All instances of one capability in an OPEN: RFC 5492 allows several, with values that add up. */
export function capabilitiesOf<T extends Capability['type']>(open: OpenMessage, type: T): readonly CapabilityOf<T>[] {
  return open.capabilities.filter((capability): capability is CapabilityOf<T> => capability.type === type)
}

const has = (open: OpenMessage, type: Capability['type']): boolean => capabilitiesOf(open, type).length > 0

/** The AS number of the OPEN's sender: the four-octet one where it is given (RFC 6793 section 4.1). */
export const asnOfOpen = (open: OpenMessage): number => capabilitiesOf(open, 'four-octet-as')[0]?.asn ?? open.myAs

/** Families announced by capability 1; IPv4 unicast alone when there is none (RFC 4760 section 8). */
export function familiesOf(open: OpenMessage): ReadonlySet<Family> {
  const announced = capabilitiesOf(open, 'multiprotocol')
  if (announced.length === 0) return new Set(['ipv4-unicast'])
  return new Set(announced.map(familyOfAfiSafi).filter((family) => family !== undefined))
}

/** Families in which both announced them, in the order of our configuration. */
export const commonFamilies = (sent: OpenMessage, received: OpenMessage, config: SessionConfig): readonly Family[] =>
  config.families.filter((family) => familiesOf(sent).has(family) && familiesOf(received).has(family))

/** What the sender of the OPEN can do with path ids in a family; the first tuple of several wins (RFC 7911 section 4). */
export function addPathModeOf(open: OpenMessage, family: Family): AddPathMode | undefined {
  return capabilitiesOf(open, 'add-path')
    .flatMap((capability) => capability.families)
    .find((tuple) => sameFamily(tuple, family))?.mode
}

const sameFamily = (tuple: AfiSafi, family: Family): boolean =>
  tuple.afi === afiSafiOf[family].afi && tuple.safi === afiSafiOf[family].safi

const sends = (mode: AddPathMode | undefined): boolean => mode === 'send' || mode === 'both'
const receives = (mode: AddPathMode | undefined): boolean => mode === 'receive' || mode === 'both'

/** Whether the sender of the OPEN can handle IPv6 next hops in an IPv4 family (RFC 8950 section 4). */
const hasIpv6NextHop = (open: OpenMessage, family: Family): boolean =>
  family === 'ipv4-unicast' &&
  capabilitiesOf(open, 'extended-next-hop')
    .flatMap((capability) => capability.tuples)
    .some((tuple) => sameFamily(tuple, family) && tuple.nextHopAfi === afiSafiOf['ipv6-unicast'].afi)

const messageBytesMax = 4096
const extendedMessageBytesMax = 65535

/**
 * The session that follows from two valid OPENs (`validateOpen` has accepted `received`). RFC 4271 section 4.2 (hold time),
 * 6793 (AS numbers), 4760 (families), 8950 (IPv6 next hops), 7911 (path ids, by family and direction), 2918 and 7313 (refresh), 4724 and 8538
 * (graceful restart), 8654 (message length, by direction).
 */
export function negotiate(sent: OpenMessage, received: OpenMessage, config: SessionConfig): Negotiated {
  const families = commonFamilies(sent, received, config)
  const holdTimeSeconds = Math.min(sent.holdTimeSeconds, received.holdTimeSeconds)
  const hostname = capabilitiesOf(received, 'fqdn')[0]?.hostname
  const gracefulRestart = negotiateGracefulRestart(sent, received)
  return {
    codec: {
      fourOctetAs: has(sent, 'four-octet-as') && has(received, 'four-octet-as'),
      sessionType: config.localAsn === config.peerAsn ? 'ibgp' : 'ebgp',
      addPathReceive: new Set(
        families.filter((f) => receives(addPathModeOf(sent, f)) && sends(addPathModeOf(received, f))),
      ),
      addPathSend: new Set(
        families.filter((f) => sends(addPathModeOf(sent, f)) && receives(addPathModeOf(received, f))),
      ),
      families: new Set(families),
      extendedNextHop: new Set(families.filter((f) => hasIpv6NextHop(sent, f) && hasIpv6NextHop(received, f))),
      enhancedRouteRefresh: has(received, 'enhanced-route-refresh'),
      messageBytesMaxReceive: has(sent, 'extended-message') ? extendedMessageBytesMax : messageBytesMax,
      messageBytesMaxSend: has(received, 'extended-message') ? extendedMessageBytesMax : messageBytesMax,
    },
    holdTimeSeconds,
    keepaliveSeconds: holdTimeSeconds === 0 ? 0 : Math.min(config.keepaliveSeconds, holdTimeSeconds / 3),
    families,
    pathsLimit: pathsLimitOf(received, families),
    routeRefresh: has(sent, 'route-refresh') && has(received, 'route-refresh'),
    enhancedRouteRefresh: has(sent, 'enhanced-route-refresh') && has(received, 'enhanced-route-refresh'),
    ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
    peerRouterId: must(routerIdFromNumber(received.bgpIdentifier)),
    ...(hostname === undefined ? {} : { peerHostname: hostname }),
  }
}

function negotiateGracefulRestart(sent: OpenMessage, received: OpenMessage): GracefulRestart | undefined {
  const ours = capabilitiesOf(sent, 'graceful-restart').at(-1)
  // RFC 4724 section 3: of several instances the last one counts.
  const theirs = capabilitiesOf(received, 'graceful-restart').at(-1)
  if (ours === undefined || theirs === undefined) return undefined
  return {
    restartTimeSeconds: ours.restartTimeSeconds,
    notification: ours.notification && theirs.notification,
    peerRestarting: theirs.restarting,
  }
}

function pathsLimitOf(received: OpenMessage, families: readonly Family[]): ReadonlyMap<Family, number> {
  const limits = new Map<Family, number>()
  for (const { afi, safi, limit } of capabilitiesOf(received, 'paths-limit').flatMap((c) => c.families)) {
    const family = familyOfAfiSafi({ afi, safi })
    // A limit of 0 means nothing in the draft; taking it for "none at all" would withdraw everything over a typo.
    if (family !== undefined && families.includes(family) && limit > 0 && !limits.has(family)) limits.set(family, limit)
  }
  return limits
}
