// Events have two APIs over one storage: v1 and events.k8s.io/v1. They are stored in the core form; this file renames the
// fields that differ.

import { type JsonObject, objectAt } from '../json.ts'
import type { Conversion } from './resource-type.ts'

/** events.k8s.io field to core field; fields not listed have the same name in both. */
const renamed: Readonly<Record<string, string>> = {
  note: 'message',
  regarding: 'involvedObject',
  reportingController: 'reportingComponent',
  deprecatedSource: 'source',
  deprecatedFirstTimestamp: 'firstTimestamp',
  deprecatedLastTimestamp: 'lastTimestamp',
  deprecatedCount: 'count',
}
const backwards = Object.fromEntries(Object.entries(renamed).map(([from, to]) => [to, from]))

const rename = (object: JsonObject, names: Readonly<Record<string, string>>): JsonObject =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [names[key] ?? key, value]))

export const eventConversion: Conversion = {
  toStorage: (event) => ({ ...rename(event, renamed), metadata: objectAt(event, 'metadata') }),
  fromStorage: (event) => rename(event, backwards),
}
