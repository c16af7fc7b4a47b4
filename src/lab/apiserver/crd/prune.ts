// Drops the fields a schema does not know, as the API server does before it stores a custom resource, and lists them so that
// the server can warn or refuse (fieldValidation=Warn|Strict). Also fills in defaults, which happens right after.
// Source: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions", field pruning and defaulting.
import { isArray, isObject, type Json, type JsonObject } from '../json.ts'
import type { SchemaNode } from './schema-node.ts'

/** The fields of metav1.ObjectMeta; the schema has no say in them. */
const OBJECT_META_FIELDS: ReadonlySet<string> = new Set([
  'name',
  'generateName',
  'namespace',
  'selfLink',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'labels',
  'annotations',
  'ownerReferences',
  'finalizers',
  'managedFields',
])
const TYPE_META_FIELDS: ReadonlySet<string> = new Set(['apiVersion', 'kind'])

/**
 * @param object a whole custom resource
 * @returns the object without unknown fields, and the paths of what was dropped, as `spec.peers[0].asnn`
 */
export function pruneResource(
  schema: SchemaNode,
  object: JsonObject,
): { readonly object: JsonObject; readonly unknownPaths: readonly string[] } {
  const unknownPaths: string[] = []
  return { object: pruneObject(schema, object, '', { unknownPaths, resource: true }), unknownPaths }
}

interface PruneContext {
  readonly unknownPaths: string[]
  /** The object at this very place carries apiVersion, kind and metadata of its own. */
  readonly resource: boolean
}

function prune(schema: SchemaNode, value: Json, path: string, unknownPaths: string[]): Json {
  if (isArray(value)) {
    const items = schema.items
    return items ? value.map((item, index) => prune(items, item, `${path}[${index}]`, unknownPaths)) : value
  }
  if (!isObject(value)) return value
  return pruneObject(schema, value, path, { unknownPaths, resource: schema.embeddedResource })
}

function pruneObject(schema: SchemaNode, object: JsonObject, path: string, context: PruneContext): JsonObject {
  const kept: [string, Json][] = []
  for (const [name, value] of Object.entries(object)) {
    if (value === undefined) continue
    const at = path === '' ? name : `${path}.${name}`
    const property = schema.properties.get(name) ?? (schema.additional === 'any' ? undefined : schema.additional)
    if (context.resource && name === 'metadata') kept.push([name, pruneMetadata(value, at, context.unknownPaths)])
    else if (context.resource && TYPE_META_FIELDS.has(name)) kept.push([name, value])
    else if (property) kept.push([name, prune(property, value, at, context.unknownPaths)])
    else if (schema.preserveUnknown || schema.additional === 'any') kept.push([name, value])
    else context.unknownPaths.push(at)
  }
  return Object.fromEntries(kept)
}

function pruneMetadata(metadata: Json, path: string, unknownPaths: string[]): Json {
  if (!isObject(metadata)) return metadata
  const known = Object.entries(metadata).filter(([name, value]) => {
    if (value === undefined) return false
    if (OBJECT_META_FIELDS.has(name)) return true
    unknownPaths.push(`${path}.${name}`)
    return false
  })
  return Object.fromEntries(known)
}

/**
 * Fills in what the schema defaults, top down, so that a default may itself be completed by the defaults below it. A null
 * in a field that is not nullable counts as absent: it is replaced by the default, or dropped where there is none.
 */
export function applyDefaults(schema: SchemaNode, value: Json): Json {
  if (isArray(value)) {
    const items = schema.items
    return items ? value.map((item) => applyDefaults(items, item)) : value
  }
  if (!isObject(value)) return value
  const result = new Map<string, Json>()
  for (const [name, child] of Object.entries(value)) {
    const property = schema.properties.get(name) ?? (schema.additional === 'any' ? undefined : schema.additional)
    if (child === undefined || (child === null && property && !property.nullable)) continue
    result.set(name, property ? applyDefaults(property, child) : child)
  }
  for (const [name, property] of schema.properties) {
    if (property.default !== undefined && !result.has(name)) {
      result.set(name, applyDefaults(property, property.default))
    }
  }
  return Object.fromEntries(result)
}
