// A router that announces and withdraws one route over and over: the change that a daemon without an interface for it passes on
// from a full table. For each line on standard input one change; one line on standard output, the time at which it was written.

import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { answerDelayMs, bgpPort, changerAddress, feederAsn, firstNextHopBits } from './plan.ts'

const u32 = (value: number): readonly number[] => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255)
const message = (type: number, body: readonly number[]): Uint8Array =>
  Uint8Array.from([...Array<number>(16).fill(0xff), 0, 19 + body.length, type, ...body])

const asn = [feederAsn >>> 8, feederAsn & 255]
const capabilities = [1, 4, 0, 1, 0, 1, 65, 4, 0, 0, ...asn]
const id = changerAddress.split('.').map(Number)
const open = message(1, [4, ...asn, 0, 90, ...id, capabilities.length + 2, 2, capabilities.length, ...capabilities])
const keepAlive = message(4, [])
// 203.0.113.1/32 is in nobody's table.
const route = [32, 203, 0, 113, 1]
const attributes = [
  ...[0x40, 1, 1, 0],
  ...[0x40, 2, 6, 2, 1, ...u32(feederAsn)],
  ...[0x40, 3, 4, ...u32(firstNextHopBits)],
]
const announcement = message(2, [0, 0, 0, attributes.length, ...attributes, ...route])
const withdrawal = message(2, [0, route.length, ...route, 0, 0])

const { feeds } = JSON.parse(process.argv[2] ?? '') as { readonly feeds: string }
const socket = connect({ host: feeds, port: bgpPort, localAddress: changerAddress })
socket.setNoDelay(true)
socket.write(open)
socket.write(keepAlive)
// With a hold time of 0, which needs none, GoBGP 3.10 can not write to the session.
setInterval(() => socket.write(keepAlive), 20_000).unref()
let seen = 0
let announced = false
socket.on('data', (chunk: Uint8Array) => {
  const before = seen
  seen += chunk.length
  // An OPEN is at least 29 octets, and a KEEPALIVE follows it.
  if (before < 29 + 19 && seen >= 29 + 19) console.log('{"ready":true}')
})
createInterface({ input: process.stdin }).on('line', () => {
  announced = !announced
  const beganNs = process.hrtime.bigint()
  socket.write(announced ? announcement : withdrawal)
  setTimeout(() => console.log(JSON.stringify({ beganNs: String(beganNs) })), answerDelayMs)
})
