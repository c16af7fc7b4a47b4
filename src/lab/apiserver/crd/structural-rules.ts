// What the Kubernetes API server refuses as not structural, in its words.
// Source: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions", section on structural schemas.

import type { JsonObject } from '../json.ts'
import { SchemaError, type SchemaNode } from './schema-node.ts'

const NEVER_ALLOWED = [
  '$ref',
  '$schema',
  'id',
  'definitions',
  'dependencies',
  'patternProperties',
  'additionalItems',
] as const
const ONLY_OUTSIDE_JUNCTORS = ['description', 'title', 'type', 'default', 'additionalProperties', 'nullable'] as const

/** Keywords that no structural schema may have, anywhere. */
export function refuseNonStructural(raw: JsonObject, path: string): void {
  for (const key of NEVER_ALLOWED) {
    if (raw[key] !== undefined) throw new SchemaError(`${path}.${key}`, 'Forbidden: not allowed in a structural schema')
  }
  if (raw['uniqueItems'] === true) {
    throw new SchemaError(
      `${path}.uniqueItems`,
      'Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
    )
  }
  if (raw['additionalProperties'] === false) {
    throw new SchemaError(`${path}.additionalProperties`, 'Forbidden: additionalProperties cannot be set to false')
  }
  if (raw['x-kubernetes-preserve-unknown-fields'] === false) {
    throw new SchemaError(`${path}.x-kubernetes-preserve-unknown-fields`, 'must be true or undefined')
  }
}

/** Below a junctor only value validations are allowed; Kubernetes calls the rest "specifying" and wants it outside. */
export function refuseSpecifying(raw: JsonObject, path: string, options: { readonly typeAllowed: boolean }): void {
  for (const key of ONLY_OUTSIDE_JUNCTORS) {
    if (raw[key] !== undefined && !(key === 'type' && options.typeAllowed)) {
      throw new SchemaError(`${path}.${key}`, 'Forbidden: must be empty to be structural')
    }
  }
  if (raw['x-kubernetes-validations'] !== undefined) {
    throw new SchemaError(`${path}.x-kubernetes-validations`, 'rules below a junctor are not supported here')
  }
}

/** The keys of a list that is a map have to be there in each item. */
export function checkListMap(node: SchemaNode, path: string): void {
  if (node.listType !== 'map') {
    if (node.listMapKeys.length > 0) {
      throw new SchemaError(`${path}.x-kubernetes-list-type`, 'must be map if x-kubernetes-list-map-keys is non-empty')
    }
    return
  }
  if (node.listMapKeys.length === 0) {
    throw new SchemaError(
      `${path}.x-kubernetes-list-map-keys`,
      'Required value: must not be empty if x-kubernetes-list-type is map',
    )
  }
  for (const key of node.listMapKeys) {
    const property = node.items?.properties.get(key)
    if (!property)
      throw new SchemaError(
        `${path}.x-kubernetes-list-map-keys`,
        `entries must all be names of item properties, not ${key}`,
      )
    if (!node.items?.required.includes(key) && property.default === undefined) {
      throw new SchemaError(
        `${path}.items.properties[${key}].default`,
        'Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
      )
    }
  }
}

/** What a value validation below a junctor speaks of has to be specified outside of it. */
export function checkJunctors(node: SchemaNode, path: string): void {
  for (const [nested, at] of branches(node, path)) checkSpecifiedOutside(nested, node, at)
}

function checkSpecifiedOutside(nested: SchemaNode, outside: SchemaNode, path: string): void {
  for (const [name, child] of nested.properties) {
    const counterpart =
      outside.properties.get(name) ?? (typeof outside.additional === 'object' ? outside.additional : undefined)
    if (!counterpart) {
      throw new SchemaError(
        `${path}.properties[${name}]`,
        'Required value: because it is defined in a nested value validation',
      )
    }
    checkSpecifiedOutside(child, counterpart, `${path}.properties[${name}]`)
  }
  if (nested.items) {
    if (!outside.items)
      throw new SchemaError(`${path}.items`, 'Required value: because it is defined in a nested value validation')
    checkSpecifiedOutside(nested.items, outside.items, `${path}.items`)
  }
  for (const [deeper, at] of branches(nested, path)) checkSpecifiedOutside(deeper, outside, at)
}

/** The schemas below a node's junctors, with their paths. */
const branches = (node: SchemaNode, path: string): readonly (readonly [SchemaNode, string])[] => [
  ...node.allOf.map((branch, index) => [branch, `${path}.allOf[${index}]`] as const),
  ...node.anyOf.map((branch, index) => [branch, `${path}.anyOf[${index}]`] as const),
  ...node.oneOf.map((branch, index) => [branch, `${path}.oneOf[${index}]`] as const),
  ...(node.not ? [[node.not, `${path}.not`] as const] : []),
]
