// How fresh the copy of a collection is, and what stands in the way of its being fresher. An operator reads one line when trouble
// begins or changes its nature, and one when it is over; not one a retry.

import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { KubeError } from './kube-error.ts'
import type { Resource } from './resources.ts'

export interface FreshnessOptions {
  readonly resource: Resource
  /** Where the collection is: one namespace of it, perhaps. */
  readonly path: string
  /** The kind need not be installed: that it is not is nothing to warn of. */
  readonly optional: boolean
  readonly clock: Clock
  readonly log: Log
}

export interface FreshnessFacts {
  /** Monotonic time of the last list, event or bookmark. */
  readonly lastEventMonotonicMs?: number
  /** What stands in the way now; absent while listing and watching work. */
  readonly lastError?: KubeError
}

export interface Freshness {
  /** A list, an event or a bookmark was taken in. */
  readonly heard: () => void
  /** The server agrees to tell; nothing has come yet. */
  readonly recovered: () => void
  readonly failed: (doing: 'list' | 'watch', error: KubeError) => void
  readonly facts: () => FreshnessFacts
}

export function createFreshness({ resource, path, optional, clock, log }: FreshnessOptions): Freshness {
  const { kind } = resource
  let lastEventMonotonicMs: number | undefined
  let lastError: KubeError | undefined
  const recovered = (): void => {
    if (lastError !== undefined) log.info({ event: 'kube-recovered', kind, after: lastError.reason })
    lastError = undefined
  }
  return {
    recovered,
    heard: () => {
      lastEventMonotonicMs = clock.monotonicMs()
      recovered()
    },
    failed: (doing, error) => {
      const { status, reason, message } = error
      const fields = {
        ...{ event: 'kube-unavailable', doing, kind, path, status, reason, message },
        ...advice(error, resource),
      }
      if (lastError?.reason === reason || (optional && status === 404)) log.debug(fields)
      else log.warn(fields)
      lastError = error
    },
    facts: () => ({
      ...(lastEventMonotonicMs === undefined ? {} : { lastEventMonotonicMs }),
      ...(lastError === undefined ? {} : { lastError }),
    }),
  }
}

function advice({ status }: KubeError, { plural, apiVersion }: Resource): { readonly advice?: string } {
  if (status === 403) return { advice: `the ClusterRole must allow list and watch on ${plural}` }
  if (status === 401) return { advice: 'the server does not accept these credentials' }
  if (status === 404) return { advice: `the server does not know ${plural} in ${apiVersion}: are the CRDs installed?` }
  return {}
}
