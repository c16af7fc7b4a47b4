// A cluster in which everything has been said: the statuses that a controller would have written long ago, computed by the
// controller's own functions, so that a restart finds nothing to write and what a scenario writes is the scenario's.

import type { SessionStatus } from '../src/bgp/speaker/protocol.ts'
import { type ClusterView, type Condition, type EndpointSlice, type Kind, namespacedName } from '../src/k8s/objects.ts'
import { resources } from '../src/k8s/resources.ts'
import { type KindValues, parseObject } from '../src/k8s/schemas/parse.ts'
import { type JsonObject, objectAt, objectsAt } from '../src/lab/apiserver/json.ts'
import type { ApiServerHandle } from '../src/lab/apiserver/server.ts'
import { parseRouterId } from '../src/net/asn.ts'
import { planFromScratch } from '../src/plan/plan.ts'
import { report } from '../src/plan/report.ts'
import { must } from '../src/runtime/result.ts'
import { allocate } from '../src/vip/allocate.ts'
import type { ServiceClassRule } from '../src/vip/types.ts'

const time = '2024-01-01T00:00:00Z'
const serviceClass: ServiceClassRule = { name: 'bellhop.io/bgp', handleDefault: true }

function valuesOf<K extends Kind>(server: ApiServerHandle, kind: K): ReadonlyMap<string, KindValues[K]> {
  const values = new Map<string, KindValues[K]>()
  for (const raw of server.objects.list(resources[kind].apiVersion, kind)) {
    const parsed = parseObject(kind, raw)
    if (parsed.type !== 'value') continue
    const { namespace, name } = parsed.value.meta
    values.set(resources[kind].namespaced ? namespacedName(namespace, name) : name, parsed.value)
  }
  return values
}

/** The cluster as the planner sees it. */
export function viewOf(server: ApiServerHandle): ClusterView {
  const slices = Map.groupBy(valuesOf(server, 'EndpointSlice').values(), (slice: EndpointSlice) => slice.service)
  return {
    services: valuesOf(server, 'Service') as ClusterView['services'],
    endpointSlices: slices,
    nodes: valuesOf(server, 'Node'),
    namespaces: valuesOf(server, 'Namespace'),
    secrets: new Map(),
    bgpConfs: valuesOf(server, 'BgpConf'),
    bgpPeers: valuesOf(server, 'BgpPeer'),
    vipPools: valuesOf(server, 'VipPool'),
    vips: valuesOf(server, 'Vip'),
    bgpPolicies: valuesOf(server, 'BgpPolicy'),
    refusals: [],
  }
}

// Conditions are plain JSON; the types of the two sides only do not know of each other.
const stamped = (conditions: readonly Condition[]): readonly JsonObject[] =>
  conditions.map((condition) => ({ lastTransitionTime: time, ...condition }) as JsonObject)

/** Writes the statuses of all Vips and Services as they are once every session is up. */
export function settle(server: ApiServerHandle, replica: { readonly name: string; readonly node: string }): void {
  const view = viewOf(server)
  // Any will do: without one there would be no sessions.
  const defaultRouterId = must(parseRouterId('10.0.0.1'))
  const plan = planFromScratch(view, { serviceClass, nodeLiveness: new Map(), defaultRouterId })
  const allocation = allocate({ view, serviceClass, withdrawn: () => false, nowMs: Date.now() })
  if (allocation.work.length > 0) throw new Error(`allocation is not settled: ${JSON.stringify(allocation.work[0])}`)
  const sessions = new Map(
    plan.peers.map(({ name }): [string, SessionStatus] => [
      name,
      // Of a session only its state matters to the status of a Vip.
      { peer: name, state: 'Established', sinceMs: 0, announcedPrefixes: 0, receivedPrefixes: 0 } as SessionStatus,
    ]),
  )
  const { statuses, services } = report({
    ...{ view, plan, serviceClass, allocation, sessions },
    replica: { ...replica, sinceMs: 0 },
  })
  for (const { kind, name, status } of statuses) {
    if (kind !== 'Vip') continue
    const conditions = stamped(status['conditions'] as readonly Condition[])
    server.objects.update(
      { apiVersion: resources.Vip.apiVersion, kind, name },
      (object) => ({ ...object, status: { ...(status as JsonObject), conditions } }),
      { subresource: 'status' },
    )
  }
  for (const { service, condition } of services) {
    const [namespace = '', name = ''] = service.split('/')
    server.objects.update(
      { apiVersion: 'v1', kind: 'Service', namespace, name },
      (object) => {
        const conditions = [...objectsAt(object, 'status', 'conditions'), ...stamped([condition])]
        return { ...object, status: { ...objectAt(object, 'status'), conditions } }
      },
      { subresource: 'status' },
    )
  }
}
