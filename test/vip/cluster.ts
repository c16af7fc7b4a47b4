// Clusters for tests, in few words: every builder fills in what a test does not care about.

import {
  type BgpConf,
  type BgpPeer,
  type BgpPolicy,
  type ClusterView,
  type Endpoint,
  type EndpointSlice,
  type LabelSelector,
  type Namespace,
  type NamespacedName,
  type Node,
  namespacedName,
  type ObjectMeta,
  type ObjectRefusal,
  type Secret,
  type Service,
  type ServicePort,
  type Vip,
  type VipClaim,
  type VipPool,
} from '../../src/k8s/objects.ts'
import { type Asn, parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { familyOf, type Ip, type IpFamily, parseIp } from '../../src/net/ip.ts'
import { normalizeRanges, parseRange } from '../../src/net/range.ts'
import { must } from '../../src/runtime/result.ts'
import { vipName } from '../../src/vip/vip-name.ts'

export const ip = (text: string): Ip => must(parseIp(text))
export const asn = (value: number): Asn => must(parseAsn(value))

export function meta(name: string, over: Partial<ObjectMeta> = {}): ObjectMeta {
  return {
    namespace: '',
    name,
    uid: `uid-${over.namespace ?? ''}-${name}`,
    resourceVersion: '1',
    generation: 0,
    labels: {},
    annotations: {},
    creationTimestampMs: 0,
    deleting: false,
    finalizers: [],
    ...over,
  }
}

export const port = (number: number, protocol: ServicePort['protocol'] = 'TCP'): ServicePort => ({
  name: `p${number}`,
  protocol,
  port: number,
  nodePort: 0,
})

export interface ServiceOver extends Partial<Omit<Service, 'meta' | 'ingress'>> {
  readonly meta?: Partial<ObjectMeta>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ingress?: readonly string[]
}

/** `namespace/name` or a name in `default`. */
export function service(path: string, { meta: metaOver, annotations, ingress, ...over }: ServiceOver = {}): Service {
  const [namespace, name] = path.includes('/') ? (path.split('/') as [string, string]) : ['default', path]
  return {
    meta: meta(name, { namespace, annotations: annotations ?? {}, ...metaOver }),
    type: 'LoadBalancer',
    clusterIPs: [ip('10.96.0.1')],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    externalTrafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
    ports: [port(80)],
    selector: { app: name },
    sourceRanges: [],
    ingress: (ingress ?? []).map((text) => ({ ip: ip(text), ipMode: 'VIP' as const })),
    conditions: [],
    ...over,
  }
}

export interface PoolOver extends Partial<Omit<VipPool, 'meta' | 'ranges'>> {
  readonly meta?: Partial<ObjectMeta>
}

export function pool(name: string, ranges: readonly string[], { meta: metaOver, ...over }: PoolOver = {}): VipPool {
  return {
    meta: meta(name, metaOver),
    ranges: normalizeRanges(ranges.map((text) => must(parseRange(text)))),
    autoAssign: true,
    priority: 0,
    avoidBuggyIPs: false,
    namespaces: [],
    sharing: 'SameNamespace',
    holdSeconds: 0,
    disabled: false,
    mode: 'bgp',
    layer2: { interfaces: [] },
    nextHops: 'Endpoints',
    endpointPolicy: 'Ready',
    status: {},
    ...over,
  }
}

export const labels = (matchLabels: Readonly<Record<string, string>>): LabelSelector => ({
  matchLabels,
  matchExpressions: [],
})

/** What a Service claims, as the controller records it. */
export const claim = (of: Service, over: Partial<VipClaim> = {}): VipClaim => ({
  namespace: of.meta.namespace,
  name: of.meta.name,
  uid: of.meta.uid,
  ports: of.ports.map(({ protocol, port: number }) => ({ protocol, port: number })),
  shareKey: '',
  ...over,
})

export function vip(address: string, services: readonly (VipClaim | Service)[], over: Partial<Vip> = {}): Vip {
  const parsed = ip(address)
  return {
    meta: meta(vipName(parsed)),
    address: parsed,
    pool: 'default',
    services: services.map((of) => ('meta' in of ? claim(of) : of)),
    status: { fingerprint: '', conditions: [] },
    ...over,
  }
}

export const namespace = (name: string, of: Readonly<Record<string, string>> = {}): Namespace => ({
  meta: meta(name, { labels: of }),
})

export function node(
  name: string,
  addresses: readonly string[],
  over: Partial<Omit<Node, 'meta'>> & { readonly meta?: Partial<ObjectMeta> } = {},
): Node {
  const { meta: metaOver, ...rest } = over
  return { meta: meta(name, metaOver), internalIPs: addresses.map(ip), ready: true, networkUnavailable: false, ...rest }
}

export const endpoint = (nodeName: string | undefined, over: Partial<Endpoint> = {}): Endpoint => ({
  address: ip('10.244.0.1'),
  ...(nodeName === undefined ? {} : { nodeName }),
  ready: true,
  serving: true,
  terminating: false,
  ...over,
})

export function slice(
  of: string,
  endpoints: readonly Endpoint[],
  addressType: IpFamily = 'IPv4',
  name = `${of}-${addressType}`,
): EndpointSlice {
  const [space, target] = of.includes('/') ? (of.split('/') as [string, string]) : ['default', of]
  return {
    meta: meta(name.replace('/', '-'), { namespace: space }),
    service: namespacedName(space, target),
    addressType,
    endpoints,
  }
}

export function conf(over: Partial<BgpConf> = {}): BgpConf {
  return {
    meta: meta('default'),
    asn: asn(64512),
    routerId: must(parseRouterId('10.0.0.250')),
    listenPort: 179,
    listenAddresses: [],
    gracefulRestart: { enabled: false, restartSeconds: 120, longLivedSeconds: 0 },
    origin: 'IGP',
    maxNextHops: 0,
    withdrawGuard: { percent: 50, minimumVips: 20 },
    drainGraceSeconds: 30,
    communities: new Map(),
    status: {},
    ...over,
  }
}

export function peer(
  name: string,
  address: string,
  over: Partial<Omit<BgpPeer, 'meta'>> & { readonly meta?: Partial<ObjectMeta> } = {},
): BgpPeer {
  const { meta: metaOver, ...rest } = over
  const parsed = ip(address)
  return {
    meta: meta(name, metaOver),
    address: parsed,
    maxSessions: 100,
    asn: asn(64513),
    port: 179,
    timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 10 },
    families: [familyOf(parsed) === 'IPv4' ? 'ipv4-unicast' : 'ipv6-unicast'],
    addPath: 'auto',
    nextHop: 'node',
    speaker: 'controller',
    nodeSelector: { matchLabels: {}, matchExpressions: [] },
    passive: false,
    maxPrefixesIn: 1000,
    status: {},
    ...rest,
  }
}

