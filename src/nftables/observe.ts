// Reads what `nft -j` prints into the parts that concern us: base chains at hook forward, and what of ours is in which table, apart
// by rules and elements. Rules and declarations are one text, to be compared with what the kernel gave back after our own last
// write: this spares us to know how each version of nft writes a rule back. Elements are spelled as we write them, so that a set of
// forty thousand need not be read again because one of them came or went.

import { asList, asObject, asText } from '../k8s/json.ts'
import { parseIp } from '../net/ip.ts'
import {
  type ForwardChain,
  type ObservedRule,
  type ObservedTable,
  type Ours,
  openingChain,
  setPrefix,
  type TableFamily,
  type TableName,
} from './openings.ts'

type Item = Readonly<Record<string, unknown>>

/** The items of `nft -j list ...`; empty for what is no such text. */
function itemsOf(json: string): readonly Item[] {
  if (json.trim() === '') return []
  const parsed: unknown = JSON.parse(json)
  return (asList(asObject(parsed)?.['nftables']) ?? []).map(asObject).filter((item) => item !== undefined)
}

const ofKind = (items: readonly Item[], kind: string): readonly Item[] =>
  items.map((item) => asObject(item[kind])).filter((item) => item !== undefined)

const families: readonly TableFamily[] = ['ip', 'ip6', 'inet']

/** The chains of a node. */
export interface ChainList {
  /** Base chains at hook forward that packets of IPv4 or IPv6 meet. */
  readonly forward: readonly ForwardChain[]
  /** Whether there is a table of this `family name` with a chain, ours or anybody's. */
  readonly hasTable: (key: string) => boolean
}

/** From `nft -j list chains`. */
export const parseChains = (json: string): ChainList => skimChains(json) ?? readChains(json)

function readChains(json: string): ChainList {
  const chains = ofKind(itemsOf(json), 'chain')
  const tables = new Set(chains.map(({ family, table }) => `${asText(family)} ${asText(table)}`))
  return { forward: forwardChains(chains), hasTable: (key) => tables.has(key) }
}

const chainBegin = '{"chain": {"family": "'
const hookMember = '"hook": '

