// Estimates what a rule costs at most, from the bounds in the schema, and so finds the rules that a real API server refuses
// as unaffordable when the CRD is created. Where the real estimate differs between versions, this one takes the higher: a text
// of unknown length, such as a part of split() or the result of string(), costs without end as soon as it is walked through.
// Source: cel-go, checker/cost.go; Kubernetes, apiserver/pkg/cel/library/cost.go and the cost limits of CRD validation.
import type { ASTNode } from '@marcbachmann/cel-js'
import { celFieldName } from './cel-types.ts'
import type { SchemaNode } from './schema-node.ts'

/** The most one rule may cost, times how often its place can occur in an object. */
export const RULE_COST_MAX = 10_000_000
/** The most all rules of a CRD may cost together. */
export const CRD_COST_MAX = 100_000_000

/** What a request may hold, which bounds what the schema does not. */
const REQUEST_BYTES_MAX = 3 * 1024 * 1024
const STRING_WALK = 0.1
const REGEX_LENGTH = 0.25
const LIST_CREATION = 10
/** The digits of a number. */
const NUMBER_TEXT = 32

/** How many times the places below this one can occur in it at most: maxItems and maxProperties. */
export const occurrences = (schema: SchemaNode): number =>
  schema.maxItems ?? schema.maxProperties ?? Math.floor(REQUEST_BYTES_MAX / 2)

/** An intermediate value: what it costs to get, and how long it can be. Numbers, booleans and times have size 1. */
interface Estimate {
  readonly cost: number
  readonly size: number
  /** The place in the schema it comes from. */
  readonly schema?: SchemaNode
  /** Of a list that a rule made: its elements. */
  readonly element?: Estimate
}

type Scope = ReadonlyMap<string, Estimate>

const UNKNOWN: Estimate = { cost: 0, size: Number.POSITIVE_INFINITY }
const SCALAR: Estimate = { cost: 0, size: 1 }

const CONSTANT_COST: ReadonlySet<string> = new Set([
  'size',
  'ip',
  'isIP',
  'cidr',
  'isCIDR',
  'duration',
  'timestamp',
  'type',
  'dyn',
])
const SCALAR_RESULT: ReadonlySet<string> = new Set(
  'size int uint double bool duration timestamp type isIP isCIDR family prefixLength isUnspecified isLoopback isLinkLocalUnicast hasValue'.split(
    ' ',
  ),
)

/** The highest cost of an expression with `self` (and `oldSelf`) at a place of the schema; infinite when nothing bounds it. */
export function estimateCost(ast: ASTNode, self: SchemaNode): number {
  return estimate(ast, new Map([...['self', 'oldSelf'].map((name) => [name, ofSchema(self)] as const)])).cost
}

function ofSchema(schema: SchemaNode): Estimate {
  switch (schema.type) {
    case 'string':
      return { cost: 0, schema, size: textSize(schema) }
    case 'array':
      return { cost: 0, schema, size: occurrences(schema) }
    case 'object':
      return { cost: 0, schema, size: schema.additional === undefined ? Number.POSITIVE_INFINITY : occurrences(schema) }
    case undefined:
      return { cost: 0, schema, size: REQUEST_BYTES_MAX }
    default:
      return { ...SCALAR, schema }
  }
}

/** In bytes: maxLength counts characters, of up to four bytes each. */
function textSize(schema: SchemaNode): number {
  if (schema.enum) return Math.max(...schema.enum.map((value) => String(value).length))
  if (schema.format === 'duration' || schema.format === 'date-time' || schema.format === 'date') return 1
  return schema.maxLength === undefined ? REQUEST_BYTES_MAX : schema.maxLength * 4
}

function estimate(ast: ASTNode, scope: Scope): Estimate {
  const of = (node: ASTNode): Estimate => estimate(node, scope)
  switch (ast.op) {
    case 'value':
      return { ...SCALAR, size: typeof ast.args === 'string' ? ast.args.length : 1 }
    case 'id':
      return { ...(scope.get(ast.args) ?? SCALAR), cost: 1 }
    case '.':
    case '.?':
      return select(of(ast.args[0]), ast.args[1])
    case '[]':
    case '[?]': {
      const container = of(ast.args[0])
      return { ...elementOf(container), cost: container.cost + of(ast.args[1]).cost + 1 }
    }
    case 'list': {
      const items = ast.args.map(of)
      const element = { cost: 0, size: Math.max(0, ...items.map((item) => item.size)), ...inner(items[0]) }
      return { cost: LIST_CREATION + total(items), size: items.length, element }
    }
    case 'map':
      return { cost: 30 + total(ast.args.flat().map(of)), size: ast.args.length }
    case '?:': {
      const [condition, yes, no] = ast.args.map(of) as [Estimate, Estimate, Estimate]
      const longer = yes.size >= no.size ? yes : no
      return { ...longer, cost: condition.cost + Math.max(yes.cost, no.cost) }
    }
    case '!_':
    case '-_':
      return { ...SCALAR, cost: of(ast.args).cost + 1 }
    case 'call':
      return call(ast.args[0], ast.args[1], of)
    case 'rcall':
      return method(ast.args[0], of(ast.args[1]), ast.args[2], scope)
    default:
      return binary(ast.op, of(ast.args[0]), of(ast.args[1]))
  }
}

