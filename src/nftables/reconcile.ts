// Makes the node's nftables hold what the VIPs need: our own table that refuses, and the ways through other people's closing
// chains. Look, compare, change in one transaction each, and look again when somebody else was faster. Also the way out.

import type { VipRules } from '../datapath/desired.ts'
import type { Drift } from '../iptables/render.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { explainNft, isTransientNft, type NftablesError } from './errors.ts'
import { fingerprintOf, forwardChains, parseTable, tablesWithChains } from './observe.ts'
import {
  closedTables,
  mayClose,
  type ObservedTable,
  openingDrift,
  planClosing,
  planOpening,
  type TableName,
} from './openings.ts'
import { redirectTable } from './port-redirect.ts'
import {
  desiredTable,
  type OwnTable,
  ownTable,
  type RefusalOptions,
  renderRemoval,
  renderTable,
  renderUpdate,
} from './table.ts'

export interface NftDeps {
  readonly exec: Exec
  readonly clock: Clock
}

/** What this process left in the kernel: what differs from it was done by somebody else. */
export interface NftState {
  readonly own?: { readonly table: OwnTable; readonly fingerprint: string }
  /** By `family name`. */
  readonly openings: ReadonlyMap<string, { readonly ours: string; readonly vips: string }>
}

export const untouched: NftState = { openings: new Map() }

export interface NftRequest {
  readonly vips: readonly VipRules[]
  readonly refusals: RefusalOptions
  readonly last: NftState
}

export interface NftReconciled {
  readonly changed: boolean
  readonly drift: readonly Drift[]
  readonly state: NftState
  /** Elements of our own table's sets. */
  readonly elements: number
}

const attemptsMax = 6
const pauseMs = 100
const timeoutMs = 60_000

/** Brings the node to the desired state. Changes nothing when it is there already, but for the first time. */
export async function reconcileNft(request: NftRequest, deps: NftDeps): Promise<Result<NftReconciled, NftablesError>> {
  let drift: readonly Drift[] = []
  for (let attempt = 1; ; attempt++) {
    const noted: Drift[] = []
    const outcome = await once(request, noted, deps.exec)
    // What an earlier attempt saw and did not get to mend counts once.
    if (drift.length === 0) drift = [...new Set(noted)]
    if (outcome.ok) return ok({ ...outcome.value, drift })
    if (!isTransientNft(outcome.error) || attempt === attemptsMax) return outcome
    await pause(deps.clock, pauseMs * attempt)
  }
}

async function once(
  request: NftRequest,
  drift: Drift[],
  exec: Exec,
): Promise<Result<Omit<NftReconciled, 'drift'>, NftablesError>> {
  const chains = await list(['chains'], exec)
  if (!chains.ok) return chains
  const own = await keepOwnTable(request, { chains: chains.value, drift }, exec)
  if (!own.ok) return own
  const opened = await keepOpenings(request, { chains: chains.value, drift }, exec)
  if (!opened.ok) return opened
  const sets = [...(own.value.own?.table.sets.values() ?? [])]
  return ok({
    changed: own.value.changed || opened.value.changed,
    state: { ...(own.value.own === undefined ? {} : { own: own.value.own }), openings: opened.value.openings },
    elements: sets.reduce((sum, { elements }) => sum + elements.size, 0),
  })
}

interface Seen {
  /** `nft -j list chains`. */
  readonly chains: string
  /** Collects what others did. */
  readonly drift: Drift[]
}

async function keepOwnTable(
  { vips, refusals, last }: NftRequest,
  { chains, drift }: Seen,
  exec: Exec,
): Promise<Result<{ readonly changed: boolean; readonly own?: NonNullable<NftState['own']> }, NftablesError>> {
  const desired = desiredTable(vips, refusals)
  const present = tablesWithChains(chains).has(keyOf(ownTable))
  if (desired === undefined) {
    if (!present) return ok({ changed: false })
    const removed = await run(renderRemoval, exec)
    return removed.ok ? ok({ changed: true }) : removed
  }
  let intact = last.own !== undefined && present
  if (last.own !== undefined && !present) drift.push('table-missing')
  if (last.own !== undefined && present) {
    const seen = await list(['table', ownTable.family, ownTable.name], exec)
    if (!seen.ok) return seen
    intact = fingerprintOf(seen.value) === last.own.fingerprint
    if (!intact) drift.push('table-altered')
  }
  const text = last.own !== undefined && intact ? renderUpdate(last.own.table, desired) : renderTable(desired)
  if (text === undefined && last.own !== undefined) return ok({ changed: false, own: last.own })
  const updated = await run(text ?? renderTable(desired), exec)
  // A change of sets that the kernel does not take is one that it takes as a whole.
  const applied = updated.ok ? updated : await run(renderTable(desired), exec)
  if (!applied.ok) return applied
  const after = await list(['table', ownTable.family, ownTable.name], exec)
  if (!after.ok) return after
  return ok({ changed: true, own: { table: desired, fingerprint: fingerprintOf(after.value) } })
}

