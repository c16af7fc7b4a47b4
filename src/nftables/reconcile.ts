// Makes the node's nftables hold what the VIPs need: our own table that refuses, and the ways through other people's closing
// chains. Look, compare, change in one transaction each, and look again when somebody else was faster. Also the way out.
//
// Printing a set of forty thousand elements takes nft half a second, adding one takes the kernel nothing. So how closely is looked
// is asked for: not at all where the kernel's generation says that everything stands as it was left, at the rules alone when one VIP
// changes, and at everything from time to time. What is in the sets is known without asking, because we put it there.

import type { VipRules } from '../datapath/desired.ts'
import type { Drift } from '../iptables/render.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import { pause } from '../runtime/pause.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { explainNft, isTransientNft, type NftablesError } from './errors.ts'
import { type ChainList, parseChains, parseOwnTable, parseTable } from './observe.ts'
import {
  closedTables,
  mayClose,
  type ObservedTable,
  type Ours,
  openingDrift,
  openingSets,
  planClosing,
  planElements,
  planOpening,
  type TableName,
} from './openings.ts'
import { redirectTable } from './port-redirect.ts'
import {
  desiredTable,
  type NftSet,
  type OwnTable,
  ownTable,
  type RefusalOptions,
  renderRemoval,
  renderTable,
  renderUpdate,
  sameShape,
  strangeIn,
} from './table.ts'

export interface NftDeps {
  readonly exec: Exec
  readonly clock: Clock
}

/** How closely to look before a change: at rules and elements, at the rules alone, or, where nothing changed since, not at all. */
export type Look = 'everything' | 'rules' | 'nothing'

/** What this process left in the kernel: what differs from it was done by somebody else. */
export interface NftState {
  readonly own?: { readonly table: OwnTable; readonly left: Left }
  /** By `family name`. */
  readonly openings: ReadonlyMap<string, Opening>
  /** Whether all closing chains are known: they are not asked for where there is no VIP. */
  readonly closingKnown: boolean
}

interface Opening {
  readonly table: TableName
  readonly sets: ReadonlyMap<string, NftSet>
  readonly left: Left
}

/** How a table looked when we had written it. */
interface Left {
  readonly rules: string
  /** Elements that this nft writes back in other words than ours; such a table is only ever written as a whole. */
  readonly strange: string
}

export const untouched: NftState = { openings: new Map(), closingKnown: false }

export interface NftRequest {
  readonly vips: readonly VipRules[]
  readonly refusals: RefusalOptions
  readonly last: NftState
  readonly look: Look
}

export interface NftReconciled {
  readonly changed: boolean
  readonly drift: readonly Drift[]
  readonly state: NftState
  /** Transactions, each of which raised the kernel's generation by one. */
  readonly commits: number
}

const attemptsMax = 6
const pauseMs = 100
const timeoutMs = 60_000

/** Brings the node to the desired state. Changes nothing when it is there already, but for the first time. */
export async function reconcileNft(request: NftRequest, deps: NftDeps): Promise<Result<NftReconciled, NftablesError>> {
  let drift: readonly Drift[] = []
  const round: Round = { exec: deps.exec, drift: [], commits: 0 }
  for (let attempt = 1; ; attempt++) {
    round.drift = []
    // What was not as expected is looked at closely.
    const outcome = await once(attempt === 1 ? request : { ...request, look: 'everything' }, round)
    // What an earlier attempt saw and did not get to mend counts once.
    if (drift.length === 0) drift = [...new Set(round.drift)]
    if (outcome.ok) return ok({ ...outcome.value, drift, commits: round.commits })
    if (!isTransientNft(outcome.error) || attempt === attemptsMax) return outcome
    await pause(deps.clock, pauseMs * attempt)
  }
}

/** What a round collects on its way. */
interface Round {
  readonly exec: Exec
  /** What others did. */
  drift: Drift[]
  commits: number
}

/** `look` and the chains of all tables; undefined where nobody looks. */
interface Seen {
  readonly look: Look
  readonly chains?: ChainList
}

