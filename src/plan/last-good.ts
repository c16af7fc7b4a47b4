// Where planning remembers beside last-heard.ts: what objects and Secrets said when last they made sense. A BgpPeer whose Secret
// vanishes, or an object that is edited into nonsense, goes on as it was for as long as this process lives: a mistake costs no session
// and no VIP. What is deleted is meant to go, but for a VipPool that VIPs still come from. A new process knows nothing of all this.

import type { PeerConfig, PeerRange } from '../bgp/speaker/protocol.ts'
import type { BgpPeer, ClusterChanges, ClusterView, Kind, ObjectMeta, VipPool } from '../k8s/objects.ts'
import type { RouterId } from '../net/asn.ts'
import { nextHopAnnotation } from './eligibility.ts'
import { createLastHeard } from './last-heard.ts'
import { bgpAsnAnnotation, bgpSourceAddressAnnotation, nodeIdentity, routerIdAnnotation } from './node-speaker.ts'
import { type PlannedPeers, planPeers } from './peers.ts'
import { createPlanner, type Planner, toItsEnd } from './plan.ts'
import { same } from './same.ts'
import type { Kept, LastGoodPeers, PeerRefusal, PlanContext } from './types.ts'

/** A planner for what runs for long: from the cluster as it is, and from what it last was where it is nonsense. */
export function createFailStaticPlanner(): Planner {
  const planner = createPlanner()
  const lastHeard = createLastHeard()
  let memory = nothingKnown
  const planning: Planner['planning'] = function* (live, liveChanges, context) {
    const { view, changes } = lastHeard.see(live, liveChanges, context.silence)
    if (concerns(changes, context, memory)) memory = settle(memory, view, context)
    const { standIns, lastGood, routerId, kept } = memory
    const step = yield* planner.planning(standIns === undefined ? view : { ...view, ...standIns }, changes, {
      ...context,
      lastGood,
      ...(routerId === undefined ? {} : { defaultRouterId: context.defaultRouterId ?? routerId }),
    })
    return kept === undefined ? step : { ...step, plan: { ...step.plan, kept } }
  }
  return { planning, plan: (view, changes, context) => toItsEnd(planning(view, changes, context)) }
}

type Objects = Kept['objects']

interface Memory {
  /** As last they could be read, of objects that are there, and of VipPools that VIPs come from. */
  readonly readable: Objects
  /** BgpPeers as they last had a configuration. */
  readonly peers: ReadonlyMap<string, KnownPeer>
  readonly routerId?: RouterId
  /** At an agent: of its Node, as they last made sense. */
  readonly identity?: Readonly<Record<string, string>>
  /** What counts instead of the view's; absent = the view as it is. */
  readonly standIns?: Partial<ClusterView>
  readonly lastGood: LastGoodPeers
  readonly kept?: Kept
}

interface KnownPeer {
  readonly value: BgpPeer
  readonly password?: string
  readonly bfdKey?: string
}

const nothingKnown: Memory = {
  readable: { bgpConfs: new Map(), bgpPeers: new Map(), vipPools: new Map(), bgpPolicies: new Map() },
  peers: new Map(),
  lastGood: { incumbents: new Set(), secrets: new Map() },
}

const remembered: readonly Kind[] = ['BgpConf', 'BgpPeer', 'VipPool', 'BgpPolicy', 'Secret']

function concerns(changes: ClusterChanges | undefined, context: PlanContext, memory: Memory): boolean {
  if (changes === undefined || remembered.some((kind) => changes.has(kind))) return true
  if (context.speakerNode !== undefined && changes.has('Node')) return true
  if (routerIdOf(context, memory) !== memory.routerId) return true
  // The last VIP of a pool that is gone may have gone, too.
  return memory.standIns !== undefined && changes.has('Vip')
}

// A node whose IPv4 address is out of sight for a moment is not one without.
const routerIdOf = ({ defaultRouterId, madeRouterId }: PlanContext, memory: Memory): RouterId | undefined =>
  defaultRouterId ?? memory.routerId ?? madeRouterId

