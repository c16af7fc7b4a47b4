// Whole conversions. The cases are the specification: read input.yaml beside expected.yaml. What is expected there must also be
// accepted by the CRDs, as an API server applies them, and by our own reader.

import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { asObject, type RawObject } from '../../src/k8s/json.ts'
import { parseObject } from '../../src/k8s/schemas/parse.ts'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'
import { belongsTo, migrate, unwrapLists } from '../../src/migrate/migrate.ts'
import { renderMigration } from '../../src/migrate/render.ts'
import { judge } from '../crds/crd-files.ts'
import { cases, yaml } from './cases.ts'

const judges = new Map(['BgpConf', 'BgpPeer', 'VipPool', 'BgpPolicy'].map((kind) => [kind, judge(kind)]))

describe.each(cases)('$name', ({ from, speaker, objects, expected }) => {
  const migration = migrate(objects, { from, speaker })

  test('is converted as expected', () => {
    expect(renderMigration(migration)).toBe(expected)
  })

  test('gives YAML that kubectl reads as the objects that were meant', () => {
    const documents = parseAllDocuments(renderMigration(migration), { version: '1.1' })
    const read = documents.map((document) => document.toJS()).filter((value) => value !== null)
    expect(read).toEqual(migration.objects.map(({ object }) => object))
  })

  test('gives objects that the API server stores, without unknown fields', () => {
    for (const { object } of migration.objects) {
      const judgement = judges.get(object.kind)?.(object as unknown as JsonObject)
      expect([object.metadata.name, judgement?.errors, judgement?.unknown]).toEqual([object.metadata.name, [], []])
    }
  })

  test('gives objects that Bellhop reads', () => {
    for (const { object } of migration.objects)
      expect([object.metadata.name, parseObject(object.kind, object).type]).toEqual([object.metadata.name, 'value'])
  })

  test('shows no password', () => {
    expect(renderMigration(migration)).not.toContain('swordfish')
  })

  test('does not depend on how objects are wrapped', () => {
    const list = { apiVersion: 'v1', kind: 'List', items: objects }
    expect(renderMigration(migrate([list], { from, speaker }))).toBe(expected)
  })
})

// ------------------------------------------------------------------------------------- nothing is dropped in silence

/** Objects that are left out as a whole, with one word for all their fields. */
const leftWhole = new Set(['BgpConf spare', 'BgpPeer calico'])

/**
 * Fields whose absence means the same, by case and path.
 */
const meansTheDefault = new Set([
  'metallb-advertisements local spec.aggregationLength',
  'metallb-configmap config address-pools[0].bgp-advertisements[0].aggregation-length',
  'openelb fallback spec.protocol',
  'porter eip-sample spec.protocol',
  'porter eip-sample spec.usingKnownIPs',
])

interface Leaf {
  readonly path: string
  readonly label: string
  readonly without: RawObject
}

/** Each leaf below `spec` (or in the ConfigMap's config), with the object as it is without it. */
function leavesOf(caseName: string, raw: RawObject): readonly Leaf[] {
  const name = String(asObject(raw['metadata'])?.['name'])
  if (raw['kind'] !== 'ConfigMap')
    return paths(raw['spec'], []).map((path) => ({
      path: `spec.${written(path)}`,
      label: `${caseName} ${name} spec.${written(path)}`,
      without: { ...raw, spec: removed(raw['spec'], path) as RawObject },
    }))
  const [config] = yaml(`kind: x\n${String(asObject(raw['data'])?.['config'])}`)
  const { kind: _, ...fields } = config ?? {}
  return paths(fields, []).map((path) => ({
    path: `config.${written(path)}`,
    label: `${caseName} ${name} ${written(path)}`,
    without: { ...raw, data: { config: JSON.stringify(removed(fields, path)) } },
  }))
}

type Path = readonly (string | number)[]

function paths(value: unknown, at: Path): readonly Path[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => paths(item, [...at, i]))
  const object = asObject(value)
  if (object === undefined) return at.length === 0 ? [] : [at]
  return Object.entries(object).flatMap(([key, item]) => paths(item, [...at, key]))
}

const written = (path: Path): string =>
  path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .slice(1)

function removed(value: unknown, [first, ...rest]: Path): unknown {
  if (Array.isArray(value))
    return rest.length === 0
      ? value.filter((_, i) => i !== first)
      : value.map((item, i) => (i === first ? removed(item, rest) : item))
  return Object.fromEntries(
    Object.entries(asObject(value) ?? {}).flatMap(([key, item]) =>
      key !== String(first) ? [[key, item]] : rest.length === 0 ? [] : [[key, removed(item, rest)]],
    ),
  )
}

describe.each(cases)('in $name nothing is dropped in silence', ({ name, from, speaker, objects }) => {
  const relevant = objects.filter(
    (raw) =>
      belongsTo(from, raw) && !leftWhole.has(`${String(raw['kind'])} ${String(asObject(raw['metadata'])?.['name'])}`),
  )
  const migration = migrate(objects, { from, speaker })
  const before = renderMigration(migration)
  const noted = [...migration.objects.flatMap(({ origins }) => origins), ...migration.without].flatMap(
    ({ title, notes }) => notes.flatMap(({ path }) => (path === '' ? [] : [`${title} ${path}`])),
  )
  /** Whether a comment names the field, or one that it is part of. */
  const isNoted = (raw: RawObject, path: string): boolean =>
    noted.some((place) => {
      const split = place.lastIndexOf(' ')
      const [title, at] = [place.slice(0, split), place.slice(split + 1)]
      const covers = path === at || path.startsWith(`${at}.`) || path.startsWith(`${at}[`)
      return covers && title.includes(String(asObject(raw['metadata'])?.['name']))
    })

  test('every field is in the objects (taking it away changes the output) or in a comment', () => {
    const silent: string[] = []
    for (const raw of relevant)
      for (const { label, path, without } of leavesOf(name, raw)) {
        if (meansTheDefault.has(label) || isNoted(raw, path)) continue
        const after = renderMigration(
          migrate(
            objects.map((other) => (other === raw ? without : other)),
            { from, speaker },
          ),
        )
        if (after === before) silent.push(label)
      }
    expect(silent).toEqual([])
  })

  test('a field that nobody has heard of is named by its path', () => {
    for (const raw of relevant.filter(({ kind }) => kind !== 'ConfigMap')) {
      const added = { ...raw, spec: { ...asObject(raw['spec']), brandNew: { deep: [1] } } }
      const after = renderMigration(
        migrate(
          objects.map((other) => (other === raw ? added : other)),
          { from, speaker },
        ),
      )
      expect(after.replace(/\n#\s+/g, ' ')).toContain('spec.brandNew.deep[0]: ')
    }
  })
})

test('a List whose items carry no kind of their own is read as what it lists', () => {
  const list = { apiVersion: 'metallb.io/v1beta1', kind: 'IPAddressPoolList', items: [{ metadata: { name: 'a' } }] }
  expect(unwrapLists([list])).toEqual([
    { apiVersion: 'metallb.io/v1beta1', kind: 'IPAddressPool', metadata: { name: 'a' } },
  ])
})
