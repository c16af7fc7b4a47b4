// Leader election over a Lease: the shell around election.ts. Campaigns until it is stopped; being elected hands out a fence that
// ends when leadership does (term.ts), and a process that was paused finds its fence closed before it can write. Who knows that the
// leader is dead can have its lease taken at once, if the leader lets that happen.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { pause } from '../runtime/pause.ts'
import type { KubeClient } from './client.ts'
import {
  acquired,
  defaultElectionTiming,
  type ElectionTiming,
  electionAttempt,
  initialElection,
  leadsUntilMs,
  observeLease,
  resigned,
} from './election.ts'
import type { Fence } from './fence.ts'
import { isConflict, isNotFound, type KubeError } from './kube-error.ts'
import { createLeaseRequests } from './lease-requests.ts'
import { startTerm, type Term } from './term.ts'

export interface LeaderElectionOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The Lease's name. */
  readonly name: string
  /** Unique among candidates, also across restarts of one Pod: `<pod>_<random>`. */
  readonly identity: string
  /** Called at each election; the fence's signal fires when leadership ends. */
  readonly onElected: (fence: Fence) => void
  readonly timing?: ElectionTiming
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Stops campaigning; a leader gives the lease back. */
  readonly signal: AbortSignal
}

export interface LeaderFacts {
  readonly leading: boolean
  /** Who holds the lease as last seen; empty when nobody or unknown. */
  readonly holder: string
  readonly lastError?: KubeError
}

/** The reasons to believe that the holder of the lease is dead. */
export interface Suspicion {
  /** Whether it is this holder's death that is believed in. */
  readonly concerns: (holder: string) => boolean
  /** Asked before the lease is taken: nothing has spoken for the holder since. */
  readonly stands: () => boolean
  /** Asks the holder himself; true = he lives. Never rejects. */
  readonly answers: () => Promise<boolean>
}

export interface LeaderElection {
  readonly facts: () => LeaderFacts
  /** Renews the lease now, if this candidate leads, and often for a while: rivals that believe it dead see that it is not. */
  readonly renew: () => void
  /**
   * Has the lease taken without waiting for its end: when the holder does not answer, and leaves the lease untouched for
   * `successionGraceMs` after a look at it. A holder that lives renews in this time, or finds at his next renewal that he leads no more.
   */
  readonly succeed: (suspicion: Suspicion) => void
  /** Resolves after the signal fired and the lease was given back (or could not be). */
  readonly stopped: Promise<void>
}

/** So long a leader that is believed dead has to show that it is not. Longer where the API server is slow. */
export const successionGraceMs = 500
/** Two that do not hear each other notice it at different moments: a leader goes on showing that it lives, several times in each grace. */
const restlessMs = 2_000
const restlessRenewMs = 200
/** A look that failed is repeated: the API server may have lost one of its own hosts with the leader. */
const successionRetryMs = 250

/** More than this are not the deaths of single nodes. */
const suspectedMax = 16

const stopping = 'this process stops'

interface Suspected {
  readonly suspicion: Suspicion
  /** By its end the lease is free for everybody. */
  readonly untilMs: number
}

