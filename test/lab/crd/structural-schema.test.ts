// The schema engine of the embedded API server: what it refuses, prunes, fills in and says, one table row a rule.
import { describe, expect, test } from 'vitest'
import {
  type CompiledSchema,
  compileStructuralSchema,
  errorLine,
  invalidMessage,
} from '../../../src/lab/apiserver/crd/structural-schema.ts'
import type { Json, JsonObject } from '../../../src/lab/apiserver/json.ts'

const object = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({ type: 'object', properties, ...more })
const compile = (properties: JsonObject, more?: JsonObject): CompiledSchema =>
  compileStructuralSchema(object(properties, more))
const lines = (schema: CompiledSchema, value: JsonObject, old?: JsonObject) =>
  schema.validate(value, old).map(errorLine)

describe('a schema is refused', () => {
  test.each<[string, JsonObject, string]>([
    [
      'without a type',
      { spec: {} },
      'properties[spec].type: Required value: must not be empty for specified object fields',
    ],
    ['with a type that does not exist', { a: { type: 'int' } }, 'properties[a].type: Unsupported value: "int"'],
    ['with a reference', { a: { type: 'object', $ref: '#/b' } }, 'properties[a].$ref: Forbidden'],
    [
      'with unique items',
      { a: { type: 'array', items: { type: 'string' }, uniqueItems: true } },
      'properties[a].uniqueItems: Forbidden',
    ],
    ['with a list of anything', { a: { type: 'array' } }, 'properties[a].items: Required value: must be specified'],
    [
      'with additionalProperties: false',
      { a: { type: 'object', additionalProperties: false } },
      'properties[a].additionalProperties: Forbidden',
    ],
    [
      'with both kinds of properties',
      { a: { type: 'object', properties: { b: { type: 'string' } }, additionalProperties: { type: 'string' } } },
      'additionalProperties and properties are mutual exclusive',
    ],
    [
      'with a type below a junctor',
      { a: { type: 'object', anyOf: [{ type: 'object' }] } },
      'properties[a].anyOf[0].type: Forbidden: must be empty to be structural',
    ],
    [
      'with a field that only a junctor knows',
      { a: { type: 'object', oneOf: [{ required: ['b'], properties: { b: { minLength: 1 } } }] } },
      'oneOf[0].properties[b]: Required value: because it is defined in a nested value validation',
    ],
    [
      'with a map list without keys',
      { a: { type: 'array', 'x-kubernetes-list-type': 'map', items: { type: 'object' } } },
      'x-kubernetes-list-map-keys: Required value',
    ],
    [
      'with a key that an item may lack',
      {
        a: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['k'],
          items: object({ k: { type: 'string' } }),
        },
      },
      'properties[k].default: Required value',
    ],
    [
      'with a default that does not fit',
      { a: { type: 'integer', default: 'x' } },
      'properties[a].default: default: Invalid value: "string"',
    ],
    [
      'with a default that holds an unknown field',
      { a: object({}, { default: { b: 1 } }) },
      'unknown fields: default.b',
    ],
    [
      'with a pattern that is none',
      { a: { type: 'string', pattern: '(' } },
      'pattern: must be a valid regular expression',
    ],
    [
      'with a rule for a field of metadata that users own',
      { metadata: object({ labels: { type: 'object' } }) },
      'only name and generateName may be restricted',
    ],
  ])('%s', (_, properties, problem) => {
    expect(() => compile(properties)).toThrow(problem)
  })

  test('that is not an object at the root', () => {
    expect(() => compileStructuralSchema({ type: 'string' })).toThrow('must be object at the root')
  })
})

describe('pruning', () => {
  const schema = compile({
    spec: object({
      known: { type: 'string' },
      list: { type: 'array', items: object({ a: { type: 'integer' } }) },
      map: { type: 'object', additionalProperties: object({ a: { type: 'integer' } }) },
      free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true, properties: { b: object({}) } },
      pod: { type: 'object', 'x-kubernetes-embedded-resource': true, properties: { spec: object({}) } },
    }),
  })

  test.each<[string, JsonObject, JsonObject, readonly string[]]>([
    ['drops what is not in the schema', { known: 'x', other: 1 }, { known: 'x' }, ['spec.other']],
    ['reaches into lists', { list: [{ a: 1, b: 2 }] }, { list: [{ a: 1 }] }, ['spec.list[0].b']],
    ['reaches into maps', { map: { x: { a: 1, b: 2 } } }, { map: { x: { a: 1 } } }, ['spec.map.x.b']],
    [
      'keeps what may be anything, but not below what is specified in it',
      { free: { x: { y: 1 }, b: { c: 1 } } },
      { free: { x: { y: 1 }, b: {} } },
      ['spec.free.b.c'],
    ],
    [
      'keeps the head of an embedded resource',
      { pod: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', nope: 1 }, status: {} } },
      { pod: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } } },
      ['spec.pod.metadata.nope', 'spec.pod.status'],
    ],
  ])('%s', (_, spec, kept, unknownPaths) => {
    const head = { apiVersion: 'g/v1', kind: 'K', metadata: { name: 'x', labels: { a: 'b' } } }
    expect(schema.prune({ ...head, spec })).toEqual({ object: { ...head, spec: kept }, unknownPaths })
  })
})

