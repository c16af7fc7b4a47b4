// Ranges of addresses by first and last: what a pool is made of. Arithmetic is on numbers, so a /64 costs as little as a /32.

import { err, ok, type Result } from '../runtime/result.ts'
import { addressBits, familyOf, type Ip, type IpFamily, ipFromBigInt, ipToBigInt, parseIp } from './ip.ts'
import { parsePrefix, prefixAddress, prefixLength } from './prefix.ts'

/** All addresses from `first` to `last`, both included. */
export interface IpRange {
  readonly family: IpFamily
  readonly first: bigint
  readonly last: bigint
}

export interface RangeError {
  readonly code: 'range/malformed' | 'range/host-bits-set' | 'range/mixed-families' | 'range/backwards'
  readonly got: string
}

/** Parses `a.b.c.d`, `network/length` or `first-last` (spaces around the dash are allowed). */
export function parseRange(text: string): Result<IpRange, RangeError> {
  const refuse = (code: RangeError['code']): Result<IpRange, RangeError> => err({ code, got: text })
  const trimmed = text.trim()
  if (trimmed.includes('/')) {
    const prefix = parsePrefix(trimmed)
    if (!prefix.ok)
      return refuse(prefix.error.code === 'prefix/host-bits-set' ? 'range/host-bits-set' : 'range/malformed')
    const network = prefixAddress(prefix.value)
    const family = familyOf(network)
    const first = ipToBigInt(network)
    return ok({ family, first, last: first + (1n << BigInt(addressBits(family) - prefixLength(prefix.value))) - 1n })
  }
  const [firstText = '', lastText = firstText, ...rest] = trimmed.split('-')
  const first = parseIp(firstText.trim())
  const last = parseIp(lastText.trim())
  if (!first.ok || !last.ok || rest.length > 0) return refuse('range/malformed')
  const family = familyOf(first.value)
  if (family !== familyOf(last.value)) return refuse('range/mixed-families')
  const range = { family, first: ipToBigInt(first.value), last: ipToBigInt(last.value) }
  return range.first <= range.last ? ok(range) : refuse('range/backwards')
}

/** How many addresses. */
export const rangeSize = (range: IpRange): bigint => range.last - range.first + 1n

export function rangeContains(range: IpRange, ip: Ip): boolean {
  if (range.family !== familyOf(ip)) return false
  const value = ipToBigInt(ip)
  return range.first <= value && value <= range.last
}

/** The common part of two ranges, or undefined. */
export function intersectRanges(a: IpRange, b: IpRange): IpRange | undefined {
  if (a.family !== b.family) return undefined
  const first = a.first > b.first ? a.first : b.first
  const last = a.last < b.last ? a.last : b.last
  return first <= last ? { family: a.family, first, last } : undefined
}

/** What is left of `range` without `removed`: at most two ranges, in order. */
export function subtractRange(range: IpRange, removed: IpRange): readonly IpRange[] {
  const common = intersectRanges(range, removed)
  if (common === undefined) return [range]
  const left: IpRange[] = []
  if (range.first < common.first) left.push({ family: range.family, first: range.first, last: common.first - 1n })
  if (common.last < range.last) left.push({ family: range.family, first: common.last + 1n, last: range.last })
  return left
}

/** The same addresses as a sorted list without overlaps or neighbours that touch; IPv4 first. */
export function normalizeRanges(ranges: readonly IpRange[]): readonly IpRange[] {
  const sorted = [...ranges].sort((a, b) =>
    a.family === b.family ? (a.first < b.first ? -1 : a.first > b.first ? 1 : 0) : a.family === 'IPv4' ? -1 : 1,
  )
  const merged: IpRange[] = []
  for (const range of sorted) {
    const previous = merged.at(-1)
    if (previous === undefined || previous.family !== range.family || range.first > previous.last + 1n)
      merged.push(range)
    else if (range.last > previous.last) merged[merged.length - 1] = { ...previous, last: range.last }
  }
  return merged
}

/** `first-last`, or the one address. */
export function renderRange(range: IpRange): string {
  const first = ipFromBigInt(range.family, range.first)
  return range.first === range.last ? first : `${first}-${ipFromBigInt(range.family, range.last)}`
}
