// Gives every place of a schema its CEL type, and turns JSON values into values of that type, so that rules are type-checked
// when a CRD is created, as in a real API server, and not when the first unlucky object meets them.
// Source: Kubernetes documentation, "Validation rules": mapping between OpenAPI and CEL types, escaping of field names.
import { isDeepStrictEqual } from 'node:util'
import { type Environment, parse } from '@marcbachmann/cel-js'
import { isArray, isObject, type Json } from '../json.ts'
import type { SchemaNode } from './schema-node.ts'

/** The CEL view of one schema node. */
export interface CelType {
  /** The name the CEL engine knows it by, e.g. `list<string>`. */
  readonly name: string
  toCel(value: Json): unknown
}

const KEYWORDS: ReadonlySet<string> = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
)

/** The identifier under which a rule reaches a property: `namespace` becomes `__namespace__`, `a-b` becomes `a__dash__b`. */
export function celFieldName(property: string): string {
  if (KEYWORDS.has(property)) return `__${property}__`
  return property
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__')
}

const OBJECT_META: ReadonlyMap<string, CelType> = new Map([
  ['name', scalar('string')],
  ['generateName', scalar('string')],
])

function scalar(name: string, toCel: (value: Json) => unknown = (value) => value): CelType {
  return { name, toCel: (value) => (value === null ? null : toCel(value)) }
}

/** What a rule sees of a place without a type: integers as int, other numbers as double. */
function untyped(value: Json): unknown {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value
  if (isArray(value)) return value.map(untyped)
  if (isObject(value)) {
    return new Map(
      Object.entries(value).flatMap(([key, child]) => (child === undefined ? [] : [[key, untyped(child)] as const])),
    )
  }
  return value
}

const DYN = scalar('dyn', untyped)

/**
 * Registers the types of a whole schema with the CEL engine.
 * @returns the type of each node; a nullable node is `dyn`, since null has no place in the engine's typed fields
 */
export function registerSchemaTypes(env: Environment, root: SchemaNode): ReadonlyMap<SchemaNode, CelType> {
  const types = new Map<SchemaNode, CelType>()
  const meta = objectType(env, 'Meta', OBJECT_META)

  const visit = (node: SchemaNode, name: string, options: { readonly resource: boolean }): CelType => {
    const properties = new Map<string, CelType>()
    for (const [property, child] of node.properties) {
      properties.set(property, visit(child, `${name}.${celFieldName(property)}`, { resource: child.embeddedResource }))
    }
    if (options.resource) {
      properties.set('apiVersion', scalar('string')).set('kind', scalar('string')).set('metadata', meta)
    }
    const items = node.items && visit(node.items, `${name}.item`, { resource: node.items.embeddedResource })
    const values =
      typeof node.additional === 'object' ? visit(node.additional, `${name}.value`, { resource: false }) : undefined
    const type = own(node, name, properties, items, values)
    types.set(node, type)
    return node.nullable ? { name: 'dyn', toCel: type.toCel } : type
  }

  const own = (
    node: SchemaNode,
    name: string,
    properties: ReadonlyMap<string, CelType>,
    items: CelType | undefined,
    values: CelType | undefined,
  ): CelType => {
    switch (node.type) {
      case 'string':
        return stringType(node)
      case 'integer':
        return scalar('int', (value) => (typeof value === 'number' ? BigInt(Math.trunc(value)) : value))
      case 'number':
        return scalar('double')
      case 'boolean':
        return scalar('bool')
      case 'array':
        return items ? listType(items) : DYN
      case 'object':
        if (values) return mapType(values)
        return properties.size === 0 ? DYN : objectType(env, name, properties)
      default:
        return DYN
    }
  }

  visit(root, 'Object', { resource: true })
  return types
}

const parseDuration = parse('duration(text)')

function stringType(node: SchemaNode): CelType {
  switch (node.format) {
    case 'duration':
      return scalar('google.protobuf.Duration', (value) => parseDuration({ text: value }))
    case 'date':
    case 'datetime':
    case 'date-time':
      return scalar('google.protobuf.Timestamp', (value) => new Date(String(value)))
    case 'byte':
      return scalar('bytes', (value) => Uint8Array.from(Buffer.from(String(value), 'base64')))
    default:
      return scalar('string')
  }
}

const listType = (items: CelType): CelType =>
  scalar(`list<${items.name}>`, (value) => (isArray(value) ? value.map((item) => items.toCel(item)) : value))

const mapType = (values: CelType): CelType =>
  scalar(`map<string, ${values.name}>`, (value) =>
    isObject(value)
      ? new Map(
          Object.entries(value).flatMap(([key, child]) =>
            child === undefined ? [] : [[key, values.toCel(child)] as const],
          ),
        )
      : value,
  )

/** The engine tells object types apart by their class, so each one gets a class of its own. */
function objectType(env: Environment, name: string, properties: ReadonlyMap<string, CelType>): CelType {
  class CelObject {
    readonly [field: string]: unknown
    constructor(fields: Readonly<Record<string, unknown>>) {
      Object.assign(this, fields)
    }
  }
  const fields = Object.fromEntries([...properties].map(([property, type]) => [celFieldName(property), type.name]))
  env.registerType(name, { ctor: CelObject, fields })
  env.registerOperator(`${name} == ${name}`, (a: unknown, b: unknown) => isDeepStrictEqual(a, b))
  return scalar(name, (value) => {
    if (!isObject(value)) return value
    const known = [...properties].flatMap(([property, type]) => {
      const child = value[property]
      return child === undefined ? [] : [[celFieldName(property), type.toCel(child)] as const]
    })
    return new CelObject(Object.fromEntries(known))
  })
}
