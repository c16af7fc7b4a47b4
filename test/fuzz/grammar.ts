// Messages built from the grammar of the RFCs, octet by octet and apart from the encoder, with a defect put in here and there: a
// length that is one off, a flag that is wrong, an element twice, in the wrong place, or of a kind nobody knows. Most of what comes
// out is nearly right, which is where a decoder is deepest in a message when it finds out.
//
//   message    marker(16) length(2) type(1) body                                                       RFC 4271 section 4
//   OPEN       version(1) AS(2) hold(2) identifier(4) [parameters(1) | 255 255 parameters(2)] ...      RFC 4271, RFC 9072
//   UPDATE     withdrawn(2) NLRI* attributes(2) (flags(1) code(1) length(1 or 2) value)* NLRI*          RFC 4271 section 4.3

import type { SessionCodec } from '../../src/bgp/packet/message.ts'
import type { Random } from './runner.ts'

type Octets = readonly number[]

const u16 = (value: number): Octets => [(value >>> 8) & 0xff, value & 0xff]
const u32 = (value: number): Octets => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]

export interface Grammar {
  /** Any message that starts with a header. */
  readonly message: () => Uint8Array
  readonly open: () => Uint8Array
  readonly update: () => Uint8Array
}

/** `defects`: about how many in a thousand elements are wrong. */
export function createGrammar(random: Random, codec: SessionCodec, defects: number): Grammar {
  const { below, oneIn, pick } = random
  const wrong = (): boolean => below(1000) < defects
  const several = <T>(max: number, one: () => T): T[] => Array.from({ length: below(max + 1) }, one)
  const octets = (length: number): Octets => Array.from({ length }, () => below(256))
  const asOctets = codec.fourOctetAs ? 4 : 2

  // A length that may not be that of what follows.
  const length = (actual: number): number => {
    if (!wrong()) return actual
    return pick([0, 1, 2, 3, actual - 1, actual + 1, 2 * actual, 255, below(256)]) & 0xffff
  }

  const nlri = (family: 'ipv4-unicast' | 'ipv6-unicast'): Octets => {
    const most = family === 'ipv4-unicast' ? 32 : 128
    const bits = wrong() ? pick([most + 1, 255, below(256)]) : pick([most, most, below(most + 1)])
    const withId = codec.addPathReceive.has(family) !== wrong()
    const id = withId ? u32(pick([0, 1, 0xffff_ffff, below(0x1_0000_0000)])) : []
    const address = octets(Math.min(16, (bits + 7) >>> 3))
    return [...id, bits, ...(wrong() ? address.slice(1) : address)]
  }
  const nlriList = (family: 'ipv4-unicast' | 'ipv6-unicast', max: number): Octets =>
    several(max, () => nlri(family)).flat()

  const asSegment = (): Octets => {
    const asns = several(6, () => (asOctets === 4 ? u32(below(0x1_0000_0000)) : u16(below(0x1_0000))))
    return [wrong() ? below(256) : pick([1, 2, 2, 2, 3, 4]), length(asns.length) & 0xff, ...asns.flat()]
  }
  const as4Segment = (): Octets => {
    const asns = several(6, () => u32(below(0x1_0000_0000)))
    return [wrong() ? below(256) : 2, length(asns.length) & 0xff, ...asns.flat()]
  }
  const host = (): Octets =>
    wrong()
      ? pick([
          [0, 0, 0, 0],
          [127, 0, 0, 1],
          [224, 0, 0, 1],
          [255, 255, 255, 255],
        ])
      : [10, ...octets(3)]

  const mpReach = (): Octets => {
    const family = pick(['ipv4-unicast', 'ipv6-unicast', 'ipv6-unicast'] as const)
    const nextHopOctets = wrong() ? pick([0, 4, 15, 17, 24, 31, 48, 255]) : pick([16, 16, 32])
    const safi = wrong() ? pick([0, 2, 4, 128, 133]) : 1
    const afi = wrong() ? below(0x1_0000) : family === 'ipv4-unicast' ? 1 : 2
    const nextHop = octets(wrong() ? below(33) : nextHopOctets)
    return [...u16(afi), safi, nextHopOctets, ...nextHop, wrong() ? below(256) : 0, ...nlriList(family, 4)]
  }
  const mpUnreach = (): Octets => {
    const family = pick(['ipv4-unicast', 'ipv6-unicast', 'ipv6-unicast'] as const)
    return [...u16(family === 'ipv4-unicast' ? 1 : 2), wrong() ? below(256) : 1, ...nlriList(family, 4)]
  }

  // Flags and values by type code, as the registries have them.
  const values: readonly (readonly [code: number, flags: number, value: () => Octets])[] = [
    [1, 0x40, () => [wrong() ? below(256) : below(3)]],
    [2, 0x40, () => several(3, asSegment).flat()],
    [3, 0x40, host],
    [4, 0x80, () => octets(4)],
    [5, 0x40, () => octets(4)],
    [6, 0x40, () => []],
    [7, 0xc0, () => [...octets(asOctets), ...host()]],
    [8, 0xc0, () => several(5, () => octets(4)).flat()],
    [9, 0x80, () => octets(4)],
    [10, 0x80, () => several(3, () => octets(4)).flat()],
    [14, 0x80, mpReach],
    [15, 0x80, mpUnreach],
    [16, 0xc0, () => several(3, () => octets(8)).flat()],
    [17, 0xc0, () => several(2, as4Segment).flat()],
    [18, 0xc0, () => [...octets(4), ...host()]],
    [25, 0xc0, () => several(2, () => octets(20)).flat()],
    [26, 0x80, () => [1, ...u16(length(11)), ...octets(8)]],
    [32, 0xc0, () => several(3, () => octets(12)).flat()],
    [35, 0xc0, () => octets(4)],
    [128, 0xc0, () => octets(below(300))],
    [255, 0xe0, () => octets(below(9))],
  ]
  const mandatory = values.slice(0, 3)

  const attribute = ([code, flags, value]: (typeof values)[number]): Octets => {
    const content = value()
    const actual = wrong() ? content.slice(1) : content
    const extended = actual.length > 255 || oneIn(8)
    const declared = length(actual.length)
    const shownFlags = (wrong() ? pick([0x00, 0x40, 0x80, 0xc0, 0xff, below(256)]) : flags) & 0xef
    return [
      shownFlags | (extended ? 0x10 : 0),
      wrong() ? below(256) : code,
      ...(extended ? u16(declared) : [declared & 0xff]),
      ...actual,
    ]
  }
  const attributes = (): Octets => {
    const chosen = [...mandatory.filter(() => !wrong()), ...several(5, () => pick(values))]
    const once = wrong() ? chosen : [...new Set(chosen)]
    const ordered = oneIn(3) ? once.toSorted(() => below(3) - 1) : once
    return ordered.flatMap(attribute)
  }

  const message = (type: number, body: Octets): Uint8Array => {
    const size = 19 + body.length
    const marker = Array.from({ length: 16 }, () => 0xff)
    if (wrong() && oneIn(4)) marker[below(16)] = below(256)
    const declared = wrong() && oneIn(4) ? pick([0, 18, 19, size - 1, size + 1, 4097, 0xffff, below(0x1_0000)]) : size
    return Uint8Array.from([...marker, ...u16(declared), wrong() ? below(256) : type, ...body])
  }

  const update = (): Uint8Array => {
    const withdrawn = oneIn(3) ? nlriList('ipv4-unicast', 6) : []
    const block = oneIn(8) ? [] : attributes()
    const announced = oneIn(3) ? [] : nlriList('ipv4-unicast', 6)
    return message(2, [
      ...u16(length(withdrawn.length)),
      ...withdrawn,
      ...u16(length(block.length)),
      ...block,
      ...announced,
    ])
  }

  const afiSafi = (): Octets => [...u16(pick([1, 2, 2, 25, below(0x1_0000)])), pick([1, 1, 2, 128])]
  const capabilities: readonly (readonly [code: number, value: () => Octets])[] = [
    [1, () => [...u16(pick([1, 2, 25])), 0, pick([1, 1, 2, 128])]],
    [2, () => []],
    [5, () => several(3, () => [...u16(1), ...u16(1), ...u16(2)]).flat()],
    [6, () => []],
    [9, () => [below(6)]],
    [64, () => [...u16(below(0x1_0000)), ...several(3, () => [...afiSafi(), pick([0, 0x80])]).flat()]],
    [65, () => u32(pick([65001, 65001, 0, 23456, 4_200_000_000]))],
    [69, () => several(3, () => [...afiSafi(), below(5)]).flat()],
    [70, () => []],
    [71, () => several(3, () => [...afiSafi(), pick([0, 0x80]), ...octets(3)]).flat()],
    [73, () => [3, 0x66, 0x6f, 0x6f, 0]],
    [75, () => [2, 0xc3, pick([0xa4, 0x28])]],
    [76, () => several(3, () => [...afiSafi(), ...u16(below(0x1_0000))]).flat()],
    [128, () => []],
    [below(256), () => octets(below(20))],
  ]
  const capability = (): Octets => {
    const [code, value] = pick(capabilities)
    const content = wrong() ? octets(below(9)) : value()
    return [code, length(content.length) & 0xff, ...content]
  }
  const open = (): Uint8Array => {
    const extended = oneIn(4)
    const parameter = (): Octets => {
      const content = several(4, capability).flat()
      const size = length(content.length)
      return [wrong() ? below(255) : 2, ...(extended ? u16(size) : [size & 0xff]), ...content]
    }
    const list = several(3, parameter).flat()
    const shown = length(list.length)
    return message(1, [
      wrong() ? below(256) : 4,
      ...u16(wrong() ? below(0x1_0000) : pick([65001, 65001, 23456])),
      ...u16(wrong() ? below(0x1_0000) : pick([0, 3, 9, 90])),
      ...u32(wrong() ? 0 : 0x0a00_0001),
      ...(extended ? [wrong() ? below(256) : 255, 255, ...u16(shown)] : [shown & 0xff]),
      ...list,
    ])
  }

  return {
    open,
    update,
    message: () => {
      switch (below(10)) {
        case 0:
        case 1:
          return open()
        case 2:
          return message(3, [pick([1, 2, 3, 4, 5, 6, 7, 8, below(256)]), below(12), ...octets(below(40))])
        case 3:
          return message(4, wrong() ? octets(1) : [])
        case 4:
          return message(5, [...u16(pick([1, 2, below(0x1_0000)])), below(4), 1, ...(wrong() ? octets(below(9)) : [])])
        default:
          return update()
      }
    },
  }
}