async function once(
  request: NftRequest,
  round: Round,
): Promise<Result<Omit<NftReconciled, 'drift' | 'commits'>, NftablesError>> {
  const seen = await firstLook(request, round)
  if (!seen.ok) return seen
  const own = await keepOwnTable(request, seen.value, round)
  if (!own.ok) return own
  const opened =
    seen.value.chains === undefined
      ? await followOpenings(request, round)
      : await keepOpenings(request, { ...seen.value, chains: seen.value.chains }, round)
  if (!opened.ok) return opened
  return ok({
    changed: own.value.changed || opened.value.changed,
    state: {
      ...(own.value.own === undefined ? {} : { own: own.value.own }),
      openings: opened.value.openings,
      closingKnown: request.vips.length > 0,
    },
  })
}

async function firstLook({ look, vips, last }: NftRequest, round: Round): Promise<Result<Seen, NftablesError>> {
  // With the first VIP, and with the last, ways through other people's tables come and go.
  if (look === 'nothing' && last.closingKnown && vips.length > 0) return ok({ look })
  const chains = await listChains(round)
  return chains.ok ? ok({ look: look === 'nothing' ? 'rules' : look, chains: chains.value }) : chains
}

async function keepOwnTable(
  { vips, refusals, last }: NftRequest,
  { look, chains }: Seen,
  round: Round,
): Promise<Result<{ readonly changed: boolean; readonly own?: NonNullable<NftState['own']> }, NftablesError>> {
  const desired = desiredTable(vips, refusals)
  const present = chains === undefined ? last.own !== undefined : chains.hasTable(keyOf(ownTable))
  if (desired === undefined) {
    if (!present) return ok({ changed: false })
    const removed = await run(renderRemoval, round)
    return removed.ok ? ok({ changed: true }) : removed
  }
  if (last.own !== undefined) {
    const intact = present ? await standsAsLeft(last.own, look, round) : ok(false)
    if (!intact.ok) return intact
    if (!intact.value) round.drift.push(present ? 'table-altered' : 'table-missing')
    else if (sameShape(last.own.table, desired)) {
      const text = renderUpdate(last.own.table, desired)
      if (text === undefined) return ok({ changed: false, own: last.own })
      // A change of sets that the kernel does not take is one that it takes as a whole.
      if (last.own.left.strange === '' && (await run(text, round)).ok)
        return ok({ changed: true, own: { table: desired, left: last.own.left } })
    }
  }
  const applied = await run(renderTable(desired), round)
  if (!applied.ok) return applied
  const after = await listTable(ownTable, 'everything', round)
  if (!after.ok) return after
  return ok({ changed: true, own: { table: desired, left: leftOf(parseOwnTable(after.value), desired.sets) } })
}

async function standsAsLeft(
  { table, left }: NonNullable<NftState['own']>,
  look: Look,
  round: Round,
): Promise<Result<boolean, NftablesError>> {
  if (look === 'nothing') return ok(true)
  const seen = await listTable(ownTable, look, round)
  return seen.ok ? ok(isAsLeft(parseOwnTable(seen.value), table.sets, left, look)) : seen
}

const leftOf = ({ rules, elements }: Ours, sets: ReadonlyMap<string, NftSet>): Left => ({
  rules,
  strange: strangeIn(elements, sets),
})

const isAsLeft = (seen: Ours, sets: ReadonlyMap<string, NftSet>, left: Left, look: Look): boolean =>
  seen.rules === left.rules && (look !== 'everything' || strangeIn(seen.elements, sets) === left.strange)

type Opened = Result<{ readonly changed: boolean; readonly openings: NftState['openings'] }, NftablesError>

async function keepOpenings(
  { vips, last }: NftRequest,
  { look, chains }: Seen & { readonly chains: ChainList },
  round: Round,
): Promise<Opened> {
  const openings = new Map<string, Opening>()
  const addresses = vips.map(({ address }) => address)
  let changed = false
  const names = new Map(
    chains.forward.filter(mayClose).map(({ family, name }) => [keyOf({ family, name }), { family, name }]),
  )
  for (const [key, name] of names) {
    const seen = await observe(name, look, round)
    if (!seen.ok) return seen
    const known = last.openings.get(key)
    const wanted = addresses.length > 0 && closedTables([seen.value]).length > 0
    const { ours } = seen.value
    const intact = known !== undefined && ours !== undefined && isAsLeft(ours, known.sets, known.left, look)
    if (wanted && known !== undefined) round.drift.push(...openingDrift(seen.value, { intact }))
    const sets = openingSets(name, addresses)
    const asBefore = intact && planElements(name, known.sets, sets) === undefined
    const before = intact && (asBefore || known.left.strange === '') ? known.sets : undefined
    const text = wanted ? planOpening(seen.value, sets, before) : planClosing(seen.value)
    if (text !== undefined) {
      const applied = await run(text, round)
      if (!applied.ok) return applied
      changed = true
    }
    if (!wanted) continue
    if (intact && before !== undefined) openings.set(key, { table: name, sets, left: known.left })
    else {
      const after = await observe(name, 'everything', round)
      if (!after.ok) return after
      if (after.value.ours !== undefined) openings.set(key, { table: name, sets, left: leftOf(after.value.ours, sets) })
    }
  }
  return ok({ changed, openings })
}

