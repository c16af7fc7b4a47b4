// Keeps the rules for the VIPs in place for as long as the agent lives: on every change of the set, and by looking again
// every few seconds, because firewalls are reloaded, nodes are "cleaned up" and other programs push themselves in front.
// Does nothing before it is told the desired set for the first time, and leaves the rules where they are when it ends.

import type { Ip, IpFamily } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import { type Backend, type BackendName, chosenBackend, detectBackend } from './backend.ts'
import type { IptablesError } from './errors.ts'
import { families, reconcile } from './reconcile.ts'
import { type Chains, type Drift, policyChains } from './render.ts'

export interface KeeperOptions {
  /** `auto`: the one that kubelet and kube-proxy use. */
  readonly backend: BackendName | 'auto'
  /** Pause between two looks at the rules. */
  readonly checkIntervalMs: number
  /** Chains that our jump stays behind in FORWARD; default `policyChains`. */
  readonly stayBehind?: readonly string[]
}

export interface KeeperDeps {
  readonly exec: Exec
  readonly clock: Clock
  readonly log: Log
  /** Ends the keeping; the rules stay. */
  readonly signal: AbortSignal
  /** Called when `lastError` came or went. */
  readonly onTrouble?: () => void
  /** Called with the very set that is in place now. */
  readonly onInPlace?: (vips: readonly Ip[]) => void
}

/** What the agent reports. */
export interface KeeperFacts {
  readonly backend?: BackendName
  /** VIPs and rules in place after the last success. */
  readonly vips: Readonly<Record<IpFamily, number>>
  readonly rules: Readonly<Record<IpFamily, number>>
  /** Times that somebody else's interference was undone, by what it was. */
  readonly repairs: Readonly<Record<Drift, number>>
  readonly applies: number
  readonly errors: number
  /** Wall clock of the last time everything was as desired, or undefined before the first. */
  readonly lastSyncMs?: number
  /** Absent when the last round went well. */
  readonly lastError?: IptablesError
}

export interface ForwardKeeper {
  /** The complete set of VIPs, both families. The newest call counts. */
  readonly setVips: (vips: readonly Ip[]) => void
  readonly facts: () => KeeperFacts
  /** Resolves after the signal fired and the round under way, if any, has ended. */
  readonly ended: Promise<void>
}

interface State {
  backend?: Backend
  readonly applied: Map<IpFamily, Chains>
  facts: KeeperFacts
}

const retryMs = 1000
const noFamilies: Readonly<Record<IpFamily, number>> = { IPv4: 0, IPv6: 0 }
const initialFacts: KeeperFacts = {
  vips: noFamilies,
  rules: noFamilies,
  repairs: { 'jump-missing': 0, 'jump-duplicated': 0, 'jump-misplaced': 0, 'chain-missing': 0, 'chain-altered': 0 },
  applies: 0,
  errors: 0,
}

/** Starts keeping. Never throws for what the node does; errors are facts, log lines and another try. */
export function keepForwardRules(options: KeeperOptions, deps: KeeperDeps): ForwardKeeper {
  const state: State = { applied: new Map(), facts: initialFacts }
  let desired: readonly Ip[] | undefined
  let wake: () => void = () => {}
  let changed = false

  const run = async (): Promise<void> => {
    while (!deps.signal.aborted) {
      if (desired !== undefined) {
        changed = false
        await round(desired, state, options, deps)
      }
      const waitMs = desired === undefined ? undefined : state.facts.lastError ? retryMs : options.checkIntervalMs
      if (!changed) await rest(waitMs)
    }
  }
  const rest = (waitMs: number | undefined): Promise<void> =>
    new Promise((resolve) => {
      let cancel: CancelTimer = () => {}
      wake = () => {
        cancel()
        deps.signal.removeEventListener('abort', wake)
        resolve()
      }
      if (waitMs !== undefined) cancel = deps.clock.setTimer(waitMs, wake)
      deps.signal.addEventListener('abort', wake)
      if (deps.signal.aborted) wake()
    })

  return {
    setVips: (vips) => {
      desired = vips
      changed = true
      wake()
    },
    facts: () => state.facts,
    ended: run(),
  }
}

