// Type nodes from the openAPIV3Schema of a CRD, for server-side apply and OpenAPI. Pruning, defaulting and validation
// of custom resources are the work of the structural schema in crd/.

import { isObject, type Json, type JsonObject, objectAt, stringAt, stringsAt } from '../json.ts'
import { builtinType } from './builtin-schema.ts'
import { anyNode, type Field, type ListNode, type StructNode, type TypeNode } from './type-node.ts'

/** The root type of a custom resource: its schema, with apiVersion, kind and the standard metadata. */
export function customResourceType(schema: JsonObject): StructNode {
  const root = schemaType(schema)
  const fields = new Map(root.kind === 'struct' ? root.fields : [])
  const text: Field = { required: false, type: () => ({ kind: 'scalar', scalar: 'string' }) }
  fields.set('apiVersion', text)
  fields.set('kind', text)
  fields.set('metadata', { required: false, type: () => builtinType('V1ObjectMeta') })
  return { kind: 'struct', fields, open: root.kind === 'any' || (root.kind === 'struct' && root.open), atomic: false }
}

function schemaType(schema: Json | undefined): TypeNode {
  if (!isObject(schema)) return anyNode
  if (schema['x-kubernetes-int-or-string'] === true) return { kind: 'scalar', scalar: 'intOrString' }
  switch (stringAt(schema, 'type')) {
    case 'object':
      return objectType(schema)
    case 'array':
      return listType(schema)
    case 'string':
      return { kind: 'scalar', scalar: 'string', ...formatOf(schema) }
    case 'integer':
      return { kind: 'scalar', scalar: 'integer', ...formatOf(schema) }
    case 'number':
      return { kind: 'scalar', scalar: 'number', ...formatOf(schema) }
    case 'boolean':
      return { kind: 'scalar', scalar: 'boolean' }
    default:
      return anyNode
  }
}

function objectType(schema: JsonObject): TypeNode {
  const atomic = schema['x-kubernetes-map-type'] === 'atomic'
  const additional = schema['additionalProperties']
  if (additional !== undefined && additional !== false && schema['properties'] === undefined) {
    const values = schemaType(additional)
    return { kind: 'map', values: () => values, atomic }
  }
  const required = new Set(stringsAt(schema, 'required'))
  const fields = new Map<string, Field>()
  for (const [name, property] of Object.entries(objectAt(schema, 'properties'))) {
    const type = schemaType(property)
    fields.set(name, { required: required.has(name), type: () => type })
  }
  const embedded = schema['x-kubernetes-embedded-resource'] === true
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true || embedded
  return { kind: 'struct', fields, open, atomic }
}

function listType(schema: JsonObject): ListNode {
  const items = schemaType(schema['items'])
  const mapKeys = stringsAt(schema, 'x-kubernetes-list-map-keys')
  const declared = stringAt(schema, 'x-kubernetes-list-type')
  const keyDefaults: Record<string, string> = {}
  for (const key of mapKeys) {
    const value = stringAt(schema, 'items', 'properties', key, 'default')
    if (value !== undefined) keyDefaults[key] = value
  }
  return {
    kind: 'list',
    items: () => items,
    listType: declared === 'map' || declared === 'set' ? declared : 'atomic',
    mapKeys,
    keyDefaults,
    patch: { merge: false },
  }
}

const formatOf = (schema: JsonObject): { format?: string } => {
  const format = stringAt(schema, 'format')
  return format === undefined ? {} : { format }
}
