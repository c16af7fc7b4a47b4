// Everything about the cluster that is not about one VIP: the sessions and their tables, the policies, the verdict on every node.
// Surveyed once and then kept up by the node that changed, so that a heartbeat of one node out of a thousand costs one verdict.

import type { Family } from '../bgp/packet/message.ts'
import type { Path } from '../bgp/rib/route.ts'
import type { PeerConfig, TableName } from '../bgp/speaker/protocol.ts'
import {
  type BgpConf,
  type BgpPeer,
  type BgpPolicy,
  type ClusterChanges,
  type ClusterView,
  type LabelSelector,
  matchesSelector,
  type Node,
  type Service,
} from '../k8s/objects.ts'
import type { Ip, IpFamily } from '../net/ip.ts'
import type { ServiceClassRule } from '../vip/types.ts'
import { vipName } from '../vip/vip-name.ts'
import { byPriority, policyMatches, type RouteRules, routeRules } from './attributes.ts'
import { judgeNode, type NodeEligibility, sameEligibility } from './eligibility.ts'
import type { Layer2Place } from './layer2.ts'
import { pathIds } from './path-id.ts'
import { activeConf, noConfMessage, type PlannedPeers, planPeers } from './peers.ts'
import { same } from './same.ts'
import type { PlanContext, VipReport } from './types.ts'

/** A set of routes, and the peers that hear it. */
export interface Table {
  readonly name: TableName
  /** Absent = all nodes. */
  readonly nodeSelector?: LabelSelector
  /** The policies that speak to its peers, highest priority first. */
  readonly policies: readonly BgpPolicy[]
  readonly peers: readonly { readonly name: string; readonly families: readonly Family[] }[]
}

export interface Surroundings {
  readonly conf: BgpConf | undefined
  readonly serviceClass: ServiceClassRule
  readonly peers: PlannedPeers
  readonly tables: readonly Table[]
  /** At a controller: what the agents of nodes announce by themselves, for the reports. */
  readonly nodeTables: readonly Table[]
  /** At an agent: its node, the only next hop there is. */
  readonly onlyNode: string | undefined
  readonly nodes: ReadonlyMap<string, NodeEligibility>
  /** Nodes whose agents know layer 2. */
  readonly layer2: ReadonlyMap<string, Layer2Place>
  /** It is known which nodes have agents. */
  readonly agentsListed: boolean
  readonly pathIds: ReadonlyMap<Ip, number>
  /** The path to each next hop as it is without anything particular to a VIP: one object for all of them. */
  readonly paths: ReadonlyMap<Ip, Path>
  /** For tables that have a nodeSelector: the nodes it selects. */
  readonly selected: ReadonlyMap<TableName, ReadonlySet<string>>
  /** Why a VIP that could be announced stands in no table of its family. */
  readonly silence: (family: IpFamily) => NonNullable<VipReport['refusal']>
  /** What the policies of a table say of a VIP. Equal rules are one value. */
  readonly rulesFor: (table: Table, pool: string, services: readonly Service[]) => RouteRules
}

/** What a change of the surroundings means for VIPs: all of them, or those that have to do with certain nodes. */
export interface Survey {
  readonly surroundings: Surroundings
  readonly touched: 'all' | ReadonlySet<string>
  /** VIPs of mode layer2 that a node answers for now, or does not any more. */
  readonly answered: ReadonlySet<string>
}

const judgeIn = ({ nodeLiveness, drains }: PlanContext, node: Node): NodeEligibility =>
  judgeNode(node, nodeLiveness.get(node.meta.name), drains?.get(node.meta.name))

/** From nothing. */
export function survey(view: ClusterView, context: PlanContext): Surroundings {
  const nodes = new Map<string, NodeEligibility>()
  for (const node of view.nodes.values()) nodes.set(node.meta.name, judgeIn(context, node))
  const control = surveyControl(view, context)
  return {
    ...control,
    nodes,
    layer2: new Map([...view.nodes.keys()].flatMap((name) => placeOf(view, context, name))),
    agentsListed: context.layer2 !== undefined,
    ...pathsTo(nodes),
    selected: selectNodes(view, [...control.tables, ...control.nodeTables]),
  }
}

