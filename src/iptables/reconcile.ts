// Makes one family of one back end hold the rules for a set of VIPs: look, compare, change in one transaction, and when
// somebody else was faster or holds the lock, look again. Also the way out: removing everything of ours.

import type { Ip, IpFamily } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import { pause } from '../runtime/pause.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { type Backend, installedBackends, programsOf } from './backend.ts'
import { explainFailure, type IptablesError, isTransient } from './errors.ts'
import { parseFilterTable } from './observe.ts'
import { afterChange, type Chains, type Drift, desiredChains, driftOf, type FilterTable, planChange } from './render.ts'

export const families: readonly IpFamily[] = ['IPv4', 'IPv6']

export interface ReconcileDeps {
  readonly exec: Exec
  readonly clock: Clock
}

export interface ReconcileRequest {
  readonly backend: Backend
  readonly family: IpFamily
  readonly vips: readonly Ip[]
  /** Chains that our jump stays behind in FORWARD. */
  readonly stayBehind: readonly string[]
  /** What this process left there last: what differs from it was done by somebody else. */
  readonly left?: FilterTable
  /** Nobody changed anything since: `left` is what is there, and need not be looked at. */
  readonly trusted?: true
}

export interface Reconciled {
  readonly changed: boolean
  /** Empty when nobody interfered, or when this is the first time. */
  readonly drift: readonly Drift[]
  readonly left: FilterTable
  /** Transactions, each of which raised the generation of nftables by one, where they are nftables. */
  readonly commits: number
}

const attemptsMax = 6
/** Trouble that lasts longer is told, and tried again by whoever asked. */
const patienceMs = 4_000
const lockWaitSeconds = 5
const pauseMs = 100

/** Reads the filter table. */
export async function observe(
  backend: Backend,
  family: IpFamily,
  exec: Exec,
): Promise<Result<FilterTable, IptablesError>> {
  const { save } = programsOf(backend, family)
  const result = await exec(save, ['-t', 'filter'])
  if (result.status !== 0 || result.stdout.includes("is incompatible, use 'nft' tool"))
    return err(explainFailure(save, result))
  return ok(parseFilterTable(result.stdout))
}

/** Brings one family to the desired state. Changes nothing when it is there already. */
export async function reconcile(
  request: ReconcileRequest,
  deps: ReconcileDeps,
): Promise<Result<Reconciled, IptablesError>> {
  const desired = desiredChains(request.family, request.vips)
  let drift: readonly Drift[] | undefined
  const untilMs = deps.clock.monotonicMs() + patienceMs
  for (let attempt = 1; ; attempt++) {
    const trusted = attempt === 1 && request.trusted === true ? request.left : undefined
    const observed = trusted ? ok(trusted) : await observe(request.backend, request.family, deps.exec)
    if (observed.ok) drift ??= driftSince(request, observed.value)
    const step = observed.ok ? await change(request, observed.value, desired, deps.exec) : observed
    if (step.ok) return ok({ ...step.value, drift: drift ?? [] })
    const isLast = attempt === attemptsMax || deps.clock.monotonicMs() >= untilMs
    if (!isTransient(step.error) || isLast) return step
    await pause(deps.clock, pauseMs * attempt)
  }
}

const driftSince = ({ left, stayBehind }: ReconcileRequest, observed: FilterTable): readonly Drift[] =>
  left === undefined ? [] : driftOf(observed, left.chains, { stayBehind })

async function change(
  { backend, family, stayBehind }: Pick<ReconcileRequest, 'backend' | 'family' | 'stayBehind'>,
  observed: FilterTable,
  desired: Chains,
  exec: Exec,
): Promise<Result<Omit<Reconciled, 'drift'>, IptablesError>> {
  const input = planChange(observed, desired, { stayBehind })
  if (input === undefined) return ok({ changed: false, left: observed, commits: 0 })
  const { restore } = programsOf(backend, family)
  const result = await exec(restore, ['--noflush', '-w', String(lockWaitSeconds)], { input, timeoutMs: 60_000 })
  if (result.status !== 0) return err(explainFailure(restore, result))
  return ok({ changed: true, left: afterChange(observed, desired, { stayBehind }), commits: 1 })
}

/** One place where rules of ours were found and removed. */
export interface Removed {
  readonly backend: Backend['name']
  readonly family: IpFamily
  readonly chains: number
}

/**
 * Removes every jump and chain of ours from every installed back end and both families. Tables that hold nothing of ours are
 * not touched, nor created by looking. Goes on after an error and returns the first.
 */
export async function removeAll(deps: ReconcileDeps): Promise<Result<readonly Removed[], IptablesError>> {
  const backends = await installedBackends(deps.exec)
  if (!backends.ok) return backends
  const removed: Removed[] = []
  let firstError: IptablesError | undefined
  for (const backend of backends.value) {
    const outcome = await removeFrom(backend, deps)
    if (outcome.ok) removed.push(...outcome.value)
    else firstError ??= outcome.error
  }
  return firstError === undefined ? ok(removed) : err(firstError)
}

/** Removes every jump and chain of ours from one back end, both families. Goes on after an error and returns the first. */
export async function removeFrom(
  backend: Backend,
  deps: ReconcileDeps,
): Promise<Result<readonly Removed[], IptablesError>> {
  const removed: Removed[] = []
  let firstError: IptablesError | undefined
  for (const family of families) {
    const found = await chainsInAnyTable(backend, family, deps.exec)
    const outcome =
      found.ok && found.value > 0
        ? await reconcile({ backend, family, vips: [], stayBehind: [] }, deps)
        : (found as Result<unknown, IptablesError>)
    if (!outcome.ok) firstError ??= outcome.error
    else if (found.ok && found.value > 0) removed.push({ backend: backend.name, family, chains: found.value })
  }
  return firstError === undefined ? ok(removed) : err(firstError)
}

// Without a table's name, because the legacy program creates a table that it is asked for.
async function chainsInAnyTable(
  backend: Backend,
  family: IpFamily,
  exec: Exec,
): Promise<Result<number, IptablesError>> {
  const { save } = programsOf(backend, family)
  const result = await exec(save, [])
  // A family or back end that is not there holds nothing of ours.
  if (result.status === 127) return ok(0)
  if (result.status !== 0) {
    const error = explainFailure(save, result)
    return error.code === 'iptables/kernel-lacks-it' ? ok(0) : err(error)
  }
  return ok(parseFilterTable(result.stdout).chains.size)
}
