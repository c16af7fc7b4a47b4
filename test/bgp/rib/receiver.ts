// A router that believes what it is told: reads UPDATE messages octet by octet, on its own, without the codec of the
// product, and keeps the resulting table. It throws on whatever a strict router would complain about.

import type { Family, SessionCodec } from '../../../src/bgp/packet/message.ts'
import { type Ip, ipFromBytes } from '../../../src/net/ip.ts'
import { type Prefix, prefixOf } from '../../../src/net/prefix.ts'

export interface ReceivedPath {
  readonly nextHop: Ip
  /** Attribute type code to value in hex, without NEXT_HOP and the multiprotocol ones. */
  readonly attributes: ReadonlyMap<number, string>
}

export interface Change {
  readonly kind: 'announce' | 'withdraw'
  /** `prefix` or `prefix id`. */
  readonly key: string
}

export interface Receiver {
  /** By `prefix` or `prefix id`. */
  readonly table: ReadonlyMap<string, ReceivedPath>
  /** Reads one message; what it changed, in order. Empty for End-of-RIB. */
  readonly receive: (message: Uint8Array) => readonly Change[]
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const expectedFlags: Readonly<Record<number, number>> = {
  1: 0x40,
  2: 0x40,
  3: 0x40,
  4: 0x80,
  5: 0x40,
  8: 0xc0,
  14: 0x80,
  15: 0x80,
  16: 0xc0,
  17: 0xc0,
  32: 0xc0,
}

export function createReceiver(codec: SessionCodec): Receiver {
  const table = new Map<string, ReceivedPath>()
  return {
    table,
    receive: (message) => {
      const update = readUpdate(message, codec)
      const changes: Change[] = []
      for (const key of update.withdrawn) {
        table.delete(key)
        changes.push({ kind: 'withdraw', key })
      }
      for (const key of update.announced) {
        if (update.nextHop === undefined) throw new Error('NLRI without a next hop')
        table.set(key, { nextHop: update.nextHop, attributes: update.attributes })
        changes.push({ kind: 'announce', key })
      }
      return changes
    },
  }
}

interface Update {
  readonly withdrawn: readonly string[]
  readonly announced: readonly string[]
  readonly nextHop: Ip | undefined
  readonly attributes: ReadonlyMap<number, string>
}

function readUpdate(message: Uint8Array, codec: SessionCodec): Update {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  if (hex(message.subarray(0, 16)) !== 'ff'.repeat(16)) throw new Error('marker')
  if (view.getUint16(16) !== message.length) throw new Error('length field')
  if (message.length > codec.messageBytesMaxSend) throw new Error(`message of ${message.length} octets`)
  if (view.getUint8(18) !== 2) throw new Error('not an UPDATE')
  const withdrawnEnd = 21 + view.getUint16(19)
  const attributesEnd = withdrawnEnd + 2 + view.getUint16(withdrawnEnd)
  if (attributesEnd > message.length) throw new Error('attributes beyond the message')
  const withdrawn = [...readNlri(message, 21, withdrawnEnd, 'ipv4-unicast', codec)]
  const announced = [...readNlri(message, attributesEnd, message.length, 'ipv4-unicast', codec)]
  const attributes = new Map<number, string>()
  let nextHop: Ip | undefined
  let first = true
  for (let at = withdrawnEnd + 2; at < attributesEnd; first = false) {
    const { code, start, end } = readAttribute(message, at, attributesEnd)
    if (attributes.has(code)) throw new Error(`attribute ${code} twice`)
    if (code === 14 || code === 15) {
      if (!first) throw new Error(`attribute ${code} is not the first`)
      if (view.getUint16(start) !== 2 || message[start + 2] !== 1) throw new Error('not IPv6 unicast')
    }
    if (code === 3) nextHop = ipFromBytes(message, start, end - start)
    else if (code === 14) {
      if (message[start + 3] !== 16 || message[start + 20] !== 0) throw new Error('MP_REACH_NLRI')
      nextHop = ipFromBytes(message, start + 4, 16)
      announced.push(...readNlri(message, start + 21, end, 'ipv6-unicast', codec))
    } else if (code === 15) withdrawn.push(...readNlri(message, start + 3, end, 'ipv6-unicast', codec))
    else attributes.set(code, hex(message.subarray(start, end)))
    at = end
  }
  if (announced.length > 0 && !(attributes.has(1) && attributes.has(2))) throw new Error('no ORIGIN or AS_PATH')
  return { withdrawn, announced, nextHop, attributes }
}

function readAttribute(
  message: Uint8Array,
  at: number,
  limit: number,
): { readonly code: number; readonly start: number; readonly end: number } {
  const flags = message[at] ?? 0
  const code = message[at + 1] ?? 0
  if ((flags & ~0x10) !== expectedFlags[code]) throw new Error(`flags ${flags} of attribute ${code}`)
  const long = (flags & 0x10) !== 0
  const length = long ? (message[at + 2] ?? 0) * 256 + (message[at + 3] ?? 0) : (message[at + 2] ?? 0)
  if (long && length < 256) throw new Error('extended length without need')
  const start = at + (long ? 4 : 3)
  if (start + length > limit) throw new Error(`attribute ${code} beyond the block`)
  return { code, start, end: start + length }
}

function* readNlri(
  message: Uint8Array,
  start: number,
  end: number,
  family: Family,
  codec: SessionCodec,
): Generator<string> {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  for (let at = start; at < end; ) {
    const id = codec.addPathSend.has(family) ? ` ${view.getUint32(at)}` : ''
    if (id !== '') at += 4
    const bits = view.getUint8(at++)
    const octets = Math.ceil(bits / 8)
    const address = new Uint8Array(family === 'ipv4-unicast' ? 4 : 16)
    if (octets > address.length || at + octets > end) throw new Error('NLRI beyond its field')
    address.set(message.subarray(at, at + octets))
    at += octets
    const prefix: Prefix = prefixOf(ipFromBytes(address), bits)
    yield `${prefix}${id}`
  }
}