/** From what it was. `nodeFactsChanged`: nodes of which the context says something else than before. */
export function resurvey(
  before: Surroundings,
  view: ClusterView,
  context: PlanContext,
  { changes, nodeFactsChanged }: { readonly changes: ClusterChanges; readonly nodeFactsChanged: ReadonlySet<string> },
): Survey {
  const control =
    (['BgpConf', 'BgpPeer', 'BgpPolicy', 'Secret'] as const).some((kind) => (changes.get(kind)?.size ?? 0) > 0) ||
    // The labels of its node select an agent's peers, and the annotations name its speaker.
    (context.speakerNode !== undefined && changes.get('Node')?.has(context.speakerNode) === true)
      ? surveyControl(view, context)
      : before
  const restart = !same(rulesOf(before), rulesOf(control)) || !same(before.serviceClass, context.serviceClass)
  const changedNodes = new Set([...(changes.get('Node') ?? []), ...nodeFactsChanged])
  const nodes = changedNodes.size === 0 ? before.nodes : new Map(before.nodes)
  const touched = new Set<string>()
  const answered = new Set<string>()
  const agentsListed = context.layer2 !== undefined
  // No node's name: what hangs on every node is planned again.
  if (agentsListed !== before.agentsListed) touched.add('')
  const layer2 = changedNodes.size === 0 ? before.layer2 : new Map(before.layer2)
  for (const name of changedNodes) {
    const [place] = placeOf(view, context, name)
    const placeBefore = before.layer2.get(name)
    if (place === undefined) (layer2 as Map<string, Layer2Place>).delete(name)
    else (layer2 as Map<string, Layer2Place>).set(...place)
    if (!samePlace(placeBefore, place?.[1])) touched.add(name)
    for (const vip of otherwiseHeld(placeBefore, place?.[1])) answered.add(vip)
    const node = view.nodes.get(name)
    const verdict = node === undefined ? undefined : judgeIn(context, node)
    const known = before.nodes.get(name)
    if (verdict === undefined) (nodes as Map<string, NodeEligibility>).delete(name)
    else (nodes as Map<string, NodeEligibility>).set(name, verdict)
    if (!sameEligibility(known, verdict) && (known !== undefined || verdict !== undefined)) touched.add(name)
  }
  const kept = restart ? { ...before, ...control } : { ...before, conf: control.conf, peers: control.peers }
  return {
    ...settle(before, { ...kept, nodes, layer2, agentsListed }, { view, touched, restart, changedNodes }),
    answered,
  }
}

function placeOf(
  view: ClusterView,
  { layer2, nodeLiveness }: PlanContext,
  name: string,
): readonly (readonly [name: string, place: Layer2Place])[] {
  const node = view.nodes.get(name)
  const agent = layer2?.get(name)
  if (node === undefined || agent === undefined) return []
  return [[name, { agent, labels: node.meta.labels, heard: nodeLiveness.get(name) === 'up' }]]
}

// As all VIPs see it: what the node holds is the affair of those VIPs.
const samePlace = (a: Layer2Place | undefined, b: Layer2Place | undefined): boolean =>
  a?.agent.links === b?.agent.links &&
  a?.agent.refusals === b?.agent.refusals &&
  a?.agent.silent === b?.agent.silent &&
  a?.agent.holds?.more === b?.agent.holds?.more &&
  (a?.agent.holds === undefined) === (b?.agent.holds === undefined) &&
  a?.heard === b?.heard &&
  same(a?.labels, b?.labels)

function otherwiseHeld(a: Layer2Place | undefined, b: Layer2Place | undefined): readonly string[] {
  if (a?.agent.holds === b?.agent.holds) return []
  const before = a?.agent.holds?.vips ?? new Set<Ip>()
  const after = b?.agent.holds?.vips ?? new Set<Ip>()
  const otherwise = [...before, ...after].filter((vip) => before.has(vip) !== after.has(vip))
  return otherwise.map(vipName)
}

function pathsTo(nodes: ReadonlyMap<string, NodeEligibility>): Pick<Surroundings, 'pathIds' | 'paths'> {
  const ids = pathIds([...nodes.values()].flatMap(({ addresses }) => addresses))
  const paths = new Map([...ids].map(([nextHop, pathId]): [Ip, Path] => [nextHop, { pathId, nextHop }]))
  return { pathIds: ids, paths }
}

// What hangs on several nodes at once: path ids, and which nodes a table may hear of.
function settle(
  before: Surroundings,
  next: Surroundings,
  facts: {
    readonly view: ClusterView
    readonly touched: Set<string>
    readonly restart: boolean
    readonly changedNodes: ReadonlySet<string>
  },
): Omit<Survey, 'answered'> {
  const { view, touched, restart, changedNodes } = facts
  const moved = [...changedNodes].some(
    (name) => !same(before.nodes.get(name)?.addresses, next.nodes.get(name)?.addresses),
  )
  const { pathIds: ids, paths } = moved ? pathsTo(next.nodes) : before
  // Two IPv6 addresses with one hash: the id of an address on a node that did not change may be another one now.
  const shifted = moved && [...before.pathIds].some(([ip, id]) => ids.has(ip) && ids.get(ip) !== id)
  let selected = before.selected
  if (restart || (changedNodes.size > 0 && before.selected.size > 0)) {
    selected = selectNodes(view, [...next.tables, ...next.nodeTables])
    for (const [table, names] of selected)
      for (const name of changedNodes)
        if (names.has(name) !== (before.selected.get(table)?.has(name) ?? false)) touched.add(name)
  }
  return { surroundings: { ...next, pathIds: ids, paths, selected }, touched: restart || shifted ? 'all' : touched }
}

type Control = Pick<
  Surroundings,
  'conf' | 'serviceClass' | 'peers' | 'tables' | 'nodeTables' | 'onlyNode' | 'silence' | 'rulesFor'
>

