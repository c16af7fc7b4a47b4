// Base chains of others that close a node's forwarding by nftables, and the way through them: a jump in front of such a chain to
// a chain of ours in the same table, which accepts connections to VIPs by sets. It has to stand in their table, because an accept
// ends only the base chain it is reached from and a chain can be jumped to from its own table alone. Recognised as ours after
// amnesia by name; rules of others are neither named nor moved. Pure: observe.ts reads, reconcile.ts runs the text.

import type { Drift } from '../iptables/render.ts'
import { familyOf, type Ip } from '../net/ip.ts'
import { type NftSet, ownTable, renderSetChange } from './table.ts'

export type TableFamily = 'ip' | 'ip6' | 'inet'

export interface TableName {
  readonly family: TableFamily
  readonly name: string
}

/** A base chain at hook forward. */
export interface ForwardChain extends TableName {
  readonly chain: string
  readonly policy: 'accept' | 'drop'
}

export interface ObservedRule {
  readonly handle: number
  /** Jumps to our chain. */
  readonly isJump: boolean
  /** Drops or rejects whatever reaches it. */
  readonly refusesAll: boolean
  /** Accepts every connection that was translated, as firewalld does unless it is told otherwise. */
  readonly acceptsTranslated: boolean
}

/** What of ours stands in a table. */
export interface Ours {
  /** Rules and the declarations of sets, as text to compare. */
  readonly rules: string
  /** By set, as we write them. */
  readonly elements: ReadonlyMap<string, ReadonlySet<string>>
}

/** A table that has a base chain at hook forward. */
export interface ObservedTable extends TableName {
  readonly forward: readonly (ForwardChain & { readonly rules: readonly ObservedRule[] })[]
  /** Absent without our chain or one of our sets. */
  readonly ours?: Ours
  /** Names of ours that are there, for removing them. */
  readonly chains: readonly string[]
  readonly sets: readonly string[]
}

export const openingChain = 'bellhop-forward'
export const setPrefix = 'bellhop-'
const jumpRule = `jump ${openingChain} comment "bellhop: accept connections to VIPs"`

// What iptables-nft keeps is iptables' business; kube-proxy and the network plugins close nothing as a whole, and a chain of
// theirs that ends in a drop is about pods of their own.
const leftAlone = (table: TableName): boolean =>
  (table.family === ownTable.family && table.name === ownTable.name) ||
  /^(kube-|cali|cilium|antrea|flannel|kindnet)/i.test(table.name)

/** Whether iptables made it: then it is opened by iptables. */
const isIptables = ({ family, name, chain }: ForwardChain): boolean =>
  family !== 'inet' && name === 'filter' && chain === 'FORWARD'

/** Tables worth a closer look. */
export const mayClose = (chain: ForwardChain): boolean => !isIptables(chain) && !leftAlone(chain)

// A chain that lets through what was translated before it closes needs nothing of ours; its owner, which may be the only one that can
// write there, has seen to it.
function closes({ policy, rules }: ObservedTable['forward'][number]): boolean {
  const decisive = rules.find(({ refusesAll, acceptsTranslated }) => refusesAll || acceptsTranslated)
  return decisive === undefined ? policy === 'drop' : decisive.refusesAll
}

/** The tables that must be opened, by their closing chains. */
export const closedTables = (tables: readonly ObservedTable[]): readonly ObservedTable[] =>
  tables.filter(({ forward }) => forward.some(closes))

const familiesOf = ({ family }: TableName): readonly ('4' | '6')[] =>
  family === 'ip' ? ['4'] : family === 'ip6' ? ['6'] : ['4', '6']

const types = { '4': 'ipv4_addr', '6': 'ipv6_addr' } as const
const words = { '4': 'ip', '6': 'ip6' } as const

