// The rules as text: which chains a set of VIPs needs, and what is sent to iptables-restore to get there.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { coverOf, renderBlock } from '../../src/iptables/cover.ts'
import { parseFilterTable } from '../../src/iptables/observe.ts'
import {
  type Chains,
  desiredChains,
  driftOf,
  entryChain,
  type FilterTable,
  planChange,
  policyChains,
} from '../../src/iptables/render.ts'
import { type Ip, type IpFamily, ipFromBigInt, parseIp } from '../../src/net/ip.ts'
import { parsePrefix, prefixContains } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'

const ip = (text: string): Ip => must(parseIp(text))
const jump = `-m comment --comment "bellhop: accept connections to VIPs" -j ${entryChain}`
const stay = { stayBehind: policyChains }
const empty: FilterTable = { forward: [], chains: new Map() }

describe('the cover of a set of addresses', () => {
  test.each<[IpFamily, readonly string[], readonly string[]]>([
    ['IPv4', [], []],
    ['IPv4', ['203.0.113.10'], ['203.0.113.10']],
    ['IPv4', ['203.0.113.11', '203.0.113.10', '203.0.113.10'], ['203.0.113.10/31']],
    [
      'IPv4',
      ['203.0.113.9', '203.0.113.10', '203.0.113.11', '203.0.113.12'],
      ['203.0.113.9', '203.0.113.10/31', '203.0.113.12'],
    ],
    ['IPv4', ['2001:db8::1'], []],
    ['IPv6', ['2001:db8::', '2001:db8::1', '2001:db8::3', '10.0.0.1'], ['2001:db8::/127', '2001:db8::3']],
    ['IPv4', ['0.0.0.0', '255.255.255.255'], ['0.0.0.0', '255.255.255.255']],
  ])('%s %j is %j', (family, addresses, blocks) => {
    expect(coverOf(family, addresses.map(ip)).map(renderBlock)).toEqual(blocks)
  })
})

describe('the chains for a set of VIPs', () => {
  test('are absent without VIPs of the family', () => {
    expect(desiredChains('IPv6', [ip('203.0.113.10')]).size).toBe(0)
  })

  test('accept only what was translated', () => {
    expect(desiredChains('IPv4', [ip('203.0.113.10')])).toEqual(
      new Map([
        [entryChain, ['-m conntrack ! --ctstate DNAT -j RETURN', '-m conntrack --ctorigdst 203.0.113.10 -j ACCEPT']],
      ]),
    )
  })

  const scattered = (family: IpFamily): fc.Arbitrary<Ip> => {
    const bits = family === 'IPv4' ? 32n : 128n
    const near = fc.bigInt({ min: 0n, max: 4096n }).map((n) => (203n << (bits - 8n)) + n * 3n)
    const anywhere = fc.bigInt({ min: 0n, max: (1n << bits) - 1n })
    return fc.oneof(near, anywhere).map((value) => ipFromBigInt(family, value))
  }

  test.each<IpFamily>(['IPv4', 'IPv6'])('%s: accept exactly the VIPs, whatever their number and lie', (family) => {
    fc.assert(
      fc.property(fc.array(scattered(family), { maxLength: 400 }), scattered(family), (vips, probe) => {
        const chains = desiredChains(family, vips)
        const wanted = new Set(vips)
        for (const candidate of [...vips.slice(0, 20), probe])
          expect(accepts(chains, candidate)).toBe(wanted.has(candidate))
      }),
      { numRuns: 60 },
    )
  })

  test.each<IpFamily>(['IPv4', 'IPv6'])('%s: have names that iptables takes and are all reached', (family) => {
    fc.assert(
      fc.property(fc.array(scattered(family), { minLength: 17, maxLength: 400 }), (vips) => {
        const chains = desiredChains(family, vips)
        const targets = [...chains.values()].flat().flatMap((rule) => / -g (\S+)$/.exec(rule)?.[1] ?? [])
        expect([...chains.keys()].filter((name) => name !== entryChain).sort()).toEqual(targets.sort())
        for (const name of chains.keys()) expect(name).toMatch(/^BELLHOP-[\w.-]{1,20}$/)
      }),
      { numRuns: 60 },
    )
  })

  test('a packet for one of ten thousand scattered VIPs meets few rules', () => {
    const vips = Array.from({ length: 10_000 }, (_, i) => ipFromBigInt('IPv4', (203n << 24n) + BigInt(i * 7)))
    const chains = desiredChains('IPv4', vips)
    const worst = Math.max(...vips.slice(-200).map((vip) => rulesMet(chains, vip)))
    expect(worst).toBeLessThanOrEqual(80)
  })

  test('one more VIP rewrites few chains', () => {
    const vips = Array.from({ length: 2000 }, (_, i) => ipFromBigInt('IPv6', (0x20010db8n << 96n) + BigInt(i * 5)))
    const before = desiredChains('IPv6', vips)
    const after = desiredChains('IPv6', [...vips, ip('2001:db8::7')])
    const changed = [...after].filter(([name, rules]) => before.get(name)?.join() !== rules.join())
    expect(changed.length).toBeLessThanOrEqual(2)
  })
})

