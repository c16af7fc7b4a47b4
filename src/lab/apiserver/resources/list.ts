// Lists: which state a client sees (resourceVersion, resourceVersionMatch), which objects of it (selectors), and how a long list
// is cut into pages that all show the same state.

import type { Cluster } from '../cluster.ts'
import { type ApiError, badRequest, expired, tooLargeResourceVersion } from '../errors.ts'
import { isObject, type JsonObject } from '../json.ts'
import type { ResourceType } from '../registry/resource-type.ts'
import type { Stored } from '../storage/stored.ts'
import type { Predicate } from './selectors.ts'

export interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string
  readonly predicate?: Predicate
  readonly limit: number
  readonly continueToken: string
  readonly resourceVersion: string
  readonly resourceVersionMatch: string
}

export interface Listing {
  readonly items: readonly Stored[]
  readonly revision: number
  readonly continueToken: string
  /** How many items follow this page; absent where selectors make that unknown. */
  readonly remaining?: number
}

/** A page of a kind's objects in the order of their keys. Throws 400, 410 (Expired) or 504 (version not reached yet). */
export function listObjects(cluster: Cluster, type: ResourceType, options: ListOptions): Listing {
  const start = options.continueToken === '' ? undefined : parseToken(options.continueToken)
  const revision = start === undefined ? askedRevision(cluster, options) : start.revision
  const all = cluster.store.bucket(type.bucket).at(revision)
  if (all === undefined) throw start === undefined ? tooOld() : tokenTooOld(cluster, start.after)
  const limit = start === undefined && options.resourceVersion === '0' ? 0 : options.limit
  const items: Stored[] = []
  for (let i = start === undefined ? 0 : indexAfter(all, start.after); i < all.length; i++) {
    const stored = all[i]
    if (stored === undefined || !isListed(stored, options)) continue
    const last = items.at(-1)
    if (limit > 0 && items.length === limit && last !== undefined) {
      const selective = options.predicate !== undefined || options.namespace !== undefined
      return {
        items,
        revision,
        continueToken: renderToken({ revision, after: last.key }),
        ...(selective ? {} : { remaining: all.length - i }),
      }
    }
    items.push(stored)
  }
  return { items, revision, continueToken: '' }
}

function isListed(stored: Stored, options: ListOptions): boolean {
  if (options.namespace !== undefined && stored.namespace !== options.namespace) return false
  return options.predicate === undefined || options.predicate(stored.object)
}

function askedRevision(cluster: Cluster, options: ListOptions): number {
  const current = cluster.store.revision
  const { resourceVersion, resourceVersionMatch: match } = options
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan')
    throw badRequest(
      `resourceVersionMatch: Unsupported value: "${match}": supported values: "Exact", "NotOlderThan", ""`,
    )
  if (resourceVersion === '' || resourceVersion === '0') {
    if (match === 'Exact' || (match !== '' && resourceVersion === ''))
      throw badRequest(
        `resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided`,
      )
    return current
  }
  const asked = parseRevision(resourceVersion)
  if (asked > current) throw tooLargeResourceVersion(asked, current)
  const exact = match === 'Exact' || (match === '' && options.limit > 0)
  return exact ? asked : current
}

/** A resourceVersion as a number. Throws BadRequest. */
export function parseRevision(text: string): number {
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(`Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`)
  return Number(text)
}

interface Token {
  readonly revision: number
  /** The key of the last object already sent. */
  readonly after: string
}

const renderToken = (token: Token): string =>
  Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: token.revision, start: token.after })).toString('base64url')

function parseToken(text: string): Token {
  try {
    const token: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (isObject(token) && typeof token['rv'] === 'number' && typeof token['start'] === 'string')
      return { revision: token['rv'], after: token['start'] }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw badRequest('continue key is not valid: the token was not made by this server')
}

function indexAfter(all: readonly Stored[], key: string): number {
  let low = 0
  let high = all.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((all[middle]?.key ?? '') <= key) low = middle + 1
    else high = middle
  }
  return low
}

const tooOld = (): ApiError => expired('The resourceVersion for the provided list is too old.')

// Clients that can live with an inconsistent rest find the way on in the refusal itself.
function tokenTooOld(cluster: Cluster, after: string): ApiError {
  const refusal = expired(
    'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
  )
  const metadata: JsonObject = { continue: renderToken({ revision: cluster.store.revision, after }) }
  return Object.assign(refusal, { status: { ...refusal.status, metadata } })
}
