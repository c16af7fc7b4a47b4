// What happens to an object's fields between the request and storage: types are checked, unknown fields are refused, warned
// about or dropped (fieldValidation), defaults are filled in. Built-in kinds by their type table, custom ones by their schema.

import { badRequest } from '../errors.ts'
import { isArray, isObject, type Json, type JsonObject } from '../json.ts'
import type { ResourceType } from '../registry/resource-type.ts'
import { builtinType } from '../schema/builtin-schema.ts'
import { memberType, type ScalarNode, type StructNode, type TypeNode } from '../schema/type-node.ts'

export type FieldValidation = 'Ignore' | 'Warn' | 'Strict'

export interface Decoded {
  readonly object: JsonObject
  /** Unknown fields that were dropped, in the wording of Warning headers: `unknown field "spec.foo"`. */
  readonly unknown: readonly string[]
}

/** The object with known fields only. Throws BadRequest where a value has the wrong type. */
export function decodeFields(type: ResourceType, object: JsonObject): Decoded {
  const scan = new FieldScan(type)
  if (type.custom === undefined) {
    const known = scan.struct(type.type, object, '')
    return { object: known, unknown: scan.unknown }
  }
  const { object: pruned, unknownPaths } = type.custom.schema.prune(object)
  const metadata = isObject(pruned['metadata'])
    ? scan.struct(builtinType('V1ObjectMeta'), pruned['metadata'], 'metadata')
    : {}
  return {
    object: { ...pruned, metadata },
    unknown: [...unknownPaths.map((path) => `unknown field "${path}"`), ...scan.unknown],
  }
}

/** Fills in what the kind leaves to Kubernetes. */
export function applyDefaults(type: ResourceType, object: JsonObject): JsonObject {
  if (type.custom !== undefined) return type.custom.schema.applyDefaults(object)
  return type.defaults === undefined ? object : type.defaults(object)
}

/** The refusal of a body under fieldValidation=Strict, worded as the API server does. */
export const strictDecodingError = (unknown: readonly string[]): string =>
  `strict decoding error: ${unknown.join(', ')}`

/** `Widget in version "v1" cannot be handled as a Widget: ...` */
export const cannotBeHandled = (type: ResourceType, because: string): string =>
  `${type.kind} in version "${type.version}" cannot be handled as a ${type.kind}: ${because}`

class FieldScan {
  readonly unknown: string[] = []
  readonly #resource: ResourceType

  constructor(resource: ResourceType) {
    this.#resource = resource
  }

  struct(node: StructNode, object: JsonObject, path: string): JsonObject {
    const out: Record<string, Json> = {}
    for (const [name, value] of Object.entries(object)) {
      const where = path === '' ? name : `${path}.${name}`
      const type = memberType(node, name)
      if (type === undefined) this.unknown.push(`unknown field "${where}"`)
      else if (value !== undefined && value !== null && !isLeftOut(node, name, type, value))
        out[name] = this.value(type, value, where)
    }
    return out
  }

  value(node: TypeNode, value: Json, path: string): Json {
    switch (node.kind) {
      case 'struct':
        if (!isObject(value)) throw this.#wrongType(value, path, node.name ?? 'object')
        return this.struct(node, value, path)
      case 'map': {
        if (!isObject(value)) throw this.#wrongType(value, path, 'map')
        const entries = Object.entries(value).map(([key, item]) => {
          if (item === undefined || item === null) return [key, '']
          return [key, this.value(node.values(), item, `${path}.${key}`)]
        })
        return Object.fromEntries(entries)
      }
      case 'list':
        if (!isArray(value)) throw this.#wrongType(value, path, 'slice')
        return value.map((item, i) => (item === null ? item : this.value(node.items(), item, `${path}[${i}]`)))
      case 'scalar':
        if (!scalarFits(node, value)) throw this.#wrongType(value, path, node.format ?? goNames[node.scalar])
        return value
      case 'any':
        return value
    }
  }

  #wrongType(value: Json, path: string, expected: string): Error {
    const got = isArray(value)
      ? 'array'
      : isObject(value)
        ? 'object'
        : typeof value === 'boolean'
          ? 'bool'
          : typeof value
    const field = path.replaceAll(/\[\d+\]/g, '')
    return badRequest(
      cannotBeHandled(
        this.#resource,
        `json: cannot unmarshal ${got} into Go struct field ${this.#resource.kind}.${field} of type ${expected}`,
      ),
    )
  }
}

// Empty lists and maps are what an absent field decodes to; only required fields are written out empty.
const isLeftOut = (parent: StructNode, name: string, type: TypeNode, value: Json): boolean =>
  (type.kind === 'map' || type.kind === 'list') &&
  parent.fields.get(name)?.required === false &&
  Object.keys(value ?? {}).length === 0

const goNames = {
  string: 'string',
  integer: 'int64',
  number: 'float64',
  boolean: 'bool',
  intOrString: 'int32',
} as const

function scalarFits(node: ScalarNode, value: Json): boolean {
  switch (node.scalar) {
    case 'string':
      return typeof value === 'string' || (typeof value === 'number' && node.format === 'quantity')
    case 'integer':
      return typeof value === 'number' && Number.isInteger(value)
    case 'number':
      return typeof value === 'number'
    case 'boolean':
      return typeof value === 'boolean'
    case 'intOrString':
      return typeof value === 'string' || (typeof value === 'number' && Number.isInteger(value))
  }
}
