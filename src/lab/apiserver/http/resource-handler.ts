// Requests for resources: from query parameters and body to one of the operations on objects, and from its result to the form
// that the client asked for. No rule about objects lives here.

import type { ServerResponse } from 'node:http'
import type { Cluster } from '../cluster.ts'
import * as errors from '../errors.ts'
import { isObject, type JsonObject, numberAt, objectAt, stringAt } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import type { FieldValidation } from '../resources/decode.ts'
import { type DeleteOptions, deleteObject } from '../resources/delete.ts'
import { listObjects } from '../resources/list.ts'
import { parseDocument, patchObject, patchTypes } from '../resources/patch.ts'
import { itemText, presented, textOf } from '../resources/present.ts'
import { patchScale, readScale, updateScale } from '../resources/scale.ts'
import { fieldSelector, labelSelector, type Predicate } from '../resources/selectors.ts'
import { createObject, type Target, updateObject, type WriteOptions } from '../resources/write.ts'
import type { Stored } from '../storage/stored.ts'
import { type IncludeObject, partialMetadata, renderTable } from '../table/table.ts'
import { bodyType, type Form, negotiateForm } from './content.ts'
import { jsonReply, type Reply, textReply } from './reply.ts'
import type { RequestInfo, ResourceRequest } from './request-info.ts'
import { serveWatch } from './watch.ts'

export interface HttpRequest {
  readonly info: RequestInfo
  readonly resource: ResourceRequest
  readonly accept: string | undefined
  readonly contentType: string | undefined
  readonly body: string
}

export interface WatchSettings {
  readonly bookmarkIntervalMs: number
  readonly bookmarksPaused: () => boolean
}

const objectTypes = ['application/json', 'application/yaml']

/** Answers everything but watches. Throws ApiError. */
export function handleResource(cluster: Cluster, type: ResourceType, request: HttpRequest): Reply {
  const { resource } = request
  requireServed(type, resource)
  const target: Target = { type, namespace: resource.namespace }
  if (resource.subresource === 'scale') return handleScale(cluster, target, request)
  switch (resource.verb) {
    case 'get':
      return getOne(cluster, type, request)
    case 'list':
      return list(cluster, type, request)
    case 'create':
      return create(cluster, target, request)
    case 'update':
      return update(cluster, target, request)
    case 'patch':
      return patch(cluster, target, request)
    case 'delete':
      return remove(cluster, target, request)
    case 'deletecollection':
      return removeAll(cluster, target, request)
    default:
      throw errors.methodNotAllowed()
  }
}

function requireServed(type: ResourceType, { subresource, namespace, name, verb }: ResourceRequest): void {
  const known =
    subresource === '' ||
    (subresource === 'status' && type.status) ||
    (subresource === 'scale' && type.scale !== undefined)
  if (!known && !(type.bucket === '/namespaces' && subresource === 'finalize')) throw errors.noSuchPath()
  if (!type.namespaced && namespace !== '') throw errors.noSuchPath()
  if (type.namespaced && namespace === '' && (name !== '' || verb === 'create')) throw errors.noSuchPath()
  if (subresource !== '' && !['get', 'update', 'patch'].includes(verb)) throw errors.methodNotAllowed()
}

function requireStored(cluster: Cluster, type: ResourceType, { namespace, name }: ResourceRequest): Stored {
  const stored = cluster.store.get(type.bucket, namespace, name)
  if (stored === undefined) throw errors.notFound(type, name)
  return stored
}

function getOne(cluster: Cluster, type: ResourceType, request: HttpRequest): Reply {
  return objectReply(cluster, type, request, 200, requireStored(cluster, type, request.resource), [])
}

// Reading -----------------------------------------------------------------------------------------------------------------

