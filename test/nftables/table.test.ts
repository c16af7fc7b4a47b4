// The table that refuses: one change at a VIP is one change of the kernel's sets, and intervals never overlap.

import { expect, test } from 'vitest'
import type { VipRules } from '../../src/datapath/desired.ts'
import { parseIp } from '../../src/net/ip.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { parseGeneration } from '../../src/nftables/generation.ts'
import { desiredTable, type RefusalOptions, renderTable, renderUpdate } from '../../src/nftables/table.ts'
import { must } from '../../src/runtime/result.ts'

const both: RefusalOptions = { sourceRanges: true, unusedPorts: true }
const vip = (address: string, port = 80, ...ranges: readonly string[]): VipRules => ({
  address: must(parseIp(address)),
  ports: [{ protocol: 'TCP', port, sourceRanges: ranges.map((text) => must(parsePrefix(text))) }],
})
const tableOf = (...vips: readonly VipRules[]) => {
  const table = desiredTable(vips, both)
  if (table === undefined) throw new Error('no table')
  return table
}
const update = (before: readonly VipRules[], after: readonly VipRules[]): string | undefined =>
  renderUpdate(tableOf(...before), tableOf(...after))

test('without options, or without anything to refuse, there is no table', () => {
  expect(desiredTable([vip('192.0.2.1')], { sourceRanges: false, unusedPorts: false })).toBeUndefined()
  expect(desiredTable([vip('192.0.2.1')], { sourceRanges: true, unusedPorts: false })).toBeUndefined()
  expect(desiredTable([], both)).toBeUndefined()
})

test.each<[string, readonly VipRules[], readonly VipRules[], string | undefined]>([
  ['nothing changed', [vip('192.0.2.1')], [vip('192.0.2.1')], undefined],
  [
    'a VIP more',
    [vip('192.0.2.1')],
    [vip('192.0.2.1'), vip('192.0.2.2')],
    'add element inet bellhop vips4 { 192.0.2.2 }\nadd element inet bellhop ports4 { 192.0.2.2 . tcp . 80 }\n',
  ],
  [
    'another port',
    [vip('2001:db8::1')],
    [vip('2001:db8::1', 443)],
    'delete element inet bellhop ports6 { 2001:db8::1 . tcp . 80 }\nadd element inet bellhop ports6 { 2001:db8::1 . tcp . 443 }\n',
  ],
  [
    'other ranges: a network takes the place of a wider one',
    [vip('192.0.2.1', 80, '10.0.0.0/8')],
    [vip('192.0.2.1', 80, '10.1.0.0/16')],
    'delete element inet bellhop sources4 { 192.0.2.1 . tcp . 80 . 10.0.0.0/8 }\nadd element inet bellhop sources4 { 192.0.2.1 . tcp . 80 . 10.1.0.0/16 }\n',
  ],
])('%s', (_what, before, after, text) => {
  expect(update(before, after)).toBe(text)
})

test.each<[string, readonly string[], readonly string[]]>([
  ['overlapping ranges are one', ['10.0.0.0/8', '10.1.0.0/16'], ['10.0.0.0/8']],
  ['neighbours are one', ['10.0.0.0/9', '10.128.0.0/9'], ['10.0.0.0/8']],
  ['ranges of the other family say nothing', ['2001:db8::/32'], []],
  ['and everybody is everybody', ['10.0.0.0/8', '0.0.0.0/0'], []],
])('%s', (_what, ranges, blocks) => {
  const { sets } = tableOf(vip('192.0.2.1', 80, ...ranges))
  expect([...(sets.get('sources4')?.elements ?? [])]).toEqual(blocks.map((block) => `192.0.2.1 . tcp . 80 . ${block}`))
  expect(sets.get('guarded4')?.elements.size).toBe(blocks.length === 0 ? 0 : 1)
})

test('the whole table replaces whatever stood there, in one text', () => {
  expect(renderTable(tableOf(vip('192.0.2.1')))).toMatch(
    /^add table inet bellhop\ndelete table inet bellhop\ntable inet bellhop \{\n/,
  )
})

// As Linux 6.18 answered NFT_MSG_GETGEN.
const answer =
  '30000000 0f0a 0000 07000000 ba7b0000 00000004 08000100 00000004 08000200 00007bba 0c000300 707974686f6e3300'
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))

test('the generation is read off the kernel’s answer, and off nothing else', () => {
  expect(parseGeneration(bytes(answer))).toBe(4)
  expect(parseGeneration(bytes(answer.replace('0f0a', '0200')))).toBeUndefined()
  for (let length = 0; length < 28; length++) expect(parseGeneration(bytes(answer).subarray(0, length))).toBeUndefined()
})