function settle(memory: Memory, view: ClusterView, context: PlanContext): Memory {
  const conf = recall('BgpConf', memory.readable.bgpConfs, view.bgpConfs, view)
  const peer = recall('BgpPeer', memory.readable.bgpPeers, view.bgpPeers, view)
  const policy = recall('BgpPolicy', memory.readable.bgpPolicies, view.bgpPolicies, view)
  const pool = recall('VipPool', memory.readable.vipPools, view.vipPools, view)
  const gone = poolsInUse(memory.readable.vipPools, view)
  const node = ownNode(memory, view, context)
  const objects: Objects = {
    bgpConfs: conf.standIns,
    bgpPeers: peer.standIns,
    vipPools: pool.standIns,
    bgpPolicies: policy.standIns,
  }
  const standIns: Partial<ClusterView> = {
    ...(conf.standIns.size === 0 ? {} : { bgpConfs: new Map([...view.bgpConfs, ...conf.standIns]) }),
    ...(peer.standIns.size === 0 ? {} : { bgpPeers: new Map([...view.bgpPeers, ...peer.standIns]) }),
    ...(policy.standIns.size === 0 ? {} : { bgpPolicies: new Map([...view.bgpPolicies, ...policy.standIns]) }),
    ...(pool.standIns.size + gone.size === 0
      ? {}
      : { vipPools: new Map([...view.vipPools, ...pool.standIns, ...gone]) }),
    ...(node.standIn === undefined ? {} : { nodes: node.standIn }),
  }
  const routerId = routerIdOf(context, memory)
  const settled = settlePeers(
    memory,
    { ...view, ...standIns },
    routerId === undefined ? context : { ...context, defaultRouterId: routerId },
  )
  const stood = { ...standIns, ...(settled.replaced === undefined ? {} : { bgpPeers: settled.replaced }) }
  const peers = [...settled.kept, ...(node.kept === undefined ? [] : keptByNode(settled.planned, node.kept))]
  const isAnythingKept = peers.length > 0 || Object.values(objects).some(({ size }) => size > 0)
  return {
    readable: {
      bgpConfs: conf.readable,
      bgpPeers: peer.readable,
      bgpPolicies: policy.readable,
      vipPools: new Map([...pool.readable, ...gone]),
    },
    peers: settled.known,
    lastGood: settled.lastGood,
    ...(routerId === undefined ? {} : { routerId }),
    ...(node.identity === undefined ? {} : { identity: node.identity }),
    ...(Object.keys(stood).length === 0 ? {} : { standIns: stood }),
    ...(isAnythingKept ? { kept: { peers, objects } } : {}),
  }
}

// --------------------------------------------------------------------------------------------------------- objects

interface Recalled<V> {
  readonly readable: ReadonlyMap<string, V>
  readonly standIns: ReadonlyMap<string, V>
}

/** Objects that are refused now stand in as they were, if they are the same objects still. */
function recall<V extends { readonly meta: ObjectMeta }>(
  kind: Kind,
  before: ReadonlyMap<string, V>,
  now: ReadonlyMap<string, V>,
  { refusals }: ClusterView,
): Recalled<V> {
  const readable = new Map(now)
  const standIns = new Map<string, V>()
  for (const refusal of refusals) {
    const { name, uid } = refusal.meta
    const last = refusal.kind === kind && !now.has(name) ? before.get(name) : undefined
    if (last === undefined || last.meta.uid !== uid) continue
    readable.set(name, last)
    standIns.set(name, {
      ...last,
      meta: refusal.meta,
      ...(refusal.status === undefined ? {} : { status: refusal.status }),
    })
  }
  return { readable, standIns }
}

/** Pools that are gone and that Vips still name: allocation takes nothing away for that, and neither does a route change its ways. */
function poolsInUse(before: ReadonlyMap<string, VipPool>, view: ClusterView): ReadonlyMap<string, VipPool> {
  const isRefused = (name: string): boolean =>
    view.refusals.some(({ kind, meta }) => kind === 'VipPool' && meta.name === name)
  const gone = new Map([...before].filter(([name]) => !view.vipPools.has(name) && !isRefused(name)))
  if (gone.size === 0) return gone
  const named = new Set([...view.vips.values()].map(({ pool }) => pool))
  return new Map([...gone].filter(([name]) => named.has(name)))
}

// ---------------------------------------------------------------------------------------------------- an agent's node

const identityAnnotations = [bgpSourceAddressAnnotation, routerIdAnnotation, bgpAsnAnnotation, nextHopAnnotation]

interface OwnNode {
  readonly identity?: Readonly<Record<string, string>>
  readonly standIn?: ClusterView['nodes']
  /** What is wrong with its annotations. */
  readonly kept?: string
}

