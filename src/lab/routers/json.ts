// Looking into the JSON that other people's daemons print, without believing any of it.

export type JsonObject = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The object, or an empty one. */
export const asObject = (value: unknown): JsonObject => (isObject(value) ? value : {})

/** The list, or an empty one. */
export const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

export const asNumber = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)

export const asText = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

/** Parses text that should be JSON; empty text is an empty object. */
export const parseJson = (text: string): unknown => (text.trim() === '' ? {} : JSON.parse(text))
