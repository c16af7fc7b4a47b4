// The BGP messages as plain values, apart from their wire form: what the codec produces and accepts, what the state machine
// and the RIB speak. Field names follow the RFCs; anything not understood keeps its bytes, so that nothing is lost on the way.

import type { Community, ExtendedCommunity, LargeCommunity } from '../../net/community.ts'
import type { Ip, IpFamily } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'

/** The address families that Bellhop announces, named as in BgpPeer.spec.families. */
export type Family = 'ipv4-unicast' | 'ipv6-unicast'

/** AFI (IANA "Address Family Numbers") and SAFI (RFC 4760) as they stand on the wire; any pair may arrive. */
export interface AfiSafi {
  readonly afi: number
  readonly safi: number
}

export const afiSafiOf: Readonly<Record<Family, AfiSafi>> = {
  'ipv4-unicast': { afi: 1, safi: 1 },
  'ipv6-unicast': { afi: 2, safi: 1 },
}

/** The family we announce under this pair, or undefined for all others. */
export function familyOfAfiSafi({ afi, safi }: AfiSafi): Family | undefined {
  if (safi !== 1) return undefined
  return afi === 1 ? 'ipv4-unicast' : afi === 2 ? 'ipv6-unicast' : undefined
}

export const familyOfPrefixFamily = (family: IpFamily): Family => (family === 'IPv4' ? 'ipv4-unicast' : 'ipv6-unicast')

// ---------------------------------------------------------------------------------------------------------- OPEN

/** RFC 7911 section 4: what the sender of the capability is able to do. */
export type AddPathMode = 'receive' | 'send' | 'both'

export type Capability =
  | ({ readonly type: 'multiprotocol' } & AfiSafi)
  | { readonly type: 'route-refresh' }
  | { readonly type: 'enhanced-route-refresh' }
  | { readonly type: 'extended-message' }
  | {
      readonly type: 'extended-next-hop'
      readonly tuples: readonly { readonly afi: number; readonly safi: number; readonly nextHopAfi: number }[]
    }
  | {
      readonly type: 'graceful-restart'
      /** R: this speaker has restarted. */
      readonly restarting: boolean
      /** N (RFC 8538): NOTIFICATION and hold timer expiry keep routes. */
      readonly notification: boolean
      readonly restartTimeSeconds: number
      readonly families: readonly (AfiSafi & { readonly forwardingPreserved: boolean })[]
    }
  | {
      readonly type: 'long-lived-graceful-restart'
      readonly families: readonly (AfiSafi & {
        readonly forwardingPreserved: boolean
        readonly staleTimeSeconds: number
      })[]
    }
  | { readonly type: 'four-octet-as'; readonly asn: number }
  | { readonly type: 'add-path'; readonly families: readonly (AfiSafi & { readonly mode: AddPathMode })[] }
  | { readonly type: 'paths-limit'; readonly families: readonly (AfiSafi & { readonly limit: number })[] }
  | { readonly type: 'role'; readonly role: number }
  | { readonly type: 'fqdn'; readonly hostname: string; readonly domain: string }
  | { readonly type: 'software-version'; readonly version: string }
  | { readonly type: 'unknown'; readonly code: number; readonly bytes: Uint8Array }

export interface OpenMessage {
  readonly type: 'OPEN'
  readonly version: number
  /** The two-octet My Autonomous System field as it stands; AS_TRANS when the real one is in the four-octet-as capability. */
  readonly myAs: number
  readonly holdTimeSeconds: number
  /** Unsigned 32-bit; whether it is acceptable is for the state machine to say (RFC 6286). */
  readonly bgpIdentifier: number
  readonly capabilities: readonly Capability[]
}

// -------------------------------------------------------------------------------------------------------- UPDATE

/** One NLRI entry. `pathId` is present exactly when ADD-PATH was negotiated for the family in that direction (RFC 7911). */
export interface Nlri {
  readonly prefix: Prefix
  readonly pathId?: number
}

export type Origin = 'IGP' | 'EGP' | 'INCOMPLETE'

export interface AsPathSegment {
  readonly type: 'AS_SET' | 'AS_SEQUENCE' | 'AS_CONFED_SEQUENCE' | 'AS_CONFED_SET'
  readonly asns: readonly number[]
}

/**
 * MP_REACH_NLRI (RFC 4760 section 3). Of a family that the session does not have nothing is read: `raw` holds what follows
 * AFI and SAFI, and the lists are empty.
 */
export interface MpReach extends AfiSafi {
  /** One address, or a global and a link-local one (RFC 2545). */
  readonly nextHops: readonly Ip[]
  readonly nlri: readonly Nlri[]
  readonly raw?: Uint8Array
}