describe('defaulting', () => {
  const schema = compile({
    spec: object({
      inner: object({ x: { type: 'integer', default: 1 } }, { default: {} }),
      absent: object({ x: { type: 'integer', default: 1 } }),
      list: { type: 'array', items: object({ x: { type: 'integer', default: 1 } }) },
      map: { type: 'object', additionalProperties: object({ x: { type: 'integer', default: 1 } }) },
      nullable: { type: 'integer', nullable: true, default: 5 },
      plain: { type: 'integer' },
      withDefault: { type: 'integer', default: 7 },
    }),
  })

  test.each<[string, JsonObject, JsonObject]>([
    ['completes a default by the defaults below it', {}, { inner: { x: 1 }, nullable: 5, withDefault: 7 }],
    ['reaches objects that are there, and makes none', { absent: {} }, { absent: { x: 1 } }],
    ['reaches into lists and maps', { list: [{}], map: { a: {} } }, { list: [{ x: 1 }], map: { a: { x: 1 } } }],
    ['leaves a value alone', { withDefault: 0, inner: { x: 0 } }, { withDefault: 0, inner: { x: 0 } }],
    ['leaves null where null is allowed', { nullable: null }, { nullable: null }],
    ['replaces null where it is not', { withDefault: null }, { withDefault: 7 }],
  ])('%s', (_, spec, expected) => {
    expect(schema.applyDefaults({ spec })).toMatchObject({ spec: expected })
  })

  test('drops null where there is no default', () => {
    expect(schema.applyDefaults({ spec: { plain: null } })['spec']).not.toHaveProperty('plain')
  })
})

