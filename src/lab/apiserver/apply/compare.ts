// Which fields a value has, and which were added, changed or removed between two values: the arithmetic that ownership of
// fields rests on. Follows the structured merge of Kubernetes' server-side apply.

import { isArray, isObject, type Json, jsonEqual } from '../json.ts'
import type { TypeNode } from '../schema/type-node.ts'
import { elementsOf } from './elements.ts'
import { emptySet, type FieldSet, leaf, node } from './field-set.ts'

/** The fields that a configuration sets: its leaves, and every item of a list or map of its own. */
export function fieldsOf(value: Json | undefined, type: TypeNode): FieldSet {
  const elements = elementsOf(value, type)
  if (elements === undefined || elements.size === 0) return value === undefined ? emptySet : leaf
  return node(
    false,
    [...elements].map(([element, part]) => {
      const inner = fieldsOf(part.value, part.type)
      return [element, part.isItem ? { ...inner, member: true } : inner] as const
    }),
  )
}

export interface Comparison {
  /** Fields with another value in the new object. */
  readonly modified: FieldSet
  readonly added: FieldSet
  readonly removed: FieldSet
}

const nothing: Comparison = { modified: emptySet, added: emptySet, removed: emptySet }

/** What changed from `before` to `after`, containers included where they came or went as a whole. */
export function compare(before: Json | undefined, after: Json | undefined, type: TypeNode): Comparison {
  if (before === after) return nothing
  if (before === undefined) return { ...nothing, added: everything(after, type) }
  if (after === undefined) return { ...nothing, removed: everything(before, type) }
  const old = elementsOf(before, type)
  const now = elementsOf(after, type)
  if (
    old === undefined ||
    now === undefined ||
    isArray(before) !== isArray(after) ||
    isObject(before) !== isObject(after)
  )
    return jsonEqual(before, after) ? nothing : { ...nothing, modified: leaf }
  const parts = [...new Set([...old.keys(), ...now.keys()])].map((element) => {
    const part = now.get(element) ?? old.get(element)
    const change = part === undefined ? nothing : compare(old.get(element)?.value, now.get(element)?.value, part.type)
    return [element, change] as const
  })
  const gather = (side: keyof Comparison): FieldSet =>
    node(
      false,
      parts.map(([element, change]) => [element, change[side]] as const),
    )
  return { modified: gather('modified'), added: gather('added'), removed: gather('removed') }
}

// A value that came or went: every node of it.
function everything(value: Json | undefined, type: TypeNode): FieldSet {
  if (value === undefined) return emptySet
  const elements = elementsOf(value, type) ?? new Map()
  return node(
    true,
    [...elements].map(([element, part]) => [element, everything(part.value, part.type)] as const),
  )
}
