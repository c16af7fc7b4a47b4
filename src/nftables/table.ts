// The table that is wholly ours, `inet bellhop`: what it must hold for a set of VIPs, and the text that makes it so in one
// transaction. It refuses, and opens nothing: a drop in any base chain is final, whereas an accept ends one base chain and
// leaves the verdict to the next, so that no table of ours can open what another one closes (openings.ts goes there). Pure.
//
// Who may come (`loadBalancerSourceRanges`) is asked in prerouting before connection tracking and before anybody translates the
// address: there the packet still carries VIP and port, whichever proxy is behind, and a refused packet costs no entry in the
// connection table. Ports that no Service has are refused in forward: what gets there with a VIP as destination was translated by
// nobody, and would follow the default route back to the router that sent it.
//
// Membership is asked of sets, so that ten thousand VIPs cost a packet the one lookup that one VIP costs.

import type { VipPort, VipRules } from '../datapath/desired.ts'
import { coverRanges, renderBlock } from '../iptables/cover.ts'
import { familyOf, type IpFamily } from '../net/ip.ts'
import { parseRange } from '../net/range.ts'

export const ownTable = { family: 'inet', name: 'bellhop' } as const

export interface RefusalOptions {
  /** Refuse clients that are not in `loadBalancerSourceRanges`. */
  readonly sourceRanges: boolean
  /** Refuse what is addressed to a VIP and a port that no Service has. */
  readonly unusedPorts: boolean
}

export interface NftSet {
  /** As in `type ...;`, with flags. */
  readonly declaration: string
  readonly elements: ReadonlySet<string>
}

/** Sets by name, and the chains' text, which depends on the options alone. */
export interface OwnTable {
  readonly sets: ReadonlyMap<string, NftSet>
  readonly chains: string
}

/** The table for these VIPs; undefined when there is nothing to refuse, for then there is no table. */
export function desiredTable(vips: readonly VipRules[], options: RefusalOptions): OwnTable | undefined {
  const all = vips.map(elementsOf)
  const anyGuarded = options.sourceRanges && all.some(({ guarded }) => guarded.length > 0)
  if (!anyGuarded && !(options.unusedPorts && vips.length > 0)) return undefined
  const sets = new Map<string, NftSet>()
  for (const family of ['IPv4', 'IPv6'] as const) {
    const own = all.filter((vip) => vip.family === family)
    const { address, digit } = terms[family]
    const port = `${address} . inet_proto . inet_service`
    const add = (name: string, declaration: string, elements: readonly string[]): void =>
      void sets.set(`${name}${digit}`, { declaration, elements: new Set(elements) })
    if (options.unusedPorts) {
      add(
        'vips',
        `type ${address};`,
        own.map((vip) => vip.address),
      )
      add(
        'ports',
        `type ${port};`,
        own.flatMap(({ ports }) => ports),
      )
    }
    if (!options.sourceRanges) continue
    add(
      'guarded',
      `type ${port};`,
      own.flatMap(({ guarded }) => guarded),
    )
    add(
      'sources',
      `type ${port} . ${address}; flags interval;`,
      own.flatMap(({ sources }) => sources),
    )
  }
  return { sets, chains: renderChains(options) }
}

const terms = {
  IPv4: { digit: '4', ip: 'ip', address: 'ipv4_addr', unreachable: 'icmp port-unreachable' },
  IPv6: { digit: '6', ip: 'ip6', address: 'ipv6_addr', unreachable: 'icmpv6 port-unreachable' },
} as const

const portKey = ({ address }: VipRules, { protocol, port }: VipPort): string =>
  `${address} . ${protocol.toLowerCase()} . ${port}`

/** What one VIP puts into the sets. */
interface VipElements {
  readonly address: string
  readonly family: IpFamily
  readonly ports: readonly string[]
  readonly guarded: readonly string[]
  readonly sources: readonly string[]
}

/** A VIP that did not change keeps its elements, so that ten thousand of them cost what the changed ones cost. */
const known = new WeakMap<VipRules, VipElements>()

function elementsOf(vip: VipRules): VipElements {
  const elements = known.get(vip) ?? elementsOfVip(vip)
  known.set(vip, elements)
  return elements
}

function elementsOfVip(vip: VipRules): VipElements {
  const family = familyOf(vip.address)
  const guarded: string[] = []
  const sources: string[] = []
  for (const port of vip.ports) {
    const blocks = allowedBlocks(port, family)
    if (blocks.length === 0) continue
    guarded.push(portKey(vip, port))
    sources.push(...blocks.map((block) => `${portKey(vip, port)} . ${block}`))
  }
  return { address: vip.address, family, ports: vip.ports.map((port) => portKey(vip, port)), guarded, sources }
}

