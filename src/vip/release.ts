// Which claims may be taken away, and what has to happen before. An address is free only when no route of it is announced, its
// Service does not show it any more, and its Vip object is gone; each of these is read from the view, never assumed.

import { type ClusterView, type NamespacedName, namespacedName, type Service, type VipClaim } from '../k8s/objects.ts'
import { compareIp, type Ip } from '../net/ip.ts'
import { allocatedCondition, announcedCondition } from './conditions.ts'
import type { Ledger, LedgerEntry } from './ledger.ts'
import type { Pools } from './pools.ts'
import { loadBalancerFinalizer, notServedBecause } from './service-class.ts'
import type { ServiceClassRule, ServiceFence } from './types.ts'

/** A Service that is not ours (any more) and still carries something of ours. */
export interface LeavingService {
  readonly key: NamespacedName
  readonly service: Service
  /** What its Vips say it has. */
  readonly claimed: readonly Ip[]
  readonly next:
    | { readonly type: 'clear-status'; readonly ingress: readonly Ip[] }
    | { readonly type: 'drop-claims' }
    | { readonly type: 'remove-finalizer' }
    | { readonly type: 'remove-conditions' }
}

export interface Releases {
  readonly leaving: readonly LeavingService[]
  /** What has to be looked at before the write that takes claims off this address. */
  readonly fences: ReadonlyMap<Ip, readonly ServiceFence[]>
  /** Addresses whose Vip object goes away in this pass. */
  readonly freed: ReadonlySet<Ip>
  /** The earliest end of a hold. */
  readonly wakeAtMs: number | undefined
}

export interface ReleaseInput {
  readonly view: ClusterView
  readonly serviceClass: ServiceClassRule
  readonly withdrawn: (vip: string) => boolean
  readonly nowMs: number
  readonly ledger: Ledger
  readonly pools: Pools
  /** By uid of every Service that is ours: the addresses it is to have. */
  readonly chosen: ReadonlyMap<string, readonly Ip[]>
}

/** Decides, and takes the claims that may go out of the ledger. */
export function planReleases(input: ReleaseInput): Releases {
  const { view, ledger } = input
  const fences = new Map<Ip, readonly ServiceFence[]>()
  const removals: { readonly entry: LedgerEntry; readonly claim: VipClaim }[] = []
  const remove = (entry: LedgerEntry, claim: VipClaim, fence?: ServiceFence): void => {
    removals.push({ entry, claim })
    if (fence !== undefined) fences.set(entry.address, [...(fences.get(entry.address) ?? []), fence])
  }
  const unreadable = new Set(view.refusals.filter(({ kind }) => kind === 'Service').map(({ meta }) => meta.uid))
  const free = new Set<Ip>()
  const leftBy = new Map<string, LedgerEntry[]>()

  for (const entry of ledger.entries()) {
    const leftovers = entry.claims.filter((claim) => !staysOn(input, entry, claim))
    if (entry.vip === undefined || leftovers.length === 0) continue
    if (leftovers.length < entry.claims.length || input.withdrawn(entry.name)) free.add(entry.address)
    for (const claim of leftovers) {
      const key = namespacedName(claim.namespace, claim.name)
      const service = view.services.get(key)
      if (service?.meta.uid === claim.uid && !input.chosen.has(claim.uid))
        leftBy.set(claim.uid, [...(leftBy.get(claim.uid) ?? []), entry])
      else if (free.has(entry.address) && entry.frozen === undefined && !unreadable.has(claim.uid)) {
        if (service?.meta.uid !== claim.uid) remove(entry, claim, { service: key, uid: claim.uid, expect: 'gone' })
        else if (!shows(service, entry.address) && isEvident(service)) remove(entry, claim, unchanged(key, service))
      }
    }
  }

  const leaving: LeavingService[] = []
  for (const service of view.services.values()) {
    if (input.chosen.has(service.meta.uid)) continue
    const entries = leftBy.get(service.meta.uid) ?? []
    if (!entries.every(({ address }) => free.has(address))) continue
    const key = namespacedName(service.meta.namespace, service.meta.name)
    const next = nextOfLeaving(service, entries, input.serviceClass)
    if (next === undefined) continue
    leaving.push({ key, service, claimed: entries.map(({ address }) => address).sort(compareIp), next })
    for (const entry of entries) {
      const claim = entry.claims.find(({ uid }) => uid === service.meta.uid)
      if (claim === undefined || entry.frozen !== undefined) continue
      if (next.type === 'drop-claims') remove(entry, claim, unchanged(key, service))
      // The status is cleared in the same work: the fence is over the version that this made.
      else if (next.type === 'clear-status' && entry.claims.length === 1) remove(entry, claim, unchanged(key, service))
    }
  }
  leaving.sort((a, b) => (a.key < b.key ? -1 : 1))
  for (const { entry, claim } of removals) takeAway(input, entry, claim)
  return { leaving, fences, ...sweep(input) }
}