describe('validation says', () => {
  const a = (schema: JsonObject) => compile({ a: schema })
  test.each<[string, JsonObject, Json, readonly string[]]>([
    [
      'null where it is not allowed',
      { type: 'string' },
      null,
      ['a: Invalid value: "null": a in body must be of type string: "null"'],
    ],
    ['nothing about null where it is', { type: 'string', nullable: true }, null, []],
    ['an integer is a number too', { type: 'number' }, 1, []],
    [
      'a fraction for an integer, twice',
      { type: 'integer' },
      1.5,
      [
        'a: Invalid value: "number": a in body must be of type integer: "number"',
        '<nil>: Invalid value: "": Checked value must be of type integer (default format) in a',
      ],
    ],
    [
      'a fraction for an integer with a format, which it names',
      { type: 'integer', format: 'int64' },
      1.5,
      [
        'a: Invalid value: "float64": a in body must be of type int64: "float64"',
        '<nil>: Invalid value: "": Checked value must be of type integer with format int64 in a',
      ],
    ],
    [
      'beyond 32 bits',
      { type: 'integer', format: 'int32' },
      4294967296,
      ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 in a'],
    ],
    [
      'a list for an object',
      { type: 'object' },
      [],
      ['a: Invalid value: "array": a in body must be of type object: "array"'],
    ],
    [
      'too small',
      { type: 'integer', minimum: 3 },
      2,
      ['a: Invalid value: 2: a in body should be greater than or equal to 3'],
    ],
    [
      'too small by a hair',
      { type: 'integer', minimum: 3, exclusiveMinimum: true },
      3,
      ['a: Invalid value: 3: a in body should be greater than 3'],
    ],
    [
      'too big by a hair',
      { type: 'number', maximum: 3, exclusiveMaximum: true },
      3,
      ['a: Invalid value: 3: a in body should be less than 3'],
    ],
    [
      'no multiple',
      { type: 'integer', multipleOf: 5 },
      7,
      ['a: Invalid value: 7: a in body should be a multiple of 5'],
    ],
    [
      'too long, without repeating it',
      { type: 'string', maxLength: 2 },
      'abc',
      ['a: Too long: may not be more than 2 bytes'],
    ],
    ['the length in characters', { type: 'string', maxLength: 2 }, '😀😀', []],
    [
      'too short',
      { type: 'string', minLength: 1 },
      '',
      ['a: Invalid value: "": a in body should be at least 1 chars long'],
    ],
    ['no match', { type: 'string', pattern: '^x$' }, 'y', ['a: Invalid value: "y": a in body should match \'^x$\'']],
    ['not one of them', { type: 'integer', enum: [1, 2] }, 3, ['a: Unsupported value: 3: supported values: "1", "2"']],
    [
      'too few items',
      { type: 'array', minItems: 2, items: { type: 'string' } },
      ['x'],
      ['a: Invalid value: 1: a in body should have at least 2 items'],
    ],
    [
      'too many items',
      { type: 'array', maxItems: 1, items: { type: 'string' } },
      ['x', 'y'],
      ['a: Too many: 2: must have at most 1 item'],
    ],
    [
      'too few properties',
      { type: 'object', minProperties: 1, additionalProperties: { type: 'string' } },
      {},
      ['a: Invalid value: 1: a in body should have at least 1 properties'],
    ],
    [
      'a fault deep inside',
      { type: 'array', items: object({ b: { type: 'object', additionalProperties: { type: 'integer' } } }) },
      [{ b: { k: 'x' } }],
      ['a[0].b.k: Invalid value: "string": a[0].b.k in body must be of type integer: "string"'],
    ],
    [
      'a set with a duplicate',
      { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
      ['x', 'y', 'x'],
      ['a[2]: Duplicate value: "x"'],
    ],
    ['int-or-string with an integer', { 'x-kubernetes-int-or-string': true }, 80, []],
    [
      'int-or-string with a string',
      { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] },
      '80%',
      [],
    ],
    [
      'int-or-string with neither',
      { 'x-kubernetes-int-or-string': true },
      true,
      ['a: Invalid value: "boolean": a in body must be of type integer,string: "boolean"'],
    ],
    [
      'allOf',
      { type: 'integer', allOf: [{ minimum: 1 }, { maximum: 5 }] },
      9,
      [
        'a: Invalid value: 9: a in body should be less than or equal to 5',
        '<nil>: Invalid value: "": "a" must validate all the schemas (allOf)',
      ],
    ],
    [
      'anyOf',
      { type: 'integer', anyOf: [{ minimum: 10 }, { maximum: 5 }] },
      7,
      [
        '<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)',
        'a: Invalid value: 7: a in body should be greater than or equal to 10',
      ],
    ],
    [
      'oneOf with two',
      { type: 'integer', oneOf: [{ minimum: 1 }, { minimum: 2 }] },
      3,
      ['<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
    ],
    [
      'oneOf with none',
      object({ b: { type: 'string' }, c: { type: 'string' } }, { oneOf: [{ required: ['b'] }, { required: ['c'] }] }),
      {},
      [
        '<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found none valid',
        'a.b: Required value',
      ],
    ],
    [
      'not',
      { type: 'integer', not: { enum: [4] } },
      4,
      ['<nil>: Invalid value: "": "a" must not validate the schema (not)'],
    ],
  ])('%s', (_, schema, value, expected) => {
    expect(lines(a(schema), { a: value }).filter((line) => !line.includes('some validation rules'))).toEqual(expected)
  })

  test.each<[string, readonly string[], readonly string[]]>([
    ['ipv4', ['10.0.0.1'], ['10.0.0.256', '::1']],
    ['ipv6', ['::1', 'fe80::1'], ['10.0.0.1', 'fe80::1%eth0']],
    ['cidr', ['10.0.0.0/8', '10.0.0.1/8', '::/0'], ['10.0.0.0', '10.0.0.0/33', '::/129', '10.0.0.0/08']],
    ['mac', ['00:11:22:aa:bb:cc'], ['00:11:22:aa:bb']],
    ['uuid', ['f81d4fae-7dec-11d0-a765-00a0c91e6bf6'], ['f81d4fae']],
    ['date', ['2024-02-29'], ['2023-02-29', '29.2.2024']],
    ['date-time', ['2024-02-29T01:02:03Z', '2024-02-29T01:02:03.5+01:00'], ['2024-02-29', '2024-02-30T01:02:03Z']],
    ['duration', ['1h30m', '0', '-1.5s', '300ms'], ['1', 'h', '1 h', '']],
    ['byte', ['aGVsbG8='], ['aGVsbG8']],
    ['hostname', ['a.example', 'n1'], ['-a', 'a_b']],
    ['uri', ['https://a.example/b'], ['a b']],
    ['no-such-format', ['anything'], []],
  ])('format %s', (format, good, bad) => {
    const schema = a({ type: 'string', format })
    expect(good.flatMap((text) => lines(schema, { a: text }))).toEqual([])
    for (const text of bad) {
      expect(lines(schema, { a: text })[0]).toBe(
        `a: Invalid value: "${text}": a in body must be of type ${format}: "${text}"`,
      )
    }
  })

  test('nothing about what an update leaves unchanged, even if it is wrong', () => {
    const schema = compile({ a: { type: 'integer', maximum: 5 }, b: { type: 'string' } })
    expect(lines(schema, { a: 9, b: 'new' }, { a: 9, b: 'old' })).toEqual([])
    expect(lines(schema, { a: 8, b: 'new' }, { a: 9, b: 'old' })).toHaveLength(1)
  })

  test('several errors in one message, each once', () => {
    const errors = compile({ a: { type: 'integer', minimum: 1 }, b: { type: 'string', enum: ['x'] } }).validate({
      a: 0,
      b: 'y',
    })
    expect(invalidMessage('Thing.bellhop.io', 't', errors)).toBe(
      'Thing.bellhop.io "t" is invalid: [a: Invalid value: 0: a in body should be greater than or equal to 1, b: Unsupported value: "y": supported values: "x", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]',
    )
    expect(invalidMessage('Thing.bellhop.io', 't', errors.slice(0, 1))).toBe(
      'Thing.bellhop.io "t" is invalid: a: Invalid value: 0: a in body should be greater than or equal to 1',
    )
  })
})
