// Kubernetes' own kinds as values. The API server has validated them, so nothing is refused here: an address that does not parse
// inside a slice is skipped, an unknown enum value falls back to the field's default, and what nobody reads is left behind.

import { familyOf, type Ip, type IpFamily, isLinkLocal } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'
import { isFinalizedByUs, serviceFinalizer } from '../finalizer.ts'
import { asList, asObject, asText, listOf, type RawObject } from '../json.ts'
import {
  type Condition,
  type Endpoint,
  type EndpointSlice,
  type NamespacedName,
  type Node,
  namespacedName,
  type ObjectMeta,
  type Protocol,
  type Secret,
  type Service,
  type ServicePort,
} from '../objects.ts'
import { lenientIp, lenientIps, lenientPrefixes } from './addresses.ts'
import { parseConditions, parseMeta } from './meta.ts'

type SubObject = RawObject | undefined

const section = (raw: unknown, key: string): SubObject => asObject(asObject(raw)?.[key])

function choice<T extends string>(value: unknown, values: readonly T[], fallback: T): T {
  return values.find((candidate) => candidate === value) ?? fallback
}

// ------------------------------------------------------------------------------------------------------- Service

export function parseService(raw: unknown, meta: ObjectMeta): Service {
  const spec = section(raw, 'spec')
  const status = section(raw, 'status')
  const loadBalancerClass = asText(spec?.['loadBalancerClass'])
  const loadBalancerIP = asText(spec?.['loadBalancerIP'])
  const clusterIPs = lenientIps(spec?.['clusterIPs'] ?? [spec?.['clusterIP']])
  const isFinalized = meta.finalizers.includes(serviceFinalizer) && isFinalizedByUs(section(raw, 'metadata'))
  return {
    meta,
    type: choice(spec?.['type'], ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'], 'ClusterIP'),
    ...(loadBalancerClass === undefined ? {} : { loadBalancerClass }),
    clusterIPs,
    ipFamilies: familiesOf(spec, clusterIPs),
    ipFamilyPolicy: choice(
      spec?.['ipFamilyPolicy'],
      ['SingleStack', 'PreferDualStack', 'RequireDualStack'],
      'SingleStack',
    ),
    externalTrafficPolicy: choice(spec?.['externalTrafficPolicy'], ['Cluster', 'Local'], 'Cluster'),
    healthCheckNodePort: portOf(spec?.['healthCheckNodePort']),
    ports: listOf(spec?.['ports'], servicePort),
    selector: textMap(spec?.['selector']),
    ...(loadBalancerIP === undefined || loadBalancerIP === '' ? {} : { loadBalancerIP }),
    sourceRanges: sourceRangesOf(spec, meta),
    ingress: ingressOf(status),
    ...(isFinalized ? { finalizedByUs: true } : {}),
    conditions: parseConditions(status?.['conditions']),
  }
}

// Old objects carry no ipFamilies; their cluster addresses tell.
function familiesOf(spec: SubObject, clusterIPs: readonly Ip[]): readonly IpFamily[] {
  const families = listOf(spec?.['ipFamilies'], (item) => (item === 'IPv4' || item === 'IPv6' ? item : undefined))
  return families.length > 0 ? families : listOf(clusterIPs, (ip) => familyOf(ip as Ip))
}

const sourceRangesAnnotation = 'service.beta.kubernetes.io/load-balancer-source-ranges'

// The field wins over the annotation that came before it, as for kube-proxy.
function sourceRangesOf(spec: SubObject, { annotations }: ObjectMeta): readonly Prefix[] {
  const listed = asList(spec?.['loadBalancerSourceRanges']) ?? []
  return lenientPrefixes(listed.length > 0 ? listed : (annotations[sourceRangesAnnotation] ?? '').split(','))
}

/** 0 = none. */
const portOf = (raw: unknown): number => (typeof raw === 'number' ? raw : 0)

function servicePort(raw: unknown): ServicePort | undefined {
  const port = asObject(raw)
  const number = port?.['port']
  if (typeof number !== 'number') return undefined
  return {
    name: asText(port?.['name']) ?? '',
    protocol: choice<Protocol>(port?.['protocol'], ['TCP', 'UDP', 'SCTP'], 'TCP'),
    port: number,
    nodePort: portOf(port?.['nodePort']),
  }
}

function ingressOf(status: SubObject): Service['ingress'] {
  return listOf(section(status, 'loadBalancer')?.['ingress'], (raw): Service['ingress'][number] | undefined => {
    const entry = asObject(raw)
    const ip = lenientIp(entry?.['ip'])
    if (ip === undefined) return undefined
    const ipMode = entry?.['ipMode']
    return ipMode === 'VIP' || ipMode === 'Proxy' ? { ip, ipMode } : { ip }
  })
}

function textMap(raw: unknown): Readonly<Record<string, string>> {
  const map = asObject(raw)
  if (map === undefined) return {}
  return Object.fromEntries(
    Object.entries(map).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}

// ------------------------------------------------------------------------------------------------- EndpointSlice

const serviceNameLabel = 'kubernetes.io/service-name'

/**
 * The Service a slice belongs to, or undefined when it is none of ours to read: without the label no Service owns it, and
 * slices of addressType FQDN hold no addresses.
 */
function sliceService(raw: unknown): NamespacedName | undefined {
  const metadata = section(raw, 'metadata')
  const name = asText(section(metadata, 'labels')?.[serviceNameLabel])
  const addressType = asObject(raw)?.['addressType']
  if (name === undefined || name === '' || (addressType !== 'IPv4' && addressType !== 'IPv6')) return undefined
  return namespacedName(asText(metadata?.['namespace']) ?? '', name)
}

/** `undefined` for slices that carry nothing for us (see `sliceService`). `intern` shares equal node names. */
export function parseEndpointSlice(
  raw: unknown,
  meta: ObjectMeta,
  intern: (text: string) => string,
): EndpointSlice | undefined {
  const service = sliceService(raw)
  if (service === undefined) return undefined
  const addressType: IpFamily = asObject(raw)?.['addressType'] === 'IPv6' ? 'IPv6' : 'IPv4'
  return {
    meta,
    service,
    addressType,
    endpoints: listOf(asObject(raw)?.['endpoints'], (item) => endpointOf(item, intern)),
  }
}

function endpointOf(raw: unknown, intern: (text: string) => string): Endpoint | undefined {
  const endpoint = asObject(raw)
  // Several addresses have no defined meaning, and nobody reads more than the first.
  const address = lenientIp(asList(endpoint?.['addresses'])?.[0])
  if (address === undefined) return undefined
  const conditions = section(endpoint, 'conditions')
  const ready = conditions?.['ready'] !== false
  const serving = conditions?.['serving']
  const nodeName = asText(endpoint?.['nodeName'])
  return {
    address,
    ...(nodeName === undefined || nodeName === '' ? {} : { nodeName: intern(nodeName) }),
    ready,
    serving: typeof serving === 'boolean' ? serving : ready,
    terminating: conditions?.['terminating'] === true,
  }
}

// ------------------------------------------------------------------------------------ Node and Secret-----------

export function parseNode(raw: unknown, meta: ObjectMeta): Node {
  const status = section(raw, 'status')
  const addresses = (asList(status?.['addresses']) ?? []).flatMap((item) => {
    const address = asObject(item)
    return address?.['type'] === 'InternalIP' ? lenientIps([address['address']]) : []
  })
  const conditions = parseConditions(status?.['conditions'])
  const conditionOf = (type: string): Condition | undefined => conditions.find((condition) => condition.type === type)
  const ready = conditionOf('Ready')
  return {
    meta: { ...meta, annotations: onlyOurs(meta.annotations) },
    internalIPs: addresses.filter((ip) => !isLinkLocal(ip)),
    ready: ready?.status !== 'False' && ready?.status !== 'Unknown',
    ...(ready?.status === 'Unknown' ? { silentSinceMs: Date.parse(ready.lastTransitionTime ?? '') || 0 } : {}),
    networkUnavailable: conditionOf('NetworkUnavailable')?.status === 'True',
  }
}

// Node annotations change with volumes, CSI drivers and network plugins; only ours mean anything here.
function onlyOurs(annotations: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const kept = Object.entries(annotations).filter(([key]) => key.startsWith('bellhop.io/'))
  return kept.length === 0 ? {} : Object.fromEntries(kept)
}

/** Values are base64 in the object and bytes here; what is no base64 is skipped. */
export function parseSecret(raw: unknown, meta: ObjectMeta): Secret {
  const data = new Map<string, Uint8Array>()
  for (const [key, value] of Object.entries(section(raw, 'data') ?? {}))
    if (typeof value === 'string') data.set(key, Uint8Array.from(Buffer.from(value, 'base64')))
  return { meta, data }
}

/** Metadata as each built-in kind needs it. */
export function builtinMeta(kind: string, raw: unknown): ObjectMeta | undefined {
  if (kind === 'EndpointSlice') return parseMeta(raw, { keep: { labels: false, annotations: false } })
  if (kind === 'Namespace' || kind === 'Secret') return parseMeta(raw, { keep: { labels: true, annotations: false } })
  return parseMeta(raw)
}
