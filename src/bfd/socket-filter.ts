// Programs for the kernel's socket filter (classic BPF) that judge a packet by its TTL. Node never shows the TTL of a datagram, and
// IP_MINTTL counts for TCP alone: a UDP socket with it still gets packets of any TTL. So the kernel drops what may not pass.
//
// A program is a list of instructions: code(2) jump-if-true(1) jump-if-false(1) operand(4), all in host order. Loads at or above
// `network` are relative to the IP header. Where a program ends, its result is how many octets of the packet to keep; 0 drops it.

import { type IpFamily, ipToBytes } from '../net/ip.ts'
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
const keep: Instruction = { code: 0x06, ifTrue: 0, ifFalse: 0, operand: 0xffff }
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
