// The OpenAPI documents that kubectl reads: v3 by group version (explain, apply, support for field validation) and v2 as a
// whole. Paths name the operations and parameters that this server has; they are made when first asked for.

import { notAcceptable } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import type { Registry } from '../registry/registry.ts'
import type { ResourceType } from '../registry/resource-type.ts'
import { patchTypes } from '../resources/patch.ts'
import { parseAccept } from './content.ts'
import { collectionPath, SchemaCollector } from './openapi-schema.ts'
import { jsonReply, type Reply, textReply } from './reply.ts'

/** Distinguishes this process's documents from those of another one that had the same port. */
const instance = Date.now().toString(36)

/** GET /openapi/v3 */
export function openApiV3Index(registry: Registry): Reply {
  const paths = registry.groups().flatMap(({ name, versions }) =>
    versions.map((version) => {
      const path = documentPath(name, version)
      return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${instance}-${registry.generation}` }]
    }),
  )
  return jsonReply(200, { paths: Object.fromEntries(paths) })
}

const documentPath = (group: string, version: string): string =>
  group === '' ? `api/${version}` : `apis/${group}/${version}`

const documents = new WeakMap<Registry, { generation: number; texts: Map<string, string> }>()

// Documents stay until a CRD comes, changes or goes.
function remembered(registry: Registry, key: string, make: () => JsonObject): string {
  let known = documents.get(registry)
  if (known === undefined || known.generation !== registry.generation) {
    known = { generation: registry.generation, texts: new Map() }
    documents.set(registry, known)
  }
  const text = known.texts.get(key) ?? JSON.stringify(make())
  known.texts.set(key, text)
  return text
}

/** GET /openapi/v3/<path>; undefined for a group version that is not served. */
export function openApiV3Document(registry: Registry, path: string): Reply | undefined {
  const [, group = '', version = ''] = /^(?:api|apis\/([^/]+))\/([^/]+)$/.exec(path) ?? []
  const types = registry.in(group, version)
  if (types.length === 0) return undefined
  return textReply(
    200,
    remembered(registry, path, () => {
      const schemas = new SchemaCollector('#/components/schemas/')
      const paths = pathItems(types, schemas, v3Operation)
      return { openapi: '3.0.0', info, paths, components: { schemas: schemas.components } }
    }),
  )
}

const info = { title: 'Kubernetes', version: 'v1.32.0+lab' }

// Asked for with an @ in it, which is no media type; answered without, as the real server does.
const protobufType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf'

/**
 * GET /openapi/v2. As protocol buffers it is a document without definitions: kubectl asks for that form when it meets a kind it
 * does not find in v3, validates what it finds there, and goes on to say that the kind is not installed. Throws NotAcceptable.
 */
export function openApiV2(registry: Registry, accept: string | undefined): Reply {
  const ranges = parseAccept(accept)
  const takesJson = ranges.some(({ type }) => type === 'application/json' || type === '*/*')
  if (!takesJson && ranges.some(({ type }) => type.startsWith('application/com.github.proto-openapi.spec.v2')))
    return { code: 200, body: emptyProtobufDocument(), contentType: protobufType, headers: {} }
  if (!takesJson) throw notAcceptable(['application/json', protobufType])
  return textReply(
    200,
    remembered(registry, 'v2', () => {
      const schemas = new SchemaCollector('#/definitions/')
      const paths = pathItems(registry.all(), schemas, v2Operation)
      return { swagger: '2.0', info, paths, definitions: schemas.components }
    }),
  )
}

// Document { 1: swagger, 2: Info { 1: title, 2: version } }, all of it short text: one byte says a field, one its length.
function emptyProtobufDocument(): string {
  const field = (number: number, bytes: string): string => String.fromCharCode((number << 3) | 2, bytes.length) + bytes
  return field(1, '2.0') + field(2, field(1, info.title) + field(2, info.version))
}

interface OperationFacts {
  readonly action: 'get' | 'list' | 'post' | 'put' | 'patch' | 'delete' | 'deletecollection'
  readonly type: ResourceType
  readonly kind: JsonObject
  readonly patches: readonly string[]
}

type RenderOperation = (facts: OperationFacts) => JsonObject

function pathItems(types: readonly ResourceType[], schemas: SchemaCollector, render: RenderOperation): JsonObject {
  const paths: Record<string, JsonObject> = {}
  for (const type of types) {
    const kind = schemas.addKind(type)
    const patches = Object.values(patchTypes).filter(
      (patch) => type.custom === undefined || patch !== patchTypes.strategic,
    )
    const operation = (action: OperationFacts['action']): JsonObject => render({ action, type, kind, patches })
    const item = {
      get: operation('get'),
      put: operation('put'),
      patch: operation('patch'),
      delete: operation('delete'),
    }
    const collection = collectionPath(type)
    paths[collection] = { get: operation('list'), post: operation('post'), delete: operation('deletecollection') }
    paths[`${collection}/{name}`] = item
    if (type.status) {
      const { delete: _delete, ...statusItem } = item
      paths[`${collection}/{name}/status`] = statusItem
    }
  }
  return paths
}

const writeParameters = ['dryRun', 'fieldManager', 'fieldValidation']
const parameterNames: Readonly<Record<OperationFacts['action'], readonly string[]>> = {
  get: [],
  list: ['labelSelector', 'fieldSelector', 'limit', 'continue', 'resourceVersion', 'resourceVersionMatch', 'watch'],
  post: writeParameters,
  put: writeParameters,
  patch: [...writeParameters, 'force'],
  delete: ['dryRun', 'gracePeriodSeconds', 'propagationPolicy'],
  deletecollection: ['dryRun', 'labelSelector', 'fieldSelector', 'propagationPolicy'],
}

const common = ({ action, type }: OperationFacts): JsonObject => ({
  operationId: `${action}_${type.group.replaceAll('.', '_')}_${type.version}_${type.plural}`,
  'x-kubernetes-action': action,
  'x-kubernetes-group-version-kind': { group: type.group, kind: type.kind, version: type.version },
})

function v3Operation(facts: OperationFacts): JsonObject {
  const { action, kind, patches } = facts
  const content = (types: readonly string[], schema: JsonObject): JsonObject =>
    Object.fromEntries(types.map((type) => [type, { schema }]))
  const body =
    action === 'patch'
      ? { requestBody: { content: content(patches, { type: 'object' }), required: true } }
      : action === 'post' || action === 'put'
        ? { requestBody: { content: content(['application/json', 'application/yaml'], kind), required: true } }
        : {}
  return {
    ...common(facts),
    parameters: parameterNames[action].map((name) => ({
      name,
      in: 'query',
      schema: { type: 'string', uniqueItems: true },
    })),
    ...body,
    responses: { '200': { description: 'OK', content: content(['application/json'], kind) } },
  }
}

function v2Operation(facts: OperationFacts): JsonObject {
  const { action, kind, patches } = facts
  const hasBody = action === 'post' || action === 'put' || action === 'patch'
  return {
    ...common(facts),
    consumes: action === 'patch' ? patches : ['application/json', 'application/yaml'],
    produces: ['application/json'],
    parameters: [
      ...parameterNames[action].map((name) => ({ name, in: 'query', type: 'string', uniqueItems: true })),
      ...(hasBody
        ? [{ name: 'body', in: 'body', required: true, schema: action === 'patch' ? { type: 'object' } : kind }]
        : []),
    ],
    responses: { '200': { description: 'OK', schema: kind } },
  }
}
