// One VIP's plan: whose it is, where its traffic goes, what is announced in which table, and why not. A function of the Vip, its
// Services, their slices, its pool, the surroundings and what was seen on the nodes, and of nothing else: that is what the planner's memo rests on.

import type { Path, Route } from '../bgp/rib/route.ts'
import type { TableName } from '../bgp/speaker/protocol.ts'
import {
  type ClusterView,
  type EndpointSlice,
  type NamespacedName,
  namespacedName,
  type Service,
  type Vip,
  type VipPool,
} from '../k8s/objects.ts'
import { familyOf } from '../net/ip.ts'
import { hostPrefix, prefixOf } from '../net/prefix.ts'
import { endpointPolicyAnnotation, nextHopsAnnotation } from '../vip/annotations.ts'
import { type NotServed, notServedBecause } from '../vip/service-class.ts'
import type { RouteRules } from './attributes.ts'
import { countEndpoints, type EndpointPolicy } from './endpoints.ts'
import { planLayer2 } from './layer2.ts'
import { type Backends, capNextHops, type NextHops, planNextHops } from './next-hops.ts'
import { type NodeReports, objectionsTo } from './objections.ts'
import type { Surroundings } from './surroundings.ts'
import type { ExcludedNode, PlannedNextHop, VipReport } from './types.ts'

/** What a VIP adds to a table: its host route, or its share of an aggregate. */
export interface Contribution {
  readonly table: TableName
  readonly vip: string
  readonly route: Route
}

export interface VipPlan {
  readonly report: VipReport
  readonly contributions: readonly Contribution[]
  /** What it was made from, for the memo. */
  readonly services: readonly NamespacedName[]
  readonly pool: string
  readonly nodes: readonly string[]
  readonly everyNode: boolean
}

/** Each endpoint adds this much to the link bandwidth of its node's path, in bytes a second: 1 Gbit/s. Routers use the ratio. */
const bandwidthPerEndpoint = 125_000_000

const noSlices: readonly EndpointSlice[] = []

/** Plans one VIP. */
export function planVip(vip: Vip, view: ClusterView, surroundings: Surroundings, reports: NodeReports): VipPlan {
  const { name } = vip.meta
  const pool = view.vipPools.get(vip.pool)
  const services = vip.services.map((claim) => namespacedName(claim.namespace, claim.name))
  const dependencies = { services, pool: vip.pool, nodes: [], everyNode: false, contributions: [] }
  const silent = (refusal: NonNullable<VipReport['refusal']>): VipPlan => ({
    ...dependencies,
    report: { vip: name, address: vip.address, nextHops: [], excluded: [], peers: [], refusal, ...leftOver(vip) },
  })
  const served = servedBy(vip, view, surroundings)
  if (served.services.length === 0) return silent({ reason: 'NoService', message: served.because })

  const backends = served.services.map((service) => backendsOf(service, vip, pool, view))
  const onLink = pool === undefined ? vip.layer2 !== undefined : pool.mode === 'layer2'
  if (onLink) {
    const outcome = planLayer2(vip, pool, backends, surroundings)
    const report: VipReport = { vip: name, address: vip.address, excluded: [], peers: [], ...outcome }
    return { ...dependencies, everyNode: true, report }
  }
  const nextHops = planNextHops(backends, surroundings.nodes, familyOf(vip.address), {
    onlyNode: surroundings.onlyNode,
    objection: objectionsTo(name, services, reports),
  })
  const told = announce(vip, served.services, nextHops, surroundings)
  const nodes = new Set(backends.flatMap(({ counted }) => [...counted.byNode.keys()]))
  const refusal = nextHops.refusal ?? told.refusal ?? undefined
  return {
    ...dependencies,
    contributions: told.contributions,
    nodes: [...nodes],
    everyNode: nextHops.everyNode,
    report: {
      vip: name,
      address: vip.address,
      nextHops: told.nextHops,
      excluded: [...nextHops.excluded, ...told.excluded],
      peers: told.peers,
      ...(told.nodePeers.length === 0 ? {} : { nodePeers: told.nodePeers }),
      ...(refusal === undefined
        ? told.peers.length + told.nodePeers.length === 0
          ? { refusal: surroundings.silence(familyOf(vip.address)) }
          : {}
        : { refusal }),
      ...leftOver(vip),
    },
  }
}

// Nobody is to answer on the link, and the object still says that somebody does.
const leftOver = (vip: Vip): Pick<VipReport, 'layer2'> =>
  vip.layer2 === undefined ? {} : { layer2: { settled: false } }

const notServedWords: Readonly<Record<NotServed, string>> = {
  deleting: 'is being deleted',
  'not a LoadBalancer': 'is not of type LoadBalancer any more',
  'another load balancer class': 'is of another load balancer class',
}

// Nothing is announced that is not recorded: the Vip names the Service by uid, the Service is still ours and shows the address.
function servedBy(
  vip: Vip,
  view: ClusterView,
  { serviceClass }: Surroundings,
): { readonly services: readonly Service[]; readonly because: string } {
  const services: Service[] = []
  let because = 'no Service has the address'
  for (const claim of vip.services) {
    const name = namespacedName(claim.namespace, claim.name)
    const service = view.services.get(name)
    const notServed = service === undefined ? undefined : notServedBecause(service, serviceClass)
    if (service?.meta.uid !== claim.uid) because = `Service ${name} does not exist any more`
    else if (notServed !== undefined) because = `Service ${name} ${notServedWords[notServed]}`
    else if (!service.ingress.some(({ ip }) => ip === vip.address))
      because = `Service ${name} does not show the address in its status`
    else services.push(service)
  }
  return { services, because }
}

