// What can go wrong between us and an API server, as one value: the server's own Status, or the way the conversation broke.
// Callers branch on `reason`; people read `message`.

import { asObject, asText } from './json.ts'

/**
 * Reasons that no server sends, because there was no usable answer:
 * - Unreachable: no connection (refused, no route, name not found). ConnectionLost: it broke before the answer was complete.
 * - TlsRefused: the certificate of either side was not accepted. Timeout: no complete answer in the time allowed.
 * - Cancelled: the caller's signal fired. NotLeader: the write was fenced off before it left.
 * - NotKubernetes: something answered that is no API server (an HTML page of a proxy, broken JSON). TooLarge: beyond our bound.
 * - Credentials: a token file, certificate or exec plugin could not be read or run.
 */
export type LocalReason =
  | 'Unreachable'
  | 'ConnectionLost'
  | 'TlsRefused'
  | 'Timeout'
  | 'Cancelled'
  | 'NotLeader'
  | 'NotKubernetes'
  | 'TooLarge'
  | 'Credentials'

export interface KubeError {
  /** HTTP status; 0 when no HTTP answer was received. */
  readonly status: number
  /** A metav1 StatusReason (`NotFound`, `Conflict`, `AlreadyExists`, `Expired`, ...) or a LocalReason. */
  readonly reason: string
  readonly message: string
  /** The server asked to wait this long. */
  readonly retryAfterSeconds?: number
}

export const localError = (reason: LocalReason, message: string): KubeError => ({ status: 0, reason, message })

// StatusReason for servers (and proxies) that send a bare status code.
const reasonByStatus: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  409: 'Conflict',
  410: 'Expired',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

/**
 * The error of an answer that is not 2xx. `body` is its parsed JSON, or its text where it was none.
 * `retryAfterHeader` in seconds (RFC 9110 also allows a date; API servers send seconds).
 */
export function errorFromAnswer(status: number, body: unknown, retryAfterHeader?: string): KubeError {
  const statusObject = asObject(body)
  const details = asObject(statusObject?.['details'])
  const fromDetails = details?.['retryAfterSeconds']
  const seconds = retryAfterHeader === undefined ? Number.NaN : Number(retryAfterHeader)
  const retryAfterSeconds =
    Number.isFinite(seconds) && seconds >= 0 ? seconds : typeof fromDetails === 'number' ? fromDetails : undefined
  const isStatus = statusObject?.['kind'] === 'Status'
  const reason = (isStatus ? asText(statusObject['reason']) : undefined) || reasonByStatus[status] || `HTTP${status}`
  const message = isStatus ? (asText(statusObject['message']) ?? '') : describeForeignBody(status, body)
  return { status, reason, message, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) }
}

/** The error that a watch carries in an ERROR event: a Status object with its own `code`. */
export function errorFromStatusObject(status: unknown): KubeError {
  const code = asObject(status)?.['code']
  return errorFromAnswer(typeof code === 'number' ? code : 500, status)
}

const excerptLengthMax = 160

/** For operators: what answered instead of an API server. */
export function describeForeignBody(status: number, body: unknown): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body ?? '')
  const excerpt = text.replace(/\s+/g, ' ').trim().slice(0, excerptLengthMax)
  // What API servers themselves say of a kind that is not installed.
  if (excerpt === '404 page not found') return 'the server could not find the requested resource'
  if (excerpt === '') return `HTTP ${status} with an empty body`
  const html = /^<(?:!doctype|html|\?xml)/i.test(excerpt)
  return html
    ? `HTTP ${status} with a web page instead of JSON: a proxy or load balancer answered, not the API server (${excerpt})`
    : `HTTP ${status} with something that is no Kubernetes answer: ${excerpt}`
}

/** The history we wanted to continue from is gone: only a new list helps. */
export const isExpired = (error: KubeError): boolean =>
  error.status === 410 ||
  error.reason === 'Expired' ||
  error.reason === 'Gone' ||
  // A server whose storage was restored from a backup does not know the future we have seen.
  /too large resource version/i.test(error.message)

export const isNotFound = (error: KubeError): boolean => error.status === 404
/** Somebody else wrote first: 409 in both its meanings (resourceVersion or uid differs; the name is taken). */
export const isConflict = (error: KubeError): boolean => error.status === 409
