// Turns the schema of a CustomResourceDefinition into the three things an API server does with it: prune unknown fields,
// fill in defaults, and validate with OpenAPI and CEL. The embedded API server calls these for every write to a custom
// resource, so that our CRDs are tried against the same rules and the same messages that a real cluster applies.
import { isObject, type JsonObject } from '../json.ts'
import { compileRules } from './cel-rules.ts'
import { invalid } from './field-error.ts'
import { applyDefaults, pruneResource } from './prune.ts'
import { parseSchema } from './schema.ts'
import { SchemaError, type SchemaNode } from './schema-node.ts'
import { validateValues } from './validate.ts'

/** One entry of `status.details.causes`: `path` is its field, `message` its text without the path. */
export interface FieldError {
  /** As `spec.peers[0].asn`; `<nil>` when the error concerns the object as a whole. */
  readonly path: string
  readonly reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueTypeInvalid'
    | 'FieldValueForbidden'
    | 'FieldValueDuplicate'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany'
  readonly message: string
}

export interface CompiledSchema {
  /** Drops unknown fields; `unknownPaths` names them, as `spec.asnn`. apiVersion, kind and metadata are always known. */
  prune(object: JsonObject): { readonly object: JsonObject; readonly unknownPaths: readonly string[] }
  /** Fills in defaults and drops nulls that the schema does not allow. To be called after prune. */
  applyDefaults(object: JsonObject): JsonObject
  /** @param oldObject the stored object when this is an update; transition rules (oldSelf) only run with it */
  validate(object: JsonObject, oldObject?: JsonObject): readonly FieldError[]
}

/** The line that a user reads for one error: `spec.asn: Invalid value: 0: spec.asn in body should be ...`. */
export const errorLine = (error: FieldError): string => `${error.path}: ${error.message}`

/**
 * The text of a Status that refuses an object.
 * @param kind with its group, as `BgpPeer.bellhop.io`
 */
export function invalidMessage(kind: string, name: string, errors: readonly FieldError[]): string {
  const lines = [...new Set(errors.map(errorLine))]
  return `${kind} "${name}" is invalid: ${lines.length === 1 ? lines[0] : `[${lines.join(', ')}]`}`
}

/** After one of these the CEL rules could fail for want of the value they read, so they are not run. */
const BLOCKING: ReadonlySet<FieldError['reason']> = new Set([
  'FieldValueRequired',
  'FieldValueNotSupported',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueTypeInvalid',
])

/**
 * @param openAPIV3Schema the value of `spec.versions[].schema.openAPIV3Schema`
 * @throws SchemaError when the schema is not structural, a default does not fit, or a CEL rule does not compile
 */
export function compileStructuralSchema(openAPIV3Schema: JsonObject): CompiledSchema {
  const schema = parseSchema(openAPIV3Schema)
  refuseBadDefaults(schema, 'openAPIV3Schema')
  const rules = compileRules(schema)
  return {
    prune: (object) => pruneResource(schema, object),
    applyDefaults: (object) => {
      const defaulted = applyDefaults(schema, object)
      return isObject(defaulted) ? defaulted : object
    },
    validate: (object, oldObject) => {
      const errors = validateValues(schema, object, oldObject)
      if (errors.some((error) => BLOCKING.has(error.reason))) return [...errors, RULES_NOT_RUN]
      return [...errors, ...rules.validate(object, oldObject)]
    },
  }
}

const RULES_NOT_RUN = invalid(
  '',
  null,
  'some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
)

/** A default must itself be valid and free of unknown fields, or every object would inherit the fault. */
function refuseBadDefaults(schema: SchemaNode, path: string): void {
  if (schema.default !== undefined) {
    const wrapper: SchemaNode = {
      ...EMPTY_OBJECT,
      properties: new Map([['default', { ...schema, nullable: schema.nullable }]]),
    }
    const { object, unknownPaths } = pruneResource(wrapper, { default: schema.default })
    if (unknownPaths.length > 0) throw new SchemaError(`${path}.default`, `unknown fields: ${unknownPaths.join(', ')}`)
    const completed = applyDefaults(schema, object['default'] ?? null)
    const [error] = validateValues(wrapper, { default: completed }, undefined)
    if (error) throw new SchemaError(`${path}.default`, errorLine(error))
  }
  for (const [name, property] of schema.properties) refuseBadDefaults(property, `${path}.properties[${name}]`)
  if (schema.items) refuseBadDefaults(schema.items, `${path}.items`)
  if (typeof schema.additional === 'object') refuseBadDefaults(schema.additional, `${path}.additionalProperties`)
}

const EMPTY_OBJECT: SchemaNode = parseSchema({ type: 'object' })
