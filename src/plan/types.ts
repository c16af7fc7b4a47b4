// The planner's result: everything the world should be, and the reason for everything that it is not.

import type { Route } from '../bgp/rib/route.ts'
import type { PeerConfig, PeerRange, TableName } from '../bgp/speaker/protocol.ts'
import type { ClusterView } from '../k8s/objects.ts'
import type { Layer2Node, TakeRefusal } from '../layer2/links.ts'
import type { Owner } from '../layer2/ownership.ts'
import type { Asn, RouterId } from '../net/asn.ts'
import type { Ip } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'
import type { ServiceClassRule } from '../vip/types.ts'
import type { Dataplane } from './dataplane.ts'
import type { DrainPhase } from './drain.ts'
import type { NodeEligibility } from './eligibility.ts'
import type { Layer2Place } from './layer2.ts'
import type { HealthChecks } from './objections.ts'
import type { Silence } from './silence.ts'

export type { ServiceClassRule } from '../vip/types.ts'

/** Facts that are not Kubernetes objects. */
export interface PlanContext {
  /** Which Services are ours. */
  readonly serviceClass: ServiceClassRule
  /** What our own liveness detection says of a node; absent = nothing, the Node's condition decides. */
  readonly nodeLiveness: ReadonlyMap<string, 'up' | 'down'>
  /** How far the drain of each node has come that is annotated so; absent = it has left. */
  readonly drains?: ReadonlyMap<string, DrainPhase>
  /** Of which nodes nothing is heard, and of which of them that is believed; absent = every Node's condition is. */
  readonly silence?: Silence
  /** What the agents say of their rules; absent = nobody is waited for. */
  readonly dataplane?: Dataplane
  /**
   * The nodes whose agents say that they could answer for VIPs of mode layer2; absent = nothing is known of any. A node of which
   * nothing new is known is the same value.
   */
  readonly layer2?: ReadonlyMap<string, Layer2Node>
  /** What the Services' own health checks say; absent = nothing. */
  readonly healthChecks?: HealthChecks
  /** Used where BgpConf names no router id: this replica's own IPv4 address. */
  readonly defaultRouterId?: RouterId
  /** Used where there was never one of those: made of the name of this replica's node, for clusters without IPv4. */
  readonly madeRouterId?: RouterId
  /** What BgpPeers were when last they made sense; absent = nothing is known. See last-good.ts. */
  readonly lastGood?: LastGoodPeers
  /** Whose sessions are planned: those of this node's agent (BgpPeers with `speaker: node`). Absent = those of the controllers. */
  readonly speakerNode?: string
}

/** By BgpPeer, of those that are still the same object. */
export interface LastGoodPeers {
  /** Peers that had a session at the address where they want it now. */
  readonly incumbents: ReadonlySet<string>
  readonly secrets: ReadonlyMap<string, { readonly password?: string; readonly bfdKey?: string }>
}

/** Why a VIP is announced nowhere. The names are condition reasons. */
export type NotAnnouncedReason =
  | 'NoService'
  | 'NoReadyEndpoints'
  | 'NoLocalEndpoints'
  | 'NoEligibleNode'
  | 'NoNodeAddress'
  | 'NoBgpConf'
  | 'NoPeer'
  | 'PolicyForbids'
  | 'NoAgent'
  /** Somebody is to answer for it on the link, and has not said that he does. */
  | 'NotAnsweredYet'
  | TakeRefusal['reason']

export interface PlannedNextHop {
  readonly node: string
  readonly address: Ip
  /** Endpoints that count on this node. */
  readonly endpoints: number
  /** Its node is drained: routers are to prefer the others, and it is withdrawn when the grace time is over. */
  readonly leaving?: true
}

/** A node that hosts a counting endpoint and is no next hop. */
export interface ExcludedNode {
  readonly node: string
  /** For operators: "carries the label node.kubernetes.io/exclude-from-external-load-balancers", ... */
  readonly because: string
}

/** How a VIP of mode layer2 is to be answered for. */
export interface Layer2Report {
  /** As the Vip object should say it; undefined = nobody is to answer. */
  readonly owner?: Owner
  /** The Vip object says so already. */
  readonly settled: boolean
  /** The owner says that it answers, or does not say such things at all. */
  readonly answered?: true
}

export interface VipReport {
  readonly vip: string
  readonly address: Ip
  readonly nextHops: readonly PlannedNextHop[]
  readonly excluded: readonly ExcludedNode[]
  /** Peers in whose table the VIP stands. */
  readonly peers: readonly string[]
  /** At a controller: peers with `speaker: node` that next hops of the VIP announce it to by themselves. Absent = none. */
  readonly nodePeers?: readonly string[]
  readonly refusal?: { readonly reason: NotAnnouncedReason; readonly message: string }
  /** Present in mode layer2, and while the Vip object still says that a node answers. */
  readonly layer2?: Layer2Report
}

/** A BgpPeer that has no session, and why. The names are condition reasons. */
export interface PeerRefusal {
  readonly peer: string
  readonly reason:
    | 'NoBgpConf'
    | 'NoRouterId'
    | 'SecretMissing'
    | 'PasswordInvalid'
    | 'AddressInvalid'
    | 'AddressConflict'
    | 'TtlConflict'
    | 'NodeAnnotation'
  readonly message: string
}

export interface Kept {
  /** BgpPeers whose sessions live on, and what would keep a process from opening them that starts now. */
  readonly peers: readonly PeerRefusal[]
  /** Objects that make no sense now, with what they said before and their present metadata and status. */
  readonly objects: Pick<ClusterView, 'bgpConfs' | 'bgpPeers' | 'vipPools' | 'bgpPolicies'>
}

/** One table's step from the plan before; `replace` when the table is new. */
export interface TableChange {
  readonly table: TableName
  readonly replace: boolean
  readonly upserts: readonly Route[]
  readonly withdrawals: readonly Prefix[]
}

export interface Plan {
  /** Absent without a usable BgpConf: then there are no sessions at all. */
  readonly speaker?: {
    readonly asn: Asn
    readonly routerId: RouterId
    readonly listenPort: number
    readonly listenAddresses: readonly Ip[]
  }
  readonly peers: readonly PeerConfig[]
  /** Networks from which routers connect to us. */
  readonly peerRanges: readonly PeerRange[]
  readonly peerRefusals: readonly PeerRefusal[]
  /** What counts as it was when last it made sense; absent = nothing does. See last-good.ts. */
  readonly kept?: Kept
  readonly tables: ReadonlyMap<TableName, ReadonlyMap<Prefix, Route>>
  /** The verdict on every node; another map when a Node changed. */
  readonly nodes: ReadonlyMap<string, NodeEligibility>
  /** Nodes whose agents know layer 2. */
  readonly layer2: ReadonlyMap<string, Layer2Place>
  readonly vips: ReadonlyMap<string, VipReport>
}

/** What changed between two plans of one planner. */
export interface PlanStep {
  readonly plan: Plan
  readonly tableChanges: readonly TableChange[]
  readonly droppedTables: readonly TableName[]
  /** Vips whose report is another value than before. */
  readonly changedVips: ReadonlySet<string>
}
