// The cluster as parsed values: what allocation and planning read. Every field was checked once at the edge (k8s/schemas),
// so nothing below this line handles strings that might not be addresses. Pure types: imported by the pure folders.

import type { Asn, RouterId } from '../net/asn.ts'
import type { ParsedCommunity } from '../net/community.ts'
import type { Ip, IpFamily } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'
import type { IpRange } from '../net/range.ts'
import type { Brand } from '../runtime/brand.ts'

/** `namespace/name`. */
export type NamespacedName = Brand<string, 'NamespacedName'>

/** The key of a namespaced object. */
export const namespacedName = (namespace: string, name: string): NamespacedName =>
  `${namespace}/${name}` as NamespacedName

export interface ObjectMeta {
  /** Empty for cluster-scoped objects. */
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly generation: number
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** Milliseconds since 1970. */
  readonly creationTimestampMs: number
  /** Being deleted, waiting for finalizers. */
  readonly deleting: boolean
  readonly finalizers: readonly string[]
}

/** metav1.Condition. */
export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
  readonly observedGeneration?: number
  readonly lastTransitionTime?: string
}

/** metav1.LabelSelector. Absent is not the same as empty: an empty selector matches everything. */
export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>
  readonly matchExpressions: readonly {
    readonly key: string
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
    readonly values: readonly string[]
  }[]
}

/** Kubernetes semantics: NotIn and DoesNotExist also hold where the label is absent. */
export function matchesSelector(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  return (
    Object.entries(selector.matchLabels).every(([key, value]) => labels[key] === value) &&
    selector.matchExpressions.every(({ key, operator, values }) => {
      const value = labels[key]
      switch (operator) {
        case 'In':
          return value !== undefined && values.includes(value)
        case 'NotIn':
          return value === undefined || !values.includes(value)
        case 'Exists':
          return value !== undefined
        case 'DoesNotExist':
          return value === undefined
        default:
          return false
      }
    })
  )
}

// ------------------------------------------------------------------------------------------------ built-in kinds

export type Protocol = 'TCP' | 'UDP' | 'SCTP'

export interface ServicePort {
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
  /** 0 = none allocated. */
  readonly nodePort: number
}

export interface Service {
  readonly meta: ObjectMeta
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
  readonly loadBalancerClass?: string
  /** Without `None`. */
  readonly clusterIPs: readonly Ip[]
  readonly ipFamilies: readonly IpFamily[]
  readonly ipFamilyPolicy: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack'
  readonly externalTrafficPolicy: 'Cluster' | 'Local'
  /** Where every node answers whether it has local endpoints; 0 = nowhere. */
  readonly healthCheckNodePort: number
  readonly ports: readonly ServicePort[]
  readonly selector: Readonly<Record<string, string>>
  /** As the user wrote it; whether it is an address is for allocation to say. */
  readonly loadBalancerIP?: string
  /** Clients that may come (`loadBalancerSourceRanges`, or the older annotation); empty lets everybody in. */
  readonly sourceRanges: readonly Prefix[]
  readonly ingress: readonly { readonly ip: Ip; readonly ipMode?: 'VIP' | 'Proxy' }[]
  /** It carries the finalizer of load balancers, and by the API server's own account a leader of ours put it there. */
  readonly finalizedByUs?: true
  readonly conditions: readonly Condition[]
}

export interface Endpoint {
  readonly address: Ip
  readonly nodeName?: string
  /** Absent in the object counts as true. */
  readonly ready: boolean
  /** Absent counts as `ready`. */
  readonly serving: boolean
  readonly terminating: boolean
}

export interface EndpointSlice {
  readonly meta: ObjectMeta
  readonly service: NamespacedName
  readonly addressType: IpFamily
  readonly endpoints: readonly Endpoint[]
}

export interface Node {
  readonly meta: ObjectMeta
  /** InternalIP addresses, in the order of the object. */
  readonly internalIPs: readonly Ip[]
  /** Condition Ready is not False or Unknown (absent counts as ready). */
  readonly ready: boolean
  /** Condition Ready is Unknown, which is the word of the node controller: since when, by its clock, in milliseconds since 1970. */
  readonly silentSinceMs?: number
  readonly networkUnavailable: boolean
}

