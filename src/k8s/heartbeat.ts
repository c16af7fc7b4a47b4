// A sign of life: each agent and replica renews a Lease of its own, with what others need to know of it as annotations, and takes it
// along when it ends. How others read it stands in heartbeat-watch.ts.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { pause } from '../runtime/pause.ts'
import type { KubeClient } from './client.ts'
import type { RawObject } from './json.ts'
import type { KubeError } from './kube-error.ts'
import { leaseResource, resourcePath } from './resources.ts'
import { renderMicroTime } from './times.ts'

export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
}

export interface HeartbeatOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The Lease's name: `bellhop-agent-<node>`, `bellhop-replica-<pod>`. */
  readonly name: string
  /** Holder identity: the node's or Pod's name. */
  readonly identity: string
  readonly labels: Readonly<Record<string, string>>
  /** Read at each renewal. */
  readonly annotations: () => Readonly<Record<string, string>>
  /** Lets the cluster collect the Lease with its Pod or Node. */
  readonly owner?: OwnerReference
  /** Default 10. */
  readonly renewSeconds?: number
  /** After this long without a renewal others consider it dead. Default 40, as kubelets have it. */
  readonly durationSeconds?: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Stops renewing and deletes the Lease. */
  readonly signal: AbortSignal
}

export interface HeartbeatFacts {
  /** Monotonic; absent before the first success. */
  readonly renewedMonotonicMs?: number
  readonly lastError?: KubeError
}

export interface Heartbeat {
  readonly facts: () => HeartbeatFacts
  /** Renews now, because an annotation changed. */
  readonly renew: () => void
  /** Resolves after the signal fired and the Lease was deleted (or could not be). */
  readonly stopped: Promise<void>
}

const requestTimeoutMs = 5_000
/** For the last request of a process that has five seconds to end. */
const leaveTimeoutMs = 2_000

/** Starts at once. */
export function startHeartbeat(options: HeartbeatOptions): Heartbeat {
  const { client, clock, log, signal } = options
  const path = resourcePath(leaseResource, { namespace: options.namespace, name: options.name })
  const renewMs = (options.renewSeconds ?? 10) * 1000
  let renewedMonotonicMs: number | undefined
  let lastError: KubeError | undefined
  let hurry = new AbortController()

  const beat = async (): Promise<void> => {
    const begunMs = clock.monotonicMs()
    const answer = await client.request({
      method: 'PATCH',
      path,
      query: { fieldManager: `bellhop-${options.identity}`, force: 'true' },
      patchType: 'apply',
      body: leaseBody(options),
      timeoutMs: requestTimeoutMs,
      signal,
      lane: 'vital',
    })
    if (answer.ok) {
      renewedMonotonicMs = begunMs
      lastError = undefined
      return
    }
    if (signal.aborted) return
    if (lastError?.reason !== answer.error.reason)
      log.warn({ event: 'heartbeat-failing', lease: options.name, ...answer.error })
    lastError = answer.error
  }

  const beatOn = async (): Promise<void> => {
    while (!signal.aborted) {
      hurry = new AbortController()
      await beat()
      const either = AbortSignal.any([signal, hurry.signal])
      // A failed renewal is repeated sooner, so that one lost packet costs nobody his life.
      const delayMs = lastError === undefined ? renewMs * (1 - options.random() / 10) : renewMs / 5
      await pause(clock, delayMs, either)
    }
    const deleted = await client.request({ method: 'DELETE', path, timeoutMs: leaveTimeoutMs, lane: 'vital' })
    if (!deleted.ok && deleted.error.status !== 404)
      log.info({ event: 'heartbeat-not-removed', lease: options.name, reason: deleted.error.reason })
  }

  return {
    stopped: beatOn(),
    renew: () => hurry.abort(),
    facts: () => ({
      ...(renewedMonotonicMs === undefined ? {} : { renewedMonotonicMs }),
      ...(lastError === undefined ? {} : { lastError }),
    }),
  }
}

function leaseBody(options: HeartbeatOptions): RawObject {
  return {
    apiVersion: leaseResource.apiVersion,
    kind: leaseResource.kind,
    metadata: {
      name: options.name,
      namespace: options.namespace,
      labels: options.labels,
      annotations: options.annotations(),
      ...(options.owner === undefined ? {} : { ownerReferences: [options.owner] }),
    },
    spec: {
      holderIdentity: options.identity,
      leaseDurationSeconds: options.durationSeconds ?? 40,
      renewTime: renderMicroTime(options.clock.wallMs()),
    },
  }
}
