// A router of somebody else's as the lab sees it: one interface over BIRD, FRR, GoBGP, OpenBGPD and ExaBGP, so that a test or a
// demonstration says what it wants to know and not how that daemon prints it. Every daemon runs without systemd, as a child
// inside a network namespace, with its configuration, sockets and log in a directory of its own.

import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { type Ip, parseIp } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'
import { must } from '../../runtime/result.ts'
import type { Namespace } from '../netns/namespace.ts'

export type RouterKind = 'bird' | 'frr' | 'gobgp' | 'openbgpd' | 'exabgp'

export interface NeighborOptions {
  readonly address: Ip
  /** Interface of a link-local `address`. */
  readonly interface?: string
  /** Equal to the router's own: iBGP. */
  readonly asn: number
  /** Receive several paths a prefix (RFC 7911). */
  readonly addPath: boolean
  /** TCP-MD5. */
  readonly password?: string
  /** GTSM (RFC 5082): how many hops away the neighbour may be; 1 = on the same link. */
  readonly ttlSecurityHops?: number
  /** IP TTL of an eBGP session to a neighbour that is not on a connected network. */
  readonly multihop?: number
  /** Wait for the neighbour to connect. */
  readonly passive?: boolean
  /** IPv4 prefixes may have IPv6 next hops (RFC 8950). */
  readonly extendedNextHop?: boolean
  /** BIRD and FRR: drop the session when BFD (100 ms x 3) says so. */
  readonly bfd?: boolean
  /** BIRD: with this key, by its number (RFC 5880 section 6.7.4). */
  readonly bfdAuthentication?: {
    readonly type: 'keyed-sha1' | 'meticulous-keyed-sha1'
    readonly keyId: number
    readonly password: string
  }
}

export interface RouterOptions {
  /** Unique among the routers of one `directory`. */
  readonly name: string
  readonly namespace: Namespace
  /** Where the router makes its own directory: usually the network's. */
  readonly directory: string
  readonly asn: number
  readonly routerId: Ip
  readonly neighbors: readonly NeighborOptions[]
  /** Default 9. */
  readonly holdTimeSeconds?: number
  /** How many legs an ECMP group may have; default 64. */
  readonly multipathMax?: number
  /** What the router announces itself, to all its neighbours; it announces nothing else. */
  readonly originates?: readonly Prefix[]
  /** Lines in the daemon's own language, at the end of its configuration. */
  readonly extraConfiguration?: string
}

/** A session as the router sees it. */
export interface RouterSession {
  readonly peer: Ip
  readonly established: boolean
  /** In the daemon's own word. */
  readonly state: string
  /** Paths accepted from the peer, all families. */
  readonly paths: number
}

/** A path in the router's RIB. */
export interface RouterPath {
  readonly nextHop: Ip
  /** Where the daemon shows it. */
  readonly pathId?: number
  readonly asPath: readonly number[]
  readonly origin?: string
  readonly med?: number
  readonly localPref?: number
  /** `64512:100`, and large ones `64512:1:2`; in the order of the daemon. */
  readonly communities: readonly string[]
}

export interface Router {
  readonly name: string
  readonly kind: RouterKind
  readonly namespace: Namespace
  /** Whether the daemon writes routes into the kernel of its namespace. */
  readonly programsKernel: boolean
  /** Everything the daemon printed or logged. */
  readonly logPath: string
  /** Resolves when the daemon answers on its control socket. */
  readonly start: () => Promise<void>
  /** `SIGTERM`: as an operator would. `SIGKILL`: as a power cut would. Resolves when the processes are gone. */
  readonly stop: (signal?: 'SIGTERM' | 'SIGKILL') => Promise<void>
  readonly sessions: () => Promise<readonly RouterSession[]>
  /** The paths for exactly this prefix, sorted by next hop. */
  readonly routes: (prefix: Prefix) => Promise<readonly RouterPath[]>
  /** The next hops the kernel forwards by, sorted; what counts in the end. */
  readonly kernelNextHops: (prefix: Prefix) => Promise<readonly Ip[]>
  /** Asks the peer to send everything again (RFC 2918). */
  readonly refresh: (peer: Ip) => Promise<void>
  /** Ends the session administratively, with a text for the peer (RFC 9003). */
  readonly shutdown: (peer: Ip, text: string) => Promise<void>
  /** Undoes `shutdown`. */
  readonly enable: (peer: Ip) => Promise<void>
  /** For people who want to look for themselves: the daemon's command line, and what it prints about a prefix. */
  readonly operator?: {
    readonly shell: readonly string[]
    readonly showRoute: (prefix: Prefix) => readonly string[]
  }
}

export const holdTimeDefaultSeconds = 9
export const multipathDefault = 64
/** BFD towards neighbours that ask for it. */
export const bfdIntervalMs = 100
export const bfdMultiplier = 3

/** Makes the router's directory. */
export function makeRouterDirectory({ directory, name }: RouterOptions): string {
  const own = path.join(directory, name)
  mkdirSync(own, { recursive: true, mode: 0o755 })
  return own
}

/** The next hops in the kernel of the router's namespace, sorted. */
export async function kernelNextHopsOf(namespace: Namespace, prefix: Prefix): Promise<readonly Ip[]> {
  return (await namespace.nextHopsOf(prefix)).map(({ via }) => via).sort()
}

/** Sorted by next hop, then path id. */
export const sortPaths = (paths: readonly RouterPath[]): readonly RouterPath[] =>
  [...paths].sort((a, b) => compareText(a.nextHop, b.nextHop) || (a.pathId ?? 0) - (b.pathId ?? 0))

/** The neighbour's address as daemons want it: `fe80::1%eth0` for a link-local one. */
export const neighborAddress = ({ address, interface: zone }: NeighborOptions): string =>
  zone === undefined ? address : `${address}%${zone}`

/** An address that a daemon printed, without the interface of a link-local one. Throws on what is none. */
export const addressFrom = (text: string): Ip => must(parseIp(text.split('%')[0] ?? ''))

/** What of `prefixes` is of this family. */
export const ofFamily = (prefixes: readonly Prefix[] | undefined, family: 'ipv4' | 'ipv6'): readonly Prefix[] =>
  (prefixes ?? []).filter((prefix) => prefix.includes(':') === (family === 'ipv6'))

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The neighbour with this address. Throws when there is none: the caller's mistake. */
export function neighborOf(
  options: RouterOptions,
  address: Ip,
): { readonly neighbor: NeighborOptions; readonly index: number } {
  const index = options.neighbors.findIndex((candidate) => candidate.address === address)
  const neighbor = options.neighbors[index]
  if (neighbor === undefined) throw new Error(`${options.name} has no neighbour ${address}`)
  return { neighbor, index }
}
