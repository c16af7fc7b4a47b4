// Compiles and runs the x-kubernetes-validations of a schema. A rule sits on a node and is run for every value that node has
// in an object, with `self` the new value and `oldSelf` the stored one; rules that look at oldSelf only run on an update.
// Source: Kubernetes documentation, "Validation rules", "Transition rules" and "Validation ratcheting".
import { Environment, EvaluationError, Optional } from '@marcbachmann/cel-js'
import { isArray, isObject, type Json, type JsonObject } from '../json.ts'
import { CRD_COST_MAX, estimateCost, occurrences, RULE_COST_MAX } from './cel-cost.ts'
import { registerKubernetesLibrary } from './cel-library.ts'
import { type CelType, registerSchemaTypes } from './cel-types.ts'
import { forbidden, invalid, required, ruleBroken, ruleFoundDuplicate } from './field-error.ts'
import { SchemaError, type SchemaNode, type ValidationRule } from './schema-node.ts'
import type { FieldError } from './structural-schema.ts'
import { counterpart, join, sameJson } from './validate.ts'

type Program = (variables: Readonly<Record<string, unknown>>) => unknown

interface CompiledRule {
  readonly rule: ValidationRule
  readonly usesOldSelf: boolean
  readonly program: Program
  readonly messageProgram?: Program
}

interface RuleNode {
  readonly schema: SchemaNode
  readonly type: CelType
  readonly rules: readonly CompiledRule[]
  readonly properties: ReadonlyMap<string, RuleNode>
  readonly items?: RuleNode
  readonly additional?: RuleNode
}

export interface CompiledRules {
  validate(object: JsonObject, oldObject: JsonObject | undefined): readonly FieldError[]
}

/** @throws SchemaError for a rule that does not parse, is badly typed, is not boolean, or costs more than an API server allows */
export function compileRules(schema: SchemaNode): CompiledRules {
  const env = registerKubernetesLibrary(new Environment({ enableOptionalTypes: true }))
  const types = registerSchemaTypes(env, schema)
  const budget = { left: CRD_COST_MAX }
  const root = compileNode(schema, { env, types, budget, path: 'openAPIV3Schema', cardinality: 1 })
  return {
    validate: (object, oldObject) => {
      if (!root) return []
      return run(root, object, oldObject, {
        path: '',
        unchanged: oldObject !== undefined && sameJson(object, oldObject),
      })
    },
  }
}

interface CompileContext {
  readonly env: Environment
  readonly types: ReadonlyMap<SchemaNode, CelType>
  /** What the rules of the CRD may still cost; the one thing that compilation counts down. */
  readonly budget: { left: number }
  readonly path: string
  /** How often this place can occur in an object. */
  readonly cardinality: number
}

/** @returns undefined where neither the node nor anything below it has a rule */
function compileNode(schema: SchemaNode, context: CompileContext): RuleNode | undefined {
  const { types, path } = context
  const type = types.get(schema)
  if (!type) throw new Error(`no CEL type was registered for ${path}`)
  const properties = new Map<string, RuleNode>()
  for (const [name, child] of schema.properties) {
    const node = compileNode(child, { ...context, path: `${path}.properties[${name}]` })
    if (node) properties.set(name, node)
  }
  const many = { ...context, cardinality: context.cardinality * occurrences(schema) }
  const items = schema.items && compileNode(schema.items, { ...many, path: `${path}.items` })
  const additional =
    typeof schema.additional === 'object'
      ? compileNode(schema.additional, { ...many, path: `${path}.additionalProperties` })
      : undefined
  const rules = schema.rules.map((rule, index) =>
    compileRule(rule, schema, type, { ...context, path: `${path}.x-kubernetes-validations[${index}]` }),
  )
  if (rules.length === 0 && properties.size === 0 && !items && !additional) return undefined
  return { schema, type, rules, properties, ...(items ? { items } : {}), ...(additional ? { additional } : {}) }
}

function compileRule(rule: ValidationRule, schema: SchemaNode, type: CelType, context: CompileContext): CompiledRule {
  const { path } = context
  const oldSelf = rule.optionalOldSelf ? `optional<${type.name}>` : type.name
  const env = context.env.clone().registerVariable('self', type.name).registerVariable('oldSelf', oldSelf)
  const usesOldSelf = mentionsOldSelf(rule.rule)
  if (rule.optionalOldSelf && !usesOldSelf) {
    throw new SchemaError(`${path}.optionalOldSelf`, 'may not be set if oldSelf is not used in rule')
  }
  if (rule.fieldPath !== undefined) requireField(schema, rule.fieldPath, `${path}.fieldPath`)
  const place = { ...context, env, schema }
  const program = compileExpression(rule.rule, 'bool', { ...place, path: `${path}.rule` })
  if (rule.messageExpression === undefined) return { rule, usesOldSelf, program }
  const messageProgram = compileExpression(rule.messageExpression, 'string', {
    ...place,
    path: `${path}.messageExpression`,
  })
  return { rule, usesOldSelf, program, messageProgram }
}

