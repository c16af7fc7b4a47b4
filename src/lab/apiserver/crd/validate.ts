// Checks values against the OpenAPI part of a schema and reports what is wrong in the API server's words, in schema order.
// Written by hand and not with a JSON Schema library, because the wording, the early exits and the lenience towards values
// that an update leaves unchanged (validation ratcheting) are the point here, and no such library offers them.
// Source: kube-openapi, packages validation/validate and validation/errors, as used by kube-apiserver 1.36.
import { isArray, isObject, type Json, type JsonObject } from '../json.ts'
import { duplicate, invalid, notSupported, required, tooLong, tooMany, typeInvalid } from './field-error.ts'
import { hasFormat } from './formats.ts'
import type { SchemaNode } from './schema-node.ts'
import type { FieldError } from './structural-schema.ts'

/** Runs every check but the CEL rules; `old` is the stored object when this is an update. */
export function validateValues(schema: SchemaNode, object: JsonObject, old: JsonObject | undefined): FieldError[] {
  return [...check(schema, object, old, ''), ...checkListTypes(schema, object, '')]
}

function check(schema: SchemaNode, value: Json, old: Json | undefined, path: string): FieldError[] {
  // What an update leaves as it was is not held against it, so that tightening a schema blocks nobody.
  if (old !== undefined && sameJson(value, old)) return []
  const wrongType = checkType(schema, value, path)
  const enumeration =
    schema.enum && !schema.enum.some((allowed) => sameJson(allowed, value))
      ? [notSupported(path, value, schema.enum)]
      : []
  if (value === null) return [...wrongType, ...enumeration]
  return [...wrongType, ...checkJunctors(schema, value, path), ...checkOfKind(schema, value, old, path), ...enumeration]
}

function checkOfKind(schema: SchemaNode, value: Json, old: Json | undefined, path: string): FieldError[] {
  if (typeof value === 'string') return checkString(schema, value, path)
  if (typeof value === 'number') return checkNumber(schema, value, path)
  if (isArray(value)) return checkArray(schema, value, isArray(old) ? old : undefined, path)
  if (isObject(value)) return checkObject(schema, value, isObject(old) ? old : undefined, path)
  return []
}

function checkType(schema: SchemaNode, value: Json, path: string): FieldError[] {
  if (schema.type === undefined && !schema.intOrString) return []
  if (value === null && schema.nullable) return []
  const actual = jsonType(value)
  const wanted = schema.type ?? 'integer,string'
  const matches =
    wanted === actual || (wanted === 'number' && actual === 'integer') || wanted.split(',').includes(actual)
  if (matches) return checkIntegerFormat(schema, value, path)
  // A schema with a format names that instead, and Go's own name of the value's type.
  const [shown, type] =
    wanted === 'integer' && actual === 'number' && schema.format !== undefined
      ? ['float64', schema.format]
      : [actual, wanted]
  const refused = typeInvalid(path, shown, `${inBody(path)} must be of type ${type}: "${shown}"`)
  return [refused, ...checkIntegerFormat(schema, value, path)]
}

/** A number must be one that its `type: integer` holds, by its format: int32, or int64 as by default. */
function checkIntegerFormat(schema: SchemaNode, value: Json, path: string): FieldError[] {
  if (schema.type !== 'integer' || typeof value !== 'number') return []
  const fits = schema.format === 'int32' ? value === (value | 0) : Number.isInteger(value) && Math.abs(value) < 2 ** 63
  const format = schema.format === undefined ? '(default format)' : `with format ${schema.format}`
  return fits ? [] : [invalid('', '', `Checked value must be of type integer ${format} in ${path}`)]
}

function checkString(schema: SchemaNode, value: string, path: string): FieldError[] {
  const errors: FieldError[] = []
  const length = [...value].length
  if (schema.maxLength !== undefined && length > schema.maxLength) errors.push(tooLong(path, schema.maxLength))
  else if (schema.minLength !== undefined && length < schema.minLength) {
    errors.push(invalid(path, value, `${inBody(path)} should be at least ${schema.minLength} chars long`))
  } else if (schema.pattern && !schema.pattern.regexp.test(value)) {
    errors.push(invalid(path, value, `${inBody(path)} should match '${schema.pattern.source}'`))
  }
  if (schema.format !== undefined && !hasFormat(schema.format, value)) {
    errors.push(typeInvalid(path, value, `${inBody(path)} must be of type ${schema.format}: ${JSON.stringify(value)}`))
  }
  return errors
}

function checkNumber(schema: SchemaNode, value: number, path: string): FieldError[] {
  const { minimum, maximum, multipleOf, exclusiveMinimum, exclusiveMaximum } = schema
  const errors: FieldError[] = []
  if (multipleOf !== undefined && !Number.isInteger(value / multipleOf)) {
    errors.push(invalid(path, value, `${inBody(path)} should be a multiple of ${multipleOf}`))
  }
  if (maximum !== undefined && (value > maximum || (exclusiveMaximum && value === maximum))) {
    const bound = exclusiveMaximum ? 'less than' : 'less than or equal to'
    errors.push(invalid(path, value, `${inBody(path)} should be ${bound} ${maximum}`))
  }
  if (minimum !== undefined && (value < minimum || (exclusiveMinimum && value === minimum))) {
    const bound = exclusiveMinimum ? 'greater than' : 'greater than or equal to'
    errors.push(invalid(path, value, `${inBody(path)} should be ${bound} ${minimum}`))
  }
  return errors
}

