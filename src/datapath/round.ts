// One look at the node: choose the back end where that is open, bring iptables and nftables to what the VIPs need, and say what
// came of it. Errors are values and facts; the keeper decides when to look again.

import type { Backend } from '../iptables/backend.ts'
import { families, reconcile } from '../iptables/reconcile.ts'
import { type Drift, type FilterTable, policyChains } from '../iptables/render.ts'
import { familyOf, type IpFamily } from '../net/ip.ts'
import { type Look, type NftState, reconcileNft, untouched } from '../nftables/reconcile.ts'
import type { RefusalOptions } from '../nftables/table.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import { type BackendChoice, chooseBackend, type DatapathBackend, type DatapathError } from './choose.ts'
import { removeFromOthers } from './cleanup.ts'
import type { VipRules } from './desired.ts'

export interface RoundOptions {
  /** `auto`: by what is in use on the node. */
  readonly backend: BackendChoice
  /** Chains that our jump stays behind in FORWARD; default `policyChains`. */
  readonly stayBehind?: readonly string[]
  /** What to refuse; default nothing. */
  readonly refusals?: RefusalOptions
}

export interface RoundDeps {
  readonly exec: Exec
  readonly clock: Clock
  readonly log: Log
}

/** What this process knows of its own earlier rounds. */
export interface RoundState {
  backend?: DatapathBackend
  chosenMonotonicMs: number
  /** The back end is new: what another one, or an earlier agent, left elsewhere has to go once its successor stands. */
  sweep: boolean
  /** As it was left. */
  readonly iptables: Map<IpFamily, FilterTable>
  nft: NftState
}

export const initialState = (): RoundState => ({
  chosenMonotonicMs: 0,
  sweep: false,
  iptables: new Map(),
  nft: untouched,
})

export interface RoundOutcome {
  readonly changed: boolean
  readonly drift: readonly Drift[]
  /** Rules in iptables, and elements of sets in nftables, by family; absent for what could not be looked at. */
  readonly rules: Readonly<Partial<Record<IpFamily, number>>>
  /** By how much the round itself raised the generation of nftables. */
  readonly commits: number
  readonly error?: DatapathError
}

const noOutcome: RoundOutcome = { changed: false, drift: [], rules: {}, commits: 0 }

/** A back end that was chosen by what is there is questioned again after this time. */
const chooseAgainMs = 5 * 60_000

/** Looks once, as closely as `look` says, and brings everything in order. Goes on after an error, and returns the first. */
export async function lookOnce(
  { vips, look }: { readonly vips: readonly VipRules[]; readonly look: Look },
  state: RoundState,
  options: RoundOptions,
  deps: RoundDeps,
): Promise<RoundOutcome> {
  // Who closes FORWARD is asked anew when everything is.
  const chosen =
    look === 'everything' || state.backend === undefined ? await backendOf(state, options, deps) : state.backend
  if ('code' in chosen) return { ...noOutcome, error: chosen }
  const request: RoundRequest = { vips, look, backend: chosen }
  const outcomes: RoundOutcome[] = []
  if (chosen.name !== 'nftables')
    for (const family of families)
      outcomes.push(await keepFamily(family, { ...request, backend: chosen }, state, options, deps))
  outcomes.push(await keepNft(request, state, options, deps))
  const error = outcomes.map((outcome) => outcome.error).find((candidate) => candidate !== undefined)
  if (state.sweep && error === undefined) {
    await removeFromOthers(chosen, deps)
    state.sweep = false
  }
  return {
    changed: outcomes.some(({ changed }) => changed),
    drift: outcomes.flatMap(({ drift }) => drift),
    rules: Object.assign({}, ...outcomes.map(({ rules }) => rules)),
    commits: outcomes.reduce((sum, { commits }) => sum + commits, 0),
    ...(error === undefined ? {} : { error }),
  }
}

interface RoundRequest<Chosen extends DatapathBackend = DatapathBackend> {
  readonly vips: readonly VipRules[]
  readonly look: Look
  readonly backend: Chosen
}

async function backendOf(
  state: RoundState,
  { backend: choice }: RoundOptions,
  deps: RoundDeps,
): Promise<DatapathBackend | DatapathError> {
  const nowMs = deps.clock.monotonicMs()
  const settled =
    choice !== 'auto' || (state.backend?.name !== 'nftables' && nowMs - state.chosenMonotonicMs < chooseAgainMs)
  if (state.backend !== undefined && settled) return state.backend
  const found = await chooseBackend(choice, deps.exec)
  // One that served until now still does: not seeing why is no reason to leave it.
  if (!found.ok) return state.backend ?? found.error
  const before = state.backend
  state.backend = found.value
  state.chosenMonotonicMs = nowMs
  const { name, because } = found.value
  if (before?.name === name) return before
  deps.log.info({ event: 'datapath-backend', backend: name, because })
  state.iptables.clear()
  state.sweep = true
  return found.value
}

async function keepFamily(
  family: IpFamily,
  { vips, look, backend }: RoundRequest<Backend>,
  state: RoundState,
  options: RoundOptions,
  deps: RoundDeps,
): Promise<RoundOutcome> {
  const left = state.iptables.get(family)
  // The generation says nothing of legacy iptables.
  const trusted = look === 'nothing' && backend.name === 'nft'
  const stayBehind = options.stayBehind ?? policyChains
  const own = vips.map(({ address }) => address).filter((address) => familyOf(address) === family)
  const outcome = await reconcile(
    {
      ...{ backend, family, vips: own, stayBehind },
      ...(left === undefined ? {} : { left }),
      ...(trusted ? { trusted } : {}),
    },
    deps,
  )
  if (!outcome.ok) {
    // A node without IPv6, or without its program, is in order as long as nobody asks for IPv6.
    const needed = own.length > 0 || (left?.chains.size ?? 0) > 0
    const absent = ['iptables/not-installed', 'iptables/kernel-lacks-it'].includes(outcome.error.code)
    return { ...noOutcome, ...(needed || !absent ? { error: outcome.error } : {}) }
  }
  const { changed, drift, commits } = outcome.value
  state.iptables.set(family, outcome.value.left)
  const rules = [...outcome.value.left.chains.values()].reduce((sum, chain) => sum + chain.length, 0)
  return { changed, drift, rules: { [family]: rules }, commits: backend.name === 'nft' ? commits : 0 }
}

async function keepNft(
  { vips, look, backend }: RoundRequest,
  state: RoundState,
  { refusals = { sourceRanges: false, unusedPorts: false } }: RoundOptions,
  deps: RoundDeps,
): Promise<RoundOutcome> {
  const outcome = await reconcileNft({ vips, refusals, last: state.nft, look }, deps)
  if (!outcome.ok) {
    // A node without nftables is in order as long as nobody asks for what only nftables does.
    const needed = backend.name === 'nftables' || refusals.sourceRanges || refusals.unusedPorts
    const absent = ['nftables/not-installed', 'nftables/kernel-lacks-it'].includes(outcome.error.code)
    return { ...noOutcome, ...(needed || !absent ? { error: outcome.error } : {}) }
  }
  const { changed, drift, commits } = outcome.value
  state.nft = outcome.value.state
  return { changed, drift, rules: {}, commits }
}
