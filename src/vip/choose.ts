// Which addresses a Service is to have: what it already has as long as it may, else what it asks for, else the lowest free one.
// Every "no" carries its reason. Called for one Service after another; the ledger carries what earlier ones were given.

import type { NamespacedName, Service, VipClaim, VipPool } from '../k8s/objects.ts'
import { compareIp, familyOf, type Ip, type IpFamily } from '../net/ip.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { poolAnnotation } from './annotations.ts'
import type { AllocationRefusal, RefusalReason } from './conditions.ts'
import type { Ledger, LedgerEntry } from './ledger.ts'
import type { OccupiedAddresses } from './occupied.ts'
import { type AddressWalk, walkAddresses } from './pool-ranges.ts'
import type { Pools } from './pools.ts'
import type { AddressRequest } from './requests.ts'
import { claimOf, claimRefusal, policyRefusal, sharingRefusal } from './sharing.ts'

/** A Service that is ours, with what it asks for. */
export interface Applicant {
  readonly key: NamespacedName
  readonly service: Service
  readonly families: readonly IpFamily[]
  readonly request: Result<AddressRequest, AllocationRefusal>
}

/** The addresses of one Service after this pass, and every reason why they are not what was asked for. */
export interface Choice {
  /** In the order of the Service's families. */
  readonly addresses: readonly Ip[]
  readonly refusals: readonly AllocationRefusal[]
  /** Whether `addresses` is all that the Service requires. */
  readonly satisfied: boolean
  /** Families that would be welcome and have no address: why not, in words. */
  readonly missing: readonly string[]
}

export interface Chooser {
  /** Reserves what the Service has in its status and nobody has recorded yet. Before anything is given out. */
  readonly adopt: (applicant: Applicant) => void
  /** What the Service still needs from the free addresses: nothing, a certain one, or any. */
  readonly need: (applicant: Applicant) => 'nothing' | 'explicit' | 'automatic'
  /** Decides, and records the claims in the ledger. */
  readonly choose: (applicant: Applicant) => Choice
}

/** A family's outcome: an address, a reason for not having (or not having moved to) one, or both. */
interface FamilyChoice {
  readonly address?: Ip
  readonly refusal?: AllocationRefusal
}

/** What the schema of Vip lets one address have. */
const claimsMax = 256

interface Choosing {
  readonly ledger: Ledger
  readonly pools: Pools
  readonly services: { readonly get: (uid: string) => Service | undefined }
  /** Given to nobody. */
  readonly occupied: OccupiedAddresses
  /** Given only where there is nothing else. */
  readonly avoided: ReadonlySet<Ip>
  readonly walks: Map<string, AddressWalk>
  readonly holdings: Map<Applicant, readonly (readonly Ip[])[]>
}

/** What a chooser decides upon. `services`: those that are ours, by uid. */
export type ChooserInput = Omit<Choosing, 'walks' | 'holdings'>

export function createChooser(input: ChooserInput): Chooser {
  const choosing: Choosing = { ...input, walks: new Map(), holdings: new Map() }
  return {
    adopt: (applicant) => adopt(choosing, applicant),
    need: (applicant) => need(choosing, applicant),
    choose: (applicant) => choose(choosing, applicant),
  }
}

function adopt(choosing: Choosing, { service, families, request }: Applicant): void {
  const { ledger, pools } = choosing
  const claim = claimOf(service, request.ok ? request.value.shareKey : '')
  for (const { ip } of service.ingress) {
    const family = familyOf(ip)
    if (!families.includes(family) || pools.poolOf(ip) === undefined) continue
    const has = ledger.claimedBy(service.meta.uid)
    if (service.ingress.some((shown) => familyOf(shown.ip) === family && has.includes(shown.ip))) continue
    if (joinRefusal(choosing, ip, service, claim) === undefined) ledger.claim(ip, claim)
  }
}

