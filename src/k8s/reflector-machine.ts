// What list and watch do next, as a pure machine: inputs are what happened on the wire, actions are what the shell does.
// The machine never holds objects. Its promises: nobody sees half a list (its items are staged as they come, then swapped in at once); a watch
// continues where the last one stopped; history that is gone (410) leads to a new list; no failure leads to a hot loop.

import { isExpired, type KubeError } from './kube-error.ts'

/** How a list is to be answered: `quorum` from the storage itself, `cache` from what the server remembers (cheaper, may be older). */
export type Consistency = 'quorum' | 'cache'

/** One request for one page. */
export interface ListPage {
  /** 0 = no limit: the whole list in one answer. */
  readonly limit: number
  readonly continueToken?: string
  /** Absent: the newest there is. `0`: any version. Otherwise: at least this version. */
  readonly resourceVersion?: string
}

export type ReflectorPhase =
  | { readonly type: 'idle' }
  /** `covers`: confirmations asked for before this list began. */
  | { readonly type: 'listing'; readonly page: ListPage; readonly covers: number; readonly pageFailures: number }
  | { readonly type: 'watching' }
  | { readonly type: 'waiting'; readonly next: 'list' | 'watch' }
  | {
      readonly type: 'waiting-for-page'
      readonly page: ListPage
      readonly covers: number
      readonly pageFailures: number
    }
  | { readonly type: 'stopped' }

export interface ReflectorState {
  readonly phase: ReflectorPhase
  /** Where the next watch begins; empty before the first list. */
  readonly resourceVersion: string
  /** A whole list was swapped in at least once. */
  readonly synced: boolean
  readonly lists: number
  /** In a row, without a watch that brought anything or stayed open. */
  readonly failures: number
  /** Confirmations asked for so far. */
  readonly confirmsAsked: number
  readonly settings: ReflectorSettings
}

export interface ReflectorSettings {
  readonly pageLimit: number
  readonly consistency: Consistency
}

export type ReflectorInput =
  | { readonly type: 'start' }
  | { readonly type: 'page'; readonly resourceVersion: string; readonly continueToken?: string }
  | { readonly type: 'list-failed'; readonly error: KubeError }
  /** An event or bookmark was taken in. */
  | { readonly type: 'progress'; readonly resourceVersion: string }
  /** The watch ended, by the server's time limit (no error) or not. `events` counts bookmarks too. */
  | { readonly type: 'watch-ended'; readonly error?: KubeError; readonly openForMs: number; readonly events: number }
  | { readonly type: 'timer' }
  /** The server answers again after it was away, and nothing has come from it on this watch or for this page since. */
  | { readonly type: 'server-returned' }
  /** Somebody wants a list that began after this moment. */
  | { readonly type: 'confirm' }
  | { readonly type: 'stop' }

export type ReflectorAction =
  /** Forget what was staged: a new list begins. */
  | { readonly type: 'begin' }
  | { readonly type: 'list'; readonly page: ListPage }
  /** What was staged since the list began is the collection. */
  | { readonly type: 'swap'; readonly resourceVersion: string }
  | { readonly type: 'watch'; readonly resourceVersion: string }
  /** End the request or watch that is under way, or the timer. */
  | { readonly type: 'cancel' }
  | { readonly type: 'wait'; readonly attempt: number }
  /** All confirmations up to this one hold. */
  | { readonly type: 'confirmed'; readonly upTo: number }

export type ReflectorStep = readonly [ReflectorState, readonly ReflectorAction[]]

/** A watch open this long, or one that brought something, counts as a success. */
const healthyOpenMs = 5_000
/** A page is asked for again this often before the list starts over. */
const pageFailuresMax = 3
/** After this many failures in a row a watch is given up for a new list. */
const watchFailuresMax = 3

export function initialReflectorState(settings: ReflectorSettings): ReflectorState {
  return {
    phase: { type: 'idle' },
    resourceVersion: '',
    synced: false,
    lists: 0,
    failures: 0,
    confirmsAsked: 0,
    settings,
  }
}

/** The next state and what to do. Inputs that do not belong to the phase change nothing. */
export function reflectorStep(state: ReflectorState, input: ReflectorInput): ReflectorStep {
  if (state.phase.type === 'stopped') return [state, []]
  switch (input.type) {
    case 'start':
      return state.phase.type === 'idle' ? beginList(state) : [state, []]
    case 'stop':
      return [{ ...state, phase: { type: 'stopped' } }, [{ type: 'cancel' }]]
    case 'confirm':
      return onConfirm({ ...state, confirmsAsked: state.confirmsAsked + 1 })
    case 'timer':
      return onTimer(state)
    case 'server-returned':
      return onServerReturned(state)
    case 'page':
      return state.phase.type === 'listing' ? onPage(state, state.phase, input) : [state, []]
    case 'list-failed':
      return state.phase.type === 'listing' ? onListFailed(state, state.phase, input.error) : [state, []]
    case 'progress':
      return state.phase.type === 'watching'
        ? [{ ...state, resourceVersion: input.resourceVersion, failures: 0 }, []]
        : [state, []]
    case 'watch-ended':
      return state.phase.type === 'watching' ? onWatchEnded(state, input) : [state, []]
  }
}

// ----------------------------------------------------------------------------------------------------------- list

function beginList(state: ReflectorState, options: { readonly unpaged?: true } = {}): ReflectorStep {
  const page: ListPage = {
    limit: options.unpaged ? 0 : state.settings.pageLimit,
    ...listVersion(state),
  }
  const phase: ReflectorPhase = { type: 'listing', page, covers: state.confirmsAsked, pageFailures: 0 }
  return [{ ...state, phase }, [{ type: 'begin' }, { type: 'list', page }]]
}

