// The objects of one kind as parsed values: fed by a reflector and by answers to our own writes. A value that did not change keeps
// its identity, through relists too; an answer to a write and an older event may come in either order.

import { isDeepStrictEqual } from 'node:util'
import { asObject, identityOf, type RawIdentity, type RawObject } from './json.ts'
import type { Kind, ObjectMeta, ObjectRefusal } from './objects.ts'
import type { ReflectorSink } from './reflector.ts'
import { type KindValues, parseObject } from './schemas/parse.ts'
import { isNewer } from './versions.ts'

export interface KindStore<K extends Kind> extends ReflectorSink {
  readonly values: ReadonlyMap<string, KindValues[K]>
  readonly refusals: ReadonlyMap<string, ObjectRefusal>
  /** Takes in an object that a write returned, unless something newer is known. */
  readonly absorb: (raw: unknown) => void
  /** We deleted it: it is gone before the watch says so. */
  readonly forget: (key: string, uid: string) => void
  /** Objects that stand in where the cluster has none of their name: all of them, each time. They have no resourceVersion. */
  readonly standIn: (raws: readonly RawObject[]) => void
}

export interface KindStoreOptions<K extends Kind> {
  readonly kind: K
  /** Called for each key whose value or refusal appeared, changed or went, with the values before and after. */
  readonly onChange: (key: string, before: KindValues[K] | undefined, after: KindValues[K] | undefined) => void
  /** Called for what is no Kubernetes object at all. */
  readonly onGarbage: () => void
  readonly intern: (text: string) => string
  /** Do not keep `status`, nor tell of changes in it. */
  readonly withoutStatus: boolean
}

interface Entry<K extends Kind> {
  readonly resourceVersion: string
  readonly uid: string
  readonly value: KindValues[K] | undefined
  readonly refusal: ObjectRefusal | undefined
  /** The list during or after which a write's answer brought this entry; -1 when list or watch did. */
  readonly absorbedDuring: number
  /** As text, of one that only stands in. */
  readonly standsIn?: string
}

/**
 * Kinds that we never write: their resourceVersion means nothing to anybody, so an object that changed only in what we do not
 * read (a Node's heartbeat) is not a change.
 */
const comparedByContent: ReadonlySet<Kind> = new Set(['Node', 'Namespace', 'EndpointSlice', 'Secret'])

/** Our own deletions remembered, so that an older event that is still on its way does not bring an object back. */
const forgottenMax = 10_000