/**
 * By family, in the Service's order: the addresses that it has now and may keep, the best first: those in its status, then the
 * lowest. Asked for the first time when everybody has adopted; nothing that others are given changes it.
 */
function holdings(choosing: Choosing, applicant: Applicant): readonly (readonly Ip[])[] {
  const known = choosing.holdings.get(applicant)
  if (known !== undefined) return known
  const { ledger, pools } = choosing
  const { service, families } = applicant
  const shown = service.ingress.map(({ ip }) => ip)
  const unreadable = shown.filter((ip) => isUnreadable(ledger.get(ip)))
  const kept = [...ledger.claimedBy(service.meta.uid), ...unreadable]
    .filter((ip, i, all) => all.indexOf(ip) === i && isCovered(ip, ledger.get(ip), pools))
    .sort((a, b) => Number(shown.includes(b)) - Number(shown.includes(a)) || compareIp(a, b))
  const byFamily = families.map((family) => kept.filter((ip) => familyOf(ip) === family))
  choosing.holdings.set(applicant, byFamily)
  return byFamily
}

// A Vip object that makes no sense hides its claims: the Services that have its address keep it until somebody repairs the object.
const isUnreadable = (entry: LedgerEntry | undefined): boolean => entry?.frozen !== undefined && entry.vip === undefined

/**
 * Whether a pool stands behind the address. One that cannot be read, or is gone, counts for what came from it: a typo, or a pool that is
 * deleted before its successor is there, must not cost an address. A pool that is there and does not cover it any more does.
 */
export function isCovered(address: Ip, entry: LedgerEntry | undefined, pools: Pools): boolean {
  return (
    (entry?.pool ?? pools.poolOf(address)) !== undefined ||
    isUnreadable(entry) ||
    (entry?.vip !== undefined && pools.get(entry.vip.pool) === undefined)
  )
}

function need(choosing: Choosing, applicant: Applicant): 'nothing' | 'explicit' | 'automatic' {
  const { families, request } = applicant
  if (!request.ok) return 'nothing'
  let automatic = false
  for (const [i, has] of holdings(choosing, applicant).entries()) {
    const family = families[i]
    const wish = family === undefined ? undefined : request.value.addresses.get(family)
    if (wish !== undefined && !has.includes(wish)) return 'explicit'
    if (wish === undefined && request.value.pool !== undefined)
      automatic ||= !has.some((ip) => poolNameOf(choosing, ip) === request.value.pool)
    automatic ||= has.length === 0
  }
  return automatic ? 'automatic' : 'nothing'
}

function choose(choosing: Choosing, applicant: Applicant): Choice {
  const { ledger } = choosing
  const { service, families, request } = applicant
  const claimed = ledger.claimedBy(service.meta.uid)
  const has = holdings(choosing, applicant)
  const results = families.map((family, i) => ({
    family,
    best: has[i]?.[0],
    ...chooseFamily(choosing, applicant, family, has[i] ?? []),
  }))
  const complete = results.every(({ address }) => address !== undefined)
  // RequireDualStack gives both or neither; what the Service already has is not taken away for want of the other.
  const addresses = results.flatMap(({ address, best }) => {
    if (complete || service.ipFamilyPolicy !== 'RequireDualStack') return address ?? []
    return address !== undefined && (claimed.includes(address) || inStatus(service, address)) ? address : (best ?? [])
  })
  const conflicts = addresses.flatMap((ip) => record(choosing, applicant, ip) ?? [])
  for (const ip of claimed)
    if (!addresses.includes(ip) && !isRecorded(ledger, ip, service)) ledger.disclaim(ip, service.meta.uid)

  // PreferDualStack takes what there is: a family without an address is worth a word, unless it was asked for by address.
  const optional = service.ipFamilyPolicy === 'PreferDualStack' && addresses.length > 0
  const refused = results.flatMap(({ family, address, refusal }) => {
    if (refusal === undefined) return []
    const asked = request.ok && request.value.addresses.has(family)
    return [{ refusal, welcome: optional && address === undefined && !asked }]
  })
  return {
    addresses,
    refusals: [...refused.filter(({ welcome }) => !welcome).map(({ refusal }) => refusal), ...conflicts],
    satisfied: addresses.length > 0 && (complete || service.ipFamilyPolicy !== 'RequireDualStack'),
    missing: refused.filter(({ welcome }) => welcome).map(({ refusal }) => refusal.message),
  }
}

