// A CRD that is being deleted takes its objects along: they are deleted, and when the last is gone, the definition goes.

import { crdFinalizer } from '../admission/crd.ts'
import type { Cluster } from '../cluster.ts'
import { stringAt, stringsAt, withValue } from '../json.ts'
import { crdBucket } from '../registry/registry.ts'
import { deleteObject } from '../resources/delete.ts'
import { isFinallyDeleted } from '../resources/write.ts'
import { ownKey, runReconciler } from './reconciler.ts'

/** How often objects that wait for finalizers are looked at again. */
const pollMs = 200

/** Returns the function that stops it. */
export function runCrdCleanup(cluster: Cluster): () => void {
  return runReconciler(cluster, {
    watches: { [crdBucket]: ownKey },
    reconcile: (key) => {
      const crd = cluster.store.bucket(crdBucket).get(key)
      if (crd === undefined || stringAt(crd.object, 'metadata', 'deletionTimestamp') === undefined) return undefined
      const group = stringAt(crd.object, 'spec', 'group') ?? ''
      const plural = stringAt(crd.object, 'spec', 'names', 'plural') ?? ''
      const type = cluster.registry.all().find((each) => each.group === group && each.plural === plural)
      const instances = type === undefined ? [] : cluster.store.list(type.bucket)
      const left = instances.filter(
        (stored) =>
          type !== undefined && !deleteObject(cluster, { type, namespace: stored.namespace }, stored.name).gone,
      )
      if (left.length > 0) return pollMs
      const finalizers = stringsAt(crd.object, 'metadata', 'finalizers').filter((name) => name !== crdFinalizer)
      const freed = withValue(crd.object, ['metadata', 'finalizers'], finalizers.length === 0 ? undefined : finalizers)
      if (isFinallyDeleted(freed)) cluster.store.delete(crdBucket, '', crd.name)
      else if (finalizers.length < stringsAt(crd.object, 'metadata', 'finalizers').length)
        cluster.store.put(crdBucket, '', crd.name, freed)
      return undefined
    },
  })
}
