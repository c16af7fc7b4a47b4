// BFD between our speaker and FRR's bfdd and BIRD: sessions of every kind come up, either side's silence ends BGP within the
// detection time, and what is done on purpose does not. The hold time is 90 s throughout, so that nothing else can be the cause.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { PeerConfig } from '../../src/bgp/speaker/protocol.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import { parseRouterId } from '../../src/net/asn.ts'
import { must } from '../../src/runtime/result.ts'
import { describeWith } from '../support/privileges.ts'
import { asn, type Bench, type BenchOptions, createBench, ip, routeOver, routerAsn, vips } from './bench.ts'
import type { BfdName } from './features/bfd.ts'
import { peerWith } from './speaker.ts'

type Kind = 'frr' | 'bird'

/** Either side notices silence after 1.5 s, whatever the routers' drivers say: a busy machine is silent for 0.3 s now and then. */
const timers = { transmitMs: 300, receiveMs: 500, multiplier: 5 }
const holdTimeSeconds = 90
/** Generous for a busy machine, and far from the hold time. */
const soonMs = 8000

/** What a router says of its one BFD session. */
interface RouterBfd {
  readonly up: boolean
  readonly text: string
}

async function bfdOf(kind: Kind, bench: Bench): Promise<RouterBfd> {
  const directory = path.join(bench.network.directory, kind)
  const argv =
    kind === 'frr'
      ? ['vtysh', '--vty_socket', directory, '-c', 'show bfd peers json']
      : ['birdc', '-r', '-s', path.join(directory, 'bird.ctl'), 'show bfd sessions']
  const text = await bench.routerNamespace.run(argv)
  return { text, up: kind === 'frr' ? text.includes('"status":"up"') : / Up /.test(text) }
}

async function vtysh(bench: Bench, ...commands: readonly string[]): Promise<string> {
  const directory = path.join(bench.network.directory, 'frr')
  return await bench.routerNamespace.run([
    ...['vtysh', '--vty_socket', directory, '--config_dir', directory],
    ...commands.flatMap((command) => ['-c', command]),
  ])
}

const profile = (...settings: readonly string[]): readonly string[] => [
  ...['configure terminal', 'bfd', 'profile other'],
  ...settings,
  ...['exit', 'exit'],
]

/** Has FRR take the settings of its session with us from a profile: those of `neighbor ... bfd` it never changes afterwards. */
async function useProfile(begun: Bench, ...settings: readonly string[]): Promise<void> {
  const neighbor = `neighbor ${begun.speakerAt} bfd`
  await vtysh(begun, ...profile(...settings), `router bgp ${routerAsn}`, `no ${neighbor}`, `${neighbor} profile other`)
}

const numberIn = (json: string, key: string): number => Number(new RegExp(`"${key}":(\\d+)`).exec(json)?.[1])

/** Drops everything that comes or goes, without anybody's link going down. */
async function cut(namespace: Namespace): Promise<void> {
  for (const iptables of ['iptables', 'ip6tables'])
    for (const chain of ['INPUT', 'OUTPUT']) await namespace.run([iptables, '-I', chain, '-j', 'DROP'])
}

async function mend(namespace: Namespace): Promise<void> {
  for (const iptables of ['iptables', 'ip6tables']) await namespace.run([iptables, '-F'])
}

const routes = vips.map((vip) => routeOver(vip, [101, 102]))
let bench: Bench | undefined
afterEach(async () => {
  await bench?.network.destroy()
  bench = undefined
})

async function begin(kind: Kind, options: Partial<BenchOptions> = {}): Promise<Bench> {
  bench = await createBench({
    kind,
    session: 'ebgp',
    routes,
    ...options,
    router: { holdTimeSeconds },
    neighbor: { bfd: true, ...options.neighbor },
    peer: { bfd: timers, holdTimeSeconds, keepaliveSeconds: 30, ...options.peer },
  })
  return bench
}

