// Ownership after a create, update or patch: who changed a field owns it, and nobody else does any more.

import { arrayAt, isObject, type Json, type JsonObject, objectAt, withValue } from '../json.ts'
import type { ResourceType } from '../registry/resource-type.ts'
import { compare } from './compare.ts'
import { ElementError } from './elements.ts'
import { difference, equalSets, type FieldSet, union, without } from './field-set.ts'
import {
  isSameManager,
  newOwner,
  type Ownership,
  parseManagedFields,
  renderManagedFields,
  unowned,
} from './managed-fields.ts'

export interface UpdateFacts {
  readonly manager: string
  /** managedFields in the request: kubectl rewrites them when it moves an object to server-side apply. */
  readonly claimed: readonly Json[]
  readonly subresource?: string
  /** RFC 3339. */
  readonly time: string
}

/** managedFields after a write of `object`, before the server fills in what it allocates; `old` is undefined on create. */
export function trackUpdate(
  type: ResourceType,
  old: JsonObject | undefined,
  object: JsonObject,
  facts: UpdateFacts,
): readonly Json[] {
  try {
    return ownersAfter(type, old, object, facts)
  } catch (error) {
    // Lists whose items can not be told apart have no owners worth recording; whether they are allowed, validation says.
    if (error instanceof ElementError) return arrayAt(old, 'metadata', 'managedFields')
    throw error
  }
}

function ownersAfter(
  type: ResourceType,
  old: JsonObject | undefined,
  object: JsonObject,
  facts: UpdateFacts,
): readonly JsonObject[] {
  const before = old === undefined ? blankOf(type) : withoutManagedFields(old)
  const skip = unowned(type, facts.subresource ?? '')
  const change = compare(before, withoutManagedFields(object), type.type)
  const gained = without(union(change.modified, change.added), skip)
  const lost = without(change.removed, skip)
  const self = newOwner(type, { ...facts, operation: 'Update' })
  const owners = ownersBefore(old, facts)
  const others = owners
    .filter((owner) => !isSameManager(owner, self))
    .map((owner) => disown(owner, union(gained, lost)))
  const mine = owners.find((owner) => isSameManager(owner, self))
  const fields = union(difference(mine?.fields ?? self.fields, lost), gained)
  const unchanged = mine !== undefined && equalSets(mine.fields, fields)
  return renderManagedFields([...others, { ...(unchanged ? mine : self), fields }])
}

// The request's own record counts where it has one, so that clients can hand ownership over; a single empty entry clears it.
function ownersBefore(old: JsonObject | undefined, { claimed, subresource }: UpdateFacts): readonly Ownership[] {
  if (claimed.length === 0 || subresource !== undefined) return parseManagedFields(old)
  const [only] = claimed
  if (claimed.length === 1 && isObject(only) && Object.keys(only).length === 0) return []
  return parseManagedFields({ metadata: { managedFields: claimed } })
}

/** What a built-in object is before it exists: its top-level structs are there, empty, and are not "added" by anybody. */
const blankOf = (type: ResourceType): JsonObject =>
  type.custom === undefined ? { metadata: {}, spec: {}, status: {} } : { metadata: {} }

export const withoutManagedFields = (object: JsonObject): JsonObject =>
  objectAt(object, 'metadata')['managedFields'] === undefined
    ? object
    : withValue(object, ['metadata', 'managedFields'], undefined)

/** An owner without these fields. */
export const disown = (owner: Ownership, fields: FieldSet): Ownership => ({
  ...owner,
  fields: difference(owner.fields, fields),
})
