// Which prefixes a peer has announced, in eight octets a prefix or so and none outside of typed arrays: a full table from a
// router that should have sent none is 8 MB, not 200. A prefix is known by 42 bits of its hash. In one of ten tables of a
// million prefixes two are taken for one, and the count is one too low; nothing else depends on it.
//
// Open addressing with linear probing, in parts that grow one by one, so that growing never needs much more than what is there
// already. Removal shifts back what would not be found any more (Knuth, volume 3, 6.4, algorithm R).

export interface PrefixSet {
  /** Adds what the first `length` octets stand for; `tag` tells families apart. */
  readonly add: (tag: number, bytes: Uint8Array, length: number) => void
  readonly delete: (tag: number, bytes: Uint8Array, length: number) => void
  readonly size: number
}

const partCount = 1024
const slotsFirst = 16

/** Hashes that all have their ten other bits in common. */
interface Part {
  /** 0: the slot is free. */
  slots: Uint32Array<ArrayBuffer>
  used: number
}

/** Creates an empty set. */
export function createPrefixSet(): PrefixSet {
  const parts: (Part | undefined)[] = Array.from({ length: partCount })
  let size = 0

  const partAt = (index: number): Part => {
    const known = parts[index]
    if (known !== undefined) return known
    const created: Part = { slots: new Uint32Array(slotsFirst), used: 0 }
    parts[index] = created
    return created
  }

  return {
    add: (tag, bytes, length) => {
      const part = partAt(hash(tag, bytes, length, 0x85eb_ca6b) % partCount)
      if (!insert(part.slots, slotHash(tag, bytes, length))) return
      size++
      part.used++
      if (part.used * 4 > part.slots.length * 3) grow(part)
    },
    delete: (tag, bytes, length) => {
      const part = partAt(hash(tag, bytes, length, 0x85eb_ca6b) % partCount)
      if (!remove(part.slots, slotHash(tag, bytes, length))) return
      size--
      part.used--
    },
    get size() {
      return size
    },
  }
}

const slotHash = (tag: number, bytes: Uint8Array, length: number): number => hash(tag, bytes, length, 0x0100_0193) || 1

/** FNV-1a with a multiplier of choice, mixed so that neighbouring addresses are no neighbours here. */
function hash(tag: number, bytes: Uint8Array, length: number, multiplier: number): number {
  let h = Math.imul(tag ^ 0x811c_9dc5, multiplier)
  for (let at = 0; at < length; at++) h = Math.imul(h ^ (bytes[at] ?? 0), multiplier)
  // The finaliser of MurmurHash3: a bijection in which every bit moves every other.
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** False when it was there. */
function insert(slots: Uint32Array, value: number): boolean {
  const mask = slots.length - 1
  let at = value & mask
  for (; slots[at] !== 0; at = (at + 1) & mask) if (slots[at] === value) return false
  slots[at] = value
  return true
}

function grow(part: Part): void {
  const { slots } = part
  part.slots = new Uint32Array(2 * slots.length)
  for (const value of slots) if (value !== 0) insert(part.slots, value)
  // Given back at once: the collector does not know how much hangs on a small object.
  slots.buffer.transfer(0)
}

/** False when it was not there. */
function remove(slots: Uint32Array, value: number): boolean {
  const mask = slots.length - 1
  let free = value & mask
  for (; slots[free] !== value; free = (free + 1) & mask) if (slots[free] === 0) return false
  for (let at = (free + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
    const candidate = slots[at] ?? 0
    // Stays where it is if its way from home does not lead over the free slot.
    if (((at - candidate) & mask) < ((at - free) & mask)) continue
    slots[free] = candidate
    free = at
  }
  slots[free] = 0
  return true
}
