// The schema of a CustomResourceDefinition as a tree of typed nodes: what schema.ts reads and everything else in this folder walks.

import type { Json } from '../json.ts'

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