/** The same where every way through stands as it was left: only elements come and go. */
async function followOpenings({ vips, last }: NftRequest, round: Round): Promise<Opened> {
  const openings = new Map<string, Opening>()
  const addresses = vips.map(({ address }) => address)
  let changed = false
  for (const [key, { table, sets: before, left }] of last.openings) {
    const sets = openingSets(table, addresses)
    const text = planElements(table, before, sets)
    if (text !== undefined) {
      const applied = await run(text, round)
      if (!applied.ok) return applied
      changed = true
    }
    openings.set(key, { table, sets, left })
  }
  return ok({ changed, openings })
}

type Running = Pick<Round, 'exec'>

const keyOf = ({ family, name }: TableName): string => `${family} ${name}`

async function observe(name: TableName, look: Look, round: Running): Promise<Result<ObservedTable, NftablesError>> {
  const seen = await listTable(name, look, round)
  return seen.ok ? ok(parseTable(seen.value, name)) : seen
}

/** Without the elements of sets, unless everything is to be seen. */
const listTable = ({ family, name }: TableName, look: Look, round: Running): Promise<Result<string, NftablesError>> =>
  list(['table', family, name], round, look === 'everything' ? [] : ['-t'])

async function listChains(round: Running): Promise<Result<ChainList, NftablesError>> {
  const chains = await list(['chains'], round)
  return chains.ok ? ok(parseChains(chains.value)) : chains
}

async function list(
  what: readonly string[],
  { exec }: Running,
  flags: readonly string[] = [],
): Promise<Result<string, NftablesError>> {
  const result = await exec('nft', [...flags, '-j', 'list', ...what], { timeoutMs })
  return result.status === 0 ? ok(result.stdout) : err(explainNft(result))
}

async function run(input: string, round: Pick<Round, 'exec' | 'commits'>): Promise<Result<true, NftablesError>> {
  const result = await round.exec('nft', ['-f', '-'], { input, timeoutMs })
  if (result.status !== 0) return err(explainNft(result))
  round.commits++
  return ok(true)
}

/** Whether kube-proxy runs in nftables mode here. A node without nft has no such kube-proxy that we could see. */
export async function kubeProxyUsesNft(exec: Exec): Promise<boolean> {
  const chains = await listChains({ exec })
  if (!chains.ok) return false
  const { hasTable } = chains.value
  return hasTable('ip kube-proxy') || hasTable('ip6 kube-proxy')
}

/** Whether nft works here: installed, allowed, and known to the kernel. */
export async function nftWorks(exec: Exec): Promise<Result<true, NftablesError>> {
  const chains = await listChains({ exec })
  return chains.ok ? ok(true) : chains
}

/** Removes our table and whatever of ours stands in tables of others. The names of the tables that held something. */
export async function removeNft(exec: Exec): Promise<Result<readonly string[], NftablesError>> {
  const chains = await listChains({ exec })
  if (!chains.ok) return holdsNothing(chains.error) ? ok([]) : chains
  const round = { exec, commits: 0 }
  const removed: string[] = []
  for (const key of [keyOf(ownTable), `inet ${redirectTable}`]) {
    if (!chains.value.hasTable(key)) continue
    const gone = await run(`delete table ${key}\n`, round)
    if (!gone.ok) return gone
    removed.push(key)
  }
  for (const [key, name] of new Map(chains.value.forward.filter(mayClose).map((chain) => [keyOf(chain), chain]))) {
    const table = await observe(name, 'rules', round)
    if (!table.ok) return table
    const text = planClosing(table.value)
    if (text === undefined) continue
    const closed = await run(text, round)
    if (!closed.ok) return closed
    removed.push(key)
  }
  return ok(removed)
}

const holdsNothing = ({ code }: NftablesError): boolean =>
  code === 'nftables/not-installed' || code === 'nftables/kernel-lacks-it'
