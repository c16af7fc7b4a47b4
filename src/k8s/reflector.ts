// Keeps a sink equal to one collection of the API server: the shell around reflector-machine.ts, which decides. Here are the
// requests, the timers, the watch's events, and the facts that tell how fresh the copy is.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { backoffMs } from './backoff.ts'
import type { KubeClient } from './client.ts'
import { asList, asObject, asText, identityOf } from './json.ts'
import { errorFromStatusObject, type KubeError } from './kube-error.ts'
import {
  type Consistency,
  initialReflectorState,
  type ListPage,
  type ReflectorAction,
  type ReflectorInput,
  reflectorStep,
} from './reflector-machine.ts'
import { type Resource, resourcePath } from './resources.ts'

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

export interface ReflectorFacts {
  /** A whole list was taken in. */
  readonly synced: boolean
  readonly phase: 'idle' | 'listing' | 'watching' | 'waiting' | 'stopped'
  /** Monotonic time of the last list, event or bookmark. */
  readonly lastEventMonotonicMs?: number
  /** Lists beyond the first. */
  readonly relists: number
  /** What stands in the way now; absent while listing and watching work. */
  readonly lastError?: KubeError
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
/** How much later than the server we end a watch that it should have ended. */
const watchMarginMs = 15_000
const openTimeoutMs = 30_000
const listTimeoutMs = 60_000
/** A page that takes longer is asked for again when the server was away meanwhile. */
const pagePatienceMs = 5_000

/** Starts at once; ends with the signal. */
export function startReflector(options: ReflectorOptions): Reflector {
  const { client, clock, log, resource, sink, signal } = options
  const path = resourcePath(resource, options.namespace === undefined ? {} : { namespace: options.namespace })
  const selectors = {
    ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
    ...(options.fieldSelector === undefined ? {} : { fieldSelector: options.fieldSelector }),
  }
  let state = initialReflectorState({
    pageLimit: options.pageLimit ?? defaultPageLimit,
    consistency: options.consistency ?? 'quorum',
  })
  let lastEventMonotonicMs: number | undefined
  let lastError: KubeError | undefined
  /** When the page that is under way was asked for. */
  let askedMs = 0
  /** Ends what is under way; what it still reports is then ignored. */
  let cancelCurrent = (): void => {}
  const confirmations: {
    readonly number: number
    readonly resolve: () => void
    readonly reject: (e: Error) => void
  }[] = []

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
        requestPage(action.page)
        return
      case 'swap':
        sink.swap(action.resourceVersion)
        noteSuccess()
        log.debug({ event: 'kube-listed', kind: resource.kind, resourceVersion: action.resourceVersion })
        return
      case 'watch':
        watch(action.resourceVersion)
        return
      case 'cancel':
        cancelCurrent()
        return
      case 'wait':
        cancelCurrent = clock.setTimer(backoffMs(action.attempt, options.random()), () => feed({ type: 'timer' }))
        return
      case 'confirmed':
        while (confirmations[0] !== undefined && confirmations[0].number <= action.upTo)
          confirmations.shift()?.resolve()
    }
  }

  const noteSuccess = (): void => {
    lastEventMonotonicMs = clock.monotonicMs()
    noteRecovery()
  }

  const noteRecovery = (): void => {
    if (lastError !== undefined) log.info({ event: 'kube-recovered', kind: resource.kind, after: lastError.reason })
    lastError = undefined
  }

  // One line when the trouble begins or changes its nature, not one a retry.
  const noteFailure = (doing: 'list' | 'watch', error: KubeError): void => {
    const fields = {
      event: 'kube-unavailable',
      doing,
      kind: resource.kind,
      path,
      status: error.status,
      reason: error.reason,
      message: error.message,
      ...advice(error, resource),
    }
    if (lastError?.reason === error.reason || (options.optional === true && error.status === 404)) log.debug(fields)
    else log.warn(fields)
    lastError = error
  }

  const requestPage = (page: ListPage): void => {
    askedMs = clock.monotonicMs()
    const abort = new AbortController()
    let current = true
    cancelCurrent = () => {
      current = false
      abort.abort()
    }
    const query = {
      ...selectors,
      ...(page.limit > 0 ? { limit: String(page.limit) } : {}),
      ...(page.continueToken === undefined ? {} : { continue: page.continueToken }),
      ...(page.resourceVersion === undefined ? {} : { resourceVersion: page.resourceVersion }),
    }
    void client
      .request({
        ...{ method: 'GET', path, query, timeoutMs: listTimeoutMs, signal: abort.signal },
        // A page that fails after some of its items is asked for again under the same token, which is the same page; without a
        // token the list begins anew, and what is staged is void.
        onItem: (item) => {
          if (current) sink.stage(item)
        },
      })
      .then((answer) => {
        if (!current) return
        if (!answer.ok) {
          noteFailure('list', answer.error)
          feed({ type: 'list-failed', error: answer.error })
          return
        }
        const metadata = asObject(answer.value['metadata'])
        const items = asList(answer.value['items'])
        const resourceVersion = asText(metadata?.['resourceVersion'])
        if (resourceVersion === undefined || (items === undefined && answer.value['items'] != null)) {
          const error: KubeError = {
            status: 200,
            reason: 'NotKubernetes',
            message: `GET ${path} answered with no list`,
          }
          noteFailure('list', error)
          feed({ type: 'list-failed', error })
          return
        }
        const continueToken = asText(metadata?.['continue'])
        feed({
          type: 'page',
          resourceVersion,
          ...(continueToken === undefined || continueToken === '' ? {} : { continueToken }),
        })
      })
  }

  const watch = (resourceVersion: string): void => {
    const abort = new AbortController()
    let current = true
    let openedAtMs: number | undefined
    let events = 0
    cancelCurrent = () => {
      current = false
      abort.abort()
    }
    const end = (error: KubeError | undefined): void => {
      if (!current) return
      current = false
      abort.abort()
      if (error !== undefined) noteFailure('watch', error)
      const openForMs = openedAtMs === undefined ? 0 : clock.monotonicMs() - openedAtMs
      feed({ type: 'watch-ended', openForMs, events, ...(error === undefined ? {} : { error }) })
    }
    // Spread, so that all watches of a fleet do not end in the same second.
    const seconds = Math.max(1, Math.round((options.watchSeconds ?? defaultWatchSeconds) * (1 - options.random() / 4)))
    void client
      .stream({
        path,
        query: {
          ...selectors,
          watch: '1',
          allowWatchBookmarks: 'true',
          resourceVersion,
          timeoutSeconds: String(seconds),
        },
        openTimeoutMs,
        totalTimeoutMs: seconds * 1000 + watchMarginMs,
        signal: abort.signal,
        onOpen: () => {
          openedAtMs = clock.monotonicMs()
          noteRecovery()
        },
        onValue: (value) => {
          if (!current) return
          const event = asObject(value)
          const object = event?.['object']
          if (event?.['type'] === 'ERROR') {
            end(errorFromStatusObject(object))
            return
          }
          if (!takeIn(event?.['type'], object, sink)) {
            end({ status: 200, reason: 'NotKubernetes', message: `a watch event of type ${String(event?.['type'])}` })
            return
          }
          events++
          noteSuccess()
          const version = identityOf(object).resourceVersion
          if (version !== '') feed({ type: 'progress', resourceVersion: version })
        },
      })
      .then((result) => end(result.ok ? undefined : result.error))
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
      // A connection on which something came since is none of those that went silent; nor is a page that was only just asked for.
      const heardMs = state.phase.type === 'listing' ? askedMs + pagePatienceMs : (lastEventMonotonicMs ?? 0)
      const silentSinceMs = state.phase.type === 'listing' ? clock.monotonicMs() : awaySinceMs
      if (heardMs < silentSinceMs) feed({ type: 'server-returned' })
    }, signal)
    feed({ type: 'start' })
  }

  return {
    facts: () => ({
      synced: state.synced,
      phase: state.phase.type === 'waiting-for-page' ? 'waiting' : state.phase.type,
      relists: Math.max(0, state.lists - 1),
      resourceVersion: state.resourceVersion,
      ...(lastEventMonotonicMs === undefined ? {} : { lastEventMonotonicMs }),
      ...(lastError === undefined ? {} : { lastError }),
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

/** Applies one event; false when it is none that the watch protocol knows. */
function takeIn(type: unknown, object: unknown, sink: ReflectorSink): boolean {
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      sink.put(object)
      return true
    case 'DELETED':
      sink.remove(object)
      return true
    case 'BOOKMARK':
      return true
    default:
      return false
  }
}

function advice(error: KubeError, resource: Resource): { readonly advice?: string } {
  if (error.status === 403) return { advice: `the ClusterRole must allow list and watch on ${resource.plural}` }
  if (error.status === 401) return { advice: 'the server does not accept these credentials' }
  if (error.status === 404)
    return { advice: `the server does not know ${resource.plural} in ${resource.apiVersion}: are the CRDs installed?` }
  return {}
}
