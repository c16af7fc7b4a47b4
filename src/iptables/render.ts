// What the filter table must hold so that packets for VIPs pass a FORWARD chain whose policy is DROP, and the
// iptables-restore text that turns what is there into that. Pure: observe.ts reads the table, reconcile.ts runs the text.
//
// By the time a packet is in FORWARD, kube-proxy has replaced the VIP by the pod's address, so a rule on the destination
// address never matches. Connection tracking remembers the original destination, and `--ctorigdst` compares it for both
// directions of the connection. Only connections that were really translated (`--ctstate DNAT`) are accepted: a packet for
// a VIP that kube-proxy left alone is one it wants refused (no endpoints, loadBalancerSourceRanges), and letting it through
// would send it back to the router it came from, in circles.
//
// Accepting has to happen in the iptables FORWARD chain itself: accepting in an nftables chain of our own at the same hook
// ends that chain only, and the verdict of the iptables chain still counts. A renderer of native nftables rules or sets
// therefore has a place only beside this one, in the same table, and shares `FilterTable` and `planChange`'s contract.

import { addressBits, type Ip, type IpFamily } from '../net/ip.ts'
import { type Block, coverOf, renderBlock } from './cover.ts'

/** The chain that FORWARD jumps to. All chains of ours start with `chainPrefix`. */
export const entryChain = 'BELLHOP-FORWARD'
export const chainPrefix = 'BELLHOP-'
const jumpRule = `-m comment --comment "bellhop: accept connections to VIPs" -j ${entryChain}`

/**
 * Chains in which network policy engines decide about pods. Our jump stays behind them when they are called from FORWARD: an
 * accept before them would open to VIP clients what a NetworkPolicy closes, and Calico insists on the first place anyway.
 */
export const policyChains: readonly string[] = [
  'cali-FORWARD',
  'KUBE-ROUTER-FORWARD',
  'WEAVE-NPC',
  'WEAVE-NPC-EGRESS',
  'KUBE-NWPLCY-DEFAULT',
]

/** The part of a filter table that concerns us. Rules are as iptables-save writes them, without `-A CHAIN `. */
export interface FilterTable {
  readonly forward: readonly string[]
  /** Chains of ours, by name. */
  readonly chains: Chains
}

export type Chains = ReadonlyMap<string, readonly string[]>

/** What somebody else did to our rules. */
export type Drift =
  | 'jump-missing'
  | 'jump-duplicated'
  | 'jump-misplaced'
  | 'chain-missing'
  | 'chain-altered'
  /** These two of our own nftables table. */
  | 'table-missing'
  | 'table-altered'

/**
 * With this many prefixes or fewer a chain is a list; longer ones are split by the next four bits of the address. With 10 000
 * scattered VIPs, the last of them asked 400 times on connections of their own: 4.1 s as one list, 0.16 s like this, 0.14 s with
 * one VIP (back end nft; 2.2 s, 0.15 s and 0.15 s on legacy).
 */
const listLengthMax = 16
// The kernel refuses more than 16 nested chains (NFT_JUMP_STACK_SIZE), and others may call us from theirs.
const depthMax = 10

/** The chains of one family that accept exactly `vips`; empty when there is none, for then nothing of ours need be there. */
export function desiredChains(family: IpFamily, vips: readonly Ip[]): Chains {
  const blocks = coverOf(family, vips)
  if (blocks.length === 0) return new Map()
  const chains = new Map<string, readonly string[]>()
  const rules = fillChain(blocks, 1, chains)
  return new Map([[entryChain, ['-m conntrack ! --ctstate DNAT -j RETURN', ...rules]], ...chains])
}

// The rules that accept `blocks`. Chains that these rules go to are added to `chains`, so that a packet meets at most
// sixteen rules a level instead of one rule for each VIP.
function fillChain(blocks: readonly Block[], depth: number, chains: Map<string, readonly string[]>): readonly string[] {
  if (blocks.length <= listLengthMax || depth >= depthMax) return blocks.map(acceptRule)
  const splitLength = commonLength(blocks) + 4
  const buckets = Map.groupBy(blocks, (block) => (block.length < splitLength ? block : bucketKey(block, splitLength)))
  return [...buckets].flatMap(([key, members]) => {
    if (typeof key !== 'string' || members.length <= 2) return members.map(acceptRule)
    const [{ family, first }] = members as [Block]
    const hostBits = BigInt(addressBits(family) - splitLength)
    const bucket: Block = { family, first: (first >> hostBits) << hostBits, length: splitLength }
    const name = chainOf(bucket)
    chains.set(name, fillChain(members, depth + 1, chains))
    return [`-m conntrack --ctorigdst ${renderBlock(bucket)} -g ${name}`]
  })
}

const acceptRule = (block: Block): string => `-m conntrack --ctorigdst ${renderBlock(block)} -j ACCEPT`

const bucketKey = ({ family, first }: Block, length: number): string =>
  String(first >> BigInt(addressBits(family) - length))

