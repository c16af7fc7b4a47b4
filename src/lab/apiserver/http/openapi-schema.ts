// Type nodes as OpenAPI schemas, one component a named type, so that kubectl can explain kinds and compute patches for them.

import type { JsonObject } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import type { ListNode, ScalarNode, StructNode, TypeNode } from '../schema/type-node.ts'

/** Where components of a document live: `#/components/schemas/` or `#/definitions/`. */
export type RefPrefix = '#/components/schemas/' | '#/definitions/'

/** Collects the components that a document needs, each once. */
export class SchemaCollector {
  readonly components: Record<string, JsonObject> = {}
  readonly #prefix: RefPrefix

  constructor(prefix: RefPrefix) {
    this.#prefix = prefix
  }

  /** Adds a kind and everything it reaches; returns the reference to it. */
  addKind(type: ResourceType): JsonObject {
    const name = componentName(type)
    const gvk = { 'x-kubernetes-group-version-kind': [{ group: type.group, kind: type.kind, version: type.version }] }
    if (this.components[name] === undefined) {
      this.components[name] = {}
      const schema =
        type.custom === undefined ? this.#struct(type.type) : this.#customSchema(type.custom.openApi, type.type)
      this.components[name] = { ...schema, ...gvk }
    }
    return { $ref: this.#prefix + name }
  }

  // A custom resource is shown with the schema its author wrote: descriptions, enums and defaults included.
  #customSchema(openApi: JsonObject, type: StructNode): JsonObject {
    const metadata = type.fields.get('metadata')?.type()
    const properties = {
      ...(openApi['properties'] as JsonObject | undefined),
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      ...(metadata === undefined ? {} : { metadata: this.#render(metadata) }),
    }
    return { ...openApi, type: 'object', properties }
  }

  #render(node: TypeNode): JsonObject {
    switch (node.kind) {
      case 'scalar':
        return scalar(node)
      case 'any':
        return {}
      case 'map':
        return { type: 'object', additionalProperties: this.#render(node.values()), ...mapType(node.atomic) }
      case 'list':
        return { type: 'array', items: this.#render(node.items()), ...listExtensions(node) }
      case 'struct':
        return this.#reference(node)
    }
  }

  #reference(node: StructNode): JsonObject {
    if (node.name === undefined) return this.#struct(node)
    const name = typeNames[node.name] ?? `io.k8s.api.${node.name.replace(/^.*?V1/, 'v1.')}`
    if (this.components[name] === undefined) {
      this.components[name] = {}
      this.components[name] = this.#struct(node)
    }
    return { allOf: [{ $ref: this.#prefix + name }], default: {} }
  }

  #struct(node: StructNode): JsonObject {
    const properties: Record<string, JsonObject> = {}
    const required: string[] = []
    for (const [name, field] of node.fields) {
      properties[name] = this.#render(field.type())
      if (field.required) required.push(name)
    }
    return {
      type: 'object',
      ...(node.fields.size === 0 ? {} : { properties }),
      ...(required.length === 0 ? {} : { required }),
      ...mapType(node.atomic),
    }
  }
}

/** `io.k8s.api.apps.v1.Deployment`, `io.bellhop.v1alpha1.Vip`: unique over all groups. */
function componentName(type: ResourceType): string {
  if (type.custom === undefined)
    return `io.k8s.api.${type.group === '' ? 'core' : (type.group.split('.')[0] ?? '')}.${type.version}.${type.kind}`
  return [...type.group.split('.').reverse(), type.version, type.kind].join('.')
}

const typeNames: Readonly<Record<string, string>> = {
  V1ObjectMeta: 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta',
  V1LabelSelector: 'io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector',
  V1OwnerReference: 'io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference',
  V1ManagedFieldsEntry: 'io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry',
  CoreV1EventSeries: 'io.k8s.api.core.v1.EventSeries',
  EventsV1EventSeries: 'io.k8s.api.events.v1.EventSeries',
  CoreV1EndpointPort: 'io.k8s.api.core.v1.EndpointPort',
  DiscoveryV1EndpointPort: 'io.k8s.api.discovery.v1.EndpointPort',
}

function scalar(node: ScalarNode): JsonObject {
  if (node.scalar === 'intOrString')
    return { 'x-kubernetes-int-or-string': true, oneOf: [{ type: 'integer' }, { type: 'string' }] }
  if (node.format === 'quantity') return { type: 'string' }
  return { type: node.scalar, ...(node.format === undefined ? {} : { format: node.format }) }
}

const mapType = (atomic: boolean): JsonObject => (atomic ? { 'x-kubernetes-map-type': 'atomic' } : {})

const listExtensions = (node: ListNode): JsonObject => ({
  'x-kubernetes-list-type': node.listType,
  ...(node.mapKeys.length === 0 ? {} : { 'x-kubernetes-list-map-keys': node.mapKeys }),
  ...(node.patch.merge ? { 'x-kubernetes-patch-strategy': 'merge' } : {}),
  ...(node.patch.key === undefined ? {} : { 'x-kubernetes-patch-merge-key': node.patch.key }),
})

/** Path of a kind's collection, such as `/apis/apps/v1/namespaces/{namespace}/deployments`. */
export const collectionPath = (type: ResourceType): string =>
  `/${type.group === '' ? 'api' : 'apis'}/${groupVersionOf(type)}${type.namespaced ? '/namespaces/{namespace}' : ''}/${type.plural}`
