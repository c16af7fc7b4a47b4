// JSON patch (RFC 6902 over RFC 6901 pointers) on immutable values, with the API server's refusals.

import { ApiError, badRequest } from '../errors.ts'
import { isArray, isObject, type Json, type JsonObject, jsonEqual } from '../json.ts'

/** `object` after the operations. Throws BadRequest on a malformed patch, Invalid (422) on one that does not apply. */
export function jsonPatch(object: JsonObject, patch: Json): JsonObject {
  if (!isArray(patch)) throw badRequest('error decoding patch: a JSON patch is an array of operations')
  const result = patch.reduce<Json | undefined>((document, step) => applyOperation(document, step), object)
  if (!isObject(result)) throw badRequest('the patch leaves no object')
  return result
}

function applyOperation(document: Json | undefined, step: Json): Json | undefined {
  if (!isObject(step)) throw badRequest(`error decoding patch: ${JSON.stringify(step)} is not an operation`)
  const path = pointer(step, 'path')
  switch (step['op']) {
    case 'add':
      return change(document, path, 'add', operandOf(step))
    case 'remove':
      return change(document, path, 'remove', undefined)
    case 'replace':
      return change(document, path, 'replace', operandOf(step))
    case 'test':
      if (!jsonEqual(find(document, path), operandOf(step)))
        throw doesNotApply(`testing path ${step['path']} failed: test failed`)
      return document
    case 'copy':
      return change(document, path, 'add', required(document, pointer(step, 'from'), 'copy'))
    case 'move': {
      const from = pointer(step, 'from')
      const value = required(document, from, 'move')
      return change(change(document, from, 'remove', undefined), path, 'add', value)
    }
    default:
      throw badRequest(`error decoding patch: Unexpected kind: ${String(step['op'])}`)
  }
}

const operandOf = (step: JsonObject): Json => {
  const { value } = step
  if (value === undefined) throw badRequest('error decoding patch: an operation lacks its value')
  return value
}

function pointer(step: JsonObject, member: 'path' | 'from'): readonly string[] {
  const text = step[member]
  if (typeof text !== 'string' || (text !== '' && !text.startsWith('/')))
    throw badRequest(`error decoding patch: ${JSON.stringify(text ?? null)} is not a JSON pointer`)
  return text
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function find(document: Json | undefined, path: readonly string[]): Json | undefined {
  return path.reduce<Json | undefined>((at, part) => {
    if (isArray(at)) return /^(0|[1-9]\d*)$/.test(part) ? at[Number(part)] : undefined
    return isObject(at) ? at[part] : undefined
  }, document)
}

function required(document: Json | undefined, path: readonly string[], operation: string): Json {
  const value = find(document, path)
  if (value === undefined) throw missing(operation, path)
  return value
}

type Change = 'add' | 'remove' | 'replace'

function change(
  at: Json | undefined,
  path: readonly string[],
  kind: Change,
  value: Json | undefined,
): Json | undefined {
  const [part, ...rest] = path
  if (part === undefined) return value
  if (isArray(at)) return changeItem(at, part, rest, kind, value)
  if (!isObject(at)) throw missing(kind, path)
  const child = at[part]
  if (child === undefined && (rest.length > 0 || kind !== 'add')) throw missing(kind, path)
  const changed = change(child, rest, kind, value)
  if (changed !== undefined) return { ...at, [part]: changed }
  const { [part]: _removed, ...others } = at
  return others
}

function changeItem(
  list: readonly Json[],
  part: string,
  rest: readonly string[],
  kind: Change,
  value: Json | undefined,
): readonly Json[] {
  const index = part === '-' ? list.length : /^(0|[1-9]\d*)$/.test(part) ? Number(part) : Number.NaN
  const end = rest.length === 0 && kind === 'add' ? list.length : list.length - 1
  if (!(index <= end)) throw missing(kind, [part, ...rest])
  if (rest.length > 0 || kind === 'replace') return list.with(index, change(list[index], rest, kind, value) ?? null)
  return kind === 'add' ? list.toSpliced(index, 0, value ?? null) : list.toSpliced(index, 1)
}

const missing = (operation: string, path: readonly string[]): ApiError =>
  doesNotApply(`${operation} operation does not apply: doc is missing path: "/${path.join('/')}": missing value`)

function doesNotApply(because: string): ApiError {
  return new ApiError({
    code: 422,
    reason: 'Invalid',
    message: `the server rejected our request due to an error in our request: ${because}`,
    details: {},
  })
}