/** Waits for BGP and for BFD on both sides. */
async function allUp(kind: Kind, begun: Bench): Promise<void> {
  await begun.speaker().waitForStatus('tor', 'all up', ({ state, bfd }) => state === 'Established' && bfd === 'Up')
  let seen = ''
  await waitFor(
    async () => {
      const { up, text } = await bfdOf(kind, begun)
      seen = text
      return up
    },
    { what: 'BFD up at the router', evidence: () => seen },
  )
}

const establishedAt = async ({ router }: Bench): Promise<boolean> =>
  (await router.sessions()).some(({ established }) => established)

/** The peer as the bench has configured it, with changes. */
function reconfigure(begun: Bench, changes: Partial<PeerConfig>): void {
  const peer = peerWith({
    ...{ name: 'tor', address: ip('10.9.0.1'), peerAsn: asn(routerAsn), localAsn: asn(65010) },
    ...{ holdTimeSeconds, keepaliveSeconds: 30 },
    ...changes,
  })
  const config = { routerId: must(parseRouterId('10.9.0.10')), listenPort: 0, listenAddresses: [], peers: [peer] }
  begun.speaker().send({ type: 'configure', config })
}

/** A test that is a cell of docs/interop.md. */
const cell = (kind: Kind, name: BfdName, run: () => Promise<void>): void =>
  test(name, async ({ task }) => {
    task.meta.interop = { kind, feature: name }
    await run()
  })

// FRR's bfdd knows no authentication.
describeWith(
  { netns: true, programs: [...programsOf('bird'), 'iptables', 'ip6tables'] },
  'Authenticated BFD with bird',
  () => {
    const password = 'twenty octets of key'
    test.each(['keyed-sha1', 'meticulous-keyed-sha1'] as const)(
      '%s comes up and stays, and a key that changes on one side ends it',
      async (type) => {
        const key = { type, keyId: 7, password }
        const begun = await begin('bird', {
          neighbor: { bfdAuthentication: key },
          peer: { bfd: { ...timers, authentication: key } },
        })
        await allUp('bird', begun)
        for (const vip of vips) await begun.holds(vip, [101, 102])
        expect(begun.speaker().status('tor')).toMatchObject({ bfd: 'Up', establishedCount: 1 })
        reconfigure(begun, { bfd: { ...timers, authentication: { ...key, password: 'another key' } } })
        await begun.speaker().waitForStatus('tor', 'down', ({ bfd }) => bfd === 'Down', soonMs)
        await waitFor(async () => !(await bfdOf('bird', begun)).up, {
          what: 'BFD down at the router',
          timeoutMs: soonMs,
        })
        reconfigure(begun, { bfd: { ...timers, authentication: key } })
        await allUp('bird', begun)
      },
    )
  },
)

