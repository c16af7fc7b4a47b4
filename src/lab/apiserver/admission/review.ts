// What admission is asked about: one object on its way into storage.

import type { JsonObject } from '../json.ts'
import type { ResourceType } from '../registry/resource-type.ts'

export interface Review {
  readonly type: ResourceType
  /** With defaults, before allocation and validation. */
  readonly object: JsonObject
  /** The stored object; absent on create. */
  readonly old?: JsonObject
}
