// The table as bytes that were written beforehand, sent as fast as the socket takes them. As a sender it shows what the
// receiver and the kernel can do at most; as a feeder it gives a router the routes it is to pass on. One line on standard
// output when it listens, or when the router has been fed.

import { connect, createServer, type Socket } from 'node:net'
import { bgpPort, firstNextHopBits, firstPrefixBits, type TableSize } from './plan.ts'

export interface ReplayOptions extends TableSize {
  readonly asn: number
  readonly address: string
  /** Dials this router; absent: listens. */
  readonly feeds?: string
  /**
   * Without path ids. Asks for the router's own routes behind the table, to learn when it has read all of it; says how long that
   * took.
   */
  readonly timed?: boolean
}

const options = JSON.parse(process.argv[2] ?? '') as ReplayOptions
const entriesMax = 450

const u32 = (value: number): readonly number[] => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255)
const u16 = (value: number): readonly number[] => [value >>> 8, value & 255]
const message = (type: number, body: readonly number[]): readonly number[] => [
  ...Array<number>(16).fill(0xff),
  ...u16(19 + body.length),
  type,
  ...body,
]

function update(leg: number, first: number, count: number): readonly number[] {
  const attributes = [
    ...[0x40, 1, 1, 0],
    ...[0x40, 2, 6, 2, 1, ...u32(options.asn)],
    ...[0x40, 3, 4, ...u32(firstNextHopBits + leg)],
  ]
  const nlri = Array.from({ length: count }, (_, i) => [
    ...(options.timed === true ? [] : u32(leg + 1)),
    32,
    ...u32(firstPrefixBits + first + i),
  ])
  return message(2, [0, 0, ...u16(attributes.length), ...attributes, ...nlri.flat()])
}

const table = Buffer.concat(
  Array.from({ length: options.nextHops }, (_, leg) => leg).flatMap((leg) =>
    Array.from({ length: Math.ceil(options.prefixes / entriesMax) }, (_, i) => i * entriesMax).map((first) =>
      Uint8Array.from(update(leg, first, Math.min(entriesMax, options.prefixes - first))),
    ),
  ),
)

const asn = u16(options.asn)
const capabilities = [
  1,
  4,
  0,
  1,
  0,
  1,
  2,
  0,
  65,
  4,
  0,
  0,
  ...asn,
  ...(options.timed === true ? [] : [69, 4, 0, 1, 1, 2]),
]
const id = options.address.split('.').map(Number)
const open = Uint8Array.from(
  message(1, [4, ...asn, 0, 0, ...id, capabilities.length + 2, 2, capabilities.length, ...capabilities]),
)
const keepAlive = Uint8Array.from(message(4, []))
const endOfRib = Uint8Array.from(message(2, [0, 0, 0, 0]))

const routeRefresh = Uint8Array.from(message(5, [0, 1, 0, 1]))
// Routes are read in their order, so the answer to the question behind the last of them says that all were. Begins when told to
// on standard input, so that the speaker can be looked at before.
function timed(socket: Socket): void {
  console.log('{"up":true}')
  process.stdin.once('data', () => {
    const start = performance.now()
    socket.write(table)
    socket.write(endOfRib)
    socket.write(routeRefresh)
    socket.once('data', () => console.log(JSON.stringify({ ms: performance.now() - start, bytes: table.length })))
  })
}

// What the other side says is not looked at but for one thing: its first KEEPALIVE, the second of its messages, is the start.
function serve(socket: Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  let seen: Uint8Array = new Uint8Array(0)
  let started = false
  socket.write(open)
  socket.write(keepAlive)
  socket.on('data', (chunk: Uint8Array) => {
    if (started) return
    seen = Buffer.concat([seen, chunk])
    const openLength = ((seen[16] ?? 0) << 8) | (seen[17] ?? 0)
    if (seen.length < 18 || seen.length < openLength + keepAlive.length) return
    started = true
    if (options.timed === true) timed(socket)
    else {
      socket.write(table)
      socket.write(endOfRib, () => options.feeds !== undefined && console.log('{"ready":true}'))
    }
  })
}

if (options.feeds === undefined)
  createServer(serve).listen(bgpPort, options.address, () => console.log('{"ready":true}'))
else {
  const dial = (host: string): void => {
    const socket = connect({ host, port: bgpPort, localAddress: options.address })
    socket.once('error', () => setTimeout(() => dial(host), 200))
    socket.once('connect', () => serve(socket))
  }
  dial(options.feeds)
}
