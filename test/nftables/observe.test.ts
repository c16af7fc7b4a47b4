// What is read of `nft -j list chains`: the same from any spelling of the JSON, though one of them is only skimmed.

import { describe, expect, test } from 'vitest'
import { parseChains } from '../../src/nftables/observe.ts'

const base = { type: 'filter', hook: 'forward', prio: 0 }
const chains = [
  { family: 'ip', table: 'kube-proxy', name: 'service-ABC-default/web/tcp/http', handle: 1 },
  { family: 'ip', table: 'kube-proxy', name: 'filter-forward', handle: 2, ...base, policy: 'accept' },
  { family: 'inet', table: 'firewall', name: 'input', handle: 3, ...base, hook: 'input', policy: 'drop' },
  {
    family: 'inet',
    table: 'firewall',
    name: 'forward',
    handle: 4,
    ...base,
    policy: 'drop',
    comment: 'says "hook": ]}}, x',
  },
  { family: 'inet', table: 'firewall', name: 'web', handle: 5, comment: '{"chain": {"family": "ip", "table": "odd",' },
  { family: 'bridge', table: 'link', name: 'forward', handle: 6, ...base, policy: 'drop' },
  { family: 'ip6', table: 'last', name: 'forward', handle: 7, ...base, policy: 'drop' },
]
const items = (of: readonly object[]) => ({
  nftables: [{ metainfo: { version: '1.0.6' } }, ...of.map((chain) => ({ chain }))],
})
/** As nft prints it: blanks after commas and colons, and nowhere else. */
const asNft = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(asNft).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([key, each]) => `${JSON.stringify(key)}: ${asNft(each)}`)
    .join(', ')}}`
}
const forward = [
  { family: 'ip', name: 'kube-proxy', chain: 'filter-forward', policy: 'accept' },
  { family: 'inet', name: 'firewall', chain: 'forward', policy: 'drop' },
  { family: 'ip6', name: 'last', chain: 'forward', policy: 'drop' },
]

describe.each([
  ['as nft prints it', asNft],
  ['without blanks', JSON.stringify],
  ['indented', (value: unknown) => JSON.stringify(value, undefined, 2)],
])('a list of chains, %s', (_, spelled) => {
  test.each([
    ['all', chains],
    ['the last one without a hook', [...chains, { family: 'ip', table: 'z', name: 'z', handle: 8 }]],
  ])('has the base chains at hook forward: %s', (__, of) => {
    expect(parseChains(spelled(items(of))).forward).toEqual(forward)
  })

  test('has the tables with a chain, and no others', () => {
    const { hasTable } = parseChains(spelled(items(chains)))
    expect(['ip kube-proxy', 'inet firewall', 'bridge link', 'ip6 last'].every(hasTable)).toBe(true)
    expect(['ip6 kube-proxy', 'ip firewall', 'inet fire', 'ip odd', 'inet bellhop'].some(hasTable)).toBe(false)
  })

  test('may be empty', () => {
    const { forward: none, hasTable } = parseChains(spelled(items([])))
    expect([none, hasTable('inet bellhop')]).toEqual([[], false])
  })
})

test('what another program puts between the chains is passed over', () => {
  const mixed = asNft({
    nftables: [{ chain: chains[1] }, { table: { family: 'ip', name: 'kube-proxy' } }, { chain: chains[6] }],
  })
  expect(parseChains(mixed).forward).toEqual([forward[0], forward[2]])
})