export interface Namespace {
  readonly meta: ObjectMeta
}

/** Only Secrets of Bellhop's own namespace. Values are bytes; never logged. */
export interface Secret {
  readonly meta: ObjectMeta
  readonly data: ReadonlyMap<string, Uint8Array>
}

// ---------------------------------------------------------------------------------------------------- our kinds

export interface GracefulRestartSpec {
  readonly enabled: boolean
  readonly restartSeconds: number
  readonly longLivedSeconds: number
}

export interface BgpConf {
  readonly meta: ObjectMeta
  readonly asn: Asn
  readonly routerId?: RouterId
  readonly listenPort: number
  readonly listenAddresses: readonly Ip[]
  /** Where BgpPeers dial although another daemon has that port: led to listenPort. Absent = nothing is led anywhere. */
  readonly redirectFromPort?: number
  readonly gracefulRestart: GracefulRestartSpec
  readonly origin: 'IGP' | 'INCOMPLETE'
  /** 0 = no cap. */
  readonly maxNextHops: number
  readonly withdrawGuard: { readonly percent: number; readonly minimumVips: number }
  /** For how long a drained node is announced as leaving before it is withdrawn. */
  readonly drainGraceSeconds: number
  /** Names usable in BgpPolicy. */
  readonly communities: ReadonlyMap<string, ParsedCommunity>
  readonly status: Readonly<Record<string, unknown>>
}

export interface BgpPeer {
  readonly meta: ObjectMeta
  /** A router; exactly one of `address` and `addressRange` is there. */
  readonly address?: Ip
  readonly zone?: string
  /** All routers that dial in from here. */
  readonly addressRange?: Prefix
  /** With `addressRange`: sessions at once. */
  readonly maxSessions: number
  readonly asn: Asn
  readonly port: number
  readonly localAsn?: Asn
  readonly sourceAddress?: Ip
  readonly passwordSecretRef?: { readonly name: string; readonly key: string }
  readonly timers: {
    readonly holdSeconds: number
    readonly keepaliveSeconds: number
    readonly connectRetrySeconds: number
  }
  readonly ebgpMultihopTtl?: number
  readonly ttlSecurityHops?: number
  readonly bfd?: {
    readonly transmitMs: number
    readonly receiveMs: number
    readonly multiplier: number
    /** Keyed SHA1 (RFC 5880 section 6.7.4). */
    readonly authentication?: {
      readonly type: 'keyed-sha1' | 'meticulous-keyed-sha1'
      readonly keyId: number
      readonly secretRef: { readonly name: string; readonly key: string }
    }
  }
  readonly families: readonly ('ipv4-unicast' | 'ipv6-unicast')[]
  readonly addPath: 'auto' | 'require' | 'disabled'
  readonly gracefulRestart?: GracefulRestartSpec
  readonly nextHop: 'node' | 'self'
  readonly speaker: 'controller' | 'node'
  readonly nodeSelector: LabelSelector
  readonly passive: boolean
  readonly shutdown?: string
  readonly maxPrefixesIn: number
  /** As it stands in the object: what other replicas reported. */
  readonly status: Readonly<Record<string, unknown>>
}

export interface VipPool {
  readonly meta: ObjectMeta
  /** `addresses` without `exclude`, normalised. */
  readonly ranges: readonly IpRange[]
  readonly autoAssign: boolean
  readonly priority: number
  readonly avoidBuggyIPs: boolean
  readonly namespaces: readonly string[]
  readonly namespaceSelector?: LabelSelector
  readonly serviceSelector?: LabelSelector
  readonly sharing: 'None' | 'SameNamespace' | 'AnyNamespace'
  readonly holdSeconds: number
  readonly disabled: boolean
  readonly mode: 'bgp' | 'layer2'
  readonly layer2: { readonly interfaces: readonly string[]; readonly nodeSelector?: LabelSelector }
  readonly nextHops: 'Endpoints' | 'AllNodes'
  readonly endpointPolicy: 'Ready' | 'Serving'
  readonly status: Readonly<Record<string, unknown>>
}

