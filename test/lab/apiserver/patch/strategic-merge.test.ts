import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../../src/lab/apiserver/json.ts'
import { strategicMerge } from '../../../../src/lab/apiserver/patch/strategic-merge.ts'
import { builtinType } from '../../../../src/lab/apiserver/schema/builtin-schema.ts'

const service = builtinType('V1Service')
const pod = builtinType('V1Pod')

const ports = (...list: readonly JsonObject[]): JsonObject => ({ spec: { ports: list } })

// Source: the strategic merge patch document of Kubernetes' API conventions.
test.each<[string, JsonObject, JsonObject, JsonObject]>([
  ['a member is replaced', { spec: { type: 'A' } }, { spec: { type: 'B' } }, { spec: { type: 'B' } }],
  [
    'null removes a member',
    { spec: { type: 'A', clusterIP: 'x' } },
    { spec: { type: null } },
    { spec: { clusterIP: 'x' } },
  ],
  [
    'Service ports merge by port',
    ports({ port: 80, name: 'a', nodePort: 30080 }, { port: 81 }),
    ports({ port: 80, name: 'b' }, { port: 82 }),
    ports({ port: 80, name: 'b', nodePort: 30080 }, { port: 81 }, { port: 82 }),
  ],
  [
    '$patch: delete removes an item',
    ports({ port: 80 }, { port: 81 }),
    ports({ port: 80, $patch: 'delete' }),
    ports({ port: 81 }),
  ],
  [
    '$patch: replace replaces a list',
    ports({ port: 80 }, { port: 81 }),
    ports({ port: 90 }, { $patch: 'replace' }),
    ports({ port: 90 }),
  ],
  [
    '$patch: replace replaces an object',
    { spec: { selector: { a: '1', b: '2' } } },
    { spec: { selector: { $patch: 'replace', c: '3' } } },
    { spec: { selector: { c: '3' } } },
  ],
  [
    'a map merges by member',
    { metadata: { labels: { a: '1', b: '2' } } },
    { metadata: { labels: { b: null, c: '3' } } },
    { metadata: { labels: { a: '1', c: '3' } } },
  ],
  [
    'lists without a key are replaced',
    { spec: { externalIPs: ['a', 'b'] } },
    { spec: { externalIPs: ['c'] } },
    { spec: { externalIPs: ['c'] } },
  ],
  [
    'finalizers are a set',
    { metadata: { finalizers: ['a', 'b'] } },
    { metadata: { finalizers: ['b', 'c'] } },
    { metadata: { finalizers: ['a', 'b', 'c'] } },
  ],
  [
    '$deleteFromPrimitiveList removes from a set',
    { metadata: { finalizers: ['a', 'b'] } },
    { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] } },
    { metadata: { finalizers: ['b'] } },
  ],
  [
    '$setElementOrder orders a list',
    ports({ port: 80 }, { port: 81 }),
    { spec: { '$setElementOrder/ports': [{ port: 82 }, { port: 81 }, { port: 80 }], ports: [{ port: 82 }] } },
    ports({ port: 82 }, { port: 81 }, { port: 80 }),
  ],
  [
    '$retainKeys keeps the named members only',
    { spec: { a: 1, b: 2 } },
    { spec: { $retainKeys: ['b', 'c'], c: 3 } },
    { spec: { b: 2, c: 3 } },
  ],
  [
    'conditions merge by type',
    { status: { conditions: [{ type: 'A', status: 'True' }] } },
    { status: { conditions: [{ type: 'B', status: 'False' }] } },
    {
      status: {
        conditions: [
          { type: 'A', status: 'True' },
          { type: 'B', status: 'False' },
        ],
      },
    },
  ],
])('%s', (_what, target, patch, expected) => {
  expect(strategicMerge(target, patch, service)).toEqual(expected)
})

test.each<[string, JsonObject, JsonObject, JsonObject]>([
  [
    'containers by name',
    { containers: [{ name: 'a', image: 'x' }] },
    { containers: [{ name: 'a', image: 'y' }, { name: 'b' }] },
    { containers: [{ name: 'a', image: 'y' }, { name: 'b' }] },
  ],
  [
    'env of a container by name',
    { containers: [{ name: 'a', env: [{ name: 'X', value: '1' }] }] },
    { containers: [{ name: 'a', env: [{ name: 'Y', value: '2' }] }] },
    {
      containers: [
        {
          name: 'a',
          env: [
            { name: 'X', value: '1' },
            { name: 'Y', value: '2' },
          ],
        },
      ],
    },
  ],
  [
    'tolerations as a whole',
    { tolerations: [{ key: 'a' }] },
    { tolerations: [{ key: 'b' }] },
    { tolerations: [{ key: 'b' }] },
  ],
])('pods merge %s', (_what, target, patch, expected) => {
  expect(strategicMerge({ spec: target }, { spec: patch }, pod)).toEqual({ spec: expected })
})

describe('refusals', () => {
  test('an item of a keyed list needs its key', () => {
    expect(() => strategicMerge(ports({ port: 80 }), ports({ name: 'x' }), service)).toThrow(
      /does not contain declared merge key: port/,
    )
  })
})
