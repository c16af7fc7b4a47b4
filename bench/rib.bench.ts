// How fast the Adj-RIB-Out turns routes into bytes: paths a second, octets a path, and what a single change costs.
// Run: npx node bench/rib.bench.ts. Numbers are of this process alone; the first of each is without warm-up.

import type { SessionCodec } from '../src/bgp/packet/message.ts'
import { type AdjRibOut, createAdjRibOut, type ExportContext } from '../src/bgp/rib/adj-rib-out.ts'
import type { Route } from '../src/bgp/rib/route.ts'
import { parseAsn } from '../src/net/asn.ts'
import { type Ip, ipFromBigInt } from '../src/net/ip.ts'
import { hostPrefix, type Prefix } from '../src/net/prefix.ts'
import { must } from '../src/runtime/result.ts'

const families = ['ipv4-unicast', 'ipv6-unicast'] as const
const codec: SessionCodec = {
  fourOctetAs: true,
  sessionType: 'ebgp',
  addPathReceive: new Set(),
  addPathSend: new Set(families),
  families: new Set(families),
  messageBytesMaxReceive: 4096,
  messageBytesMaxSend: 4096,
}
const context: ExportContext = {
  codec,
  localAsn: must(parseAsn(64512)),
  peerAsn: must(parseAsn(64513)),
  pathsLimit: new Map(),
  seed: 'bench',
}

interface Table {
  readonly vips: number
  readonly nextHops: number
  readonly nodes: number
  readonly family: 'IPv4' | 'IPv6'
}

const firstVip = { IPv4: 0xc633_6400n, IPv6: 0x2001_0db8_0000_0000_0000_0000_0000_0000n }
const firstNode = { IPv4: 0x0a00_0001n, IPv6: 0xfd00_0000_0000_0000_0000_0000_0000_0001n }

function routesOf({ vips, nextHops, nodes, family }: Table): readonly Route[] {
  const attributes = { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] } as const
  const nodeIps: readonly Ip[] = Array.from({ length: nodes }, (_, i) =>
    ipFromBigInt(family, firstNode[family] + BigInt(i)),
  )
  return Array.from({ length: vips }, (_, vip) => ({
    prefix: hostPrefix(ipFromBigInt(family, firstVip[family] + BigInt(vip))),
    attributes,
    paths: Array.from({ length: nextHops }, (_, leg) => (vip * 7 + leg) % nodes)
      .sort((a, b) => a - b)
      .flatMap((node) => nodeIps.slice(node, node + 1).map((nextHop) => ({ pathId: node + 1, nextHop }))),
  }))
}

function drain(rib: AdjRibOut): { readonly messages: number; readonly bytes: number } {
  let messages = 0
  let bytes = 0
  for (let message = rib.next(); message !== undefined; message = rib.next()) {
    messages++
    bytes += message.length
  }
  return { messages, bytes }
}

interface Rib {
  readonly rib: AdjRibOut
  readonly set: (route: Route) => void
}

function createRib(): Rib {
  const table = new Map<Prefix, Route>()
  const rib = createAdjRibOut(context, table)
  const set = (route: Route): void => {
    rib.update(route.prefix, route)
    table.set(route.prefix, route)
  }
  return { rib, set }
}

function announceAll(
  { rib, set }: Rib,
  routes: readonly Route[],
): { readonly messages: number; readonly bytes: number } {
  for (const route of routes) set(route)
  return drain(rib)
}

function measureTable(table: Table): void {
  const routes = routesOf(table)
  const paths = routes.length * table.nextHops
  const durationsMs: number[] = []
  let sent = { messages: 0, bytes: 0 }
  for (let run = 0; run < 7; run++) {
    const rib = createRib()
    const start = performance.now()
    sent = announceAll(rib, routes)
    durationsMs.push(performance.now() - start)
  }
  const [cold = 0, ...warm] = durationsMs
  const median = warm.sort((a, b) => a - b)[Math.floor(warm.length / 2)] ?? 0
  console.log(
    [
      `${table.vips} VIPs x ${table.nextHops} of ${table.nodes} nodes, ${table.family}:`,
      `${Math.round(paths / median)} k paths/s (first run ${Math.round(paths / cold)} k),`,
      `${(sent.bytes / paths).toFixed(2)} octets a path, ${sent.messages} messages, median ${median.toFixed(1)} ms`,
    ].join(' '),
  )
}

function measureChange(): void {
  const table = { vips: 10_000, nextHops: 16, nodes: 16, family: 'IPv4' } as const
  const routes = routesOf(table)
  const rib = createRib()
  announceAll(rib, routes)
  const samplesUs: number[] = []
  for (const route of routes) {
    const start = performance.now()
    rib.set({ ...route, paths: route.paths.slice(1) })
    drain(rib.rib)
    samplesUs.push((performance.now() - start) * 1000)
  }
  samplesUs.sort((a, b) => a - b)
  const at = (share: number): string => (samplesUs[Math.floor(samplesUs.length * share)] ?? 0).toFixed(1)
  console.log(`one path of one VIP withdrawn: p50 ${at(0.5)} us, p99 ${at(0.99)} us`)
  const start = performance.now()
  for (const route of routes) rib.set({ ...route, paths: route.paths.slice(2) })
  const { messages, bytes } = drain(rib.rib)
  const ms = (performance.now() - start).toFixed(1)
  console.log(`one node lost under 10 000 VIPs: ${ms} ms, ${messages} messages, ${bytes} octets`)
}

function measureMemory(): void {
  const routes = routesOf({ vips: 10_000, nextHops: 16, nodes: 16, family: 'IPv4' })
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  const peers = Array.from({ length: 20 }, () => {
    const rib = createRib()
    announceAll(rib, routes)
    return rib
  })
  globalThis.gc?.()
  const perPeer = (process.memoryUsage().heapUsed - before) / peers.length / 1e6
  const paths = peers[0]?.rib.announcedPaths
  console.log(`memory a peer with ${paths} paths sent: ${perPeer.toFixed(1)} MB of heap (exact with --expose-gc)`)
}

measureTable({ vips: 10_000, nextHops: 16, nodes: 16, family: 'IPv4' })
measureTable({ vips: 12_500, nextHops: 8, nodes: 1000, family: 'IPv4' })
measureTable({ vips: 10_000, nextHops: 4, nodes: 16, family: 'IPv6' })
measureChange()
measureMemory()
