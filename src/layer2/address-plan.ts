// What has to become of a node's addresses: from one look at the node, the VIPs that it owns and how long that is certain. Pure, so
// that each cause for which a VIP is given up or kept waiting is a line here, and one in the test.

import type { Ip } from '../net/ip.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { AddressChange, ObservedLink, ObservedNode } from './addresses.ts'

/** A VIP that this node is to answer for. */
export interface OwnedVip {
  readonly address: Ip
  readonly interface: string
  /** The node that answered for it before: it is known to be Bellhop's, and taken without asking around first. */
  readonly from?: string
}

/** What the node may have. */
export interface Title {
  readonly owned: ReadonlyMap<Ip, OwnedVip>
  /** Given up to one who contests it, however much the list says that it is ours. */
  readonly yielded: ReadonlySet<Ip>
  /** How long it is still certain that nobody can have moved the VIPs without our knowing; below 1 nothing is ours. */
  readonly provenSeconds: number
  /** How long a proof lasts when it is new. */
  readonly holdMs: number
}

/** Why an address goes. */
export type GivenUpBecause = 'moved' | 'unproven' | 'contested' | 'misplaced'

export interface GivenUp {
  readonly address: Ip
  /** Where it is. */
  readonly interface: string
  readonly because: GivenUpBecause
}

export interface AddressPlan {
  /** On the node where they belong, and to stay. */
  readonly kept: readonly OwnedVip[]
  readonly givenUp: readonly GivenUp[]
  /** Ours and not on the node, in the order of the list. */
  readonly missing: readonly OwnedVip[]
  /** Of some that are kept: their lifetime is to be longer. */
  readonly renewals: readonly AddressChange[]
}

/** A lifetime that could be longer by more than this is renewed: every other round. */
const renewSeconds = (holdMs: number): number => Math.min(5, holdMs / 3_000)

/** An address whose lifetime is not renewed goes by the kernel's hand, and never later than the proof. */
export function planAddresses({ held }: Pick<ObservedNode, 'held'>, title: Title): AddressPlan {
  const { owned, yielded, provenSeconds, holdMs } = title
  const kept: OwnedVip[] = []
  const givenUp: GivenUp[] = []
  const renewals: AddressChange[] = []
  for (const [address, { interface: name, validSeconds }] of held) {
    const vip = owned.get(address)
    const because = causeAgainst(vip, name, title)
    if (because !== undefined) givenUp.push({ address, interface: name, because })
    if (because !== undefined || vip === undefined) continue
    kept.push(vip)
    if (validSeconds < provenSeconds - renewSeconds(holdMs))
      renewals.push({ type: 'renew', address, interface: name, seconds: provenSeconds })
  }
  const isOurs = provenSeconds >= 1
  const missing = [...owned.values()].filter(
    (vip) => isOurs && !yielded.has(vip.address) && held.get(vip.address)?.interface !== vip.interface,
  )
  return { kept, givenUp, missing, renewals }
}

function causeAgainst(
  vip: OwnedVip | undefined,
  interfaceName: string,
  { yielded, provenSeconds }: Title,
): GivenUpBecause | undefined {
  if (vip === undefined) return 'moved'
  if (provenSeconds < 1) return 'unproven'
  if (yielded.has(vip.address)) return 'contested'
  return vip.interface === interfaceName ? undefined : 'misplaced'
}

/** Why a VIP has no place on the node as it is seen. The code is the condition's reason. */
export interface NoPlace {
  readonly code: 'AddressNotSet' | 'AddressInUse'
  /** For operators. */
  readonly message: string
}

/** The link on which a VIP that is missing goes. */
export function placeOf(
  { address, interface: name }: OwnedVip,
  { links, foreign }: Pick<ObservedNode, 'links' | 'foreign'>,
): Result<ObservedLink, NoPlace> {
  const link = links.find((candidate) => candidate.name === name)
  if (link === undefined) return err({ code: 'AddressNotSet', message: `there is no interface ${name} that is up` })
  const elsewhere = foreign.get(address)
  if (elsewhere === undefined) return ok(link)
  const message = `the node has it on ${elsewhere}, and not from Bellhop: take it away there`
  return err({ code: 'AddressInUse', message })
}
