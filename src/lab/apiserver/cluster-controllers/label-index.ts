// Objects of one kind by namespace and by single `key=value` pairs, kept up to date by the store: so that "which pods does this
// Service select" and "which Services select this pod" do not look at every object.

import type { JsonObject } from '../json.ts'
import type { Store } from '../storage/store.ts'
import type { Stored } from '../storage/stored.ts'

export class LabelIndex {
  readonly #byPair = new Map<string, Map<string, Stored>>()
  readonly #labelsOf: (object: JsonObject) => JsonObject
  /** Ends the following of the store. */
  readonly stop: () => void

  constructor(store: Store, bucket: string, labelsOf: (object: JsonObject) => JsonObject) {
    this.#labelsOf = labelsOf
    for (const stored of store.list(bucket)) this.#add(stored)
    this.stop = store.listen(bucket, ({ type, previous, current }) => {
      if (previous !== undefined) this.#remove(previous)
      if (type !== 'DELETED') this.#add(current)
    })
  }

  #pairs(stored: Stored): readonly string[] {
    return pairsOf(stored.namespace, this.#labelsOf(stored.object))
  }

  #add(stored: Stored): void {
    for (const pair of this.#pairs(stored)) {
      const objects = this.#byPair.get(pair) ?? new Map<string, Stored>()
      this.#byPair.set(pair, objects.set(stored.key, stored))
    }
  }

  #remove(stored: Stored): void {
    for (const pair of this.#pairs(stored)) {
      const objects = this.#byPair.get(pair)
      objects?.delete(stored.key)
      if (objects?.size === 0) this.#byPair.delete(pair)
    }
  }

  /** The objects of a namespace that have every one of these pairs, by name. None for no pairs. */
  withAllOf(namespace: string, labels: JsonObject): readonly Stored[] {
    const sets = pairsOf(namespace, labels).map((pair) => this.#byPair.get(pair) ?? new Map<string, Stored>())
    const [smallest, ...others] = sets.sort((a, b) => a.size - b.size)
    if (smallest === undefined) return []
    return [...smallest.values()]
      .filter((stored) => others.every((set) => set.has(stored.key)))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** The objects of a namespace that have at least one of these pairs. */
  withAnyOf(namespace: string, labels: JsonObject): readonly Stored[] {
    const found = new Set<Stored>()
    for (const pair of pairsOf(namespace, labels))
      for (const stored of this.#byPair.get(pair)?.values() ?? []) found.add(stored)
    return [...found]
  }
}

const pairsOf = (namespace: string, labels: JsonObject): readonly string[] =>
  Object.entries(labels).map(([key, value]) => `${namespace}/${key}=${String(value)}`)