for (const kind of ['frr', 'bird'] as const)
  describeWith({ netns: true, programs: [...programsOf(kind), 'iptables', 'ip6tables'] }, `BFD with ${kind}`, () => {
    for (const [name, options] of [
      ['BFD comes up over IPv4', {}],
      ['BFD comes up over IPv6', { transport: 'ipv6' }],
      ['BFD comes up between link-local addresses', { transport: 'link-local' }],
      ['BFD comes up on iBGP to a router on the same network', { session: 'ibgp', peer: { ttl: 255 } }],
      ['BFD comes up from a source address of our choice', { peer: { sourceAddress: ip('10.9.0.10') } }],
      [
        'BFD comes up next to GTSM',
        { neighbor: { ttlSecurityHops: 1 }, peer: { ttlSecurityHops: 1 }, listenPort: 179 },
      ],
    ] satisfies readonly (readonly [BfdName, Partial<BenchOptions>])[])
      cell(kind, name, async () => {
        const begun = await begin(kind, options)
        await allUp(kind, begun)
        // FRR 8.4 makes its BFD session anew when BGP tells it our address: a BFD that was faster would have cost the BGP session.
        expect(begun.speaker().status('tor')).toMatchObject({ bfd: 'Up', establishedCount: 1 })
        expect(begun.speaker().status('tor')).not.toHaveProperty('bfdError')
      })

    cell(
      kind,
      'BFD: a stopped process of ours loses its BGP session within the detection time, and gets it back',
      async () => {
        const begun = await begin(kind)
        await allUp(kind, begun)
        await begun.signal(begun.speakerNamespace, 'SIGSTOP')
        const start = performance.now()
        await waitFor(async () => !(await establishedAt(begun)), { what: 'the router drops BGP', timeoutMs: soonMs })
        expect(performance.now() - start).toBeLessThan(soonMs)
        await begun.signal(begun.speakerNamespace, 'SIGCONT')
        await allUp(kind, begun)
        for (const vip of vips) await begun.holds(vip, [101, 102])
      },
    )

    cell(kind, 'BFD: a killed process of ours takes its routes along at once', async () => {
      const begun = await begin(kind)
      await allUp(kind, begun)
      for (const vip of vips) await begun.holds(vip, [101, 102])
      await cut(begun.routerNamespace)
      await begun.speaker().kill()
      await waitFor(async () => !(await establishedAt(begun)), { what: 'the router drops BGP', timeoutMs: soonMs })
      for (const vip of vips) await begun.holds(vip, [])
    })

    cell(kind, 'BFD: a stopped router loses its BGP session, and we say why', async () => {
      const begun = await begin(kind)
      await allUp(kind, begun)
      await begun.signal(begun.routerNamespace, 'SIGSTOP')
      const status = await begun.speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established', soonMs)
      expect(status).toMatchObject({ bfd: 'Down', lastError: expect.stringContaining('BFD down') })
      expect(status.lastError).toContain('control detection time expired')
      await begun.signal(begun.routerNamespace, 'SIGCONT')
      await allUp(kind, begun)
      expect(begun.speaker().status('tor')?.establishedCount).toBe(2)
    })

    cell(kind, 'BFD: a path that is cut in silence ends the session on both sides, and mends', async () => {
      const begun = await begin(kind)
      await allUp(kind, begun)
      await cut(begun.routerNamespace)
      await begun.speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established', soonMs)
      await waitFor(async () => !(await establishedAt(begun)), { what: 'the router drops BGP', timeoutMs: soonMs })
      await mend(begun.routerNamespace)
      await allUp(kind, begun)
    })

    cell(kind, 'BFD: our new timers reach the router by a poll sequence, and nothing goes down', async () => {
      const begun = await begin(kind)
      await allUp(kind, begun)
      reconfigure(begun, { bfd: { transmitMs: 400, receiveMs: 500, multiplier: 4 } })
      await waitFor(
        async () => {
          const { text } = await bfdOf(kind, begun)
          // BIRD shows its own interval and the detection time; FRR what the peer said.
          return kind === 'frr'
            ? numberIn(text, 'remote-transmit-interval') === 400 && numberIn(text, 'remote-receive-interval') === 500
            : /0\.500\s+1\.600/.test(text)
        },
        { what: 'the new timers', evidence: () => '' },
      )
      expect(begun.speaker().status('tor')).toMatchObject({ bfd: 'Up', establishedCount: 1 })
      expect(await establishedAt(begun)).toBe(true)
    })

    cell(kind, 'BFD: without an answer from the router BGP comes up and stays', async () => {
      const begun = await begin(kind, { neighbor: { bfd: false } })
      await begun.established()
      for (const vip of vips) await begun.holds(vip, [101, 102])
      const status = await begun.speaker().waitForStatus('tor', 'BFD late', ({ bfd }) => bfd === 'Down')
      expect(status).toMatchObject({ state: 'Established', establishedCount: 1 })
    })

    // RFC 5882 section 3.2 wants AdminDown to leave BGP alone; FRR 8.4 and BIRD 2.0 both answer it with Cease/10.
    cell(
      kind,
      'BFD that is switched off on our side costs at most the one reset that the router makes of it',
      async () => {
        const begun = await begin(kind)
        await allUp(kind, begun)
        reconfigure(begun, {})
        await begun.speaker().waitForStatus('tor', 'no BFD', ({ bfd }) => bfd === undefined)
        await waitFor(async () => !(await bfdOf(kind, begun)).up, { what: 'BFD down at the router' })
        await begun
          .speaker()
          .waitForStatus(
            'tor',
            'back',
            ({ state, establishedCount }) => state === 'Established' && establishedCount === 2,
          )
        for (const vip of vips) await begun.holds(vip, [101, 102])
        expect(await establishedAt(begun)).toBe(true)
        expect(begun.speaker().status('tor')?.lastError).toMatch(/^the router closed the session: cease/)
      },
    )

    cell(kind, 'BFD: a peer that is shut down says AdminDown', async () => {
      const begun = await begin(kind)
      await allUp(kind, begun)
      reconfigure(begun, { bfd: timers, shutdown: 'maintenance' })
      const status = await begun.speaker().waitForStatus('tor', 'AdminDown', ({ bfd }) => bfd === 'AdminDown')
      expect(status.state).not.toBe('Established')
      reconfigure(begun, { bfd: timers })
      await allUp(kind, begun)
    })
  })

