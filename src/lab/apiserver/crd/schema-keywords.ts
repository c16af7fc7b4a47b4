// One keyword of a schema, read as what it has to be. Anything else is the author's mistake, thrown with its path.

import { isArray, type Json, type JsonObject } from '../json.ts'
import { SchemaError } from './schema-node.ts'

export function flag(raw: JsonObject, key: string, path: string): boolean {
  const value = raw[key]
  if (value === undefined || typeof value === 'boolean') return value ?? false
  throw new SchemaError(`${path}.${key}`, 'must be a boolean')
}

export function text(raw: JsonObject, key: string, path: string): string | undefined {
  const value = raw[key]
  if (value === undefined || typeof value === 'string') return value
  throw new SchemaError(`${path}.${key}`, 'must be a string')
}

export function number(raw: JsonObject, key: string, path: string): number | undefined {
  const value = raw[key]
  if (value === undefined || typeof value === 'number') return value
  throw new SchemaError(`${path}.${key}`, 'must be a number')
}

export function list(raw: JsonObject, key: string, path: string): readonly Json[] {
  const value = raw[key]
  if (value === undefined) return []
  if (isArray(value)) return value
  throw new SchemaError(`${path}.${key}`, 'must be an array')
}

export function strings(raw: JsonObject, key: string, path: string): readonly string[] {
  return list(raw, key, path).map((entry) => {
    if (typeof entry !== 'string') throw new SchemaError(`${path}.${key}`, 'must hold strings only')
    return entry
  })
}