async function keepOpenings(
  { vips, last }: NftRequest,
  { chains, drift }: Seen,
  exec: Exec,
): Promise<Result<{ readonly changed: boolean; readonly openings: NftState['openings'] }, NftablesError>> {
  const openings = new Map<string, { readonly ours: string; readonly vips: string }>()
  const addresses = vips.map(({ address }) => address)
  const signature = addresses.join(' ')
  let changed = false
  const names = new Map(
    forwardChains(chains)
      .filter(mayClose)
      .map((chain) => [keyOf(chain), chain]),
  )
  for (const [key, name] of names) {
    const table = await observe(name, exec)
    if (!table.ok) return table
    const known = last.openings.get(key)
    const wanted = addresses.length > 0 && closedTables([table.value]).length > 0
    if (wanted && known !== undefined) drift.push(...openingDrift(table.value, known.ours))
    const rewrite = known === undefined || known.vips !== signature || known.ours !== table.value.ours
    const text = wanted ? planOpening(table.value, addresses, { rewrite }) : planClosing(table.value)
    if (text !== undefined) {
      const applied = await run(text, exec)
      if (!applied.ok) return applied
      changed = true
    }
    if (!wanted) continue
    const after = text === undefined ? table : await observe(name, exec)
    if (!after.ok) return after
    if (after.value.ours !== undefined) openings.set(key, { ours: after.value.ours, vips: signature })
  }
  return ok({ changed, openings })
}

const keyOf = ({ family, name }: TableName): string => `${family} ${name}`

async function observe(name: TableName, exec: Exec): Promise<Result<ObservedTable, NftablesError>> {
  const seen = await list(['table', name.family, name.name], exec)
  return seen.ok ? ok(parseTable(seen.value, name)) : seen
}

async function list(what: readonly string[], exec: Exec): Promise<Result<string, NftablesError>> {
  const result = await exec('nft', ['-j', 'list', ...what], { timeoutMs })
  return result.status === 0 ? ok(result.stdout) : err(explainNft(result))
}

async function run(input: string, exec: Exec): Promise<Result<true, NftablesError>> {
  const result = await exec('nft', ['-f', '-'], { input, timeoutMs })
  return result.status === 0 ? ok(true) : err(explainNft(result))
}

const pause = (clock: Clock, ms: number): Promise<void> => new Promise((resolve) => clock.setTimer(ms, resolve))

/** Whether kube-proxy runs in nftables mode here. A node without nft has no such kube-proxy that we could see. */
export async function kubeProxyUsesNft(exec: Exec): Promise<boolean> {
  const chains = await list(['chains'], exec)
  if (!chains.ok) return false
  const tables = tablesWithChains(chains.value)
  return tables.has('ip kube-proxy') || tables.has('ip6 kube-proxy')
}

/** Whether nft works here: installed, allowed, and known to the kernel. */
export async function nftWorks(exec: Exec): Promise<Result<true, NftablesError>> {
  const chains = await list(['chains'], exec)
  return chains.ok ? ok(true) : chains
}

/** Removes our table and whatever of ours stands in tables of others. The names of the tables that held something. */
export async function removeNft(exec: Exec): Promise<Result<readonly string[], NftablesError>> {
  const chains = await list(['chains'], exec)
  if (!chains.ok) return holdsNothing(chains.error) ? ok([]) : chains
  const removed: string[] = []
  for (const key of [keyOf(ownTable), `inet ${redirectTable}`]) {
    if (!tablesWithChains(chains.value).has(key)) continue
    const gone = await run(`delete table ${key}\n`, exec)
    if (!gone.ok) return gone
    removed.push(key)
  }
  for (const [key, name] of new Map(
    forwardChains(chains.value)
      .filter(mayClose)
      .map((chain) => [keyOf(chain), chain]),
  )) {
    const table = await observe(name, exec)
    if (!table.ok) return table
    const text = planClosing(table.value)
    if (text === undefined) continue
    const closed = await run(text, exec)
    if (!closed.ok) return closed
    removed.push(key)
  }
  return ok(removed)
}

const holdsNothing = ({ code }: NftablesError): boolean =>
  code === 'nftables/not-installed' || code === 'nftables/kernel-lacks-it'
