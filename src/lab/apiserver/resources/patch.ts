// The four kinds of PATCH: how each computes a new object from the stored one. What happens to that object afterwards is the
// same as for an update.

import { parse as parseYaml } from 'yaml'
import { applyConfiguration, typedPatchError } from '../apply/server-side-apply.ts'
import { type Cluster, nowText } from '../cluster.ts'
import * as errors from '../errors.ts'
import { isObject, type Json, type JsonObject, objectAt, stringAt, withValue } from '../json.ts'
import { jsonPatch } from '../patch/json-patch.ts'
import { mergePatch } from '../patch/merge-patch.ts'
import { strategicMerge } from '../patch/strategic-merge.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import type { Stored } from '../storage/stored.ts'
import { decodeFields } from './decode.ts'
import { objectOf } from './present.ts'
import { createObject, replaceObject, type Target, type WriteOptions } from './write.ts'

export const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const

export interface PatchOutcome {
  readonly stored: Stored
  readonly created: boolean
}

/** Patches an object. `force` concerns server-side apply only. Throws ApiError. */
export function patchObject(
  cluster: Cluster,
  target: Target,
  name: string,
  patch: { readonly mediaType: string; readonly text: string },
  options: WriteOptions & { readonly force: boolean },
): PatchOutcome {
  const { type, namespace } = target
  if (patch.mediaType === patchTypes.apply) return applyObject(cluster, target, name, patch.text, options)
  const existing = cluster.store.get(type.bucket, namespace, name)
  if (existing === undefined) throw errors.notFound(type, name)
  const body = compute(type, patch, objectOf(type, existing))
  const stored = replaceObject(cluster, target, existing, keepUnsaidVersion(body, existing, patch), {
    ...options,
    refuseUnknown: (because) =>
      errors.invalid({ group: '', plural: '', kind: '' }, '', [
        {
          reason: 'FieldValueInvalid',
          path: 'patch',
          message: `Invalid value: ${JSON.stringify(patch.text)}: ${because}`,
        },
      ]),
  })
  return { stored, created: false }
}

function compute(
  type: ResourceType,
  patch: { readonly mediaType: string; readonly text: string },
  live: JsonObject,
): JsonObject {
  const value = parseJson(patch.text)
  switch (patch.mediaType) {
    case patchTypes.json:
      return jsonPatch(live, value)
    case patchTypes.merge: {
      const merged = mergePatch(live, value)
      return isObject(merged) ? merged : {}
    }
    case patchTypes.strategic:
      if (type.custom !== undefined)
        throw errors.unsupportedMediaType([patchTypes.json, patchTypes.merge, patchTypes.apply])
      if (!isObject(value)) throw errors.badRequest('a strategic merge patch is an object')
      return strategicMerge(live, value, type.type)
    default:
      throw errors.unsupportedMediaType(Object.values(patchTypes))
  }
}

// The patched object carries the live resourceVersion; only one that the patch itself changed is a precondition.
function keepUnsaidVersion(body: JsonObject, existing: Stored, patch: { readonly text: string }): JsonObject {
  const asked = stringAt(body, 'metadata', 'resourceVersion')
  const said = asked !== String(existing.revision) || patch.text.includes('resourceVersion')
  return said ? body : withValue(body, ['metadata', 'resourceVersion'], undefined)
}

function parseJson(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch (error) {
    throw errors.badRequest(`error decoding patch: ${error instanceof Error ? error.message : 'invalid JSON'}`)
  }
}

function applyObject(
  cluster: Cluster,
  target: Target,
  name: string,
  text: string,
  options: WriteOptions & { readonly force: boolean },
): PatchOutcome {
  const { type, namespace } = target
  const config = parseConfiguration(target, name, text)
  const existing = cluster.store.get(type.bucket, namespace, name)
  if (existing === undefined && options.subresource !== undefined) throw errors.notFound(type, name)
  const uid = stringAt(config, 'metadata', 'uid')
  if (existing === undefined && uid !== undefined)
    throw errors.conflict(
      type,
      name,
      `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`,
    )
  const live = existing === undefined ? undefined : objectOf(type, existing)
  const applied = applyConfiguration(type, live, config, {
    manager: options.fieldManager,
    force: options.force,
    time: nowText(cluster),
    ...(options.subresource === undefined ? {} : { subresource: options.subresource }),
  })
  const writeOptions = { ...options, managedFields: applied.managedFields }
  if (existing === undefined)
    return { stored: createObject(cluster, target, applied.object, writeOptions), created: true }
  const asked = stringAt(config, 'metadata', 'resourceVersion')
  const body = withValue(applied.object, ['metadata', 'resourceVersion'], asked)
  return { stored: replaceObject(cluster, target, existing, body, writeOptions), created: false }
}

function parseConfiguration({ type, namespace }: Target, name: string, text: string): JsonObject {
  const config = parseDocument(text)
  if (stringAt(config, 'apiVersion') !== groupVersionOf(type) || stringAt(config, 'kind') !== type.kind)
    throw errors.badRequest(
      `error decoding patch: the applied object is ${stringAt(config, 'apiVersion')} ${stringAt(config, 'kind')}, not ${groupVersionOf(type)} ${type.kind}`,
    )
  if (objectAt(config, 'metadata')['managedFields'] !== undefined)
    throw errors.badRequest('metadata.managedFields must be nil')
  if ((stringAt(config, 'metadata', 'name') ?? name) !== name)
    throw errors.badRequest(
      `the name of the object (${stringAt(config, 'metadata', 'name')}) does not match the name on the URL (${name})`,
    )
  const { object, unknown } = decodeFields(type, config)
  const [first] = unknown
  if (first !== undefined) {
    const field = /"(.+)"/.exec(first)?.[1] ?? ''
    throw typedPatchError(type, config, `.${field}: field not declared in schema`)
  }
  return { ...object, metadata: { ...objectAt(object, 'metadata'), name, ...(type.namespaced ? { namespace } : {}) } }
}

/** An object from JSON or YAML text. Throws BadRequest. */
export function parseDocument(text: string): JsonObject {
  let value: unknown
  try {
    value = text.trimStart().startsWith('{') ? JSON.parse(text) : parseYaml(text)
  } catch (error) {
    throw errors.badRequest(`error decoding: ${error instanceof Error ? error.message : 'not an object'}`)
  }
  if (!isObject(value)) throw errors.badRequest('error decoding: not an object')
  return value
}