/** The sets by which `table` is opened for exactly `vips`. */
export const openingSets = (table: TableName, vips: readonly Ip[]): ReadonlyMap<string, NftSet> =>
  new Map(
    familiesOf(table).map((digit) => {
      const own = vips.filter((vip) => familyOf(vip) === (digit === '4' ? 'IPv4' : 'IPv6'))
      return [`${setPrefix}vips${digit}`, { declaration: `type ${types[digit]};`, elements: new Set(own) }]
    }),
  )

/** The nft text that turns the elements of `before`, which are in the kernel, into those of `after`; undefined when they are equal. */
export function planElements(
  table: TableName,
  before: ReadonlyMap<string, NftSet>,
  after: ReadonlyMap<string, NftSet>,
): string | undefined {
  const at = `${table.family} ${table.name}`
  const lines = [...after].flatMap(([name, set]) => renderSetChange(`${at} ${name}`, before.get(name), set))
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`
}

/**
 * The nft text that opens `table` by `sets`. `before`: the sets that are in the kernel; without them our chain and sets are
 * not as they were left, or not known, and are written anew. Undefined when nothing is to be done.
 */
export function planOpening(
  table: ObservedTable,
  sets: ReadonlyMap<string, NftSet>,
  before: ReadonlyMap<string, NftSet> | undefined,
): string | undefined {
  const at = `${table.family} ${table.name}`
  const lines: string[] = []
  if (before !== undefined)
    lines.push(...[...sets].flatMap(([name, set]) => renderSetChange(`${at} ${name}`, before.get(name), set)))
  else {
    for (const [name, { declaration, elements }] of sets) {
      lines.push(`add set ${at} ${name} { ${declaration} }`, `flush set ${at} ${name}`)
      if (elements.size > 0) lines.push(`add element ${at} ${name} { ${[...elements].join(', ')} }`)
    }
    lines.push(`add chain ${at} ${openingChain}`, `flush chain ${at} ${openingChain}`)
    for (const digit of familiesOf(table))
      lines.push(
        `add rule ${at} ${openingChain} ct status dnat ct original ${words[digit]} daddr @${setPrefix}vips${digit} counter accept`,
      )
  }
  for (const { chain, rules, ...base } of table.forward) {
    const jumps = rules.filter(({ isJump }) => isJump)
    const wanted = closes({ chain, rules, ...base })
    if (wanted && jumps.length === 1 && rules[0]?.isJump === true) continue
    lines.push(...jumps.map(({ handle }) => `delete rule ${at} ${chain} handle ${handle}`))
    if (wanted) lines.push(`insert rule ${at} ${chain} ${jumpRule}`)
  }
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`
}

/** The nft text that takes everything of ours out of `table`, or undefined when there is nothing. */
export function planClosing(table: ObservedTable): string | undefined {
  const at = `${table.family} ${table.name}`
  const lines = table.forward.flatMap(({ chain, rules }) =>
    rules.filter(({ isJump }) => isJump).map(({ handle }) => `delete rule ${at} ${chain} handle ${handle}`),
  )
  lines.push(...table.chains.flatMap((chain) => [`flush chain ${at} ${chain}`, `delete chain ${at} ${chain}`]))
  lines.push(...table.sets.map((set) => `delete set ${at} ${set}`))
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`
}

/** What somebody else did to an opening of ours; `intact`: chain and sets are as they were left. */
export function openingDrift(table: ObservedTable, { intact }: { readonly intact: boolean }): readonly Drift[] {
  const drifts: Drift[] = []
  for (const chain of table.forward.filter(closes)) {
    const jumps = chain.rules.filter(({ isJump }) => isJump).length
    if (jumps === 0) drifts.push('jump-missing')
    else if (jumps > 1) drifts.push('jump-duplicated')
    else if (chain.rules[0]?.isJump !== true) drifts.push('jump-misplaced')
  }
  if (table.ours === undefined) drifts.push('chain-missing')
  else if (!intact) drifts.push('chain-altered')
  return [...new Set(drifts)]
}
