// Columns that several kinds share, and the small vocabulary in which the columns of the built-in kinds are written.

import { type Json, type JsonObject, objectAt, stringAt } from '../json.ts'
import type { Column } from '../registry/resource-type.ts'
import { ageOf } from './age.ts'

export const column = (name: string, cell: Column['cell']): Column => ({ name, type: 'string', priority: 0, cell })

export const wide = (name: string, cell: Column['cell']): Column => ({ ...column(name, cell), priority: 1 })

export const integer = (name: string, cell: Column['cell']): Column => ({ ...column(name, cell), type: 'integer' })

export const nameColumn: Column = {
  ...column('Name', (object) => stringAt(object, 'metadata', 'name') ?? ''),
  format: 'name',
  description: 'Name, unique within a namespace.',
}

export const ageColumn: Column = column('Age', (object, now) =>
  ageOf(stringAt(object, 'metadata', 'creationTimestamp'), now),
)

/** Text or a placeholder where it is absent or empty. */
export const orElse = (text: string | undefined, otherwise: string): string =>
  text === undefined || text === '' ? otherwise : text

export const joined = (items: readonly string[], otherwise = '<none>'): string =>
  items.length === 0 ? otherwise : items.join(',')

/** A string-to-string map as `k=v,k=v`, sorted. */
export function labelText(labels: JsonObject): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${String(value)}`)
  return joined(pairs.sort())
}

/** A label selector as text, as SelectorText and FormatLabelSelector write it. */
export function selectorText(selector: JsonObject): string {
  const equal = Object.entries(objectAt(selector, 'matchLabels')).map(([key, value]) => `${key}=${String(value)}`)
  const expressions = (Array.isArray(selector['matchExpressions']) ? selector['matchExpressions'] : []).map(expression)
  return joined([...equal.sort(), ...expressions])
}

function expression(requirement: Json): string {
  const key = stringAt(requirement, 'key') ?? ''
  const values = (requirement as { readonly values?: readonly string[] }).values ?? []
  switch (stringAt(requirement, 'operator')) {
    case 'In':
      return `${key} in (${values.join(',')})`
    case 'NotIn':
      return `${key} notin (${values.join(',')})`
    case 'DoesNotExist':
      return `!${key}`
    default:
      return key
  }
}
