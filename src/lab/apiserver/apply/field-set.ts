// Sets of field paths as Kubernetes keeps them in managedFields (FieldsV1): a tree whose edges are path elements (`f:name`,
// `k:{"port":80}`, `v:"x"`) and whose nodes say whether the path up to them is a member. Values, never edited.

import { isObject, type Json, type JsonObject } from '../json.ts'

export interface FieldSet {
  /** The path that ends here is in the set. */
  readonly member: boolean
  readonly children: ReadonlyMap<string, FieldSet>
}

export const emptySet: FieldSet = { member: false, children: new Map() }
export const leaf: FieldSet = { member: true, children: new Map() }

export const isEmpty = (set: FieldSet): boolean => !set.member && set.children.size === 0

/** A set with these children, leaving out empty ones. */
export function node(member: boolean, children: Iterable<readonly [string, FieldSet]>): FieldSet {
  const kept = new Map<string, FieldSet>()
  for (const [element, child] of children) if (!isEmpty(child)) kept.set(element, child)
  return kept.size === 0 ? (member ? leaf : emptySet) : { member, children: kept }
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmpty(a) || a === b) return b
  if (isEmpty(b)) return a
  const children = new Map(a.children)
  for (const [element, child] of b.children) children.set(element, union(children.get(element) ?? emptySet, child))
  return { member: a.member || b.member, children }
}

/** The paths of `a` that are not paths of `b`; what lies beneath a path of `b` stays. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmpty(b)) return a
  const children = [...a.children].map(([element, child]) => {
    const other = b.children.get(element)
    return [element, other === undefined ? child : difference(child, other)] as const
  })
  return node(a.member && !b.member, children)
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const children: [string, FieldSet][] = []
  for (const [element, child] of a.children) {
    const other = b.children.get(element)
    if (other !== undefined) children.push([element, intersection(child, other)])
  }
  return node(a.member && b.member, children)
}

export function equalSets(a: FieldSet, b: FieldSet): boolean {
  if (a.member !== b.member || a.children.size !== b.children.size) return false
  return [...a.children].every(([element, child]) => {
    const other = b.children.get(element)
    return other !== undefined && equalSets(child, other)
  })
}

/** The set without these subtrees: `[['f:metadata', 'f:name'], ['f:status']]`. */
export function without(set: FieldSet, paths: readonly (readonly string[])[]): FieldSet {
  return paths.reduce(withoutOne, set)
}

function withoutOne(set: FieldSet, path: readonly string[]): FieldSet {
  const [head, ...rest] = path
  const child = head === undefined ? undefined : set.children.get(head)
  if (head === undefined || child === undefined) return set
  const kept = rest.length === 0 ? emptySet : withoutOne(child, rest)
  return node(
    set.member,
    [...set.children].map(([element, each]) => [element, element === head ? kept : each] as const),
  )
}

/** FieldsV1: a member with children carries a `.`. */
export function renderFields(set: FieldSet): JsonObject {
  const out: Record<string, Json> = {}
  if (set.member && set.children.size > 0) out['.'] = {}
  for (const element of [...set.children.keys()].sort())
    out[element] = renderFields(set.children.get(element) ?? emptySet)
  return out
}

export function parseFields(fields: Json | undefined): FieldSet {
  if (!isObject(fields)) return emptySet
  const children = new Map<string, FieldSet>()
  for (const [element, child] of Object.entries(fields)) if (element !== '.') children.set(element, parseChild(child))
  return { member: fields['.'] !== undefined, children }
}

function parseChild(fields: Json | undefined): FieldSet {
  const parsed = parseFields(fields)
  return parsed.children.size === 0 ? leaf : parsed
}

/** The members as people write them: `.spec.ports[port=80,protocol="TCP"].nodePort`, sorted. */
export function pathTexts(set: FieldSet, prefix = ''): readonly string[] {
  const own = set.member ? [prefix] : []
  const beneath = [...set.children].flatMap(([element, child]) => pathTexts(child, prefix + elementText(element)))
  return [...own, ...beneath].sort()
}

function elementText(element: string): string {
  const body = element.slice(2)
  switch (element.slice(0, 2)) {
    case 'f:':
      return `.${body}`
    case 'k:': {
      const keys: unknown = JSON.parse(body)
      const pairs = Object.entries(isObject(keys) ? keys : {}).map(([key, value]) => `${key}=${JSON.stringify(value)}`)
      return `[${pairs.sort().join(',')}]`
    }
    case 'v:':
      return `[=${body}]`
    default:
      return `[${body}]`
  }
}
