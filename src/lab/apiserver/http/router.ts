// From a request to its answer: discovery and other fixed paths, reviews, or resources.

import type { User } from '../auth/user.ts'
import { noSuchPath } from '../errors.ts'
import type { ApiContext } from './api-context.ts'
import { parseAccept } from './content.ts'
import { aggregated, coreVersions, group, groupList, resourceList } from './discovery.ts'
import { openApiV2, openApiV3Document, openApiV3Index } from './openapi.ts'
import { jsonReply, plainReply, type Reply } from './reply.ts'
import type { RequestInfo } from './request-info.ts'
import { type HttpRequest, handleResource } from './resource-handler.ts'
import { answerReview, isReview } from './review-handler.ts'

/** What the server says it is. */
const serverVersion = {
  major: '1',
  minor: '32',
  gitVersion: 'v1.32.0+lab',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '2024-12-11T00:00:00Z',
  goVersion: '',
  compiler: '',
  platform: 'linux/amd64',
}

/** Answers a request for resources. Throws ApiError. */
export function routeResource(context: ApiContext, user: User, request: HttpRequest): Reply {
  if (isReview(request.resource)) return answerReview(context, user, request)
  const type = context.cluster.registry.find(
    request.resource.group,
    request.resource.version,
    request.resource.resource,
  )
  if (type === undefined) throw noSuchPath()
  return handleResource(context.cluster, type, request)
}

/** Answers a request outside the resource API. Throws ApiError. */
export function routeFixed(context: ApiContext, info: RequestInfo, accept: string | undefined): Reply {
  const { registry } = context.cluster
  const wantsAggregated = parseAccept(accept).some(
    ({ parameters }) =>
      parameters['g'] === 'apidiscovery.k8s.io' &&
      parameters['as'] === 'APIGroupDiscoveryList' &&
      parameters['v'] === 'v2',
  )
  const discovery = (scope: 'core' | 'named', otherwise: Reply): Reply =>
    wantsAggregated ? { ...jsonReply(200, aggregated(registry, scope)), contentType: aggregatedType } : otherwise
  switch (info.path) {
    case '/api':
      return discovery('core', jsonReply(200, coreVersions(context.address())))
    case '/apis':
      return discovery('named', jsonReply(200, groupList(registry)))
    case '/version':
      return jsonReply(200, serverVersion)
    case '/healthz':
    case '/livez':
    case '/readyz':
      return plainReply(200, 'ok')
    case '/openapi/v2':
      return openApiV2(registry, accept)
    case '/openapi/v3':
      return openApiV3Index(registry)
    default:
      return routeDocuments(context, info)
  }
}

const aggregatedType = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'

function routeDocuments({ cluster: { registry } }: ApiContext, { path }: RequestInfo): Reply {
  const [, root, first = '', second = '', third = ''] = path.split('/')
  if (root === 'openapi' && first === 'v3') {
    const document = openApiV3Document(registry, path.slice('/openapi/v3/'.length))
    if (document !== undefined) return document
  }
  const found =
    root === 'api' && second === ''
      ? resourceList(registry, '', first)
      : root === 'apis' && third === ''
        ? second === ''
          ? group(registry, first)
          : resourceList(registry, first, second)
        : undefined
  if (found === undefined) throw noSuchPath()
  return jsonReply(200, found)
}
