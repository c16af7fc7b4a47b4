// Signs of life of others, by their Leases: the living are told from the silent by our own clock, whatever time theirs shows.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { KubeClient } from './client.ts'
import { asList, identityOf } from './json.ts'
import { isConflict, isNotFound } from './kube-error.ts'
import { parseLease } from './lease.ts'
import { type ReflectorFacts, type ReflectorSink, startReflector } from './reflector.ts'
import { leaseResource, resourcePath } from './resources.ts'
import { createSilenceAlarm } from './silence-alarm.ts'

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

const askTimeoutMs = 1_000
const buryTimeoutMs = 5_000

/** Follows the Leases of others. */
export function watchHeartbeats(options: HeartbeatWatchOptions): HeartbeatWatch {
  const { clock, signal } = options
  const listeners: (() => void)[] = []
  const tell = (): void => {
    for (const listener of listeners) listener()
  }
  const alarm = createSilenceAlarm({
    silentAtMs: () => beats().values().map(silentAtMs),
    onSilence: tell,
    ...{ clock, signal },
  })
  const isSilent = (beat: Beat): boolean => clock.monotonicMs() >= silentAtMs(beat)
  const bury = createBurials(options)
  const { beats, sink } = collectBeats(clock, {
    replaced: () => {
      alarm.reset()
      tell()
    },
    heard: (before, beat) => {
      alarm.heard(silentAtMs(beat))
      if (before === undefined || says(before) !== says(beat) || isSilent(before)) tell()
    },
    gone: tell,
  })
  const reflector = startReflector({ ...options, resource: leaseResource, sink })

  return {
    onChange: (listener) => void listeners.push(listener),
    bury: async (name) => {
      const beat = beats().get(name)
      if (beat !== undefined && isSilent(beat)) await bury(name, beat)
    },
    facts: reflector.facts,
    renewals: () => new Map([...beats()].map(([name, { renewal }]) => [name, renewal])),
    askRenewals: () => askRenewals(options),
    silentMs: (name) => {
      const beat = beats().get(name)
      return beat === undefined ? undefined : clock.monotonicMs() - beat.seenMs
    },
    signs: () =>
      new Map(
        [...beats()].map(([name, beat]) => {
          const { identity, annotations } = beat
          return [name, { name, identity, annotations, alive: identity !== '' && !isSilent(beat) }]
        }),
      ),
  }
}

const silentAtMs = ({ seenMs, durationMs }: Beat): number => seenMs + durationMs

const says = (beat: Beat): string => JSON.stringify([beat.identity, beat.annotations])

/** By Lease name. A renewal that was seen before keeps the moment at which it was first seen, through relists too. */
function collectBeats(
  clock: Clock,
  told: {
    readonly replaced: () => void
    readonly heard: (before: Beat | undefined, beat: Beat) => void
    readonly gone: () => void
  },
): { readonly beats: () => ReadonlyMap<string, Beat>; readonly sink: ReflectorSink } {
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
  return {
    beats: () => beats,
    sink: {
      begin: () => {
        staged = new Map()
      },
      stage: (raw) => {
        staged.set(...read(raw))
      },
      swap: () => {
        beats = staged
        told.replaced()
      },
      put: (raw) => {
        const [name, beat] = read(raw)
        const before = beats.get(name)
        beats.set(name, beat)
        told.heard(before, beat)
      },
      remove: (raw) => {
        if (beats.delete(identityOf(raw).name ?? '')) told.gone()
      },
    },
  }
}

async function askRenewals({
  client,
  namespace,
  labelSelector,
  signal,
}: HeartbeatWatchOptions): Promise<ReadonlyMap<string, string> | undefined> {
  const answer = await client.request({
    method: 'GET',
    path: resourcePath(leaseResource, { namespace }),
    // Without a resourceVersion: by quorum, and not what one server remembers.
    query: { labelSelector },
    timeoutMs: askTimeoutMs,
    signal,
    lane: 'vital',
  })
  if (!answer.ok) return undefined
  const leases = (asList(answer.value['items']) ?? []).map(parseLease)
  return new Map(leases.map(({ name, renewal }) => [name, renewal]))
}

/** Deletes Leases at the version at which they were found silent, each once at a time. */
function createBurials({
  client,
  namespace,
  log,
  signal,
}: HeartbeatWatchOptions): (name: string, beat: Beat) => Promise<void> {
  const underWay = new Set<string>()
  return async (name, { identity, resourceVersion }) => {
    if (underWay.has(name)) return
    underWay.add(name)
    const answer = await client.request({
      method: 'DELETE',
      path: resourcePath(leaseResource, { namespace, name }),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { resourceVersion } },
      timeoutMs: buryTimeoutMs,
      signal,
    })
    underWay.delete(name)
    if (answer.ok) log.info({ event: 'heartbeat-buried', lease: name, identity })
    else if (!isNotFound(answer.error) && !isConflict(answer.error))
      log.info({ event: 'heartbeat-not-buried', lease: name, reason: answer.error.reason })
  }
}
