// Deletion of a namespace deletes what is in it; once nothing is left, the namespace goes.

import type { Cluster } from '../cluster.ts'
import { type JsonObject, objectAt, stringAt } from '../json.ts'
import { deleteObject } from '../resources/delete.ts'
import { isFinallyDeleted } from '../resources/write.ts'
import { ownKey, runReconciler } from './reconciler.ts'

const bucket = '/namespaces'

/** How often a namespace with content that waits for finalizers is looked at again. */
const pollMs = 200

/** Returns the function that stops it. */
export function runNamespaceController(cluster: Cluster): () => void {
  return runReconciler(cluster, {
    watches: { [bucket]: ownKey },
    reconcile: (key) => {
      const namespace = cluster.store.bucket(bucket).get(key)
      if (namespace === undefined || stringAt(namespace.object, 'metadata', 'deletionTimestamp') === undefined)
        return undefined
      if (deleteContent(cluster, namespace.name) > 0) return pollMs
      finalize(cluster, namespace.name, namespace.object)
      return undefined
    },
  })
}

// How many objects are left after everything was asked to go.
function deleteContent(cluster: Cluster, namespace: string): number {
  let left = 0
  for (const type of cluster.registry.storages().filter((each) => each.namespaced))
    for (const stored of cluster.store.list(type.bucket, namespace))
      if (!deleteObject(cluster, { type, namespace }, stored.name).gone) left += 1
  return left
}

function finalize(cluster: Cluster, name: string, object: JsonObject): void {
  const { finalizers: _kubernetes, ...spec } = objectAt(object, 'spec')
  const finalized = { ...object, spec }
  if (isFinallyDeleted(finalized)) cluster.store.delete(bucket, '', name)
  else if (_kubernetes !== undefined) cluster.store.put(bucket, '', name, finalized)
}
