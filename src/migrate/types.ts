// What a conversion gives: Bellhop objects, and beside them a word on every field that is not simply the same there. Nothing of the
// input goes missing without such a word; who reads the output decides with it, so the words are for operators.

import type { RawObject } from '../k8s/json.ts'

/**
 * - `changed`: carries over, but in another form, or with a consequence worth knowing.
 * - `lost`: does not carry over, and nothing has to be done about it.
 * - `problem`: does not carry over, and somebody has to decide: the exit status says so.
 */
export type NoteLevel = 'changed' | 'lost' | 'problem'

export interface Note {
  readonly level: NoteLevel
  /** Where in the foreign object, as `spec.peerPort`; empty = the object itself. */
  readonly path: string
  readonly text: string
  /** For a shell; printed on a line of its own. */
  readonly command?: string
}

/** A foreign object (or the part of one that became an object), and what there is to say about it. */
export interface Origin {
  /** For headings: `MetalLB BGPPeer metallb-system/tor1`. */
  readonly title: string
  readonly notes: readonly Note[]
}

export interface BellhopObject {
  readonly apiVersion: 'bellhop.io/v1alpha1'
  readonly kind: 'BgpConf' | 'BgpPeer' | 'VipPool' | 'BgpPolicy'
  readonly metadata: { readonly name: string }
  readonly spec: RawObject
}

export interface Migrated {
  readonly object: BellhopObject
  /** What it was made of. A foreign object is told once: with the first object it became. */
  readonly origins: readonly Origin[]
}

export interface Migration {
  readonly objects: readonly Migrated[]
  /** Foreign objects that became no object of their own: a BFDProfile that stands in its peers now, a router we cannot speak to. */
  readonly without: readonly Origin[]
}

/** A Bellhop object of this kind; fields that are undefined are left away. */
export function bellhopObject(kind: BellhopObject['kind'], name: string, spec: RawObject): BellhopObject {
  return { apiVersion: 'bellhop.io/v1alpha1', kind, metadata: { name }, spec: withoutAbsent(spec) }
}

/** Drops fields that are undefined. */
export function withoutAbsent(fields: RawObject): RawObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** Every note that needs somebody to decide. */
export function problemsOf({
  objects,
  without,
}: Migration): readonly { readonly title: string; readonly note: Note }[] {
  return [...objects.flatMap(({ origins }) => origins), ...without].flatMap(({ title, notes }) =>
    notes.filter(({ level }) => level === 'problem').map((note) => ({ title, note })),
  )
}
