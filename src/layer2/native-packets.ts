// Sockets that send and receive whole Ethernet frames (packet(7)): Node knows none. Opened with the first VIP of mode layer2 that a node
// owns. Needs CAP_NET_RAW. Linux only.
//
//   struct sockaddr_ll   family(2, host order) protocol(2) interface index(4, host order) hatype(2) pkttype(1) halen(1) address(8)
//   struct sock_filter   code(2) jt(1) jf(1) k(4), host order

import {
  type Descriptor,
  filterProgramBytes,
  type Libc,
  lastError,
  littleEndian,
  loadLibc,
  MSG_DONTWAIT,
  SO_ATTACH_FILTER,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
} from '../runtime/libc.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { etherTypeArp, etherTypeIpv6 } from './frames.ts'

export interface PacketError {
  readonly code: 'layer2/no-raw-sockets' | 'layer2/socket-refused'
  /** For operators. */
  readonly message: string
}

/** Frames of one interface: claims of others come in, ours go out. */
export interface PacketSocket {
  readonly send: (frame: Uint8Array) => PacketError | undefined
  /** A frame that may hold a claim, valid until the next call; undefined when there is none now. */
  readonly receive: () => Uint8Array | undefined
  readonly close: () => void
}

/** Opens a socket for the frames of both families on the interface. */
export type OpenPacketSocket = (interfaceIndex: number) => Result<PacketSocket, PacketError>

const AF_PACKET = 17
const SOCK_RAW = 3

/** Longer frames claim nothing. */
const frameBytesMax = 256

/** One instruction of a classic BPF program. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number]

const loadByte = (at: number): Instruction => [0x30, 0, 0, at]
const loadHalf = (at: number): Instruction => [0x28, 0, 0, at]
const loadWord = (at: number): Instruction => [0x20, 0, 0, at]
const copyToIndex: Instruction = [0x07, 0, 0, 0]
const ifEqual = (operand: number, ifTrue: number, ifFalse: number): Instruction => [0x15, ifTrue, ifFalse, operand]
const ifEqualIndex = (ifTrue: number, ifFalse: number): Instruction => [0x1d, ifTrue, ifFalse, 0]
const keep: Instruction = [0x06, 0, 0, frameBytesMax]
const drop: Instruction = [0x06, 0, 0, 0]

// A busy link has hundreds of ARP requests a second that claim nothing: they shall not wake anybody.
const replies: readonly Instruction[] = [loadHalf(20), ifEqual(2, 4, 0)]
const gratuitous: readonly Instruction[] = [loadWord(28), copyToIndex, loadWord(38), ifEqualIndex(0, 1)]
const arpClaims: readonly Instruction[] = [...replies, ...gratuitous, keep, drop]
const advertisements: readonly Instruction[] = [
  loadByte(20),
  ifEqual(58, 0, 3),
  loadByte(54),
  ifEqual(136, 0, 1),
  keep,
  drop,
]

/** The kernel's sockets. */
export const openNativePacketSocket: OpenPacketSocket = (interfaceIndex) => {
  const libc = loadLibc()
  return libc.ok
    ? openWith(libc.value, interfaceIndex)
    : err({ code: 'layer2/no-raw-sockets', message: `layer 2 needs raw sockets, and ${libc.error}` })
}

function openWith(libc: Libc, interfaceIndex: number): Result<PacketSocket, PacketError> {
  const arp = openOne(libc, interfaceIndex, etherTypeArp, arpClaims)
  if (!arp.ok) return arp
  const ipv6 = openOne(libc, interfaceIndex, etherTypeIpv6, advertisements)
  if (!ipv6.ok) {
    libc.close(arp.value)
    return ipv6
  }
  const descriptors = [arp.value, ipv6.value]
  const destination = linkAddress(etherTypeArp, interfaceIndex)
  const frame = new Uint8Array(frameBytesMax)
  const from = new Uint8Array(28)
  return ok({
    // The frame says itself of which type it is. A descriptor that was closed may be somebody else's by now.
    send: (bytes) => {
      const [fd] = descriptors
      if (fd === undefined) return { code: 'layer2/socket-refused', message: 'sending a frame: the socket is closed' }
      return libc.sendto(fd, bytes, bytes.length, MSG_DONTWAIT, destination, destination.length) < 0
        ? refusal(libc, 'sending a frame')
        : undefined
    },
    receive: () => {
      for (const fd of descriptors) {
        const length = libc.recvfrom(fd, frame, frame.length, MSG_DONTWAIT, from, [from.length])
        if (length > 0) return frame.subarray(0, length)
      }
      return undefined
    },
    close: () => {
      for (const fd of descriptors.splice(0)) libc.close(fd)
    },
  })
}

function openOne(
  libc: Libc,
  interfaceIndex: number,
  etherType: number,
  filter: readonly Instruction[],
): Result<Descriptor, PacketError> {
  // No protocol yet: a socket that is not bound would get the frames of all interfaces.
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
  if (fd < 0) return err(refusal(libc, 'opening a raw socket'))
  const program = { length: filter.length, instructions: packed(filter) }
  const address = linkAddress(etherType, interfaceIndex)
  const failure =
    libc.attachFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, filterProgramBytes) !== 0
      ? refusal(libc, 'attaching a filter to a raw socket')
      : libc.bind(fd, address, address.length) !== 0
        ? refusal(libc, `binding a raw socket to interface ${interfaceIndex}`)
        : undefined
  if (failure === undefined) return ok(fd)
  libc.close(fd)
  return err(failure)
}

function refusal(libc: Libc, doing: string): PacketError {
  const { name, words } = lastError(libc)
  const hint = name === 'EPERM' ? ': the agent needs the capability NET_RAW' : ''
  return { code: 'layer2/socket-refused', message: `${doing}: ${words} (${name})${hint}` }
}

function linkAddress(etherType: number, interfaceIndex: number): Uint8Array {
  const bytes = new Uint8Array(20)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_PACKET, littleEndian)
  view.setUint16(2, etherType)
  view.setUint32(4, interfaceIndex, littleEndian)
  return bytes
}

function packed(filter: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * filter.length)
  const view = new DataView(bytes.buffer)
  filter.forEach(([code, ifTrue, ifFalse, operand], i) => {
    view.setUint16(8 * i, code, littleEndian)
    view.setUint8(8 * i + 2, ifTrue)
    view.setUint8(8 * i + 3, ifFalse)
    view.setUint32(8 * i + 4, operand, littleEndian)
  })
  return bytes
}
