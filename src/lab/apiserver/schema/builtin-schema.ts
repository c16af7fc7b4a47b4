// Types of the built-in kinds: the generated field table joined with the merge rules. Nodes are made when first asked for,
// so that a server start does not pay for the 270 types that a Pod reaches.

import table from './builtin-types.json' with { type: 'json' }
import { atomicMaps, atomicTypes, type ListRule, listRules } from './merge-rules.ts'
import { anyNode, type Field, type StructNode, type TypeNode } from './type-node.ts'

const fieldsByType: Readonly<Record<string, Readonly<Record<string, string>>>> = table
const structs = new Map<string, StructNode>()

/** The type with this name in the generated table, such as `V1Service`. Throws when the table has none: regenerate it. */
export function builtinType(name: string): StructNode {
  const known = structs.get(name)
  if (known !== undefined) return known
  const rows = fieldsByType[name]
  if (rows === undefined) throw new Error(`builtin-types.json has no type ${name}`)
  const fields = new Map<string, Field>()
  for (const [key, type] of Object.entries(rows)) {
    const field = key.replace(/!$/, '')
    fields.set(field, { required: key.endsWith('!'), type: lazily(() => parseType(type, `${name}.${field}`)) })
  }
  const struct: StructNode = { kind: 'struct', name, fields, open: false, atomic: atomicTypes.has(name) }
  structs.set(name, struct)
  return struct
}

/** Maps of quantities: their values may be written as numbers too. */
const quantities = /\.(limits|requests|capacity|allocatable|overhead|allocatedResources)\{\}$/

function parseType(type: string, where: string): TypeNode {
  if (quantities.test(where)) return { kind: 'scalar', scalar: 'string', format: 'quantity' }
  const rule: ListRule = listRules[where] ?? { listType: 'atomic' }
  if (type.startsWith('[')) {
    return {
      kind: 'list',
      items: lazily(() => parseType(type.slice(1, -1), `${where}[]`)),
      listType: rule.listType,
      mapKeys: rule.mapKeys ?? [],
      keyDefaults: rule.keyDefaults ?? {},
      patch: {
        merge: rule.patchKey !== undefined || rule.patchSet === true,
        ...(rule.patchKey === undefined ? {} : { key: rule.patchKey }),
      },
    }
  }
  if (type.startsWith('{')) {
    return {
      kind: 'map',
      values: lazily(() => parseType(type.slice(1, -1), `${where}{}`)),
      atomic: atomicMaps.has(where),
    }
  }
  return scalarTypes[type] ?? builtinType(type)
}

const scalarTypes: Readonly<Record<string, TypeNode>> = {
  string: { kind: 'scalar', scalar: 'string' },
  bytes: { kind: 'scalar', scalar: 'string', format: 'byte' },
  time: { kind: 'scalar', scalar: 'string', format: 'date-time' },
  boolean: { kind: 'scalar', scalar: 'boolean' },
  int32: { kind: 'scalar', scalar: 'integer', format: 'int32' },
  int64: { kind: 'scalar', scalar: 'integer', format: 'int64' },
  double: { kind: 'scalar', scalar: 'number', format: 'double' },
  IntOrString: { kind: 'scalar', scalar: 'intOrString' },
  any: anyNode,
  object: anyNode,
}

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
