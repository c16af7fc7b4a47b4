// What the server needs to know about one kind in one version. Every built-in kind is one row of these facts and every served
// version of a CRD yields one more; request handling has no branch by kind.

import type { CompiledSchema } from '../crd/structural-schema.ts'
import type { Subject } from '../errors.ts'
import type { Json, JsonObject } from '../json.ts'
import type { StructNode } from '../schema/type-node.ts'

export interface ResourceType extends Subject {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly namespaced: boolean
  /** Where its objects are stored; versions of one kind share a bucket. */
  readonly bucket: string
  readonly type: StructNode
  /** Has a status subresource: status is written there and nowhere else. */
  readonly status: boolean
  /** Has a scale subresource. */
  readonly scale?: ScalePaths
  /** metadata.generation counts changes outside metadata and status. */
  readonly generation: boolean
  /** PUT to a name that does not exist creates it. */
  readonly createOnUpdate: boolean
  /** How names are checked. */
  readonly nameRule: NameRule
  readonly columns: readonly Column[]
  /** Field selectors beyond metadata.name and metadata.namespace. */
  readonly fieldSelectors: Readonly<Record<string, (object: JsonObject) => string>>
  /** Values that Kubernetes fills in. Pure; runs before admission on create and update. */
  readonly defaults?: (object: JsonObject) => JsonObject
  /** Another kind's storage shown in this kind's form. */
  readonly conversion?: Conversion
  /** Present for custom resources. */
  readonly custom?: CustomResourceRules
}

export type NameRule = 'subdomain' | 'label' | 'serviceLabel' | 'path'

export interface ScalePaths {
  readonly spec: readonly string[]
  readonly status: readonly string[]
  /** Text of the label selector that finds what is scaled. */
  readonly selector: (object: JsonObject) => string
}

export interface Conversion {
  readonly toStorage: (object: JsonObject) => JsonObject
  readonly fromStorage: (object: JsonObject) => JsonObject
}

export interface CustomResourceRules {
  readonly schema: CompiledSchema
  /** The schema as the CRD has it, for OpenAPI. */
  readonly openApi: JsonObject
  /** The version objects are stored in. */
  readonly storageVersion: string
}

/** A column of a server-side table. */
export interface Column {
  readonly name: string
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date'
  readonly format?: string
  readonly description?: string
  /** 0 is always shown, 1 with `-o wide`. */
  readonly priority: number
  readonly cell: (object: JsonObject, nowMs: number) => Json
}

export const groupVersionOf = (type: { readonly group: string; readonly version: string }): string =>
  type.group === '' ? type.version : `${type.group}/${type.version}`
