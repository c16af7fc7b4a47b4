// Builds the errors that a user reads after `kubectl apply`, word for word as the Kubernetes API server composes them.
// Source: the wording of kube-apiserver 1.36, packages field (util/validation/field) and kube-openapi (validation/errors).
import type { Json } from '../json.ts'
import type { FieldError } from './structural-schema.ts'

/** A value as errors show it: strings quoted, everything else as JSON with sorted members. */
function shownValue(value: Json | undefined): string {
  if (value === undefined || value === null) return 'null'
  if (Array.isArray(value)) return `[${value.map((item) => shownValue(item)).join(',')}]`
  if (typeof value !== 'object') return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, child]) => `${JSON.stringify(key)}:${shownValue(child)}`).join(',')}}`
}

/** `path` is what the user sees as the field; an error about the whole object has the path `<nil>`. */
export const invalid = (path: string, value: Json | undefined, detail: string): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${shownValue(value)}: ${detail}`,
})

/** As `invalid` about a value that a CEL rule refused: a whole object or list is not shown. */
export const ruleBroken = (path: string, value: Json, detail: string): FieldError => ({
  ...invalid(path, value, detail),
  ...(isWhole(value) ? { message: `Invalid value: ${detail}` } : {}),
})

export const typeInvalid = (path: string, value: Json | undefined, detail: string): FieldError => ({
  ...invalid(path, value, detail),
  reason: 'FieldValueTypeInvalid',
})

export const required = (path: string, detail = ''): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueRequired',
  message: detail === '' ? 'Required value' : `Required value: ${detail}`,
})

export const forbidden = (path: string, detail: string): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueForbidden',
  message: `Forbidden: ${detail}`,
})

export const notSupported = (path: string, value: Json, supported: readonly Json[]): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueNotSupported',
  message: `Unsupported value: ${shownValue(value)}: supported values: ${supported
    .map((entry) => JSON.stringify(typeof entry === 'string' ? entry : JSON.stringify(entry)))
    .join(', ')}`,
})

export const duplicate = (path: string, value: Json): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueDuplicate',
  message: `Duplicate value: ${shownValue(value)}`,
})

/** As `duplicate` about a value that a CEL rule refused. */
export const ruleFoundDuplicate = (path: string, value: Json): FieldError => ({
  ...duplicate(path, value),
  ...(isWhole(value) ? { message: 'Duplicate value' } : {}),
})

const isWhole = (value: Json): boolean => typeof value === 'object'

export const tooLong = (path: string, max: number): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueTooLong',
  message: `Too long: may not be more than ${max} ${max === 1 ? 'byte' : 'bytes'}`,
})

export const tooMany = (path: string, actual: number, max: number): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueTooMany',
  message: `Too many: ${actual}: must have at most ${max} ${max === 1 ? 'item' : 'items'}`,
})

const fieldName = (path: string): string => (path === '' ? '<nil>' : path)
