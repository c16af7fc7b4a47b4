// The one description of types that validation, patches, server-side apply and OpenAPI share. Built-in kinds get theirs from a
// generated table, custom resources from their CRD; recursion is broken by functions, so a node can refer to itself.

/** What a value may be, and how two owners' changes to it merge. */
export type TypeNode = ScalarNode | StructNode | MapNode | ListNode | AnyNode

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly scalar: 'string' | 'integer' | 'number' | 'boolean' | 'intOrString'
  /** OpenAPI format: int32, int64, double, byte, date-time. */
  readonly format?: string
}

export interface StructNode {
  readonly kind: 'struct'
  /** Name in OpenAPI; absent for anonymous types of a CRD. */
  readonly name?: string
  readonly fields: ReadonlyMap<string, Field>
  /** Members that the type does not name are kept (x-kubernetes-preserve-unknown-fields). */
  readonly open: boolean
  /** One owner for the whole value (x-kubernetes-map-type: atomic). */
  readonly atomic: boolean
}

export interface Field {
  readonly type: () => TypeNode
  readonly required: boolean
}

export interface MapNode {
  readonly kind: 'map'
  readonly values: () => TypeNode
  readonly atomic: boolean
}

export interface ListNode {
  readonly kind: 'list'
  readonly items: () => TypeNode
  readonly listType: 'atomic' | 'set' | 'map'
  readonly mapKeys: readonly string[]
  /** Values that a missing key member stands for, such as protocol TCP. */
  readonly keyDefaults: Readonly<Record<string, string>>
  /** Strategic merge patch: the member that identifies an item; `merge` without a key is a set of scalars. */
  readonly patch: { readonly merge: boolean; readonly key?: string }
}

/** Anything: members merge one by one, lists as a whole. */
export interface AnyNode {
  readonly kind: 'any'
}

export const anyNode: AnyNode = { kind: 'any' }

/** The type of a member of an object of this type; undefined when the type has no such member. */
export function memberType(node: TypeNode, name: string): TypeNode | undefined {
  switch (node.kind) {
    case 'struct': {
      const field = node.fields.get(name)
      if (field !== undefined) return field.type()
      return node.open ? anyNode : undefined
    }
    case 'map':
      return node.values()
    case 'any':
      return anyNode
    default:
      return undefined
  }
}

/** The type of a list's items; `any` where the node is no list. */
export const itemType = (node: TypeNode): TypeNode => (node.kind === 'list' ? node.items() : anyNode)

/** Whether the value has one owner: scalars, atomic maps and lists. */
export function isAtomic(node: TypeNode): boolean {
  return (
    node.kind === 'scalar' || ('atomic' in node && node.atomic) || (node.kind === 'list' && node.listType === 'atomic')
  )
}
