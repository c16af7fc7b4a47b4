// Which address belongs to which pool, and which is the lowest free one. Where pools overlap the older pool owns the common part,
// so that creating or editing a pool never takes an address away from another. Works on range borders: a /64 costs as little as a /32.

import type { VipPool } from '../k8s/objects.ts'
import { familyOf, type Ip, type IpFamily, ipFromBigInt, ipToBigInt } from '../net/ip.ts'
import { type IpRange, intersectRanges, rangeSize, renderRange, subtractRange } from '../net/range.ts'

interface OwnedRange extends IpRange {
  readonly pool: VipPool
}

export interface PoolOverlap {
  readonly range: string
  /** The older pool, which has it. */
  readonly pool: string
}

/** The addresses of all pools, each with its one owner. */
export interface AddressOwnership {
  readonly poolOf: (address: Ip) => VipPool | undefined
  /** What the pool really has, in order; IPv4 first. */
  readonly rangesOf: (pool: string) => readonly IpRange[]
  readonly overlapsOf: (pool: string) => readonly PoolOverlap[]
}

/** Older first: creationTimestamp has a resolution of a second, so the name decides the rest. */
export const byAge = (a: VipPool, b: VipPool): number =>
  a.meta.creationTimestampMs - b.meta.creationTimestampMs || (a.meta.name < b.meta.name ? -1 : 1)

/** Divides the addresses among the pools by age. */
export function divideAddresses(pools: Iterable<VipPool>): AddressOwnership {
  const owned: Record<IpFamily, OwnedRange[]> = { IPv4: [], IPv6: [] }
  const ranges = new Map<string, readonly IpRange[]>()
  const overlaps = new Map<string, readonly PoolOverlap[]>()
  for (const pool of [...pools].sort(byAge)) {
    const mine: IpRange[] = []
    const lost: PoolOverlap[] = []
    for (const range of pool.ranges) {
      const taken = intersecting(owned[range.family], range)
      let left: readonly IpRange[] = [range]
      for (const older of taken) {
        left = left.flatMap((part) => subtractRange(part, older))
        const common = intersectRanges(range, older)
        if (common !== undefined && older.pool !== pool)
          lost.push({ range: renderRange(common), pool: older.pool.meta.name })
      }
      mine.push(...left)
      for (const part of left) insert(owned[range.family], { ...part, pool })
    }
    ranges.set(pool.meta.name, mine)
    overlaps.set(pool.meta.name, lost)
  }
  const known = new Map<Ip, VipPool | undefined>()
  return {
    poolOf: (address) => {
      if (!known.has(address)) known.set(address, ownerOf(owned[familyOf(address)], ipToBigInt(address)))
      return known.get(address)
    },
    rangesOf: (pool) => ranges.get(pool) ?? [],
    overlapsOf: (pool) => overlaps.get(pool) ?? [],
  }
}

// The index of the first range that ends at or after `value`, in a sorted list without overlaps.
function firstEndingAtOrAfter(sorted: readonly IpRange[], value: bigint): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const range = sorted[middle]
    if (range !== undefined && range.last < value) low = middle + 1
    else high = middle
  }
  return low
}

function intersecting(sorted: readonly OwnedRange[], range: IpRange): readonly OwnedRange[] {
  const found: OwnedRange[] = []
  for (let i = firstEndingAtOrAfter(sorted, range.first); i < sorted.length; i++) {
    const candidate = sorted[i]
    if (candidate === undefined || candidate.first > range.last) break
    found.push(candidate)
  }
  return found
}

function insert(sorted: OwnedRange[], range: OwnedRange): void {
  sorted.splice(firstEndingAtOrAfter(sorted, range.first), 0, range)
}

function ownerOf(sorted: readonly OwnedRange[], value: bigint): VipPool | undefined {
  const candidate = sorted[firstEndingAtOrAfter(sorted, value)]
  return candidate !== undefined && candidate.first <= value ? candidate.pool : undefined
}

/** Walks a pool's addresses of one family upwards. A walk never goes back: what was taken once stays taken for the whole pass. */
export interface AddressWalk {
  /** The lowest address for which `isTaken` says no; stays there until it is taken. */
  readonly next: (isTaken: (address: Ip) => boolean) => Ip | undefined
}

/** Starts at the first address of `ranges` in `family`. */
export function walkAddresses(
  ranges: readonly IpRange[],
  family: IpFamily,
  { avoidBuggyIPs }: { readonly avoidBuggyIPs: boolean },
): AddressWalk {
  const mine = ranges.filter((range) => range.family === family)
  let index = 0
  let value = mine[0]?.first
  return {
    next: (isTaken) => {
      for (let range = mine[index]; range !== undefined && value !== undefined; range = mine[index]) {
        for (; value <= range.last; value++) {
          if (avoidBuggyIPs && isBuggy(family, value)) continue
          const address = ipFromBigInt(family, value)
          if (!isTaken(address)) return address
        }
        value = mine[++index]?.first
      }
      return undefined
    },
  }
}

/** IPv4 addresses that end in .0 or .255: some old equipment takes them for broadcasts. */
const isBuggy = (family: IpFamily, value: bigint): boolean =>
  family === 'IPv4' && ((value & 0xffn) === 0n || (value & 0xffn) === 0xffn)

/** How many addresses of `ranges` can be given out. */
export function countAddresses(
  ranges: readonly IpRange[],
  { avoidBuggyIPs }: { readonly avoidBuggyIPs: boolean },
): bigint {
  return ranges.reduce((sum, range) => {
    const buggy =
      avoidBuggyIPs && range.family === 'IPv4' ? countWithLastByte(range, 0n) + countWithLastByte(range, 255n) : 0n
    return sum + rangeSize(range) - buggy
  }, 0n)
}

function countWithLastByte({ first, last }: IpRange, byte: bigint): bigint {
  const upTo = (value: bigint): bigint => (value < byte ? 0n : (value - byte) / 256n + 1n)
  return upTo(last) - (first === 0n ? 0n : upTo(first - 1n))
}
