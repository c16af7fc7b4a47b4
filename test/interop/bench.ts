// The test bench: a switch, a router of somebody else's and our speaker, and the words the tests describe them in.
// Router 10.9.0.1 / fd09::1, speaker 10.9.0.10 / fd09::10 (a second one: 10.9.0.11 / fd09::11), nodes 10.9.0.101 and up. The nodes
// need not exist: a router installs a next hop on a connected network without asking for it. Routed, the speaker is 10.9.1.10 and a
// forwarding host lies between.

import path from 'node:path'
import type { Route, RouteAttributes } from '../../src/bgp/rib/route.ts'
import type { PeerConfig } from '../../src/bgp/speaker/protocol.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { type Bridge, createNetwork, type Network } from '../../src/lab/netns/network.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { createRouter } from '../../src/lab/routers/create-router.ts'
import type { NeighborOptions, Router, RouterKind, RouterOptions } from '../../src/lab/routers/router.ts'
import { type Asn, parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { type Prefix, parsePrefix } from '../../src/net/prefix.ts'
import { systemExec } from '../../src/runtime/exec.ts'
import { must } from '../../src/runtime/result.ts'
import { peerWith, startSpeaker, type TestSpeaker } from './speaker.ts'

export const ip = (text: string): Ip => must(parseIp(text))
export const prefix = (text: string): Prefix => must(parsePrefix(text))
export const asn = (value: number): Asn => must(parseAsn(value))

export const routerAsn = 65001
export const routerAddress = { ipv4: ip('10.9.0.1'), ipv6: ip('fd09::1') }
export const speakerAddress = { ipv4: ip('10.9.0.10'), ipv6: ip('fd09::10') }
const linkLocal = { router: ip('fe80::1'), speaker: ip('fe80::10') }
const routedSpeaker = ip('10.9.1.10')
export const replicaAddress = ip('10.9.0.11')
export const vips = [prefix('203.0.113.10/32'), prefix('2001:db8::10/128')] as const

export interface BenchOptions {
  readonly kind: RouterKind
  readonly session: 'ebgp' | 'ibgp'
  /** 'routed': over IPv4, with a hop between. */
  readonly transport?: 'ipv4' | 'ipv6' | 'link-local' | 'routed'
  readonly neighbor?: Partial<NeighborOptions>
  readonly router?: Partial<Pick<RouterOptions, 'originates' | 'holdTimeSeconds' | 'extraConfiguration'>>
  readonly peer?: Partial<PeerConfig>
  /** 0 or absent: our speaker does not listen. */
  readonly listenPort?: number
  readonly routes?: readonly Route[]
  /** A second speaker with a session and a table of its own, as further replicas have. */
  readonly replica?: boolean
  /** Our sessions are recorded in `recordDirectory` of the bench. */
  readonly record?: boolean
}

export interface Bench extends AsyncDisposable {
  readonly network: Network
  readonly router: Router
  readonly routerNamespace: Namespace
  readonly speakerNamespace: Namespace
  /** The address of our speaker as the router knows it. */
  readonly speakerAt: Ip
  readonly recordDirectory: string
  /** Stops or wakes everything that runs in a namespace, as a hypervisor would. */
  readonly signal: (namespace: Namespace, signal: 'SIGSTOP' | 'SIGCONT') => Promise<void>
  readonly speaker: () => TestSpeaker
  /** The second speaker. Throws when there is none. */
  readonly replica: () => TestSpeaker
  /** Starts a further speaker program, after the former was killed or stopped. */
  readonly restartSpeaker: (routes: readonly Route[]) => void
  readonly established: () => Promise<void>
  /** Waits until router and kernel have exactly the paths of `route` (its next hops, or fewer where given). */
  readonly holds: (vip: Prefix, nodes: readonly number[]) => Promise<void>
}

/** Builds the bench and starts both ends. */
export async function createBench(options: BenchOptions): Promise<Bench> {
  const { kind, session, transport = 'ipv4' } = options
  const speakerAsn = asn(session === 'ibgp' ? routerAsn : 65010)
  const { routerAt, speakerAt, ...zones } = endsOf(transport)
  const network = await createNetwork({ prefix: 'bhiop' })
  try {
    const lan = await network.addBridge('lan')
    // Link-local addresses as given, and no others.
    const sysctls = { 'net.ipv6.conf.default.addr_gen_mode': 1 }
    const routerNamespace = await network.addNamespace('router', { forwarding: true, sysctls })
    const speakerNamespace = await network.addNamespace('speaker', { sysctls })
    const on = (host: number) => [`10.9.0.${host}/24`, `fd09::${host}/64`] as const
    const local = (address: Ip) => `${address}/64` as const
    await network.connect({ at: routerNamespace, addresses: [...on(1), local(linkLocal.router)] }, { at: lan })
    if (transport === 'routed') await connectOverHop(network, lan, routerNamespace, speakerNamespace)
    else await network.connect({ at: speakerNamespace, addresses: [...on(10), local(linkLocal.speaker)] }, { at: lan })
    const router = createRouter(kind, {
      name: kind,
      namespace: routerNamespace,
      directory: network.directory,
      asn: routerAsn,
      routerId: routerAddress.ipv4,
      neighbors: [
        { address: speakerAt, asn: speakerAsn, addPath: true, ...zones.neighbor, ...options.neighbor },
        ...(options.replica === true ? [{ address: replicaAddress, asn: speakerAsn, addPath: true }] : []),
      ],
      ...options.router,
    })
    await router.start()
    const peer = peerWith({
      name: 'tor',
      address: routerAt,
      peerAsn: asn(routerAsn),
      localAsn: speakerAsn,
      ...zones.peer,
      ...options.peer,
    })
    const configFor = (id: string) => ({
      routerId: must(parseRouterId(id)),
      listenPort: options.listenPort ?? 0,
      peers: [peer],
    })
    const log = (name: string): string => path.join(network.directory, `${name}.log`)
    const recordDirectory = path.join(network.directory, 'recording')
    const record = options.record === true ? { recordDirectory } : {}
    const start = (routes: readonly Route[]): TestSpeaker =>
      startSpeaker(speakerNamespace, configFor('10.9.0.10'), routes, { logPath: log('speaker'), ...record })
    let speaker = start(options.routes ?? [])
    let replica: TestSpeaker | undefined
    if (options.replica === true) {
      const namespace = await network.addNamespace('replica')
      await network.connect({ at: namespace, addresses: on(11) }, { at: lan })
      replica = startSpeaker(namespace, configFor('10.9.0.11'), options.routes ?? [], { logPath: log('replica') })
    }
    return {
      network,
      router,
      routerNamespace,
      speakerNamespace,
      speakerAt,
      recordDirectory,
      signal: async (namespace, signal) => {
        const pids = (await systemExec('ip', ['netns', 'pids', namespace.kernelName])).stdout
          .split('\n')
          .filter(Boolean)
        for (const pid of pids) process.kill(Number(pid), signal)
      },
      speaker: () => speaker,
      replica: () => {
        if (replica === undefined) throw new Error('this bench has one speaker')
        return replica
      },
      restartSpeaker: (routes) => {
        speaker = start(routes)
      },
      established: async () => {
        await speaker.waitForStatus('tor', 'Established', ({ state }) => state === 'Established')
      },
      holds: (vip, nodes) => waitForPaths(router, vip, nodes),
      [Symbol.asyncDispose]: () => network.destroy(),
    }
  } catch (error) {
    await network.destroy()
    throw error
  }
}

interface Ends {
  readonly routerAt: Ip
  readonly speakerAt: Ip
  readonly neighbor?: Partial<NeighborOptions>
  readonly peer?: Partial<PeerConfig>
}

function endsOf(transport: NonNullable<BenchOptions['transport']>): Ends {
  switch (transport) {
    case 'ipv4':
    case 'ipv6':
      return { routerAt: routerAddress[transport], speakerAt: speakerAddress[transport] }
    case 'routed':
      return { routerAt: routerAddress.ipv4, speakerAt: routedSpeaker }
    case 'link-local':
      return {
        routerAt: linkLocal.router,
        speakerAt: linkLocal.speaker,
        neighbor: { interface: 'eth0' },
        peer: { zone: 'eth0' },
      }
  }
}

/** A second network behind a host that forwards: 10.9.0.254 on the router's side, 10.9.1.1 on the speaker's. */
async function connectOverHop(network: Network, lan: Bridge, router: Namespace, speaker: Namespace): Promise<void> {
  const hop = await network.addNamespace('hop', { forwarding: true })
  await network.connect({ at: hop, addresses: ['10.9.0.254/24'] }, { at: lan })
  await network.connect({ at: hop, addresses: ['10.9.1.1/24'] }, { at: speaker, addresses: [`${routedSpeaker}/24`] })
  await router.setRoute(prefix('10.9.1.0/24'), { via: [{ via: ip('10.9.0.254') }] })
  await speaker.setRoute('default', { via: [{ via: ip('10.9.1.1') }] })
}

async function waitForPaths(router: Router, vip: Prefix, nodes: readonly number[]): Promise<void> {
  const expected = nodes.map((node) => nextHopOf(vip, node)).sort()
  let seen = ''
  await waitFor(
    async () => {
      const rib = (await router.routes(vip)).map(({ nextHop }) => nextHop)
      const kernel = router.programsKernel ? await router.kernelNextHops(vip) : expected
      seen = `RIB ${rib.join(' ')}; kernel ${kernel.join(' ')}`
      return rib.join() === expected.join() && kernel.join() === expected.join()
    },
    { what: `${router.name}: ${vip} over ${expected.join(' ') || 'nothing'}`, timeoutMs: 45_000, evidence: () => seen },
  )
}

const nextHopOf = (vip: Prefix, node: number): Ip => ip(vip.includes(':') ? `fd09::${node}` : `10.9.0.${node}`)

/** A route over nodes 101, 102, ...; the path id is the number of the node. */
export const routeOver = (vip: Prefix, nodes: readonly number[], attributes: Partial<RouteAttributes> = {}): Route => ({
  prefix: vip,
  attributes: { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [], ...attributes },
  paths: nodes.map((node) => ({ pathId: node, nextHop: nextHopOf(vip, node) })),
})
