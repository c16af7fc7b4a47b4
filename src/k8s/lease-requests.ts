// What a candidate asks the API server of its Lease: look, take or renew it, give it back. Each write names the version that it was decided
// upon, none waits behind other requests, and two attempts fit into the time that a leader has to renew.

import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { KubeClient } from './client.ts'
import type { ElectionAttempt, ElectionTiming } from './election.ts'
import { identityOf, type RawObject } from './json.ts'
import { isNotFound, type KubeError } from './kube-error.ts'
import { type Lease, parseLease } from './lease.ts'
import { leaseResource, resourcePath } from './resources.ts'
import { renderMicroTime } from './times.ts'

export interface LeaseRequestsOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The Lease's name. */
  readonly name: string
  /** Whoever writes holds it. */
  readonly identity: string
  readonly timing: ElectionTiming
  readonly clock: Clock
}

export interface LeaseRequests {
  /** undefined: there is none. */
  readonly look: (signal?: AbortSignal) => Promise<Result<Lease | undefined, KubeError>>
  /** Answers with the Lease as it is now; 409 when it is at another version. */
  readonly write: (
    attempt: Exclude<ElectionAttempt, { type: 'wait' }>,
    signal: AbortSignal,
  ) => Promise<Result<Lease, KubeError>>
  /** Leaves it to whoever comes first. */
  readonly giveBack: (lease: Lease) => Promise<Result<unknown, KubeError>>
}

const giveBackTimeoutMs = 3_000

export function createLeaseRequests(options: LeaseRequestsOptions): LeaseRequests {
  const { client, namespace, name, timing, clock } = options
  const path = resourcePath(leaseResource, { namespace, name })
  const timeoutMs = Math.max(500, (timing.renewDeadlineMs - timing.retryPeriodMs) / 2)
  const lane = 'vital'

  const patch = (
    { resourceVersion }: Pick<Lease, 'resourceVersion'>,
    spec: RawObject,
    limits: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Result<RawObject, KubeError>> =>
    client.request({
      method: 'PATCH',
      path,
      patchType: 'merge',
      body: { metadata: { resourceVersion }, spec },
      lane,
      ...limits,
    })

  return {
    look: async (signal) => {
      const answer = await client.request({
        ...{ method: 'GET', path, timeoutMs, lane },
        ...(signal === undefined ? {} : { signal }),
      })
      if (answer.ok) return ok(parseLease(answer.value))
      return isNotFound(answer.error) ? ok(undefined) : err(answer.error)
    },
    write: async (attempt, signal) => {
      const now = renderMicroTime(clock.wallMs())
      const held: RawObject = {
        holderIdentity: options.identity,
        leaseDurationSeconds: Math.max(1, Math.round(timing.leaseDurationMs / 1000)),
        renewTime: now,
      }
      const answer =
        attempt.type === 'create'
          ? await client.request({
              ...{ method: 'POST', path: resourcePath(leaseResource, { namespace }), timeoutMs, signal, lane },
              body: {
                apiVersion: leaseResource.apiVersion,
                kind: leaseResource.kind,
                metadata: { name, namespace },
                spec: { ...held, acquireTime: now, leaseTransitions: 0 },
              },
            })
          : await patch(
              attempt,
              {
                ...held,
                ...(attempt.takeover ? { acquireTime: now } : {}),
                leaseTransitions: attempt.transitions,
              },
              { timeoutMs, signal },
            )
      if (!answer.ok) return answer
      // Without a version the next renewal would not be guarded.
      if (identityOf(answer.value).resourceVersion === '')
        return err({ status: 200, reason: 'NotKubernetes', message: 'the answer to a lease write is no Lease' })
      return ok(parseLease(answer.value))
    },
    giveBack: (lease) =>
      patch(
        lease,
        { holderIdentity: '', leaseDurationSeconds: 1, renewTime: renderMicroTime(clock.wallMs()) },
        { timeoutMs: giveBackTimeoutMs },
      ),
  }
}
