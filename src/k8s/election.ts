// Who may lead, as pure decisions over a Lease (the scheme of client-go's leaderelection). Safety rests on intervals of each
// candidate's own monotonic clock: a leader counts its time from before it asked, a rival from after it saw, and the leader
// gives up earlier (renew deadline) than a rival takes over (lease duration). Wall clocks may say what they like.

import type { Lease } from './lease.ts'

export interface ElectionTiming {
  /** A lease that was not seen renewed for this long is free. */
  readonly leaseDurationMs: number
  /** A leader that could not renew for this long is none any more. Must be less than leaseDurationMs. */
  readonly renewDeadlineMs: number
  /** Between attempts. Must be less than renewDeadlineMs. */
  readonly retryPeriodMs: number
}

export const defaultElectionTiming: ElectionTiming = {
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2_000,
}

export interface ElectionState {
  readonly identity: string
  readonly timing: ElectionTiming
  /** The lease as last seen, and when it was first seen like this. */
  readonly seen?: { readonly lease: Lease; readonly sinceMs: number }
  /** Leading: when the last write that succeeded was begun. */
  readonly renewedMs?: number
}

export type ElectionAttempt =
  | { readonly type: 'create' }
  /** Write the lease, if it is still at this version. */
  | {
      readonly type: 'acquire'
      readonly resourceVersion: string
      readonly transitions: number
      /** From somebody else (or nobody): then the acquire time is new as well. */
      readonly takeover: boolean
    }
  /** Somebody else holds it. */
  | { readonly type: 'wait' }

/** Throws on timing that could elect two. */
export function initialElection(identity: string, timing: ElectionTiming): ElectionState {
  if (!(timing.retryPeriodMs < timing.renewDeadlineMs && timing.renewDeadlineMs < timing.leaseDurationMs))
    throw new Error('leader election needs retryPeriod < renewDeadline < leaseDuration')
  if (identity === '') throw new Error('leader election needs an identity')
  return { identity, timing }
}

/** A lease was read (undefined: there is none). `nowMs` after the answer came. */
export function observeLease(state: ElectionState, lease: Lease | undefined, nowMs: number): ElectionState {
  const { seen: before, renewedMs, ...base } = state
  // Held by another: whatever we believed, we do not lead.
  const leading = renewedMs !== undefined && lease?.holder === state.identity ? { renewedMs } : {}
  if (lease === undefined) return { ...base, ...leading }
  const sinceMs = before?.lease.renewal === lease.renewal ? before.sinceMs : nowMs
  return { ...base, ...leading, seen: { lease, sinceMs } }
}

/** What to try now, after a fresh look. */
export function electionAttempt(state: ElectionState, nowMs: number): ElectionAttempt {
  if (state.seen === undefined) return { type: 'create' }
  const { lease, sinceMs } = state.seen
  const ours = lease.holder === state.identity
  // The holder's own idea of the duration counts: it may be configured otherwise.
  const expiresMs = sinceMs + Math.max(lease.durationSeconds * 1000, lease.holder === '' ? 0 : 1000)
  if (!ours && lease.holder !== '' && nowMs < expiresMs) return { type: 'wait' }
  return {
    type: 'acquire',
    resourceVersion: lease.resourceVersion,
    transitions: ours ? lease.transitions : lease.transitions + 1,
    takeover: !ours,
  }
}

/** Our write of the lease succeeded; it was begun at `begunMs` and answered with `lease` at `nowMs`. */
export function acquired(state: ElectionState, lease: Lease, begunMs: number, nowMs: number): ElectionState {
  return { ...state, seen: { lease, sinceMs: nowMs }, renewedMs: begunMs }
}

/** Until when this candidate leads; undefined when it does not. */
export const leadsUntilMs = (state: ElectionState): number | undefined =>
  state.renewedMs === undefined ? undefined : state.renewedMs + state.timing.renewDeadlineMs

/** The time ran out, or we step down. */
export function resigned(state: ElectionState): ElectionState {
  const { renewedMs: _renewedMs, ...rest } = state
  return rest
}
