import { expect, test } from 'vitest'
import { builtinKinds } from '../../../../src/lab/apiserver/registry/builtin-kinds.ts'
import { builtinType } from '../../../../src/lab/apiserver/schema/builtin-schema.ts'
import table from '../../../../src/lab/apiserver/schema/builtin-types.json' with { type: 'json' }
import { readBuiltinTypes } from '../../../../src/lab/apiserver/schema/generate-builtin-types.ts'
import { atomicMaps, atomicTypes, listRules } from '../../../../src/lab/apiserver/schema/merge-rules.ts'

test('the field table is what the installed Kubernetes client says', () => {
  expect(table).toEqual(readBuiltinTypes())
})

// A rule for a field that does not exist is a typing error that nothing else would find.
test.each([...Object.keys(listRules), ...atomicMaps])('%s is a field of a known type', (path) => {
  const [type = '', field = ''] = path.split('.')
  expect(builtinType(type).fields.has(field)).toBe(true)
})

test.each(Object.entries(listRules).filter(([, rule]) => rule.mapKeys !== undefined))(
  'the keys of %s are fields of its items',
  (path, rule) => {
    const [type = '', field = ''] = path.split('.')
    const list = builtinType(type).fields.get(field)?.type()
    const item = list?.kind === 'list' ? list.items() : undefined
    for (const key of rule.mapKeys ?? []) expect(item?.kind === 'struct' && item.fields.has(key)).toBe(true)
  },
)

test.each([...atomicTypes])('%s is reached by some kind', (type) => {
  expect(Object.keys(table)).toContain(type)
})

test('every kind has metadata, and a status exactly when it has the subresource', () => {
  for (const kind of builtinKinds) {
    expect([kind.kind, kind.type.fields.has('metadata')]).toEqual([kind.kind, true])
    expect([kind.kind, kind.type.fields.has('status')]).toEqual([kind.kind, kind.status])
  }
})
