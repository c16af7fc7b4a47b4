// The HTTP edge: reads a request, lets faults at it, asks who it is and whether they may, and writes the answer. The only place
// where a refusal thrown anywhere below becomes a response.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isAllowed } from '../auth/rbac.ts'
import { anonymous, type User } from '../auth/user.ts'
import { ApiError, internalError, noSuchPath, qualified, unauthorized } from '../errors.ts'
import type { Fault } from '../faults.ts'
import { patchTypes } from '../resources/patch.ts'
import type { ApiContext } from './api-context.ts'
import { decodeProtobuf, protobufType } from './protobuf.ts'
import { jsonReply, type Reply } from './reply.ts'
import { parseRequest, type RequestInfo, type ResourceRequest } from './request-info.ts'
import { type HttpRequest, handleWatch } from './resource-handler.ts'
import { routeFixed, routeResource } from './router.ts'
import { splitTokenPath } from './token-path.ts'

export interface HttpServer {
  readonly host: string
  readonly port: number
  /** Ends watches, closes connections, and resolves when the port is free. */
  close(): Promise<void>
}

/** etcd's limit for one request, rounded up. */
const bodyBytesMax = 3 * 1024 * 1024

/** Starts to listen. Rejects when the address is taken. */
export async function listen(context: ApiContext, host: string, port: number): Promise<HttpServer> {
  const stopping = new AbortController()
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, (request, response) => {
    void serve(context, request, response, stopping.signal)
  })
  await listening(server, host, port)
  const address = server.address() as AddressInfo
  return {
    host,
    port: address.port,
    close: async () => {
      stopping.abort()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function serve(
  context: ApiContext,
  message: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const { token, url } = splitTokenPath(message.url ?? '/')
  const info = parseRequest(message.method ?? 'GET', url, message.headers['user-agent'] ?? '')
  try {
    const body = await readBody(message)
    const { delayMs, fault } = context.faults.take(info)
    if (delayMs > 0) await delay(context, delayMs)
    if (fault !== undefined && meet(fault, response)) return
    answer(context, { info, message, body, token }, response, signal)
  } catch (error) {
    if (response.headersSent || response.destroyed) response.destroy()
    else write(response, refusal(error))
  }
}

interface Received {
  readonly info: RequestInfo
  readonly message: IncomingMessage
  readonly body: Buffer
  /** From the path; the Authorization header counts where it is present. */
  readonly token: string | undefined
}

function answer(context: ApiContext, received: Received, response: ServerResponse, signal: AbortSignal): void {
  const { info, message, token } = received
  const user = authenticate(context, message.headers.authorization, token)
  authorize(context, user, info)
  authorizeCreation(context, user, received)
  if (info.resource === undefined) {
    write(response, routeFixed(context, info, message.headers.accept))
    return
  }
  const request = httpRequest(info.resource, received)
  if (info.resource.verb !== 'watch') {
    write(response, routeResource(context, user, request))
    return
  }
  const { cluster, faults, bookmarkIntervalMs } = context
  const type = cluster.registry.find(info.resource.group, info.resource.version, info.resource.resource)
  if (type === undefined) throw noSuchPath()
  const settings = { bookmarkIntervalMs, bookmarksPaused: () => faults.bookmarksPaused }
  handleWatch(cluster, type, request, settings, response, signal)
}

function httpRequest(resource: ResourceRequest, { info, message, body }: Received): HttpRequest {
  const contentType = message.headers['content-type']
  const base = { info, resource, accept: message.headers.accept }
  if (contentType !== protobufType) return { ...base, contentType, body: body.toString('utf8') }
  return { ...base, contentType: 'application/json', body: JSON.stringify(decodeProtobuf(body)) }
}

function authenticate(context: ApiContext, header: string | undefined, pathToken: string | undefined): User {
  if (header === undefined && pathToken === undefined) return anonymous
  const token = header === undefined ? pathToken : /^Bearer\s+(.+)$/i.exec(header)?.[1]
  const user = token === undefined ? undefined : context.tokens.authenticate(token)
  if (user === undefined) throw unauthorized()
  return user
}

/** Paths that anybody may read, as the system:public-info-viewer role says. */
const publicPaths = new Set(['/healthz', '/livez', '/readyz', '/version'])

function authorize(context: ApiContext, user: User, info: RequestInfo): void {
  if (context.authorization === 'AlwaysAllow' || publicPaths.has(info.path)) return
  const { store } = context.cluster
  const { resource } = info
  if (resource === undefined) {
    const verb = info.method.toLowerCase()
    if (!isAllowed(store, user, { verb, path: info.path })) throw forbiddenPath(user, verb, info.path)
    return
  }
  const named = `${resource.resource}${resource.subresource === '' ? '' : `/${resource.subresource}`}`
  const { verb, group, namespace } = resource
  // Who lists or watches one object by its name is asked whether he may have that one.
  const name = resource.name || (/^metadata\.name==?([^,]+)$/.exec(info.query.get('fieldSelector') ?? '')?.[1] ?? '')
  if (!isAllowed(store, user, { verb, group, resource: named, namespace, name }))
    throw forbiddenResource(user, resource, named)
}

/** An apply, or a replacement, that has to make the object takes the right to create it as well. */
function authorizeCreation(context: ApiContext, user: User, { info, message }: Received): void {
  const { resource } = info
  const applies = (message.headers['content-type'] ?? '').startsWith(patchTypes.apply)
  if (resource?.subresource !== '' || !(resource.verb === 'update' || (resource.verb === 'patch' && applies))) return
  const { registry, store } = context.cluster
  const type = registry.find(resource.group, resource.version, resource.resource)
  if (type === undefined || store.get(type.bucket, resource.namespace, resource.name) !== undefined) return
  authorize(context, user, { ...info, resource: { ...resource, verb: 'create' } })
}

const forbiddenPath = (user: User, verb: string, path: string): ApiError =>
  new ApiError({
    code: 403,
    reason: 'Forbidden',
    message: `forbidden: User "${user.name}" cannot ${verb} path "${path}"`,
    details: {},
  })

function forbiddenResource(
  user: User,
  { verb, group, resource, namespace, name }: ResourceRequest,
  named: string,
): ApiError {
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`
  const what = `${qualified(resource, group)}${name === '' ? '' : ` "${name}"`}`
  return new ApiError({
    code: 403,
    reason: 'Forbidden',
    message: `${what} is forbidden: User "${user.name}" cannot ${verb} resource "${named}" in API group "${group}" ${where}`,
    details: { ...(name === '' ? {} : { name }), ...(group === '' ? {} : { group }), kind: resource },
  })
}

// Whether the fault is the whole answer.
function meet(fault: Exclude<Fault, { kind: 'delay' }>, response: ServerResponse): boolean {
  switch (fault.kind) {
    case 'status':
      write(response, faultReply(fault))
      return true
    case 'hang':
      return true
    case 'drop':
      response.destroy()
      return true
    case 'truncate':
      truncateAfter(response, fault.bytes)
      return false
  }
}

const faultReasons: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

function faultReply({ code, retryAfterSeconds = 1 }: Extract<Fault, { kind: 'status' }>): Reply {
  const waits = code === 429 || code === 503
  const error = new ApiError({
    code,
    reason: faultReasons[code] ?? '',
    message: waits ? 'The server is currently unable to handle the request, please try again later' : 'injected fault',
    ...(waits ? { details: { retryAfterSeconds }, headers: { 'retry-after': String(retryAfterSeconds) } } : {}),
  })
  return refusal(error)
}

function truncateAfter(response: ServerResponse, bytes: number): void {
  const writeWhole = response.write.bind(response)
  let left = bytes
  const cut = (chunk: unknown): boolean => {
    const data = Buffer.isBuffer(chunk) ? chunk : Buffer.from(typeof chunk === 'string' ? chunk : '')
    if (left <= 0) return false
    const part = data.subarray(0, left)
    left -= part.length
    if (part.length > 0) writeWhole(part)
    if (left <= 0) setImmediate(() => response.destroy())
    return true
  }
  response.write = cut as typeof response.write
  response.end = ((chunk: unknown) => {
    cut(chunk)
    setImmediate(() => response.destroy())
    return response
  }) as typeof response.end
}

function delay(context: ApiContext, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    context.cluster.clock.setTimer(milliseconds, resolve)
  })
}

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > bodyBytesMax)
      throw new ApiError({
        code: 413,
        reason: 'RequestEntityTooLarge',
        message: `Request entity too large: limit is ${bodyBytesMax}`,
      })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function refusal(error: unknown): Reply {
  if (error instanceof ApiError) return jsonReply(error.code, error.status, error.headers)
  const refused = internalError(error instanceof Error ? (error.stack ?? error.message) : String(error))
  return jsonReply(refused.code, refused.status)
}

function write(response: ServerResponse, reply: Reply): void {
  const body = Buffer.from(reply.body)
  const headers: Record<string, string | string[]> = {
    'content-type': reply.contentType,
    'cache-control': 'no-cache, private',
  }
  for (const [name, value] of Object.entries(reply.headers))
    headers[name] = typeof value === 'string' ? value : [...value]
  headers['content-length'] = String(body.length)
  response.writeHead(reply.code, headers)
  response.end(body)
}