async function round(vips: readonly Ip[], state: State, options: KeeperOptions, deps: KeeperDeps): Promise<void> {
  const backend = await backendOf(state, options, deps)
  if (backend === undefined) return
  let firstError: IptablesError | undefined
  for (const family of families) firstError ??= await keepFamily(family, vips, backend, state, options, deps)
  const { lastError: previous, ...facts } = state.facts
  if (firstError === undefined) {
    state.facts = { ...facts, lastSyncMs: deps.clock.wallMs() }
    deps.onInPlace?.(vips)
    if (previous === undefined) return
    deps.log.info({ event: 'forward-rules-recovered', vips: vips.length })
    deps.onTrouble?.()
  } else fail(firstError, state, deps)
}

async function backendOf(state: State, { backend }: KeeperOptions, deps: KeeperDeps): Promise<Backend | undefined> {
  if (state.backend !== undefined) return state.backend
  const found = backend === 'auto' ? await detectBackend(deps.exec) : await chosenBackend(backend, deps.exec)
  if (!found.ok) {
    fail(found.error, state, deps)
    return undefined
  }
  state.backend = found.value
  state.facts = { ...state.facts, backend: found.value.name }
  deps.log.info({ event: 'iptables-backend', backend: found.value.name, because: found.value.because })
  return found.value
}

async function keepFamily(
  family: IpFamily,
  vips: readonly Ip[],
  backend: Backend,
  state: State,
  options: KeeperOptions,
  deps: KeeperDeps,
): Promise<IptablesError | undefined> {
  const lastApplied = state.applied.get(family)
  const stayBehind = options.stayBehind ?? policyChains
  const own = vips.filter((vip) => vip.includes(':') === (family === 'IPv6'))
  const outcome = await reconcile(
    { backend, family, vips: own, stayBehind, ...(lastApplied === undefined ? {} : { lastApplied }) },
    deps,
  )
  if (!outcome.ok) {
    // A node without IPv6, or without its program, is in order as long as nobody asks for IPv6.
    const needed = own.length > 0 || (lastApplied?.size ?? 0) > 0
    const absent = ['iptables/not-installed', 'iptables/kernel-lacks-it'].includes(outcome.error.code)
    return needed || !absent ? outcome.error : undefined
  }
  const { changed, drift, applied } = outcome.value
  state.applied.set(family, applied)
  const rules = [...applied.values()].reduce((sum, chain) => sum + chain.length, 0)
  state.facts = {
    ...state.facts,
    vips: { ...state.facts.vips, [family]: own.length },
    rules: { ...state.facts.rules, [family]: rules },
    repairs: countDrift(state.facts.repairs, drift),
    applies: state.facts.applies + (changed ? 1 : 0),
  }
  if (drift.length > 0) deps.log.warn({ event: 'forward-rules-repaired', family, because: drift })
  if (changed) deps.log.info({ event: 'forward-rules-applied', family, vips: own.length, rules })
  return undefined
}

function countDrift(repairs: KeeperFacts['repairs'], drift: readonly Drift[]): KeeperFacts['repairs'] {
  const counts = { ...repairs }
  for (const kind of drift) counts[kind]++
  return counts
}

function fail(error: IptablesError, state: State, { log, onTrouble }: KeeperDeps): void {
  const known = state.facts.lastError?.code === error.code
  state.facts = { ...state.facts, errors: state.facts.errors + 1, lastError: error }
  // The same trouble every second is one line, not thousands.
  if (known) return
  log.error({ event: 'forward-rules-failed', code: error.code, program: error.program, message: error.message })
  onTrouble?.()
}
