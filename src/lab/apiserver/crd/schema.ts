// Reads the openAPIV3Schema of a CustomResourceDefinition into a tree of typed nodes, and refuses one that the Kubernetes
// API server would refuse as not structural. Everything else in this folder walks this tree and never raw JSON again.
// Source: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions", section on structural schemas.
import type { Json, JsonObject } from '../json.ts'

export type SchemaType = 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'

/** One entry of `x-kubernetes-validations`. */
export interface ValidationRule {
  readonly rule: string
  readonly message?: string
  readonly messageExpression?: string
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired' | 'FieldValueDuplicate'
  readonly fieldPath?: string
  readonly optionalOldSelf: boolean
}

/**
 * A schema at one place of the tree. A node below allOf, anyOf, oneOf or not has the same shape but only constrains
 * values: its `type` is absent, and it neither defaults nor prunes.
 */
export interface SchemaNode {
  readonly type?: SchemaType
  readonly intOrString: boolean
  readonly preserveUnknown: boolean
  readonly embeddedResource: boolean
  readonly nullable: boolean
  readonly default?: Json
  readonly properties: ReadonlyMap<string, SchemaNode>
  readonly additional?: SchemaNode | 'any'
  readonly items?: SchemaNode
  readonly listType: 'atomic' | 'set' | 'map'
  readonly listMapKeys: readonly string[]
  readonly rules: readonly ValidationRule[]
  readonly format?: string
  readonly enum?: readonly Json[]
  readonly pattern?: { readonly source: string; readonly regexp: RegExp }
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum: boolean
  readonly exclusiveMaximum: boolean
  readonly multipleOf?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly minProperties?: number
  readonly maxProperties?: number
  readonly required: readonly string[]
  readonly allOf: readonly SchemaNode[]
  readonly anyOf: readonly SchemaNode[]
  readonly oneOf: readonly SchemaNode[]
  readonly not?: SchemaNode
}

/** A schema that the API server would not have accepted: the author's mistake, so it is thrown, with the path inside the schema. */
export class SchemaError extends Error {
  constructor(path: string, problem: string) {
    super(`${path}: ${problem}`)
    this.name = 'SchemaError'
  }
}

const SCHEMA_TYPES: readonly string[] = ['object', 'array', 'string', 'integer', 'number', 'boolean']
const RULE_REASONS: readonly string[] = [
  'FieldValueInvalid',
  'FieldValueForbidden',
  'FieldValueRequired',
  'FieldValueDuplicate',
]
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

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isArray = (value: Json | undefined): value is readonly Json[] => Array.isArray(value)

/**
 * Parses a whole CRD schema.
 * @param raw the value of `spec.versions[].schema.openAPIV3Schema`
 * @throws SchemaError when it is not structural
 */
export function parseSchema(raw: JsonObject): SchemaNode {
  const root = parseNode(raw, 'openAPIV3Schema')
  if (root.type !== 'object') throw new SchemaError('openAPIV3Schema.type', 'must be object at the root')
  const metadata = root.properties.get('metadata')
  for (const name of metadata?.properties.keys() ?? []) {
    if (name !== 'name' && name !== 'generateName') {
      throw new SchemaError(
        `openAPIV3Schema.properties[metadata].properties[${name}]`,
        'only name and generateName may be restricted',
      )
    }
  }
  return root
}

function parseNode(raw: Json | undefined, path: string): SchemaNode {
  if (!isObject(raw)) throw new SchemaError(path, 'must be a schema object')
  refuseNonStructural(raw, path)
  const intOrString = flag(raw, 'x-kubernetes-int-or-string', path)
  const preserveUnknown = flag(raw, 'x-kubernetes-preserve-unknown-fields', path)
  const embeddedResource = flag(raw, 'x-kubernetes-embedded-resource', path)
  const type = parseType(raw, path)
  if (type === undefined && !intOrString && !preserveUnknown) {
    throw new SchemaError(`${path}.type`, 'Required value: must not be empty for specified object fields')
  }
  if (type !== undefined && intOrString) {
    throw new SchemaError(`${path}.type`, 'must be empty if x-kubernetes-int-or-string is true')
  }
  if (embeddedResource && type !== 'object') {
    throw new SchemaError(`${path}.type`, 'must be object if x-kubernetes-embedded-resource is true')
  }
  const additional = parseAdditional(raw['additionalProperties'], `${path}.additionalProperties`)
  const items = raw['items'] === undefined ? undefined : parseNode(raw['items'], `${path}.items`)
  if (type === 'array' && items === undefined)
    throw new SchemaError(`${path}.items`, 'Required value: must be specified')
  const node: SchemaNode = {
    ...constraints(raw, path, { nested: false }),
    ...(type === undefined ? {} : { type }),
    ...(raw['default'] === undefined ? {} : { default: raw['default'] }),
    ...(additional === undefined ? {} : { additional }),
    ...(items === undefined ? {} : { items }),
    properties: parseProperties(raw, path, parseNode),
    intOrString,
    preserveUnknown,
    embeddedResource,
    nullable: flag(raw, 'nullable', path),
    listType: parseListType(raw, path),
    listMapKeys: strings(raw, 'x-kubernetes-list-map-keys', path),
  }
  if (node.additional !== undefined && node.properties.size > 0) {
    throw new SchemaError(
      `${path}.additionalProperties`,
      'Forbidden: additionalProperties and properties are mutual exclusive',
    )
  }
  checkListMap(node, path)
  for (const [nested, at] of branches(node, path)) checkSpecifiedOutside(nested, node, at)
  return node
}

