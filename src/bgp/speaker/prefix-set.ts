// Which prefixes a peer has announced, in twelve octets a prefix at most and none outside of typed arrays: a full table from a
// router that should have sent none is 12 MB, not 200. A prefix is known by 52 bits of its hash. Two of a million that were
// taken for one would make the count one too low, once in ten thousand such tables; nothing else depends on it.
//
// Open addressing with linear probing, in 16 parts that grow one by one, so that growing never needs much more than what is
// there already. Removal shifts back what would not be found any more (Knuth, volume 3, 6.4, algorithm R).

export interface PrefixSet {
  /** Adds what the first `length` octets stand for; `tag` tells families apart. */
  readonly add: (tag: number, bytes: Uint8Array, length: number) => void
  readonly delete: (tag: number, bytes: Uint8Array, length: number) => void
  readonly size: number
}

const partCount = 16
const slotsFirst = 16

interface Part {
  /** The hash: 32 bits, by which a slot is found, and 16 more. Both 0: the slot is free. */
  low: Uint32Array<ArrayBuffer>
  high: Uint16Array<ArrayBuffer>
  used: number
}

const newPart = (slots: number): Part => ({ low: new Uint32Array(slots), high: new Uint16Array(slots), used: 0 })

/** Creates an empty set. */
export function createPrefixSet(): PrefixSet {
  const parts = Array.from({ length: partCount }, () => newPart(slotsFirst))
  let size = 0
  // Of the entry looked at last.
  let low = 0
  let high = 0
  let part = parts[0] ?? newPart(slotsFirst)

  const lookAt = (tag: number, bytes: Uint8Array, length: number): void => {
    let a = Math.imul(tag ^ 0x811c_9dc5, 0x0100_0193)
    let b = Math.imul(tag ^ 0x9e37_79b9, 0x85eb_ca6b)
    for (let at = 0; at < length; at++) {
      const octet = bytes[at] ?? 0
      a = Math.imul(a ^ octet, 0x0100_0193)
      b = Math.imul(b ^ octet, 0x85eb_ca6b) ^ (b >>> 13)
    }
    low = mixed(a) || 1
    const other = mixed(b ^ length)
    high = other >>> 16
    part = parts[other & (partCount - 1)] ?? part
  }

  return {
    add: (tag, bytes, length) => {
      lookAt(tag, bytes, length)
      if (!insert(part, low, high)) return
      size++
      if (part.used * 4 > part.low.length * 3) grow(part)
    },
    delete: (tag, bytes, length) => {
      lookAt(tag, bytes, length)
      if (remove(part, low, high)) size--
    },
    get size() {
      return size
    },
  }
}

/** False when it was there. */
function insert(part: Part, low: number, high: number): boolean {
  const mask = part.low.length - 1
  let at = low & mask
  for (; part.low[at] !== 0; at = (at + 1) & mask) if (part.low[at] === low && part.high[at] === high) return false
  part.low[at] = low
  part.high[at] = high
  part.used++
  return true
}

function grow(part: Part): void {
  const { low, high } = part
  const larger = newPart(2 * low.length)
  for (let at = 0; at < low.length; at++) if (low[at] !== 0) insert(larger, low[at] ?? 0, high[at] ?? 0)
  part.low = larger.low
  part.high = larger.high
  // Given back at once: the collector does not know how much hangs on two small objects.
  low.buffer.transfer(0)
  high.buffer.transfer(0)
}

function remove(part: Part, low: number, high: number): boolean {
  const mask = part.low.length - 1
  let free = low & mask
  for (; part.low[free] !== low || part.high[free] !== high; free = (free + 1) & mask)
    if (part.low[free] === 0) return false
  part.used--
  for (let at = (free + 1) & mask; part.low[at] !== 0; at = (at + 1) & mask) {
    const home = (part.low[at] ?? 0) & mask
    // Stays where it is if its way from home does not lead over the free slot.
    if (((at - home) & mask) < ((at - free) & mask)) continue
    part.low[free] = part.low[at] ?? 0
    part.high[free] = part.high[at] ?? 0
    free = at
  }
  part.low[free] = 0
  part.high[free] = 0
  return true
}

/** A bijection of 32 bits in which every input bit moves every output bit (the finaliser of MurmurHash3). */
function mixed(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35)
  return (h ^ (h >>> 16)) >>> 0
}
