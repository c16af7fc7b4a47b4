// What the FORWARD rules do to packets, in a real kernel, on both back ends and in both families.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addressesOnly } from '../../src/datapath/desired.ts'
import { keepForwardRules } from '../../src/datapath/keeper.ts'
import { type Backend, type BackendName, detectBackend } from '../../src/iptables/backend.ts'
import { families, reconcile, removeAll } from '../../src/iptables/reconcile.ts'
import { policyChains } from '../../src/iptables/render.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import type { Ip } from '../../src/net/ip.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import {
  clientAddresses,
  createNodeNetwork,
  ip,
  type NodeNetwork,
  other4,
  other6,
  podAddresses,
  vip4,
  vip6,
} from './node-network.ts'

const vips = [vip4, vip6]
const manyVips: readonly Ip[] = [
  ...Array.from({ length: 120 }, (_, i) => ip(`198.18.${i}.${(i * 37) % 251}`)),
  ...Array.from({ length: 120 }, (_, i) => ip(`2001:db8:2:${(i * 131).toString(16)}::${i + 1}`)),
  ...vips,
]

for (const name of ['nft', 'legacy'] as const)
  describeWith(
    { netns: true, programs: [`iptables-${name}-restore`, `ip6tables-${name}-restore`, 'curl'] },
    `FORWARD with policy DROP, back end ${name}`,
    () => suite(name),
  )