describeWith({ netns: true, programs: [...programsOf('bird'), 'iptables'] }, 'BFD with bird alone', () => {
  /** Has BIRD read its configuration again, with changes. */
  const changeBird = async (begun: Bench, change: (text: string) => string): Promise<void> => {
    const directory = path.join(begun.network.directory, 'bird')
    const file = path.join(directory, 'bird.conf')
    writeFileSync(file, change(readFileSync(file, 'utf8')))
    await begun.routerNamespace.run(['birdc', '-s', path.join(directory, 'bird.ctl'), 'configure'])
  }
  const multihop = (text: string): string =>
    `${text.replace('local as', 'local 10.9.0.1 as').replace('hold time', 'bfd on; hold time')}
     protocol bfd { multihop { interval 100 ms; multiplier 3; }; }`

  // BIRD sends them with an ordinary TTL.
  cell('bird', 'BFD comes up over several hops', async () => {
    const routed = { transport: 'routed', neighbor: { bfd: false, multihop: 5 }, peer: { ttl: 5 } } as const
    const begun = await begin('bird', routed)
    await changeBird(begun, multihop)
    await allUp('bird', begun)
    await cut(begun.routerNamespace)
    await begun.speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established', soonMs)
  })

  test('on iBGP as BIRD has it by default, which is several hops even on one link', async () => {
    const begun = await begin('bird', { session: 'ibgp', neighbor: { bfd: false }, peer: { ttl: 255 } })
    await changeBird(begun, (text) => multihop(text.replace('direct;', 'multihop;')))
    await allUp('bird', begun)
  })
})

