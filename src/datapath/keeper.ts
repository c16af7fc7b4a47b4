// Keeps the node's datapath as the VIPs need it for as long as the agent lives: on every change of the set, when the kernel's
// rules became others, and by looking again every few seconds, because firewalls are reloaded, nodes are "cleaned up" and other
// programs push themselves in front. Does nothing before it is told the desired set for the first time, and leaves the rules where
// they are when it ends.

import type { Drift } from '../iptables/render.ts'
import { familyOf, type IpFamily } from '../net/ip.ts'
import type { Look } from '../nftables/reconcile.ts'
import type { CancelTimer } from '../runtime/clock.ts'
import type { DatapathBackend, DatapathError } from './choose.ts'
import { sameRules, type VipRules } from './desired.ts'
import { initialState, lookOnce, type RoundDeps, type RoundOptions, type RoundOutcome } from './round.ts'

export interface KeeperOptions extends RoundOptions {
  /** Pause between two looks at the rules. */
  readonly checkIntervalMs: number
}

/** What happened that people want to hear of. */
export type KeeperNews =
  | { readonly type: 'failed'; readonly error: DatapathError }
  | { readonly type: 'recovered' }
  | { readonly type: 'repaired'; readonly drift: readonly Drift[] }

export interface KeeperDeps extends RoundDeps {
  /** Ends the keeping; the rules stay. */
  readonly signal: AbortSignal
  /** Called with the very set that is in place now. */
  readonly onInPlace?: (vips: readonly VipRules[]) => void
  readonly onNews?: (news: KeeperNews) => void
  /** The kernel's present nftables generation: changes of others are seen within a second, and nothing is done when there is none. */
  readonly generation?: () => number | undefined
}

/** What the agent reports. */
export interface KeeperFacts {
  readonly backend?: DatapathBackend['name']
  /** VIPs in place after the last success, and the iptables rules for them. */
  readonly vips: Readonly<Record<IpFamily, number>>
  readonly rules: Readonly<Record<IpFamily, number>>
  /** Times that somebody else's interference was undone, by what it was. */
  readonly repairs: Readonly<Record<Drift, number>>
  readonly applies: number
  readonly errors: number
  /** Wall clock of the last time everything was as desired, or undefined before the first. */
  readonly lastSyncMs?: number
  /** Absent when the last round went well. */
  readonly lastError?: DatapathError
}

export interface ForwardKeeper {
  /** The complete set of VIPs, both families. The newest call counts. */
  readonly setVips: (vips: readonly VipRules[]) => void
  readonly facts: () => KeeperFacts
  /** Resolves after the signal fired and the round under way, if any, has ended. */
  readonly ended: Promise<void>
}

const retryMs = 1000
const pollMs = 1000
/** Looking because others changed something takes at most this share of the time, however busy they are, for each closeness. */
const restPerLook = 20
/** A generation that stands still makes looking superfluous; once in a while it is done all the same. */
const trustMs = 60_000

const noFamilies: Readonly<Record<IpFamily, number>> = { IPv4: 0, IPv6: 0 }
const initialFacts: KeeperFacts = {
  vips: noFamilies,
  rules: noFamilies,
  repairs: {
    'jump-missing': 0,
    'jump-duplicated': 0,
    'jump-misplaced': 0,
    'chain-missing': 0,
    'chain-altered': 0,
    'table-missing': 0,
    'table-altered': 0,
  },
  applies: 0,
  errors: 0,
}