function compileExpression(
  source: string,
  wanted: 'bool' | 'string',
  context: CompileContext & { readonly schema: SchemaNode },
): Program {
  const { env, path } = context
  // The engine looks up the fields inside has() only when it runs, the API server when the CRD is created.
  for (const [, field = ''] of source.matchAll(/\bhas\(((?:self|oldSelf)(?:\.\w+)+)\)/g)) {
    const known = env.check(field)
    if (!known.valid)
      throw new SchemaError(path, `compilation failed: ${known.error?.message ?? `undefined field ${field}`}`)
  }
  const checked = env.check(source)
  if (!checked.valid) throw new SchemaError(path, `compilation failed: ${checked.error?.message ?? 'unknown error'}`)
  if (checked.type !== wanted) throw new SchemaError(path, `must evaluate to a ${wanted}, not ${checked.type}`)
  const program = env.parse(source)
  charge(estimateCost(program.ast, context.schema), context)
  return program
}

function charge(cost: number, context: CompileContext): void {
  const { path, budget, cardinality } = context
  const advice =
    'try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared'
  if (cost * cardinality > RULE_COST_MAX) {
    const factor = (cost * cardinality) / RULE_COST_MAX
    const excess = factor > 100 ? 'more than 100x' : `${factor.toFixed(1)}x`
    throw new SchemaError(path, `Forbidden: estimated rule cost exceeds budget by factor of ${excess} (${advice})`)
  }
  budget.left -= cost * cardinality
  if (budget.left < 0)
    throw new SchemaError(
      path,
      'Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget',
    )
}

const mentionsOldSelf = (source: string): boolean =>
  /\boldSelf\b/.test(source.replaceAll(/'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"/g, ''))

function requireField(schema: SchemaNode, fieldPath: string, path: string): void {
  let node: SchemaNode | undefined = schema
  for (const name of fieldPath.split('.')) {
    node = node?.properties.get(name)
    if (!node) throw new SchemaError(path, `${fieldPath} does not refer to a valid field`)
  }
}

interface Place {
  readonly path: string
  /** The value, or the nearest parent that has a history, is what was stored: its faults are not held against an update. */
  readonly unchanged: boolean
}

function run(node: RuleNode, value: Json, old: Json | undefined, place: Place): FieldError[] {
  if (value === null) return []
  const errors = node.rules.flatMap((rule) => runRule(rule, node, value, old, place))
  const below = (child: RuleNode, childValue: Json, childOld: Json | undefined, path: string): FieldError[] =>
    run(child, childValue, childOld, {
      path,
      unchanged: childOld === undefined ? place.unchanged : sameJson(childValue, childOld),
    })
  const { items } = node
  if (isArray(value)) {
    if (!items) return errors
    const oldItems = isArray(old) ? old : undefined
    return value.reduce<FieldError[]>((all, item, index) => {
      all.push(...below(items, item, counterpart(node.schema, item, oldItems), `${place.path}[${index}]`))
      return all
    }, errors)
  }
  if (!isObject(value)) return errors
  for (const [name, child] of Object.entries(value)) {
    const property = node.properties.get(name)
    const ruled = property ?? node.additional
    if (!ruled || child === undefined) continue
    // A member of a map is written with its key in brackets here, unlike in the errors of the OpenAPI part.
    const path = property ? join(place.path, name) : `${place.path}[${name}]`
    errors.push(...below(ruled, child, isObject(old) ? old[name] : undefined, path))
  }
  return errors
}

function runRule(
  compiled: CompiledRule,
  node: RuleNode,
  value: Json,
  old: Json | undefined,
  place: Place,
): readonly FieldError[] {
  const { rule, usesOldSelf, program, messageProgram } = compiled
  const oldMissing = old === undefined || old === null
  if (usesOldSelf && oldMissing && !rule.optionalOldSelf) return []
  const oldCel = oldMissing ? undefined : node.type.toCel(old)
  const oldSelf = rule.optionalOldSelf ? (oldMissing ? Optional.none() : Optional.of(oldCel)) : oldCel
  const variables = { self: node.type.toCel(value), ...(oldSelf === undefined ? {} : { oldSelf }) }
  const outcome = evaluate(program, variables)
  const typeName = node.schema.type ?? ''
  if (outcome instanceof EvaluationError) {
    const shown = rule.message ?? rule.rule
    return [invalid(place.path, typeName, `${lowerFirst(outcome.summary)} evaluating rule: ${shown}`)]
  }
  if (outcome === true || (!usesOldSelf && place.unchanged)) return []
  const composed = messageProgram && evaluate(messageProgram, variables)
  const message =
    typeof composed === 'string' && composed.trim() !== '' && !composed.includes('\n')
      ? composed
      : (rule.message ?? `failed rule: ${rule.rule}`)
  return [errorFor(rule, join(place.path, rule.fieldPath ?? '').replace(/\.$/, ''), { value, message })]
}

function errorFor(
  rule: ValidationRule,
  path: string,
  facts: { readonly value: Json; readonly message: string },
): FieldError {
  switch (rule.reason) {
    case 'FieldValueForbidden':
      return forbidden(path, facts.message)
    case 'FieldValueRequired':
      return required(path, facts.message)
    case 'FieldValueDuplicate':
      return ruleFoundDuplicate(path, facts.value)
    default:
      return ruleBroken(path, facts.value, facts.message)
  }
}

function evaluate(program: Program, variables: Readonly<Record<string, unknown>>): unknown {
  try {
    return program(variables)
  } catch (error) {
    if (error instanceof EvaluationError) return error
    // Thrown by a library function, e.g. ip('x'): a failure of the rule and not of the server.
    return new EvaluationError(error instanceof Error ? error.message : String(error))
  }
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
