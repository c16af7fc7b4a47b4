// BFD for the peers that ask for it: which sessions there are, and what their states mean for BGP (RFC 5882 section 4). BGP does not
// wait for BFD; a path that was up and is not any more ends the session; a router that takes BFD down on purpose does not.

import { type BfdEngine, createBfdEngine } from '../../bfd/engine.ts'
import type { OnLink } from '../../bfd/on-link.ts'
import { type BfdState, bfdDiagnostics } from '../../bfd/packet.ts'
import type { BfdEvent, BfdSessionConfig } from '../../bfd/session-config.ts'
import type { BfdTransport } from '../../bfd/transport.ts'
import type { Clock, Random } from '../../runtime/clock.ts'
import type { PeerConfig, SpeakerEvent } from './protocol.ts'

/** What the speaker needs of its host for BFD. */
export interface BfdEnvironment {
  readonly transport: BfdTransport
  readonly isOnLink: OnLink
}

/** A peer as it is told of its path. */
export interface WatchedPeer {
  /** `failure` in words: the path was up, and is not any more. Undefined: BFD is off. */
  readonly pathChanged: (state: BfdState | undefined, failure?: string) => void
  readonly noteError: (reason: string) => void
}

export interface PathWatch {
  /** The complete list of peers, after all of them exist. */
  readonly configure: (peers: readonly PeerConfig[]) => void
  /** Routers are told that it ends on purpose. */
  readonly stop: () => void
}

export interface PathWatchOptions extends BfdEnvironment {
  readonly clock: Clock
  readonly random: Random
  readonly peerNamed: (name: string) => WatchedPeer | undefined
  readonly emit: (event: SpeakerEvent) => void
}

export function createPathWatch(options: PathWatchOptions): PathWatch {
  const { clock, random, transport, isOnLink, peerNamed, emit } = options
  let watched: ReadonlySet<string> = new Set()
  const engine: BfdEngine = createBfdEngine({
    clock,
    random,
    transport,
    onEvent: (event) => {
      if (event.type === 'state') emit({ type: 'log', level: 'info', fields: logOf(event) })
      if (!watched.has(event.key)) return
      const peer = peerNamed(event.key)
      if (event.type === 'state') peer?.pathChanged(event.to, failureOf(event))
      else if (event.reason !== undefined) peer?.noteError(`BFD: ${event.reason}`)
    },
  })
  return {
    configure: (peers) => {
      const sessions = peers.flatMap((peer) => bfdSessionOf(peer, isOnLink) ?? [])
      watched = new Set(sessions.map(({ key }) => key))
      engine.setSessions(sessions)
      for (const { name } of peers) peerNamed(name)?.pathChanged(engine.status(name)?.state)
    },
    stop: () => engine.stop(),
  }
}

const ttlMax = 255

/**
 * The BFD session of a peer; undefined: it wants none. Single hop or several follows what the BGP session is, as FRR and BIRD decide
 * it: GTSM says how far the router may be, on eBGP the TTL does (1 is the same link), and on iBGP, which says nothing, whether the
 * router is on a connected network. A shut down peer keeps its session administratively down.
 */
export function bfdSessionOf(peer: PeerConfig, isOnLink: OnLink): BfdSessionConfig | undefined {
  const { name, address, zone, sourceAddress, bfd, shutdown } = peer
  if (bfd === undefined) return undefined
  const ttlMin = leastTtl(peer, isOnLink)
  return {
    key: name,
    remoteAddress: address,
    ...(zone === undefined ? {} : { zone }),
    ...(sourceAddress === undefined ? {} : { localAddress: sourceAddress }),
    ...(ttlMin === undefined ? {} : { multihop: { ttlMin } }),
    ...bfd,
    adminDown: shutdown !== undefined,
  }
}

/** Of packets over several hops; undefined: a single hop. */
function leastTtl(peer: PeerConfig, isOnLink: OnLink): number | undefined {
  const { address, ttlSecurityHops, localAsn, peerAsn, ttl } = peer
  if (ttlSecurityHops !== undefined) return ttlSecurityHops === 1 ? undefined : ttlMax + 1 - ttlSecurityHops
  const isSingleHop = localAsn === peerAsn ? isOnLink(address) : ttl === 1
  return isSingleHop ? undefined : 1
}

// RFC 5882 section 3.2: AdminDown is an operator's doing, and no word about the path.
function failureOf(event: Extract<BfdEvent, { type: 'state' }>): string | undefined {
  const { from, to, diagnostic, remoteState } = event
  return from === 'Up' && to === 'Down' && remoteState !== 'AdminDown' ? describeDiagnostic(diagnostic) : undefined
}

const describeDiagnostic = (diagnostic: number): string => bfdDiagnostics[diagnostic] ?? `diagnostic ${diagnostic}`

const logOf = ({
  key,
  from,
  to,
  diagnostic,
  remoteState,
}: Extract<BfdEvent, { type: 'state' }>): { readonly event: string } & Readonly<Record<string, unknown>> => ({
  event: 'bfd-state',
  peer: key,
  from,
  to,
  because: describeDiagnostic(diagnostic),
  remoteState,
})
