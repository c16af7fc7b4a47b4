// Reading a raw object field by field: each read either gives a checked value or notes a problem with its path in words that an
// operator understands, and goes on, so that one refusal names everything that is wrong. `null` counts as absent, as in CRDs.

import { asList, asObject } from '../json.ts'

export interface Problem {
  /** As in `spec.timers.holdSeconds` or `spec.addresses[2]`. */
  readonly path: string
  readonly message: string
}

export interface IntegerBounds {
  readonly min: number
  readonly max: number
}

/** One object of the tree, and where it is. */
export interface Fields {
  readonly path: string
  /** Notes a problem; `key` absent means the object itself. */
  readonly refuse: (message: string, key?: string) => void
  /** The value as it stands; undefined for absent and for null. */
  readonly raw: (key: string) => unknown
  readonly text: (key: string) => string | undefined
  readonly integer: (key: string, bounds: IntegerBounds) => number | undefined
  readonly flag: (key: string, fallback: boolean) => boolean
  readonly oneOf: <T extends string>(key: string, values: readonly T[], fallback: T) => T
  readonly texts: (key: string) => readonly string[]
  /** A string map such as matchLabels. */
  readonly textMap: (key: string) => Readonly<Record<string, string>>
  /** A nested object, or undefined when absent. */
  readonly object: (key: string) => Fields | undefined
  /** The nested objects of a list. */
  readonly objects: (key: string) => readonly Fields[]
}

const none: readonly string[] = Object.freeze([])
const nothing: Readonly<Record<string, string>> = Object.freeze({})

/** Starts reading `value`, which stands at `path`; what is wrong is appended to `problems`. */
export function fieldsOf(value: unknown, path: string, problems: Problem[]): Fields {
  const object = asObject(value) ?? {}
  const at = (key?: string): string => (key === undefined ? path : path === '' ? key : `${path}.${key}`)
  const refuse = (message: string, key?: string): void => void problems.push({ path: at(key), message })
  if (asObject(value) === undefined && value !== undefined) refuse(`must be an object, not ${describe(value)}`)

  const raw = (key: string): unknown => object[key] ?? undefined
  const typed = <T>(key: string, wanted: string, accept: (value: unknown) => T | undefined): T | undefined => {
    const found = raw(key)
    if (found === undefined) return undefined
    const accepted = accept(found)
    if (accepted === undefined) refuse(`must be ${wanted}, not ${describe(found)}`, key)
    return accepted
  }
  const list = (key: string): readonly unknown[] => typed(key, 'a list', asList) ?? []

  return {
    path,
    refuse,
    raw,
    text: (key) => typed(key, 'text', (found) => (typeof found === 'string' ? found : undefined)),
    integer: (key, { min, max }) =>
      typed(key, `a whole number from ${min} to ${max}`, (found) =>
        typeof found === 'number' && Number.isInteger(found) && found >= min && found <= max ? found : undefined,
      ),
    flag: (key, fallback) =>
      typed(key, 'true or false', (found) => (typeof found === 'boolean' ? found : undefined)) ?? fallback,
    oneOf: (key, values, fallback) =>
      typed(key, `one of ${values.join(', ')}`, (found) => values.find((value) => value === found)) ?? fallback,
    texts: (key) => {
      const items = list(key)
      if (items.length === 0) return none
      return items.flatMap((item, i) => {
        if (typeof item === 'string') return [item]
        refuse(`must be text, not ${describe(item)}`, `${key}[${i}]`)
        return []
      })
    },
    textMap: (key) => {
      const map = typed(key, 'a map', asObject)
      if (map === undefined) return nothing
      const entries: [string, string][] = []
      for (const [name, value] of Object.entries(map)) {
        if (typeof value === 'string') entries.push([name, value])
        else refuse(`must be text, not ${describe(value)}`, `${key}.${name}`)
      }
      return entries.length === 0 ? nothing : Object.fromEntries(entries)
    },
    object: (key) => {
      const found = raw(key)
      return found === undefined ? undefined : fieldsOf(found, at(key), problems)
    },
    objects: (key) => list(key).map((item, i) => fieldsOf(item, `${at(key)}[${i}]`, problems)),
  }
}

/** A value as it is quoted to operators: short, never a whole object. */
function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}
