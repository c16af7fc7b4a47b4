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
  const withPorts = options.unusedPorts ? vips : []
  const restricted = options.sourceRanges ? vips.flatMap(restrictionsOf) : []
  if (withPorts.length === 0 && restricted.length === 0) return undefined
  const sets = new Map<string, NftSet>()
  for (const family of ['IPv4', 'IPv6'] as const) {
    const own = withPorts.filter(({ address }) => familyOf(address) === family)
    const guarded = restricted.filter((restriction) => restriction.family === family)
    const { address, digit } = terms[family]
    if (options.unusedPorts) {
      add(
        sets,
        `vips${digit}`,
        address,
        own.map((vip) => vip.address),
      )
      add(
        sets,
        `ports${digit}`,
        `${address} . inet_proto . inet_service`,
        own.flatMap((vip) => vip.ports.map((port) => portKey(vip, port))),
      )
    }
    if (!options.sourceRanges) continue
    add(
      sets,
      `guarded${digit}`,
      `${address} . inet_proto . inet_service`,
      guarded.map(({ key }) => key),
    )
    const sources = guarded.flatMap(({ key, blocks }) => blocks.map((block) => `${key} . ${block}`))
    add(sets, `sources${digit}`, `${address} . inet_proto . inet_service . ${address}`, sources, 'intervals')
  }
  return { sets, chains: renderChains(options) }
}

function add(
  sets: Map<string, NftSet>,
  name: string,
  type: string,
  elements: readonly string[],
  kind: 'single' | 'intervals' = 'single',
): void {
  const declaration = kind === 'intervals' ? `type ${type}; flags interval;` : `type ${type};`
  sets.set(name, { declaration, elements: new Set(elements) })
}

const terms = {
  IPv4: { digit: '4', ip: 'ip', address: 'ipv4_addr', unreachable: 'icmp port-unreachable' },
  IPv6: { digit: '6', ip: 'ip6', address: 'ipv6_addr', unreachable: 'icmpv6 port-unreachable' },
} as const

const portKey = ({ address }: VipRules, { protocol, port }: VipPort): string =>
  `${address} . ${protocol.toLowerCase()} . ${port}`

interface Restriction {
  readonly family: IpFamily
  readonly key: string
  /** Disjoint: the kernel refuses intervals that overlap. */
  readonly blocks: readonly string[]
}

// As kube-proxy reads them: ranges of the other family say nothing, and with none of this family everybody may come.
function restrictionsOf(vip: VipRules): readonly Restriction[] {
  const family = familyOf(vip.address)
  return vip.ports.flatMap((port) => {
    const ranges = port.sourceRanges.flatMap((prefix) => {
      const range = parseRange(prefix)
      return range.ok && range.value.family === family ? [range.value] : []
    })
    const blocks = coverRanges(ranges)
    if (blocks.length === 0 || blocks.some(({ length }) => length === 0)) return []
    return [{ family, key: portKey(vip, port), blocks: blocks.map(renderBlock) }]
  })
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

/** What turns `before`, which is in the kernel, into `after`; undefined when they are equal, and the whole table when only that will do. */
export function renderUpdate(before: OwnTable, after: OwnTable): string | undefined {
  if (before.chains !== after.chains || ![...after.sets.keys()].every((name) => before.sets.has(name)))
    return renderTable(after)
  const lines = [...after.sets].flatMap(([name, set]) => updateOfSet(name, before.sets.get(name), set))
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`
}

function updateOfSet(name: string, before: NftSet | undefined, after: NftSet): readonly string[] {
  const had = before?.elements ?? new Set<string>()
  const gone = [...had].filter((element) => !after.elements.has(element))
  const fresh = [...after.elements].filter((element) => !had.has(element))
  if (gone.length === 0 && fresh.length === 0) return []
  const change = (verb: 'add' | 'delete', elements: readonly string[]): readonly string[] =>
    elements.length === 0 ? [] : [`${verb} element ${qualifiedName} ${name} { ${elements.join(', ')} }`]
  // What goes is gone before what comes is looked at, so that a network may take the place of a wider one.
  return [...change('delete', gone), ...change('add', fresh)]
}
