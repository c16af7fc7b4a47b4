// Create and update of any kind: the order of checks, what belongs to the server, and when a version is new at all. Patches and
// server-side apply compute an object and end here too, so every write obeys the same rules.

import { randomBytes, randomUUID } from 'node:crypto'
import { admit } from '../admission/admit.ts'
import { refuseNewFinalizers, validateMetadata } from '../admission/metadata.ts'
import { trackUpdate } from '../apply/track-update.ts'
import { type Cluster, nowText } from '../cluster.ts'
import * as errors from '../errors.ts'
import { arrayAt, type Json, type JsonObject, jsonEqual, objectAt, stringAt, stringsAt, withValue } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import { keyOf, Stored } from '../storage/stored.ts'
import { applyDefaults, cannotBeHandled, decodeFields, type FieldValidation, strictDecodingError } from './decode.ts'

export interface WriteOptions {
  readonly dryRun: boolean
  readonly fieldManager: string
  readonly fieldValidation: FieldValidation
  /** Which part of the object this request may change. */
  readonly subresource?: 'status' | 'scale'
  /** Record who set which field. Off for bulk loading. */
  readonly trackFields: boolean
  readonly warn: (text: string) => void
  /** Server-side apply brings its own record of owners. */
  readonly managedFields?: readonly JsonObject[]
  /** How unknown fields under Strict are refused; the default is the wording for whole objects. */
  readonly refuseUnknown?: (because: string) => Error
}

/** Options of writes that come from inside the process, such as controllers. */
export const internalWrite: WriteOptions = {
  dryRun: false,
  fieldManager: 'lab',
  fieldValidation: 'Ignore',
  trackFields: false,
  warn: () => undefined,
}

export interface Target {
  readonly type: ResourceType
  /** Empty for cluster-scoped kinds. */
  readonly namespace: string
}

/** Creates an object. Throws ApiError: Invalid, AlreadyExists, NotFound (namespace), BadRequest, Forbidden. */
export function createObject(cluster: Cluster, target: Target, body: JsonObject, options: WriteOptions): Stored {
  const { type, namespace } = target
  const decoded = decodeBody(target, body, options)
  if (stringAt(decoded, 'metadata', 'resourceVersion') !== undefined)
    throw errors.badRequest('resourceVersion should not be set on objects to be created')
  const name = nameFor(decoded)
  requireLiveNamespace(cluster, type, namespace, name)
  const blank = type.status ? withValue(decoded, ['status'], undefined) : decoded
  const {
    deletionTimestamp: _deletion,
    deletionGracePeriodSeconds: _grace,
    selfLink: _selfLink,
    managedFields: _managed,
    ...metadata
  } = objectAt(blank, 'metadata')
  const object = toStorage(type, {
    ...blank,
    apiVersion: groupVersionOf(type),
    kind: type.kind,
    metadata: {
      ...metadata,
      name,
      ...(type.namespaced ? { namespace } : {}),
      uid: randomUUID(),
      creationTimestamp: nowText(cluster),
      ...(type.generation ? { generation: 1 } : {}),
    },
  })
  validateMetadata(type, object)
  const defaulted = applyDefaults(type, object)
  const admitted = admit({ type, object: defaulted }, cluster)
  if (cluster.store.get(type.bucket, namespace, name) !== undefined) throw errors.alreadyExists(type, name)
  const tracked = withManagedFields(
    admitted,
    managedFieldsAfter(cluster, type, { object: defaulted, claimed: [] }, options),
  )
  return options.dryRun
    ? new Stored(keyOf(namespace, name), 0, tracked)
    : cluster.store.put(type.bucket, namespace, name, tracked)
}

/** Replaces an object by a complete new one. Throws ApiError as createObject does, and Conflict. */
export function updateObject(
  cluster: Cluster,
  target: Target,
  name: string,
  body: JsonObject,
  options: WriteOptions,
): Stored {
  const { type, namespace } = target
  const existing = cluster.store.get(type.bucket, namespace, name)
  if (existing === undefined) {
    if (!type.createOnUpdate || options.subresource !== undefined) throw errors.notFound(type, name)
    return createObject(cluster, target, withValue(body, ['metadata', 'resourceVersion'], undefined), options)
  }
  const asked = stringAt(body, 'metadata', 'resourceVersion') ?? ''
  if (asked === '' && type.custom !== undefined)
    throw errors.invalid(type, name, [
      {
        reason: 'FieldValueInvalid',
        path: 'metadata.resourceVersion',
        message: 'Invalid value: 0x0: must be specified for an update',
      },
    ])
  return replaceObject(cluster, target, existing, body, options)
}