/** Below a junctor only value validations are allowed; Kubernetes calls the rest "specifying" and wants it outside. */
function parseNested(raw: Json | undefined, path: string, options: { readonly typeAllowed: boolean }): SchemaNode {
  if (!isObject(raw)) throw new SchemaError(path, 'must be a schema object')
  refuseNonStructural(raw, path)
  for (const key of ONLY_OUTSIDE_JUNCTORS) {
    if (raw[key] !== undefined && !(key === 'type' && options.typeAllowed)) {
      throw new SchemaError(`${path}.${key}`, 'Forbidden: must be empty to be structural')
    }
  }
  if (raw['x-kubernetes-validations'] !== undefined) {
    throw new SchemaError(`${path}.x-kubernetes-validations`, 'rules below a junctor are not supported here')
  }
  const type = options.typeAllowed ? parseType(raw, path) : undefined
  const nested = (child: Json | undefined, at: string) => parseNested(child, at, { typeAllowed: false })
  const items = raw['items'] === undefined ? undefined : nested(raw['items'], `${path}.items`)
  return {
    ...constraints(raw, path, { nested: true }),
    ...(type === undefined ? {} : { type }),
    ...(items === undefined ? {} : { items }),
    properties: parseProperties(raw, path, nested),
    intOrString: false,
    preserveUnknown: true,
    embeddedResource: false,
    nullable: true,
    listType: 'atomic',
    listMapKeys: [],
  }
}

type Constraints = Omit<
  SchemaNode,
  | 'type'
  | 'default'
  | 'additional'
  | 'items'
  | 'properties'
  | 'intOrString'
  | 'preserveUnknown'
  | 'embeddedResource'
  | 'nullable'
  | 'listType'
  | 'listMapKeys'
>

function constraints(raw: JsonObject, path: string, options: { readonly nested: boolean }): Constraints {
  const pattern = text(raw, 'pattern', path)
  const junctor = (key: 'allOf' | 'anyOf' | 'oneOf'): readonly SchemaNode[] =>
    list(raw, key, path).map((entry, index) =>
      parseNested(entry, `${path}.${key}[${index}]`, {
        typeAllowed: !options.nested && key === 'anyOf' && raw['x-kubernetes-int-or-string'] === true,
      }),
    )
  const numbers = Object.fromEntries(
    NUMBER_KEYWORDS.flatMap((key) => {
      const value = number(raw, key, path)
      return value === undefined ? [] : [[key, value]]
    }),
  )
  const format = text(raw, 'format', path)
  return {
    ...numbers,
    ...(format === undefined ? {} : { format }),
    ...(raw['enum'] === undefined ? {} : { enum: list(raw, 'enum', path) }),
    ...(pattern === undefined ? {} : { pattern: { source: pattern, regexp: compilePattern(pattern, path) } }),
    ...(raw['not'] === undefined ? {} : { not: parseNested(raw['not'], `${path}.not`, { typeAllowed: false }) }),
    exclusiveMinimum: flag(raw, 'exclusiveMinimum', path),
    exclusiveMaximum: flag(raw, 'exclusiveMaximum', path),
    required: strings(raw, 'required', path),
    allOf: junctor('allOf'),
    anyOf: junctor('anyOf'),
    oneOf: junctor('oneOf'),
    rules: list(raw, 'x-kubernetes-validations', path).map((rule, index) =>
      parseRule(rule, `${path}.x-kubernetes-validations[${index}]`),
    ),
  }
}

const NUMBER_KEYWORDS = [
  'minimum',
  'maximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
] as const

