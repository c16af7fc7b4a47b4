// Which addresses and ports of which Services go to which pods, seen from one node: what kube-proxy decides before it writes
// a rule. Pure: raw Services and EndpointSlices in, one value a Service port and family out.

import { createHash } from 'node:crypto'
import { asList, asObject, asText, identityOf, type RawObject } from '../../k8s/json.ts'
import { familyOf, type Ip, type IpFamily, parseIp } from '../../net/ip.ts'
import { type Prefix, parsePrefix, prefixFamily } from '../../net/prefix.ts'

export interface Target {
  readonly address: Ip
  readonly port: number
}

/** One port of one Service in one family. */
export interface ProxiedPort {
  /** `namespace/name:port name`. */
  readonly id: string
  readonly family: IpFamily
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly port: number
  /** 0 = none. */
  readonly nodePort: number
  readonly clusterIP?: Ip
  /** LoadBalancer addresses that this node translates (ipMode VIP). */
  readonly vips: readonly Ip[]
  /** `loadBalancerSourceRanges` of this family; with none of it everybody may come. */
  readonly sourceRanges: readonly Prefix[]
  readonly externalTrafficPolicy: 'Cluster' | 'Local'
  readonly targets: readonly Target[]
  readonly localTargets: readonly Target[]
  /** Endpoints exist, on whatever node: tells "refuse" from "drop". */
  readonly anywhere: boolean
}

/** With Local and no local endpoint nothing is translated here; the filter drops it. */
export const servesOutside = (port: ProxiedPort): boolean =>
  (port.vips.length > 0 || port.nodePort !== 0) &&
  (port.externalTrafficPolicy === 'Cluster' ? port.targets : port.localTargets).length > 0

/** A name for chains of a port: sixteen characters, since iptables' chain names have 28 at most. */
export const portSuffix = (port: ProxiedPort): string => shortHash(`${port.id} ${port.protocol}`)

export const shortHash = (text: string): string =>
  BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 20)}`)
    .toString(32)
    .toUpperCase()
    .padStart(16, '0')

/** All Services' ports, sorted by id and family. `slices` are all EndpointSlices. */
export function proxiedPorts(
  services: Iterable<RawObject>,
  slices: Iterable<RawObject>,
  nodeName: string,
): readonly ProxiedPort[] {
  const slicesByService = Map.groupBy(slices, serviceOf)
  const ports = [...services].flatMap((service) => portsOf(service, slicesByService, nodeName))
  return ports.sort((a, b) => (a.id === b.id ? compare(a.family, b.family) : compare(a.id, b.id)))
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function serviceOf(slice: RawObject): string {
  const labels = asObject(asObject(slice['metadata'])?.['labels'])
  return `${identityOf(slice).namespace}/${asText(labels?.['kubernetes.io/service-name']) ?? ''}`
}

function portsOf(
  service: RawObject,
  slicesByService: ReadonlyMap<string, readonly RawObject[]>,
  nodeName: string,
): readonly ProxiedPort[] {
  const { namespace, name } = identityOf(service)
  const spec = asObject(service['spec']) ?? {}
  if (spec['type'] === 'ExternalName' || spec['clusterIP'] === 'None') return []
  const clusterIPs = ips(asList(spec['clusterIPs']) ?? [spec['clusterIP']])
  const vips = ingressVips(service)
  const slices = slicesByService.get(`${namespace}/${name}`) ?? []
  const families = (['IPv4', 'IPv6'] as const).filter((family) =>
    [...clusterIPs, ...vips].some((address) => familyOf(address) === family),
  )
  return families.flatMap((family) =>
    objects(spec['ports']).map((port): ProxiedPort => {
      const portName = asText(port['name']) ?? ''
      const clusterIP = clusterIPs.find((address) => familyOf(address) === family)
      const { all, local } = targetsOf(slices, family, portName, nodeName)
      return {
        id: `${namespace}/${name}:${portName}`,
        family,
        protocol: port['protocol'] === 'UDP' ? 'udp' : port['protocol'] === 'SCTP' ? 'sctp' : 'tcp',
        port: Number(port['port']),
        nodePort: Number(port['nodePort'] ?? 0),
        ...(clusterIP === undefined ? {} : { clusterIP }),
        vips: vips.filter((address) => familyOf(address) === family),
        sourceRanges: prefixes(asList(spec['loadBalancerSourceRanges']) ?? []).filter(
          (range) => prefixFamily(range) === family,
        ),
        externalTrafficPolicy: spec['externalTrafficPolicy'] === 'Local' ? 'Local' : 'Cluster',
        targets: all,
        localTargets: local,
        anywhere: all.length > 0,
      }
    }),
  )
}

function ingressVips(service: RawObject): readonly Ip[] {
  const loadBalancer = asObject(asObject(service['status'])?.['loadBalancer'])
  return ips(
    objects(loadBalancer?.['ingress'])
      .filter((ingress) => ingress['ipMode'] !== 'Proxy')
      .map((ingress) => ingress['ip']),
  )
}

interface Candidate extends Target {
  readonly local: boolean
  readonly ready: boolean
  readonly draining: boolean
}

// Ready endpoints; where there is none, those that still serve while they terminate. For local targets the same among the
// local ones (KEP-1669).
function targetsOf(
  slices: readonly RawObject[],
  family: IpFamily,
  portName: string,
  nodeName: string,
): { readonly all: readonly Target[]; readonly local: readonly Target[] } {
  const candidates = slices
    .filter((slice) => slice['addressType'] === family)
    .flatMap((slice) => candidatesOf(slice, portName, nodeName))
  return { all: usable(candidates), local: usable(candidates.filter(({ local }) => local)) }
}

function usable(candidates: readonly Candidate[]): readonly Target[] {
  const ready = candidates.filter((candidate) => candidate.ready)
  const chosen = ready.length > 0 ? ready : candidates.filter((candidate) => candidate.draining)
  const unique = new Map(chosen.map(({ address, port }) => [`${address} ${port}`, { address, port }]))
  return [...unique].sort(([a], [b]) => compare(a, b)).map(([, target]) => target)
}

function candidatesOf(slice: RawObject, portName: string, nodeName: string): readonly Candidate[] {
  const port = objects(slice['ports']).find((candidate) => (asText(candidate['name']) ?? '') === portName)
  if (typeof port?.['port'] !== 'number') return []
  const number = port['port']
  return objects(slice['endpoints']).flatMap((endpoint) => {
    const conditions = asObject(endpoint['conditions']) ?? {}
    const ready = conditions['ready'] !== false
    const terminating = conditions['terminating'] === true
    const serving = conditions['serving'] === undefined ? ready : conditions['serving'] === true
    return ips(asList(endpoint['addresses']) ?? [])
      .slice(0, 1)
      .map((address) => ({
        address,
        port: number,
        local: endpoint['nodeName'] === nodeName,
        ready: ready && !terminating,
        draining: serving && terminating,
      }))
  })
}

const objects = (value: unknown): readonly RawObject[] =>
  (asList(value) ?? []).map(asObject).filter((object) => object !== undefined)

const prefixes = (values: readonly unknown[]): readonly Prefix[] =>
  values.flatMap((value) => {
    const parsed = parsePrefix((asText(value) ?? '').trim())
    return parsed.ok ? [parsed.value] : []
  })

const ips = (values: readonly unknown[]): readonly Ip[] =>
  values.flatMap((value) => {
    const parsed = parseIp(asText(value) ?? '')
    return parsed.ok ? [parsed.value] : []
  })
