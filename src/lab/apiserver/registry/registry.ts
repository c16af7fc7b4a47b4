// All kinds that are served now: the built-in rows and what the stored CRDs add. It follows the CRD storage, so that a kind is
// in discovery from the moment its definition is written.

import type { Store } from '../storage/store.ts'
import type { Stored } from '../storage/stored.ts'
import { builtinKinds } from './builtin-kinds.ts'
import { customResourceTypes } from './custom-resources.ts'
import { groupVersionOf, type ResourceType } from './resource-type.ts'
import { compareVersions } from './version-order.ts'

export const crdBucket = 'apiextensions.k8s.io/customresourcedefinitions'

export interface ApiGroup {
  readonly name: string
  /** Most preferred first. */
  readonly versions: readonly string[]
}

export class Registry {
  readonly #types = new Map<string, ResourceType>()
  readonly #byCrd = new Map<string, readonly ResourceType[]>()
  #generation = 0

  constructor(store: Store) {
    for (const type of builtinKinds) this.#types.set(pathOf(type), type)
    for (const crd of store.list(crdBucket)) this.#serve(crd)
    store.listen(crdBucket, (event) => {
      this.#withdraw(event.current.name)
      if (event.type !== 'DELETED') this.#serve(event.current)
    })
  }

  /** Changes whenever the set of kinds does: a cache key for documents made from all kinds. */
  get generation(): number {
    return this.#generation
  }

  #serve(crd: Stored): void {
    const types = customResourceTypes(crd.object)
    this.#byCrd.set(crd.name, types)
    for (const type of types) this.#types.set(pathOf(type), type)
    this.#generation += 1
  }

  #withdraw(crdName: string): void {
    for (const type of this.#byCrd.get(crdName) ?? []) this.#types.delete(pathOf(type))
    this.#byCrd.delete(crdName)
    this.#generation += 1
  }

  /** The kind served at this path, such as `find('apps', 'v1', 'deployments')`. */
  find(group: string, version: string, plural: string): ResourceType | undefined {
    return this.#types.get(`${group}/${version}/${plural}`)
  }

  /** The kind that an object claims to be. */
  ofKind(apiVersion: string, kind: string): ResourceType | undefined {
    return this.all().find((type) => type.kind === kind && groupVersionOf(type) === apiVersion)
  }

  /** Every kind, the built-in ones first. */
  all(): readonly ResourceType[] {
    return [...this.#types.values()]
  }

  /** One type for every bucket: what a controller walks to see every object once. */
  storages(): readonly ResourceType[] {
    return [
      ...new Map(
        this.all()
          .toReversed()
          .map((type) => [type.bucket, type]),
      ).values(),
    ]
  }

  /** Groups in the order of their first kind; the core group has the empty name. */
  groups(): readonly ApiGroup[] {
    const versions = new Map<string, Set<string>>()
    for (const type of this.all()) {
      const known = versions.get(type.group) ?? new Set()
      versions.set(type.group, known.add(type.version))
    }
    return [...versions].map(([name, set]) => ({ name, versions: [...set].sort(compareVersions) }))
  }

  /** The kinds of one group version. */
  in(group: string, version: string): readonly ResourceType[] {
    return this.all().filter((type) => type.group === group && type.version === version)
  }
}

const pathOf = (type: ResourceType): string => `${type.group}/${type.version}/${type.plural}`
