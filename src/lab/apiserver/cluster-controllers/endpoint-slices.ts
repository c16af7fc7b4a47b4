// Keeps the EndpointSlices of every Service with a selector equal to the pods that it selects.

import type { IpFamily } from '../../../net/ip.ts'
import { serviceBucket } from '../admission/address-allocator.ts'
import type { Cluster } from '../cluster.ts'
import { type JsonObject, jsonEqual, objectAt, objectsAt, stringAt, stringsAt } from '../json.ts'
import { Objects } from '../objects.ts'
import type { Stored } from '../storage/stored.ts'
import { endpointGroups, layOut, type SlicePlan } from './endpoint-layout.ts'
import { LabelIndex } from './label-index.ts'
import { runReconciler } from './reconciler.ts'

const apiVersion = 'discovery.k8s.io/v1'
const kind = 'EndpointSlice'
const managedBy = 'endpointslice-controller.k8s.io'
const serviceNameLabel = 'kubernetes.io/service-name'
const managedByLabel = 'endpointslice.kubernetes.io/managed-by'

/** Returns the function that stops it. */
export function runEndpointSliceController(cluster: Cluster): () => void {
  const objects = new Objects(cluster)
  const pods = new LabelIndex(cluster.store, '/pods', (pod) => objectAt(pod, 'metadata', 'labels'))
  const services = new LabelIndex(cluster.store, serviceBucket, selectorOf)
  const slices = new LabelIndex(cluster.store, 'discovery.k8s.io/endpointslices', (slice) =>
    objectAt(slice, 'metadata', 'labels'),
  )
  const selecting = (pod: Stored): Iterable<string> =>
    services.withAnyOf(pod.namespace, objectAt(pod.object, 'metadata', 'labels')).map((service) => service.key)
  const stop = runReconciler(cluster, {
    watches: {
      [serviceBucket]: (service) => [service.key],
      '/pods': selecting,
      'discovery.k8s.io/endpointslices': (slice) => [
        `${slice.namespace}/${stringAt(slice.object, 'metadata', 'labels', serviceNameLabel) ?? ''}`,
      ],
    },
    reconcile: (key) => {
      const service = cluster.store.bucket(serviceBucket).get(key)
      if (service === undefined) return undefined
      const selector = selectorOf(service.object)
      if (Object.keys(selector).length === 0 || stringAt(service.object, 'spec', 'type') === 'ExternalName')
        return undefined
      const selected = pods.withAllOf(service.namespace, selector).map((pod) => pod.object)
      const existing = slices
        .withAllOf(service.namespace, { [serviceNameLabel]: service.name, [managedByLabel]: managedBy })
        .map((slice) => slice.object)
      reconcileService(objects, service.object, selected, existing)
      return undefined
    },
  })
  return () => {
    stop()
    for (const index of [pods, services, slices]) index.stop()
  }
}

const selectorOf = (service: JsonObject): JsonObject => objectAt(service, 'spec', 'selector')

function reconcileService(
  objects: Objects,
  service: JsonObject,
  pods: readonly JsonObject[],
  existing: readonly JsonObject[],
): void {
  const kept = new Set<JsonObject>()
  for (const family of stringsAt(service, 'spec', 'ipFamilies') as readonly IpFamily[]) {
    const ofFamily = existing.filter((slice) => stringAt(slice, 'addressType') === family)
    for (const plan of layOut(endpointGroups(service, pods, family), ofFamily)) {
      if (plan.existing !== undefined) kept.add(plan.existing)
      writeSlice(objects, service, family, plan)
    }
  }
  for (const slice of existing)
    if (!kept.has(slice))
      objects.delete({
        apiVersion,
        kind,
        namespace: stringAt(slice, 'metadata', 'namespace') ?? '',
        name: stringAt(slice, 'metadata', 'name') ?? '',
      })
}

function writeSlice(objects: Objects, service: JsonObject, family: IpFamily, plan: SlicePlan): void {
  const { existing, ports, endpoints } = plan
  const labels = labelsFor(service)
  const isRight =
    existing !== undefined &&
    jsonEqual(objectsAt(existing, 'endpoints'), endpoints) &&
    jsonEqual(objectsAt(existing, 'ports'), ports) &&
    jsonEqual(objectAt(existing, 'metadata', 'labels'), labels)
  if (isRight) return
  const name = stringAt(service, 'metadata', 'name') ?? ''
  const base = existing ?? {
    apiVersion,
    kind,
    addressType: family,
    metadata: {
      generateName: `${name}-`,
      namespace: stringAt(service, 'metadata', 'namespace'),
      ownerReferences: [ownerReference(service, name)],
    },
  }
  objects.put({ ...base, metadata: { ...objectAt(base, 'metadata'), labels }, endpoints, ports })
}

function labelsFor(service: JsonObject): JsonObject {
  const headless = stringAt(service, 'spec', 'clusterIP') === 'None' ? { 'service.kubernetes.io/headless': '' } : {}
  return {
    ...objectAt(service, 'metadata', 'labels'),
    ...headless,
    [serviceNameLabel]: stringAt(service, 'metadata', 'name'),
    [managedByLabel]: managedBy,
  }
}

const ownerReference = (service: JsonObject, name: string): JsonObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  name,
  uid: stringAt(service, 'metadata', 'uid'),
  controller: true,
  blockOwnerDeletion: true,
})