/** MP_UNREACH_NLRI (RFC 4760 section 4), `raw` as in `MpReach`. No NLRI: End-of-RIB for that family (RFC 4724). */
export interface MpUnreach extends AfiSafi {
  readonly withdrawn: readonly Nlri[]
  readonly raw?: Uint8Array
}

export interface UnknownAttribute {
  readonly flags: number
  readonly code: number
  readonly bytes: Uint8Array
}

/**
 * Path attributes by name; an absent one was not in the message. AS numbers are whole: AS4_PATH and AS4_AGGREGATOR exist on
 * the wire only, where the codec takes them apart and together (RFC 6793).
 */
export interface PathAttributes {
  readonly origin?: Origin
  readonly asPath?: readonly AsPathSegment[]
  readonly nextHop?: Ip
  readonly med?: number
  readonly localPref?: number
  readonly atomicAggregate?: true
  readonly aggregator?: { readonly asn: number; readonly address: Ip }
  readonly communities?: readonly Community[]
  readonly largeCommunities?: readonly LargeCommunity[]
  readonly extendedCommunities?: readonly ExtendedCommunity[]
  readonly originatorId?: number
  readonly clusterList?: readonly number[]
  readonly onlyToCustomer?: number
  readonly mpReach?: MpReach
  readonly mpUnreach?: MpUnreach
  /** By ascending code; optional ones, for others end the session. */
  readonly unknown?: readonly UnknownAttribute[]
}

export interface UpdateMessage {
  readonly type: 'UPDATE'
  /** IPv4 unicast only; other families are in `attributes.mpUnreach`. */
  readonly withdrawn: readonly Nlri[]
  readonly attributes: PathAttributes
  /** IPv4 unicast only; other families are in `attributes.mpReach`. */
  readonly nlri: readonly Nlri[]
}

// ------------------------------------------------------------------------------------------------ the other three

export interface KeepaliveMessage {
  readonly type: 'KEEPALIVE'
}

export interface NotificationMessage {
  readonly type: 'NOTIFICATION'
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
}

export interface RouteRefreshMessage extends AfiSafi {
  readonly type: 'ROUTE-REFRESH'
  /** 0 request, 1 BoRR, 2 EoRR (RFC 7313); others are to be ignored. */
  readonly subtype: number
}

export type BgpMessage = OpenMessage | UpdateMessage | KeepaliveMessage | NotificationMessage | RouteRefreshMessage

// ------------------------------------------------------------------------------------------------- decoding context

/** What a decoder and an encoder must know of the session: the outcome of the two OPENs. */
export interface SessionCodec {
  /** Both sides sent the four-octet-as capability (RFC 6793): AS_PATH and AGGREGATOR carry four octets. */
  readonly fourOctetAs: boolean
  readonly sessionType: 'ebgp' | 'ibgp'
  /** Families whose NLRI carry a path id in the messages we receive / send (RFC 7911). */
  readonly addPathReceive: ReadonlySet<Family>
  readonly addPathSend: ReadonlySet<Family>
  /** Families both sides announced by capability 1; IPv4 unicast alone when a side announced none. */
  readonly families: ReadonlySet<Family>
  /** Families for which both sides announced that the next hop may be an IPv6 address (RFC 8950). Absent = none. */
  readonly extendedNextHop?: ReadonlySet<Family>
  /** The peer sent the enhanced-route-refresh capability: a BoRR or EoRR of the wrong length is an error 7/1 (RFC 7313). */
  readonly enhancedRouteRefresh?: boolean
  /** Longest UPDATE, NOTIFICATION and ROUTE-REFRESH, header included: 4096, or 65535 (RFC 8654), by direction. */
  readonly messageBytesMaxReceive: number
  readonly messageBytesMaxSend: number
}

/** The codec of a session before its OPENs were exchanged. */
export const openingCodec: SessionCodec = {
  fourOctetAs: false,
  sessionType: 'ebgp',
  addPathReceive: new Set(),
  addPathSend: new Set(),
  families: new Set(['ipv4-unicast']),
  messageBytesMaxReceive: 4096,
  messageBytesMaxSend: 4096,
}

/** An error that ends the session: what the NOTIFICATION must say, and what an operator should read. */
export interface SessionError {
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
  /** For people: what was wrong, with the values. */
  readonly reason: string
}

/** RFC 7606 section 2, from mild to severe. The worst of a message's issues decides. */
export type Treatment = 'attribute-discard' | 'treat-as-withdraw' | 'session-reset'

export interface UpdateIssue {
  readonly treatment: Treatment
  /** Path attribute type code, when one is to blame. */
  readonly attribute?: number
  /** RFC and section that asks for the treatment. */
  readonly source: string
  readonly reason: string
}
