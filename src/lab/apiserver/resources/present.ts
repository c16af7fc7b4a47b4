// A stored object in the form of the API it is asked through: another version's apiVersion, or another group's field names.

import type { JsonObject } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import { Stored } from '../storage/stored.ts'

const converted = new WeakMap<Stored, Stored>()

/** The version to serialise for this kind; the stored one itself wherever no field is renamed. */
export function presented(type: ResourceType, stored: Stored): Stored {
  if (type.conversion === undefined) return stored
  let view = converted.get(stored)
  if (view === undefined) {
    view = new Stored(stored.key, stored.revision, type.conversion.fromStorage(stored.object))
    converted.set(stored, view)
  }
  return view
}

/** The complete JSON text of a stored object. */
export const textOf = (type: ResourceType, stored: Stored): string =>
  presented(type, stored).text(groupVersionOf(type), type.kind)

/** The object as a value, in the form of this API. */
export const objectOf = (type: ResourceType, stored: Stored): JsonObject => ({
  ...presented(type, stored).object,
  apiVersion: groupVersionOf(type),
  kind: type.kind,
})

/** A JSON text as an item of a list: built-in kinds leave kind and apiVersion to the list, custom ones carry them. */
export const itemText = (type: ResourceType, stored: Stored): string =>
  type.custom === undefined ? `{${presented(type, stored).tail}` : textOf(type, stored)