/**
 * The common end of update, patch and apply: `body` is the complete new object in the form of the API. Its resourceVersion and
 * uid, where present, are preconditions.
 */
export function replaceObject(
  cluster: Cluster,
  target: Target,
  existing: Stored,
  body: JsonObject,
  options: WriteOptions,
): Stored {
  const { type, namespace } = target
  const old = existing.object
  const decoded = decodeBody(target, body, options)
  const name = existing.name
  if ((stringAt(decoded, 'metadata', 'name') ?? name) !== name)
    throw errors.badRequest(
      `the name of the object (${stringAt(decoded, 'metadata', 'name')}) does not match the name on the URL (${name})`,
    )
  checkPreconditions(type, existing, decoded)
  const scoped = limitToSubresource(type, toStorage(type, decoded), old, options.subresource)
  const object = applyDefaults(type, { ...scoped, metadata: ownedByServer(type, scoped, old, options.subresource) })
  validateMetadata(type, object)
  refuseNewFinalizers(type, object, old)
  const statusOnly = options.subresource === 'status' && type.custom === undefined
  const admitted = statusOnly ? object : admit({ type, object, old }, cluster)
  const counted = countGeneration(type, admitted, old)
  const claimed = arrayAt(decoded, 'metadata', 'managedFields')
  const tracked = withManagedFields(counted, managedFieldsAfter(cluster, type, { old, object, claimed }, options))
  if (isSameVersion(tracked, old)) return existing
  if (options.dryRun) {
    const dry = withValue(tracked, ['metadata', 'resourceVersion'], String(existing.revision))
    return new Stored(existing.key, existing.revision, dry)
  }
  const stored = cluster.store.put(type.bucket, namespace, name, tracked)
  return isFinallyDeleted(stored.object) ? (cluster.store.delete(type.bucket, namespace, name) ?? stored) : stored
}

// Ownership is judged by what the client sent, with defaults: addresses and ports that the server allocates are nobody's.
function managedFieldsAfter(
  cluster: Cluster,
  type: ResourceType,
  states: { readonly old?: JsonObject; readonly object: JsonObject; readonly claimed: readonly Json[] },
  options: WriteOptions,
): readonly Json[] {
  const { old, object, claimed } = states
  if (options.managedFields !== undefined) return options.managedFields
  if (!options.trackFields) return arrayAt(old, 'metadata', 'managedFields')
  return trackUpdate(type, old, object, {
    manager: options.fieldManager,
    claimed,
    time: nowText(cluster),
    ...(options.subresource === undefined ? {} : { subresource: options.subresource }),
  })
}

const withManagedFields = (object: JsonObject, entries: readonly Json[]): JsonObject =>
  withValue(object, ['metadata', 'managedFields'], entries.length === 0 ? undefined : entries)

/** Whether an object that is being deleted has nothing left that holds it. */
export const isFinallyDeleted = (object: JsonObject): boolean =>
  stringAt(object, 'metadata', 'deletionTimestamp') !== undefined &&
  stringsAt(object, 'metadata', 'finalizers').length === 0 &&
  stringsAt(object, 'spec', 'finalizers').length === 0 &&
  (objectAt(object, 'metadata')['deletionGracePeriodSeconds'] ?? 0) === 0

function decodeBody({ type, namespace }: Target, body: JsonObject, options: WriteOptions): JsonObject {
  const apiVersion = groupVersionOf(type)
  if (stringAt(body, 'apiVersion') !== apiVersion || stringAt(body, 'kind') !== type.kind)
    throw errors.badRequest(
      `${stringAt(body, 'kind') ?? 'object'} in version "${stringAt(body, 'apiVersion') ?? ''}" cannot be handled as a ${type.kind}: no kind "${stringAt(body, 'kind') ?? ''}" is registered for version "${apiVersion}"`,
    )
  const { object, unknown } = decodeFields(type, body)
  if (unknown.length > 0 && options.fieldValidation === 'Strict') {
    const because = strictDecodingError(unknown)
    throw options.refuseUnknown?.(because) ?? errors.badRequest(cannotBeHandled(type, because))
  }
  if (options.fieldValidation === 'Warn') for (const text of unknown) options.warn(text)
  const given = stringAt(object, 'metadata', 'namespace') ?? ''
  if (type.namespaced && given !== '' && given !== namespace)
    throw errors.badRequest('the namespace of the provided object does not match the namespace sent on the request')
  return object
}