/** Starts keeping. Never throws for what the node does; errors are facts, log lines, news and another try. */
export function keepForwardRules(options: KeeperOptions, deps: KeeperDeps): ForwardKeeper {
  const { clock, signal } = deps
  const state = initialState()
  let facts = initialFacts
  let desired: readonly VipRules[] | undefined
  let wake: () => void = () => {}
  let changed = false
  /** The set of the last look, if that went well. */
  let inPlace: readonly VipRules[] | undefined
  /** The generation in which everything is as it was left; undefined while that is not known. */
  let seen: number | undefined
  /** The generation of the last look, of whatever closeness. */
  let glanced: number | undefined
  /** The last look of any closeness, and the last one at everything; and how long to rest after such a one. */
  let triedMs = Number.NEGATIVE_INFINITY
  let lookedMs = Number.NEGATIVE_INFINITY
  const restMs: Record<Look, number> = { nothing: pollMs, rules: pollMs, everything: pollMs }

  const look = async (vips: readonly VipRules[]): Promise<void> => {
    const before = deps.generation?.()
    const closeness = closenessOf(before)
    changed = false
    const startMs = clock.monotonicMs()
    const outcome = await lookOnce({ vips, look: closeness }, state, options, deps)
    triedMs = clock.monotonicMs()
    restMs[closeness] = Math.max(pollMs, (triedMs - startMs) * restPerLook)
    if (closeness === 'everything') lookedMs = triedMs
    // Whoever else changed something meanwhile raised the generation beyond our own share.
    glanced = before === undefined ? undefined : (before + outcome.commits) >>> 0
    const known = closeness !== 'rules' && outcome.error === undefined && deps.generation?.() === glanced
    seen = known ? glanced : undefined
    facts = { ...afterRound(facts, outcome, vips, deps), ...(state.backend ? { backend: state.backend.name } : {}) }
    // Meanwhile the same may have been asked for as another version, which is in place then, too.
    const overtaken = desired !== vips && inPlace === desired
    if (outcome.error === undefined && !overtaken) {
      inPlace = vips
      deps.onInPlace?.(vips)
    }
    tell(outcome)
  }
  // A change waits for no long look, nor does the mending of a jump: rules are seen at once, and the rest when it is due.
  const closenessOf = (generation: number | undefined): Look => {
    if (inPlace === undefined || facts.lastError !== undefined || (!changed && wholeIsDue())) return 'everything'
    return changed && generation !== undefined && generation === seen ? 'nothing' : 'rules'
  }
  const tell = ({ error, drift, changed: applied, rules }: RoundOutcome): void => {
    if (drift.length > 0) {
      deps.log.warn({ event: 'forward-rules-repaired', because: drift })
      deps.onNews?.({ type: 'repaired', drift })
    }
    if (applied) deps.log.info({ event: 'forward-rules-applied', vips: desired?.length ?? 0, rules })
    if (error?.code === told) return
    told = error?.code
    // The same trouble every second is one line, not thousands.
    if (error === undefined) {
      deps.log.info({ event: 'forward-rules-recovered' })
      deps.onNews?.({ type: 'recovered' })
    } else {
      deps.log.error({
        event: 'forward-rules-failed',
        code: error.code,
        program: error.program,
        message: error.message,
      })
      deps.onNews?.({ type: 'failed', error })
    }
  }
  let told: DatapathError['code'] | undefined

  // What legacy iptables holds has no generation: there only looking tells.
  const standsStill = (): boolean =>
    seen !== undefined &&
    state.backend?.name !== 'legacy' &&
    facts.lastError === undefined &&
    clock.monotonicMs() - lookedMs < trustMs &&
    deps.generation?.() === seen

  const wholeIsDue = (): boolean => {
    const sinceMs = clock.monotonicMs() - lookedMs
    return (sinceMs >= options.checkIntervalMs && !standsStill()) || (sinceMs >= restMs.everything && movedSince(seen))
  }
  const movedSince = (generation: number | undefined): boolean => {
    const present = deps.generation?.()
    return present !== undefined && present !== generation
  }
  const due = (): boolean => {
    if (changed) return true
    const sinceMs = clock.monotonicMs() - triedMs
    if (facts.lastError !== undefined) return sinceMs >= retryMs
    return wholeIsDue() || (sinceMs >= restMs.rules && movedSince(glanced))
  }
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      if (desired !== undefined && due()) await look(desired)
      if (!changed) await rest(desired === undefined ? undefined : nextMs())
    }
  }
  const nextMs = (): number => {
    const intervalMs = facts.lastError === undefined ? options.checkIntervalMs : retryMs
    const sinceMs = facts.lastError === undefined ? lookedMs : triedMs
    const leftMs = intervalMs - (clock.monotonicMs() - sinceMs)
    if (deps.generation === undefined) return Math.max(1, leftMs)
    // A look that is due and has not begun is superfluous until the generation moves.
    return leftMs <= 0 ? pollMs : Math.min(pollMs, leftMs)
  }
  const rest = (waitMs: number | undefined): Promise<void> =>
    new Promise((resolve) => {
      let cancel: CancelTimer = () => {}
      wake = () => {
        cancel()
        signal.removeEventListener('abort', wake)
        resolve()
      }
      if (waitMs !== undefined) cancel = clock.setTimer(waitMs, wake)
      signal.addEventListener('abort', wake)
      if (signal.aborted) wake()
    })

  return {
    setVips: (vips) => {
      const settled = inPlace !== undefined && desired === inPlace && facts.lastError === undefined
      desired = vips
      if (settled && sameRules(vips, inPlace ?? [])) {
        // Another version of the same: what watches over the rules goes on doing so.
        inPlace = vips
        deps.onInPlace?.(vips)
        return
      }
      changed = true
      wake()
    },
    facts: () => facts,
    ended: run(),
  }
}

function afterRound(
  before: KeeperFacts,
  { error, drift, changed, rules }: RoundOutcome,
  vips: readonly VipRules[],
  { clock }: KeeperDeps,
): KeeperFacts {
  const { lastError: _, ...facts } = before
  const repairs = { ...facts.repairs }
  for (const kind of drift) repairs[kind]++
  const counted = { ...facts, repairs, applies: facts.applies + (changed ? 1 : 0), rules: { ...facts.rules, ...rules } }
  if (error !== undefined) return { ...counted, errors: facts.errors + 1, lastError: error }
  const count = (family: IpFamily): number => vips.filter(({ address }) => familyOf(address) === family).length
  return { ...counted, vips: { IPv4: count('IPv4'), IPv6: count('IPv6') }, lastSyncMs: clock.wallMs() }
}