const inStatus = (service: Service, address: Ip): boolean => service.ingress.some(({ ip }) => ip === address)

const isRecorded = (ledger: Ledger, address: Ip, service: Service): boolean =>
  ledger.get(address)?.vip?.services.some(({ uid }) => uid === service.meta.uid) ?? false

function chooseFamily(choosing: Choosing, applicant: Applicant, family: IpFamily, has: readonly Ip[]): FamilyChoice {
  const { service, request } = applicant
  const best = has[0]
  const keep = (refusal: AllocationRefusal): FamilyChoice =>
    best === undefined ? { refusal } : { address: best, refusal }
  if (!request.ok) return keep(request.error)
  const { pool: poolName, addresses } = request.value
  const wish = addresses.get(family)
  if (wish !== undefined) {
    const misplaced = poolName === undefined ? undefined : misplacedRefusal(choosing, wish, poolName)
    if (has.includes(wish)) return misplaced === undefined ? { address: wish } : { address: wish, refusal: misplaced }
    const refusal = misplaced ?? requestedRefusal(choosing, applicant, wish)
    return refusal === undefined ? { address: wish } : keep(refusal)
  }
  if (poolName !== undefined) {
    const inPool = has.find((ip) => poolNameOf(choosing, ip) === poolName)
    if (inPool !== undefined) return { address: inPool }
    const pool = namedPool(choosing, service, poolName)
    if (!pool.ok) return keep(pool.error)
    const picked = pick(choosing, applicant, family, [pool.value])
    return picked.ok ? { address: picked.value } : keep(picked.error)
  }
  if (best !== undefined) return { address: best }
  const picked = pick(choosing, applicant, family, choosing.pools.automatic(service, family))
  return picked.ok ? { address: picked.value } : { refusal: picked.error }
}

const poolNameOf = ({ pools, ledger }: Choosing, address: Ip): string | undefined =>
  pools.poolOf(address)?.meta.name ?? ledger.get(address)?.vip?.pool

const refuse = (reason: RefusalReason, message: string): AllocationRefusal => ({ reason, message })

function misplacedRefusal(choosing: Choosing, wish: Ip, poolName: string): AllocationRefusal | undefined {
  const { pools } = choosing
  if (pools.isRefused(poolName)) return refuse('PoolRefused', `pool ${poolName} makes no sense: see its conditions`)
  if (pools.get(poolName) === undefined) return refuse('PoolUnknown', `there is no pool ${poolName}`)
  const actual = pools.poolOf(wish)?.meta.name
  if (actual === poolName) return undefined
  const where = actual === undefined ? 'in no pool' : `in pool ${actual}`
  return refuse('AddressNotInPool', `${wish} and pool ${poolName} are asked for, but ${wish} lies ${where}`)
}

function namedPool({ pools }: Choosing, service: Service, name: string): Result<VipPool, AllocationRefusal> {
  if (pools.isRefused(name)) return err(refuse('PoolRefused', `pool ${name} makes no sense: see its conditions`))
  const pool = pools.get(name)
  if (pool === undefined) return err(refuse('PoolUnknown', `there is no pool ${name}`))
  const refusal = poolRefusal(pools, pool, service)
  return refusal === undefined ? ok(pool) : err(refusal)
}

