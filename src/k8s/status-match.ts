// Whether a status says what we want it to say. Two managers write into one status (the leader, and each replica its own entry in
// a shared list), so each compares its part only; times of transitions do not count, they follow from the rest.

import { hash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { asList, asObject, type RawObject } from './json.ts'
import type { Condition, Kind, StatusDigest } from './objects.ts'
import { parseConditions } from './schemas/meta.ts'

/** Lists into which every replica writes its own entries, by the field that names the entry. */
const sharedLists: Partial<Record<Kind, { readonly list: string; readonly key: string }>> = {
  BgpPeer: { list: 'sessions', key: 'speaker' },
  BgpConf: { list: 'speakers', key: 'name' },
}

/** `desired` is the whole status of one manager; `observed` the object's status as read. */
export function statusMatches(kind: Kind, desired: RawObject, observed: RawObject): boolean {
  const shared = sharedLists[kind]
  if (shared !== undefined && desired[shared.list] !== undefined)
    if (!entriesMatch(asList(desired[shared.list]) ?? [], asList(observed[shared.list]) ?? [], shared.key)) return false
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

// Not for secrecy: no two statuses of a cluster's life happen to have the same.
function fingerprintOf(status: RawObject): string {
  const text = canonical(status)
  return text === '{}' ? '' : hash('sha1', text, 'base64')
}

/** The text of `comparable(value)`, the same whatever the order of fields and conditions. */
function canonical(value: unknown, key = ''): string {
  const list = asList(value)
  if (list !== undefined) {
    const items = list.map((item) => canonical(item))
    return `[${(key === 'conditions' ? items.sort() : items).join()}]`
  }
  const object = asObject(value)
  if (object === undefined) return JSON.stringify(value) ?? ''
  const names = Object.keys(object).filter((name) => counts(name, object[name]))
  return `{${names
    .sort()
    .map((name) => `${name}:${canonical(object[name], name)}`)
    .join()}}`
}

// What a condition said needs no memory: it is in the fingerprint.
const sinceWhen = ({ type, status, lastTransitionTime }: Condition): Condition => ({
  ...{ type, status, reason: '', message: '' },
  ...(lastTransitionTime === undefined ? {} : { lastTransitionTime }),
})

function entriesMatch(desired: readonly unknown[], observed: readonly unknown[], key: string): boolean {
  return desired.every((entry) => {
    const name = asObject(entry)?.[key]
    const same = observed.find((candidate) => asObject(candidate)?.[key] === name)
    return same !== undefined && isDeepStrictEqual(comparable(entry), comparable(same))
  })
}

/** Without what does not count: transition times, absent fields, the order of conditions. */
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

const counts = (name: string, field: unknown): boolean =>
  field !== undefined && field !== null && name !== 'lastTransitionTime'

const byType = (a: unknown, b: unknown): number =>
  String(asObject(a)?.['type']) < String(asObject(b)?.['type']) ? -1 : 1
