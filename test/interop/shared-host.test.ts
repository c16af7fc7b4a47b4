// Two speakers on one host, as a controller and the agent beside it, or two installations by mistake: each with routers of its own they
// do not notice each other, BFD and all; with one router the second waits for the first, because the router would end the one's
// session for the other's. Seen in the routers: an FRR and a BIRD that restart gracefully, to whom the two would otherwise be one
// speaker that restarts for ever.

import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PeerConfig, SpeakerConfig } from '../../src/bgp/speaker/protocol.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { createNetwork, type Network } from '../../src/lab/netns/network.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { createRouter, programsOf } from '../../src/lab/routers/create-router.ts'
import type { Router } from '../../src/lab/routers/router.ts'
import { parseRouterId } from '../../src/net/asn.ts'
import { must } from '../../src/runtime/result.ts'
import { describeWith } from '../support/privileges.ts'
import { asn, ip, routeOver, routerAsn, vips } from './bench.ts'
import { peerWith, startSpeaker, type TestSpeaker } from './speaker.ts'

const timeout = 120_000
const host = ip('10.9.0.10')
const addresses = { frr: ip('10.9.0.1'), bird: ip('10.9.0.2') } as const
type Kind = keyof typeof addresses
const kinds = ['frr', 'bird'] as const
const routes = vips.map((vip) => routeOver(vip, [101, 102]))

describeWith({ netns: true, programs: kinds.flatMap(programsOf) }, 'Two speakers on one host', () => {
  let network: Network
  let namespace: Namespace
  const routers = new Map<Kind, Router>()
  const started = new Map<'one' | 'two', TestSpeaker>()
  const speaker = (name: 'one' | 'two'): TestSpeaker => {
    const found = started.get(name)
    if (found === undefined) throw new Error(`speaker ${name} was not started`)
    return found
  }

  const peerTo = (kind: Kind): PeerConfig =>
    peerWith({
      ...{ name: kind, address: addresses[kind], peerAsn: asn(routerAsn), localAsn: asn(65010) },
      bfd: { transmitMs: 300, receiveMs: 500, multiplier: 5 },
      gracefulRestart: { restartSeconds: 60, longLivedSeconds: 0 },
    })
  const configFor = (id: string, peers: readonly Kind[]): Omit<SpeakerConfig, 'listenAddresses'> => ({
    ...{ routerId: must(parseRouterId(id)), listenPort: 0 },
    peers: peers.map(peerTo),
  })
  const start = (name: 'one' | 'two', id: string, peers: readonly Kind[]): void => {
    const logPath = path.join(network.directory, `${name}.log`)
    started.set(name, startSpeaker(namespace, configFor(id, peers), routes, { logPath }))
  }
  const isUp = (one: TestSpeaker, kind: Kind) =>
    one.waitForStatus(kind, 'all up', ({ state, bfd }) => state === 'Established' && bfd === 'Up')
  const establishedAt = async (kind: Kind): Promise<boolean> =>
    (await routers.get(kind)?.sessions())?.every(({ established }) => established) === true

  beforeAll(async () => {
    network = await createNetwork({ prefix: 'bhsha' })
    const lan = await network.addBridge('lan')
    namespace = await network.addNamespace('host')
    await network.connect({ at: namespace, addresses: [`${host}/24`, 'fd09::10/64'] }, { at: lan })
    for (const [i, kind] of kinds.entries()) {
      const at = await network.addNamespace(kind, { forwarding: true })
      await network.connect({ at, addresses: [`${addresses[kind]}/24`, `fd09::${i + 1}/64`] }, { at: lan })
      const router = createRouter(kind, {
        ...{ name: kind, namespace: at, directory: network.directory, asn: routerAsn, routerId: addresses[kind] },
        neighbors: [{ address: host, asn: 65010, addPath: true, bfd: true }],
      })
      await router.start()
      routers.set(kind, router)
    }
  }, timeout)
  afterAll(() => network?.destroy())

  test('with a router each: both have their sessions, and BFD on the one well-known port', { timeout }, async () => {
    start('one', '10.9.0.10', ['frr'])
    start('two', '10.9.0.11', ['bird'])
    await isUp(speaker('one'), 'frr')
    await isUp(speaker('two'), 'bird')
    for (const kind of kinds) await waitFor(() => establishedAt(kind), { what: kind })
    expect(speaker('one').status('frr')?.lastError).toBeUndefined()
    expect(speaker('two').status('bird')?.lastError).toBeUndefined()
  })

  test('with the same routers: the second waits, says why, and disturbs nobody', { timeout }, async () => {
    speaker('one').send({
      type: 'configure',
      config: { ...configFor('10.9.0.10', ['frr', 'bird']), listenAddresses: [] },
    })
    speaker('two').send({
      type: 'configure',
      config: { ...configFor('10.9.0.11', ['frr', 'bird']), listenAddresses: [] },
    })
    const waits = async (one: TestSpeaker, kind: Kind): Promise<void> => {
      let attempts = 0
      let last: number | undefined
      // Several attempts, so that what one of them would break is broken by then.
      await one.waitForStatus(kind, 'waits', ({ lastError = '', lastErrorAtMs }) => {
        if (!lastError.startsWith('another program of this host has the session')) return false
        if (lastErrorAtMs !== last) attempts++
        last = lastErrorAtMs
        return attempts >= 3
      })
    }
    await Promise.all([waits(speaker('one'), 'bird'), waits(speaker('two'), 'frr')])
    expect(speaker('two').status('frr')).toMatchObject({
      lastError: `another program of this host has the session with ${addresses.frr} from ${host}, and a router has one with each address: a second one needs a source address of its own`,
      ...{ bfd: 'Down', bfdError: expect.stringContaining('another program'), establishedCount: 0 },
    })
    expect(speaker('one').status('frr')).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 1 })
    expect(speaker('two').status('bird')).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 1 })
    for (const kind of kinds) expect(await establishedAt(kind)).toBe(true)
  })

  test('when the first dies the second takes its place, and the first waits when it is back', { timeout }, async () => {
    await speaker('one').kill()
    await isUp(speaker('two'), 'frr')
    start('one', '10.9.0.10', ['frr'])
    await speaker('one').waitForStatus(
      'frr',
      'waits',
      ({ lastError }) => lastError?.includes('another program') === true,
    )
    expect(speaker('two').status('bird')).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount: 1 })
    await speaker('two').stop('it ends')
    await isUp(speaker('one'), 'frr')
  })
})