function poolRefusal(pools: Pools, pool: VipPool, service: Service): AllocationRefusal | undefined {
  const closed = pools.closedBecause(pool)
  if (closed !== undefined) return refuse('PoolDisabled', closed)
  const foreign = pools.admissionRefusal(pool, service)
  return foreign === undefined ? undefined : refuse('PoolNotAdmitting', foreign)
}

function requestedRefusal(
  choosing: Choosing,
  { service, request }: Applicant,
  wish: Ip,
): AllocationRefusal | undefined {
  const pool = choosing.pools.poolOf(wish)
  if (pool === undefined) return refuse('AddressNotInPool', `${wish} is asked for, but lies in no pool`)
  const refusal = poolRefusal(choosing.pools, pool, service)
  if (refusal !== undefined) return refusal
  const owner = choosing.occupied.get(wish)
  const entry = choosing.ledger.get(wish)
  if (owner !== undefined && entry === undefined)
    return refuse('AddressInUse', `${wish} is asked for, but it is the address of ${owner}`)
  const because = joinRefusal(choosing, wish, service, claimOf(service, request.ok ? request.value.shareKey : ''))
  if (because === undefined) return undefined
  const reason: RefusalReason =
    entry?.hold !== undefined && entry.claims.length === 0
      ? 'AddressOnHold'
      : entry?.frozen === undefined && request.ok && request.value.shareKey !== ''
        ? 'SharingRefused'
        : 'AddressInUse'
  return refuse(reason, `${wish} is asked for, but ${because}`)
}