function backendsOf(service: Service, vip: Vip, pool: VipPool | undefined, view: ClusterView): Backends {
  const { annotations, namespace, name } = service.meta
  const asked = annotations[endpointPolicyAnnotation]
  const policy: EndpointPolicy = asked === 'Ready' || asked === 'Serving' ? asked : (pool?.endpointPolicy ?? 'Ready')
  const wanted = annotations[nextHopsAnnotation]
  const nextHops = wanted === 'Endpoints' || wanted === 'AllNodes' ? wanted : (pool?.nextHops ?? 'Endpoints')
  const slices = view.endpointSlices.get(namespacedName(namespace, name)) ?? noSlices
  return {
    counted: countEndpoints(slices, familyOf(vip.address), policy),
    local: service.externalTrafficPolicy === 'Local',
    allNodes: nextHops === 'AllNodes',
  }
}

interface Told {
  readonly contributions: readonly Contribution[]
  readonly nextHops: readonly PlannedNextHop[]
  readonly excluded: readonly ExcludedNode[]
  readonly peers: readonly string[]
  readonly nodePeers: readonly string[]
  readonly refusal?: NonNullable<VipReport['refusal']>
}

function announce(vip: Vip, services: readonly Service[], { hops }: NextHops, surroundings: Surroundings): Told {
  const { tables, nodeTables, selected, conf } = surroundings
  const max = conf?.maxNextHops ?? 0
  const family = familyOf(vip.address) === 'IPv4' ? 'ipv4-unicast' : 'ipv6-unicast'
  const contributions: Contribution[] = []
  const peers: string[] = []
  const nodePeers: string[] = []
  const used = new Set<PlannedNextHop>()
  const everyTable = capNextHops(vip.meta.name, hops, max)
  let refusal: Told['refusal']
  for (const table of [...tables, ...nodeTables]) {
    const isOurs = tables.includes(table)
    const hearing = table.peers.filter(({ families }) => families.includes(family)).map((peer) => peer.name)
    if (hearing.length === 0) continue
    const allowed = selected.get(table.name)
    const hopsAllowed = allowed === undefined ? hops : hops.filter(({ node }) => allowed.has(node))
    // Nodes that speak for themselves know nothing of each other: there is no telling who is one too many.
    const ours = (): typeof hops => (allowed === undefined ? everyTable : capNextHops(vip.meta.name, hopsAllowed, max))
    const mine = isOurs ? ours() : hopsAllowed
    const rules = surroundings.rulesFor(table, vip.pool, services)
    if (!rules.announce)
      refusal ??= {
        reason: 'PolicyForbids',
        message: `a BgpPolicy with announce: false keeps it from ${hearing.join(', ')}`,
      }
    else if (mine.length === 0)
      refusal ??= {
        reason: 'NoEligibleNode',
        message: `no next hop is among the nodes that ${hearing.join(', ')} may hear of`,
      }
    else {
      if (isOurs)
        contributions.push({
          table: table.name,
          vip: vip.meta.name,
          route: routeOf(vip, services, mine, rules, surroundings),
        })
      ;(isOurs ? peers : nodePeers).push(...hearing)
      for (const hop of mine) used.add(hop)
    }
  }
  const shown = used.size === 0 ? everyTable : hops.filter((hop) => used.has(hop))
  // Here and below: a list that grew has room for more, in each of ten thousand VIPs.
  return {
    contributions: contributions.slice(),
    nextHops: shown,
    excluded: hops
      .filter((hop) => hop.endpoints > 0 && !shown.includes(hop))
      .map(({ node }) => ({
        node,
        because: max > 0 ? `is left out: maxNextHops is ${max}` : 'is selected by no peer',
      })),
    peers: peers.sort().slice(),
    nodePeers: nodePeers.sort().slice(),
    ...(used.size > 0 || refusal === undefined ? {} : { refusal }),
  }
}

function routeOf(
  vip: Vip,
  services: readonly Service[],
  hops: readonly PlannedNextHop[],
  rules: RouteRules,
  { paths: known }: Surroundings,
): Route {
  const length = rules.aggregationLength[familyOf(vip.address) === 'IPv4' ? 'ipv4' : 'ipv6']
  // Under Local a node answers only for its own endpoints: an aggregate would bring it traffic of its neighbours' VIPs.
  const aggregate = services.every(({ externalTrafficPolicy }) => externalTrafficPolicy === 'Cluster')
  const paths: Path[] = hops.map(({ address, endpoints, leaving }) => {
    const path = known.get(address)
    if (path === undefined) throw new Error(`next hop ${address} has no path id`)
    if (rules.linkBandwidth !== 'Endpoints' && leaving === undefined) return path
    return {
      ...path,
      ...(rules.linkBandwidth === 'Endpoints' ? { linkBandwidth: Math.max(1, endpoints) * bandwidthPerEndpoint } : {}),
      ...(leaving ? { leaving } : {}),
    }
  })
  return {
    prefix: aggregate ? prefixOf(vip.address, length) : hostPrefix(vip.address),
    attributes: rules.attributes,
    paths: paths.sort((a, b) => a.pathId - b.pathId),
  }
}
