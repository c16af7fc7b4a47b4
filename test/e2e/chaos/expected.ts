// What must be so once nothing disturbs the cluster any more, from its API objects alone: which Services have addresses, which nodes
// each address is forwarded to, which Vips exist, and who may still carry a finalizer. Written apart from src/plan and src/vip, and
// without a look at them: it shares no line with what it judges, so a mistake made there is not made here.

import { type JsonObject, objectAt, objectsAt, stringAt, stringsAt } from '../../../src/lab/apiserver/json.ts'

/** All objects that count, as the API server has them. */
export interface ClusterObjects {
  readonly services: readonly JsonObject[]
  readonly slices: readonly JsonObject[]
  readonly nodes: readonly JsonObject[]
  readonly vips: readonly JsonObject[]
  readonly pools: readonly JsonObject[]
}

/** Address to the addresses of the nodes that its packets go to, sorted; without an entry no router may know the address. */
export type Routes = ReadonlyMap<string, readonly string[]>

type Family = 'IPv4' | 'IPv6'

const ourClass = 'bellhop.io/bgp'
const cleanup = 'service.kubernetes.io/load-balancer-cleanup'
const excludeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers'

export const nameOf = (object: JsonObject): string => stringAt(object, 'metadata', 'name') ?? ''
const keyOf = (object: JsonObject): string => `${stringAt(object, 'metadata', 'namespace')}/${nameOf(object)}`
const uidOf = (object: JsonObject): string => stringAt(object, 'metadata', 'uid') ?? ''
const annotation = (object: JsonObject, key: string): string | undefined =>
  stringAt(objectAt(object, 'metadata', 'annotations'), key)
export const familyOfText = (address: string): Family => (address.includes(':') ? 'IPv6' : 'IPv4')

/** Whether the Service is to have addresses. */
export function isServed(service: JsonObject): boolean {
  const loadBalancerClass = stringAt(service, 'spec', 'loadBalancerClass') ?? ourClass
  const deleting = stringAt(service, 'metadata', 'deletionTimestamp') !== undefined
  return stringAt(service, 'spec', 'type') === 'LoadBalancer' && loadBalancerClass === ourClass && !deleting
}

/** The addresses that a Service shows. */
export const ingressOf = (service: JsonObject): readonly string[] =>
  objectsAt(service, 'status', 'loadBalancer', 'ingress').map((entry) => stringAt(entry, 'ip') ?? '')

/** What the routers are to have for the Services as they are. */
export function expectedRoutes({ services, slices, nodes }: ClusterObjects): Routes {
  const routes = new Map<string, readonly string[]>()
  for (const service of services.filter(isServed))
    for (const address of ingressOf(service)) {
      const family = familyOfText(address)
      const usable = nodes.filter(mayForward)
      const hosts = hostsOf(service, slices, family)
      const everyNode =
        annotation(service, 'bellhop.io/next-hops') === 'AllNodes' &&
        stringAt(service, 'spec', 'externalTrafficPolicy') !== 'Local' &&
        hosts.size > 0
      const chosen = usable.filter((node) => everyNode || hosts.has(nameOf(node)))
      const hops = chosen.flatMap((node) => internalAddress(node, family) ?? [])
      if (hops.length > 0) routes.set(address, [...new Set(hops)].sort())
    }
  return routes
}

function mayForward(node: JsonObject): boolean {
  const condition = (type: string): string | undefined =>
    stringAt(
      objectsAt(node, 'status', 'conditions').find((each) => stringAt(each, 'type') === type),
      'status',
    )
  return (
    condition('Ready') === 'True' &&
    condition('NetworkUnavailable') !== 'True' &&
    !(excludeLabel in objectAt(node, 'metadata', 'labels')) &&
    annotation(node, 'bellhop.io/drain') === undefined &&
    stringAt(node, 'metadata', 'deletionTimestamp') === undefined
  )
}