// A confirmation must not be answered from a cache, and a server that does not know our version has nothing else to offer.
function listVersion(state: ReflectorState): { readonly resourceVersion?: string } {
  if (state.settings.consistency === 'quorum' || state.confirmsAsked > 0 || state.failures > 0) return {}
  return { resourceVersion: state.resourceVersion === '' ? '0' : state.resourceVersion }
}

type Listing = Extract<ReflectorPhase, { type: 'listing' }>

function onPage(
  state: ReflectorState,
  phase: Listing,
  input: Extract<ReflectorInput, { type: 'page' }>,
): ReflectorStep {
  if (input.continueToken !== undefined) {
    // The continue token carries the version; naming one as well is an error.
    const page: ListPage = { limit: phase.page.limit, continueToken: input.continueToken }
    return [{ ...state, phase: { ...phase, page, pageFailures: 0 } }, [{ type: 'list', page }]]
  }
  const listed: ReflectorState = {
    ...state,
    resourceVersion: input.resourceVersion,
    synced: true,
    lists: state.lists + 1,
  }
  const done: readonly ReflectorAction[] = [
    { type: 'swap', resourceVersion: input.resourceVersion },
    ...(phase.covers > 0 ? [{ type: 'confirmed', upTo: phase.covers } as const] : []),
  ]
  const [next, actions] = state.confirmsAsked > phase.covers ? beginList(listed) : beginWatch(listed)
  return [next, [...done, ...actions]]
}

function onListFailed(state: ReflectorState, phase: Listing, error: KubeError): ReflectorStep {
  if (isExpired(error)) {
    // The snapshot behind the continue token was compacted away: the whole list at once cannot expire on its way.
    if (phase.page.continueToken !== undefined) return beginList(state, { unpaged: true })
    return wait({ ...state, failures: state.failures + 1 }, 'list')
  }
  const pageFailures = phase.pageFailures + 1
  if (phase.page.continueToken === undefined || pageFailures >= pageFailuresMax)
    return wait({ ...state, failures: state.failures + 1 }, 'list')
  return [
    { ...state, phase: { type: 'waiting-for-page', page: phase.page, covers: phase.covers, pageFailures } },
    [{ type: 'wait', attempt: pageFailures }],
  ]
}

// ---------------------------------------------------------------------------------------------------------- watch

function beginWatch(state: ReflectorState): ReflectorStep {
  return [{ ...state, phase: { type: 'watching' } }, [{ type: 'watch', resourceVersion: state.resourceVersion }]]
}

function onWatchEnded(before: ReflectorState, input: Extract<ReflectorInput, { type: 'watch-ended' }>): ReflectorStep {
  const healthy = input.events > 0 || input.openForMs >= healthyOpenMs
  const state: ReflectorState = healthy ? { ...before, failures: 0 } : before
  if (input.error === undefined)
    return healthy ? beginWatch(state) : wait({ ...state, failures: state.failures + 1 }, 'watch')
  const failed: ReflectorState = { ...state, failures: state.failures + 1 }
  if (isExpired(input.error)) return state.failures === 0 ? beginList(state) : wait(failed, 'list')
  // While the server is away or overloaded our version stays good, and a fleet that lists anew would only keep it down.
  const patient = input.error.status === 0 || input.error.status === 429 || input.error.status === 503
  if (patient) return input.error.reason === 'Timeout' && healthy ? beginWatch(state) : wait(failed, 'watch')
  return wait(failed, failed.failures >= watchFailuresMax ? 'list' : 'watch')
}

function wait(state: ReflectorState, next: 'list' | 'watch'): ReflectorStep {
  return [{ ...state, phase: { type: 'waiting', next } }, [{ type: 'wait', attempt: state.failures }]]
}

function onTimer(state: ReflectorState): ReflectorStep {
  switch (state.phase.type) {
    case 'waiting':
      return state.phase.next === 'list' ? beginList(state) : beginWatch(state)
    case 'waiting-for-page': {
      const { page, covers, pageFailures } = state.phase
      return [{ ...state, phase: { type: 'listing', page, covers, pageFailures } }, [{ type: 'list', page }]]
    }
    default:
      return [state, []]
  }
}

// A connection that went silent with the server may stay silent for as long as the server was away, until TCP tries again. How often
// it was asked in vain says nothing about a server that is there: one that has just started refuses everything for a second, until
// it has read the roles (403) and the definitions (404), and must not be left alone for half a minute over that.
function onServerReturned(before: ReflectorState): ReflectorStep {
  const state: ReflectorState = { ...before, failures: 0 }
  switch (state.phase.type) {
    case 'watching': {
      const [next, actions] = beginWatch(state)
      return [next, [{ type: 'cancel' }, ...actions]]
    }
    case 'listing': {
      const { page } = state.phase
      const [next, actions]: ReflectorStep =
        page.continueToken === undefined ? beginList(state) : [state, [{ type: 'list', page }]]
      return [next, [{ type: 'cancel' }, ...actions]]
    }
    case 'waiting':
    case 'waiting-for-page': {
      const [next, actions] = onTimer(state)
      return [next, [{ type: 'cancel' }, ...actions]]
    }
    default:
      return [state, []]
  }
}

function onConfirm(state: ReflectorState): ReflectorStep {
  switch (state.phase.type) {
    case 'watching': {
      const [next, actions] = beginList(state)
      return [next, [{ type: 'cancel' }, ...actions]]
    }
    case 'waiting':
      return [{ ...state, phase: { type: 'waiting', next: 'list' } }, []]
    default:
      return [state, []]
  }
}