function checkArray(
  schema: SchemaNode,
  value: readonly Json[],
  old: readonly Json[] | undefined,
  path: string,
): FieldError[] {
  const errors: FieldError[] = []
  const { items } = schema
  if (items) {
    value.forEach((item, index) => {
      errors.push(...check(items, item, counterpart(schema, item, old), `${path}[${index}]`))
    })
  }
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    errors.push(invalid(path, value.length, `${inBody(path)} should have at least ${schema.minItems} items`))
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    errors.push(tooMany(path, value.length, schema.maxItems))
  }
  return errors
}

function checkObject(schema: SchemaNode, value: JsonObject, old: JsonObject | undefined, path: string): FieldError[] {
  const count = Object.keys(value).length
  if (schema.minProperties !== undefined && count < schema.minProperties) {
    return [
      invalid(path, schema.minProperties, `${inBody(path)} should have at least ${schema.minProperties} properties`),
    ]
  }
  if (schema.maxProperties !== undefined && count > schema.maxProperties) {
    return [tooMany(path, count, schema.maxProperties)]
  }
  const errors: FieldError[] = []
  const additional = typeof schema.additional === 'object' ? schema.additional : undefined
  if (additional) {
    for (const [name, child] of Object.entries(value)) {
      if (child !== undefined) errors.push(...check(additional, child, old?.[name], join(path, name)))
    }
  }
  for (const [name, property] of schema.properties) {
    const child = value[name]
    if (child !== undefined) errors.push(...check(property, child, old?.[name], join(path, name)))
  }
  for (const name of schema.required) {
    if (value[name] === undefined) errors.push(required(join(path, name)))
  }
  return errors
}

/** allOf, anyOf, oneOf and not. Errors inside their branches are not ratcheted, as in the API server. */
function checkJunctors(schema: SchemaNode, value: Json, path: string): FieldError[] {
  const errors: FieldError[] = []
  const branches = (nodes: readonly SchemaNode[]) => nodes.map((node) => check(node, value, undefined, path))
  const composite = (detail: string) => errors.push(invalid('', '', `"${path}" ${detail}`))

  const any = branches(schema.anyOf)
  if (any.length > 0 && any.every((failures) => failures.length > 0)) {
    composite('must validate at least one schema (anyOf)')
    errors.push(...fewest(any))
  }
  const one = branches(schema.oneOf)
  const valid = one.filter((failures) => failures.length === 0).length
  if (one.length > 0 && valid !== 1) {
    const found = valid === 0 ? 'Found none valid' : `Found ${valid} valid alternatives`
    composite(`must validate one and only one schema (oneOf). ${found}`)
    if (valid === 0) errors.push(...fewest(one))
  }
  const all = branches(schema.allOf)
  const failed = all.filter((failures) => failures.length > 0)
  if (failed.length > 0) {
    errors.push(...failed.flat())
    composite(`must validate all the schemas (allOf)${failed.length === all.length ? '. None validated' : ''}`)
  }
  if (schema.not && check(schema.not, value, undefined, path).length === 0) {
    composite('must not validate the schema (not)')
  }
  return errors
}

/** Of several branches that all failed, the one that came closest tells the user most; the first one wins a tie. */
const fewest = (branches: readonly FieldError[][]): readonly FieldError[] =>
  branches.reduce((best, branch) => (branch.length < best.length ? branch : best))

/** The invariants of x-kubernetes-list-type, which the API server checks in a pass of its own. */
function checkListTypes(schema: SchemaNode, value: Json, path: string): FieldError[] {
  const { items } = schema
  if (isArray(value)) {
    const nested = items ? value.flatMap((item, index) => checkListTypes(items, item, `${path}[${index}]`)) : []
    if (schema.listType === 'atomic') return nested
    const identities = value.map((item) => JSON.stringify(identity(schema, item)))
    const repeated = value.flatMap((item, index) =>
      identities.indexOf(identities[index] ?? '') < index
        ? [duplicate(`${path}[${index}]`, identity(schema, item))]
        : [],
    )
    return [...repeated, ...nested]
  }
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([name, child]) => {
    const property =
      schema.properties.get(name) ?? (typeof schema.additional === 'object' ? schema.additional : undefined)
    return property && child !== undefined ? checkListTypes(property, child, join(path, name)) : []
  })
}

/** What makes an item of a set or a map list unique: itself, or its key fields. */
function identity(schema: SchemaNode, item: Json): Json {
  if (schema.listType !== 'map' || !isObject(item)) return item
  return Object.fromEntries(
    schema.listMapKeys.map((key) => [key, item[key] ?? schema.items?.properties.get(key)?.default ?? null]),
  )
}

/** The stored item that this item replaces; only the items of a map list have such a history. */
export function counterpart(schema: SchemaNode, item: Json, old: readonly Json[] | undefined): Json | undefined {
  if (old === undefined || schema.listType !== 'map') return undefined
  const wanted = JSON.stringify(identity(schema, item))
  return old.find((candidate) => JSON.stringify(identity(schema, candidate)) === wanted)
}

export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (isArray(a) && isArray(b)) return a.length === b.length && a.every((item, index) => sameJson(item, b[index]))
  if (!isObject(a) || !isObject(b)) return false
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...names].every((name) => sameJson(a[name], b[name]))
}

function jsonType(value: Json): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

export const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)

const inBody = (path: string): string => `${path} in body`
