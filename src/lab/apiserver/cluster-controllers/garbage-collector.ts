// What owners leave behind: an object whose owners are all gone is deleted; an owner that is deleted in the foreground waits for
// its dependents, one that orphans them lets them go first.

import type { Cluster } from '../cluster.ts'
import { type JsonObject, objectsAt, stringAt, stringsAt, withValue } from '../json.ts'
import { crdBucket } from '../registry/registry.ts'
import type { ResourceType } from '../registry/resource-type.ts'
import { deleteObject } from '../resources/delete.ts'
import { isFinallyDeleted } from '../resources/write.ts'
import type { ChangeEvent } from '../storage/bucket.ts'
import type { Stored } from '../storage/stored.ts'

/** Returns the function that stops it. */
export function runGarbageCollector(cluster: Cluster): () => void {
  const collector = new GarbageCollector(cluster)
  collector.followAll()
  return () => collector.stop()
}

interface Located {
  readonly type: ResourceType
  readonly key: string
}

class GarbageCollector {
  readonly #cluster: Cluster
  readonly #stops = new Map<string, () => void>()
  /** Owner's UID to the objects that refer to it, by bucket and key. */
  readonly #dependents = new Map<string, Map<string, Located>>()
  /** Owners that wait for their dependents, by UID. */
  readonly #waiting = new Map<string, Located>()
  readonly #dirty = new Set<string>()
  #cancel: (() => void) | undefined

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    // A new CRD brings a new storage to follow.
    this.#stops.set(
      'new storages',
      cluster.store.listen(crdBucket, () => this.#soon()),
    )
  }

  followAll(): void {
    for (const type of this.#cluster.registry.storages()) {
      if (this.#stops.has(type.bucket)) continue
      const { store } = this.#cluster
      this.#stops.set(
        type.bucket,
        store.listen(type.bucket, (event) => this.#note(type, event)),
      )
      for (const current of store.list(type.bucket))
        this.#note(type, { type: 'ADDED', revision: current.revision, current, previous: undefined })
    }
  }

  stop(): void {
    for (const stop of this.#stops.values()) stop()
    this.#cancel?.()
  }

  #note(type: ResourceType, { type: change, previous, current }: ChangeEvent): void {
    const located = { type, key: current.key }
    const id = `${type.bucket} ${current.key}`
    for (const uid of ownersOf(previous?.object)) this.#forget(uid, id)
    if (change !== 'DELETED')
      for (const uid of ownersOf(current.object)) {
        this.#dependents.set(uid, (this.#dependents.get(uid) ?? new Map<string, Located>()).set(id, located))
        this.#enqueue(uid)
      }
    const waits = change !== 'DELETED' && isLeaving(current.object) && holders(current.object).length > 0
    if (waits) this.#waiting.set(current.uid, located)
    else this.#waiting.delete(current.uid)
    if (waits || (change === 'DELETED' && this.#dependents.has(current.uid))) this.#enqueue(current.uid)
    for (const uid of ownersOf(previous?.object)) if (this.#waiting.has(uid)) this.#enqueue(uid)
  }

  #forget(uid: string, id: string): void {
    const dependents = this.#dependents.get(uid)
    dependents?.delete(id)
    if (dependents?.size === 0) this.#dependents.delete(uid)
  }

  #enqueue(uid: string): void {
    this.#dirty.add(uid)
    this.#soon()
  }

  #soon(): void {
    this.#cancel ??= this.#cluster.clock.setTimer(0, () => {
      this.#cancel = undefined
      this.followAll()
      const uids = [...this.#dirty]
      this.#dirty.clear()
      for (const uid of uids) this.#collect(uid)
    })
  }

  #collect(uid: string): void {
    const owner = this.#waiting.get(uid)
    const orphans = owner !== undefined && holders(this.#read(owner)?.object).includes('orphan')
    for (const located of [...(this.#dependents.get(uid)?.values() ?? [])]) {
      const stored = this.#read(located)
      if (stored === undefined) continue
      if (orphans) this.#disown(located, stored, uid)
      else if (
        !objectsAt(stored.object, 'metadata', 'ownerReferences').some((ref) => this.#keeps(ref, stored.namespace))
      )
        deleteObject(this.#cluster, { type: located.type, namespace: stored.namespace }, stored.name)
    }
    if (owner !== undefined && !this.#dependents.has(uid)) this.#release(owner)
  }

  #read({ type, key }: Located): Stored | undefined {
    return this.#cluster.store.bucket(type.bucket).get(key)
  }

  // Whether the owner exists and is not itself waiting for its dependents to go. An unknown kind is given the benefit of doubt.
  #keeps(ref: JsonObject, namespace: string): boolean {
    const type = this.#cluster.registry.ofKind(stringAt(ref, 'apiVersion') ?? '', stringAt(ref, 'kind') ?? '')
    if (type === undefined) return true
    const name = stringAt(ref, 'name') ?? ''
    const owner = this.#cluster.store.get(type.bucket, type.namespaced ? namespace : '', name)
    if (owner === undefined || owner.uid !== stringAt(ref, 'uid')) return false
    return !(isLeaving(owner.object) && holders(owner.object).includes('foregroundDeletion'))
  }

  #disown({ type }: Located, stored: Stored, uid: string): void {
    const refs = objectsAt(stored.object, 'metadata', 'ownerReferences').filter((ref) => stringAt(ref, 'uid') !== uid)
    const freed = withValue(stored.object, ['metadata', 'ownerReferences'], refs.length === 0 ? undefined : refs)
    this.#cluster.store.put(type.bucket, stored.namespace, stored.name, freed)
  }

  #release(owner: Located): void {
    const stored = this.#read(owner)
    if (stored === undefined) return
    const rest = stringsAt(stored.object, 'metadata', 'finalizers').filter((name) => !dependentFinalizers.has(name))
    const freed = withValue(stored.object, ['metadata', 'finalizers'], rest.length === 0 ? undefined : rest)
    if (isFinallyDeleted(freed)) this.#cluster.store.delete(owner.type.bucket, stored.namespace, stored.name)
    else this.#cluster.store.put(owner.type.bucket, stored.namespace, stored.name, freed)
  }
}

const dependentFinalizers: ReadonlySet<string> = new Set(['foregroundDeletion', 'orphan'])

const isLeaving = (object: JsonObject): boolean => stringAt(object, 'metadata', 'deletionTimestamp') !== undefined

const holders = (object: JsonObject | undefined): readonly string[] =>
  stringsAt(object, 'metadata', 'finalizers').filter((name) => dependentFinalizers.has(name))

const ownersOf = (object: JsonObject | undefined): readonly string[] =>
  objectsAt(object, 'metadata', 'ownerReferences').map((ref) => stringAt(ref, 'uid') ?? '')