const internalAddress = (node: JsonObject, family: Family): string | undefined =>
  objectsAt(node, 'status', 'addresses')
    .filter((entry) => stringAt(entry, 'type') === 'InternalIP')
    .map((entry) => stringAt(entry, 'address') ?? '')
    .find((address) => familyOfText(address) === family)

// Those with a ready endpoint; only where nobody is ready, those whose endpoints still serve while they terminate.
function hostsOf(service: JsonObject, slices: readonly JsonObject[], family: Family): ReadonlySet<string> {
  const endpoints = slices
    .filter(
      (slice) =>
        stringAt(slice, 'metadata', 'namespace') === stringAt(service, 'metadata', 'namespace') &&
        stringAt(objectAt(slice, 'metadata', 'labels'), 'kubernetes.io/service-name') === nameOf(service) &&
        stringAt(slice, 'addressType') === family,
    )
    .flatMap((slice) => objectsAt(slice, 'endpoints'))
  const is = (endpoint: JsonObject, condition: string): boolean => objectAt(endpoint, 'conditions')[condition] === true
  const isReady = (endpoint: JsonObject): boolean => objectAt(endpoint, 'conditions')['ready'] !== false
  const serves = (endpoint: JsonObject): boolean => is(endpoint, 'serving')
  const goesOn =
    annotation(service, 'bellhop.io/endpoint-policy') === 'Serving'
      ? endpoints.filter((endpoint) => isReady(endpoint) || serves(endpoint))
      : endpoints.filter(isReady)
  const lastResort = endpoints.filter((endpoint) => serves(endpoint) && is(endpoint, 'terminating'))
  return new Set((goesOn.length > 0 ? goesOn : lastResort).flatMap((endpoint) => stringAt(endpoint, 'nodeName') ?? []))
}

/** What is wrong with the records: Services, Vips and finalizers that do not agree, in words. Empty when nothing is. */
export function bookkeepingProblems(cluster: ClusterObjects): readonly string[] {
  return [...cluster.services.flatMap((service) => serviceProblems(service, cluster)), ...vipProblems(cluster)]
}

function serviceProblems(service: JsonObject, { vips, pools }: ClusterObjects): readonly string[] {
  const problems: string[] = []
  const shown = ingressOf(service)
  const finalizers = stringsAt(service, 'metadata', 'finalizers')
  const conditions = objectsAt(service, 'status', 'conditions').filter((each) =>
    stringAt(each, 'type')?.startsWith('bellhop.io/'),
  )
  const say = (problem: string): void => void problems.push(`Service ${keyOf(service)} ${problem}`)
  if (!isServed(service)) {
    if (stringAt(service, 'metadata', 'deletionTimestamp') !== undefined) say('is still being deleted')
    if (finalizers.includes(cleanup)) say('is not ours and has our finalizer')
    if (conditions.length > 0) say('is not ours and has conditions of ours')
    if (shown.length > 0) say(`is not ours and shows ${shown.join()}`)
    return problems
  }
  const recorded = vips
    .filter((vip) => objectsAt(vip, 'spec', 'services').some((claim) => stringAt(claim, 'uid') === uidOf(service)))
    .map((vip) => stringAt(vip, 'spec', 'address') ?? '')
  if ([...recorded].sort().join() !== [...shown].sort().join())
    say(`shows ${shown.join() || 'nothing'} and has ${recorded.join() || 'nothing'} recorded`)
  const allocated = conditions.find((each) => stringAt(each, 'type') === 'bellhop.io/Allocated')
  const said = `${stringAt(allocated, 'status')} ${stringAt(allocated, 'reason')}: ${stringAt(allocated, 'message')}`
  if (allocated === undefined) say('has no condition Allocated')
  if (shown.length > 0 && !finalizers.includes(cleanup)) say('has an address and not our finalizer')
  if (!hasUnmetWish(service, shown, pools)) {
    const families = stringsAt(service, 'spec', 'ipFamilies')
    const got = shown.map(familyOfText)
    if ([...families].sort().join() !== [...got].sort().join())
      say(`wants ${families.join()}, has ${shown.join()}: ${said}`)
    if (stringAt(allocated, 'status') !== 'True') say(`has all it asks for, and its condition says ${said}`)
  }
  return problems
}

