// Deletion: at once where nothing holds the object, otherwise a deletionTimestamp that its finalizers' owners act on. Pods on
// nodes wait for their kubelet, namespaces and CRDs for their content.

import { type Cluster, nowText } from '../cluster.ts'
import * as errors from '../errors.ts'
import { type JsonObject, numberAt, objectAt, stringAt, stringsAt, withValue } from '../json.ts'
import type { ResourceType } from '../registry/resource-type.ts'
import type { Stored } from '../storage/stored.ts'
import type { Target } from './write.ts'
import { isFinallyDeleted } from './write.ts'

export interface DeleteOptions {
  readonly uid?: string
  readonly resourceVersion?: string
  readonly gracePeriodSeconds?: number
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan'
  readonly dryRun?: boolean
}

export interface Deletion {
  /** The last state, or the state that waits for its finalizers. */
  readonly stored: Stored
  readonly gone: boolean
}

/** Namespaces that a cluster can not be without. */
const permanentNamespaces = new Set(['default', 'kube-system', 'kube-public'])

/** Deletes an object or marks it as being deleted. Throws NotFound, Conflict, Forbidden. */
export function deleteObject(cluster: Cluster, target: Target, name: string, options: DeleteOptions = {}): Deletion {
  const { type, namespace } = target
  const existing = cluster.store.get(type.bucket, namespace, name)
  if (existing === undefined) throw errors.notFound(type, name)
  if (type.bucket === '/namespaces' && permanentNamespaces.has(name))
    throw errors.forbidden(type, name, 'this namespace may not be deleted')
  checkPreconditions(type, existing, options)
  const marked = markDeleted(cluster, type, existing.object, options)
  if (options.dryRun === true) return { stored: existing, gone: isFinallyDeleted(marked) }
  if (isFinallyDeleted(marked)) {
    const last = cluster.store.delete(type.bucket, namespace, name) ?? existing
    return { stored: last, gone: true }
  }
  if (marked === existing.object) return { stored: existing, gone: false }
  return { stored: cluster.store.put(type.bucket, namespace, name, marked), gone: false }
}

function checkPreconditions(type: ResourceType, existing: Stored, options: DeleteOptions): void {
  const refuse = (what: string, asked: string, found: string): void => {
    if (asked !== found)
      throw errors.conflict(
        type,
        existing.name,
        `Precondition failed: ${what} in precondition: ${asked}, ${what} in object meta: ${found}`,
      )
  }
  if (options.uid !== undefined) refuse('UID', options.uid, existing.uid)
  if (options.resourceVersion !== undefined)
    refuse('ResourceVersion', options.resourceVersion, String(existing.revision))
}

function markDeleted(cluster: Cluster, type: ResourceType, object: JsonObject, options: DeleteOptions): JsonObject {
  const metadata = objectAt(object, 'metadata')
  const grace = graceSeconds(cluster, type, object, options)
  const before = stringAt(metadata, 'deletionTimestamp')
  const shortened = grace < (numberAt(metadata, 'deletionGracePeriodSeconds') ?? 0)
  if (before !== undefined && !shortened) return object
  const generation = numberAt(metadata, 'generation')
  const end = new Date(cluster.clock.wallMs() + grace * 1000).toISOString().replace(/\.\d+Z$/, 'Z')
  const marked: JsonObject = {
    ...object,
    metadata: {
      ...metadata,
      deletionTimestamp: grace > 0 ? end : (before ?? nowText(cluster)),
      deletionGracePeriodSeconds: grace,
      ...(generation === undefined || before !== undefined ? {} : { generation: generation + 1 }),
      ...finalizersFor(metadata, options),
    },
  }
  return type.bucket === '/namespaces' ? withValue(marked, ['status', 'phase'], 'Terminating') : marked
}

function finalizersFor(metadata: JsonObject, options: DeleteOptions): JsonObject {
  const present = stringsAt(metadata, 'finalizers')
  const wanted = { Foreground: 'foregroundDeletion', Orphan: 'orphan', Background: undefined }[
    options.propagation ?? 'Background'
  ]
  return wanted === undefined || present.includes(wanted) ? {} : { finalizers: [...present, wanted] }
}

// A pod that no kubelet runs, or that has ended, goes at once.
function graceSeconds(cluster: Cluster, type: ResourceType, object: JsonObject, options: DeleteOptions): number {
  if (type.bucket !== '/pods' || cluster.podDeletion === 'immediate') return 0
  const ended = ['Succeeded', 'Failed'].includes(stringAt(object, 'status', 'phase') ?? '')
  if (ended || (stringAt(object, 'spec', 'nodeName') ?? '') === '') return 0
  return options.gracePeriodSeconds ?? numberAt(object, 'spec', 'terminationGracePeriodSeconds') ?? 30
}
