// The lab's etcd: one revision counter over all kinds, and a bucket of versions a kind. It knows keys and revisions and nothing
// of Kubernetes' rules; those are decided before a write arrives here. Everything is synchronous, so that
// read-check-write by a request handler is a transaction.

import { type JsonObject, withValue } from '../json.ts'
import { Bucket, type ChangeListener } from './bucket.ts'
import { keyOf, Stored } from './stored.ts'

export class Store {
  readonly #buckets = new Map<string, Bucket>()
  readonly #historyMax: number
  #revision = 1

  /** `historyMax`: changes remembered per kind for watches and old lists. */
  constructor(options: { readonly historyMax: number }) {
    this.#historyMax = options.historyMax
  }

  /** The revision of the latest change. */
  get revision(): number {
    return this.#revision
  }

  /** The bucket of a kind, named `group/plural`; made when first asked for. */
  bucket(name: string): Bucket {
    let bucket = this.#buckets.get(name)
    if (bucket === undefined) {
      bucket = new Bucket({ historyMax: this.#historyMax, startRevision: 0 })
      this.#buckets.set(name, bucket)
    }
    return bucket
  }

  get(bucket: string, namespace: string, name: string): Stored | undefined {
    return this.bucket(bucket).get(keyOf(namespace, name))
  }

  /** The present objects of a kind in the order of their keys, of one namespace where given. */
  list(bucket: string, namespace?: string): readonly Stored[] {
    const all = this.bucket(bucket).at(this.#revision) ?? []
    return namespace === undefined ? all : all.filter((stored) => stored.namespace === namespace)
  }

  /** Creates or replaces an object; the new revision becomes its resourceVersion. */
  put(bucket: string, namespace: string, name: string, object: JsonObject): Stored {
    const target = this.bucket(bucket)
    const previous = target.get(keyOf(namespace, name))
    const current = this.#version(keyOf(namespace, name), object)
    target.apply({
      type: previous === undefined ? 'ADDED' : 'MODIFIED',
      revision: current.revision,
      current,
      previous,
    })
    return current
  }

  /** Removes an object; returns its last state, or undefined when there was none. */
  delete(bucket: string, namespace: string, name: string): Stored | undefined {
    const target = this.bucket(bucket)
    const previous = target.get(keyOf(namespace, name))
    if (previous === undefined) return undefined
    const current = this.#version(previous.key, previous.object)
    target.apply({ type: 'DELETED', revision: current.revision, current, previous })
    return current
  }

  /** Calls `listener` for every later change of a kind; the returned function ends that. */
  listen(bucket: string, listener: ChangeListener): () => void {
    return this.bucket(bucket).listen(listener)
  }

  /** Forgets the history of all kinds: watches and lists from before now expire. */
  compact(): void {
    this.#revision += 1
    for (const bucket of this.#buckets.values()) bucket.compact(this.#revision)
  }

  #version(key: string, object: JsonObject): Stored {
    this.#revision += 1
    return new Stored(key, this.#revision, withValue(object, ['metadata', 'resourceVersion'], String(this.#revision)))
  }
}
