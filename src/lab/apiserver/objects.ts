// In-process access to the objects of a running server, by the same rules as over HTTP but without its cost: for the cluster
// controllers, for tests, and for benches that load tens of thousands of objects.

import type { Cluster } from './cluster.ts'
import { ApiError } from './errors.ts'
import { type JsonObject, stringAt, withValue } from './json.ts'
import type { ResourceType } from './registry/resource-type.ts'
import { type DeleteOptions, deleteObject } from './resources/delete.ts'
import { objectOf } from './resources/present.ts'
import { createObject, internalWrite, replaceObject, type WriteOptions } from './resources/write.ts'

/** Which object: kind and version as in the object itself; namespace empty or absent for cluster-scoped kinds. */
export interface ObjectRef {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace?: string
  readonly name: string
}

export class Objects {
  readonly #cluster: Cluster

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** The object, or undefined. Throws when the kind is not served. */
  get(ref: ObjectRef): JsonObject | undefined {
    const type = this.#typeOf(ref.apiVersion, ref.kind)
    const stored = this.#cluster.store.get(type.bucket, type.namespaced ? (ref.namespace ?? '') : '', ref.name)
    return stored === undefined ? undefined : objectOf(type, stored)
  }

  /** All objects of a kind, of one namespace where given. */
  list(apiVersion: string, kind: string, namespace?: string): readonly JsonObject[] {
    const type = this.#typeOf(apiVersion, kind)
    return this.#cluster.store.list(type.bucket, namespace).map((stored) => objectOf(type, stored))
  }

  /**
   * Creates the object, or replaces the one of its name; namespaced kinds default to namespace `default`. Defaults, admission
   * and validation apply; a status in the object is written too. Throws ApiError.
   */
  put(object: JsonObject): JsonObject {
    const type = this.#typeOf(stringAt(object, 'apiVersion') ?? '', stringAt(object, 'kind') ?? '')
    const namespace = type.namespaced ? (stringAt(object, 'metadata', 'namespace') ?? 'default') : ''
    const target = { type, namespace }
    const body = withValue(object, ['metadata', 'resourceVersion'], undefined)
    const existing = this.#cluster.store.get(type.bucket, namespace, stringAt(object, 'metadata', 'name') ?? '')
    const stored =
      existing === undefined
        ? createObject(this.#cluster, target, body, internalWrite)
        : replaceObject(this.#cluster, target, existing, withValue(body, ['metadata', 'uid'], undefined), internalWrite)
    if (!type.status || body['status'] === undefined) return objectOf(type, stored)
    const withStatus = { ...objectOf(type, stored), status: body['status'] }
    return objectOf(
      type,
      replaceObject(this.#cluster, target, stored, withStatus, { ...internalWrite, subresource: 'status' }),
    )
  }

  /** Replaces the object by what `change` makes of it; on `status`, only its status. Returns undefined when there is none. */
  update(
    ref: ObjectRef,
    change: (object: JsonObject) => JsonObject,
    options: Pick<WriteOptions, 'subresource'> = {},
  ): JsonObject | undefined {
    const type = this.#typeOf(ref.apiVersion, ref.kind)
    const namespace = type.namespaced ? (ref.namespace ?? '') : ''
    const existing = this.#cluster.store.get(type.bucket, namespace, ref.name)
    if (existing === undefined) return undefined
    const body = withValue(change(objectOf(type, existing)), ['metadata', 'resourceVersion'], undefined)
    return objectOf(
      type,
      replaceObject(this.#cluster, { type, namespace }, existing, body, { ...internalWrite, ...options }),
    )
  }

  /** Deletes as a client would (finalizers count); returns whether there was such an object. */
  delete(ref: ObjectRef, options: DeleteOptions = {}): boolean {
    const type = this.#typeOf(ref.apiVersion, ref.kind)
    const namespace = type.namespaced ? (ref.namespace ?? '') : ''
    if (this.#cluster.store.get(type.bucket, namespace, ref.name) === undefined) return false
    deleteObject(this.#cluster, { type, namespace }, ref.name, options)
    return true
  }

  #typeOf(apiVersion: string, kind: string): ResourceType {
    const type = this.#cluster.registry.ofKind(apiVersion, kind)
    if (type === undefined)
      throw new ApiError({ code: 404, reason: 'NotFound', message: `no kind ${kind} in version ${apiVersion}` })
    return type
  }
}
