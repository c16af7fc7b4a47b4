// Lays a configuration over a live object, and takes away what its author no longer sets. Keyed lists and maps merge item by
// item; everything with one owner is replaced.

import { isArray, isObject, type Json, type JsonObject } from '../json.ts'
import type { TypeNode } from '../schema/type-node.ts'
import { elementsOf } from './elements.ts'
import { emptySet, type FieldSet, isEmpty } from './field-set.ts'

/** `live` with everything that `config` sets. Items of a list stand in the order of `config`, the others between them as before. */
export function merge(live: Json | undefined, config: Json | undefined, type: TypeNode): Json | undefined {
  if (config === undefined) return live
  const before = elementsOf(live, type)
  const wanted = elementsOf(config, type)
  if (before === undefined || wanted === undefined || isArray(live) !== isArray(config)) return config
  const merged = new Map<string, Json>()
  const keep = (element: string, value: Json | undefined): void => {
    if (value !== undefined) merged.set(element, value)
  }
  const order = isArray(config)
    ? mergedOrder([...before.keys()], [...wanted.keys()])
    : new Set([...before.keys(), ...wanted.keys()])
  for (const element of order) {
    const was = before.get(element)
    const set = wanted.get(element)
    keep(element, was === undefined ? set?.value : merge(was.value, set?.value, was.type))
  }
  return assemble(merged, isArray(config))
}

/**
 * The items of both lists, once each: those that are wanted in the order in which they are, the others after the one that they
 * followed. As kube-apiserver 1.36 orders them.
 */
export function mergedOrder(before: readonly string[], wanted: readonly string[]): readonly string[] {
  const known = new Set(before)
  const isWanted = new Set(wanted)
  const shared = wanted.filter((element) => known.has(element))
  const placed = new Set<string>()
  const order: string[] = []
  let sharedAt = 0
  let at = 0
  const place = (element: string): void => {
    placed.add(element)
    order.push(element)
    if (shared[sharedAt] === element) sharedAt++
  }
  for (const element of wanted) {
    for (; at < before.length; at++) {
      const other = before[at] ?? ''
      // What is wanted later waits for its turn, unless it is the next that both lists have: new items go before that.
      if (isWanted.has(other) && !placed.has(other) && (other === element || other === shared[sharedAt])) break
      if (!isWanted.has(other)) place(other)
    }
    if (before[at] === element) at++
    place(element)
  }
  for (const other of before.slice(at)) if (!isWanted.has(other)) place(other)
  return order
}

/**
 * `merged` without the fields of `last` that the present owners do not have: what an applier set before and sets no longer.
 * An item goes as a whole once nobody owns it or anything in it, and a list with its last item, even if it is applied as an empty one.
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
  return pruned && kept.size === 0 && (isArray(merged) || (!owned.member && !hasBareMember(last)))
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
