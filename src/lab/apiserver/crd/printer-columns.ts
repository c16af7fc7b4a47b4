// Computes the cells that `kubectl get` prints for a custom resource from the additionalPrinterColumns of its CRD.
// Source: kube-apiserver's table converter for custom resources (registry/customresource/tableconvertor).
import type { Json, JsonObject } from '../json.ts'
import { compileJsonPath } from './json-path.ts'
import { isObject } from './schema.ts'

const compiled = new Map<string, (root: Json) => readonly Json[]>()
/** More distinct columns than any test cluster has; beyond it the cache starts anew. */
const COMPILED_MAX = 1000

/**
 * One cell of a Table row.
 * @param column `jsonPath` and `type` of one additionalPrinterColumn
 * @returns null where the path finds nothing; several finds joined by commas. A date stays a timestamp: the caller turns
 *   it into an age, since only the caller knows the time
 * @throws JsonPathError when the path does not parse
 */
export function printerCell(
  column: { readonly jsonPath: string; readonly type: string },
  object: JsonObject,
): string | number | boolean | null {
  const found = finder(column.jsonPath)(object)
  const [first] = found
  if (first === undefined || first === null) return null
  switch (column.type) {
    case 'integer':
      return typeof first === 'number' ? Math.trunc(first) : wholeNumber(first)
    case 'number':
      return typeof first === 'number' ? first : null
    case 'boolean':
      return typeof first === 'boolean' ? first : null
    case 'date':
      return typeof first === 'string' ? first : null
    default:
      return found.map(text).join(',')
  }
}

function finder(jsonPath: string): (root: Json) => readonly Json[] {
  const known = compiled.get(jsonPath)
  if (known) return known
  if (compiled.size >= COMPILED_MAX) compiled.clear()
  const find = compileJsonPath(jsonPath)
  compiled.set(jsonPath, find)
  return find
}

function wholeNumber(value: Json): number | null {
  return typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : null
}

function text(value: Json): string {
  return Array.isArray(value) || isObject(value) ? JSON.stringify(value) : String(value)
}
