// What holds for every one of our CRDs: the conventions of the API, and what a real API server insists on.
import { describe, expect, test } from 'vitest'
import { compileJsonPath } from '../../src/lab/apiserver/crd/json-path.ts'
import { compileStructuralSchema } from '../../src/lab/apiserver/crd/structural-schema.ts'
import type { Json, JsonObject } from '../../src/lab/apiserver/json.ts'
import { crds } from './crd-files.ts'

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

interface Place {
  readonly path: string
  readonly schema: JsonObject
}

/** Every schema that describes a place in the object, from the root down. */
function places(schema: JsonObject, path = ''): readonly Place[] {
  const properties = isObject(schema['properties']) ? Object.entries(schema['properties']) : []
  const below = [
    ...properties.map(([name, child]) => [`${path}.${name}`, child] as const),
    [`${path}[]`, schema['items']] as const,
    [`${path}{}`, schema['additionalProperties']] as const,
  ]
  return [{ path, schema }, ...below.flatMap(([at, child]) => (isObject(child) ? places(child, at) : []))]
}

const rules = (schema: JsonObject): readonly JsonObject[] => {
  const list = schema['x-kubernetes-validations']
  return Array.isArray(list) ? list : []
}

test('there is one CRD for each kind of the API', () => {
  expect(crds.map((crd) => crd.spec.names.kind)).toEqual(['BgpConf', 'BgpPeer', 'BgpPolicy', 'VipPool', 'Vip'])
})

describe.each(crds.map((crd) => [crd.spec.names.kind, crd] as const))('%s', (kind, crd) => {
  const version = crd.spec.versions[0]
  const schema = version.schema.openAPIV3Schema
  const all = places(schema)
  const ours = all.filter(({ path }) => !/^\.metadata\b/.test(path))

  test('is a cluster-scoped kind of bellhop.io/v1alpha1 with a short name, in the category bellhop', () => {
    expect(crd.metadata.name).toBe(`${crd.spec.names.plural}.bellhop.io`)
    expect([crd.spec.group, version.name, crd.spec.scope]).toEqual(['bellhop.io', 'v1alpha1', 'Cluster'])
    expect(crd.spec.names.shortNames).toHaveLength(1)
    expect(crd.spec.names.categories).toEqual(['bellhop'])
    expect(version.subresources).toEqual({ status: {} })
  })

  test('has a structural schema whose rules compile', () => {
    expect(() => compileStructuralSchema(schema)).not.toThrow()
  })

  test('describes every field in words', () => {
    const silent = ours.filter(
      ({ path, schema: at }) => !/[[{][\]}]$/.test(path) && typeof at['description'] !== 'string',
    )
    expect(silent.map(({ path }) => path)).toEqual([])
  })

  test('bounds every list, map and text, so that the cost of the rules is bounded', () => {
    const fixedForm = (at: JsonObject) => at['enum'] !== undefined || at['format'] === 'date-time'
    const unbounded = ours.filter(({ path, schema: at }) => {
      if (path === '.apiVersion' || path === '.kind') return false
      if (at['type'] === 'array') return at['maxItems'] === undefined
      if (at['type'] === 'string') return at['maxLength'] === undefined && !fixedForm(at)
      return isObject(at['additionalProperties']) && at['maxProperties'] === undefined
    })
    expect(unbounded.map(({ path }) => path)).toEqual([])
  })

  test('says of every list how it merges, so that server-side apply works', () => {
    const lists = all.filter(({ schema: at }) => at['type'] === 'array' && at['x-kubernetes-list-type'] === undefined)
    expect(lists.map(({ path }) => path)).toEqual([])
  })

  test('has conditions that are merged by type', () => {
    const conditions = all.find(({ path }) => path === '.status.conditions')?.schema
    expect(conditions?.['x-kubernetes-list-map-keys']).toEqual(['type'])
    expect(all.some(({ path }) => path === '.status.observedGeneration')).toBe(true)
  })

  test('explains every rule in a sentence', () => {
    const messages = all.flatMap(({ schema: at }) => rules(at).map((rule) => rule['message']))
    expect(messages.filter((message) => typeof message !== 'string')).toEqual([])
  })

  // The engine refuses rules beyond the API server's cost budget. It knows how long a number is as text; not every API server does.
  test('adds no number to a text in a message', () => {
    const expressions = all.flatMap(({ schema: at }) =>
      rules(at).map((rule) => String(rule['messageExpression'] ?? '')),
    )
    expect(expressions.filter((text) => /\bstring\(/.test(text))).toEqual([])
  })

  test('has printer columns that point to fields which exist', () => {
    const known = new Set(all.map(({ path }) => path))
    for (const column of version.additionalPrinterColumns) {
      expect(
        Object.keys(column).filter((key) => !['name', 'type', 'jsonPath', 'priority', 'description'].includes(key)),
      ).toEqual([])
      expect(() => compileJsonPath(column.jsonPath)).not.toThrow()
      const place = column.jsonPath.replace(/\[\?\(.*\)\]/, '[]')
      // One field or the other.
      const [, parent, names] = /^(.*)\[('.*')\]$/.exec(place) ?? []
      const places = names?.split(',').map((name) => `${parent}.${name.slice(1, -1)}`) ?? [place]
      expect(
        places.every((one) => known.has(one)) || place === '.metadata.creationTimestamp',
        `${kind} ${column.jsonPath}`,
      ).toBe(true)
    }
  })

  // kubectl reads YAML 1.1, where a bare `off` is the boolean false: whoever writes such a value is refused and told about a boolean.
  test('uses no YAML anchors, and has no value that somebody has to put in quotes', () => {
    expect(crd.text).not.toMatch(/[:[,] (&|\*)\w|<<:/)
    const values = all.flatMap(({ schema: at }) => (Array.isArray(at['enum']) ? at['enum'] : []))
    const inQuotes = values.filter(
      (value) => typeof value !== 'string' || /^(?:y|yes|n|no|on|off|true|false|null|~)$/i.test(value),
    )
    // metav1.Condition, which nobody writes by hand.
    expect(inQuotes.filter((value) => value !== 'True' && value !== 'False')).toEqual([])
  })
})
