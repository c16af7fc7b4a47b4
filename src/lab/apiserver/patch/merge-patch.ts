// JSON merge patch (RFC 7386): members replace, null removes, arrays are replaced as a whole.

import { isObject, type Json } from '../json.ts'

/** `target` after `patch`. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch
  const out: Record<string, Json | undefined> = isObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) delete out[key]
    else out[key] = mergePatch(out[key], value)
  }
  return out
}
