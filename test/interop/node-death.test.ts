// What becomes of a node's leg at a router that is to keep it over a restart (RFC 4724) and watches it by BFD: when the node dies, and
// when nothing but its speaker does, which breaks no forwarding. The hold time is 90 s and the restart time 60 s, so that whatever
// happens here is BFD's doing, or not done at all.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import { prefixAddress } from '../../src/net/prefix.ts'
import { describeWith } from '../support/privileges.ts'
import { type Bench, createBench, routeOver, routerAsn, speakerAddress, vips } from './bench.ts'

type Kind = 'frr' | 'bird'

const leg = 10
const routes = vips.map((vip) => routeOver(vip, [leg]))
let bench: Bench | undefined
afterEach(async () => {
  await bench?.network.destroy()
  bench = undefined
})

/** A node that speaks for itself: its own address is the next hop. */
async function begin(kind: Kind, extraConfiguration = ''): Promise<Bench> {
  bench = await createBench({
    ...{ kind, session: 'ebgp', routes },
    neighbor: { bfd: true, addPath: false },
    router: { holdTimeSeconds: 90, extraConfiguration },
    peer: {
      bfd: { transmitMs: 300, receiveMs: 500, multiplier: 5 },
      gracefulRestart: { restartSeconds: 60, longLivedSeconds: 0 },
      ...{ addPath: 'disabled', holdTimeSeconds: 90, keepaliveSeconds: 30 },
    },
  })
  return bench
}

async function allUp(begun: Bench): Promise<void> {
  await begun.speaker().waitForStatus('tor', 'all up', ({ state, bfd }) => state === 'Established' && bfd === 'Up')
  await legIs(begun, 'there')
}

async function legIs(begun: Bench, what: 'there' | 'gone'): Promise<void> {
  for (const vip of vips) await begun.holds(vip, what === 'there' ? [leg] : [])
}

const hasLeg = async ({ router }: Bench): Promise<boolean> => {
  const hops = await Promise.all(vips.map((vip) => router.kernelNextHops(vip)))
  return hops.every((found) => found.length === 1)
}

const sessionEnds = ({ router }: Bench): Promise<unknown> =>
  waitFor(async () => (await router.sessions()).every(({ established }) => !established), {
    what: 'the router has no session',
    timeoutMs: 30_000,
  })

const bfdEnds = (kind: Kind, { network, routerNamespace }: Bench): Promise<unknown> => {
  const directory = path.join(network.directory, kind)
  const argv =
    kind === 'frr'
      ? ['vtysh', '--vty_socket', directory, '-c', 'show bfd peers json']
      : ['birdc', '-r', '-s', path.join(directory, 'bird.ctl'), 'show bfd sessions']
  return waitFor(async () => !/"status":"up"| Up /.test(await routerNamespace.run(argv)), {
    what: 'BFD down at the router',
    timeoutMs: 30_000,
  })
}

/** In the first half of a second of a BFD session FRR 8.4 goes down with it whatever it is told of the control plane. */
const frrHasHeard = ({ network, routerNamespace }: Bench, packets: number): Promise<unknown> => {
  const vtysh = ['vtysh', '--vty_socket', path.join(network.directory, 'frr'), '-c', 'show bfd peers counters json']
  const heard = async (): Promise<number> =>
    Number(/"control-packet-input":(\d+)/.exec(await routerNamespace.run(vtysh))?.[1] ?? 0)
  return waitFor(async () => (await heard()) >= packets, {
    what: `${packets} packets of BFD at FRR`,
    timeoutMs: 30_000,
  })
}

/** Changes of our VIPs' routes in the router's kernel from now on. */
async function watchRoutes({ routerNamespace }: Bench): Promise<() => readonly string[]> {
  const monitor = routerNamespace.spawn(['ip', 'monitor', 'route'])
  const seen: string[] = []
  monitor.onLine((line) => void seen.push(line))
  // It has begun once it has seen a route of ours.
  await monitor.waitUntil(
    async () => {
      await routerNamespace.ip(['route replace blackhole 192.0.2.1/32', 'route del blackhole 192.0.2.1/32'])
      return seen.some((line) => line.includes('192.0.2.1'))
    },
    { what: 'the monitor' },
  )
  const addresses = vips.map((vip) => `${prefixAddress(vip)} `)
  return () => seen.filter((line) => addresses.some((address) => line.includes(address)))
}

/** Power and link are gone: nobody says goodbye. */
const die = async ({ speakerNamespace }: Bench): Promise<unknown> => await speakerNamespace.ip(['link set eth0 down'])

for (const kind of ['frr', 'bird'] as const)
  describeWith({ netns: true, programs: programsOf(kind) }, `A node and ${kind}`, () => {
    test('a node that dies is no leg any more, graceful restart or not', async () => {
      const begun = await begin(kind)
      await allUp(begun)
      await die(begun)
      await legIs(begun, 'gone')
    })
  })

describeWith({ netns: true, programs: programsOf('frr') }, 'A killed speaker and frr', () => {
  test('is waited for, with its leg in place, because its connection ended before BFD did', async () => {
    const begun = await begin('frr')
    await allUp(begun)
    const changes = await watchRoutes(begun)
    await begun.speaker().kill()
    await Promise.all([sessionEnds(begun), bfdEnds('frr', begun)])
    begun.restartSpeaker(routes)
    await allUp(begun)
    expect(changes()).toEqual([])
  })

  // RFC 5882 section 4.3.2: the C bit says that BFD does not share the fate of BGP. Ours does, and says so.
  test('with check-control-plane-failure FRR does not listen to our BFD at all, and a dead node stays', async () => {
    const begun = await begin(
      'frr',
      `router bgp ${routerAsn}\n neighbor ${speakerAddress.ipv4} bfd check-control-plane-failure\nexit`,
    )
    await allUp(begun)
    await frrHasHeard(begun, 10)
    await die(begun)
    await bfdEnds('frr', begun)
    expect((await begun.router.sessions()).map(({ established }) => established)).toEqual([true])
    expect(await hasLeg(begun)).toBe(true)
  })
})

describeWith({ netns: true, programs: programsOf('bird') }, 'A killed speaker and bird', () => {
  test('with "bfd on" its leg goes, and comes back with it', async () => {
    const begun = await begin('bird')
    await allUp(begun)
    await begun.speaker().kill()
    await legIs(begun, 'gone')
    begun.restartSpeaker(routes)
    await allUp(begun)
  })

  test('with "bfd graceful" its leg is kept, as is that of a dead node', async () => {
    const begun = await begin('bird')
    const directory = path.join(begun.network.directory, 'bird')
    const file = path.join(directory, 'bird.conf')
    const text = readFileSync(file, 'utf8')
    expect(text).toContain('bfd on;')
    writeFileSync(file, text.replaceAll('bfd on;', 'bfd graceful;'))
    await begun.routerNamespace.run(['birdc', '-s', path.join(directory, 'bird.ctl'), 'configure'])
    await allUp(begun)
    const changes = await watchRoutes(begun)
    await begun.speaker().kill()
    await Promise.all([sessionEnds(begun), bfdEnds('bird', begun)])
    begun.restartSpeaker(routes)
    await allUp(begun)
    expect(changes()).toEqual([])
    await die(begun)
    await Promise.all([sessionEnds(begun), bfdEnds('bird', begun)])
    expect(await hasLeg(begun)).toBe(true)
  })
})
