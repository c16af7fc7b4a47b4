// A host on which a network plugin's BGP daemon has port 179: routers of ours that dial it reach our speaker, the plugin's own
// routers reach the plugin, and nothing stays behind. The plugin's daemon and both routers are BIRD.

import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { createNetwork } from '../../src/lab/netns/network.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { createRouter } from '../../src/lab/routers/create-router.ts'
import type { Router } from '../../src/lab/routers/router.ts'
import { hostPrefix, parsePrefix } from '../../src/net/prefix.ts'
import { keepPortRedirect, renderRedirect } from '../../src/nftables/port-redirect.ts'
import { removeNft } from '../../src/nftables/reconcile.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { asn, ip, routerId, routeTo } from '../bgp/speaker/bench.ts'
import { peerWith, rangeWith, startSpeaker } from '../interop/speaker.ts'
import { describeWith } from '../support/privileges.ts'

const leaf = peerWith({
  name: 'leaf',
  address: ip('10.77.0.1'),
  peerAsn: asn(65001),
  localAsn: asn(64512),
  passive: true,
})
const leaf6 = { ...leaf, name: 'leaf6', address: ip('fd77::1') }
const config = { listenPort: 1179, listenAddresses: [], peers: [leaf] }

const established = async (router: Router): Promise<number> =>
  (await router.sessions()).filter((session) => session.established).length

describe('who is redirected', () => {
  const rulesOf = (over: Partial<Parameters<typeof renderRedirect>[0]['config']>): readonly string[] =>
    (renderRedirect({ from: 179, config: { ...config, ...over } }) ?? '')
      .split('\n')
      .filter((line) => line.includes('dnat to'))
      .map((line) => line.trim())

  test.each<[string, Parameters<typeof rulesOf>[0], readonly string[]]>([
    [
      'a peer, at every address of the host',
      {},
      ['ip saddr 10.77.0.1/32 fib daddr type local tcp dport 179 counter dnat to :1179'],
    ],
    [
      'a peer with a source address, at that one',
      { peers: [{ ...leaf, sourceAddress: ip('10.77.0.10') }] },
      ['ip saddr 10.77.0.1/32 ip daddr { 10.77.0.10 } tcp dport 179 counter dnat to :1179'],
    ],
    [
      'peers of the listening addresses’ families, at these',
      { peers: [leaf, leaf6], listenAddresses: [ip('fd77::10')] },
      ['ip6 saddr fd77::1/128 ip6 daddr { fd77::10 } tcp dport 179 counter dnat to :1179'],
    ],
    [
      'a range of routers',
      { peers: [], ranges: [rangeWith({ range: must(parsePrefix('10.78.0.0/24')) }, leaf)] },
      ['ip saddr 10.78.0.0/24 fib daddr type local tcp dport 179 counter dnat to :1179'],
    ],
    ['nobody with a password, whose signature covers the port', { peers: [{ ...leaf, password: 'secret' }] }, []],
    ['nobody who is shut down', { peers: [{ ...leaf, shutdown: 'maintenance' }] }, []],
    ['nobody while nobody listens', { listenPort: 0 }, []],
    ['nobody when we have the port ourselves', { listenPort: 179 }, []],
  ])('%s', (_what, over, rules) => {
    expect(rulesOf(over)).toEqual(rules)
  })
})

describeWith({ netns: true, programs: ['bird', 'nft'] }, 'port 179 taken by another daemon', () => {
  test('our router gets to our speaker, others to the daemon, and the rule lives as long as the listener', async () => {
    await using network = await createNetwork({ prefix: 'bhprd' })
    const lan = await network.addBridge('lan')
    const [ours, theirs, host] = [
      await network.addNamespace('ours'),
      await network.addNamespace('theirs'),
      await network.addNamespace('host'),
    ]
    for (const [at, address] of [
      [ours, '10.77.0.1/24'],
      [theirs, '10.77.0.2/24'],
      [host, '10.77.0.10/24'],
    ] as const)
      await network.connect({ at, addresses: [address] }, { at: lan })
    const birdAt = (
      namespace: typeof ours,
      name: string,
      address: string,
      number: number,
      neighbor: string,
      neighborAsn: number,
    ) =>
      createRouter('bird', {
        ...{ name, namespace, directory: network.directory, asn: number, routerId: ip(address) },
        neighbors: [{ address: ip(neighbor), asn: neighborAsn, addPath: true }],
      })
    const plugin = birdAt(host, 'plugin', '10.77.0.10', 64700, '10.77.0.2', 65002)
    const [leafRouter, otherRouter] = [
      birdAt(ours, 'leaf', '10.77.0.1', 65001, '10.77.0.10', 64512),
      birdAt(theirs, 'other', '10.77.0.2', 65002, '10.77.0.10', 64700),
    ]
    for (const router of [plugin, leafRouter, otherRouter]) await router.start()
    const speaker = startSpeaker(
      host,
      { routerId: routerId('10.77.0.10'), listenPort: 1179, peers: [{ ...leaf, families: ['ipv4-unicast'] }] },
      [routeTo('203.0.113.10', '10.77.0.101')],
      { logPath: path.join(network.directory, 'speaker.log') },
    )
    const exec = (file: string, args: readonly string[], options?: { readonly input?: string }) =>
      host.exec([file, ...args], options)
    const tables = () => host.run(['nft', 'list', 'tables'])
    const redirect = keepPortRedirect({ exec, clock: systemClock, log: silentLog })

    // Without it the plugin's daemon answers, and refuses whom it does not know.
    expect(await established(leafRouter)).toBe(0)
    redirect.set({ from: 179, config })
    await speaker.waitForStatus('leaf', 'Established', ({ state }) => state === 'Established')
    await waitFor(async () => (await leafRouter.kernelNextHops(hostPrefix(ip('203.0.113.10')))).length === 1, {
      what: 'the route',
    })
    await waitFor(async () => (await established(otherRouter)) === 1, { what: 'the plugin’s own session' })

    await host.run(['nft', 'flush chain inet bellhop-bgp routers'])
    await waitFor(async () => (await host.run(['nft', 'list', 'table', 'inet', 'bellhop-bgp'])).includes('dnat to'), {
      what: 'the mending',
    })
    redirect.set(undefined)
    await waitFor(async () => !(await tables()).includes('bellhop'), { what: 'no redirection' })
    redirect.set({ from: 179, config })
    await waitFor(async () => (await tables()).includes('bellhop'), { what: 'the redirection' })
    await redirect.stop()
    expect(await tables()).not.toContain('bellhop')
    // One that a killed process left is found by the next, and by whoever cleans up the node.
    for (const remove of [
      () => keepPortRedirect({ exec, clock: systemClock, log: silentLog }).stop(),
      () => removeNft(exec),
    ]) {
      await host.run(['nft', '-f', '-'], { input: renderRedirect({ from: 179, config }) ?? '' })
      await remove()
      expect(await tables()).not.toContain('bellhop')
    }
    await speaker.stop('the test is over')
  })
})