// A pool or an address of one's own choice may not be to be had. Then what counts is that the records agree.
function hasUnmetWish(service: JsonObject, shown: readonly string[], pools: readonly JsonObject[]): boolean {
  const pool = annotation(service, 'bellhop.io/pool')
  const addresses = annotation(service, 'bellhop.io/ips')?.split(',') ?? []
  return (
    (pool !== undefined && !pools.some((each) => nameOf(each) === pool)) || !addresses.every((ip) => shown.includes(ip))
  )
}

function vipProblems({ services, vips }: ClusterObjects): readonly string[] {
  const served = new Map(services.filter(isServed).map((service) => [uidOf(service), service]))
  const problems: string[] = []
  for (const vip of vips) {
    const claims = objectsAt(vip, 'spec', 'services')
    const address = stringAt(vip, 'spec', 'address') ?? ''
    if (claims.length !== 1) problems.push(`Vip ${nameOf(vip)} is recorded for ${claims.length} Services`)
    for (const claim of claims) {
      const service = served.get(stringAt(claim, 'uid') ?? '')
      if (service === undefined)
        problems.push(`Vip ${nameOf(vip)} is recorded for ${stringAt(claim, 'name')}, which is gone or not ours`)
      else if (!ingressOf(service).includes(address))
        problems.push(`Vip ${nameOf(vip)} is recorded for ${keyOf(service)}, which does not show it`)
    }
  }
  return [...problems, ...sharedAddresses(services)]
}

/** Addresses that two Services show at once; nobody shares here. */
export function sharedAddresses(services: readonly JsonObject[]): readonly string[] {
  const holders = Map.groupBy(
    services.flatMap((service) => ingressOf(service).map((address) => ({ address, holder: keyOf(service) }))),
    ({ address }) => address,
  )
  return [...holders]
    .filter(([, list]) => list.length > 1)
    .map(([address, list]) => `${address} is shown by ${list.map(({ holder }) => holder).join(' and ')}`)
}

/** What is wrong with the statuses of Vips and Services beside the routes that there are. */
export function statusProblems(cluster: ClusterObjects, routes: Routes, peers: readonly string[]): readonly string[] {
  const problems: string[] = []
  const announcedOf = (object: JsonObject, type: string): string | undefined =>
    stringAt(
      objectsAt(object, 'status', 'conditions').find((each) => stringAt(each, 'type') === type),
      'status',
    )
  for (const vip of cluster.vips) {
    const address = stringAt(vip, 'spec', 'address') ?? ''
    const hops = routes.get(address) ?? []
    const said = objectsAt(vip, 'status', 'nextHops').map((hop) => stringAt(hop, 'address') ?? '')
    if ([...said].sort().join() !== hops.join())
      problems.push(`the status of Vip ${nameOf(vip)} names ${said.join() || 'no next hop'} instead of ${hops.join()}`)
    const told = [...stringsAt(vip, 'status', 'announcedTo')].sort().join()
    const wanted = hops.length === 0 ? '' : [...peers].sort().join()
    if (told !== wanted) problems.push(`the status of Vip ${nameOf(vip)} says it is told to ${told || 'nobody'}`)
    const announced = announcedOf(vip, 'Announced')
    if (announced !== (hops.length > 0 ? 'True' : 'False'))
      problems.push(`Vip ${nameOf(vip)} with ${hops.length} next hops has Announced ${announced}`)
  }
  for (const service of cluster.services.filter(isServed)) {
    const shown = ingressOf(service)
    const wanted = shown.length > 0 && shown.every((address) => routes.has(address)) ? 'True' : 'False'
    const announced = announcedOf(service, 'bellhop.io/Announced')
    if (shown.length > 0 && announced !== wanted)
      problems.push(`Service ${keyOf(service)} has Announced ${announced} instead of ${wanted}`)
  }
  return problems
}