describe('the change from what is there to what is wanted', () => {
  const desired = desiredChains('IPv4', [ip('203.0.113.10')])
  const inPlace: FilterTable = { forward: [jump, '-j OTHER'], chains: desired }

  test('is nothing when all is in place', () => {
    expect(planChange(inPlace, desired, stay)).toBeUndefined()
  })

  test('is nothing when nothing is wanted and nothing is there', () => {
    expect(planChange({ forward: ['-j OTHER'], chains: new Map() }, new Map(), stay)).toBeUndefined()
  })

  test('creates the chain and the jump in one transaction', () => {
    expect(planChange(empty, desired, stay)).toBe(
      [
        '*filter',
        ':BELLHOP-FORWARD - [0:0]',
        '-A BELLHOP-FORWARD -m conntrack ! --ctstate DNAT -j RETURN',
        '-A BELLHOP-FORWARD -m conntrack --ctorigdst 203.0.113.10 -j ACCEPT',
        `-I FORWARD 1 ${jump}`,
        'COMMIT',
        '',
      ].join('\n'),
    )
  })

  test('removes jump and chains, and nothing else, when no VIP is left', () => {
    expect(planChange(inPlace, new Map(), stay)).toBe(
      ['*filter', ':BELLHOP-FORWARD - [0:0]', `-D FORWARD ${jump}`, '-X BELLHOP-FORWARD', 'COMMIT', ''].join('\n'),
    )
  })

  test.each<[string, readonly string[], readonly string[]]>([
    ['jump missing', ['-j OTHER'], [`-I FORWARD 1 ${jump}`]],
    ['jump in second place', ['-j OTHER', jump], [`-D FORWARD ${jump}`, `-I FORWARD 1 ${jump}`]],
    ['jump twice', [jump, jump], [`-D FORWARD ${jump}`, `-D FORWARD ${jump}`, `-I FORWARD 1 ${jump}`]],
    ['an older jump without comment', [`-j ${entryChain}`], [`-D FORWARD -j ${entryChain}`, `-I FORWARD 1 ${jump}`]],
    ['a policy engine first', ['-m comment --comment x -j cali-FORWARD', '-j OTHER'], [`-I FORWARD 2 ${jump}`]],
    ['before a policy engine', [jump, '-j cali-FORWARD'], [`-D FORWARD ${jump}`, `-I FORWARD 2 ${jump}`]],
    ['behind a policy engine', ['-j cali-FORWARD', jump, '-j OTHER'], []],
  ])('%s', (_what, forward, commands) => {
    const change = planChange({ forward, chains: desired }, desired, stay)
    const sent = change?.split('\n').filter((line) => line.includes(' FORWARD ')) ?? []
    expect(sent).toEqual(commands)
  })

  test.each<[string, FilterTable, readonly string[]]>([
    ['nothing', inPlace, []],
    ['everything gone', empty, ['jump-missing', 'chain-missing']],
    ['a rule in front', { ...inPlace, forward: ['-j OTHER', jump] }, ['jump-misplaced']],
    ['a second jump', { ...inPlace, forward: [jump, '-j OTHER', jump] }, ['jump-duplicated']],
    ['an emptied chain', { ...inPlace, chains: new Map([[entryChain, []]]) }, ['chain-altered']],
    ['a chain of our name', { ...inPlace, chains: new Map([...desired, ['BELLHOP-X', []]]) }, ['chain-altered']],
  ])('drift: %s', (_what, observed, drifts) => {
    expect(driftOf(observed, desired, stay)).toEqual(drifts)
  })
})

describe('reading iptables-save', () => {
  test('takes FORWARD and our chains out of the filter table, and no more', () => {
    const saved = [
      '*nat',
      ':BELLHOP-NAT - [0:0]',
      '-A FORWARD -j NOT-THIS',
      'COMMIT',
      '*filter',
      ':FORWARD DROP [12:720]',
      ':BELLHOP-FORWARD - [0:0]',
      ':OTHER - [0:0]',
      `-A FORWARD ${jump}`,
      '-A OTHER -j BELLHOP-FORWARD',
      '-A BELLHOP-FORWARD -m conntrack --ctorigdst 203.0.113.10/32 -j ACCEPT',
      '-A BELLHOP-FORWARD -m conntrack --ctorigdst 2001:db8::/32 -j ACCEPT',
      '-A BELLHOP-FORWARD -m conntrack --ctorigdst 2001:db8::5/128 -j ACCEPT',
      'COMMIT',
    ].join('\n')
    expect(parseFilterTable(saved)).toEqual({
      forward: [jump],
      chains: new Map([
        [
          entryChain,
          [
            '-m conntrack --ctorigdst 203.0.113.10 -j ACCEPT',
            '-m conntrack --ctorigdst 2001:db8::/32 -j ACCEPT',
            '-m conntrack --ctorigdst 2001:db8::5 -j ACCEPT',
          ],
        ],
      ]),
    })
  })

  test('an absent table is an empty one', () => {
    expect(parseFilterTable('')).toEqual(empty)
  })
})

// Walks the chains as the kernel does: a packet of a translated connection whose original destination is `destination`.
function walk(chains: Chains, destination: Ip): { readonly accepted: boolean; readonly rules: number } {
  let rules = 0
  let chain: string | undefined = entryChain
  while (chain !== undefined) {
    const current: readonly string[] = chains.get(chain) ?? []
    chain = undefined
    for (const rule of current) {
      rules++
      const match = /^-m conntrack --ctorigdst (\S+) -(j ACCEPT|g \S+)$/.exec(rule)
      if (match === null || !contains(match[1] ?? '', destination)) continue
      if (match[2] === 'j ACCEPT') return { accepted: true, rules }
      chain = match[2]?.slice(2)
      break
    }
  }
  return { accepted: false, rules }
}

const accepts = (chains: Chains, destination: Ip): boolean => walk(chains, destination).accepted
const rulesMet = (chains: Chains, destination: Ip): number => walk(chains, destination).rules

const contains = (match: string, destination: Ip): boolean =>
  match.includes('/') ? prefixContains(must(parsePrefix(match)), destination) : match === destination
