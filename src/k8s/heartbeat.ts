// Signs of life: each agent and replica renews a Lease of its own, with what others need to know of it as annotations, and
// watchers tell the living from the dead by their own clocks.

import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { KubeClient } from './client.ts'
import { asList, identityOf, type RawObject } from './json.ts'
import { isConflict, isNotFound, type KubeError } from './kube-error.ts'
import { parseLease } from './lease.ts'
import { pause } from './pause.ts'
import { type ReflectorFacts, startReflector } from './reflector.ts'
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
const askTimeoutMs = 1_000
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

// --------------------------------------------------------------------------------------------------- the other side

export interface SignOfLife {
  readonly name: string
  readonly identity: string
  readonly annotations: Readonly<Record<string, string>>
  /** A renewal was seen within the duration it promised. */
  readonly alive: boolean
}

export interface HeartbeatWatchOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** `bellhop.io/role=agent`. */
  readonly labelSelector: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
}

export interface HeartbeatWatch {
  /** By Lease name, judged at this moment. */
  readonly signs: () => ReadonlyMap<string, SignOfLife>
  /** Since the last renewal of the Lease `name` was seen, by our clock; undefined without such a Lease. */
  readonly silentMs: (name: string) => number | undefined
  /** By Lease name: what tells the last renewal that was seen from others. */
  readonly renewals: () => ReadonlyMap<string, string>
  /** The same, from the API server at this moment; undefined when it does not answer within a second. */
  readonly askRenewals: () => Promise<ReadonlyMap<string, string> | undefined>
  /** Called when a Lease came, went, fell silent or spoke again, or changed its holder or annotations. */
  readonly onChange: (listener: () => void) => void
  /** Deletes the Lease of one that is silent, unless it was renewed meanwhile. One that is alive after all writes a new one. */
  readonly bury: (name: string) => Promise<void>
  readonly facts: () => ReflectorFacts
}

interface Beat {
  readonly identity: string
  readonly annotations: Readonly<Record<string, string>>
  readonly durationMs: number
  readonly renewal: string
  readonly resourceVersion: string
  /** When this renewal was first seen, by our clock. */
  readonly seenMs: number
}

/** Follows the Leases of others. */
export function watchHeartbeats(options: HeartbeatWatchOptions): HeartbeatWatch {
  const { clock } = options
  const listeners: (() => void)[] = []
  let beats = new Map<string, Beat>()
  let staged = new Map<string, Beat>()

  const read = (raw: unknown): readonly [string, Beat] => {
    const lease = parseLease(raw)
    const before = beats.get(lease.name)
    return [
      lease.name,
      {
        identity: lease.holder,
        annotations: lease.annotations,
        durationMs: lease.durationSeconds * 1000,
        renewal: lease.renewal,
        resourceVersion: lease.resourceVersion,
        seenMs: before?.renewal === lease.renewal ? before.seenMs : clock.monotonicMs(),
      },
    ]
  }
  const tell = (): void => {
    for (const listener of listeners) listener()
    awaitSilence()
  }

  /** Deletions under way. */
  const burying = new Set<string>()
  let judgedMs = clock.monotonicMs()
  let cancelSilence: CancelTimer | undefined
  // One timer, for whoever would fall silent first; a renewal leaves it as it is, so that each costs nothing.
  const awaitSilence = (): void => {
    if (cancelSilence !== undefined || options.signal.aborted) return
    let nextMs = Number.POSITIVE_INFINITY
    for (const beat of beats.values()) if (silentAtMs(beat) > judgedMs) nextMs = Math.min(nextMs, silentAtMs(beat))
    if (!Number.isFinite(nextMs)) return
    cancelSilence = clock.setTimer(Math.max(0, nextMs - clock.monotonicMs()), () => {
      cancelSilence = undefined
      const sinceMs = judgedMs
      judgedMs = clock.monotonicMs()
      const fellSilent = [...beats.values()].some((beat) => silentAtMs(beat) > sinceMs && silentAtMs(beat) <= judgedMs)
      if (fellSilent) tell()
      else awaitSilence()
    })
  }
  options.signal.addEventListener('abort', () => cancelSilence?.(), { once: true })

  const reflector = startReflector({
    ...options,
    resource: leaseResource,
    sink: {
      begin: () => {
        staged = new Map()
      },
      stage: (raw) => {
        staged.set(...read(raw))
      },
      swap: () => {
        beats = staged
        tell()
      },
      put: (raw) => {
        const [name, beat] = read(raw)
        const before = beats.get(name)
        beats.set(name, beat)
        const isNews = before === undefined || says(before) !== says(beat) || silentAtMs(before) <= clock.monotonicMs()
        if (isNews) tell()
      },
      remove: (raw) => {
        if (beats.delete(identityOf(raw).name ?? '')) tell()
      },
    },
  })

  return {
    onChange: (listener) => void listeners.push(listener),
    bury: async (name) => {
      const beat = beats.get(name)
      if (beat === undefined || clock.monotonicMs() < silentAtMs(beat) || burying.has(name)) return
      burying.add(name)
      const { resourceVersion } = beat
      const answer = await options.client.request({
        method: 'DELETE',
        path: resourcePath(leaseResource, { namespace: options.namespace, name }),
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { resourceVersion } },
        timeoutMs: requestTimeoutMs,
        signal: options.signal,
      })
      burying.delete(name)
      if (answer.ok) options.log.info({ event: 'heartbeat-buried', lease: name, identity: beat.identity })
      else if (!isNotFound(answer.error) && !isConflict(answer.error))
        options.log.info({ event: 'heartbeat-not-buried', lease: name, reason: answer.error.reason })
    },
    facts: reflector.facts,
    renewals: () => new Map([...beats].map(([name, { renewal }]) => [name, renewal])),
    askRenewals: async () => {
      const answer = await options.client.request({
        method: 'GET',
        path: resourcePath(leaseResource, { namespace: options.namespace }),
        // Without a resourceVersion: by quorum, and not what one server remembers.
        query: { labelSelector: options.labelSelector },
        timeoutMs: askTimeoutMs,
        signal: options.signal,
        lane: 'vital',
      })
      if (!answer.ok) return undefined
      const leases = (asList(answer.value['items']) ?? []).map(parseLease)
      return new Map(leases.map(({ name, renewal }) => [name, renewal]))
    },
    silentMs: (name) => {
      const beat = beats.get(name)
      return beat === undefined ? undefined : clock.monotonicMs() - beat.seenMs
    },
    signs: () => {
      const nowMs = clock.monotonicMs()
      return new Map(
        [...beats].map(([name, beat]) => {
          const { identity, annotations } = beat
          return [name, { name, identity, annotations, alive: identity !== '' && nowMs < silentAtMs(beat) }]
        }),
      )
    },
  }
}

const silentAtMs = ({ seenMs, durationMs }: Beat): number => seenMs + durationMs

const says = (beat: Beat): string => JSON.stringify([beat.identity, beat.annotations])
