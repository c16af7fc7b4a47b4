// What a thousand BFD sessions at 300 ms x 3 cost: CPU time of the process that has them, over the kernel's UDP, against a process
// that plays a thousand routers in another network namespace. And what a stall costs.
// Run as root: npx node bench/bfd.bench.ts

import { createBfdEngine } from '../src/bfd/engine.ts'
import type { BfdSessionConfig } from '../src/bfd/session-config.ts'
import { createUdpTransport } from '../src/bfd/udp-transport.ts'
import type { Namespace } from '../src/lab/netns/namespace.ts'
import { createNetwork } from '../src/lab/netns/network.ts'
import { nodeProgram } from '../src/lab/netns/node-program.ts'
import { type Ip, parseIp } from '../src/net/ip.ts'
import { parsePrefix } from '../src/net/prefix.ts'
import { must } from '../src/runtime/result.ts'
import { systemClock } from '../src/runtime/system-clock.ts'

const ip = (text: string): Ip => must(parseIp(text))
const speaker = ip('10.77.0.1')
const gateway = ip('10.77.0.2')
const routers = (count: number): readonly Ip[] =>
  Array.from({ length: count }, (_, i) => ip(`10.77.${1 + (i >> 8)}.${i & 255}`))
const timers = { transmitMs: 300, receiveMs: 300, multiplier: 3, adminDown: false }
const measureMs = 10_000
// As long as one may be silent: the detection time less the time between two packets.
const stallMs = 550

const key = { id: 1, secret: new TextEncoder().encode('twenty octets of key') }
const signed = { type: 'meticulous-keyed-sha1', send: key, accept: [key], plainForMs: 0 } as const

type Kind = 'plain' | 'authenticated'
const [role, countText = '1000', kind = 'plain'] = process.argv.slice(2)
const count = Number(countText)
const common = { ...timers, ...(kind === 'authenticated' ? { authentication: signed } : {}) }
if (role === undefined) {
  await bench(100, 'plain')
  await bench(1000, 'plain')
  await bench(1000, 'authenticated')
} else if (role === 'routers')
  run(routers(count).map((address) => ({ key: address, remoteAddress: speaker, localAddress: address, ...common })))
else await measure()

async function bench(sessions: number, of: Kind): Promise<void> {
  const network = await createNetwork({ prefix: 'bhbfd' })
  try {
    const near = await network.addNamespace('near')
    const far = await network.addNamespace('far')
    // One neighbour with a thousand addresses: the kernel's table of neighbours, which all namespaces share, ends at 1024.
    await network.connect({ at: near, addresses: [`${speaker}/30`] }, { at: far, addresses: [`${gateway}/30`] })
    await near.setRoute(must(parsePrefix('10.77.0.0/16')), { via: [{ via: gateway }] })
    await far.ip(routers(sessions).map((address) => `addr add ${address}/32 dev lo`))
    const start = (namespace: Namespace, as: string) =>
      namespace.spawn(nodeProgram('bench/bfd.bench.ts', [as, `${sessions}`, of]))
    start(far, 'routers')
    const measured = start(near, 'measure')
    const { status } = await measured.end
    console.log(measured.output())
    if (status !== 0) throw new Error(`the measured process ended with status ${status}`)
  } finally {
    await network.destroy()
  }
}

function run(sessions: readonly BfdSessionConfig[]) {
  let downs = 0
  const engine = createBfdEngine({
    clock: systemClock,
    random: Math.random,
    transport: createUdpTransport({ random: Math.random }),
    listening: 'at-all',
    onEvent: (event) => {
      if (event.type === 'error') throw new Error(event.reason)
      if (event.type === 'state' && event.from === 'Up') downs++
    },
  })
  engine.setSessions(sessions)
  return { engine, downs: () => downs }
}

async function measure(): Promise<void> {
  const sessions = routers(count).map((address) => ({ key: address, remoteAddress: address, ...common }))
  const { engine, downs } = run(sessions)
  const up = () => sessions.filter(({ key }) => engine.status(key)?.state === 'Up').length
  const startMs = performance.now()
  while (up() < count) {
    if (performance.now() - startMs > 60_000) throw new Error(`only ${up()} of ${count} sessions came up`)
    await pause(100)
  }
  const upMs = performance.now() - startMs
  await pause(3000)
  const before = { cpu: process.cpuUsage(), counters: engine.counters(), atMs: performance.now() }
  await pause(measureMs)
  const { user, system } = process.cpuUsage(before.cpu)
  const seconds = (performance.now() - before.atMs) / 1000
  const { sent, received } = engine.counters()
  const rate = (after: number, start: number): string => `${Math.round((after - start) / seconds)}/s`
  console.log(
    [
      `${count} ${kind} sessions at 300 ms x 3: all up after ${(upMs / 1000).toFixed(1)} s;`,
      `${((user + system) / seconds / 10_000).toFixed(1)} % of a core`,
      `(${((100 * system) / (user + system)).toFixed(0)} % of it in the kernel);`,
      `sent ${rate(sent, before.counters.sent)}, received ${rate(received, before.counters.received)};`,
      `${downs()} went down; ${Math.round(process.memoryUsage().rss / 1e6)} MB resident`,
    ].join(' '),
  )
  const busyUntil = performance.now() + stallMs
  while (performance.now() < busyUntil);
  await pause(2000)
  console.log(`${count} sessions, event loop stalled for ${stallMs} ms: ${downs()} went down`)
  engine.stop()
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
