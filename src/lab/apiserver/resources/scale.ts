// The scale subresource: replicas of any kind that has them, read and written as autoscaling/v1 Scale.

import type { Cluster } from '../cluster.ts'
import * as errors from '../errors.ts'
import { isObject, type Json, type JsonObject, numberAt, objectAt, stringAt, valueAt, withValue } from '../json.ts'
import { jsonPatch } from '../patch/json-patch.ts'
import { mergePatch } from '../patch/merge-patch.ts'
import type { ResourceType, ScalePaths } from '../registry/resource-type.ts'
import type { Stored } from '../storage/stored.ts'
import { patchTypes } from './patch.ts'
import { objectOf } from './present.ts'
import { replaceObject, type Target, type WriteOptions } from './write.ts'

function pathsOf(type: ResourceType): ScalePaths {
  if (type.scale === undefined) throw errors.noSuchPath()
  return type.scale
}

const countAt = (object: JsonObject, path: readonly string[]): number => {
  const value = valueAt(object, ...path)
  return typeof value === 'number' ? value : 0
}

/** The Scale of an object. */
export function readScale(type: ResourceType, stored: Stored): JsonObject {
  const paths = pathsOf(type)
  const { name, namespace, uid, resourceVersion, creationTimestamp } = objectAt(stored.object, 'metadata')
  const selector = paths.selector(stored.object)
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: countAt(stored.object, paths.spec) },
    status: { replicas: countAt(stored.object, paths.status), ...(selector === '' ? {} : { selector }) },
  }
}

/** Sets the replicas from a Scale. Throws ApiError. */
export function updateScale(
  cluster: Cluster,
  target: Target,
  name: string,
  scale: JsonObject,
  options: WriteOptions,
): JsonObject {
  const { type, namespace } = target
  const existing = cluster.store.get(type.bucket, namespace, name)
  if (existing === undefined) throw errors.notFound(type, name)
  const replicas = numberAt(scale, 'spec', 'replicas') ?? 0
  if (replicas < 0)
    throw errors.invalid({ group: 'autoscaling', plural: 'scales', kind: 'Scale' }, name, [
      {
        reason: 'FieldValueInvalid',
        path: 'spec.replicas',
        message: `Invalid value: ${replicas}: must be greater than or equal to 0`,
      },
    ])
  const asked = stringAt(scale, 'metadata', 'resourceVersion')
  const body = withValue(
    withValue(objectOf(type, existing), pathsOf(type).spec, replicas),
    ['metadata', 'resourceVersion'],
    asked,
  )
  return readScale(type, replaceObject(cluster, target, existing, body, options))
}

/** Patches the Scale of an object with a JSON or merge patch. Throws ApiError. */
export function patchScale(
  cluster: Cluster,
  target: Target,
  name: string,
  patch: { readonly mediaType: string; readonly text: string },
  options: WriteOptions,
): JsonObject {
  const existing = cluster.store.get(target.type.bucket, target.namespace, name)
  if (existing === undefined) throw errors.notFound(target.type, name)
  const scale = readScale(target.type, existing)
  const value = JSON.parse(patch.text) as Json
  const patched = patch.mediaType === patchTypes.json ? jsonPatch(scale, value) : mergePatch(scale, value)
  return updateScale(cluster, target, name, isObject(patched) ? patched : {}, options)
}
