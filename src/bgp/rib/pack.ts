// Filling UPDATE messages: NLRI that share everything else are gathered until the message is full (RFC 4271 section 4.3,
// RFC 4760 section 3 and 4). Only IPv4 unicast uses the fields of the UPDATE itself, unless its next hop is an IPv6 address
// (RFC 8950); MP_REACH_NLRI comes first in the others (RFC 7606 section 5.1).
//
//   IPv4   header(19) withdrawn length(2) withdrawn | attributes length(2) attributes | NLRI
//   IPv6   header(19) 0(2) | attributes length(2) MP_REACH_NLRI(header, next hop, NLRI) attributes

import { familyOf, type Ip } from '../../net/ip.ts'
import { attributeByName } from '../packet/attribute-table.ts'
import { writeU16, writeU32 } from '../packet/bytes.ts'
import {
  attributeHeaderBytes,
  encodePathAttributes,
  headerBytes,
  mpReachHeader,
  mpUnreachHeader,
  writeAttributeHeader,
  writeMessageHeader,
} from '../packet/encode.ts'
import type { Family, PathAttributes, SessionCodec } from '../packet/message.ts'

/** Octets of an UPDATE that carries nothing: header and two length fields. */
const emptyUpdateBytes = headerBytes + 4
const attributeHeaderBytesMax = 4

/** Takes one NLRI entry after the other and hands out whole messages. */
export interface Packer {
  /** `prefix` holds the length octet and the address octets; `pathId` exactly when the family is sent with ADD-PATH. */
  readonly add: (prefix: Uint8Array, prefixBytes: number, pathId: number | undefined) => void
  /** Emits what has gathered, if anything. */
  readonly flush: () => void
}

/**
 * Octets that a message with these attributes leaves for NLRI whatever the next hop; below the size of one entry the route
 * can not be sent.
 */
export function announcementRoom(family: Family, attributesBytes: number, codec: SessionCodec): number {
  const classic = family === 'ipv4-unicast' && codec.extendedNextHop?.has(family) !== true
  const nextHopBytes = classic ? 7 : attributeHeaderBytesMax + mpReachBytes
  return codec.messageBytesMaxSend - emptyUpdateBytes - nextHopBytes - attributesBytes
}

// AFI, SAFI, length of the next hop, one global IPv6 address, the reserved octet.
const mpReachBytes = 2 + 1 + 1 + 16 + 1

/** Where messages go. */
export interface MessageSink {
  /** Room for a message of so many octets. */
  readonly allocate: (bytes: number) => Uint8Array
  readonly emit: (message: Uint8Array) => void
}

/** Messages in memory of their own. */
export const apart = (bytes: number): Uint8Array => new Uint8Array(bytes)

const slabBytesFirst = 4096
const slabBytesMax = 64 * 1024

/** Messages beside each other in memory, so that those that follow each other can be written to a socket as one piece. */
export function createSlabs(): MessageSink['allocate'] {
  let slab = new Uint8Array(0)
  let used = 0
  return (bytes) => {
    if (used + bytes > slab.length) {
      slab = new Uint8Array(Math.max(bytes, Math.min(slabBytesMax, Math.max(slabBytesFirst, 2 * slab.length))))
      used = 0
    }
    used += bytes
    return slab.subarray(used - bytes, used)
  }
}

/** Packs announcements of one next hop with one set of attributes. Puts itself into `filling` when the first comes after a `flush`. */
export function announcementPacker(
  family: Family,
  attributes: PathAttributes,
  nextHop: Ip,
  codec: SessionCodec,
  { allocate, emit }: MessageSink,
  filling: Packer[],
): Packer {
  if (family === 'ipv4-unicast' && familyOf(nextHop) === 'IPv4') {
    const block = encodePathAttributes({ ...attributes, nextHop }, codec)
    const seal = (nlri: Uint8Array): void => emit(update(nlri.subarray(0, 0), block, nlri, allocate))
    return new GatheringPacker(codec.messageBytesMaxSend - emptyUpdateBytes - block.length, seal, filling)
  }
  const block = encodePathAttributes(attributes, codec)
  const header = mpReachHeader(family, [nextHop])
  const room = codec.messageBytesMaxSend - emptyUpdateBytes - attributeHeaderBytesMax - header.length - block.length
  const seal = (nlri: Uint8Array): void => emit(multiprotocolUpdate('MP_REACH_NLRI', header, nlri, block, allocate))
  return new GatheringPacker(room, seal, filling)
}