const staysOn = ({ chosen }: ReleaseInput, { address }: LedgerEntry, { uid }: VipClaim): boolean =>
  chosen.get(uid)?.includes(address) ?? false

const shows = (service: Service, address: Ip): boolean => service.ingress.some(({ ip }) => ip === address)

// A finalizer without a claim and without our condition is not known to be ours: nobody would dare to remove it.
const isEvident = ({ meta, conditions }: Service): boolean =>
  !meta.finalizers.includes(loadBalancerFinalizer) || conditions.some(({ type }) => type === allocatedCondition)

const unchanged = (key: NamespacedName, { meta }: Service): ServiceFence => ({
  service: key,
  uid: meta.uid,
  expect: 'unchanged',
  resourceVersion: meta.resourceVersion,
})

// That the finalizer is ours to remove once the claims are gone, the condition `Released` says, which is written before. Of two that
// believe to lead, one may delete the Vip before the other could write any condition: then the API server's own account says it.
function nextOfLeaving(
  service: Service,
  entries: readonly LedgerEntry[],
  serviceClass: ServiceClassRule,
): LeavingService['next'] | undefined {
  const { finalizers, deleting } = service.meta
  const condition = service.conditions.find(({ type }) => type === allocatedCondition)
  const finalizer = finalizers.includes(loadBalancerFinalizer)
  const ours = notServedBecause(service, serviceClass) === 'deleting'
  if (entries.length > 0) {
    const showing = entries.some(({ address }) => shows(service, address))
    if (!showing && isEvident(service)) return { type: 'drop-claims' }
    const ingress = service.ingress.map(({ ip }) => ip).filter((ip) => !entries.some(({ address }) => address === ip))
    return { type: 'clear-status', ingress }
  }
  if (finalizer && (ours || condition !== undefined || service.finalizedByUs)) return { type: 'remove-finalizer' }
  // Whether it is announced may have been said before anything could be allocated.
  const marked = service.conditions.some(({ type }) => type === allocatedCondition || type === announcedCondition)
  return marked && !deleting ? { type: 'remove-conditions' } : undefined
}

function takeAway({ ledger, pools, nowMs }: ReleaseInput, { address }: LedgerEntry, claim: VipClaim): void {
  ledger.disclaim(address, claim.uid)
  const holdSeconds = pools.poolOf(address)?.holdSeconds ?? 0
  if (holdSeconds > 0 && ledger.get(address)?.claims.length === 0) {
    const { namespace, name } = claim
    ledger.holdFor(address, { namespace, name, untilMs: nowMs + holdSeconds * 1000 })
  }
}

// Never longer from now than the pool says now: its `hold` may have been shortened, and the clock set back.
function holdUntilMs({ address, hold, vip }: LedgerEntry, pools: Pools, nowMs: number): number {
  const pool = pools.poolOf(address)
  if (hold === undefined) return 0
  if (pool !== undefined) return Math.min(hold.untilMs, nowMs + pool.holdSeconds * 1000)
  return vip !== undefined && pools.get(vip.pool) === undefined ? hold.untilMs : 0
}

// Vip objects that nobody claims: on hold until a certain time, or to be deleted.
function sweep({ ledger, pools, nowMs, withdrawn }: ReleaseInput): Pick<Releases, 'freed' | 'wakeAtMs'> {
  const freed = new Set<Ip>()
  let wakeAtMs: number | undefined
  for (const entry of ledger.entries()) {
    if (entry.vip === undefined || entry.frozen !== undefined || entry.claims.length > 0) continue
    const untilMs = holdUntilMs(entry, pools, nowMs)
    if (entry.hold !== undefined && untilMs > nowMs) {
      wakeAtMs = Math.min(wakeAtMs ?? untilMs, untilMs)
      if (untilMs !== entry.hold.untilMs) ledger.holdFor(entry.address, { ...entry.hold, untilMs })
    } else if (withdrawn(entry.name)) freed.add(entry.address)
  }
  return { freed, wakeAtMs }
}
