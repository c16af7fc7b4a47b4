// One version of one object, with its text. The text is made once and shared by every reader and watcher, which is what makes
// ten thousand watchers or a list of ten thousand objects cheap.

import { type JsonObject, stringAt } from '../json.ts'

export class Stored {
  readonly namespace: string
  readonly name: string
  /** `namespace/name`; lists are in the order of keys. */
  readonly key: string
  readonly revision: number
  readonly object: JsonObject
  #tail: string | undefined

  constructor(key: string, revision: number, object: JsonObject) {
    const slash = key.indexOf('/')
    this.namespace = key.slice(0, slash)
    this.name = key.slice(slash + 1)
    this.key = key
    this.revision = revision
    this.object = object
  }

  get uid(): string {
    return stringAt(this.object, 'metadata', 'uid') ?? ''
  }

  /** The complete object as JSON, presented in another version of its API where `apiVersion` says so. */
  text(apiVersion: string, kind: string): string {
    return `{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)},${this.tail}`
  }

  /** The object's JSON without kind and apiVersion, from the first other member to the closing brace. */
  get tail(): string {
    if (this.#tail === undefined) {
      const { apiVersion: _apiVersion, kind: _kind, ...rest } = this.object
      this.#tail = JSON.stringify(rest).slice(1)
    }
    return this.#tail
  }
}

/** The key of an object; cluster-scoped objects have the empty namespace. */
export const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`
