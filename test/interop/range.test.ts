// BIRD and FRR in one network, both dialling our speaker, which knows no more of them than the range they are in: with a password and
// GTSM, over both families, up to the number of sessions that the range allows.

import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { createNetwork, type Network } from '../../src/lab/netns/network.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { createRouter, programsOf } from '../../src/lab/routers/create-router.ts'
import type { NeighborOptions, Router } from '../../src/lab/routers/router.ts'
import { parseRouterId } from '../../src/net/asn.ts'
import { must } from '../../src/runtime/result.ts'
import { describeWith } from '../support/privileges.ts'
import { asn, ip, prefix, routeOver, vips } from './bench.ts'
import { rangeWith, startSpeaker } from './speaker.ts'

const [vip4, vip6] = vips
const routerAsn = 65001
const password = 'correct-horse'

describeWith({ netns: true, programs: [...programsOf('bird'), ...programsOf('frr')] }, 'routers in a range', () => {
  let network: Network | undefined
  afterEach(async () => {
    await network?.destroy()
    network = undefined
  })

  test('have a session each, with the key and the TTL of the range, and no more than it allows', async () => {
    network = await createNetwork({ prefix: 'bhrng' })
    const lan = await network.addBridge('lan')
    const on = (host: number) => [`10.9.0.${host}/24`, `fd09::${host}/64`] as const
    const speakerNamespace = await network.addNamespace('speaker')
    await network.connect({ at: speakerNamespace, addresses: on(10) }, { at: lan })
    const routerAt = async (kind: 'bird' | 'frr', name: string, host: number, to: readonly NeighborOptions[]) => {
      if (network === undefined) throw new Error('no network')
      const namespace = await network.addNamespace(name, { forwarding: true })
      await network.connect({ at: namespace, addresses: on(host) }, { at: lan })
      const router = createRouter(kind, {
        ...{ name, namespace, directory: network.directory, asn: routerAsn, routerId: ip(`10.9.0.${host}`) },
        neighbors: to,
      })
      await router.start()
      return router
    }
    const neighbor = { asn: 65010, addPath: true, password, ttlSecurityHops: 1 }
    const [over4, over6] = [
      { ...neighbor, address: ip('10.9.0.10') },
      { ...neighbor, address: ip('fd09::10') },
    ]
    const common = { address: ip('10.9.0.1'), peerAsn: asn(routerAsn), localAsn: asn(65010) }
    const shared = { password, ttlSecurityHops: 1 } as const
    const speaker = startSpeaker(
      speakerNamespace,
      {
        routerId: must(parseRouterId('10.9.0.10')),
        listenPort: 179,
        peers: [],
        ranges: [
          rangeWith({ ...shared, range: prefix('10.9.0.0/28'), maxSessions: 2 }, { ...common, name: 'four' }),
          rangeWith({ ...shared, range: prefix('fd09::/120') }, { ...common, name: 'six' }),
          // Without GTSM, so that the listening socket as a whole can ask nobody for a TTL.
          rangeWith({ range: prefix('10.9.0.128/25') }, { ...common, name: 'open' }),
        ],
      },
      vips.map((vip) => routeOver(vip, [101, 102])),
      { logPath: path.join(network.directory, 'speaker.log') },
    )
    const established = (peer: string) =>
      speaker.waitForStatus(peer, 'Established', ({ state }) => state === 'Established')
    const legs = async (router: Router, vip = vip4): Promise<void> =>
      void (await waitFor(async () => (await router.kernelNextHops(vip)).length === 2, {
        what: `two next hops of ${vip} at ${router.name}`,
        timeoutMs: 45_000,
      }))

    const bird = await routerAt('bird', 'bird', 1, [over4, over6])
    const frr = await routerAt('frr', 'frr', 2, [over4])
    for (const peer of ['four@10.9.0.1', 'four@10.9.0.2', 'six@fd09::1']) await established(peer)
    const told = await speaker.waitForStatus(
      'four@10.9.0.2',
      'told',
      ({ announcedPrefixes }) => announcedPrefixes === 2,
    )
    expect(told).toMatchObject({
      peerRouterId: '10.9.0.2',
      addPath: ['ipv4-unicast', 'ipv6-unicast'],
      dynamic: { range: 'four', remote: '10.9.0.2' },
    })
    await legs(bird)
    await legs(bird, vip6)
    await legs(frr)

    // One too many; and one that does not know the password gets no answer at all.
    await routerAt('bird', 'late', 3, [over4])
    await waitFor(() => (speaker.range('four')?.refused ?? 0) > 0, { what: 'a refusal' })
    expect(speaker.range('four')?.lastError).toBe(
      '10.9.0.3 was refused: four has 2 sessions, as many as it may have (maxSessions)',
    )
    const { password: _, ttlSecurityHops: __, ...plain } = over4
    await routerAt('bird', 'plain', 4, [plain])
    await routerAt('bird', 'other', 129, [plain])
    await established('open@10.9.0.129')
    expect(speaker.status('four@10.9.0.4')).toBeUndefined()

    // Who leaves makes room, and costs the others nothing.
    await frr.stop()
    await established('four@10.9.0.3')
    expect(speaker.status('four@10.9.0.2')).toBeUndefined()
    expect(speaker.status('four@10.9.0.1')).toMatchObject({ state: 'Established', establishedCount: 1 })
    await legs(bird)
  }, 120_000)
})