function surveyControl(view: ClusterView, context: PlanContext): Control {
  const policies = [...view.bgpPolicies.values()].sort(byPriority)
  const conf = activeConf(view)
  const peers = planPeers(view, context, (peer) => tableName(peer, policies))
  const tables = tablesOf([...peers.configs, ...peers.ranges], view, policies)
  const nodeTables = tablesOf(peers.atNodes, view, policies)
  return {
    conf,
    serviceClass: context.serviceClass,
    peers,
    tables,
    nodeTables,
    onlyNode: context.speakerNode,
    silence: silenceOf(view, conf, tables.length + nodeTables.length),
    rulesFor: rememberRules(conf),
  }
}

function tablesOf(
  configs: readonly Pick<PeerConfig, 'name' | 'table' | 'families'>[],
  view: ClusterView,
  policies: readonly BgpPolicy[],
): readonly Table[] {
  const tables = new Map<TableName, Table>()
  for (const config of configs) {
    const peer = view.bgpPeers.get(config.name)
    if (peer === undefined) continue
    const known = tables.get(config.table) ?? defineTable(config.table, peer, policies)
    tables.set(config.table, { ...known, peers: [...known.peers, { name: config.name, families: config.families }] })
  }
  return [...tables.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function silenceOf(view: ClusterView, conf: BgpConf | undefined, tables: number): Surroundings['silence'] {
  const refusal = (reason: 'NoBgpConf' | 'NoPeer', message: string): ReturnType<Surroundings['silence']> => ({
    reason,
    message,
  })
  if (conf === undefined) {
    const silent = refusal('NoBgpConf', noConfMessage(view))
    return () => silent
  }
  const words = view.bgpPeers.size === 0 ? 'there is no BgpPeer' : 'no BgpPeer has a session: see their conditions'
  return (family) =>
    refusal(
      'NoPeer',
      tables > 0
        ? `no BgpPeer takes ${family} routes: ${family.toLowerCase()}-unicast is in the families of none`
        : words,
    )
}

// The parts of the control plane that VIPs are planned from. A timer or a password is not among them.
function rulesOf({ conf, tables, nodeTables, silence }: Control): unknown {
  const contentOf = ({ policies, ...table }: Table): unknown => ({
    ...table,
    policies: policies.map(({ meta, ...policy }) => ({ ...policy, name: meta.name })),
  })
  return {
    silence: silence('IPv4'),
    conf:
      conf === undefined
        ? undefined
        : { origin: conf.origin, maxNextHops: conf.maxNextHops, communities: [...conf.communities] },
    tables: tables.map(contentOf),
    nodeTables: nodeTables.map(contentOf),
  }
}

const restrictsNodes = ({ nodeSelector }: BgpPeer): boolean =>
  Object.keys(nodeSelector.matchLabels).length > 0 || nodeSelector.matchExpressions.length > 0

/** The policies that name this peer; those that name none speak to all and distinguish nobody. */
const ownPolicies = (peer: BgpPeer, policies: readonly BgpPolicy[]): readonly string[] =>
  policies.flatMap(({ meta, peers }) => (peers.includes(peer.meta.name) ? [meta.name] : [])).sort()

/** What distinguishes the routes of a peer from other peers', as text; `all` when nothing does. */
function tableName(peer: BgpPeer, policies: readonly BgpPolicy[]): TableName {
  const named = ownPolicies(peer, policies)
  const { matchLabels, matchExpressions } = peer.nodeSelector
  const selector = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(({ key, operator, values }) => `${key} ${operator} (${[...values].sort().join(' ')})`),
  ].sort()
  const parts = [
    ...(selector.length > 0 ? [`nodes[${selector.join(', ')}]`] : []),
    ...(named.length > 0 ? [`policies[${named.join(', ')}]`] : []),
  ]
  return parts.length === 0 ? 'all' : parts.join(' ')
}

function defineTable(name: TableName, peer: BgpPeer, policies: readonly BgpPolicy[]): Table {
  return {
    name,
    ...(restrictsNodes(peer) ? { nodeSelector: peer.nodeSelector } : {}),
    policies: policies.filter(({ peers }) => peers.length === 0 || peers.includes(peer.meta.name)),
    peers: [],
  }
}

function selectNodes(view: ClusterView, tables: readonly Table[]): ReadonlyMap<TableName, ReadonlySet<string>> {
  const selected = new Map<TableName, ReadonlySet<string>>()
  for (const { name, nodeSelector } of tables) {
    if (nodeSelector === undefined) continue
    const names = [...view.nodes.values()].flatMap(({ meta }) =>
      matchesSelector(nodeSelector, meta.labels) ? [meta.name] : [],
    )
    selected.set(name, new Set(names))
  }
  return selected
}

// Ten thousand VIPs have a handful of different rules between them.
function rememberRules(conf: BgpConf | undefined): Surroundings['rulesFor'] {
  const remembered = new Map<string, RouteRules>()
  return (table, pool, services) => {
    const matching = table.policies.filter((policy) => policyMatches(policy, pool, services))
    const key = matching.map(({ meta }) => meta.name).join(' ')
    const known = remembered.get(key)
    if (known !== undefined) return known
    const rules = routeRules(conf ?? { origin: 'IGP', communities: new Map() }, matching)
    remembered.set(key, rules)
    return rules
  }
}
