// The network in memory, on the system's clock, against the contract; and its own ways to misbehave.

import { expect, test } from 'vitest'
import { createMemoryNetwork } from '../../../src/bgp/speaker/memory-transport.ts'
import type { Connection } from '../../../src/bgp/speaker/transport.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'
import { createVirtualClock } from '../../../src/runtime/virtual-clock.ts'
import { ip } from './bench.ts'
import { transportContract, watch } from './transport-contract.ts'

transportContract('the network in memory', () => {
  const network = createMemoryNetwork({ clock: systemClock, latencyMs: 1 })
  const [a, b] = [ip('10.0.0.10'), ip('10.0.0.1')]
  return {
    dialler: { transport: network.host(a), address: a },
    listener: { transport: network.host(b), address: b },
    port: 179,
  }
})

function connected() {
  const clock = createVirtualClock()
  const network = createMemoryNetwork({ clock, latencyMs: 1 })
  const [a, b] = [ip('10.0.0.10'), ip('10.0.0.1')]
  const ends: Connection[] = []
  const listener = network.host(b).listen(179, [], {
    connection: (connection) => ends.push(connection),
    refused: () => {},
    listening: () => {},
    failed: () => {},
  })
  listener.setPeers([{ address: a }])
  network
    .host(a)
    .dial({ address: b, port: 179 }, { connected: (connection) => ends.push(connection), failed: () => {} })
  clock.advance(5)
  const [theirs, ours] = ends.map(watch)
  if (ours === undefined || theirs === undefined) throw new Error('no connection')
  clock.advance(1)
  return { clock, network, a, b, ours, theirs }
}

test('a partition swallows everything and tells nobody', () => {
  const { clock, network, a, b, ours, theirs } = connected()
  network.partition(a, b)
  ours.connection.write(new Uint8Array(10))
  ours.connection.abort()
  clock.advance(1000)
  expect([theirs.bytes(), theirs.closed()]).toEqual([0, undefined])
})

test('a stalled host takes nothing until it resumes', () => {
  const { clock, network, b, ours, theirs } = connected()
  network.stall(b)
  ours.connection.write(new Uint8Array(10))
  clock.advance(1000)
  expect([ours.connection.pendingBytes, ours.connection.acceptedBytes, theirs.bytes()]).toEqual([10, 0, 0])
  network.resume(b)
  clock.advance(2)
  expect([ours.connection.pendingBytes, ours.connection.acceptedBytes, theirs.bytes()]).toEqual([0, 10, 10])
})

test('a host that dies resets its connections', () => {
  const { clock, network, b, ours } = connected()
  network.reset(b)
  clock.advance(2)
  expect(ours.closed()).toBe('the router reset the TCP connection')
})