// How many leading bits all blocks share; they are sorted, so the outermost decide.
function commonLength(blocks: readonly Block[]): number {
  const low = blocks[0]
  const high = blocks.at(-1)
  if (low === undefined || high === undefined) return 0
  const bits = addressBits(low.family)
  const difference = low.first ^ high.first
  return difference === 0n ? bits : bits - difference.toString(2).length
}

// A chain's name may have 28 characters and depends on its prefix alone, so that one more VIP changes one or two chains.
function chainOf(bucket: Block): string {
  if (bucket.family === 'IPv4') return `${chainPrefix}${renderBlock(bucket).replace('/', '-')}`
  const shown = bucket.first >> BigInt(128 - bucket.length)
  return `${chainPrefix}${bucket.length}-${fingerprint(shown.toString(16))}`
}

// FNV-1a, 64 bits. Two prefixes of one length among a few thousand meet with a probability of 1 in 10^12.
function fingerprint(text: string): string {
  let hash = 0xcbf29ce484222325n
  for (const char of text) hash = ((hash ^ BigInt(char.charCodeAt(0))) * 0x100000001b3n) & 0xffffffffffffffffn
  return hash.toString(16).padStart(16, '0')
}

/**
 * The iptables-restore text (for `--noflush`) that gives `observed` exactly `desired` and one jump in its place, or undefined
 * when that is so already. One transaction: no packet meets half of it. Names no chain and no rule of others.
 */
export function planChange(
  observed: FilterTable,
  desired: Chains,
  options: { readonly stayBehind: readonly string[] },
): string | undefined {
  const rewritten = [...desired].filter(([name, rules]) => !sameRules(observed.chains.get(name), rules))
  const stale = [...observed.chains.keys()].filter((name) => !desired.has(name))
  const jump = desired.size === 0 ? removeJumps(observed) : placeJump(observed, options.stayBehind)
  if (rewritten.length === 0 && stale.length === 0 && jump.length === 0) return undefined
  return [
    '*filter',
    // Declaring a chain of one's own creates it, or empties it.
    ...[...rewritten.map(([name]) => name), ...stale].map((name) => `:${name} - [0:0]`),
    ...rewritten.flatMap(([name, rules]) => rules.map((rule) => `-A ${name} ${rule}`)),
    ...jump,
    ...stale.map((name) => `-X ${name}`),
    'COMMIT',
    '',
  ].join('\n')
}

/** What differs between `observed` and what was put there; `lastApplied` must come from `desiredChains`. */
export function driftOf(
  observed: FilterTable,
  lastApplied: Chains,
  options: { readonly stayBehind: readonly string[] },
): readonly Drift[] {
  const drifts: Drift[] = []
  if (lastApplied.size > 0) {
    const jumps = observed.forward.filter(isJump).length
    if (jumps === 0) drifts.push('jump-missing')
    else if (jumps > 1) drifts.push('jump-duplicated')
    else if (placeJump(observed, options.stayBehind).length > 0) drifts.push('jump-misplaced')
  }
  const missing = [...lastApplied.keys()].some((name) => !observed.chains.has(name))
  if (missing) drifts.push('chain-missing')
  const altered = [...observed.chains].some(([name, rules]) => !sameRules(lastApplied.get(name), rules))
  if (altered) drifts.push('chain-altered')
  return drifts
}

const sameRules = (a: readonly string[] | undefined, b: readonly string[]): boolean =>
  a !== undefined && a.length === b.length && a.every((rule, i) => rule === b[i])

const isJump = (rule: string): boolean => targetOf(rule) === entryChain

/** The chain or verdict that a rule ends in. */
function targetOf(rule: string): string | undefined {
  const words = rule.split(' ')
  const at = words.findIndex((word) => word === '-j' || word === '-g')
  return at < 0 ? undefined : words[at + 1]
}

const removeJumps = ({ forward }: FilterTable): readonly string[] =>
  forward.filter(isJump).map((rule) => `-D FORWARD ${rule}`)

function placeJump(table: FilterTable, stayBehind: readonly string[]): readonly string[] {
  const { place, forward } = withJump(table, stayBehind)
  if (sameRules(table.forward, forward)) return []
  return [...removeJumps(table), `-I FORWARD ${place + 1} ${jumpRule}`]
}

function withJump(
  { forward }: FilterTable,
  stayBehind: readonly string[],
): { readonly place: number; readonly forward: readonly string[] } {
  const others = forward.filter((rule) => !isJump(rule))
  const place = others.findLastIndex((rule) => stayBehind.includes(targetOf(rule) ?? '')) + 1
  return { place, forward: [...others.slice(0, place), jumpRule, ...others.slice(place)] }
}

/** What `observed` is after `planChange`. */
export const afterChange = (
  observed: FilterTable,
  desired: Chains,
  { stayBehind }: { readonly stayBehind: readonly string[] },
): FilterTable => ({
  forward:
    desired.size === 0 ? observed.forward.filter((rule) => !isJump(rule)) : withJump(observed, stayBehind).forward,
  chains: desired,
})