const inner = (item: Estimate | undefined): Pick<Estimate, 'element'> =>
  item?.element ? { element: item.element } : {}

function binary(operator: string, left: Estimate, right: Estimate): Estimate {
  const cost = left.cost + right.cost
  switch (operator) {
    case '&&':
    case '||':
      return { ...SCALAR, cost }
    case 'in':
      return { ...SCALAR, cost: cost + right.size }
    case '+': {
      const size = left.size === 1 && right.size === 1 ? 1 : left.size + right.size
      return { cost: cost + Math.ceil(size * STRING_WALK), size }
    }
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
      return { ...SCALAR, cost: cost + Math.ceil(Math.min(left.size, right.size) * STRING_WALK) }
    default:
      return { ...SCALAR, cost: cost + 1 }
  }
}

function select(target: Estimate, field: string): Estimate {
  const cost = target.cost + 1
  if (!target.schema) return { ...UNKNOWN, cost }
  for (const [name, schema] of target.schema.properties)
    if (celFieldName(name) === field) return { ...ofSchema(schema), cost }
  if (typeof target.schema.additional === 'object') return { ...ofSchema(target.schema.additional), cost }
  return { cost, size: REQUEST_BYTES_MAX }
}

function elementOf(container: Estimate): Estimate {
  if (container.element) return container.element
  if (container.schema?.items) return ofSchema(container.schema.items)
  return typeof container.schema?.additional === 'object' ? ofSchema(container.schema.additional) : UNKNOWN
}

function call(name: string, args: readonly ASTNode[], of: (node: ASTNode) => Estimate): Estimate {
  const given = args.map(of)
  const [first = SCALAR] = given
  const cost = total(given) + 1
  if (name === 'bytes') return { cost: cost + Math.ceil(first.size * STRING_WALK), size: first.size * 4 }
  if (name === 'has' || SCALAR_RESULT.has(name)) return { ...SCALAR, cost }
  if (name === 'string' && first.size === 1) return { cost, size: NUMBER_TEXT }
  return { ...UNKNOWN, cost: CONSTANT_COST.has(name) || name === 'string' ? cost : cost + first.size * STRING_WALK }
}

function method(name: string, target: Estimate, args: readonly ASTNode[], scope: Scope): Estimate {
  const [iterator, body, extra] = args
  if (iterator?.op === 'id' && body && ['all', 'exists', 'exists_one', 'map', 'filter'].includes(name)) {
    return comprehension(name, target, { variable: iterator.args, bodies: extra ? [body, extra] : [body], scope })
  }
  const given = args.map((arg) => estimate(arg, scope))
  const [first = SCALAR, second = SCALAR] = given
  const cost = target.cost + total(given)
  const walk = (factor: number): number => cost + Math.ceil(target.size * factor)
  switch (name) {
    case 'startsWith':
    case 'endsWith':
      return { ...SCALAR, cost: cost + Math.ceil(first.size * STRING_WALK) }
    case 'contains':
      return { ...SCALAR, cost: cost + Math.ceil(target.size * STRING_WALK) * Math.ceil(first.size * STRING_WALK) }
    case 'matches':
      return {
        ...SCALAR,
        cost: cost + Math.ceil((target.size + 1) * STRING_WALK) * Math.ceil(first.size * REGEX_LENGTH),
      }
    case 'indexOf':
    case 'lastIndexOf':
      return { ...SCALAR, cost: walk(STRING_WALK) }
    case 'substring':
    case 'trim':
    case 'lowerAscii':
    case 'upperAscii':
      return { size: target.size, cost: walk(STRING_WALK) }
    case 'split':
      return { size: target.size, cost: walk(2 * STRING_WALK), element: UNKNOWN }
    case 'replace':
      return { size: target.size * Math.max(1, second.size), cost: walk(2 * STRING_WALK) }
    case 'containsIP':
      return { ...SCALAR, cost: cost + 4 + (Number.isFinite(first.size) ? Math.ceil(first.size * STRING_WALK) : 0) }
    default:
      return { ...(SCALAR_RESULT.has(name) ? SCALAR : UNKNOWN), cost: cost + 1 }
  }
}

function comprehension(
  name: string,
  range: Estimate,
  loop: { readonly variable: string; readonly bodies: readonly ASTNode[]; readonly scope: Scope },
): Estimate {
  // The keys of a map have no bound in a schema.
  const item = range.schema?.additional === undefined ? elementOf(range) : UNKNOWN
  const scope = new Map([...loop.scope, [loop.variable, item]])
  const bodies = loop.bodies.map((body) => estimate(body, scope))
  const overhead = name === 'map' || name === 'filter' ? LIST_CREATION + 3 : 4
  const cost = range.cost + range.size * (total(bodies) + overhead) + 2
  if (name === 'map') return { cost, size: range.size, element: { ...(bodies.at(-1) ?? UNKNOWN), cost: 0 } }
  return name === 'filter' ? { ...range, cost } : { ...SCALAR, cost }
}

const total = (parts: readonly Estimate[]): number => parts.reduce((sum, part) => sum + part.cost, 0)
