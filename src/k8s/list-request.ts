// One page of a list: asked for, its items handed over as they arrive, and what the answer says of the list itself.

import { err, ok, type Result } from '../runtime/result.ts'
import type { KubeClient } from './client.ts'
import { asList, asObject, asText } from './json.ts'
import type { KubeError } from './kube-error.ts'
import type { ListPage } from './reflector-machine.ts'

export interface ListRequest {
  readonly path: string
  readonly selectors: Readonly<Record<string, string>>
  readonly page: ListPage
  /** Also called for a page that then fails in the middle. */
  readonly onItem: (item: unknown) => void
  readonly signal: AbortSignal
}

export interface ListedPage {
  readonly resourceVersion: string
  /** Absent on the last page. */
  readonly continueToken?: string
}

const timeoutMs = 60_000

export async function requestList(client: KubeClient, wanted: ListRequest): Promise<Result<ListedPage, KubeError>> {
  const { path, page, onItem, signal } = wanted
  const query = {
    ...wanted.selectors,
    ...(page.limit > 0 ? { limit: String(page.limit) } : {}),
    ...(page.continueToken === undefined ? {} : { continue: page.continueToken }),
    ...(page.resourceVersion === undefined ? {} : { resourceVersion: page.resourceVersion }),
  }
  const answer = await client.request({ method: 'GET', path, query, timeoutMs, signal, onItem })
  if (!answer.ok) return answer
  const { metadata, items } = answer.value
  const resourceVersion = asText(asObject(metadata)?.['resourceVersion'])
  // Go writes an empty list as null.
  if (resourceVersion === undefined || (items != null && asList(items) === undefined))
    return err({ status: 200, reason: 'NotKubernetes', message: `GET ${path} answered with no list` })
  const continueToken = asText(asObject(metadata)?.['continue']) ?? ''
  return ok({ resourceVersion, ...(continueToken === '' ? {} : { continueToken }) })
}
