// Lays a configuration over a live object, and takes away what its author no longer sets. Keyed lists and maps merge item by
// item; everything with one owner is replaced.

import { isArray, isObject, type Json, type JsonObject } from '../json.ts'
import type { TypeNode } from '../schema/type-node.ts'
import { elementsOf } from './elements.ts'
import { emptySet, type FieldSet, isEmpty } from './field-set.ts'

/** `live` with everything that `config` sets. Items of `config` that `live` lacks follow in the order of `config`. */
export function merge(live: Json | undefined, config: Json | undefined, type: TypeNode): Json | undefined {
  if (config === undefined) return live
  const before = elementsOf(live, type)
  const wanted = elementsOf(config, type)
  if (before === undefined || wanted === undefined || isArray(live) !== isArray(config)) return config
  const merged = new Map<string, Json>()
  const keep = (element: string, value: Json | undefined): void => {
    if (value !== undefined) merged.set(element, value)
  }
  for (const [element, part] of before) keep(element, merge(part.value, wanted.get(element)?.value, part.type))
  for (const [element, part] of wanted) if (!before.has(element)) keep(element, part.value)
  return assemble(merged, isArray(config))
}

/**
 * `merged` without the fields of `last` that the present owners do not have: what an applier set before and sets no longer.
 * An item goes as a whole once nobody owns it or anything in it.
 */
export function prune(merged: Json | undefined, type: TypeNode, last: FieldSet, owned: FieldSet): Json | undefined {
  const elements = elementsOf(merged, type)
  if (elements === undefined) return merged
  const kept = new Map<string, Json>()
  for (const [element, part] of elements) {
    const was = last.children.get(element)
    const value = was === undefined ? part.value : pruneElement(part.value, part.type, was, owned.children.get(element))
    if (value !== undefined) kept.set(element, value)
  }
  const pruned = kept.size < elements.size
  return pruned && kept.size === 0 && !owned.member && !hasBareMember(last)
    ? undefined
    : assemble(kept, isArray(merged))
}

const hasBareMember = (last: FieldSet): boolean => last.member && last.children.size === 0

function pruneElement(value: Json, type: TypeNode, was: FieldSet, owned: FieldSet | undefined): Json | undefined {
  const stillOwned = owned !== undefined && !isEmpty(owned)
  if (was.member && !stillOwned) return undefined
  return prune(value, type, was, owned ?? emptySet)
}

function assemble(elements: ReadonlyMap<string, Json>, asList: boolean): Json {
  if (asList) return [...elements.values()]
  const object: Record<string, Json> = {}
  for (const [element, value] of elements) object[element.slice(2)] = value
  return object
}

/** Narrowing for the root of a merge. */
export const asObject = (value: Json | undefined): JsonObject => (isObject(value) ? value : {})