function refuseNonStructural(raw: JsonObject, path: string): void {
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

function checkListMap(node: SchemaNode, path: string): void {
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

function parseProperties(
  raw: JsonObject,
  path: string,
  parse: (raw: Json | undefined, path: string) => SchemaNode,
): ReadonlyMap<string, SchemaNode> {
  const properties = raw['properties']
  if (properties === undefined) return new Map()
  if (!isObject(properties)) throw new SchemaError(`${path}.properties`, 'must be an object')
  return new Map(
    Object.entries(properties).map(([name, child]) => [name, parse(child, `${path}.properties[${name}]`)] as const),
  )
}

function parseAdditional(raw: Json | undefined, path: string): SchemaNode | 'any' | undefined {
  if (raw === undefined) return undefined
  return raw === true ? 'any' : parseNode(raw, path)
}

function parseType(raw: JsonObject, path: string): SchemaType | undefined {
  const type = text(raw, 'type', path)
  if (type === undefined || type === '') return undefined
  if (!SCHEMA_TYPES.includes(type)) throw new SchemaError(`${path}.type`, `Unsupported value: "${type}"`)
  return type as SchemaType
}

function parseListType(raw: JsonObject, path: string): 'atomic' | 'set' | 'map' {
  const listType = text(raw, 'x-kubernetes-list-type', path)
  if (listType === undefined || listType === 'atomic' || listType === 'set' || listType === 'map')
    return listType ?? 'atomic'
  throw new SchemaError(`${path}.x-kubernetes-list-type`, `Unsupported value: "${listType}"`)
}

function parseRule(raw: Json, path: string): ValidationRule {
  if (!isObject(raw)) throw new SchemaError(path, 'must be an object')
  const rule = text(raw, 'rule', path)
  if (!rule?.trim()) throw new SchemaError(`${path}.rule`, 'Required value: rule is not specified')
  const message = text(raw, 'message', path)
  if (message !== undefined && message.trim() === '')
    throw new SchemaError(`${path}.message`, 'must be non-empty if specified')
  if (message?.includes('\n')) throw new SchemaError(`${path}.message`, 'must not contain line breaks')
  if (rule.includes('\n') && message === undefined) {
    throw new SchemaError(`${path}.message`, 'Required value: message must be specified if rule contains line breaks')
  }
  const messageExpression = text(raw, 'messageExpression', path)
  const reason = text(raw, 'reason', path)
  if (reason !== undefined && !RULE_REASONS.includes(reason)) {
    throw new SchemaError(`${path}.reason`, `Unsupported value: "${reason}"`)
  }
  const fieldPath = text(raw, 'fieldPath', path)
  if (fieldPath !== undefined && !/^(\.[A-Za-z_][\w-]*)+$/.test(fieldPath)) {
    throw new SchemaError(`${path}.fieldPath`, 'must be a path of field names such as .spec.name')
  }
  return {
    rule,
    ...(message === undefined ? {} : { message }),
    ...(messageExpression === undefined ? {} : { messageExpression }),
    ...(reason === undefined ? {} : { reason: reason as NonNullable<ValidationRule['reason']> }),
    ...(fieldPath === undefined ? {} : { fieldPath: fieldPath.slice(1) }),
    optionalOldSelf: flag(raw, 'optionalOldSelf', path),
  }
}

function compilePattern(source: string, path: string): RegExp {
  try {
    return new RegExp(source, 'u')
  } catch (error) {
    throw new SchemaError(`${path}.pattern`, `must be a valid regular expression: ${String(error)}`)
  }
}

function flag(raw: JsonObject, key: string, path: string): boolean {
  const value = raw[key]
  if (value === undefined || typeof value === 'boolean') return value ?? false
  throw new SchemaError(`${path}.${key}`, 'must be a boolean')
}

function text(raw: JsonObject, key: string, path: string): string | undefined {
  const value = raw[key]
  if (value === undefined || typeof value === 'string') return value
  throw new SchemaError(`${path}.${key}`, 'must be a string')
}

function number(raw: JsonObject, key: string, path: string): number | undefined {
  const value = raw[key]
  if (value === undefined || typeof value === 'number') return value
  throw new SchemaError(`${path}.${key}`, 'must be a number')
}

function list(raw: JsonObject, key: string, path: string): readonly Json[] {
  const value = raw[key]
  if (value === undefined) return []
  if (isArray(value)) return value
  throw new SchemaError(`${path}.${key}`, 'must be an array')
}

function strings(raw: JsonObject, key: string, path: string): readonly string[] {
  return list(raw, key, path).map((entry) => {
    if (typeof entry !== 'string') throw new SchemaError(`${path}.${key}`, 'must hold strings only')
    return entry
  })
}
