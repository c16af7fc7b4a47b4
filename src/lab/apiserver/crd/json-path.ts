// Evaluates the subset of JSONPath that Kubernetes allows in printer columns: names, indices, slices, wildcards, recursive
// descent, unions and filters such as [?(@.type=="Ready")]. Every step maps the values found so far to the values below.
// Source: Kubernetes documentation, "JSONPath Support"; package k8s.io/client-go/util/jsonpath.
import { isArray, isObject, type Json } from '../json.ts'

type Step =
  | { readonly kind: 'field'; readonly names: readonly string[] }
  | { readonly kind: 'index'; readonly indices: readonly number[] }
  | { readonly kind: 'slice'; readonly start: number; readonly end: number | undefined; readonly step: number }
  | { readonly kind: 'wildcard' }
  | { readonly kind: 'descendants' }
  | { readonly kind: 'filter'; readonly left: Operand; readonly operator: string; readonly right: Operand | undefined }

type Operand =
  | { readonly kind: 'path'; readonly steps: readonly Step[] }
  | { readonly kind: 'literal'; readonly value: Json }

/** A path that does not parse: the author of the CRD is told, so it is thrown. */
export class JsonPathError extends Error {
  constructor(path: string, problem: string) {
    super(`JSONPath ${JSON.stringify(path)}: ${problem}`)
    this.name = 'JsonPathError'
  }
}

/**
 * @param path as in a printer column, `.status.conditions[?(@.type=="Ready")].status`
 * @returns a function that lists what the path finds in an object, in document order; a missing field finds nothing
 * @throws JsonPathError
 */
export function compileJsonPath(path: string): (root: Json) => readonly Json[] {
  const steps = parseSteps(path.replace(/^\$/, ''), path)
  return (root) => walk(steps, [root])
}

const STEP =
  /^(?:(?<descend>\.\.)|\.?\[(?:\?\((?<filter>(?:"[^"]*"|'[^']*'|[^)"'])*)\)|(?<inner>[^\]]*))\]|\.(?<wild>\*)|\.?(?<name>(?:\\.|[^.[\]\\])+))/

function parseSteps(text: string, whole: string): readonly Step[] {
  const steps: Step[] = []
  let rest = text
  while (rest !== '' && rest !== '.') {
    const match = STEP.exec(rest)
    if (!match?.groups) throw new JsonPathError(whole, `cannot read ${JSON.stringify(rest)}`)
    const { descend, filter, inner, wild, name } = match.groups
    if (descend !== undefined) steps.push({ kind: 'descendants' })
    else if (filter !== undefined) steps.push(parseFilter(filter, whole))
    else if (inner !== undefined) steps.push(parseBrackets(inner.trim(), whole))
    else if (wild !== undefined) steps.push({ kind: 'wildcard' })
    else steps.push({ kind: 'field', names: [(name ?? '').replaceAll(/\\(.)/g, '$1')] })
    // After `..` the name follows without a dot of its own.
    rest = rest.slice(match[0].length)
  }
  return steps
}

function parseBrackets(inner: string, whole: string): Step {
  if (inner === '*') return { kind: 'wildcard' }
  if (/^-?\d+(\s*,\s*-?\d+)*$/.test(inner)) return { kind: 'index', indices: inner.split(',').map(Number) }
  const slice = /^(-?\d+)?:(-?\d+)?(?::(\d+))?$/.exec(inner)
  if (slice) {
    const [, start, end, step] = slice
    return {
      kind: 'slice',
      start: Number(start ?? 0),
      end: end === undefined ? undefined : Number(end),
      step: Number(step ?? 1),
    }
  }
  if (/^(?:'[^']*'|"[^"]*")(?:\s*,\s*(?:'[^']*'|"[^"]*"))*$/.test(inner)) {
    return { kind: 'field', names: [...inner.matchAll(/'([^']*)'|"([^"]*)"/g)].map(([, a, b]) => a ?? b ?? '') }
  }
  throw new JsonPathError(whole, `cannot read [${inner}]`)
}

function parseFilter(text: string, whole: string): Step {
  const match = /^\s*(?<left>"[^"]*"|'[^']*'|[^=!<>]+?)\s*(?:(?<operator>==|!=|<=|>=|<|>)\s*(?<right>.+?)\s*)?$/.exec(
    text,
  )
  const left = match?.groups?.['left']
  if (left === undefined) throw new JsonPathError(whole, `cannot read the filter ${text}`)
  const right = match?.groups?.['right']
  return {
    kind: 'filter',
    left: parseOperand(left, whole),
    operator: match?.groups?.['operator'] ?? 'exists',
    right: right === undefined ? undefined : parseOperand(right, whole),
  }
}

function parseOperand(text: string, whole: string): Operand {
  if (text.startsWith('@')) return { kind: 'path', steps: parseSteps(text.slice(1), whole) }
  if (/^(".*"|'.*')$/.test(text)) return { kind: 'literal', value: text.slice(1, -1) }
  if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' }
  if (/^-?\d+(\.\d+)?$/.test(text)) return { kind: 'literal', value: Number(text) }
  throw new JsonPathError(whole, `cannot read the operand ${text}`)
}

const walk = (steps: readonly Step[], roots: readonly Json[]): readonly Json[] =>
  steps.reduce((values, step) => values.flatMap((value) => [...take(step, value)]), roots)

function take(step: Step, value: Json): readonly Json[] {
  switch (step.kind) {
    case 'field':
      return isObject(value) ? step.names.flatMap((name) => present(value[name])) : []
    case 'index':
      return isArray(value) ? step.indices.flatMap((index) => present(value.at(index))) : []
    case 'slice':
      return isArray(value) ? value.slice(step.start, step.end).filter((_, index) => index % step.step === 0) : []
    case 'wildcard':
      return children(value)
    case 'descendants':
      return descendants(value)
    case 'filter':
      return isArray(value) ? value.filter((item) => admits(step, item)) : []
  }
}

function admits(step: Extract<Step, { kind: 'filter' }>, item: Json): boolean {
  const left = operandValue(step.left, item)
  if (step.operator === 'exists') return left !== undefined
  const right = step.right && operandValue(step.right, item)
  if (left === undefined || right === undefined) return false
  switch (step.operator) {
    case '==':
      return left === right
    case '!=':
      return left !== right
    default:
      return typeof left === typeof right && ordered(step.operator, left, right)
  }
}

function ordered(operator: string, left: Json, right: Json): boolean {
  const order = compare(left, right)
  if (order === undefined) return false
  if (operator === '<') return order < 0
  if (operator === '<=') return order <= 0
  return operator === '>' ? order > 0 : order >= 0
}

function compare(left: Json, right: Json): number | undefined {
  if (typeof left === 'number' && typeof right === 'number') return left - right
  if (typeof left === 'string' && typeof right === 'string') return left < right ? -1 : Number(left > right)
  return undefined
}

const operandValue = (operand: Operand, item: Json): Json | undefined =>
  operand.kind === 'literal' ? operand.value : walk(operand.steps, [item])[0]

const present = (value: Json | undefined): readonly Json[] => (value === undefined ? [] : [value])

function children(value: Json): readonly Json[] {
  if (isArray(value)) return value
  return isObject(value) ? Object.values(value).flatMap(present) : []
}

const descendants = (value: Json): readonly Json[] => [value, ...children(value).flatMap(descendants)]