const toStorage = (type: ResourceType, object: JsonObject): JsonObject => {
  if (type.conversion !== undefined) return { ...type.conversion.toStorage(object), apiVersion: 'v1', kind: type.kind }
  return type.custom === undefined ? object : { ...object, apiVersion: `${type.group}/${type.custom.storageVersion}` }
}

function nameFor(object: JsonObject): string {
  const name = stringAt(object, 'metadata', 'name') ?? ''
  const prefix = stringAt(object, 'metadata', 'generateName') ?? ''
  return name !== '' || prefix === '' ? name : `${prefix.slice(0, 58)}${randomSuffix()}`
}

// Kubernetes' alphabet for generated names: no vowels, so no words.
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789'

/** Five characters that make a generated name unique enough. */
function randomSuffix(): string {
  return [...randomBytes(5)].map((byte) => suffixAlphabet[byte % suffixAlphabet.length]).join('')
}

function requireLiveNamespace(cluster: Cluster, type: ResourceType, namespace: string, name: string): void {
  if (!type.namespaced) return
  const owner = cluster.store.get('/namespaces', '', namespace)
  if (owner === undefined) throw errors.notFound({ group: '', plural: 'namespaces', kind: 'Namespace' }, namespace)
  if (stringAt(owner.object, 'metadata', 'deletionTimestamp') !== undefined)
    throw errors.forbidden(
      type,
      name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
    )
}

function checkPreconditions(type: ResourceType, existing: Stored, body: JsonObject): void {
  const version = stringAt(body, 'metadata', 'resourceVersion') ?? ''
  const uid = stringAt(body, 'metadata', 'uid') ?? existing.uid
  if (uid !== existing.uid)
    throw errors.conflict(
      type,
      existing.name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${existing.uid}`,
    )
  if (version !== '' && version !== '0' && version !== String(existing.revision))
    throw errors.conflict(
      type,
      existing.name,
      'the object has been modified; please apply your changes to the latest version and try again',
    )
}

// On /status only status (and what a controller may say about itself in metadata) changes; elsewhere everything else.
function limitToSubresource(
  type: ResourceType,
  object: JsonObject,
  old: JsonObject,
  subresource: WriteOptions['subresource'],
): JsonObject {
  if (subresource === 'status')
    return { ...withValue(old, ['status'], object['status']), metadata: objectAt(object, 'metadata') }
  return type.status ? withValue(object, ['status'], old['status']) : object
}

function ownedByServer(
  type: ResourceType,
  object: JsonObject,
  old: JsonObject,
  subresource: WriteOptions['subresource'],
): JsonObject {
  const before = objectAt(old, 'metadata')
  const kept: Record<string, JsonObject[string]> = {}
  for (const field of [
    'name',
    'namespace',
    'uid',
    'creationTimestamp',
    'generation',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
  ])
    if (before[field] !== undefined) kept[field] = before[field]
  // A status write to a custom resource changes labels and finalizers no more than it changes the spec; built-in kinds allow it.
  const base = subresource === 'status' && type.custom !== undefined ? before : objectAt(object, 'metadata')
  const {
    resourceVersion: _version,
    deletionTimestamp: _deletion,
    deletionGracePeriodSeconds: _grace,
    generation: _generation,
    managedFields: _managed,
    ...rest
  } = base
  return { ...rest, ...kept }
}

function countGeneration(type: ResourceType, object: JsonObject, old: JsonObject): JsonObject {
  if (!type.generation) return object
  const content = ({
    metadata: _metadata,
    status: _status,
    apiVersion: _apiVersion,
    ...rest
  }: JsonObject): JsonObject => rest
  if (jsonEqual(content(object), content(old))) return object
  const before = objectAt(old, 'metadata')['generation']
  return withValue(object, ['metadata', 'generation'], (typeof before === 'number' ? before : 0) + 1)
}

const isSameVersion = (object: JsonObject, old: JsonObject): boolean =>
  jsonEqual(
    withValue(object, ['metadata', 'resourceVersion'], undefined),
    withValue(old, ['metadata', 'resourceVersion'], undefined),
  )
