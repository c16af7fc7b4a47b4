// A map whose versions share what they have in common. A plan over ten thousand VIPs in which one changed is a new value at the
// cost of one bucket, and whoever still holds the plan before can compare the two.

import { hash32 } from './hash.ts'

const bucketCount = 256
/** So many changes are made between two pauses. */
const pauseAfter = 250

/** A ReadonlyMap that never changes; `with` makes another one. Iterates in an order that depends only on its keys' hashes. */
export class SnapshotMap<K extends string, V> implements ReadonlyMap<K, V> {
  readonly size: number
  readonly #buckets: readonly (ReadonlyMap<K, V> | undefined)[]

  private constructor(buckets: readonly (ReadonlyMap<K, V> | undefined)[], size: number) {
    this.#buckets = buckets
    this.size = size
  }

  static empty<K extends string, V>(): SnapshotMap<K, V> {
    return new SnapshotMap<K, V>([], 0)
  }

  /** How a map of this kind is made up; undefined for any other map. */
  static bucketsOf<K extends string, V>(
    map: ReadonlyMap<K, V>,
  ): readonly (ReadonlyMap<K, V> | undefined)[] | undefined {
    return map instanceof SnapshotMap ? map.#buckets : undefined
  }

  /** This map with `changes` made to it; undefined removes the key. Pauses between many of them. */
  *making(changes: readonly (readonly [K, V | undefined])[]): Generator<undefined, SnapshotMap<K, V>, undefined> {
    const buckets = [...this.#buckets]
    const fresh = new Map<number, Map<K, V>>()
    let size = this.size
    let done = 0
    for (const [key, value] of changes) {
      if (++done % pauseAfter === 0) yield
      const at = bucketOf(key)
      let bucket = fresh.get(at)
      if (bucket === undefined) {
        bucket = new Map(buckets[at])
        fresh.set(at, bucket)
        buckets[at] = bucket
      }
      size -= bucket.size
      if (value === undefined) bucket.delete(key)
      else bucket.set(key, value)
      size += bucket.size
    }
    return fresh.size === 0 ? this : new SnapshotMap(buckets, size)
  }

  get(key: K): V | undefined {
    return this.#buckets[bucketOf(key)]?.get(key)
  }

  has(key: K): boolean {
    return this.#buckets[bucketOf(key)]?.has(key) ?? false
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this)
  }

  *entries(): Generator<[K, V], undefined> {
    for (const bucket of this.#buckets) if (bucket !== undefined) yield* bucket
    return undefined
  }

  *keys(): Generator<K, undefined> {
    for (const [key] of this.entries()) yield key
    return undefined
  }

  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value
    return undefined
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries()
  }
}

/** Keys under which two maps hold another value. Of two versions of one SnapshotMap, only what they do not share is looked at. */
export function differingKeys<K extends string, V>(
  before: ReadonlyMap<K, V>,
  after: ReadonlyMap<K, V>,
): ReadonlySet<K> {
  const keys = new Set<K>()
  const compare = (old: ReadonlyMap<K, V> | undefined, now: ReadonlyMap<K, V> | undefined): void => {
    if (old === now) return
    for (const [key, value] of now ?? []) if (old?.get(key) !== value) keys.add(key)
    for (const key of old?.keys() ?? []) if (now?.has(key) !== true) keys.add(key)
  }
  const oldBuckets = SnapshotMap.bucketsOf(before)
  const nowBuckets = SnapshotMap.bucketsOf(after)
  if (oldBuckets === undefined || nowBuckets === undefined) compare(before, after)
  else for (let at = 0; at < bucketCount; at++) compare(oldBuckets[at], nowBuckets[at])
  return keys
}

const bucketOf = (key: string): number => hash32(key) % bucketCount
