// Computes the cells that `kubectl get` prints for a custom resource from the additionalPrinterColumns of its CRD.
// Source: kube-apiserver's table converter for custom resources (registry/customresource/tableconvertor).
import type { Json, JsonObject } from '../json.ts'
import { compileJsonPath } from './json-path.ts'

const compiled = new Map<string, (root: Json) => readonly Json[]>()
/** More distinct columns than any test cluster has; beyond it the cache starts anew. */
const COMPILED_MAX = 1000

/**
 * One cell of a Table row. The API server takes a path for one that finds one value: of several it shows the first.
 * @param column `jsonPath` and `type` of one additionalPrinterColumn
 * @returns null where the path finds nothing. A list or an object in a string column becomes JSON text. A date stays a
 *   timestamp: the caller turns it into an age, since only the caller knows the time
 * @throws JsonPathError when the path does not parse
 */
export function printerCell(
  column: { readonly jsonPath: string; readonly type: string },
  object: JsonObject,
): string | number | boolean | null {
  const [value] = finder(column.jsonPath)(object)
  if (value === undefined || value === null) return null
  switch (column.type) {
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null
    case 'number':
      return typeof value === 'number' ? value : null
    case 'boolean':
      return typeof value === 'boolean' ? value : null
    case 'date':
      return typeof value === 'string' ? value : null
    default:
      return typeof value === 'object' ? JSON.stringify(value) : String(value)
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
