// Server-side apply: an author sends the fields it cares about; the server merges them, remembers who owns what, takes away
// what the author dropped, and refuses to overwrite what somebody else set unless forced.

import { ApiError } from '../errors.ts'
import { type JsonObject, objectAt, stringAt } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import { compare, fieldsOf } from './compare.ts'
import { ElementError } from './elements.ts'
import { emptySet, equalSets, type FieldSet, intersection, isEmpty, pathTexts, union, without } from './field-set.ts'
import {
  isSameManager,
  newOwner,
  type Ownership,
  parseManagedFields,
  renderManagedFields,
  unowned,
} from './managed-fields.ts'
import { asObject, merge, prune } from './merge.ts'
import { disown, withoutManagedFields } from './track-update.ts'

export interface ApplyFacts {
  readonly manager: string
  readonly force: boolean
  readonly subresource?: string
  /** RFC 3339. */
  readonly time: string
}

export interface Applied {
  readonly object: JsonObject
  readonly managedFields: readonly JsonObject[]
}

/**
 * The object after `config` was applied to `live` (undefined: there is none yet), both in the form of the API. Throws ApiError:
 * Conflict with one cause a field, or an error that names the list item that can not be identified.
 */
export function applyConfiguration(
  type: ResourceType,
  live: JsonObject | undefined,
  config: JsonObject,
  facts: ApplyFacts,
): Applied {
  try {
    return apply(
      type,
      live === undefined ? undefined : withoutManagedFields(live),
      config,
      ownersOf(type, live, facts),
      facts,
    )
  } catch (error) {
    if (error instanceof ElementError) throw typedPatchError(type, config, error.message)
    throw error
  }
}

/** The refusal of a configuration that does not fit the type. */
export function typedPatchError(type: ResourceType, config: JsonObject, because: string): ApiError {
  const { name, namespace } = objectAt(config, 'metadata')
  const gvk = `${type.group === '' ? '/' : `${type.group}/`}${type.version}, Kind=${type.kind}`
  return new ApiError({
    code: 500,
    reason: '',
    message: `failed to create typed patch object (${String(namespace ?? '')}/${String(name ?? '')}; ${gvk}): ${because}`,
  })
}

function ownersOf(type: ResourceType, live: JsonObject | undefined, facts: ApplyFacts): readonly Ownership[] {
  const owners = parseManagedFields(live)
  if (live === undefined || owners.length > 0) return owners
  // Nobody recorded who wrote this object: what it holds belongs to whoever was there before.
  const before = newOwner(type, {
    manager: 'before-first-apply',
    operation: 'Update',
    time: stringAt(live, 'metadata', 'creationTimestamp') ?? facts.time,
  })
  return [{ ...before, fields: without(fieldsOf(live, type.type), unowned(type, '')) }]
}

function apply(
  type: ResourceType,
  live: JsonObject | undefined,
  config: JsonObject,
  owners: readonly Ownership[],
  facts: ApplyFacts,
): Applied {
  const skip = unowned(type, facts.subresource ?? '')
  const self = newOwner(type, { ...facts, operation: 'Apply' })
  const last = owners.find((owner) => isSameManager(owner, self))
  const others = owners.filter((owner) => owner !== last)
  const fields = without(fieldsOf(config, type.type), skip)
  const merged = merge(live, config, type.type)
  const owned = others.reduce((all, owner) => union(all, owner.fields), fields)
  const object = asObject(last === undefined ? merged : (prune(merged, type.type, last.fields, owned) ?? {}))
  const change = compare(live ?? {}, object, type.type)
  const written = without(union(change.modified, change.added), skip)
  const conflicts = others.flatMap((owner) => {
    const contested = intersection(owner.fields, written)
    return isEmpty(contested) ? [] : [{ owner, contested }]
  })
  if (conflicts.length > 0 && !facts.force) throw applyConflict(conflicts)
  const gone = union(written, without(change.removed, skip))
  const mine: Ownership =
    last !== undefined && equalSets(last.fields, fields)
      ? { ...last, apiVersion: groupVersionOf(type) }
      : { ...self, fields }
  const kept = others.map((owner) => disown(owner, isEmpty(owner.fields) ? emptySet : gone))
  return { object, managedFields: renderManagedFields([...kept, mine]) }
}

interface Contested {
  readonly owner: Ownership
  readonly contested: FieldSet
}

// The wording that kubectl explains to its user: one line, or one list per manager.
function applyConflict(conflicts: readonly Contested[]): ApiError {
  const causes = conflicts.flatMap(({ owner, contested }) =>
    pathTexts(contested).map((field) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${managerText(owner)}`,
      field,
    })),
  )
  return new ApiError({
    code: 409,
    reason: 'Conflict',
    message: conflictMessage(conflicts, causes.length),
    details: { causes },
  })
}

function conflictMessage(conflicts: readonly Contested[], count: number): string {
  const [only] = conflicts
  if (count === 1 && only !== undefined)
    return `Apply failed with 1 conflict: conflict with ${managerText(only.owner)}: ${pathTexts(only.contested).join()}`
  const lists = conflicts
    .map(({ owner, contested }) => [managerText(owner), pathTexts(contested)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([manager, paths]) => `conflicts with ${manager}:\n${paths.map((path) => `- ${path}`).join('\n')}`)
  return `Apply failed with ${count} conflicts: ${lists.join('\n')}`
}

function managerText(owner: Ownership): string {
  const named = JSON.stringify(owner.manager)
  const through = owner.subresource === '' ? named : `${named} with subresource ${JSON.stringify(owner.subresource)}`
  return owner.operation === 'Update' ? `${through} using ${owner.apiVersion}` : through
}
