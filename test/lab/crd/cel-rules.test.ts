// x-kubernetes-validations as the API server runs them: when a rule runs, what it sees, and what the user is told.
import { describe, expect, test } from 'vitest'
import { compileStructuralSchema, errorLine } from '../../../src/lab/apiserver/crd/structural-schema.ts'
import type { Json, JsonObject } from '../../../src/lab/apiserver/json.ts'

const rule = (text: string, more: JsonObject = {}): JsonObject => ({ rule: text, message: 'broken', ...more })

/** A schema with one field `a`, and a rule on that field. */
const withRule = (schema: JsonObject, ...rules: readonly JsonObject[]) =>
  compileStructuralSchema({ type: 'object', properties: { a: { ...schema, 'x-kubernetes-validations': rules } } })

const ask = (schema: JsonObject, rules: JsonObject | string, value: Json, old?: Json) =>
  withRule(schema, typeof rules === 'string' ? rule(rules) : rules)
    .validate({ a: value }, old === undefined ? undefined : { a: old })
    .map(errorLine)

const text = { type: 'string', maxLength: 100 }
const point = {
  type: 'object',
  properties: { x: { type: 'integer' }, y: { type: 'integer' }, 'max-age': { type: 'integer' }, namespace: text },
}
const points = {
  type: 'array',
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['k'],
  items: { type: 'object', required: ['k'], properties: { k: text, x: { type: 'integer' } } },
}

describe('a rule sees', () => {
  test.each<[string, JsonObject, string, Json]>([
    ['an integer as int', { type: 'integer' }, 'self / 2 == 3', 7],
    ['a number as double', { type: 'number' }, 'self > 1.4 && self < 1.6', 1.5],
    ['a boolean', { type: 'boolean' }, '!self', false],
    ['a text', text, "self.startsWith('a') && self.size() == 3 && self.contains('b')", 'abc'],
    ['a duration', { type: 'string', format: 'duration' }, "self <= duration('1h')", '59m59s'],
    [
      'a time',
      { type: 'string', format: 'date-time' },
      "self < timestamp('2025-01-01T00:00:00Z')",
      '2024-12-31T23:59:59Z',
    ],
    [
      'a list',
      { type: 'array', maxItems: 100, items: { type: 'integer' } },
      'self.all(n, n > 0) && self.exists(n, n == 2) && !(5 in self)',
      [1, 2],
    ],
    [
      'a map by its keys',
      { type: 'object', maxProperties: 100, additionalProperties: { type: 'integer' } },
      "self.all(k, k.size() == 1 && self[k] < 3) && 'x' in self",
      { x: 1, y: 2 },
    ],
    ['an object by its fields', point, 'has(self.x) && !has(self.y) && self.x == 1', { x: 1 }],
    ['a field with a dash', point, 'self.max__dash__age == 3', { 'max-age': 3 }],
    ['a field named like a keyword', point, "self.__namespace__ == 'n'", { namespace: 'n' }],
    ['an address', text, "isIP(self) && ip(self).family() == 6 && !isIP(self + '%eth0')", '2001:db8::1'],
    [
      'a network',
      text,
      "isCIDR(self) && cidr(self).prefixLength() == 24 && cidr(self).containsIP('10.0.0.9') && !cidr(self).containsIP(ip('10.0.1.9'))",
      '10.0.0.0/24',
    ],
    [
      'int-or-string as either',
      { 'x-kubernetes-int-or-string': true },
      "type(self) == int ? self == 5 : self == '5'",
      5,
    ],
    [
      'null where it is allowed',
      { type: 'object', properties: { x: { type: 'integer', nullable: true } } },
      'self.x == null',
      { x: null },
    ],
  ])('%s', (_, schema, expression, value) => {
    expect(ask(schema, expression, value)).toEqual([])
    expect(ask(schema, `!(${expression})`, value)).toHaveLength(1)
  })

  test('apiVersion, kind, and of metadata the names, at the root', () => {
    const schema = compileStructuralSchema({
      type: 'object',
      'x-kubernetes-validations': [rule("self.metadata.name == 'x' && self.kind == 'K'")],
    })
    expect(schema.validate({ kind: 'K', metadata: { name: 'x' } })).toEqual([])
    expect(schema.validate({ kind: 'K', metadata: { name: 'y' } }).map(errorLine)).toEqual([
      '<nil>: Invalid value: broken',
    ])
  })
})