// Disjoint, since the kernel refuses intervals that overlap; none where everybody may come. As kube-proxy reads them: ranges of the
// other family say nothing, and with none of this family everybody may come.
function allowedBlocks({ sourceRanges }: VipPort, family: IpFamily): readonly string[] {
  const ranges = sourceRanges.flatMap((prefix) => {
    const range = parseRange(prefix)
    return range.ok && range.value.family === family ? [range.value] : []
  })
  const blocks = coverRanges(ranges)
  return blocks.some(({ length }) => length === 0) ? [] : blocks.map(renderBlock)
}

function renderChains({ sourceRanges, unusedPorts }: RefusalOptions): string {
  const families = Object.values(terms)
  const lines: string[] = []
  if (sourceRanges) {
    lines.push('  chain sources {', '    type filter hook prerouting priority raw; policy accept;')
    for (const { digit, ip } of families) {
      const port = `${ip} daddr . meta l4proto . th dport`
      lines.push(
        `    ${port} @guarded${digit} ${port} . ${ip} saddr != @sources${digit} counter drop comment "not in loadBalancerSourceRanges"`,
      )
    }
    lines.push('  }')
  }
  if (unusedPorts) {
    for (const { digit, ip, unreachable } of families)
      lines.push(
        `  chain unused${digit} {`,
        '    ct state invalid counter drop',
        `    ${ip} daddr . meta l4proto . th dport @ports${digit} return`,
        '    meta l4proto tcp counter reject with tcp reset',
        `    counter reject with ${unreachable}`,
        '  }',
      )
    // Before firewalls, so that a client is answered on nodes whose firewall would drop in silence. What the proxy says about
    // ports that Services have, such as those without endpoints, stays the proxy's.
    lines.push('  chain unused {', '    type filter hook forward priority filter - 10; policy accept;')
    for (const { digit, ip } of families) lines.push(`    ${ip} daddr @vips${digit} jump unused${digit}`)
    lines.push('  }')
  }
  return lines.join('\n')
}

const qualifiedName = `${ownTable.family} ${ownTable.name}`

/** Makes the table anew, whatever is there: one transaction, in which no packet meets half of it. */
export const renderTable = ({ sets, chains }: OwnTable): string =>
  [
    `add table ${qualifiedName}`,
    `delete table ${qualifiedName}`,
    `table ${qualifiedName} {`,
    ...[...sets].map(([name, set]) => `  set ${name} { ${set.declaration}${renderElements(set.elements)} }`),
    chains,
    '}',
    '',
  ].join('\n')

const renderElements = (elements: ReadonlySet<string>): string =>
  elements.size === 0 ? '' : ` elements = { ${[...elements].join(', ')} };`

/** Removes the table. It must be there. */
export const renderRemoval = `delete table ${qualifiedName}\n`

/** Whether the two differ in elements at most. */
export const sameShape = (before: OwnTable, after: OwnTable): boolean =>
  before.chains === after.chains &&
  before.sets.size === after.sets.size &&
  [...after.sets.keys()].every((name) => before.sets.has(name))

/** What turns `before`, which is in the kernel, into `after`; undefined when they are equal, and the whole table when only that will do. */
export function renderUpdate(before: OwnTable, after: OwnTable): string | undefined {
  if (!sameShape(before, after)) return renderTable(after)
  const lines = [...after.sets].flatMap(([name, set]) =>
    renderSetChange(`${qualifiedName} ${name}`, before.sets.get(name), set),
  )
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`
}

/** Commands that turn a set's elements into those of `after`. `at`: family, table and set. */
export function renderSetChange(at: string, before: NftSet | undefined, after: NftSet): readonly string[] {
  const had = before?.elements ?? new Set<string>()
  const gone = [...had].filter((element) => !after.elements.has(element))
  const fresh = [...after.elements].filter((element) => !had.has(element))
  const change = (verb: 'add' | 'delete', elements: readonly string[]): readonly string[] =>
    elements.length === 0 ? [] : [`${verb} element ${at} { ${elements.join(', ')} }`]
  // What goes is gone before what comes is looked at, so that a network may take the place of a wider one.
  return [...change('delete', gone), ...change('add', fresh)]
}

/**
 * What the kernel holds in other words than we wrote it, as text to compare: empty when it is the same, for every `nft` we know.
 */
export function strangeIn(
  elements: ReadonlyMap<string, ReadonlySet<string>>,
  sets: ReadonlyMap<string, NftSet>,
): string {
  const strange = [...sets].flatMap(([name, { elements: ours }]) => {
    const theirs = elements.get(name) ?? new Set<string>()
    return [
      ...[...theirs].filter((element) => !ours.has(element)).map((element) => `${name} + ${element}`),
      ...[...ours].filter((element) => !theirs.has(element)).map((element) => `${name} - ${element}`),
    ]
  })
  return strange.sort().join('\n')
}
