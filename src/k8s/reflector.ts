// Keeps a sink equal to one collection of the API server: the shell around reflector-machine.ts, which decides. Here what it decides
// is begun and ended, one thing at a time: a page (list-request.ts), a watch (watch-request.ts), a pause.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { backoffMs } from './backoff.ts'
import type { KubeClient } from './client.ts'
import { createFreshness, type FreshnessFacts } from './freshness.ts'
import { requestList } from './list-request.ts'
import {
  type Consistency,
  initialReflectorState,
  type ListPage,
  type ReflectorAction,
  type ReflectorInput,
  reflectorStep,
} from './reflector-machine.ts'
import { type Resource, resourcePath } from './resources.ts'
import { followWatch } from './watch-request.ts'

/** Where objects go, raw as they came. */
export interface ReflectorSink {
  /** A list begins; what an unfinished one staged is void. */
  readonly begin: () => void
  /** One item of the list that has begun, as it arrives. The same may come again. */
  readonly stage: (item: unknown) => void
  /** All staged items at once, and nothing else, are the collection at this version. */
  readonly swap: (resourceVersion: string) => void
  readonly put: (raw: unknown) => void
  readonly remove: (raw: unknown) => void
}

export interface ReflectorOptions {
  readonly client: KubeClient
  readonly resource: Resource
  /** Absent: all namespaces. */
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  readonly sink: ReflectorSink
  /** The kind need not be installed: that it is not is nothing to warn of. It is looked for again all the same. */
  readonly optional?: boolean
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Ends everything. */
  readonly signal: AbortSignal
  /** Objects a page; default 250. */
  readonly pageLimit?: number
  /** Default quorum. `cache` spares the storage where many clients start at once. */
  readonly consistency?: Consistency
  /** How long one watch may last; default 300. The server is asked for it, and we wait a little longer. */
  readonly watchSeconds?: number
}

export interface ReflectorFacts extends FreshnessFacts {
  /** A whole list was taken in. */
  readonly synced: boolean
  readonly phase: 'idle' | 'listing' | 'watching' | 'waiting' | 'stopped'
  /** Lists beyond the first. */
  readonly relists: number
  readonly resourceVersion: string
}

export interface Reflector {
  readonly facts: () => ReflectorFacts
  /** Resolves once a list that began after this call, answered by a quorum, was swapped in. Rejects only when stopped. */
  readonly confirm: () => Promise<void>
}

/** What is customary. Items are taken in one by one, so that a page costs no memory of its own. */
const defaultPageLimit = 500
const defaultWatchSeconds = 300
/** A page that takes longer is asked for again when the server was away meanwhile. */
const pagePatienceMs = 5_000

