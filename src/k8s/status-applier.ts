// Statuses of our own kinds, by server-side apply: each manager owns its fields and nothing else, so that the entries of many replicas and
// the words of the leader live side by side in one object.

import type { FencedRequests, WriteResult } from './fenced-requests.ts'
import type { RawObject } from './json.ts'
import type { Kind } from './objects.ts'
import { resourcePath, resources } from './resources.ts'

export interface StatusApply {
  readonly kind: Kind
  readonly name: string
  /** The whole status as this manager wants it; what it owned before and does not name any more goes away. */
  readonly status: RawObject
  /** `bellhop-leader`, or `bellhop-<replica>` for a replica's own entries. */
  readonly fieldManager: string
}

/** With force: nobody else's opinion on our fields counts. */
export type ApplyStatus = (status: StatusApply) => WriteResult

export const createStatusApplier =
  (requests: FencedRequests): ApplyStatus =>
  ({ kind, name, status, fieldManager }) => {
    const resource = resources[kind]
    // An empty status would be owned like any other value: a manager who wants nothing names nothing, and is forgotten.
    const wanted = Object.keys(status).length === 0 ? {} : { status }
    return requests.sendAndAbsorb({
      method: 'PATCH',
      path: resourcePath(resource, { name, subresource: 'status' }),
      query: { fieldManager, force: 'true' },
      patchType: 'apply',
      body: { apiVersion: resource.apiVersion, kind, metadata: { name }, ...wanted },
    })
  }
