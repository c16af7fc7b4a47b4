// A Service between its author and storage: allocation of cluster addresses and node ports, release of what a change
// of type no longer needs, and validation of what Bellhop builds on. Follows Kubernetes' Service registry.

import { parseIp } from '../../../net/ip.ts'
import { type FieldProblem, invalid } from '../errors.ts'
import { type JsonObject, numberAt, objectAt, objectsAt, stringAt, stringsAt } from '../json.ts'
import type { AddressAllocator } from './address-allocator.ts'
import type { Review } from './review.ts'
import { decideFamilies } from './service-families.ts'
import { serviceProblems } from './service-validation.ts'

/** The Service as it will be stored. Throws Invalid. */
export function admitService(review: Review, allocator: AddressAllocator): JsonObject {
  const { object, old, type } = review
  const name = stringAt(object, 'metadata', 'name') ?? ''
  const refuse = (problems: readonly FieldProblem[]): void => {
    if (problems.length > 0) throw invalid(type, name, problems)
  }
  const key = `${stringAt(object, 'metadata', 'namespace') ?? ''}/${name}`
  const oldSpec = old === undefined ? undefined : objectAt(old, 'spec')
  const defaulted = releaseUnneeded(oneAddress(carryOver(objectAt(object, 'spec'), oldSpec)), oldSpec)
  refuse(serviceProblems(defaulted, oldSpec))
  if (stringAt(defaulted, 'type') === 'ExternalName') return { ...object, spec: defaulted }
  const decision = decideFamilies(defaulted, oldSpec, allocator.families)
  if (decision.problems !== undefined) throw invalid(type, name, decision.problems)
  const addressed = allocateAddresses(decision.spec, key, allocator, refuse)
  return { ...object, spec: allocateNodePorts(addressed, key, allocator, refuse) }
}

const isExternal = (type: string | undefined): boolean => type === 'NodePort' || type === 'LoadBalancer'

// clusterIP and clusterIPs[0] say the same; who sets one of them means both.
function clusterIpsOf(spec: JsonObject): readonly string[] {
  const list = stringsAt(spec, 'clusterIPs')
  const single = stringAt(spec, 'clusterIP') ?? ''
  return list.length > 0 ? list : single === '' ? [] : [single]
}

function oneAddress(spec: JsonObject): JsonObject {
  const clusterIPs = clusterIpsOf(spec)
  const none = clusterIPs.length === 0 || stringAt(spec, 'type') === 'ExternalName'
  return none ? spec : { ...spec, clusterIP: clusterIPs[0], clusterIPs }
}

// An update that leaves out what the server allocated keeps it, as long as the Service still has use for it.
function carryOver(spec: JsonObject, old: JsonObject | undefined): JsonObject {
  if (old === undefined || stringAt(old, 'type') === 'ExternalName' || stringAt(spec, 'type') === 'ExternalName')
    return spec
  const out: Record<string, JsonObject[string]> = { ...spec }
  const oldIps = stringsAt(old, 'clusterIPs')
  if (clusterIpsOf(spec).length === 0 && oldIps.length > 0) {
    out['clusterIP'] = oldIps[0]
    out['clusterIPs'] = oldIps
  }
  // Who writes the one field alone means the other to follow.
  if (spec['clusterIPs'] !== undefined && spec['clusterIP'] === undefined)
    out['clusterIP'] = stringsAt(spec, 'clusterIPs')[0]
  out['ipFamilies'] ??= old['ipFamilies']
  if (isExternal(stringAt(spec, 'type')) && isExternal(stringAt(old, 'type'))) {
    out['ports'] = keepNodePorts(objectsAt(spec, 'ports'), objectsAt(old, 'ports'))
    if (needsHealthCheck(spec) && needsHealthCheck(old)) out['healthCheckNodePort'] ??= old['healthCheckNodePort']
  }
  return out
}

function keepNodePorts(ports: readonly JsonObject[], old: readonly JsonObject[]): readonly JsonObject[] {
  const portKey = (port: JsonObject): string => `${stringAt(port, 'protocol') ?? 'TCP'}/${numberAt(port, 'port')}`
  const before = new Map(old.map((port) => [portKey(port), numberAt(port, 'nodePort') ?? 0]))
  const asked = new Set(ports.map((port) => numberAt(port, 'nodePort') ?? 0))
  return ports.map((port) => {
    const kept = before.get(portKey(port)) ?? 0
    if ((numberAt(port, 'nodePort') ?? 0) > 0 || kept === 0 || asked.has(kept)) return port
    return { ...port, nodePort: kept }
  })
}

const needsHealthCheck = (spec: JsonObject): boolean =>
  stringAt(spec, 'type') === 'LoadBalancer' && stringAt(spec, 'externalTrafficPolicy') === 'Local'