/** A Service's claim on a Vip, by UID: a re-created Service of the same name is another one. */
export interface VipClaim {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly ports: readonly { readonly protocol: Protocol; readonly port: number }[]
  readonly shareKey: string
  /** Clients that may come to these ports, for agents that enforce it; absent lets everybody in. */
  readonly sourceRanges?: readonly Prefix[]
}

/** What is kept of a status that only its writer looks at: whether it says what it should, and since when its conditions do. */
export interface StatusDigest {
  /** The same for two statuses that say the same; empty for an empty one. See status-match.ts. */
  readonly fingerprint: string
  readonly conditions: readonly Condition[]
}

/** Who answers for a Vip of mode layer2 on the nodes' own link. The leader decides, and the agents follow. */
export interface VipLayer2 {
  readonly node: string
  readonly interface: string
  /** The node that answered before. Absent where nobody did: then the address is looked for on the link before it is taken. */
  readonly from?: string
}

/** A released address that waits for the same namespace/name to return (VipPool.spec.hold). `until` is an RFC 3339 time in the object. */
export interface VipHold {
  readonly namespace: string
  readonly name: string
  readonly untilMs: number
}

export interface Vip {
  readonly meta: ObjectMeta
  readonly address: Ip
  readonly pool: string
  /** Empty only while the address is on hold. */
  readonly services: readonly VipClaim[]
  readonly hold?: VipHold
  /** Absent = no node answers. */
  readonly layer2?: VipLayer2
  /** We write it for people and read it for nothing: of ten thousand of them, each with its next hops, this is enough. */
  readonly status: StatusDigest
}

export interface BgpPolicy {
  readonly meta: ObjectMeta
  readonly priority: number
  /** Empty = all. */
  readonly pools: readonly string[]
  readonly serviceSelector?: LabelSelector
  /** Empty = all. */
  readonly peers: readonly string[]
  /** Parsed, or a name to be looked up in BgpConf.communities. */
  readonly communities: readonly (ParsedCommunity | { readonly kind: 'name'; readonly value: string })[]
  readonly localPref?: number
  readonly med?: number
  readonly prepend: number
  readonly aggregationLength: { readonly ipv4: number; readonly ipv6: number }
  readonly linkBandwidth: 'None' | 'Endpoints'
  readonly announce: boolean
}

// ------------------------------------------------------------------------------------------------------ the view

export type Kind =
  | 'Service'
  | 'EndpointSlice'
  | 'Node'
  | 'Namespace'
  | 'Secret'
  | 'BgpConf'
  | 'BgpPeer'
  | 'VipPool'
  | 'Vip'
  | 'BgpPolicy'

/** An object that its schema let through and that makes no sense all the same. It is reported on its own status and else ignored. */
export interface ObjectRefusal {
  readonly kind: Kind
  readonly meta: ObjectMeta
  readonly problems: readonly { readonly path: string; readonly message: string }[]
  /** As it stands in the object, of kinds whose status several speakers share. */
  readonly status?: Readonly<Record<string, unknown>>
}

/**
 * The cluster at one moment, by key: `namespace/name` for namespaced kinds, `name` for the others.
 * The maps belong to the store and change when it does: read them within one turn, keep the values as long as you like.
 * A value that did not change keeps its identity, which is what the plan's memo relies on.
 */
export interface ClusterView {
  readonly services: ReadonlyMap<NamespacedName, Service>
  /** By Service. */
  readonly endpointSlices: ReadonlyMap<NamespacedName, readonly EndpointSlice[]>
  readonly nodes: ReadonlyMap<string, Node>
  readonly namespaces: ReadonlyMap<string, Namespace>
  readonly secrets: ReadonlyMap<string, Secret>
  readonly bgpConfs: ReadonlyMap<string, BgpConf>
  readonly bgpPeers: ReadonlyMap<string, BgpPeer>
  readonly vipPools: ReadonlyMap<string, VipPool>
  readonly vips: ReadonlyMap<string, Vip>
  readonly bgpPolicies: ReadonlyMap<string, BgpPolicy>
  readonly refusals: readonly ObjectRefusal[]
}

/** Keys that changed since the caller last asked, by kind; for EndpointSlice the key of its Service. */
export type ClusterChanges = ReadonlyMap<Kind, ReadonlySet<string>>
