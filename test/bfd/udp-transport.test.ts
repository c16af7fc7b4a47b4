// The kernel's UDP on loopback: the contract, and what only a kernel can do or refuse. Addresses are 127.x.y.z by process and test, so
// that runs beside each other do not meet. IPv6 is in test/interop, in namespaces of its own.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { createBfdEngine } from '../../src/bfd/engine.ts'
import type { BfdEvent } from '../../src/bfd/session-config.ts'
import { type BfdHops, type BfdListener, bfdPorts } from '../../src/bfd/transport.ts'
import { createUdpTransport, sourcePorts } from '../../src/bfd/udp-transport.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import type { Ip } from '../../src/net/ip.ts'
import { createHostClaims } from '../../src/runtime/host-claims.ts'
import { loadLibc } from '../../src/runtime/libc.ts'
import { err, must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { loopback } from '../bgp/speaker/loopback.ts'
import { ip, sessionWith } from './bench.ts'
import { transportContract } from './transport-contract.ts'

const transport = createUdpTransport({ random: Math.random })
const opened: { close: () => void }[] = []
afterEach(() => {
  for (const each of opened.splice(0)) each.close()
})

/** A socket of Node's own, with a TTL of its own. */
async function socketAt(address: Ip, ttl: number): Promise<Socket> {
  const socket = createSocket('udp4')
  opened.push(socket)
  socket.bind({ address, port: 0 })
  await once(socket, 'listening')
  socket.setTTL(ttl)
  return socket
}

transportContract('UDP', () => {
  const [sender, receiver] = [loopback(), loopback()]
  let last = Promise.resolve()
  const sendWithTtl = (ttl: number, hops: BfdHops, text: string): void => {
    last = last.then(async () => {
      const socket = await socketAt(sender, ttl)
      await new Promise((resolve) => socket.send(text, bfdPorts[hops], receiver, resolve))
    })
  }
  const beside = createUdpTransport({ random: Math.random, claims: createHostClaims(must(loadLibc())) })
  return { transport, beside, third: loopback(), sender, receiver, foreign: ip('192.0.2.77'), sendWithTtl }
})

test('packets leave with TTL 255, CS6 and a port of their own from 49152 up', async () => {
  const [source, remoteAddress] = [loopback(), loopback()]
  const receiver = createSocket('udp4')
  opened.push(receiver)
  const ports: number[] = []
  receiver.on('message', (_, { port }) => ports.push(port))
  receiver.bind({ address: remoteAddress, port: bfdPorts.multi })
  await once(receiver, 'listening')
  // Only TTL 255 gets past a filter that asks for it.
  const filtered: string[] = []
  const listener = must(
    transport.listen({ hops: 'single', family: 'IPv4', address: remoteAddress }, [], {
      received: ({ bytes }) => filtered.push(new TextDecoder().decode(bytes)),
      failed: () => {},
    }),
  )
  opened.push(listener)
  const paths = Array.from({ length: 50 }, () => ({ hops: 'multi', remoteAddress, localAddress: source }) as const)
  for (const path of [...paths, { hops: 'single', remoteAddress } as const]) {
    const sender = must(transport.open(path))
    opened.push(sender)
    expect(sender.send(new TextEncoder().encode('hello'))).toBeUndefined()
  }
  await waitFor(() => ports.length === 50 && filtered.length === 1, { what: '50 packets and one' })
  expect(new Set(ports).size).toBe(50)
  for (const port of ports) {
    expect(port).toBeGreaterThanOrEqual(sourcePorts.first)
    expect(port).toBeLessThan(65_536)
  }
})

test('what has arrived is delivered by drain, without the event loop', async () => {
  const [source, address] = [loopback(), loopback()]
  const received: string[] = []
  const listener: BfdListener = must(
    transport.listen({ hops: 'single', family: 'IPv4', address }, [], {
      received: ({ bytes, source: from }) => received.push(`${new TextDecoder().decode(bytes)} ${from().address}`),
      failed: () => {},
    }),
  )
  opened.push(listener)
  const sender = must(transport.open({ hops: 'single', remoteAddress: address, localAddress: source }))
  opened.push(sender)
  for (let i = 0; i < 1000; i++) sender.send(new TextEncoder().encode(`${i}`))
  expect(received).toEqual([])
  listener.drain()
  expect(received).toEqual(Array.from({ length: 1000 }, (_, i) => `${i} ${source}`))
})

describe('what the kernel refuses is said in words', () => {
  test('a port that another program has', async () => {
    const address = loopback()
    const other = createSocket('udp4')
    opened.push(other)
    other.bind({ address, port: bfdPorts.single })
    await once(other, 'listening')
    const events: BfdEvent[] = []
    const engine = createBfdEngine({
      clock: systemClock,
      random: Math.random,
      transport,
      listening: 'at-all',
      onEvent: (event) => events.push(event),
    })
    opened.push({ close: () => engine.stop() })
    engine.setSessions([sessionWith(loopback(), { localAddress: address })])
    expect(events).toEqual([
      {
        type: 'error',
        key: 'peer',
        reason: `binding ${address} UDP port 3784 for BFD: address already in use (EADDRINUSE): does a BFD daemon run on this host?`,
      },
    ])
  })

  test('a destination without a route', () => {
    const sender = must(transport.open({ hops: 'single', remoteAddress: ip('203.0.113.7'), localAddress: loopback() }))
    opened.push(sender)
    const error = sender.send(new Uint8Array(24))
    expect(error).toMatchObject({ code: 'bfd-socket/refused', reason: expect.stringMatching(/^sending BFD packets: /) })
  })

  test('an interface that is not there', () => {
    const path = { hops: 'single', remoteAddress: ip('fe80::1'), zone: 'nowhere0' } as const
    expect(transport.open(path)).toMatchObject({
      ok: false,
      error: { reason: expect.stringContaining('interface nowhere0') },
    })
  })

  test('more rules than the kernel takes', () => {
    const rules = Array.from({ length: 2000 }, (_, i) => ({ address: ip(`10.0.${i >> 8}.${i & 255}`), ttlMin: 250 }))
    const place = { hops: 'multi', family: 'IPv4', address: loopback() } as const
    const handlers = { received: () => {}, failed: () => {} }
    const refusal = { reason: expect.stringMatching(/^attaching the TTL filter/) }
    expect(transport.listen(place, rules, handlers)).toMatchObject({ ok: false, error: refusal })
    const listener = must(transport.listen(place, rules.slice(0, 800), handlers))
    opened.push(listener)
    expect(listener.setTtlRules(rules)).toMatchObject(refusal)
  })

  test('without the library there is no BFD, and the session says so', () => {
    const reason = 'BFD needs the library for socket options (koffi), which can not be loaded: gone'
    const without = createUdpTransport({
      random: Math.random,
      native: () => err({ code: 'bfd-socket/unavailable', reason }),
    })
    const engine = createBfdEngine({
      clock: systemClock,
      random: Math.random,
      transport: without,
      listening: 'at-all',
      onEvent: () => {},
    })
    opened.push({ close: () => engine.stop() })
    engine.setSessions([sessionWith(loopback())])
    expect(engine.status('peer')).toMatchObject({ state: 'Down', error: reason })
  })
})

test('two engines come up over the kernel and notice each other’s death', async () => {
  const [left, right] = [loopback(), loopback()]
  const fast = { transmitMs: 20, receiveMs: 20 }
  const create = () =>
    createBfdEngine({ clock: systemClock, random: Math.random, transport, listening: 'at-all', onEvent: () => {} })
  const engines = [create(), create()] as const
  opened.push(...engines.map((engine) => ({ close: () => engine.stop() })))
  engines[0].setSessions([sessionWith(right, { localAddress: left, ...fast })])
  engines[1].setSessions([sessionWith(left, { localAddress: right, ...fast })])
  const states = () => engines.map((engine) => engine.status('peer')?.state)
  await waitFor(() => states().join() === 'Up,Up', { what: 'both up' })
  engines[1].stop()
  await waitFor(() => engines[0].status('peer')?.state === 'Down', { what: 'down' })
})
