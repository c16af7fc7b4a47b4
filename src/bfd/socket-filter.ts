// Programs for the kernel's socket filter (classic BPF) that judge a packet by its TTL. Node never shows the TTL of a datagram, and
// IP_MINTTL counts for TCP alone: a UDP socket with it still gets packets of any TTL. So the kernel drops what may not pass.
//
// A program is a list of instructions: code(2) jump-if-true(1) jump-if-false(1) operand(4), all in host order. Loads at or above
// `network` are relative to the IP header. Where a program ends, its result is how many octets of the packet to keep; 0 drops it.

import { type IpFamily, ipToBytes } from '../net/ip.ts'
import { type Prefix, prefixAddress, prefixLength } from '../net/prefix.ts'
import { littleEndian } from '../runtime/libc.ts'
import type { TtlRule } from './transport.ts'

/** SO_ATTACH_FILTER takes an array of these, packed. */
export interface Instruction {
  readonly code: number
  readonly ifTrue: number
  readonly ifFalse: number
  readonly operand: number
}

/** SKF_NET_OFF of linux/filter.h. */
const network = 0xfff0_0000
/** Where in the IP header (RFC 791, RFC 8200) the TTL or hop limit and the source address are. */
const offsets = { IPv4: { ttl: 8, source: 12 }, IPv6: { ttl: 7, source: 8 } } as const

const loadByte = (at: number): Instruction => ({ code: 0x30, ifTrue: 0, ifFalse: 0, operand: network + at })
const loadWord = (at: number): Instruction => ({ code: 0x20, ifTrue: 0, ifFalse: 0, operand: network + at })
const ifEqual = (operand: number, ifTrue: number, ifFalse: number): Instruction => ({
  code: 0x15,
  ifTrue,
  ifFalse,
  operand,
})
const ifAtLeast = (operand: number, ifTrue: number, ifFalse: number): Instruction => ({
  code: 0x35,
  ifTrue,
  ifFalse,
  operand,
})
const mask = (bits: number): Instruction => ({ code: 0x54, ifTrue: 0, ifFalse: 0, operand: bits })
/** All of it, however much segmentation offload has made of it. */
const keep: Instruction = { code: 0x06, ifTrue: 0, ifFalse: 0, operand: 0xffff_ffff }
const drop: Instruction = { code: 0x06, ifTrue: 0, ifFalse: 0, operand: 0 }

/** For sockets that only send. */
export const dropEverything: readonly Instruction[] = [drop]

/** Lets packets pass that no router has forwarded (RFC 5082). */
export const fromOneHop = (family: IpFamily): readonly Instruction[] => [
  loadByte(offsets[family].ttl),
  ifEqual(255, 0, 1),
  keep,
  drop,
]

/** Lets everything pass but packets of these sources whose TTL is too low. Of two rules for one source both count. */
export const byTtlRules = (family: IpFamily, rules: readonly TtlRule[]): readonly Instruction[] => [
  ...rules.flatMap((rule) => ttlRule(family, rule)),
  keep,
]

function ttlRule(family: IpFamily, { address, ttlMin }: TtlRule): readonly Instruction[] {
  const { ttl, source } = offsets[family]
  const words = wordsOf(ipToBytes(address))
  const judge = [loadByte(ttl), ifAtLeast(ttlMin, 1, 0), drop]
  return [
    // A word that differs leads behind the rule.
    ...words.flatMap((word, i) => [
      loadWord(source + 4 * i),
      ifEqual(word, 0, 2 * (words.length - 1 - i) + judge.length),
    ]),
    ...judge,
  ]
}

/** BPF_MAXINSNS. */
const instructionsMax = 4096

/** How many rules a program of `byFirstRule` may have. */
export const filterRulesMax = (family: IpFamily): number =>
  Math.floor((instructionsMax - 1) / (judging + 3 * (family === 'IPv4' ? 1 : 4)))

/** Instructions of a rule that look at the TTL. */
const judging = 4

/** Of several rules the first whose network holds the source decides; where none does, the packet passes. */
export const byFirstRule = (
  family: IpFamily,
  rules: readonly { readonly source: Prefix; readonly ttlMin: number }[],
): readonly Instruction[] => [...rules.flatMap(({ source, ttlMin }) => firstRule(family, source, ttlMin)), keep]

function firstRule(family: IpFamily, network: Prefix, ttlMin: number): readonly Instruction[] {
  const { ttl, source } = offsets[family]
  const length = prefixLength(network)
  const tests = wordsOf(ipToBytes(prefixAddress(network))).flatMap((word, i) => {
    const bits = Math.min(32, length - 32 * i)
    return bits <= 0 ? [] : [{ at: source + 4 * i, word, bits }]
  })
  // From the last test to the first, because each has to know how far it is to the end of the rule.
  let rule: readonly Instruction[] = [loadByte(ttl), ifAtLeast(ttlMin, 0, 1), keep, drop]
  for (const { at, word, bits } of tests.toReversed())
    rule = [
      loadWord(at),
      ...(bits === 32 ? [] : [mask((0xffff_ffff << (32 - bits)) >>> 0)]),
      ifEqual(word, 0, rule.length),
      ...rule,
    ]
  return rule
}

function wordsOf(bytes: Uint8Array): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i))
}

/** The program as SO_ATTACH_FILTER takes it. */
export function packFilter(filter: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * filter.length)
  const view = new DataView(bytes.buffer)
  filter.forEach(({ code, ifTrue, ifFalse, operand }, i) => {
    view.setUint16(8 * i, code, littleEndian)
    view.setUint8(8 * i + 2, ifTrue)
    view.setUint8(8 * i + 3, ifFalse)
    view.setUint32(8 * i + 4, operand, littleEndian)
  })
  return bytes
}
