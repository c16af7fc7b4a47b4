// JSON as values. Objects in the lab's API server are plain JSON trees that nobody edits in place: every change makes a new
// tree, so that a stored version, its serialised text and a page of an old list can be shared without copying.

export type Json = string | number | boolean | null | readonly Json[] | JsonObject

/** A JSON object; an absent member and `undefined` are the same thing. */
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

/** Whether a value is a JSON object (not an array, not null). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether a value is a JSON array. */
export function isArray(value: unknown): value is readonly Json[] {
  return Array.isArray(value)
}

/** Structural equality; member order does not matter and an `undefined` member equals an absent one. */
export function jsonEqual(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (isArray(a)) return isArray(b) && a.length === b.length && a.every((item, i) => jsonEqual(item, b[i]))
  if (!isObject(a) || !isObject(b)) return false
  for (const [key, value] of Object.entries(a)) if (!jsonEqual(value, b[key])) return false
  for (const [key, value] of Object.entries(b)) if (value !== undefined && a[key] === undefined) return false
  return true
}

/** The value at a path of member names, or undefined where the path ends early. */
export function valueAt(root: Json | undefined, ...path: readonly string[]): Json | undefined {
  let at: Json | undefined = root
  for (const name of path) {
    if (!isObject(at)) return undefined
    at = at[name]
  }
  return at
}

/** The object at a path, or an empty one. */
export function objectAt(root: Json | undefined, ...path: readonly string[]): JsonObject {
  const value = valueAt(root, ...path)
  return isObject(value) ? value : {}
}

/** The array at a path, or an empty one. */
export function arrayAt(root: Json | undefined, ...path: readonly string[]): readonly Json[] {
  const value = valueAt(root, ...path)
  return isArray(value) ? value : []
}

/** The objects of the array at a path; other items are left out. */
export function objectsAt(root: Json | undefined, ...path: readonly string[]): readonly JsonObject[] {
  return arrayAt(root, ...path).filter(isObject)
}

/** The strings of the array at a path; other items are left out. */
export function stringsAt(root: Json | undefined, ...path: readonly string[]): readonly string[] {
  return arrayAt(root, ...path).filter((item) => typeof item === 'string')
}

/** The string at a path, or undefined. */
export function stringAt(root: Json | undefined, ...path: readonly string[]): string | undefined {
  const value = valueAt(root, ...path)
  return typeof value === 'string' ? value : undefined
}

/** The number at a path, or undefined. */
export function numberAt(root: Json | undefined, ...path: readonly string[]): number | undefined {
  const value = valueAt(root, ...path)
  return typeof value === 'number' ? value : undefined
}

/** A copy of `root` with `value` at `path`, making objects on the way; `undefined` removes the member. */
export function withValue(root: JsonObject, path: readonly string[], value: Json | undefined): JsonObject {
  const [head, ...rest] = path
  if (head === undefined) throw new Error('a path has at least one member')
  if (rest.length > 0) {
    const child = root[head]
    if (value === undefined && !isObject(child)) return root
    return { ...root, [head]: withValue(isObject(child) ? child : {}, rest, value) }
  }
  if (value !== undefined) return { ...root, [head]: value }
  if (root[head] === undefined) return root
  const { [head]: _removed, ...others } = root
  return others
}