/** Starts campaigning at once. */
export function startLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const { clock, log, signal } = options
  const timing = options.timing ?? defaultElectionTiming
  const requests = createLeaseRequests({ ...options, timing })
  let state = initialElection(options.identity, timing)
  let term: Term | undefined
  let lastError: KubeError | undefined
  /** Several candidates may die at once, and one of them leads. */
  let suspected: readonly Suspected[] = []
  let restlessUntilMs = Number.NEGATIVE_INFINITY
  let hurry = new AbortController()

  const endTerm = (because: string): void => {
    if (term === undefined) return
    log.warn({ event: 'leadership-lost', lease: options.name, identity: options.identity, because })
    term.end(because)
    term = undefined
    state = resigned(state)
  }

  /** Makes the term agree with the state. */
  const settle = (): void => {
    const untilMs = leadsUntilMs(state)
    if (untilMs === undefined) {
      endTerm(`the lease is held by ${state.seen?.lease.holder || 'nobody'}`)
      return
    }
    // A renewal that took longer than the deadline is worth nothing.
    if (clock.monotonicMs() >= untilMs) {
      endTerm('the lease could not be renewed in time')
      state = resigned(state)
      return
    }
    if (term !== undefined) {
      term.extend(untilMs)
      return
    }
    log.info({ event: 'leadership-won', lease: options.name, identity: options.identity })
    term = startTerm(clock, untilMs, () => endTerm('the lease could not be renewed in time'))
    options.onElected(term.fence)
  }

  const attempt = async (): Promise<void> => {
    // A leader renews what it last wrote without looking first; a conflict makes it look.
    if (leadsUntilMs(state) === undefined) {
      const looked = await requests.look(signal)
      if (signal.aborted) return
      if (!looked.ok) {
        noteError(looked.error)
        return
      }
      state = observeLease(state, looked.value, clock.monotonicMs())
    }
    const begunMs = clock.monotonicMs()
    const wanted = electionAttempt(state, begunMs)
    if (wanted.type === 'wait') {
      lastError = undefined
      return
    }
    const written = await requests.write(wanted, signal)
    if (signal.aborted) return
    if (written.ok) {
      lastError = undefined
      state = acquired(state, written.value, begunMs, clock.monotonicMs())
    } else if (isConflict(written.error) || isNotFound(written.error)) {
      const looked = await requests.look(signal)
      if (signal.aborted) return
      if (looked.ok) state = observeLease(state, looked.value, clock.monotonicMs())
    } else noteError(written.error)
    settle()
  }

  const noteError = (error: KubeError): void => {
    if (lastError?.reason !== error.reason)
      log.warn({ event: 'leader-election-failing', lease: options.name, reason: error.reason, message: error.message })
    lastError = error
  }

  /** Within the campaign, so that no other attempt is under way. */
  const succeedNow = async (suspicions: readonly Suspected[]): Promise<'done' | 'again'> => {
    const begunMs = clock.monotonicMs()
    const looked = await requests.look(signal)
    if (signal.aborted) return 'done'
    if (!looked.ok) {
      noteError(looked.error)
      return 'again'
    }
    state = observeLease(state, looked.value, clock.monotonicMs())
    const lease = looked.value
    if (lease === undefined || lease.holder === options.identity) return 'done'
    const suspicion = suspicions.map((each) => each.suspicion).find(({ concerns }) => concerns(lease.holder))
    if (suspicion === undefined) return 'done'
    // Whoever has to show that he lives meets the same API server.
    const graceMs = Math.max(successionGraceMs, 3 * (clock.monotonicMs() - begunMs))
    const [lives] = await Promise.all([suspicion.answers(), pause(clock, graceMs, signal)])
    if (signal.aborted) return 'done'
    if (lives || !suspicion.stands()) {
      log.info({ event: 'succession-withheld', lease: options.name, holder: lease.holder })
      return 'done'
    }
    const writeMs = clock.monotonicMs()
    const { resourceVersion, transitions } = lease
    const wanted = { type: 'acquire', resourceVersion, transitions: transitions + 1, takeover: true } as const
    const written = await requests.write(wanted, signal)
    if (signal.aborted) return 'done'
    if (!written.ok) {
      noteError(written.error)
      return isConflict(written.error) ? 'done' : 'again'
    }
    log.warn({ event: 'leader-succeeded', lease: options.name, identity: options.identity, holder: lease.holder })
    state = acquired(state, written.value, writeMs, clock.monotonicMs())
    settle()
    return 'done'
  }

  const campaign = async (): Promise<void> => {
    while (!signal.aborted) {
      hurry = new AbortController()
      const present = suspected.filter(({ untilMs }) => clock.monotonicMs() < untilMs)
      suspected = present
      if (present.length === 0) await attempt()
      else if ((await succeedNow(present)) === 'done') suspected = suspected.filter((each) => !present.includes(each))
      await pause(clock, nextAttemptMs(), AbortSignal.any([signal, hurry.signal]))
    }
  }
  const nextAttemptMs = (): number => {
    if (suspected.length > 0) return successionRetryMs
    if (term !== undefined)
      return Math.min(
        timing.retryPeriodMs,
        clock.monotonicMs() < restlessUntilMs ? restlessRenewMs : Number.POSITIVE_INFINITY,
      )
    // Followers spread out, so that they do not all meet at the lease that became free.
    return timing.retryPeriodMs * (1 + options.random() / 2)
  }

  // Whoever acts for the leader stops first; only then may another begin.
  const release = async (): Promise<void> => {
    const leading = term !== undefined
    term?.end(stopping)
    term = undefined
    let lease = state.seen?.lease
    if (!leading || lease === undefined) return
    let released = await requests.giveBack(lease)
    if (!released.ok && isConflict(released.error)) {
      // A renewal that was cut off by the stop may have been carried out all the same.
      const looked = await requests.look()
      lease = looked.ok ? looked.value : undefined
      if (lease?.holder === options.identity) released = await requests.giveBack(lease)
    }
    if (released.ok) log.info({ event: 'lease-released', lease: options.name })
    else log.info({ event: 'lease-not-released', lease: options.name, reason: released.error.reason })
  }

  // The fence must close in the same turn in which the signal fires, not when the campaign notices.
  signal.addEventListener('abort', () => term?.end(stopping), { once: true })

  return {
    renew: () => {
      if (term === undefined) return
      restlessUntilMs = clock.monotonicMs() + restlessMs
      hurry.abort()
    },
    succeed: (suspicion) => {
      if (term !== undefined) return
      const untilMs = clock.monotonicMs() + timing.leaseDurationMs
      suspected = [...suspected, { suspicion, untilMs }].slice(-suspectedMax)
      hurry.abort()
    },
    stopped: campaign().then(release),
    facts: () => ({
      leading: term?.fence.holds() ?? false,
      holder: state.seen?.lease.holder ?? '',
      ...(lastError === undefined ? {} : { lastError }),
    }),
  }
}
