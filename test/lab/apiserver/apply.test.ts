// Server-side apply over HTTP: who owns what, what a second applier may do, and what an applier's silence takes away.
import { beforeAll, describe, expect, test } from 'vitest'
import { mergedOrder } from '../../../src/lab/apiserver/apply/merge.ts'
import type { JsonObject } from '../../../src/lab/apiserver/json.ts'
import { type Answer, apiForFile, widget, widgetCrd, widgets } from './support.ts'

const api = apiForFile()

beforeAll(async () => {
  await api.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', widgetCrd)
})

const apply = (manager: string, name: string, spec: JsonObject, query = ''): Promise<Answer> =>
  api.call('PATCH', `${widgets}/${name}?fieldManager=${manager}${query}`, {
    type: 'application/apply-patch+yaml',
    body: widget(name, spec),
  })

const managers = (object: JsonObject): readonly string[] =>
  (((object['metadata'] as JsonObject)['managedFields'] as readonly JsonObject[] | undefined) ?? []).map(
    (entry) => `${entry['manager']} ${entry['operation']}`,
  )
const fieldsOf = (object: JsonObject, manager: string): unknown =>
  ((object['metadata'] as JsonObject)['managedFields'] as readonly JsonObject[]).find(
    (entry) => entry['manager'] === manager,
  )?.['fieldsV1']