/** Starts at once; ends with the signal. */
export function startReflector(options: ReflectorOptions): Reflector {
  const { client, clock, log, random, resource, sink, signal } = options
  const path = resourcePath(resource, options.namespace === undefined ? {} : { namespace: options.namespace })
  const selectors = {
    ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
    ...(options.fieldSelector === undefined ? {} : { fieldSelector: options.fieldSelector }),
  }
  const freshness = createFreshness({ resource, path, optional: options.optional ?? false, clock, log })
  let state = initialReflectorState({
    pageLimit: options.pageLimit ?? defaultPageLimit,
    consistency: options.consistency ?? 'quorum',
  })
  /** When the page that is under way was asked for. */
  let askedMs = 0
  /** Ends what is under way. */
  let cancelCurrent = (): void => {}
  const confirmations: Confirmation[] = []

  const feed = (input: ReflectorInput): void => {
    const [next, actions] = reflectorStep(state, input)
    state = next
    for (const action of actions) act(action)
  }

  const act = (action: ReflectorAction): void => {
    switch (action.type) {
      case 'begin':
        sink.begin()
        return
      case 'list':
        list(action.page)
        return
      case 'swap':
        sink.swap(action.resourceVersion)
        freshness.heard()
        log.debug({ event: 'kube-listed', kind: resource.kind, resourceVersion: action.resourceVersion })
        return
      case 'watch':
        watch(action.resourceVersion)
        return
      case 'cancel':
        cancelCurrent()
        return
      case 'wait':
        cancelCurrent = clock.setTimer(backoffMs(action.attempt, random()), () => feed({ type: 'timer' }))
        return
      case 'confirmed':
        while (confirmations[0] !== undefined && confirmations[0].number <= action.upTo)
          confirmations.shift()?.resolve()
    }
  }

  /** Becomes what is under way. What becomes of it once it was cancelled is nobody's. */
  const run = <T>(work: (current: AbortSignal) => Promise<T>, then: (outcome: T) => void): void => {
    const current = new AbortController()
    cancelCurrent = () => current.abort()
    void work(current.signal).then((outcome) => {
      if (!current.signal.aborted) then(outcome)
    })
  }

  const list = (page: ListPage): void => {
    askedMs = clock.monotonicMs()
    run(
      // A page that fails after some of its items is asked for again under the same token, which is the same page; without a
      // token the list begins anew, and what is staged is void.
      (current) => requestList(client, { path, selectors, page, onItem: sink.stage, signal: current }),
      (listed) => {
        if (listed.ok) feed({ type: 'page', ...listed.value })
        else {
          freshness.failed('list', listed.error)
          feed({ type: 'list-failed', error: listed.error })
        }
      },
    )
  }

  const watch = (resourceVersion: string): void => {
    // Spread, so that all watches of a fleet do not end in the same second.
    const seconds = Math.max(1, Math.round((options.watchSeconds ?? defaultWatchSeconds) * (1 - random() / 4)))
    run(
      (current) =>
        followWatch(client, clock, {
          ...{ path, selectors, resourceVersion, seconds, signal: current },
          onOpen: freshness.recovered,
          onPut: sink.put,
          onRemove: sink.remove,
          onProgress: (version) => {
            freshness.heard()
            if (version !== '') feed({ type: 'progress', resourceVersion: version })
          },
        }),
      (ended) => {
        if (ended.error !== undefined) freshness.failed('watch', ended.error)
        feed({ type: 'watch-ended', ...ended })
      },
    )
  }

  const stop = (): void => {
    feed({ type: 'stop' })
    const stopped = new Error(`the ${resource.kind} reflector was stopped`)
    for (const confirmation of confirmations.splice(0)) confirmation.reject(stopped)
  }
  if (signal.aborted) stop()
  else {
    signal.addEventListener('abort', stop, { once: true })
    client.onReturn((awaySinceMs) => {
      // A connection on which something came since is none of those that went silent; nor is a page that was only just asked for. Who
      // waits has no connection, whatever came before it broke: what was asked for when the server went had begun before that.
      const { type } = state.phase
      const heardMs = type === 'listing' ? askedMs + pagePatienceMs : (freshness.facts().lastEventMonotonicMs ?? 0)
      const silentSinceMs = type === 'listing' ? clock.monotonicMs() : awaySinceMs
      if ((type !== 'listing' && type !== 'watching') || heardMs < silentSinceMs) feed({ type: 'server-returned' })
    }, signal)
    feed({ type: 'start' })
  }

  return {
    facts: () => ({
      ...freshness.facts(),
      synced: state.synced,
      phase: state.phase.type === 'waiting-for-page' ? 'waiting' : state.phase.type,
      relists: Math.max(0, state.lists - 1),
      resourceVersion: state.resourceVersion,
    }),
    confirm: () =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(new Error(`the ${resource.kind} reflector is stopped`))
          return
        }
        confirmations.push({ number: state.confirmsAsked + 1, resolve, reject })
        feed({ type: 'confirm' })
      }),
  }
}

/** Somebody who waits for a list that began after he asked. */
interface Confirmation {
  /** Of all that were ever asked for. */
  readonly number: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}
