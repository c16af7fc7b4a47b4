import { createBfdNetwork } from '../../src/bfd/memory-transport.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { ip } from './bench.ts'
import { transportContract } from './transport-contract.ts'

transportContract('the network in memory', () => {
  const [sender, receiver, foreign] = [ip('10.0.0.1'), ip('10.0.0.2'), ip('192.0.2.77')]
  const network = createBfdNetwork({ clock: systemClock, latencyMs: () => 1 })
  const { transport } = network.host(sender, receiver)
  return {
    transport,
    beside: network.host(sender, receiver).transport,
    third: ip('10.0.0.3'),
    sender,
    receiver,
    foreign,
    sendWithTtl: (ttl, hops, text) =>
      network.inject({ from: sender, to: receiver, hops, ttl, bytes: new TextEncoder().encode(text) }),
  }
})
