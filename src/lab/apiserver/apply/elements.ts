// How the items of a value are addressed in a field set, by the value's type: members of objects by name, items of keyed lists
// by their keys, items of sets by value. Everything else is one leaf.

import { isArray, isObject, type Json, type JsonObject } from '../json.ts'
import { anyNode, isAtomic, itemType, memberType, type TypeNode } from '../schema/type-node.ts'

export interface Element {
  readonly value: Json
  readonly type: TypeNode
  /** Members that the type does not name, and list items, are members of a set in their own right. */
  readonly isItem: boolean
}

/** Why a value can not be taken apart: duplicate keys, missing keys, undeclared fields. */
export class ElementError extends Error {}

/** The parts of a value that have owners of their own; undefined when the value has one owner as a whole. */
export function elementsOf(value: Json | undefined, type: TypeNode): ReadonlyMap<string, Element> | undefined {
  if (isAtomic(type)) return undefined
  if (isObject(value)) return membersOf(value, type)
  if (isArray(value) && type.kind === 'list')
    return type.listType === 'map' ? keyedItems(value, type) : setItems(value, type)
  return undefined
}

function membersOf(object: JsonObject, type: TypeNode): ReadonlyMap<string, Element> {
  const elements = new Map<string, Element>()
  for (const [name, value] of Object.entries(object)) {
    if (value === undefined) continue
    const declared = type.kind === 'struct' && type.fields.has(name)
    elements.set(`f:${name}`, { value, type: memberType(type, name) ?? anyNode, isItem: !declared })
  }
  return elements
}

type ListType = Extract<TypeNode, { kind: 'list' }>

function keyedItems(list: readonly Json[], type: ListType): ReadonlyMap<string, Element> {
  const elements = new Map<string, Element>()
  for (const item of list) {
    const element = keyElement(item, type)
    if (elements.has(element)) throw new ElementError(`duplicate entries for key [${element.slice(2)}]`)
    elements.set(element, { value: item, type: itemType(type), isItem: true })
  }
  return elements
}

/** `k:{"port":80,"protocol":"TCP"}`. Throws ElementError where a key is missing and has no default. */
function keyElement(item: Json, type: ListType): string {
  const keys: Record<string, Json> = {}
  for (const key of type.mapKeys.toSorted()) {
    const value = isObject(item) ? (item[key] ?? type.keyDefaults[key]) : undefined
    if (value === undefined || value === null)
      throw new ElementError(`associative list with keys has an element that omits key field "${key}"`)
    keys[key] = value
  }
  return `k:${JSON.stringify(keys)}`
}

function setItems(list: readonly Json[], type: ListType): ReadonlyMap<string, Element> {
  return new Map(list.map((item) => [`v:${JSON.stringify(item)}`, { value: item, type: itemType(type), isItem: true }]))
}
