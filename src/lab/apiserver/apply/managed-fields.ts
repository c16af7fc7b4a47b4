// metadata.managedFields as a value: who set which fields, how and when. A manager is known by name, operation, subresource
// and, for updates, the version it wrote in.

import { type JsonObject, objectsAt, stringAt } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import { emptySet, type FieldSet, isEmpty, parseFields, renderFields } from './field-set.ts'

export interface Ownership {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly subresource: string
  readonly time: string | undefined
  readonly fields: FieldSet
}

/** Reads managedFields of an object. */
export function parseManagedFields(object: JsonObject | undefined): readonly Ownership[] {
  return objectsAt(object, 'metadata', 'managedFields').map((entry) => ({
    manager: stringAt(entry, 'manager') ?? '',
    operation: stringAt(entry, 'operation') === 'Apply' ? 'Apply' : 'Update',
    apiVersion: stringAt(entry, 'apiVersion') ?? '',
    subresource: stringAt(entry, 'subresource') ?? '',
    time: stringAt(entry, 'time'),
    fields: parseFields(entry['fieldsV1']),
  }))
}

/** The entries in the order Kubernetes lists them: applies before updates, then by time and manager. Empty sets go. */
export function renderManagedFields(owners: readonly Ownership[]): readonly JsonObject[] {
  return owners
    .filter((owner) => !isEmpty(owner.fields))
    .toSorted(
      (a, b) =>
        compareText(a.operation, b.operation) ||
        compareText(a.time ?? '', b.time ?? '') ||
        compareText(a.manager, b.manager),
    )
    .map((owner) => ({
      manager: owner.manager,
      operation: owner.operation,
      apiVersion: owner.apiVersion,
      ...(owner.time === undefined ? {} : { time: owner.time }),
      fieldsType: 'FieldsV1',
      fieldsV1: renderFields(owner.fields),
      ...(owner.subresource === '' ? {} : { subresource: owner.subresource }),
    }))
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Whether two entries are one manager's. */
export const isSameManager = (a: Ownership, b: Ownership): boolean =>
  a.manager === b.manager &&
  a.operation === b.operation &&
  a.subresource === b.subresource &&
  (a.operation === 'Apply' || a.apiVersion === b.apiVersion)

/** An entry without fields yet. */
export const newOwner = (
  type: ResourceType,
  facts: {
    readonly manager: string
    readonly operation: 'Apply' | 'Update'
    readonly subresource?: string
    readonly time: string
  },
): Ownership => ({
  manager: facts.manager,
  operation: facts.operation,
  apiVersion: groupVersionOf(type),
  subresource: facts.subresource ?? '',
  time: facts.time,
  fields: emptySet,
})

/** Fields that nobody owns: identity, what the server alone writes, and what the subresource of the request can not change. */
export function unowned(type: ResourceType, subresource: string): readonly (readonly string[])[] {
  const server = [
    'name',
    'namespace',
    'creationTimestamp',
    'selfLink',
    'uid',
    'generation',
    'managedFields',
    'resourceVersion',
  ]
  const identity = [['f:apiVersion'], ['f:kind'], ...server.map((field) => ['f:metadata', `f:${field}`])]
  const deletion = ['deletionTimestamp', 'deletionGracePeriodSeconds'].map((field) => ['f:metadata', `f:${field}`])
  const part = subresource === 'status' ? [['f:spec']] : type.status ? [['f:status']] : []
  return [...identity, ...deletion, ...part]
}