test('applying what does not exist creates it and records the applied fields alone', async () => {
  const { code, body } = await apply('x', 'new', { size: 1, ports: [{ port: 80 }] })
  expect([code, body['spec']]).toEqual([201, { size: 1, note: 'none', ports: [{ port: 80, protocol: 'TCP' }] }])
  expect(fieldsOf(body, 'x')).toEqual({
    'f:spec': { 'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { '.': {}, 'f:port': {} } }, 'f:size': {} },
  })
})

test('applying the same again changes nothing', async () => {
  const first = await apply('x', 'idempotent', { size: 1 })
  const second = await apply('x', 'idempotent', { size: 1 })
  expect([second.code, second.body]).toEqual([200, first.body])
})

test('what an applier no longer mentions goes, unless another owns it', async () => {
  await apply('x', 'shrinks', {
    size: 1,
    replicas: 2,
    options: { a: '1', b: '2' },
    ports: [{ port: 80 }, { port: 81, name: 'x' }],
  })
  await apply('y', 'shrinks', { replicas: 2, ports: [{ port: 81 }] })
  const { body } = await apply('x', 'shrinks', { size: 1, options: { a: '1' } })
  expect(body['spec']).toEqual({
    size: 1,
    note: 'none',
    replicas: 2,
    options: { a: '1' },
    ports: [{ port: 81, protocol: 'TCP' }],
  })
})

test('an applier that lets go of a whole list or map removes it', async () => {
  await apply('x', 'empties', { size: 1, options: { a: '1' }, tags: ['p', 'q'], ports: [{ port: 80 }] })
  const { body } = await apply('x', 'empties', { size: 1 })
  expect(body['spec']).toEqual({ size: 1, note: 'none' })
})

test('sets and keyed lists of two appliers are united', async () => {
  await apply('x', 'united', { tags: ['p'], ports: [{ port: 80 }] })
  const { body } = await apply('y', 'united', { tags: ['q'], ports: [{ port: 90 }] })
  expect(body['spec']).toMatchObject({ tags: ['p', 'q'], ports: [{ port: 80 }, { port: 90 }] })
})

test.each([
  ['abc', 'cab', 'cab'],
  ['abx', 'ba', 'bxa'],
  ['axb', 'ba', 'xba'],
  ['ax', 'na', 'nax'],
  ['xa', 'na', 'xna'],
  ['xy', 'ab', 'xyab'],
])(
  'a list with %s in which somebody else applies %s is %s: in his order, with the others as early as may be',
  async (live, applied, merged) => {
    const name = `order-${live}-${applied}`
    await apply('x', name, { tags: [...live] })
    const { body } = await apply('y', name, { tags: [...applied] })
    expect(body['spec']).toMatchObject({ tags: [...merged] })
  },
)

describe('a conflict', () => {
  test('names the field and the other applier, in the words that kubectl explains', async () => {
    await apply('x', 'contested', { size: 1 })
    const { body } = await apply('y', 'contested', { size: 2 })
    expect(body).toMatchObject({
      code: 409,
      reason: 'Conflict',
      message: 'Apply failed with 1 conflict: conflict with "x": .spec.size',
      details: { causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "x"', field: '.spec.size' }] },
    })
  })

  test('with several fields lists them by manager', async () => {
    await apply('x', 'contested-twice', { size: 1, ports: [{ port: 80, name: 'a' }] })
    const { body } = await apply('y', 'contested-twice', { size: 2, ports: [{ port: 80, name: 'b' }] })
    expect(body['message']).toBe(
      'Apply failed with 2 conflicts: conflicts with "x":\n- .spec.ports[port=80,protocol="TCP"].name\n- .spec.size',
    )
  })

  test('with an updater says in which version it wrote', async () => {
    await api.call('POST', `${widgets}?fieldManager=hand`, { body: widget('updated', { size: 1 }) })
    const { body } = await apply('y', 'updated', { size: 2 })
    expect(body['message']).toBe('Apply failed with 1 conflict: conflict with "hand" using example.com/v1: .spec.size')
  })

  test('is none when both say the same: then both own it', async () => {
    await apply('x', 'agreed', { size: 1 })
    const { body } = await apply('y', 'agreed', { size: 1 })
    expect([managers(body), fieldsOf(body, 'x'), fieldsOf(body, 'y')]).toEqual([
      ['x Apply', 'y Apply'],
      { 'f:spec': { 'f:size': {} } },
      { 'f:spec': { 'f:size': {} } },
    ])
  })

  test('is overcome by force, which takes the field from its owner', async () => {
    await apply('x', 'forced', { size: 1 })
    const { body } = await apply('y', 'forced', { size: 2 }, '&force=true')
    expect([body['spec'], managers(body)]).toEqual([{ size: 2, note: 'none' }, ['y Apply']])
  })
})

test('an update takes ownership of what it changes', async () => {
  await apply('x', 'taken', { size: 1, note: 'mine' })
  const { body } = await api.call('PATCH', `${widgets}/taken?fieldManager=hand`, {
    type: 'application/merge-patch+json',
    body: { spec: { size: 2 } },
  })
  expect([fieldsOf(body, 'x'), fieldsOf(body, 'hand')]).toEqual([
    { 'f:spec': { 'f:note': {} } },
    { 'f:spec': { 'f:size': {} } },
  ])
})

test('spec and status of one applier are separate entries', async () => {
  await apply('x', 'parts', { size: 1 })
  const { body } = await api.call('PATCH', `${widgets}/parts/status?fieldManager=x`, {
    type: 'application/apply-patch+yaml',
    body: { ...widget('parts', { size: 9 }), status: { phase: 'Up' } },
  })
  expect([body['spec'], body['status']]).toEqual([{ size: 1, note: 'none' }, { phase: 'Up' }])
  expect(
    ((body['metadata'] as JsonObject)['managedFields'] as readonly JsonObject[]).map((entry) => entry['subresource']),
  ).toEqual([undefined, 'status'])
})

test('an object whose owners are unknown belongs to before-first-apply', async () => {
  api.server().objects.put({ ...widget('old', { size: 1 }), metadata: { name: 'old', namespace: 'default' } })
  const { body } = await apply('x', 'old', { size: 2 })
  expect(body['message']).toBe(
    'Apply failed with 1 conflict: conflict with "before-first-apply" using example.com/v1: .spec.size',
  )
})

test.each<[string, JsonObject, string, object]>([
  [
    'an undeclared field',
    { color: 'red' },
    '&x=1',
    { code: 500, message: expect.stringContaining('.spec.color: field not declared in schema') },
  ],
  [
    'an item without its key',
    { ports: [{ name: 'x' }] },
    '',
    { code: 500, message: expect.stringContaining('omits key field') },
  ],
  [
    'two items of one key',
    { ports: [{ port: 1 }, { port: 1 }] },
    '',
    { code: 500, message: expect.stringContaining('duplicate entries') },
  ],
  ['an invalid value', { size: 0 }, '', { code: 422, reason: 'Invalid' }],
])('%s is refused', async (_what, spec, query, expected) => {
  expect((await apply('x', 'refused', spec, query)).body).toMatchObject(expected)
})

test('a field manager is required', async () => {
  const answer = await api.call('PATCH', `${widgets}/nobody`, {
    type: 'application/apply-patch+yaml',
    body: widget('nobody', { size: 1 }),
  })
  expect(answer.body).toMatchObject({ code: 422, details: { causes: [{ field: 'fieldManager' }] } })
})

test('ports of a Service are known by port and protocol, and allocations are nobody’s', async () => {
  const services = '/api/v1/namespaces/default/services/dns?fieldManager=x'
  const spec = {
    type: 'LoadBalancer',
    ports: [
      { name: 'tcp', port: 53 },
      { name: 'udp', port: 53, protocol: 'UDP' },
    ],
  }
  const { body } = await api.call('PATCH', services, {
    type: 'application/apply-patch+yaml',
    body: { apiVersion: 'v1', kind: 'Service', metadata: { name: 'dns' }, spec },
  })
  expect((body['spec'] as JsonObject)['clusterIP']).toMatch(/^10\.96\./)
  expect(fieldsOf(body, 'x')).toEqual({
    'f:spec': {
      'f:ports': {
        'k:{"port":53,"protocol":"TCP"}': { '.': {}, 'f:name': {}, 'f:port': {} },
        'k:{"port":53,"protocol":"UDP"}': { '.': {}, 'f:name': {}, 'f:port': {}, 'f:protocol': {} },
      },
      'f:type': {},
    },
  })
})

// Each line was read off kube-apiserver v1.36.2.
test.each([
  ['c', 'a,b,c', 'a,b,c'],
  ['b,c', 'a,b,c', 'a,b,c'],
  ['a,b,c', 'c,b,a', 'c,b,a'],
  ['c,b,a,x', 'a,b,c', 'a,x,b,c'],
  ['a,x,b,c', 'd,a,c,b', 'd,a,x,c,b'],
  ['d,a,x,c,b', 'y,a,z', 'd,y,a,x,c,b,z'],
  ['c,b,a', 'x', 'c,b,a,x'],
  ['', 'b,a', 'b,a'],
])('keyed items %s and, applied to them, %s become %s', (before, wanted, merged) => {
  const items = (text: string): readonly string[] => text.split(',').filter((item) => item !== '')
  expect(mergedOrder(items(before), items(wanted)).join()).toBe(merged)
})

test('a list that loses its last item is gone, also where an empty one was applied', async () => {
  await apply('a', 'emptied', { ports: [{ name: 'web', port: 80 }] })
  expect(((await apply('a', 'emptied', { ports: [] })).body['spec'] as JsonObject)['ports']).toBeUndefined()
  expect(((await apply('a', 'emptied', { ports: [] })).body['spec'] as JsonObject)['ports']).toEqual([])
})