function ownNode(memory: Memory, view: ClusterView, { speakerNode }: PlanContext): OwnNode {
  const node = speakerNode === undefined ? undefined : view.nodes.get(speakerNode)
  if (node === undefined) return {}
  const { meta } = node
  const written = Object.entries(meta.annotations)
  const identity = nodeIdentity(view, meta.name)
  if (identity.ok) return { identity: Object.fromEntries(written.filter(([key]) => identityAnnotations.includes(key))) }
  if (memory.identity === undefined) return {}
  const others = Object.fromEntries(written.filter(([key]) => !identityAnnotations.includes(key)))
  const annotations = { ...others, ...memory.identity }
  return {
    identity: memory.identity,
    standIn: new Map(view.nodes).set(meta.name, { ...node, meta: { ...meta, annotations } }),
    kept: identity.error,
  }
}

const keptByNode = ({ configs }: PlannedPeers, message: string): readonly PeerRefusal[] =>
  configs.map(({ name }) => ({ peer: name, reason: 'NodeAnnotation', message }))

// ----------------------------------------------------------------------------------------------------------- peers

/** Reasons of which the peer as it was knows nothing. Without a BgpConf, or a router id, there is nothing to keep. */
const curable: ReadonlySet<PeerRefusal['reason']> = new Set([
  'SecretMissing',
  'PasswordInvalid',
  'AddressInvalid',
  'AddressConflict',
  'TtlConflict',
])

interface SettledPeers {
  readonly planned: PlannedPeers
  readonly known: ReadonlyMap<string, KnownPeer>
  readonly lastGood: LastGoodPeers
  readonly kept: readonly PeerRefusal[]
  /** All BgpPeers, where some of them count as they were. */
  readonly replaced?: ReadonlyMap<string, BgpPeer>
}

function settlePeers(memory: Memory, view: ClusterView, context: PlanContext): SettledPeers {
  const known = new Map(
    [...memory.peers].filter(([name, { value }]) => view.bgpPeers.get(name)?.meta.uid === value.meta.uid),
  )
  const planned = planWith(view, context, known)
  const replaced = new Map<string, BgpPeer>()
  for (const { peer, reason } of planned.refusals) {
    const now = view.bgpPeers.get(peer)
    const last = curable.has(reason) ? known.get(peer)?.value : undefined
    if (now !== undefined && last !== undefined) replaced.set(peer, { ...last, meta: now.meta, status: now.status })
  }
  if (replaced.size === 0)
    return {
      planned,
      known: learn(known, view, planned),
      lastGood: lastGoodOf(known, view),
      kept: planned.kept ?? [],
    }
  const bgpPeers = new Map([...view.bgpPeers, ...replaced])
  const again = planWith({ ...view, bgpPeers }, context, known)
  const isRefused = (name: string): boolean => again.refusals.some(({ peer }) => peer === name)
  return {
    planned: again,
    known: learn(known, { ...view, bgpPeers }, again),
    lastGood: lastGoodOf(known, { ...view, bgpPeers }),
    kept: [
      ...(again.kept ?? []).filter(({ peer }) => !replaced.has(peer)),
      ...planned.refusals.filter(({ peer }) => replaced.has(peer) && !isRefused(peer)),
    ],
    replaced: bgpPeers,
  }
}

// Which table a peer hears is nobody's concern here.
const planWith = (view: ClusterView, context: PlanContext, known: ReadonlyMap<string, KnownPeer>): PlannedPeers =>
  planPeers(view, { ...context, lastGood: lastGoodOf(known, view) }, () => '')

function lastGoodOf(known: ReadonlyMap<string, KnownPeer>, view: ClusterView): LastGoodPeers {
  const incumbents = [...known].flatMap(([name, { value }]) => {
    const now = view.bgpPeers.get(name)
    return now !== undefined && same(placeOf(value), placeOf(now)) ? [name] : []
  })
  return { incumbents: new Set(incumbents), secrets: known }
}

/** What tells one session from another. */
const placeOf = ({ address, zone, addressRange, port, sourceAddress, passive }: BgpPeer): unknown => ({
  ...{ address, zone, addressRange, port, sourceAddress, passive },
})

function learn(
  before: ReadonlyMap<string, KnownPeer>,
  view: ClusterView,
  { configs, ranges, atNodes }: PlannedPeers,
): ReadonlyMap<string, KnownPeer> {
  const known = new Map(before)
  for (const config of [...configs, ...ranges, ...atNodes]) {
    const value = view.bgpPeers.get(config.name)
    if (value !== undefined) known.set(config.name, { value, ...secretsOf(config) })
  }
  return known
}

function secretsOf({ password, bfd }: Pick<PeerConfig | PeerRange, 'password' | 'bfd'>): Omit<KnownPeer, 'value'> {
  const bfdKey = bfd?.authentication?.password
  return { ...(password === undefined ? {} : { password }), ...(bfdKey === undefined ? {} : { bfdKey }) }
}
