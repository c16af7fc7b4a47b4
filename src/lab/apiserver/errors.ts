// Refusals in Kubernetes' own form: a Status object whose reason, details and message clients and people already know.
// They are thrown, unlike elsewhere in the house, because a request is refused from deep inside admission or a patch and has
// exactly one place that answers it: the HTTP edge.

import type { JsonObject } from './json.ts'

/** A refusal that becomes the response. `status` is a complete Status object. */
export class ApiError extends Error {
  readonly status: JsonObject
  readonly code: number
  readonly reason: string
  readonly headers: Readonly<Record<string, string>>

  constructor(facts: ErrorFacts) {
    super(facts.message)
    this.code = facts.code
    this.reason = facts.reason
    this.headers = facts.headers ?? {}
    this.status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: facts.message,
      reason: facts.reason,
      ...(facts.details === undefined ? {} : { details: facts.details }),
      code: facts.code,
    }
  }
}

export interface ErrorFacts {
  readonly code: number
  readonly reason: string
  readonly message: string
  readonly details?: JsonObject
  readonly headers?: Readonly<Record<string, string>>
}

/** What an error is about: the plural for most refusals, the kind for Invalid. */
export interface Subject {
  readonly group: string
  readonly plural: string
  readonly kind: string
}

/** One cause of an Invalid refusal: reason, path and message as the API server words them. */
export interface FieldProblem {
  readonly reason: string
  readonly path: string
  readonly message: string
}

/** `plural.group`, as messages name a resource. */
export const qualified = (name: string, group: string): string => (group === '' ? name : `${name}.${group}`)

const detailsOf = (subject: Subject, name: string): JsonObject => ({
  name,
  ...(subject.group === '' ? {} : { group: subject.group }),
  kind: subject.plural,
})

export const notFound = (subject: Subject, name: string): ApiError =>
  new ApiError({
    code: 404,
    reason: 'NotFound',
    message: `${qualified(subject.plural, subject.group)} "${name}" not found`,
    details: detailsOf(subject, name),
  })

/** A path that the server does not serve at all. */
export const noSuchPath = (): ApiError =>
  new ApiError({
    code: 404,
    reason: 'NotFound',
    message: 'the server could not find the requested resource',
    details: {},
  })

export const alreadyExists = (subject: Subject, name: string): ApiError =>
  new ApiError({
    code: 409,
    reason: 'AlreadyExists',
    message: `${qualified(subject.plural, subject.group)} "${name}" already exists`,
    details: detailsOf(subject, name),
  })

export const conflict = (subject: Subject, name: string, because: string): ApiError =>
  new ApiError({
    code: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${qualified(subject.plural, subject.group)} "${name}": ${because}`,
    details: detailsOf(subject, name),
  })

/** 422 with one cause a problem, worded as field.ErrorList words it. */
export function invalid(subject: Subject, name: string, problems: readonly FieldProblem[]): ApiError {
  const texts = problems.map((problem) => `${problem.path}: ${problem.message}`)
  const list = texts.length === 1 ? (texts[0] ?? '') : `[${texts.join(', ')}]`
  return new ApiError({
    code: 422,
    reason: 'Invalid',
    message: `${qualified(subject.kind, subject.group)} "${name}" is invalid: ${list}`,
    details: {
      name,
      ...(subject.group === '' ? {} : { group: subject.group }),
      kind: subject.kind,
      causes: problems.map(({ reason, message, path }) => ({ reason, message, field: path })),
    },
  })
}

export const badRequest = (message: string): ApiError => new ApiError({ code: 400, reason: 'BadRequest', message })

export const forbidden = (subject: Subject, name: string, because: string): ApiError =>
  new ApiError({
    code: 403,
    reason: 'Forbidden',
    message: `${qualified(subject.plural, subject.group)}${name === '' ? '' : ` "${name}"`} is forbidden: ${because}`,
    details: {
      ...(name === '' ? {} : { name }),
      ...(subject.group === '' ? {} : { group: subject.group }),
      kind: subject.plural,
    },
  })

export const unauthorized = (): ApiError => new ApiError({ code: 401, reason: 'Unauthorized', message: 'Unauthorized' })

/** The history needed is gone: `Expired` is what clients relist on. */
export const expired = (message: string): ApiError => new ApiError({ code: 410, reason: 'Expired', message })

export const methodNotAllowed = (): ApiError =>
  new ApiError({
    code: 405,
    reason: 'MethodNotAllowed',
    message: 'the server does not allow this method on the requested resource',
    details: {},
  })

export const unsupportedMediaType = (accepted: readonly string[]): ApiError =>
  new ApiError({
    code: 415,
    reason: 'UnsupportedMediaType',
    message: `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  })

export const notAcceptable = (accepted: readonly string[]): ApiError =>
  new ApiError({
    code: 406,
    reason: 'NotAcceptable',
    message: `only the following media types are accepted: ${accepted.join(', ')}`,
  })

export const internalError = (message: string): ApiError =>
  new ApiError({
    code: 500,
    reason: 'InternalError',
    message: `Internal error occurred: ${message}`,
    details: { causes: [{ message }] },
  })

/** A list without resourceVersion that asks for one the server has not reached yet. */
export const tooLargeResourceVersion = (asked: number, current: number): ApiError =>
  new ApiError({
    code: 504,
    reason: 'Timeout',
    message: `Timeout: Too large resource version: ${asked}, current: ${current}`,
    details: {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    },
  })
