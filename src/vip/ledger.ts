// The addresses of one pass: what the Vip objects say, and what this pass is about to add. It is an index with a memory, private to
// the pass that made it, so that a Service sees what earlier Services of the same pass were given.

import {
  type ClusterView,
  namespacedName,
  type Vip,
  type VipClaim,
  type VipHold,
  type VipPool,
} from '../k8s/objects.ts'
import { compareIp, familyOf, type Ip, type IpFamily } from '../net/ip.ts'
import { sameClaim } from './sharing.ts'
import { parseVipName, vipName } from './vip-name.ts'

export interface LedgerEntry {
  readonly address: Ip
  readonly name: string
  /** As the API server has it; undefined when this pass creates it. */
  readonly vip: Vip | undefined
  /** The pool that covers the address now. */
  readonly pool: VipPool | undefined
  /** Why nothing can be written about this address now, in words. */
  readonly frozen: string | undefined
  /** What is to be recorded. */
  readonly claims: readonly VipClaim[]
  readonly hold: VipHold | undefined
}

export interface Ledger {
  readonly get: (address: Ip) => LedgerEntry | undefined
  readonly entries: () => Iterable<LedgerEntry>
  /** Addresses that the Service with this uid claims. */
  readonly claimedBy: (uid: string) => readonly Ip[]
  /** Addresses on hold for a Service of this name. */
  readonly heldFor: (namespace: string, name: string) => readonly Ip[]
  /** Addresses with a claim of this sharing key, lowest first. */
  readonly sharedUnder: (shareKey: string, family: IpFamily) => readonly Ip[]
  /** Records a claim, or replaces the same Service's. */
  readonly claim: (address: Ip, claim: VipClaim) => void
  readonly disclaim: (address: Ip, uid: string) => void
  readonly holdFor: (address: Ip, hold: VipHold) => void
}

const noAddresses: readonly Ip[] = []

/** Opens the ledger on what is recorded. `poolOf` says which pool covers an address. */
export function openLedger(view: ClusterView, poolOf: (address: Ip) => VipPool | undefined): Ledger {
  const entries = new Map<Ip, LedgerEntry>()
  const byUid = new Map<string, readonly Ip[]>()
  const byHolder = new Map<string, readonly Ip[]>()
  const byShareKey = new Map<string, Set<Ip>>()

  const index = (entry: LedgerEntry): void => {
    entries.set(entry.address, entry)
    for (const claim of entry.claims) indexClaim(entry.address, claim)
  }
  const indexClaim = (address: Ip, claim: VipClaim): void => {
    const claimed = byUid.get(claim.uid) ?? noAddresses
    if (!claimed.includes(address)) byUid.set(claim.uid, [...claimed, address])
    if (claim.shareKey === '') return
    const sharing = byShareKey.get(claim.shareKey) ?? new Set<Ip>()
    byShareKey.set(claim.shareKey, sharing.add(address))
  }

  for (const refusal of view.refusals) {
    const address = refusal.kind === 'Vip' ? parseVipName(refusal.meta.name) : undefined
    if (address !== undefined)
      index({ ...blank(address, poolOf), frozen: `the Vip object ${refusal.meta.name} makes no sense` })
  }
  const misnamed: Vip[] = []
  for (const vip of view.vips.values()) {
    const name = vipName(vip.address)
    if (name !== vip.meta.name) {
      misnamed.push(vip)
      continue
    }
    const frozen = vip.meta.deleting ? 'its Vip object is being deleted' : undefined
    index({ address: vip.address, name, vip, pool: poolOf(vip.address), frozen, claims: vip.services, hold: vip.hold })
    if (vip.hold === undefined) continue
    const holder = namespacedName(vip.hold.namespace, vip.hold.name)
    byHolder.set(holder, [...(byHolder.get(holder) ?? noAddresses), vip.address])
  }
  // Somebody wrote a Vip under another name than the address has: it locks nothing, and we neither use nor overwrite it.
  for (const vip of misnamed)
    if (!entries.has(vip.address))
      index({ ...blank(vip.address, poolOf), frozen: `the Vip object ${vip.meta.name} names it under a wrong name` })

  return {
    get: (address) => entries.get(address),
    entries: () => entries.values(),
    claimedBy: (uid) => byUid.get(uid) ?? noAddresses,
    heldFor: (namespace, name) => byHolder.get(namespacedName(namespace, name)) ?? noAddresses,
    sharedUnder: (shareKey, family) =>
      [...(byShareKey.get(shareKey) ?? noAddresses)].filter((ip) => familyOf(ip) === family).sort(compareIp),
    claim: (address, claim) => {
      const entry = entries.get(address) ?? blank(address, poolOf)
      const at = entry.claims.findIndex(({ uid }) => uid === claim.uid)
      const before = entry.claims[at]
      if (before !== undefined && sameClaim(before, claim) && entry.hold === undefined) return
      const claims = before === undefined ? [...entry.claims, claim] : entry.claims.with(at, claim)
      entries.set(address, { ...entry, claims, hold: undefined })
      indexClaim(address, claim)
    },
    disclaim: (address, uid) => {
      const entry = entries.get(address)
      if (entry === undefined) return
      const claims = entry.claims.filter((claim) => claim.uid !== uid)
      if (claims.length === 0 && entry.vip === undefined) entries.delete(address)
      else entries.set(address, { ...entry, claims })
      byUid.set(
        uid,
        (byUid.get(uid) ?? noAddresses).filter((ip) => ip !== address),
      )
    },
    holdFor: (address, hold) => {
      const entry = entries.get(address)
      if (entry !== undefined) entries.set(address, { ...entry, hold })
    },
  }
}

const blank = (address: Ip, poolOf: (address: Ip) => VipPool | undefined): LedgerEntry => ({
  address,
  name: vipName(address),
  vip: undefined,
  pool: poolOf(address),
  frozen: undefined,
  claims: [],
  hold: undefined,
})
