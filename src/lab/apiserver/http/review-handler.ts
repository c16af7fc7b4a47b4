// Objects that are created to be answered and not stored: reviews, token requests of service accounts, evictions of pods,
// and bindings of pods to nodes.

import { reviewKinds } from '../auth/reviews.ts'
import type { User } from '../auth/user.ts'
import { conflict, methodNotAllowed, noSuchPath, notFound } from '../errors.ts'
import { type JsonObject, numberAt, stringAt, withValue } from '../json.ts'
import { Objects } from '../objects.ts'
import { deleteObject } from '../resources/delete.ts'
import type { ApiContext } from './api-context.ts'
import { jsonReply, type Reply } from './reply.ts'
import type { ResourceRequest } from './request-info.ts'
import { type HttpRequest, reviewBody } from './resource-handler.ts'

const isTokenRequest = ({ group, resource, subresource }: ResourceRequest): boolean =>
  group === '' && resource === 'serviceaccounts' && subresource === 'token'

const isEviction = ({ group, resource, subresource }: ResourceRequest): boolean =>
  group === '' && resource === 'pods' && subresource === 'eviction'

const isBinding = ({ group, resource, subresource }: ResourceRequest): boolean =>
  group === '' && resource === 'pods' && subresource === 'binding'

const reviewOf = ({ group, version, resource }: ResourceRequest): (typeof reviewKinds)[number] | undefined =>
  reviewKinds.find((kind) => kind.group === group && kind.version === version && kind.plural === resource)

/** Whether a request creates something that is answered and not stored. */
export const isReview = (request: ResourceRequest): boolean =>
  isTokenRequest(request) || isEviction(request) || isBinding(request) || reviewOf(request) !== undefined

/** Throws ApiError. */
export function answerReview(context: ApiContext, user: User, request: HttpRequest): Reply {
  if (request.resource.verb !== 'create') throw methodNotAllowed()
  const body = reviewBody(request)
  if (isEviction(request.resource)) return evict(context, request, body)
  if (isBinding(request.resource)) return bind(context, request, body)
  const kind = reviewOf(request.resource)
  if (kind === undefined) return tokenRequest(context, request)
  const { tokens, authorization, cluster } = context
  const status = kind.answer(body, { store: cluster.store, tokens, authorization, user })
  return jsonReply(201, { ...body, kind: kind.kind, apiVersion: `${kind.group}/${kind.version}`, status })
}

// Disruption budgets are stored and not enforced: an eviction deletes the pod as its kubelet would see it.
function evict({ cluster }: ApiContext, request: HttpRequest, body: JsonObject): Reply {
  const { namespace, name, version } = request.resource
  const type = cluster.registry.find('', version, 'pods')
  if (type === undefined) throw noSuchPath()
  const grace = numberAt(body, 'deleteOptions', 'gracePeriodSeconds')
  deleteObject(cluster, { type, namespace }, name, grace === undefined ? {} : { gracePeriodSeconds: grace })
  return jsonReply(201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 })
}

// What a scheduler says. A pod is bound once.
function bind({ cluster }: ApiContext, request: HttpRequest, body: JsonObject): Reply {
  const { namespace, name } = request.resource
  const subject = { group: '', plural: 'pods', kind: 'Pod' }
  const objects = new Objects(cluster)
  const ref = { apiVersion: 'v1', kind: 'Pod', namespace, name }
  const pod = objects.get(ref)
  if (pod === undefined) throw notFound(subject, name)
  const before = stringAt(pod, 'spec', 'nodeName') ?? ''
  if (before !== '')
    throw conflict({ ...subject, plural: 'pods/binding' }, name, `pod ${name} is already assigned to node "${before}"`)
  objects.update(ref, (at) => withValue(at, ['spec', 'nodeName'], stringAt(body, 'target', 'name')))
  return jsonReply(201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 })
}

function tokenRequest({ cluster, tokens }: ApiContext, request: HttpRequest): Reply {
  const { namespace, name } = request.resource
  if (cluster.store.get('/serviceaccounts', namespace, name) === undefined)
    throw notFound({ group: '', plural: 'serviceaccounts', kind: 'ServiceAccount' }, name)
  const body = reviewBody(request)
  const seconds = numberAt(body, 'spec', 'expirationSeconds') ?? 3600
  const expirationTimestamp = new Date(cluster.clock.wallMs() + seconds * 1000).toISOString()
  return jsonReply(201, {
    ...body,
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    status: { token: tokens.mint(namespace, name), expirationTimestamp },
  })
}