// Beside ten thousand Services kube-proxy has forty thousand chains in nftables mode, five megabytes that take an agent a quarter of a
// second to parse, for each change of a VIP. Those with a hook are a handful, and found as text; a quote inside of a text is escaped,
// so that no comment looks like a member. Undefined for what is spelled in another way than by every nft we know.
function skimChains(json: string): ChainList | undefined {
  if (!json.includes(chainBegin)) return undefined
  const chains: Item[] = []
  for (let at = json.indexOf(hookMember); at >= 0; at = json.indexOf(hookMember, at + 1)) {
    const next = json.indexOf(chainBegin, at)
    const end = next < 0 ? json.lastIndexOf(']') : json.lastIndexOf(',', next)
    const chain = asObject(asObject(parsed(json.slice(json.lastIndexOf(chainBegin, at), end)))?.['chain'])
    if (chain === undefined) return undefined
    chains.push(chain)
  }
  return {
    forward: forwardChains(chains),
    hasTable: (key) => {
      const [family, name] = key.split(' ')
      return json.includes(`${chainBegin}${family}", "table": "${name}",`)
    },
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

const forwardChains = (chains: readonly Item[]): readonly ForwardChain[] =>
  chains.flatMap((item) => {
    if (item['hook'] !== 'forward' || item['type'] !== 'filter') return []
    const family = families.find((candidate) => candidate === item['family'])
    if (family === undefined) return []
    return [
      {
        family,
        name: asText(item['table']) ?? '',
        chain: asText(item['name']) ?? '',
        policy: item['policy'] === 'drop' ? 'drop' : 'accept',
      },
    ]
  })

/** From `nft -j list table` of a table that is wholly ours; without its elements where the listing was terse. */
export const parseOwnTable = (json: string): Ours => oursOf(itemsOf(json).filter((item) => !('metainfo' in item)))

/** From `nft -j list table <family> <name>`. */
export function parseTable(json: string, { family, name }: TableName): ObservedTable {
  const items = itemsOf(json)
  const chains = ofKind(items, 'chain')
  const rules = ofKind(items, 'rule')
  const sets = ofKind(items, 'set').filter((set) => asText(set['name'])?.startsWith(setPrefix))
  const ownChain = chains.some((chain) => chain['name'] === openingChain)
  const expected = family === 'inet' ? 2 : 1
  const complete = ownChain && sets.length === expected
  const ownRules = rules.filter((rule) => rule['chain'] === openingChain)
  return {
    family,
    name,
    forward: forwardChains(chains).map((chain) => ({
      ...chain,
      rules: rules.filter((rule) => rule['chain'] === chain.chain).map(observedRule),
    })),
    ...(complete ? { ours: oursOf([...sets.map((set) => ({ set })), ...ownRules.map((rule) => ({ rule }))]) } : {}),
    chains: ownChain ? [openingChain] : [],
    sets: sets.map((set) => asText(set['name']) ?? ''),
  }
}

/** A whole table as one text: equal texts mean equal tables. Handles, counters and the order of elements are left out. */
export const fingerprintOf = (json: string): string => canonical(itemsOf(json).filter((item) => !('metainfo' in item)))

const canonical = (items: readonly unknown[]): string =>
  JSON.stringify(items, (key, value: unknown) => {
    if (key === 'handle' || key === 'packets' || key === 'bytes') return undefined
    if (key === 'elem' && Array.isArray(value)) return value.map((element) => JSON.stringify(element)).sort()
    return value
  })

function oursOf(items: readonly Item[]): Ours {
  const sets = ofKind(items, 'set')
  return {
    rules: JSON.stringify(items, (key, value: unknown) => (passing.has(key) ? undefined : value)),
    elements: new Map(
      sets.map((set) => [asText(set['name']) ?? '', new Set((asList(set['elem']) ?? []).map(spellElement))]),
    ),
  }
}

/** What changes without anybody having changed the rules. */
const passing: ReadonlySet<string> = new Set(['handle', 'packets', 'bytes', 'elem', 'count'])

// Without /etc/protocols, as in a slim image, nft gives numbers.
const protocolNames: ReadonlyMap<unknown, string> = new Map([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
])

// An element as table.ts and openings.ts write it. What they never write, such as an element with a counter, stays JSON.
function spellElement(element: unknown): string {
  const concatenated = asList(asObject(element)?.['concat'])
  if (concatenated === undefined) return spellTerm(element)
  return concatenated
    .map((term, i) => (i === 1 ? (protocolNames.get(term) ?? spellTerm(term)) : spellTerm(term)))
    .join(' . ')
}

function spellTerm(term: unknown): string {
  if (typeof term === 'number') return String(term)
  if (typeof term === 'string') {
    const address = parseIp(term)
    return address.ok ? address.value : term
  }
  const prefix = asObject(asObject(term)?.['prefix'])
  return prefix === undefined ? JSON.stringify(term) : `${spellTerm(prefix['addr'])}/${spellTerm(prefix['len'])}`
}

function observedRule(rule: Item): ObservedRule {
  const expressions = (asList(rule['expr']) ?? []).map(asObject).filter((expression) => expression !== undefined)
  const target = expressions.map((expression) => asText(asObject(expression['jump'])?.['target'])).find(Boolean)
  const matches = expressions.map((expression) => asObject(expression['match'])).filter((match) => match !== undefined)
  const conditional = matches.length > 0 || expressions.some((expression) => 'limit' in expression)
  const accepts = expressions.some((expression) => 'accept' in expression)
  return {
    handle: Number(rule['handle']),
    isJump: target === openingChain,
    acceptsTranslated:
      accepts && matches.every(isTranslated) && !expressions.some((expression) => 'limit' in expression),
    refusesAll: !conditional && expressions.some((expression) => 'drop' in expression || 'reject' in expression),
  }
}

const isTranslated = ({ op, left, right }: Item): boolean =>
  (op === 'in' || op === '==') && asText(asObject(asObject(left)?.['ct'])?.['key']) === 'status' && right === 'dnat'