// What the old type needed and the new one does not is dropped where the author only changed the type.
function releaseUnneeded(spec: JsonObject, old: JsonObject | undefined): JsonObject {
  const type = stringAt(spec, 'type')
  const out: Record<string, JsonObject[string]> = { ...spec }
  const unchanged = (field: string): boolean =>
    old !== undefined && JSON.stringify(spec[field]) === JSON.stringify(old[field])
  const release = (...fields: readonly string[]): void => {
    for (const field of fields) if (unchanged(field)) delete out[field]
  }
  if (type === 'ExternalName') {
    release('clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy', 'internalTrafficPolicy')
  }
  if (!isExternal(type)) {
    if (stringsAt(spec, 'externalIPs').length === 0 || type !== 'ClusterIP') release('externalTrafficPolicy')
    if (old !== undefined) out['ports'] = withoutNodePorts(objectsAt(spec, 'ports'), objectsAt(old, 'ports'))
  }
  if (type !== 'LoadBalancer') release('allocateLoadBalancerNodePorts', 'loadBalancerClass')
  if (!needsHealthCheck(spec)) release('healthCheckNodePort')
  if (objectsAt(out, 'ports').length === 0) delete out['ports']
  return out
}

function withoutNodePorts(ports: readonly JsonObject[], old: readonly JsonObject[]): readonly JsonObject[] {
  const before = new Set(old.map((port) => numberAt(port, 'nodePort') ?? 0))
  return ports.map((port) => {
    if (!before.has(numberAt(port, 'nodePort') ?? 0)) return port
    const { nodePort: _released, ...rest } = port
    return rest
  })
}

type Refuse = (problems: readonly FieldProblem[]) => void

function allocateAddresses(spec: JsonObject, key: string, allocator: AddressAllocator, refuse: Refuse): JsonObject {
  const wanted = stringsAt(spec, 'clusterIPs')
  if (wanted[0] === 'None') return spec
  const given = wanted.flatMap((text) => {
    const because = text === '' ? undefined : allocator.ipRefusal(text, key)
    return because === undefined
      ? []
      : [
          {
            reason: 'FieldValueInvalid',
            path: 'spec.clusterIPs',
            message: `Invalid value: ${JSON.stringify(wanted)}: ${because}`,
          },
        ]
  })
  refuse(given)
  const clusterIPs = stringsAt(spec, 'ipFamilies').map((family, i) => {
    const text = wanted[i] ?? ''
    if (text !== '') {
      const parsed = parseIp(text)
      return parsed.ok ? parsed.value : text
    }
    const next = allocator.nextIp(family === 'IPv6' ? 'IPv6' : 'IPv4')
    if (next === undefined)
      refuse([
        {
          reason: 'FieldValueInvalid',
          path: 'spec.clusterIPs',
          message: 'Invalid value: null: failed to allocate a serviceIP: range is full',
        },
      ])
    return next ?? ''
  })
  return { ...spec, clusterIP: clusterIPs[0], clusterIPs }
}

function allocateNodePorts(spec: JsonObject, key: string, allocator: AddressAllocator, refuse: Refuse): JsonObject {
  const type = stringAt(spec, 'type')
  if (!isExternal(type)) return spec
  const allocate = type === 'NodePort' || spec['allocateLoadBalancerNodePorts'] !== false
  const reserved = new Set<number>()
  const perPort = objectsAt(spec, 'ports').map((port, i) => {
    const asked = numberAt(port, 'nodePort') ?? 0
    const because = asked > 0 ? allocator.nodePortRefusal(asked, key) : undefined
    if (because !== undefined) refuse([nodePortProblem(`spec.ports[${i}].nodePort`, asked, because)])
    if (asked > 0) reserved.add(asked)
    return { port, asked }
  })
  const next = (): number => {
    const port = allocator.nextNodePort(reserved)
    if (port === undefined)
      refuse([nodePortProblem('spec.ports[0].nodePort', 0, 'failed to allocate a nodePort: range is full')])
    reserved.add(port ?? 0)
    return port ?? 0
  }
  const ports = perPort.map(({ port, asked }) => (asked > 0 || !allocate ? port : { ...port, nodePort: next() }))
  if (!needsHealthCheck(spec)) return { ...spec, ports }
  const health = numberAt(spec, 'healthCheckNodePort') ?? 0
  const because = health > 0 ? allocator.nodePortRefusal(health, key) : undefined
  if (because !== undefined) refuse([nodePortProblem('spec.healthCheckNodePort', health, because)])
  return { ...spec, ports, healthCheckNodePort: health > 0 ? health : next() }
}

const nodePortProblem = (path: string, value: number, because: string): FieldProblem => ({
  reason: 'FieldValueInvalid',
  path,
  message: `Invalid value: ${value}: ${because}`,
})
