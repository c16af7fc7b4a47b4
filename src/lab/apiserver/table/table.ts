// Server-side tables (meta.k8s.io/v1 Table): what `kubectl get` prints, computed here from the columns of the kind.

import { type JsonObject, objectAt } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import type { Stored } from '../storage/stored.ts'

export type IncludeObject = 'None' | 'Metadata' | 'Object'

export interface TableOptions {
  readonly includeObject: IncludeObject
  readonly nowMs: number
  /** Watches send the columns with the first table only. */
  readonly headers: boolean
}

/** A Table as an object; `metadata` is that of the list, or carries the resourceVersion. */
export function renderTable(
  type: ResourceType,
  rows: readonly Stored[],
  metadata: JsonObject,
  options: TableOptions,
): JsonObject {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: options.headers ? columnDefinitions(type) : null,
    rows: rows.map((stored) => ({
      cells: type.columns.map((column) => column.cell(stored.object, options.nowMs)),
      ...rowObject(type, stored, options.includeObject),
    })),
  }
}

const columnDefinitions = (type: ResourceType): readonly JsonObject[] =>
  type.columns.map(({ name, type: cellType, format, description, priority }) => ({
    name,
    type: cellType,
    format: format ?? '',
    description: description ?? '',
    priority,
  }))

function rowObject(type: ResourceType, stored: Stored, include: IncludeObject): JsonObject {
  if (include === 'None') return {}
  if (include === 'Metadata') return { object: partialMetadata(stored) }
  return { object: { ...stored.object, kind: type.kind, apiVersion: groupVersionOf(type) } }
}

/** PartialObjectMetadata of an object. */
export const partialMetadata = (stored: Stored): JsonObject => ({
  kind: 'PartialObjectMetadata',
  apiVersion: 'meta.k8s.io/v1',
  metadata: objectAt(stored.object, 'metadata'),
})
