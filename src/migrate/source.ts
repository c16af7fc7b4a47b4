// A foreign object, read with a memory: every field that a converter asks for is accounted for, and what nobody asked for is reported
// at the end by its path. So a field can not be dropped in silence, not even one that a later version of the other product adds.

import { asList, asObject, asText, type RawObject } from '../k8s/json.ts'
import type { LabelSelector } from '../k8s/objects.ts'
import type { Note, NoteLevel, Origin } from './types.ts'

/** One object of the tree. Reading a field of the wrong type notes a problem and gives undefined. */
export interface Cursor {
  readonly path: string
  /** The value as it stands; counts as read with everything below it. */
  readonly raw: (key: string) => unknown
  readonly text: (key: string) => string | undefined
  /** A whole number, also where it is written as text. */
  readonly integer: (key: string) => number | undefined
  readonly flag: (key: string) => boolean | undefined
  readonly texts: (key: string) => readonly string[]
  readonly textMap: (key: string) => Readonly<Record<string, string>>
  readonly child: (key: string) => Cursor | undefined
  readonly children: (key: string) => readonly Cursor[]
  /** A metav1.LabelSelector. */
  readonly selector: (key: string) => LabelSelector | undefined
  /** A list of them. */
  readonly selectors: (key: string) => readonly LabelSelector[]
  /** Adds a note on the field (or on the object, with an empty key), perhaps with a command that helps. */
  readonly note: (level: NoteLevel, key: string, text: string, command?: string) => void
  /** Notes that the field does not carry over, if it is set to anything that means something, and counts it as read. */
  readonly drop: (key: string, text: string, level?: NoteLevel) => void
}

export interface Source {
  readonly product: 'MetalLB' | 'OpenELB'
  readonly kind: string
  readonly apiVersion: string
  readonly namespace: string
  /** The name that the Bellhop object gets. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly spec: Cursor
  readonly title: string
  /** All notes so far, and one on each field that nobody read. */
  readonly origin: () => Origin
}

export interface SourceFacts {
  readonly product: Source['product']
  readonly kind: string
  readonly apiVersion: string
  readonly namespace: string
  readonly name: string
  readonly title: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  /** Annotations that a converter reads. */
  readonly knownAnnotations?: readonly string[]
  /** How a field is spelled in this form of the object: `peerASN` as `peer-asn`. */
  readonly spelling?: (key: string) => string
}

/** Kept by tools for themselves; they say nothing about the configuration. */
const housekeeping = /^kubectl\.kubernetes\.io\/|^(meta\.)?helm\.sh\/|^app\.kubernetes\.io\/managed-by$/

/** `value` is the configuration, `path` where it stands in the object that a person knows: `spec`, or `config.peers[0]`. */
export function createSource(value: unknown, path: string, facts: SourceFacts): Source {
  const notes: Note[] = []
  const read = new Set<string>()
  const spelling = facts.spelling ?? ((key: string) => key)
  const cursor = cursorOf(asObject(value) ?? {}, path, { root: path, notes, read, spelling })
  const { labels = {}, annotations = {}, knownAnnotations = [] } = facts
  const metadata = (field: 'labels' | 'annotations', map: Readonly<Record<string, string>>): readonly Note[] => {
    const keys = Object.keys(map).filter((key) => !housekeeping.test(key) && !knownAnnotations.includes(key))
    if (keys.length === 0) return []
    const text = `${keys.sort().join(', ')}: not carried over; nothing in Bellhop reads them`
    return [{ level: 'lost', path: `metadata.${field}`, text }]
  }
  return {
    product: facts.product,
    kind: facts.kind,
    apiVersion: facts.apiVersion,
    namespace: facts.namespace,
    name: facts.name,
    title: facts.title,
    labels,
    annotations,
    spec: cursor,
    origin: () => ({
      title: facts.title,
      notes: [
        ...notes,
        ...unread(value, path, read).map(
          (at): Note => ({
            level: 'problem',
            path: at,
            text: `${facts.product}'s field is not known here: look up what it did`,
          }),
        ),
        ...metadata('labels', labels),
        ...metadata('annotations', annotations),
      ],
    }),
  }
}

interface Memory {
  readonly root: string
  readonly notes: Note[]
  readonly read: Set<string>
  readonly spelling: (key: string) => string
}

