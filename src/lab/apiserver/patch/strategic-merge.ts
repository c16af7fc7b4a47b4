// Strategic merge patch: a merge patch that knows which lists are keyed (Service ports by port, containers by name), with its
// directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/x` and `$setElementOrder/x`. Only built-in kinds take it.

import { badRequest } from '../errors.ts'
import { isArray, isObject, type Json, type JsonObject, jsonEqual } from '../json.ts'
import { anyNode, itemType, memberType, type TypeNode } from '../schema/type-node.ts'

const deleteFrom = '$deleteFromPrimitiveList/'
const setOrder = '$setElementOrder/'

/** `target` after `patch`, merging lists by the keys of `type`. Throws BadRequest on a list item without its key. */
export function strategicMerge(target: JsonObject, patch: JsonObject, type: TypeNode): JsonObject {
  const directive = patch['$patch']
  if (directive === 'replace') return withoutDirectives(patch)
  if (directive === 'delete') return {}
  const out: Record<string, Json | undefined> = { ...retained(target, patch) }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(deleteFrom))
      out[key.slice(deleteFrom.length)] = removeScalars(out[key.slice(deleteFrom.length)], value)
    else if (!key.startsWith('$')) applyMember(out, key, value, memberType(type, key) ?? anyNode)
  }
  for (const [key, order] of Object.entries(patch))
    if (key.startsWith(setOrder)) {
      const name = key.slice(setOrder.length)
      out[name] = reorder(out[name], order, memberType(type, name) ?? anyNode)
    }
  return out
}

function applyMember(
  out: Record<string, Json | undefined>,
  key: string,
  value: Json | undefined,
  type: TypeNode,
): void {
  const before = out[key]
  if (value === null || value === undefined) delete out[key]
  else if (isObject(value)) {
    if (value['$patch'] === 'delete') delete out[key]
    else out[key] = strategicMerge(isObject(before) ? before : {}, value, type)
  } else if (isArray(value)) out[key] = mergeList(isArray(before) ? before : [], value, type)
  else out[key] = value
}

function retained(target: JsonObject, patch: JsonObject): JsonObject {
  const keys = patch['$retainKeys']
  if (!isArray(keys)) return target
  return Object.fromEntries(Object.entries(target).filter(([key]) => keys.includes(key)))
}

function withoutDirectives(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([key, value]) => !key.startsWith('$') && value !== null))
}

const isDirectiveOnly = (item: Json): boolean =>
  isObject(item) && Object.keys(item).length === 1 && item['$patch'] !== undefined

function mergeList(before: readonly Json[], patch: readonly Json[], type: TypeNode): readonly Json[] {
  const rule = type.kind === 'list' ? type.patch : { merge: false }
  const replaces = patch.some((item) => isObject(item) && item['$patch'] === 'replace')
  if (!rule.merge || replaces) return patch.filter((item) => !isDirectiveOnly(item)).map(plain)
  const { key } = rule
  if (key === undefined) return [...before, ...patch.filter((item) => !before.some((each) => jsonEqual(each, item)))]
  return patch.reduce<readonly Json[]>((items, item) => mergeItem(items, item, key, itemType(type)), before)
}

const plain = (item: Json): Json => (isObject(item) ? withoutDirectives(item) : item)

function mergeItem(items: readonly Json[], item: Json, key: string, type: TypeNode): readonly Json[] {
  if (!isObject(item) || item[key] === undefined)
    throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`)
  const index = items.findIndex((each) => isObject(each) && jsonEqual(each[key], item[key]))
  const found = items[index]
  if (item['$patch'] === 'delete') return items.filter((each) => !(isObject(each) && jsonEqual(each[key], item[key])))
  const merged = strategicMerge(isObject(found) ? found : {}, item, type)
  return index < 0 ? [...items, merged] : items.with(index, merged)
}

function removeScalars(list: Json | undefined, values: Json | undefined): Json | undefined {
  if (!isArray(list) || !isArray(values)) return list
  return list.filter((item) => !values.some((value) => jsonEqual(value, item)))
}

// Items named in `order` follow it; items that the patch does not know stay where they were relative to their neighbours.
function reorder(list: Json | undefined, order: Json | undefined, type: TypeNode): Json | undefined {
  if (!isArray(list) || !isArray(order)) return list
  const key = type.kind === 'list' ? type.patch.key : undefined
  const identity = (item: Json): string => JSON.stringify(key !== undefined && isObject(item) ? item[key] : item)
  const ranks = new Map(order.map((item, i) => [identity(item), i]))
  const ordered = list.filter((item) => ranks.has(identity(item)))
  ordered.sort((a, b) => (ranks.get(identity(a)) ?? 0) - (ranks.get(identity(b)) ?? 0))
  let next = 0
  return list.map((item) => (ranks.has(identity(item)) ? (ordered[next++] ?? item) : item))
}
