// Whether every Service keeps its addresses. The question is put to the allocator itself, over the pools of the conversion and the
// Services as they are: what it would take away or give is what it will, in its own words.

import { asObject, type RawObject } from '../k8s/json.ts'
import {
  type ClusterView,
  type Namespace,
  type NamespacedName,
  namespacedName,
  type Service,
  type VipPool,
} from '../k8s/objects.ts'
import { parseObject } from '../k8s/schemas/parse.ts'
import { allocate } from '../vip/allocate.ts'
import { notServedBecause } from '../vip/service-class.ts'
import type { AllocationStep, ServiceClassRule } from '../vip/types.ts'
import type { BellhopObject } from './types.ts'

export interface ServiceVerdict {
  readonly service: NamespacedName
  /**
   * - `keeps`: all its addresses stay. `loses`: some do not. `gets`: it has none now and will have.
   * - `waits`: it has none and gets none. `foreign`: it has addresses, and Bellhop will not serve it.
   */
  readonly outcome: 'keeps' | 'loses' | 'gets' | 'waits' | 'foreign'
  readonly addresses: readonly string[]
  /** For operators; empty for `keeps`. */
  readonly because: string
}

/** Services of type LoadBalancer among raw objects, readable or not at all: a Service has no schema of ours to fail. */
export function loadBalancers(objects: readonly RawObject[]): readonly Service[] {
  return objects.flatMap((raw) => {
    if (raw['kind'] !== 'Service' || raw['apiVersion'] !== 'v1') return []
    const parsed = parseObject('Service', raw)
    return parsed.type === 'value' && parsed.value.type === 'LoadBalancer' ? [identified(parsed.value)] : []
  })
}

// Manifests have no uid; the name is as good, for there are no two.
function identified(service: Service): Service {
  const { meta } = service
  const namespace = meta.namespace === '' ? 'default' : meta.namespace
  return { ...service, meta: { ...meta, namespace, uid: meta.uid === '' ? `${namespace}/${meta.name}` : meta.uid } }
}

/** Every LoadBalancer Service's fate under the pools, sorted by name. `namespaces` decide what namespaceSelectors admit. */
export function checkServices(
  objects: readonly BellhopObject[],
  services: readonly Service[],
  options: { readonly serviceClass: ServiceClassRule; readonly namespaces: readonly RawObject[] },
): readonly ServiceVerdict[] {
  const view = viewOf(objects, services, options.namespaces)
  const { work } = allocate({ view, serviceClass: options.serviceClass, withdrawn: () => true, nowMs: 0 })
  const steps = new Map<string, readonly AllocationStep[]>()
  for (const { service, steps: more } of work) steps.set(service, [...(steps.get(service) ?? []), ...more])
  return [...view.services]
    .map(([key, service]) =>
      verdictOf(key, service, steps.get(key) ?? [], { serviceClass: options.serviceClass, sharers: services }),
    )
    .sort((a, b) => (a.service < b.service ? -1 : 1))
}

function verdictOf(
  key: NamespacedName,
  service: Service,
  steps: readonly AllocationStep[],
  { serviceClass, sharers }: { readonly serviceClass: ServiceClassRule; readonly sharers: readonly Service[] },
): ServiceVerdict {
  const has = service.ingress.map(({ ip }) => ip)
  const verdict = (
    outcome: ServiceVerdict['outcome'],
    because: string,
    addresses: readonly string[] = has,
  ): ServiceVerdict => ({
    service: key,
    outcome,
    addresses,
    because,
  })
  const notServed = notServedBecause(service, serviceClass)
  if (notServed !== undefined) {
    if (has.length === 0) return verdict('waits', `Bellhop does not serve it: ${notServed}`)
    return notServed === 'deleting' ? verdict('keeps', '') : verdict('foreign', foreignWords(service, serviceClass))
  }
  const status = steps.find((step) => step.type === 'set-service-status')
  const next = status?.ingress ?? has
  const lost = has.filter((ip) => !next.includes(ip))
  if (lost.length > 0) {
    const events = steps.flatMap((step) =>
      step.type === 'event' && step.reason === 'AddressGivenUp' ? [step.message] : [],
    )
    const why = status?.condition.status === 'False' ? [status.condition.message] : []
    const shared = sharers.some((other) => other !== service && other.ingress.some(({ ip }) => lost.includes(ip)))
    return verdict('loses', [...events, ...why, ...(shared ? [shareWords] : [])].join('; '), lost)
  }
  if (has.length > 0) return verdict('keeps', '')
  const words = status?.condition.message ?? ''
  return next.length > 0 ? verdict('gets', words, next) : verdict('waits', words)
}

const shareWords = 'Services that share an address need the same annotation bellhop.io/share'

const foreignWords = ({ loadBalancerClass }: Service, { name }: ServiceClassRule): string =>
  loadBalancerClass === undefined
    ? `it has no loadBalancerClass, and --default-class is false`
    : `its loadBalancerClass is ${loadBalancerClass}, which can not be edited: run the controller with --class ${loadBalancerClass} instead of ${name}`

function viewOf(
  objects: readonly BellhopObject[],
  services: readonly Service[],
  namespaces: readonly RawObject[],
): ClusterView {
  const pools = objects.flatMap((object): readonly VipPool[] => {
    const parsed = object.kind === 'VipPool' ? parseObject('VipPool', object) : undefined
    return parsed?.type === 'value' ? [parsed.value] : []
  })
  const known = namespaces.flatMap((raw): readonly Namespace[] => {
    const parsed =
      asObject(raw) === undefined || raw['kind'] !== 'Namespace' ? undefined : parseObject('Namespace', raw)
    return parsed?.type === 'value' ? [parsed.value] : []
  })
  return {
    services: new Map(services.map((service) => [namespacedName(service.meta.namespace, service.meta.name), service])),
    endpointSlices: new Map(),
    nodes: new Map(),
    namespaces: new Map(known.map((namespace) => [namespace.meta.name, namespace])),
    secrets: new Map(),
    bgpConfs: new Map(),
    bgpPeers: new Map(),
    vipPools: new Map(pools.map((pool) => [pool.meta.name, pool])),
    vips: new Map(),
    bgpPolicies: new Map(),
    refusals: [],
  }
}