describe('a transition rule', () => {
  test('runs only when there is something to compare with', () => {
    expect(ask(text, 'self == oldSelf', 'x')).toEqual([])
    expect(ask(text, 'self == oldSelf', 'x', 'y')).toEqual(['a: Invalid value: "x": broken'])
  })

  test('compares the items of a map list by their keys', () => {
    const schema = { ...points, items: { ...points.items, 'x-kubernetes-validations': [rule('self.x >= oldSelf.x')] } }
    const compiled = compileStructuralSchema({ type: 'object', properties: { a: schema } })
    const old = {
      a: [
        { k: 'p', x: 1 },
        { k: 'q', x: 5 },
      ],
    }
    expect(
      compiled
        .validate(
          {
            a: [
              { k: 'q', x: 4 },
              { k: 'p', x: 1 },
              { k: 'new', x: 0 },
            ],
          },
          old,
        )
        .map(errorLine),
    ).toEqual(['a[0]: Invalid value: broken'])
  })

  test('with optionalOldSelf runs on creation too', () => {
    const once = rule("oldSelf.hasValue() || self == 'first'", { optionalOldSelf: true })
    expect(ask(text, once, 'second')).toEqual(['a: Invalid value: "second": broken'])
    expect(ask(text, once, 'second', 'first')).toEqual([])
  })

  test('is not mistaken for one when oldSelf stands in a text', () => {
    expect(ask(text, "self != 'oldSelf'", 'oldSelf')).toHaveLength(1)
  })
})

describe('the user is told', () => {
  test.each<[string, JsonObject, readonly string[]]>([
    ['the message', rule('self.x > 5'), ['a: Invalid value: broken']],
    ['the rule, where there is no message', { rule: 'self.x > 5' }, ['a: Invalid value: failed rule: self.x > 5']],
    [
      'what the message expression says',
      rule('self.x > 5', { messageExpression: "'x is ' + string(self.x)" }),
      ['a: Invalid value: x is 1'],
    ],
    [
      'the message, where its expression fails',
      rule('self.x > 5', { messageExpression: "'y is ' + string(self.y)" }),
      ['a: Invalid value: broken'],
    ],
    ['the field', rule('self.x > 5', { fieldPath: '.x' }), ['a.x: Invalid value: broken']],
    ['that it is forbidden', rule('self.x > 5', { reason: 'FieldValueForbidden' }), ['a: Forbidden: broken']],
    [
      'that it is required',
      rule('has(self.y)', { reason: 'FieldValueRequired', fieldPath: '.y' }),
      ['a.y: Required value: broken'],
    ],
    ['that it is a duplicate', rule('has(self.y)', { reason: 'FieldValueDuplicate' }), ['a: Duplicate value']],
    [
      'why a rule could not be evaluated',
      rule('self.y > 5'),
      ['a: Invalid value: "object": no such key: y evaluating rule: broken'],
    ],
  ])('%s', (_, rules, expected) => {
    expect(ask(point, rules, { x: 1 })).toEqual(expected)
  })

  test('nothing, while the object has faults that the rules may stumble over', () => {
    expect(ask(point, 'self.x > 5', { x: 'one' })).toEqual([
      'a.x: Invalid value: "string": a.x in body must be of type integer: "string"',
      '<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
    ])
  })

  test('nothing about what an update leaves unchanged', () => {
    const schema = compileStructuralSchema({
      type: 'object',
      properties: { a: { ...text, 'x-kubernetes-validations': [rule('isIP(self)')] }, b: text },
    })
    expect(schema.validate({ a: 'no', b: 'new' }, { a: 'no', b: 'old' })).toEqual([])
    expect(schema.validate({ a: 'nope', b: 'old' }, { a: 'no', b: 'old' })).toHaveLength(1)
  })
})

