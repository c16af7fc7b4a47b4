// What a request is about, from its method, path and query: a resource and a verb, or a path outside the resource API. This is
// what is authorised, and what faults are aimed at.

/** A request for resources, in the words that RBAC uses. */
export interface ResourceRequest {
  readonly verb: Verb
  readonly group: string
  readonly version: string
  readonly resource: string
  readonly subresource: string
  /** Empty for cluster-scoped requests and for all namespaces. */
  readonly namespace: string
  readonly name: string
}

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection'

export interface RequestInfo {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly userAgent: string
  /** Absent for /version, /healthz, discovery and the like. */
  readonly resource?: ResourceRequest
}

const prefixes = [
  /^\/api\/(?<version>[^/]+)\/(?<rest>.+)$/,
  /^\/apis\/(?<group>[^/]+)\/(?<version>[^/]+)\/(?<rest>.+)$/,
]

/** Takes a request apart. */
export function parseRequest(method: string, url: string, userAgent: string): RequestInfo {
  const { pathname, searchParams } = new URL(url, 'http://server')
  const path = pathname.length > 1 ? pathname.replace(/\/$/, '') : pathname
  const base = { method, path, query: searchParams, userAgent }
  for (const prefix of prefixes) {
    const { group = '', version = '', rest = '' } = prefix.exec(path)?.groups ?? {}
    if (rest !== '') return { ...base, resource: resourceRequest(method, searchParams, { group, version }, rest) }
  }
  return base
}

function resourceRequest(
  method: string,
  query: URLSearchParams,
  api: { readonly group: string; readonly version: string },
  rest: string,
): ResourceRequest {
  const parts = rest.split('/').map(decodeURIComponent)
  const oldWatch = parts[0] === 'watch'
  if (oldWatch) parts.shift()
  const isNamespaceItself =
    parts[0] === 'namespaces' && (parts.length <= 2 || namespaceSubresources.has(parts[2] ?? ''))
  const namespace = parts[0] === 'namespaces' && !isNamespaceItself ? (parts[1] ?? '') : ''
  const [resource = '', name = '', subresource = ''] = namespace === '' ? parts : parts.slice(2)
  const watch = oldWatch || ['1', 'true'].includes(query.get('watch') ?? '')
  return { ...api, resource, subresource, namespace, name, verb: verbOf(method, { name, watch, query }) }
}

const namespaceSubresources = new Set(['status', 'finalize'])

function verbOf(
  method: string,
  about: { readonly name: string; readonly watch: boolean; readonly query: URLSearchParams },
): Verb {
  switch (method) {
    case 'POST':
      return 'create'
    case 'PUT':
      return 'update'
    case 'PATCH':
      return 'patch'
    case 'DELETE':
      return about.name === '' ? 'deletecollection' : 'delete'
    default:
      if (about.watch) return 'watch'
      return about.name === '' ? 'list' : 'get'
  }
}
