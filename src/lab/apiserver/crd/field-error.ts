// Builds the errors that a user reads after `kubectl apply`, word for word as the Kubernetes API server composes them.
// Source: the wording of kube-apiserver 1.32, packages field (util/validation/field) and kube-openapi (validation/errors).
import type { Json } from '../json.ts'
import type { FieldError } from './structural-schema.ts'

/** How Go prints a value inside an error: strings quoted, numbers and booleans plain, anything else as a Go literal. */
export function goValue(value: Json | undefined): string {
  if (value === undefined || value === null) return '"null"'
  if (typeof value === 'string') return JSON.stringify(value)
  return typeof value === 'object' ? goLiteral(value) : goNumber(value)
}

/** Go's %v: a float64 turns to exponent notation from 1e+21 on, as in JavaScript. */
function goNumber(value: number | boolean): string {
  return String(value)
}

function goLiteral(value: Json | undefined): string {
  if (value === undefined || value === null) return 'interface {}(nil)'
  if (Array.isArray(value)) return `[]interface {}{${value.map((item) => goLiteral(item)).join(', ')}}`
  if (typeof value !== 'object') return goValue(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `map[string]interface {}{${entries.map(([key, child]) => `${JSON.stringify(key)}:${goLiteral(child)}`).join(', ')}}`
}

/** `path` is what the user sees as the field; an error about the whole object has the path `<nil>`. */
export const invalid = (path: string, value: Json | undefined, detail: string): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${goValue(value)}: ${detail}`,
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
  message: `Unsupported value: ${goValue(value)}: supported values: ${supported
    .map((entry) => JSON.stringify(typeof entry === 'string' ? entry : JSON.stringify(entry)))
    .join(', ')}`,
})

export const duplicate = (path: string, value: Json): FieldError => ({
  path: fieldName(path),
  reason: 'FieldValueDuplicate',
  message: `Duplicate value: ${goValue(value)}`,
})

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