function selection(type: ResourceType, request: HttpRequest): Predicate | undefined {
  const { query } = request.info
  const byLabel = labelSelector(query.get('labelSelector') ?? '')
  const byField = fieldSelector(query.get('fieldSelector') ?? '', type)
  const { name, verb } = request.resource
  // A watch of /pods/x is a watch of the one named x.
  const byName: Predicate | undefined =
    name !== '' && verb === 'watch' ? (object) => stringAt(object, 'metadata', 'name') === name : undefined
  const all = [byLabel, byField, byName].filter((predicate) => predicate !== undefined)
  return all.length === 0 ? undefined : (object) => all.every((predicate) => predicate(object))
}

const scopeOf = (type: ResourceType, { namespace }: ResourceRequest): { namespace?: string } =>
  type.namespaced && namespace !== '' ? { namespace } : {}

function list(cluster: Cluster, type: ResourceType, request: HttpRequest): Reply {
  const { query } = request.info
  const predicate = selection(type, request)
  const listing = listObjects(cluster, type, {
    ...scopeOf(type, request.resource),
    ...(predicate === undefined ? {} : { predicate }),
    limit: Number(query.get('limit') ?? 0) || 0,
    continueToken: query.get('continue') ?? '',
    resourceVersion: query.get('resourceVersion') ?? '',
    resourceVersionMatch: query.get('resourceVersionMatch') ?? '',
  })
  const metadata: JsonObject = {
    resourceVersion: String(listing.revision),
    ...(listing.continueToken === '' ? {} : { continue: listing.continueToken }),
    ...(listing.remaining === undefined ? {} : { remainingItemCount: listing.remaining }),
  }
  const form = negotiateForm(request.accept)
  if (form === 'Table') return jsonReply(200, table(cluster, type, request, listing.items, metadata))
  if (form === 'PartialObjectMetadata') {
    const items = listing.items.map((stored) => partialMetadata(presented(type, stored)))
    return jsonReply(200, { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items })
  }
  const head = JSON.stringify({ kind: `${type.kind}List`, apiVersion: groupVersionOf(type), metadata }).slice(0, -1)
  return textReply(200, `${head},"items":[${listing.items.map((stored) => itemText(type, stored)).join(',')}]}`)
}

function table(
  cluster: Cluster,
  type: ResourceType,
  request: HttpRequest,
  rows: readonly Stored[],
  metadata: JsonObject,
): JsonObject {
  return renderTable(type, rows, metadata, {
    includeObject: includeObject(request),
    nowMs: cluster.clock.wallMs(),
    headers: true,
  })
}

function includeObject(request: HttpRequest): IncludeObject {
  const asked = request.info.query.get('includeObject')
  return asked === 'None' || asked === 'Object' ? asked : 'Metadata'
}