function cursorOf(object: RawObject, path: string, memory: Memory): Cursor {
  const { root, notes, read, spelling } = memory
  const at = (key: string): string => (key === '' ? path : `${path}.${spelling(key)}`)
  const peek = (key: string): unknown => object[spelling(key)] ?? undefined
  const note: Cursor['note'] = (level, key, text, command) =>
    void notes.push({
      level,
      path: key === '' && path === root ? '' : at(key),
      text,
      ...(command === undefined ? {} : { command }),
    })
  const typed = <T>(key: string, wanted: string, accept: (value: unknown) => T | undefined): T | undefined => {
    read.add(at(key))
    const found = peek(key)
    if (found === undefined) return undefined
    const accepted = accept(found)
    if (accepted === undefined) note('problem', key, `${JSON.stringify(found)} is not ${wanted}; left out`)
    return accepted
  }
  const branch = (value: unknown, where: string): Cursor => {
    if (asObject(value) === undefined) {
      read.add(where)
      notes.push({ level: 'problem', path: where, text: `${JSON.stringify(value)} is not a set of fields; left out` })
    }
    return cursorOf(asObject(value) ?? {}, where, memory)
  }
  const items = (key: string): readonly unknown[] => {
    const found = peek(key)
    if (found !== undefined && asList(found) === undefined) typed(key, 'a list', asList)
    return asList(found) ?? []
  }
  const children = (key: string): readonly Cursor[] => {
    if (items(key).length === 0) read.add(at(key))
    return items(key).map((item, i) => branch(item, `${at(key)}[${i}]`))
  }
  const child = (key: string): Cursor | undefined => {
    const found = peek(key)
    return found === undefined ? undefined : branch(found, at(key))
  }
  return {
    path,
    note,
    raw: (key) => {
      read.add(at(key))
      return peek(key)
    },
    text: (key) => typed(key, 'text', textOf),
    integer: (key) => typed(key, 'a whole number', integerOf),
    flag: (key) => typed(key, 'true or false', (found) => (typeof found === 'boolean' ? found : undefined)),
    texts: (key) =>
      (typed(key, 'a list', asList) ?? []).flatMap((item, i) => {
        const text = textOf(item)
        if (text === undefined) note('problem', key, `[${i}]: ${JSON.stringify(item)} is not text; left out`)
        return text ?? []
      }),
    textMap: (key) => textMapOf(typed(key, 'a map', asObject)),
    child,
    children,
    selector: (key) => {
      const found = child(key)
      return found === undefined ? undefined : selectorOf(found)
    },
    selectors: (key) => children(key).map(selectorOf),
    drop: (key, text, level = 'lost') => {
      read.add(at(key))
      if (meansSomething(peek(key))) note(level, key, text)
    },
  }
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'number' || typeof value === 'boolean' ? String(value) : asText(value)

function integerOf(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value.trim()) ? Number(value) : value
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : undefined
}

const textMapOf = (map: RawObject | undefined): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(map ?? {}).map(([key, value]) => [key, textOf(value) ?? '']))

// An operator that Kubernetes does not know would have been refused there too; Exists is what Bellhop's own reader falls back to.
function selectorOf(cursor: Cursor): LabelSelector {
  return {
    matchLabels: cursor.textMap('matchLabels'),
    matchExpressions: cursor.children('matchExpressions').map((expression) => {
      const operator = expression.text('operator')
      const known = (['In', 'NotIn', 'Exists', 'DoesNotExist'] as const).find((candidate) => candidate === operator)
      if (known === undefined) expression.note('problem', 'operator', `${operator} is no operator of a label selector`)
      return {
        key: expression.text('key') ?? '',
        operator: known ?? 'Exists',
        values: expression.texts('values'),
      }
    }),
  }
}

/** Go writes and reads these as "not set". */
function meansSomething(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '' || value === 0) return false
  if (Array.isArray(value)) return value.length > 0
  return typeof value !== 'object' || Object.keys(value).length > 0
}

function unread(value: unknown, path: string, read: ReadonlySet<string>): readonly string[] {
  if (read.has(path) || value === undefined || value === null) return []
  if (Array.isArray(value)) return value.flatMap((item, i) => unread(item, `${path}[${i}]`, read))
  const object = asObject(value)
  if (object === undefined) return [path]
  return Object.entries(object).flatMap(([key, item]) => unread(item, `${path}.${key}`, read))
}

/** Reads `metadata` of a raw object for `createSource`. */
export function metadataOf(raw: RawObject): {
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
} {
  const metadata = asObject(raw['metadata'])
  return {
    namespace: asText(metadata?.['namespace']) ?? '',
    name: asText(metadata?.['name']) ?? '',
    labels: textMapOf(asObject(metadata?.['labels'])),
    annotations: textMapOf(asObject(metadata?.['annotations'])),
  }
}
