// Whether a status says what we want it to say. Two managers write into one status (the leader, and each replica its own entry in
// a shared list), so each compares its part only; times of transitions do not count, they follow from the rest.

import { isDeepStrictEqual } from 'node:util'
import { asList, asObject, type RawObject } from './json.ts'
import type { Condition, Kind, StatusDigest } from './objects.ts'
import { parseConditions } from './schemas/meta.ts'

/** Lists into which every replica writes its own entries: by the fields that name the entry, the first of which names its writer. */
const sharedLists: Partial<Record<Kind, { readonly list: string; readonly keys: readonly [string, ...string[]] }>> = {
  BgpPeer: { list: 'sessions', keys: ['speaker', 'remoteAddress'] },
  BgpConf: { list: 'speakers', keys: ['name'] },
}

/** `desired` is the whole status of one manager; `observed` the object's status as read. */
export function statusMatches(kind: Kind, desired: RawObject, observed: RawObject): boolean {
  const shared = sharedLists[kind]
  if (shared !== undefined && desired[shared.list] !== undefined)
    if (!entriesMatch(asList(desired[shared.list]) ?? [], asList(observed[shared.list]) ?? [], shared.keys))
      return false
  const own = (status: RawObject): RawObject =>
    Object.fromEntries(
      Object.entries(status).filter(([key, value]) => key !== shared?.list && value !== undefined && value !== null),
    )
  const desiredOwn = own(desired)
  // A replica's part consists of its entries alone.
  if (shared !== undefined && desired[shared.list] !== undefined && Object.keys(desiredOwn).length === 0) return true
  return isDeepStrictEqual(comparable(desiredOwn), comparable(own(observed)))
}

const noDigest: StatusDigest = Object.freeze({ fingerprint: '', conditions: Object.freeze([]) })

/** What is enough to compare with later; undefined = the object has no status. */
export function digestOf(status: RawObject | undefined): StatusDigest {
  if (status === undefined) return noDigest
  const fingerprint = fingerprintOf(status)
  if (fingerprint === '') return noDigest
  return { fingerprint, conditions: parseConditions(status['conditions']).map(sinceWhen) }
}

/** Whether an object of which only the digest is known says what is desired of it. */
export const digestMatches = (desired: RawObject, observed: StatusDigest): boolean =>
  fingerprintOf(desired) === observed.fingerprint

// Two walks over the value rather than a text and a hash of it: ten thousand Vips are digested before the first route is announced.
function fingerprintOf(status: RawObject): string {
  if (!Object.keys(status).some((name) => counts(name, status[name]))) return ''
  return lanes.map((lane) => hashOf(status, lane).toString(36)).join('.')
}

interface Lane {
  readonly seed: number
  readonly factor: number
}

// FNV-1a's own, and odd numbers of no meaning: values that are the same in one lane differ in the other.
const lanes: readonly Lane[] = [
  { seed: 0x811c_9dc5, factor: 0x0100_0193 },
  { seed: 0x2f0b_4c47, factor: 0x5bd1_e995 },
]

/** 32 bits over `comparable(value)`, the same whatever the order of fields and conditions (FNV-1a with a final mix). */
function hashOf(value: unknown, lane: Lane, key = ''): number {
  const { seed, factor } = lane
  const list = asList(value)
  if (list !== undefined) {
    let hash = seed ^ list.length
    for (const item of list) {
      const one = hashOf(item, lane)
      hash = key === 'conditions' ? (hash + mixed(one)) | 0 : Math.imul(hash ^ one, factor)
    }
    return mixed(hash ^ 1)
  }
  const object = asObject(value)
  if (object === undefined) return hashText(typeof value === 'string' ? value : JSON.stringify(value), lane)
  let hash = seed
  for (const name in object) {
    if (counts(name, object[name]))
      hash = (hash + mixed(Math.imul(hashText(name, lane), factor) ^ hashOf(object[name], lane, name))) | 0
  }
  return mixed(hash ^ 2)
}

function hashText(text: string, { seed, factor }: Lane): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), factor)
  return hash
}

// What is added up must not be the plain sum of its parts (the end of MurmurHash3).
function mixed(hash: number): number {
  const once = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2_ae35)
  return (twice ^ (twice >>> 16)) >>> 0
}

// What a condition said needs no memory: it is in the fingerprint.
const sinceWhen = ({ type, status, lastTransitionTime }: Condition): Condition => ({
  ...{ type, status, reason: '', message: '' },
  ...(lastTransitionTime === undefined ? {} : { lastTransitionTime }),
})

function entriesMatch(
  desired: readonly unknown[],
  observed: readonly unknown[],
  keys: readonly [string, ...string[]],
): boolean {
  const nameOf = (entry: unknown): string => JSON.stringify(keys.map((key) => asObject(entry)?.[key] ?? ''))
  const writers = new Set(desired.map((entry) => asObject(entry)?.[keys[0]]))
  const wanted = new Map(desired.map((entry) => [nameOf(entry), entry]))
  // What the same writer has left from before is no longer true.
  const mine = observed.filter((entry) => writers.has(asObject(entry)?.[keys[0]]))
  return (
    mine.length === wanted.size &&
    mine.every((entry) => isDeepStrictEqual(comparable(wanted.get(nameOf(entry))), comparable(entry)))
  )
}

/** Without what does not count: transition times, absent fields and empty lists, the order of conditions. */
function comparable(value: unknown, key = ''): unknown {
  const list = asList(value)
  if (list !== undefined) {
    const items = list.map((item) => comparable(item))
    return key === 'conditions' ? items.sort(byType) : items
  }
  const object = asObject(value)
  if (object === undefined) return value
  const fields: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(object)) {
    if (!counts(name, field)) continue
    fields[name] = comparable(field, name)
  }
  return fields
}

// An API server to which an empty list is applied takes the whole list away where it had our items, and keeps it where it had none.
const counts = (name: string, field: unknown): boolean =>
  field !== undefined &&
  field !== null &&
  name !== 'lastTransitionTime' &&
  !(Array.isArray(field) && field.length === 0)

const byType = (a: unknown, b: unknown): number =>
  String(asObject(a)?.['type']) < String(asObject(b)?.['type']) ? -1 : 1
