// NLRI on the way in: first counted, which is also the check of its syntax, then read. The writers are in `encode.ts`.
//
//   NLRI      [path id(4)] prefix bits(1) prefix(as many octets as the bits need)                  RFC 7911 section 3

import { ipFromBytes } from '../../net/ip.ts'
import { prefixOf } from '../../net/prefix.ts'
import { readU32 } from './bytes.ts'
import type { Family, Nlri, SessionCodec } from './message.ts'

/** A stretch of a message, `end` excluded. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** How the NLRI of one family is written in the messages that we receive. */
export interface NlriForm {
  readonly family: Family
  readonly bitsMax: 32 | 128
  readonly pathIds: boolean
}

export const receivedForm = (family: Family, codec: SessionCodec): NlriForm => ({
  family,
  bitsMax: family === 'ipv4-unicast' ? 32 : 128,
  pathIds: codec.addPathReceive.has(family),
})

/**
 * How many entries a field holds, or what is wrong with it. Bits beyond the prefix length may be anything (RFC 4271
 * section 4.3). After a wrong length nothing that follows can be found, so there is no partial answer.
 */
export function countNlri(bytes: Uint8Array, { start, end }: Span, { bitsMax, pathIds }: NlriForm): number | string {
  let at = start
  let count = 0
  while (at < end) {
    if (pathIds) at += 4
    if (at >= end) return 'a path identifier without a prefix'
    const bits = bytes[at] ?? 0
    if (bits > bitsMax) return `a prefix of ${bits} bits, at most ${bitsMax} are possible`
    at += 1 + ((bits + 7) >>> 3)
    count++
  }
  return at === end ? count : 'the last prefix runs beyond its field'
}

/** The entries of a field that `countNlri` has found well formed. */
export function readNlri(bytes: Uint8Array, { start, end }: Span, { bitsMax, pathIds }: NlriForm): readonly Nlri[] {
  const entries: Nlri[] = []
  let at = start
  while (at < end) {
    const pathId = pathIds ? readU32(bytes, at) : undefined
    if (pathIds) at += 4
    const bits = bytes[at] ?? 0
    const octets = (bits + 7) >>> 3
    const address = new Uint8Array(bitsMax / 8)
    address.set(bytes.subarray(at + 1, at + 1 + octets))
    const prefix = prefixOf(ipFromBytes(address), bits)
    entries.push(pathId === undefined ? { prefix } : { prefix, pathId })
    at += 1 + octets
  }
  return entries
}