/** Why the Service cannot have (or join) the address, in words. Pools' admission is not judged here. */
function joinRefusal(choosing: Choosing, address: Ip, service: Service, claim: VipClaim): string | undefined {
  const entry = choosing.ledger.get(address)
  const pool = choosing.pools.poolOf(address)
  if (entry === undefined || pool === undefined) return undefined
  if (entry.frozen !== undefined) return entry.frozen
  if (entry.hold !== undefined && !isHoldFor(entry, service))
    return `it waits for ${entry.hold.namespace}/${entry.hold.name} to return`
  // Recorded without a claim or a hold: a leftover that this pass is about to delete.
  if (entry.claims.length === 0 && entry.hold === undefined) return 'it is being released'
  if (entry.claims.length >= claimsMax && entry.claims.every(({ uid }) => uid !== claim.uid))
    return `${claimsMax} Services share it, and more is not possible`
  for (const other of entry.claims) {
    if (other.uid === claim.uid) continue
    const owner = choosing.services.get(other.uid)
    if (owner === undefined) return `it is being released by ${other.namespace}/${other.name}`
    const refusal = sharingRefusal({ service, claim }, { service: owner, claim: other }, pool)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

const isHoldFor = ({ hold }: LedgerEntry, { meta }: Service): boolean =>
  hold !== undefined && hold.namespace === meta.namespace && hold.name === meta.name

/** From `pools` in order: the address that waits for this Service, else one to share, else the lowest free one. */
function pick(
  choosing: Choosing,
  { service, request }: Applicant,
  family: IpFamily,
  pools: readonly VipPool[],
): Result<Ip, AllocationRefusal> {
  const { ledger, pools: index } = choosing
  const shareKey = request.ok ? request.value.shareKey : ''
  const claim = claimOf(service, shareKey)
  const waiting = ledger.heldFor(service.meta.namespace, service.meta.name)
  const shared = shareKey === '' ? [] : ledger.sharedUnder(shareKey, family)
  for (const candidates of [waiting, shared])
    for (const pool of candidates.length === 0 ? [] : pools) {
      const found = candidates.find(
        (ip) =>
          familyOf(ip) === family &&
          index.poolOf(ip) === pool &&
          joinRefusal(choosing, ip, service, claim) === undefined,
      )
      if (found !== undefined) return ok(found)
    }
  const isTaken = (address: Ip): boolean => ledger.get(address) !== undefined || choosing.occupied.has(address)
  for (const pool of pools) {
    const free = walk(choosing, pool, family).next((address) => isTaken(address) || choosing.avoided.has(address))
    if (free !== undefined) return ok(free)
  }
  for (const pool of choosing.avoided.size === 0 ? [] : pools) {
    const free = walk(choosing, pool, family, 'anything').next(isTaken)
    if (free !== undefined) return ok(free)
  }
  return err(nothingFree(choosing, service, family, pools))
}

function walk(
  { walks, pools }: Choosing,
  pool: VipPool,
  family: IpFamily,
  among: 'not avoided' | 'anything' = 'not avoided',
): AddressWalk {
  const key = `${family} ${among} ${pool.meta.name}`
  const started = walks.get(key) ?? walkAddresses(pools.rangesOf(pool.meta.name), family, pool)
  walks.set(key, started)
  return started
}

function nothingFree(
  choosing: Choosing,
  service: Service,
  family: IpFamily,
  pools: readonly VipPool[],
): AllocationRefusal {
  const names = pools.map((pool) => pool.meta.name).join(', ')
  if (pools.length > 0)
    return refuse('PoolExhausted', `no free ${family} address in ${pools.length === 1 ? 'pool' : 'pools'} ${names}`)
  return refuse('NoPool', noPoolBecause(choosing.pools, service, family))
}

const reasonsMax = 3

/** Why no pool gives the Service an address by itself, pool by pool. */
function noPoolBecause(pools: Pools, service: Service, family: IpFamily): string {
  const because = [
    ...pools.refused.map((name) => `pool ${name} makes no sense: see its conditions`),
    ...pools.all.flatMap((pool) => {
      const { name } = pool.meta
      if (!pools.rangesOf(name).some((range) => range.family === family)) return []
      const refusal = pools.closedBecause(pool) ?? pools.admissionRefusal(pool, service)
      return [refusal ?? `pool ${name} has autoAssign false: it has to be named (${poolAnnotation})`]
    }),
  ]
  if (because.length === 0) return pools.all.length === 0 ? 'there is no VipPool' : `no pool has ${family} addresses`
  const more = because.length > reasonsMax ? `; and ${because.length - reasonsMax} more` : ''
  return `no pool gives it an ${family} address: ${because.slice(0, reasonsMax).join('; ')}${more}`
}

/** Records the claim on an address that was chosen; says so when an edit of the Service does not fit those it shares with. */
function record(choosing: Choosing, { service, request }: Applicant, address: Ip): AllocationRefusal | undefined {
  const { ledger, services } = choosing
  const entry = ledger.get(address)
  const { uid } = service.meta
  if (entry?.frozen !== undefined) return undefined
  const before = entry?.claims.find((claim) => claim.uid === uid)
  // An annotation that cannot be read says nothing about sharing: the recorded key stays.
  const claim = claimOf(service, request.ok ? request.value.shareKey : (before?.shareKey ?? ''))
  const conflict = before === undefined ? undefined : conflictWith(entry?.claims ?? [], claim)
  if (conflict === undefined) ledger.claim(address, claim)
  else return refuse('SharingConflict', `${address} is shared: ${conflict}`)
  if (entry === undefined || entry.claims.length < 2 || entry.pool === undefined) return undefined
  // What is not recorded in claims concerns the later one of two: the first was there first.
  for (const earlier of entry.claims) {
    if (earlier.uid === uid) break
    const owner = services.get(earlier.uid)
    const refusal = owner === undefined ? undefined : policyRefusal(service, owner, entry.pool)
    if (refusal !== undefined) return refuse('SharingConflict', `${address} is shared: ${refusal}`)
  }
  return undefined
}

function conflictWith(claims: readonly VipClaim[], edited: VipClaim): string | undefined {
  for (const other of claims) {
    const refusal = other.uid === edited.uid ? undefined : claimRefusal(edited, other)
    if (refusal !== undefined) return refusal
  }
  return undefined
}
