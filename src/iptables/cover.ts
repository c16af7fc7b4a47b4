// The smallest list of prefixes that covers exactly a set of addresses. Pools hand out their lowest free address, so the
// VIPs of a cluster lie close together: a thousand of them are usually a handful of prefixes, and each prefix is one rule
// that a packet has to pass instead of many.

import { addressBits, type Ip, type IpFamily, ipFromBigInt, ipToBigInt } from '../net/ip.ts'
import { type IpRange, normalizeRanges } from '../net/range.ts'

/** All addresses whose first `length` bits are those of `first`; the other bits of `first` are zero. */
export interface Block {
  readonly family: IpFamily
  readonly first: bigint
  readonly length: number
}

/** Covers the addresses of `family` among `ips`, and no other address: sorted, disjoint. */
export function coverOf(family: IpFamily, ips: readonly Ip[]): readonly Block[] {
  const single = ips.filter((ip) => ip.includes(':') === (family === 'IPv6')).map(ipToBigInt)
  return coverRanges(single.map((value) => ({ family, first: value, last: value })))
}

/** Covers exactly these ranges: sorted, disjoint. */
export const coverRanges = (ranges: readonly IpRange[]): readonly Block[] =>
  normalizeRanges(ranges).flatMap(({ family, first, last }) => blocksOf(family, first, last))

function blocksOf(family: IpFamily, first: bigint, last: bigint): readonly Block[] {
  const bits = addressBits(family)
  const blocks: Block[] = []
  for (let next = first; next <= last; ) {
    let free = 0
    while (free < bits && fits(next, free + 1, last)) free++
    blocks.push({ family, first: next, length: bits - free })
    next += 1n << BigInt(free)
  }
  return blocks
}

// A block of 2^free addresses starts at a multiple of its size.
const fits = (first: bigint, free: number, last: bigint): boolean => {
  const size = 1n << BigInt(free)
  return first % size === 0n && first + size - 1n <= last
}

/** As iptables-save writes it: the bare address for a single host, `network/length` otherwise. */
export function renderBlock({ family, first, length }: Block): string {
  const address = ipFromBigInt(family, first)
  return length === addressBits(family) ? address : `${address}/${length}`
}