/** Starts a watch on `response`. Throws ApiError before anything was sent. */
export function handleWatch(
  cluster: Cluster,
  type: ResourceType,
  request: HttpRequest,
  settings: WatchSettings,
  response: ServerResponse,
  signal: AbortSignal,
): void {
  requireServed(type, { ...request.resource, name: '' })
  const { query } = request.info
  const predicate = selection(type, request)
  const initial = query.get('sendInitialEvents')
  if (initial !== null && query.get('resourceVersionMatch') !== 'NotOlderThan')
    throw errors.invalid({ group: 'meta.k8s.io', plural: 'listoptions', kind: 'ListOptions' }, '', [
      {
        reason: 'FieldValueForbidden',
        path: 'resourceVersionMatch',
        message: 'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      },
    ])
  const timeoutSeconds = Number(query.get('timeoutSeconds') ?? 0) || defaultWatchSeconds
  serveWatch(
    cluster,
    type,
    {
      ...scopeOf(type, request.resource),
      ...(predicate === undefined ? {} : { predicate }),
      resourceVersion: query.get('resourceVersion') ?? '',
      bookmarks: isTrue(query.get('allowWatchBookmarks')),
      ...(initial === null ? {} : { sendInitialEvents: isTrue(initial) }),
      timeoutMs: timeoutSeconds * 1000,
      form: negotiateForm(request.accept),
      includeObject: includeObject(request),
      ...settings,
    },
    response,
    signal,
  )
}

/** `--min-request-timeout` of a server that sets nothing. */
const defaultWatchSeconds = 1800

const isTrue = (text: string | null): boolean => text === 'true' || text === '1'

// Writing -----------------------------------------------------------------------------------------------------------------

interface Writing {
  readonly options: WriteOptions
  readonly warnings: readonly string[]
}

function writing(request: HttpRequest): Writing {
  const { query, userAgent } = request.info
  const warnings: string[] = []
  const { subresource } = request.resource
  const options: WriteOptions = {
    dryRun: isDryRun(query),
    fieldManager: query.get('fieldManager') ?? (userAgent.split('/')[0]?.slice(0, 128) || 'unknown'),
    fieldValidation: fieldValidation(query.get('fieldValidation')),
    trackFields: true,
    warn: (text) => warnings.push(text),
    ...(subresource === 'status' || subresource === 'scale' ? { subresource } : {}),
  }
  return { options, warnings }
}

function isDryRun(query: URLSearchParams): boolean {
  const asked = query.getAll('dryRun').filter((value) => value !== '')
  if (asked.some((value) => value !== 'All'))
    throw errors.invalid({ group: 'meta.k8s.io', plural: '', kind: 'CreateOptions' }, '', [
      {
        reason: 'FieldValueNotSupported',
        path: 'dryRun',
        message: `Unsupported value: ${JSON.stringify(asked)}: supported values: "All"`,
      },
    ])
  return asked.length > 0
}

function fieldValidation(asked: string | null): FieldValidation {
  if (asked === null || asked === '') return 'Warn'
  if (asked === 'Ignore' || asked === 'Warn' || asked === 'Strict') return asked
  throw errors.badRequest(
    `fieldValidation: Unsupported value: "${asked}": supported values: "Ignore", "Strict", "Warn"`,
  )
}

function bodyObject(request: HttpRequest): JsonObject {
  bodyType(request.contentType, objectTypes)
  return parseDocument(request.body)
}

function withKind(type: ResourceType, body: JsonObject): JsonObject {
  // Clients generated from OpenAPI leave out what the path already says.
  return { apiVersion: groupVersionOf(type), kind: type.kind, ...body }
}

function create(cluster: Cluster, target: Target, request: HttpRequest): Reply {
  const { options, warnings } = writing(request)
  const stored = createObject(cluster, target, withKind(target.type, bodyObject(request)), options)
  return objectReply(cluster, target.type, request, 201, stored, warnings)
}

function update(cluster: Cluster, target: Target, request: HttpRequest): Reply {
  const { options, warnings } = writing(request)
  const { type, namespace } = target
  const { name } = request.resource
  const existed = cluster.store.get(type.bucket, namespace, name) !== undefined
  const stored = updateObject(cluster, target, name, withKind(type, bodyObject(request)), options)
  return objectReply(cluster, type, request, existed ? 200 : 201, stored, warnings)
}

function patch(cluster: Cluster, target: Target, request: HttpRequest): Reply {
  const mediaType = bodyType(request.contentType, Object.values(patchTypes))
  const { options, warnings } = writing(request)
  const { query } = request.info
  if (mediaType === patchTypes.apply && (query.get('fieldManager') ?? '') === '')
    throw errors.invalid({ group: 'meta.k8s.io', plural: '', kind: 'PatchOptions' }, '', [
      { reason: 'FieldValueRequired', path: 'fieldManager', message: 'Required value: is required for apply patch' },
    ])
  const outcome = patchObject(
    cluster,
    target,
    request.resource.name,
    { mediaType, text: request.body },
    { ...options, force: isTrue(query.get('force')) },
  )
  return objectReply(cluster, target.type, request, outcome.created ? 201 : 200, outcome.stored, warnings)
}

function handleScale(cluster: Cluster, target: Target, request: HttpRequest): Reply {
  const { options } = writing(request)
  const { name, verb } = request.resource
  switch (verb) {
    case 'get':
      return jsonReply(200, readScale(target.type, requireStored(cluster, target.type, request.resource)))
    case 'update':
      return jsonReply(200, updateScale(cluster, target, name, bodyObject(request), options))
    default:
      return jsonReply(
        200,
        patchScale(cluster, target, name, { mediaType: request.contentType ?? '', text: request.body }, options),
      )
  }
}

// Deleting ----------------------------------------------------------------------------------------------------------------

function deleteOptions(request: HttpRequest): DeleteOptions {
  const { query } = request.info
  const body = request.body.trim() === '' ? {} : parseDocument(request.body)
  const grace = query.get('gracePeriodSeconds') ?? numberAt(body, 'gracePeriodSeconds')
  const policy = query.get('propagationPolicy') ?? stringAt(body, 'propagationPolicy')
  const uid = stringAt(body, 'preconditions', 'uid')
  const resourceVersion = stringAt(body, 'preconditions', 'resourceVersion')
  const orphan = body['orphanDependents'] === true || isTrue(query.get('orphanDependents'))
  return {
    ...(grace === undefined || grace === null ? {} : { gracePeriodSeconds: Number(grace) }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    propagation: orphan || policy === 'Orphan' ? 'Orphan' : policy === 'Foreground' ? 'Foreground' : 'Background',
    dryRun: isDryRun(query) || (Array.isArray(body['dryRun']) && body['dryRun'].includes('All')),
  }
}

function remove(cluster: Cluster, target: Target, request: HttpRequest): Reply {
  const { type } = target
  const { stored, gone } = deleteObject(cluster, target, request.resource.name, deleteOptions(request))
  if (!gone) return objectReply(cluster, type, request, 200, stored, [])
  const details = {
    name: stored.name,
    ...(type.group === '' ? {} : { group: type.group }),
    kind: type.plural,
    uid: stored.uid,
  }
  return jsonReply(200, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details })
}

function removeAll(cluster: Cluster, target: Target, request: HttpRequest): Reply {
  const { type } = target
  const predicate = selection(type, request)
  const chosen = listObjects(cluster, type, {
    ...scopeOf(type, request.resource),
    ...(predicate === undefined ? {} : { predicate }),
    limit: 0,
    continueToken: '',
    resourceVersion: '',
    resourceVersionMatch: '',
  }).items
  const { uid: _uid, resourceVersion: _version, ...options } = deleteOptions(request)
  const deleted = chosen.map(
    (stored) => deleteObject(cluster, { type, namespace: stored.namespace }, stored.name, options).stored,
  )
  const items = deleted.map((stored) => itemText(type, stored)).join(',')
  const head = JSON.stringify({
    kind: `${type.kind}List`,
    apiVersion: groupVersionOf(type),
    metadata: { resourceVersion: String(cluster.store.revision) },
  })
  return textReply(200, `${head.slice(0, -1)},"items":[${items}]}`)
}

// Answering ---------------------------------------------------------------------------------------------------------------

function objectReply(
  cluster: Cluster,
  type: ResourceType,
  request: HttpRequest,
  code: number,
  stored: Stored,
  warnings: readonly string[],
): Reply {
  const headers: Reply['headers'] =
    warnings.length === 0 ? {} : { warning: warnings.map((text) => `299 - ${JSON.stringify(text)}`) }
  const form: Form = negotiateForm(request.accept)
  if (form === 'Table') {
    const metadata = { resourceVersion: String(stored.revision) }
    return jsonReply(code, table(cluster, type, request, [stored], metadata), headers)
  }
  if (form === 'PartialObjectMetadata') return jsonReply(code, partialMetadata(presented(type, stored)), headers)
  return textReply(code, textOf(type, stored), headers)
}

/** Narrowing for review bodies, which are answered and never stored. */
export function reviewBody(request: HttpRequest): JsonObject {
  const body = bodyObject(request)
  return isObject(body['spec']) ? body : { ...body, spec: objectAt(body, 'spec') }
}