/** Packs withdrawals of one family. */
export function withdrawalPacker(family: Family, codec: SessionCodec, emit: (message: Uint8Array) => void): Packer {
  const none = new Uint8Array(0)
  if (family === 'ipv4-unicast')
    return new GatheringPacker(codec.messageBytesMaxSend - emptyUpdateBytes, (nlri) => emit(update(nlri, none, none)))
  const header = mpUnreachHeader(family)
  const room = codec.messageBytesMaxSend - emptyUpdateBytes - attributeHeaderBytesMax - header.length
  return new GatheringPacker(room, (nlri) => emit(multiprotocolUpdate('MP_UNREACH_NLRI', header, nlri, none)))
}

/** RFC 4724 section 2: an UPDATE without anything, or with an empty MP_UNREACH_NLRI. */
export function encodeEndOfRib(family: Family): Uint8Array {
  const none = new Uint8Array(0)
  if (family === 'ipv4-unicast') return update(none, none, none)
  return multiprotocolUpdate('MP_UNREACH_NLRI', mpUnreachHeader(family), none, none)
}

function update(withdrawn: Uint8Array, attributes: Uint8Array, nlri: Uint8Array, allocate = apart): Uint8Array {
  const message = allocate(emptyUpdateBytes + withdrawn.length + attributes.length + nlri.length)
  let at = writeU16(message, writeMessageHeader(message, 0, message.length, 'UPDATE'), withdrawn.length)
  message.set(withdrawn, at)
  at = writeU16(message, at + withdrawn.length, attributes.length)
  message.set(attributes, at)
  message.set(nlri, at + attributes.length)
  return message
}

function multiprotocolUpdate(
  name: 'MP_REACH_NLRI' | 'MP_UNREACH_NLRI',
  header: Uint8Array,
  nlri: Uint8Array,
  attributes: Uint8Array,
  allocate = apart,
): Uint8Array {
  const { flags, code } = attributeByName(name)
  const valueBytes = header.length + nlri.length
  const blockBytes = attributeHeaderBytes(valueBytes) + valueBytes + attributes.length
  const message = allocate(emptyUpdateBytes + blockBytes)
  let at = writeU16(message, writeMessageHeader(message, 0, message.length, 'UPDATE'), 0)
  at = writeAttributeHeader(message, writeU16(message, at, blockBytes), flags, code, valueBytes)
  message.set(header, at)
  message.set(nlri, at + header.length)
  message.set(attributes, at + valueBytes)
  return message
}

const gatherBytesFirst = 64

// A class, because its methods are the same functions in every session: what was optimised for the first peer serves the next.
// `seal` gets a view that is only good during the call.
class GatheringPacker implements Packer {
  readonly #room: number
  readonly #seal: (nlri: Uint8Array) => void
  readonly #filling: Packer[] | undefined
  readonly #first: Uint8Array
  #gathered: Uint8Array
  #used = 0

  constructor(room: number, seal: (nlri: Uint8Array) => void, filling?: Packer[]) {
    this.#room = room
    this.#seal = seal
    this.#filling = filling
    this.#first = new Uint8Array(Math.min(gatherBytesFirst, room))
    this.#gathered = this.#first
  }

  flush(): void {
    if (this.#used > 0) this.#emit()
    this.#gathered = this.#first
  }

  add(prefix: Uint8Array, prefixBytes: number, pathId: number | undefined): void {
    if (this.#used === 0) this.#filling?.push(this)
    const entryBytes = prefixBytes + (pathId === undefined ? 0 : 4)
    if (this.#used + entryBytes > this.#room) this.#emit()
    const end = this.#used + entryBytes
    if (end > this.#gathered.length) this.#grow(end)
    const gathered = this.#gathered
    let at = pathId === undefined ? this.#used : writeU32(gathered, this.#used, pathId)
    for (let i = 0; i < prefixBytes; i++) gathered[at++] = prefix[i] ?? 0
    this.#used = at
  }

  #emit(): void {
    this.#seal(this.#gathered.subarray(0, this.#used))
    this.#used = 0
  }

  #grow(bytes: number): void {
    const larger = new Uint8Array(Math.min(this.#room, Math.max(2 * this.#gathered.length, bytes)))
    larger.set(this.#gathered.subarray(0, this.#used))
    this.#gathered = larger
  }
}
