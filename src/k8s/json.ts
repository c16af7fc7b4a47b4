// JSON from the API server before a schema looked at it. The few accessors that every reader of raw objects needs, so that
// nobody casts: a missing or mistyped field is undefined here, and a schema or an error message elsewhere.

/** An object as the API server sent it: nothing about it is known yet. */
export type RawObject = Readonly<Record<string, unknown>>

/** The value as a raw object, or undefined when it is anything else (arrays included). */
export function asObject(value: unknown): RawObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as RawObject) : undefined
}

/** The value as a list, or undefined. */
export function asList(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined
}

/** The value as text, or undefined. */
export function asText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** The value that the text says, or undefined where it is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** What identifies one version of one object; `name` is undefined in values that are no Kubernetes object at all. */
export interface RawIdentity {
  readonly namespace: string
  readonly name: string | undefined
  readonly uid: string
  readonly resourceVersion: string
}

/** Reads `metadata` without judging it. */
export function identityOf(raw: unknown): RawIdentity {
  const metadata = asObject(asObject(raw)?.['metadata'])
  return {
    namespace: asText(metadata?.['namespace']) ?? '',
    name: asText(metadata?.['name']),
    uid: asText(metadata?.['uid']) ?? '',
    resourceVersion: asText(metadata?.['resourceVersion']) ?? '',
  }
}

const nothing: readonly never[] = Object.freeze([])

/**
 * What `read` makes of each item of a list; undefined = leave it out. Empty lists are one list, and the others have no room to spare,
 * as one that grew item by item has: a cluster is a hundred thousand short lists.
 */
export function listOf<T>(value: unknown, read: (item: unknown) => T | undefined): readonly T[] {
  const found: T[] = []
  for (const item of asList(value) ?? nothing) {
    const one = read(item)
    if (one !== undefined) found.push(one)
  }
  return found.length === 0 ? nothing : found.slice()
}
