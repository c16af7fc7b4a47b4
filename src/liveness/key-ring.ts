// Which keys authenticate liveness, as a Secret changes: pure. A process says on its Lease which keys it has, and sends to each peer
// with one that the peer says it has too; so keys can be added, changed and replaced in one edit, in whatever order the processes
// learn of it, and no session falls. A Secret that vanishes takes no key along.

import type { BfdAuthentication, BfdKey } from '../bfd/authentication.ts'

export interface RingKey extends BfdKey {
  /** Id and a few digits of a digest: tells two keys of one id apart, and nothing about either. */
  readonly label: string
  /** When the Secret had it no more, monotonic milliseconds; absent while it has. */
  readonly retiredAtMs?: number
}

/** The best key first: those of the Secret by falling id, then those it had, the latest first. */
export type KeyRing = readonly RingKey[]

export const noKeys: KeyRing = []

/** For so long a key that was replaced still opens packets: until everybody has heard of its successor. */
export const retiredForMs = 600_000
/** For so long a peer that says it has a key may still send without: until it has heard that we have it too. */
export const plainForMs = 60_000
const keysMax = 16
const secretOctetsMax = 20

export interface ReadKeys {
  readonly keys: readonly BfdKey[]
  /** Entries that are no keys, in an operator's words; never a value. */
  readonly problems: readonly string[]
}

/** Reads a Secret's data: the name of an entry is the key's id, 0 to 255, its value the key, 1 to 20 octets. */
export function readKeys(data: ReadonlyMap<string, Uint8Array>): ReadKeys {
  const keys: BfdKey[] = []
  const problems: string[] = []
  for (const [name, secret] of data) {
    if (!/^(0|[1-9]\d{0,2})$/.test(name) || Number(name) > 255)
      problems.push(`entry ${name.slice(0, 80)} is no key: its name must be a number from 0 to 255`)
    else if (secret.length === 0 || secret.length > secretOctetsMax)
      problems.push(`key ${name} has ${secret.length} octets: 1 to ${secretOctetsMax} are possible`)
    else keys.push({ id: Number(name), secret })
  }
  return { keys, problems }
}

/** The ring after the Secret was read. Without any key it stays as it was. `label` names a key. */
export function learn(ring: KeyRing, keys: readonly BfdKey[], nowMs: number, label: (key: BfdKey) => string): KeyRing {
  if (keys.length === 0) return ring
  const current = keys.map((key) => ({ ...key, label: label(key) })).sort((a, b) => b.id - a.id)
  const labels = new Set(current.map((key) => key.label))
  const retired = ring
    .filter((key) => !labels.has(key.label))
    .map((key) => ({ ...key, retiredAtMs: key.retiredAtMs ?? nowMs }))
    .sort((a, b) => b.retiredAtMs - a.retiredAtMs)
  return [...current, ...retired].slice(0, keysMax)
}

/** As it stands on a Lease: every key that this process opens packets with, should the peer need it. */
export const announcedKeys = (ring: KeyRing): string => ring.map(({ label }) => label).join(',')

/** When what the ring says changes by itself; undefined: never. */
export function changesAtMs(ring: KeyRing, nowMs: number): number | undefined {
  const ends = ring.flatMap(({ retiredAtMs }) => (retiredAtMs === undefined ? [] : [retiredAtMs + retiredForMs]))
  const next = Math.min(...ends.filter((endMs) => endMs > nowMs))
  return Number.isFinite(next) ? next : undefined
}

/**
 * How the session with a peer is authenticated, by what its Lease says; undefined while we have no key. With no key in common it is
 * not: a peer that does not know the Secret yet, or has none to read, is alive all the same.
 */
export function authenticationWith(
  ring: KeyRing,
  announced: string | undefined,
  nowMs: number,
): BfdAuthentication | undefined {
  if (ring.length === 0) return undefined
  const theirs = new Set((announced ?? '').split(','))
  const send = ring.find(({ label }) => theirs.has(label))
  const accept = ring.filter(
    (key) => key === send || key.retiredAtMs === undefined || nowMs < key.retiredAtMs + retiredForMs,
  )
  const bare = ({ id, secret }: RingKey): BfdKey => ({ id, secret })
  return {
    type: 'meticulous-keyed-sha1',
    ...(send === undefined ? {} : { send: bare(send) }),
    accept: accept.map(bare),
    plainForMs,
  }
}