export function createKindStore<K extends Kind>(options: KindStoreOptions<K>): KindStore<K> {
  const entries = new Map<string, Entry<K>>()
  const values = new Map<string, KindValues[K]>()
  const refusals = new Map<string, ObjectRefusal>()
  const forgotten = new Set<string>()
  const standIns = new Map<string, Entry<K>>()
  const byContent = options.withoutStatus || comparedByContent.has(options.kind)
  let staged = new Map<string, Entry<K>>()
  let list = 0
  /** List and watch have told everything up to this version. */
  let seenVersion = ''

  const set = (key: string, next: Entry<K>): void => {
    const before = entries.get(key)
    const kept = before === next || !byContent ? next : withIdentity(before, next)
    entries.set(key, kept)
    if (kept.value === before?.value && kept.refusal === before?.refusal) return
    if (kept.value === undefined) values.delete(key)
    else values.set(key, kept.value)
    if (kept.refusal === undefined) refusals.delete(key)
    else refusals.set(key, kept.refusal)
    options.onChange(key, before?.value, kept.value)
  }

  const drop = (key: string): void => {
    const before = entries.get(key)
    if (before === undefined) return
    const substitute = standIns.get(key)
    if (substitute !== undefined) {
      set(key, substitute)
      return
    }
    entries.delete(key)
    values.delete(key)
    refusals.delete(key)
    if (before.value !== undefined || before.refusal !== undefined) options.onChange(key, before.value, undefined)
  }

  const parse = (raw: unknown, identity: RawIdentity, absorbedDuring: number): Entry<K> | undefined => {
    const parsed = parseObject(options.kind, options.withoutStatus ? statusless(raw) : raw, options.intern)
    if (parsed.type === 'garbage') {
      options.onGarbage()
      return undefined
    }
    return {
      resourceVersion: identity.resourceVersion,
      uid: identity.uid,
      value: parsed.type === 'value' ? parsed.value : undefined,
      refusal: parsed.type === 'refusal' ? parsed.refusal : undefined,
      absorbedDuring,
    }
  }

  /** The entry for `raw`, reusing what is known of the same version. */
  const read = (raw: unknown, absorbedDuring = -1): readonly [string, Entry<K>] | undefined => {
    const identity = identityOf(raw)
    const key = keyOf(identity)
    const known = entries.get(key)
    if (known !== undefined && known.resourceVersion === identity.resourceVersion && known.resourceVersion !== '')
      return [key, known]
    const entry = parse(raw, identity, absorbedDuring)
    return entry === undefined ? undefined : [key, entry]
  }

  return {
    values,
    refusals,
    begin: () => {
      list++
      staged = new Map()
    },
    stage: (raw) => {
      const found = read(raw)
      if (found !== undefined) staged.set(found[0], found[1])
    },
    swap: (listVersion) => {
      seenVersion = listVersion
      const listed = staged
      staged = new Map()
      // Only what a write brought after this list had begun may be newer than the list.
      const outlives = (known: Entry<K>, version: string): boolean =>
        known.standsIn !== undefined || (known.absorbedDuring >= list && isNewer(known.resourceVersion, version))
      for (const [key, known] of entries) if (!listed.has(key) && !outlives(known, listVersion)) drop(key)
      for (const [key, entry] of listed) {
        const known = entries.get(key)
        if (known !== undefined && known.standsIn === undefined && outlives(known, entry.resourceVersion)) continue
        if (!forgotten.has(entry.uid)) set(key, entry)
      }
    },
    put: (raw) => {
      const found = read(raw)
      if (found === undefined) return
      const [key, entry] = found
      const known = entries.get(key)
      seenVersion = entry.resourceVersion
      if (forgotten.has(entry.uid)) return
      if (known !== undefined && isNewer(known.resourceVersion, entry.resourceVersion)) return
      set(key, entry)
    },
    remove: (raw) => {
      const identity = identityOf(raw)
      if (identity.name === undefined) {
        options.onGarbage()
        return
      }
      const key = keyOf(identity)
      const known = entries.get(key)
      seenVersion = identity.resourceVersion
      if (known?.standsIn !== undefined) return
      if (known !== undefined && isNewer(known.resourceVersion, identity.resourceVersion)) return
      drop(key)
    },
    absorb: (raw) => {
      const identity = identityOf(raw)
      const key = keyOf(identity)
      // An object that is not here although everything up to its version was told was deleted since.
      const known = entries.get(key)?.resourceVersion ?? seenVersion
      if (known !== '' && !isNewer(identity.resourceVersion, known)) return
      if (forgotten.has(identity.uid)) return
      const found = read(raw, list)
      if (found !== undefined) set(key, found[1])
    },
    forget: (key, uid) => {
      forgotten.add(uid)
      for (const oldest of forgotten) {
        if (forgotten.size <= forgottenMax) break
        forgotten.delete(oldest)
      }
      if (entries.get(key)?.uid === uid) drop(key)
    },
    standIn: (raws) => {
      const next = new Map(raws.map((raw) => [keyOf(identityOf(raw)), raw]))
      for (const key of [...standIns.keys()]) {
        if (next.has(key)) continue
        standIns.delete(key)
        if (entries.get(key)?.standsIn !== undefined) drop(key)
      }
      for (const [key, raw] of next) {
        const standsIn = JSON.stringify(raw)
        if (standIns.get(key)?.standsIn === standsIn) continue
        const parsed = parse(raw, identityOf(raw), -1)
        if (parsed === undefined) continue
        const entry = { ...parsed, standsIn }
        standIns.set(key, entry)
        const known = entries.get(key)
        if (known === undefined || known.standsIn !== undefined) set(key, entry)
      }
    },
  }
}

const keyOf = (identity: RawIdentity): string =>
  identity.namespace === '' ? (identity.name ?? '') : `${identity.namespace}/${identity.name ?? ''}`

const statusless = (raw: unknown): unknown => ({ ...asObject(raw), status: undefined })

/** `next`, holding the value of `before` where nothing that anybody reads has changed. */
function withIdentity<K extends Kind>(before: Entry<K> | undefined, next: Entry<K>): Entry<K> {
  if (before?.value === undefined || next.value === undefined) return next
  const comparable: { readonly meta: ObjectMeta } = next.value
  const { resourceVersion, generation } = before.value.meta
  const same = isDeepStrictEqual(before.value, {
    ...comparable,
    meta: { ...comparable.meta, resourceVersion, generation },
  })
  return same ? { ...next, value: before.value } : next
}
