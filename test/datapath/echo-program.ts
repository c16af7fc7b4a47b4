// Servers and clients of every protocol that a Service can have, for inside a network namespace. Node has no SCTP, and most
// kernels load theirs on demand or not at all, so that its handshake (RFC 9260 section 5.1) is spoken over a raw socket here: that
// is all that connection tracking and address translation look at.
//
//   node echo-program.ts serve <sctp port> <udp port>                 prints "listening"
//   node echo-program.ts ask <sctp|udp> <address> <port> [source]     prints what came back, "refused", or "nothing"
//
//   SCTP    source port(2) destination port(2) tag(4) CRC32c(4, little endian) chunks
//   chunk   type(1) flags(1) length(2) value, padded to 4 bytes
//   INIT and INIT ACK   initiate tag(4) window(4) streams out(2) streams in(2) first TSN(4), then parameters

import { createSocket } from 'node:dgram'
import { type Ip, ipFromBytes, ipToBytes } from '../../src/net/ip.ts'
import {
  AF_INET,
  AF_INET6,
  type Descriptor,
  type Libc,
  loadLibc,
  MSG_DONTWAIT,
  SOCK_RAW,
} from '../../src/runtime/libc.ts'
import { must } from '../../src/runtime/result.ts'

const IPPROTO_SCTP = 132
const chunk = { init: 1, initAck: 2, cookieEcho: 10, cookieAck: 11 } as const
const patienceMs = 1500
const tickMs = 5

interface Packet {
  readonly from: Ip
  readonly sourcePort: number
  readonly destinationPort: number
  readonly type: number
  readonly initiateTag: number
}

interface RawSctp {
  readonly send: (to: Ip, ports: readonly [source: number, destination: number], tag: number, chunk: Uint8Array) => void
  readonly receive: () => Packet | undefined
}

function openRaw(family: 'IPv4' | 'IPv6'): RawSctp {
  const libc = must(loadLibc())
  const fd = libc.socket(family === 'IPv4' ? AF_INET : AF_INET6, SOCK_RAW, IPPROTO_SCTP)
  if (fd < 0) throw new Error('no raw socket')
  return {
    send: (to, ports, tag, body) => {
      const packet = new Uint8Array(12 + body.length)
      const view = new DataView(packet.buffer)
      view.setUint16(0, ports[0])
      view.setUint16(2, ports[1])
      view.setUint32(4, tag)
      packet.set(body, 12)
      view.setUint32(8, crc32c(packet), true)
      const address = socketAddress(to)
      libc.sendto(fd, packet, packet.length, 0, address, address.length)
    },
    receive: () => receive(libc, fd, family),
  }
}

function receive(libc: Libc, fd: Descriptor, family: 'IPv4' | 'IPv6'): Packet | undefined {
  const bytes = new Uint8Array(2048)
  const source = new Uint8Array(28)
  const length = libc.recvfrom(fd, bytes, bytes.length, MSG_DONTWAIT, source, [source.length])
  if (length < 0) return undefined
  // IPv4 raw sockets hand out the IP header too.
  const at = family === 'IPv4' ? ((bytes[0] ?? 0) & 0x0f) * 4 : 0
  const view = new DataView(bytes.buffer, at)
  return {
    from: family === 'IPv4' ? ipFromBytes(source, 4, 4) : ipFromBytes(source, 8, 16),
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    type: view.getUint8(12),
    initiateTag: length - at >= 20 ? view.getUint32(16) : 0,
  }
}

function socketAddress(ip: Ip): Uint8Array {
  const bytes = ipToBytes(ip)
  const address = new Uint8Array(bytes.length === 4 ? 16 : 28)
  address[0] = bytes.length === 4 ? AF_INET : AF_INET6
  address.set(bytes, bytes.length === 4 ? 4 : 8)
  return address
}

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

/** INIT or INIT ACK: the latter carries a state cookie. */
function initiation(type: number, tag: number): Uint8Array {
  const cookie = type === chunk.initAck ? Uint8Array.of(0, 7, 0, 8, 1, 2, 3, 4) : new Uint8Array()
  const body = new Uint8Array(20 + cookie.length)
  const view = new DataView(body.buffer)
  view.setUint8(0, type)
  view.setUint16(2, body.length)
  view.setUint32(4, tag)
  view.setUint32(8, 65536)
  view.setUint16(12, 1)
  view.setUint16(14, 1)
  view.setUint32(16, 1)
  body.set(cookie, 20)
  return body
}

const cookieEcho = Uint8Array.of(chunk.cookieEcho, 0, 0, 8, 1, 2, 3, 4)
const cookieAck = Uint8Array.of(chunk.cookieAck, 0, 0, 4)

function serve(sctpPort: number, udpPort: number): void {
  const udp = createSocket('udp6')
  udp.on('message', (_message, from) => udp.send(from.address.replace('::ffff:', ''), from.port, from.address))
  udp.bind(udpPort, '::', () => process.stdout.write('listening\n'))
  for (const family of ['IPv4', 'IPv6'] as const) {
    const raw = openRaw(family)
    const tags = new Map<string, number>()
    setInterval(() => {
      for (let packet = raw.receive(); packet !== undefined; packet = raw.receive()) {
        if (packet.destinationPort !== sctpPort) continue
        const { from, sourcePort } = packet
        const key = `${from} ${sourcePort}`
        if (packet.type === chunk.init) tags.set(key, packet.initiateTag)
        const body =
          packet.type === chunk.init
            ? initiation(chunk.initAck, 0x5e4)
            : packet.type === chunk.cookieEcho
              ? cookieAck
              : undefined
        if (body !== undefined) raw.send(from, [sctpPort, sourcePort], tags.get(key) ?? 0, body)
      }
    }, tickMs)
  }
}

/** The association's last word: an answer to both halves of the handshake, or undefined. */
function askSctp(address: Ip, port: number, onAnswer: (answer: string) => void): void {
  const raw = openRaw(address.includes(':') ? 'IPv6' : 'IPv4')
  const sourcePort = 40_000 + (process.pid % 20_000)
  raw.send(address, [sourcePort, port], 0, initiation(chunk.init, 0xc11e47))
  setInterval(() => {
    for (let packet = raw.receive(); packet !== undefined; packet = raw.receive()) {
      if (packet.destinationPort !== sourcePort || packet.from !== address) continue
      if (packet.type === chunk.initAck) raw.send(address, [sourcePort, port], packet.initiateTag, cookieEcho)
      if (packet.type === chunk.cookieAck) onAnswer('associated')
    }
  }, tickMs)
}

function askUdp(address: Ip, port: number, onAnswer: (answer: string) => void, source?: string): void {
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  udp.on('message', (message) => onAnswer(message.toString()))
  udp.on('error', () => onAnswer('refused'))
  // Connected, so that it hears of what comes back as ICMP.
  udp.bind(0, source, () => udp.connect(port, address, () => udp.send('who')))
}

const [verb, first = '', second = '', third = '', source] = process.argv.slice(2)
if (verb === 'serve') serve(Number(first), Number(second))
else {
  const end = (answer: string): void => {
    process.stdout.write(`${answer}\n`)
    process.exit(0)
  }
  setTimeout(() => end('nothing'), patienceMs)
  if (first === 'sctp') askSctp(second as Ip, Number(third), end)
  else askUdp(second as Ip, Number(third), end, source)
}