describeWith({ netns: true, programs: [...programsOf('frr'), 'iptables', 'tcpdump'] }, 'BFD with frr alone', () => {
  cell('frr', 'BFD comes up over several hops', async () => {
    const begun = await begin('frr', { transport: 'routed', neighbor: { multihop: 5 }, peer: { ttl: 5 } })
    await allUp('frr', begun)
    await cut(begun.routerNamespace)
    await begun.speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established', soonMs)
  })

  test('timers that the router changes are taken, and nothing goes down', async () => {
    const begun = await begin('frr')
    await allUp('frr', begun)
    await useProfile(begun, 'detect-multiplier 3', 'receive-interval 100', 'transmit-interval 100')
    await allUp('frr', begun)
    const { establishedCount } = begun.speaker().status('tor') ?? {}
    const told = begun.speakerNamespace.spawn([
      'tcpdump',
      '-l',
      '-n',
      '-v',
      '-i',
      'eth0',
      'src',
      '10.9.0.1',
      'and',
      'udp',
    ])
    await vtysh(begun, ...profile('detect-multiplier 5', 'receive-interval 600', 'transmit-interval 700'))
    let seen = ''
    await waitFor(
      async () => {
        seen = (await bfdOf('frr', begun)).text
        return numberIn(seen, 'transmit-interval') === 700 && numberIn(seen, 'receive-interval') === 600
      },
      { what: 'the router has the timers', evidence: () => seen },
    )
    expect(begun.speaker().status('tor')).toMatchObject({ state: 'Established', bfd: 'Up', establishedCount })
    // And they are in force from the packet on that says so: silence is now noticed after 5 x 700 ms, not after 1500.
    await told.waitUntil(() => /Desired min Tx Interval:\s+700 ms/.test(told.output()), { what: 'a packet with them' })
    const start = performance.now()
    await cut(begun.routerNamespace)
    await begun.speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established', soonMs)
    expect(performance.now() - start).toBeGreaterThan(2000)
    await told.stop()
  })

  test('BFD that the router shuts down on purpose leaves BGP alone', async () => {
    const begun = await begin('frr')
    await allUp('frr', begun)
    await vtysh(
      begun,
      ...profile('shutdown'),
      ...[`router bgp ${routerAsn}`, `neighbor ${begun.speakerAt} bfd profile other`],
    )
    await begun.speaker().waitForStatus('tor', 'BFD down', ({ bfd }) => bfd === 'Down')
    for (const vip of vips) await begun.holds(vip, [101, 102])
    expect(begun.speaker().status('tor')).toMatchObject({ state: 'Established', establishedCount: 1 })
  })

  test.each<['ipv4' | 'ipv6', string]>([
    ['ipv4', '10.9.0.10'],
    ['ipv6', 'fd09::10'],
  ])(
    'a forged packet over %s that a router has forwarded changes nothing; one from the link does',
    async (transport, to) => {
      const begun = await begin('frr', { transport })
      await allUp('frr', begun)
      // "Down", with the discriminators of the session.
      const { text } = await bfdOf('frr', begun)
      const packet = Buffer.from('20400318000000000000000000' + '000000' + '000f4240000f424000000000', 'hex')
      packet.writeUInt32BE(numberIn(text, 'id'), 4)
      packet.writeUInt32BE(numberIn(text, 'remote-id'), 8)
      const forge = (ttl: number): Promise<string> =>
        begun.routerNamespace.run([
          process.execPath,
          '-e',
          `const s = require('node:dgram').createSocket('${transport === 'ipv4' ? 'udp4' : 'udp6'}')
         s.bind(0, () => { s.setTTL(${ttl}); s.send(Buffer.from('${packet.toString('hex')}', 'hex'), 3784, '${to}', () => s.close()) })`,
        ])
      await forge(254)
      await forge(1)
      await forge(64)
      const { changes } = begun.speaker()
      const downs = () => changes.filter(({ from }) => from === 'Established').length
      expect(downs()).toBe(0)
      expect(begun.speaker().status('tor')).toMatchObject({ bfd: 'Up', establishedCount: 1 })
      await forge(255)
      await waitFor(() => downs() === 1, { what: 'BGP down' })
      expect(begun.speaker().status('tor')?.lastError).toContain('neighbor signaled session down')
    },
  )

  test('a BFD daemon that has our port is named, and BGP comes up without BFD', async () => {
    const begun = await begin('frr', { peer: {} })
    await allUp('frr', begun)
    await begun.speaker().stop('upgrade')
    const squatter = begun.speakerNamespace.spawn([
      process.execPath,
      '-e',
      "require('node:dgram').createSocket('udp4').bind(3784, () => console.log('bound'))",
    ])
    await squatter.waitUntil(() => squatter.output().includes('bound'), { what: 'bound' })
    begun.restartSpeaker(routes)
    await begun.established()
    const status = await begun.speaker().waitForStatus('tor', 'the reason', ({ bfdError }) => bfdError !== undefined)
    expect(status.bfdError).toBe('UDP port 3784 belongs to another program: does a BFD daemon run on this host?')
    await squatter.stop()
    await allUp('frr', begun)
  })
})