function suite(name: BackendName): void {
  const backend: Backend = { name, infix: `-${name}`, because: 'test' }
  let network: NodeNetwork
  let untouched: string

  const apply = async (wanted: readonly Ip[], stayBehind = policyChains): Promise<void> => {
    for (const family of families) {
      const own = wanted.filter((vip) => vip.includes(':') === (family === 'IPv6'))
      must(await reconcile({ backend, family, vips: own, stayBehind }, { exec: network.exec, clock: systemClock }))
    }
  }
  const reached = (address: string): Promise<string | undefined> => network.request(network.client, address, 80)
  const foreign = async (): Promise<string> =>
    (await network.save(name))
      .split('\n')
      .filter((line) => !line.includes('BELLHOP-'))
      .join('\n')

  beforeAll(async () => {
    network = await createNodeNetwork(name)
    untouched = await network.save(name)
  })
  afterAll(() => network?.[Symbol.asyncDispose]())

  test('the back end is the one that holds the chains of kube-proxy', async () => {
    expect(must(await detectBackend(network.exec)).name).toBe(name)
  })

  describe('without our rules', () => {
    test.each(vips)('a request to %s is dropped', async (vip) => {
      expect(await reached(vip)).toBeUndefined()
    })
  })

  describe('with our rules', () => {
    beforeAll(() => apply(vips))

    test.each([
      [vip4, clientAddresses[0]],
      [vip6, clientAddresses[1]],
    ])('a request to %s gets through, both directions, with the source address kept', async (vip, client) => {
      expect(await reached(vip)).toBe(client)
    })

    test.each([other4, other6])('a translated address that is not a VIP of ours stays closed: %s', async (address) => {
      expect(await reached(address)).toBeUndefined()
    })

    test.each(podAddresses)('the pod itself stays closed from outside: %s', async (address) => {
      expect(await network.request(network.client, address, 8080)).toBeUndefined()
    })

    test('the pod can not open connections to the outside', async () => {
      const dial = await network.pod.exec(['curl', '-s', '--connect-timeout', '0.7', 'http://10.9.1.1:80/'])
      expect(dial.status).toBe(28)
    })

    test('a packet for a VIP that nobody translated is not sent on its way', async () => {
      const before = await droppedByPolicy(network, name)
      await network.request(network.client, vip4, 81)
      expect(await droppedByPolicy(network, name)).toBeGreaterThan(before)
    })

    test('rules of others are as they were, byte for byte', async () => {
      expect(await foreign()).toBe(untouched)
    })

    test('a second run changes nothing', async () => {
      const again = must(
        await reconcile(
          { backend, family: 'IPv4', vips: [vip4], stayBehind: policyChains },
          { exec: network.exec, clock: systemClock },
        ),
      )
      expect(again.changed).toBe(false)
    })

    test('a VIP that is released is closed again while the other stays open', async () => {
      await apply([vip6])
      expect([await reached(vip4), await reached(vip6)]).toEqual([undefined, clientAddresses[1]])
      expect(await network.node.run([`iptables-${name}-save`])).not.toContain('BELLHOP')
      await apply(vips)
      expect(await reached(vip4)).toBe(clientAddresses[0])
    })
  })

  describe('with hundreds of scattered VIPs, a tree of chains', () => {
    test('those of the set are open and others are closed', async () => {
      await apply(manyVips)
      expect(await reached(vip4)).toBe(clientAddresses[0])
      expect(await reached(vip6)).toBe(clientAddresses[1])
      expect(await reached(other4)).toBeUndefined()
      expect(await reached(other6)).toBeUndefined()
      await apply(vips)
      expect((await network.save(name)).match(/^:BELLHOP-/gm)).toHaveLength(2)
    })

    test('what the kernel gives back is what was put there', async () => {
      await apply(manyVips)
      const again = must(
        await reconcile(
          {
            backend,
            family: 'IPv6',
            vips: manyVips.filter((vip) => vip.includes(':')),
            stayBehind: policyChains,
          },
          { exec: network.exec, clock: systemClock },
        ),
      )
      expect(again.changed).toBe(false)
      await apply(vips)
    })
  })

  describe('a network policy engine in FORWARD', () => {
    test('decides before us, and cleaning it up leaves us first again', async () => {
      const policy = '*filter\n:cali-FORWARD - [0:0]\n-I FORWARD 1 -j cali-FORWARD\n-A cali-FORWARD -j DROP\nCOMMIT\n'
      await network.node.run([`iptables-${name}-restore`, '--noflush'], { input: policy })
      await apply(vips)
      expect(await reached(vip4)).toBeUndefined()
      await apply(vips, [])
      expect(await reached(vip4)).toBe(clientAddresses[0])
      const removal = '*filter\n-D FORWARD -j cali-FORWARD\n-F cali-FORWARD\n-X cali-FORWARD\nCOMMIT\n'
      await network.node.run([`iptables-${name}-restore`, '--noflush'], { input: removal })
      await apply(vips)
      expect(await foreign()).toBe(untouched)
    })
  })

  describe('interference by others', () => {
    const drop = '-m comment --comment blocker -j DROP'

    test.each([
      ['flushing FORWARD', ['-F FORWARD'], 'jump-missing'],
      ['pushing a rule in front', [`-I FORWARD 1 ${drop}`], 'jump-misplaced'],
      ['emptying our chain', ['-F BELLHOP-FORWARD'], 'chain-altered'],
      ['deleting our chain', ['-F FORWARD', '-F BELLHOP-FORWARD', '-X BELLHOP-FORWARD'], 'chain-missing'],
      ['adding to our chain', ['-I BELLHOP-FORWARD 1 -j RETURN'], 'chain-altered'],
      ['doubling our jump', ['-A FORWARD -j BELLHOP-FORWARD'], 'jump-duplicated'],
    ] as const)('%s is mended and counted', async (_what, commands, kind) => {
      const stop = new AbortController()
      const keeper = keepForwardRules(
        { backend: name, checkIntervalMs: 100 },
        { exec: network.exec, clock: systemClock, log: silentLog, signal: stop.signal },
      )
      keeper.setVips(addressesOnly(vips))
      await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: 'the first sync' })
      try {
        const input = `*filter\n${commands.join('\n')}\nCOMMIT\n`
        await network.node.run([`iptables-${name}-restore`, '--noflush'], { input })
        await waitFor(() => keeper.facts().repairs[kind] > 0, { what: `a repair of ${kind}` })
        expect(await reached(vip4)).toBe(clientAddresses[0])
      } finally {
        stop.abort()
        await keeper.ended
        await network.node.run([`iptables-${name}-restore`], { input: ipv4Of(untouched) })
        await apply(vips)
      }
      expect(await foreign()).toBe(untouched)
    })

    test('nothing is touched before the desired set is known, and the rules stay after the end', async () => {
      await apply(vips)
      const before = await network.save(name)
      const stop = new AbortController()
      const keeper = keepForwardRules(
        { backend: name, checkIntervalMs: 50 },
        { exec: network.exec, clock: systemClock, log: silentLog, signal: stop.signal },
      )
      stop.abort()
      await keeper.ended
      expect(keeper.facts()).toMatchObject({ applies: 0, errors: 0 })
      expect(await network.save(name)).toBe(before)
    })

    test('somebody who changes the table at the same time stops neither of us', async () => {
      const rounds = Array.from({ length: 15 }, (_, i) => i)
      const other = async (): Promise<void> => {
        for (const i of rounds) {
          const input = `*filter\n-A SOMEBODY-ELSE -p tcp --dport ${5000 + i} -j DROP\nCOMMIT\n`
          await network.node.run([`iptables-${name}-restore`, '--noflush', '-w', '5'], { input })
        }
      }
      const we = async (): Promise<void> => {
        for (const i of rounds) await apply([...vips, ip(`198.18.0.${i + 1}`)])
      }
      await Promise.all([other(), we()])
      const saved = await network.save(name)
      expect(saved.match(/SOMEBODY-ELSE -p tcp -m tcp --dport 50\d\d /g)).toHaveLength(rounds.length)
      expect(saved).toContain('--ctorigdst 198.18.0.15 ')
      const input = `*filter\n${rounds.map((i) => `-D SOMEBODY-ELSE -p tcp --dport ${5000 + i} -j DROP`).join('\n')}\nCOMMIT\n`
      await network.node.run([`iptables-${name}-restore`, '--noflush', '-w', '5'], { input })
    })
  })

  describe('cleanup', () => {
    test('leaves the tables as they were before us, and finds nothing a second time', async () => {
      await apply(manyVips)
      const removed = must(await removeAll({ exec: network.exec, clock: systemClock }))
      expect(removed.map(({ backend: from, family }) => [from, family])).toEqual([
        [name, 'IPv4'],
        [name, 'IPv6'],
      ])
      expect(await network.save(name)).toBe(untouched)
      expect(must(await removeAll({ exec: network.exec, clock: systemClock }))).toEqual([])
    })
  })
}

// How many packets met FORWARD's policy.
async function droppedByPolicy(network: NodeNetwork, name: BackendName): Promise<number> {
  const saved = await network.node.run([`iptables-${name}-save`, '-c', '-t', 'filter'])
  return Number(/^:FORWARD DROP \[(\d+):/m.exec(saved)?.[1])
}

// The first half of a snapshot: the IPv4 tables.
const ipv4Of = (saved: string): string => saved.slice(0, secondHalf(saved))

function secondHalf(saved: string): number {
  const at = saved.indexOf('*filter', saved.indexOf('*filter') + 1)
  const nat = saved.indexOf('*nat', saved.indexOf('*nat') + 1)
  return Math.min(at < 0 ? saved.length : at, nat < 0 ? saved.length : nat)
}