describe('a rule is refused when the CRD is created', () => {
  test.each<[string, JsonObject, string]>([
    ['that does not parse', rule('self.x >'), 'compilation failed'],
    ['that names a field which does not exist', rule('self.z > 1'), 'compilation failed'],
    ['that asks has() for a field which does not exist', rule('has(self.z)'), 'compilation failed'],
    ['that compares what cannot be compared', rule("self.x == 'one'"), 'compilation failed'],
    ['that calls a function which does not exist', rule('nope(self.x)'), 'compilation failed'],
    ['that is no question', rule('self.x + 1'), 'must evaluate to a bool'],
    ['whose message is no text', rule('self.x > 1', { messageExpression: 'self.x' }), 'must evaluate to a string'],
    ['whose field does not exist', rule('self.x > 1', { fieldPath: '.z' }), 'does not refer to a valid field'],
    [
      'that wants an optional oldSelf and does not use it',
      rule('self.x > 1', { optionalOldSelf: true }),
      'may not be set if oldSelf is not used',
    ],
    ['with an empty message', { rule: 'self.x > 1', message: ' ' }, 'must be non-empty'],
    ['that is empty', { rule: ' ' }, 'rule is not specified'],
  ])('%s', (_, broken, problem) => {
    expect(() => withRule(point, broken)).toThrow(problem)
  })
})

describe('a rule is refused as too costly when the schema bounds too little', () => {
  const list = (more: JsonObject, items: JsonObject = { type: 'string', maxLength: 50 }): JsonObject => ({
    type: 'array',
    items,
    ...more,
  })
  test.each<[string, JsonObject, string]>([
    ['a long pattern on a text of any length', { type: 'string' }, `self.matches('^${'[a-z]+-'.repeat(30)}$')`],
    ['every pair of a list of any length', list({}), 'self.all(a, self.exists(b, a == b))'],
    ['every pair of a long list', list({ maxItems: 3000 }), 'self.all(a, self.exists(b, a == b))'],
    [
      'the parts of a text, whose length nobody knows',
      { type: 'string', maxLength: 50 },
      "self.split(',').all(part, part.startsWith('a') && part.matches('^a'))",
    ],
    [
      'two addresses compared as values',
      { type: 'string', maxLength: 50 },
      'cidr(self).ip() == cidr(self).masked().ip()',
    ],
  ])('%s', (_, schema, expression) => {
    expect(() => withRule(schema, rule(expression))).toThrow(
      /Forbidden: estimated rule cost exceeds budget|compilation failed/,
    )
  })

  test.each<[string, JsonObject, string]>([
    ['a pattern on a bounded text', { type: 'string', maxLength: 1000 }, "self.matches('^[a-z]+(-[a-z]+)*[0-9]+$')"],
    ['every pair of a short list', list({ maxItems: 100 }), 'self.all(a, self.exists(b, a == b))'],
    ['the parts of a text as numbers', { type: 'string', maxLength: 50 }, "self.split(',').all(part, int(part) < 5)"],
  ])('but not %s', (_, schema, expression) => {
    expect(() => withRule(schema, rule(expression))).not.toThrow()
  })

  test('by how often its place can occur', () => {
    const item = {
      type: 'string',
      maxLength: 1000,
      'x-kubernetes-validations': [rule("self.matches('^[a-z]+(-[a-z]+)*[0-9]+$')")],
    }
    const schema = (maxItems: number) => () =>
      compileStructuralSchema({ type: 'object', properties: { a: list({ maxItems }, item) } })
    expect(schema(1000)).not.toThrow()
    expect(schema(100_000)).toThrow('exceeds budget by factor of')
  })
})
