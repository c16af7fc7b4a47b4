// Reads the openAPIV3Schema of a CustomResourceDefinition into a tree of typed nodes, and refuses one that the Kubernetes
// API server would refuse as not structural (structural-rules.ts). Everything else in this folder walks this tree and never raw JSON again.

import { isObject, type Json, type JsonObject } from '../json.ts'
import { flag, list, number, strings, text } from './schema-keywords.ts'
import { SchemaError, type SchemaNode, type SchemaType, type ValidationRule } from './schema-node.ts'
import { checkJunctors, checkListMap, refuseNonStructural, refuseSpecifying } from './structural-rules.ts'

const SCHEMA_TYPES: readonly string[] = ['object', 'array', 'string', 'integer', 'number', 'boolean']
const RULE_REASONS: readonly string[] = [
  'FieldValueInvalid',
  'FieldValueForbidden',
  'FieldValueRequired',
  'FieldValueDuplicate',
]
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
  checkJunctors(node, path)
  return node
}

/** A schema below a junctor: it constrains values, and specifies nothing. */
function parseNested(raw: Json | undefined, path: string, options: { readonly typeAllowed: boolean }): SchemaNode {
  if (!isObject(raw)) throw new SchemaError(path, 'must be a schema object')
  refuseNonStructural(raw, path)
  refuseSpecifying(raw, path, options)
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