export function policy(
  name: string,
  over: Partial<Omit<BgpPolicy, 'meta'>> & { readonly meta?: Partial<ObjectMeta> } = {},
): BgpPolicy {
  const { meta: metaOver, ...rest } = over
  return {
    meta: meta(name, metaOver),
    priority: 0,
    pools: [],
    peers: [],
    communities: [],
    prepend: 0,
    aggregationLength: { ipv4: 32, ipv6: 128 },
    linkBandwidth: 'None',
    announce: true,
    ...rest,
  }
}

export interface ViewParts {
  readonly services?: readonly Service[]
  readonly slices?: readonly EndpointSlice[]
  readonly nodes?: readonly Node[]
  readonly namespaces?: readonly Namespace[]
  readonly secrets?: readonly Secret[]
  readonly confs?: readonly BgpConf[]
  readonly peers?: readonly BgpPeer[]
  readonly pools?: readonly VipPool[]
  readonly vips?: readonly Vip[]
  readonly policies?: readonly BgpPolicy[]
  readonly refusals?: readonly ObjectRefusal[]
}

const keyOf = ({ meta: { namespace: space, name } }: { readonly meta: ObjectMeta }): NamespacedName =>
  namespacedName(space, name)
const byName = <T extends { readonly meta: ObjectMeta }>(objects: readonly T[] = []): ReadonlyMap<string, T> =>
  new Map(objects.map((object) => [object.meta.name, object]))

/** A view of what is given. Namespaces that only Services name exist without labels. */
export function view(parts: ViewParts): ClusterView {
  const slices = new Map<NamespacedName, EndpointSlice[]>()
  for (const each of parts.slices ?? []) slices.set(each.service, [...(slices.get(each.service) ?? []), each])
  const namespaces = new Map((parts.services ?? []).map(({ meta: of }) => [of.namespace, namespace(of.namespace)]))
  for (const each of parts.namespaces ?? []) namespaces.set(each.meta.name, each)
  return {
    services: new Map((parts.services ?? []).map((object) => [keyOf(object), object])),
    endpointSlices: slices,
    nodes: byName(parts.nodes),
    namespaces,
    secrets: byName(parts.secrets),
    bgpConfs: byName(parts.confs),
    bgpPeers: byName(parts.peers),
    vipPools: byName(parts.pools),
    vips: byName(parts.vips),
    bgpPolicies: byName(parts.policies),
    refusals: parts.refusals ?? [],
  }
}
