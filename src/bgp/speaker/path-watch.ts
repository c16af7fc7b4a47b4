// BFD for the peers that ask for it: which sessions there are, and what their states mean for BGP (RFC 5882 section 4). BGP does not
// wait for BFD, BFD waits for BGP (bfd-turn.ts); a path that was up and is not any more ends the session; a router that takes BFD down
// on purpose does not.

import type { BfdAuthentication } from '../../bfd/authentication.ts'
import { type BfdEngine, createBfdEngine } from '../../bfd/engine.ts'
import type { OnLink } from '../../bfd/on-link.ts'
import { type BfdState, bfdDiagnostics } from '../../bfd/packet.ts'
import { type BfdEvent, type BfdSessionConfig, downSilenceMs } from '../../bfd/session-config.ts'
import type { BfdTransport } from '../../bfd/transport.ts'
import type { Clock, Random } from '../../runtime/clock.ts'
import { createBfdTurn } from './bfd-turn.ts'
import type { PathState, PeerConfig, SpeakerEvent } from './protocol.ts'
import { renderPlace } from './transport.ts'

/** What the speaker needs of its host for BFD. */
export interface BfdEnvironment {
  readonly transport: BfdTransport
  readonly isOnLink: OnLink
}

/** A peer as it is told of its path. */
export interface WatchedPeer {
  /** `failure` in words: the path was up, and is not any more. Undefined: BFD is off. */
  readonly pathChanged: (state: PathState | undefined, failure?: string) => void
  /** Why BFD can not watch the path, in an operator's words; undefined: it can, or is off. */
  readonly pathUnwatched: (reason: string | undefined) => void
  /** The router speaks BFD: it is there, whatever became of BGP. */
  readonly routerHeard: () => void
}

export interface PathWatch {
  /** The complete list of peers, after all of them exist. */
  readonly configure: (peers: readonly PeerConfig[]) => void
  readonly bgpChanged: (peer: string, change: { readonly established: boolean }) => void
  /** Routers are told that it ends on purpose. */
  readonly stop: () => void
}

export interface PathWatchOptions extends BfdEnvironment {
  readonly clock: Clock
  readonly random: Random
  readonly peerNamed: (name: string) => WatchedPeer | undefined
  readonly emit: (event: SpeakerEvent) => void
}

const never = Number.POSITIVE_INFINITY

export function createPathWatch(options: PathWatchOptions): PathWatch {
  const { clock, random, transport, isOnLink, peerNamed, emit } = options
  let watched: readonly Watched[] = []
  const engine: BfdEngine = createBfdEngine({
    ...{ clock, random, transport },
    listening: 'by-peer',
    onEvent: (event) => onEvent(event),
  })
  const turn = createBfdTurn({
    clock,
    isHeard: (peer) => sessionsOf(peer).some(({ key }) => (engine.status(key)?.silentMs ?? never) < downSilenceMs),
    changed: () => {
      apply()
      for (const one of watched) peerNamed(one.peer)?.pathChanged(pathState(one))
    },
  })
  const sessionsOf = (peer: string): readonly BfdSessionConfig[] =>
    watched.find((one) => one.peer === peer)?.sessions ?? []
  const stateOf = ({ key }: BfdSessionConfig): BfdState | undefined => engine.status(key)?.state

  // Once a router has answered in one way, the other is not tried any more. A session that is up stays, whatever BGP does.
  const apply = (): void => {
    const wanted = new Map<string, BfdSessionConfig>()
    for (const { peer, sessions } of watched) {
      const up = sessions.find((session) => stateOf(session) === 'Up')
      const held = up === undefined && !turn.isUp(peer)
      for (const session of up === undefined ? sessions : [up])
        wanted.set(session.key, { ...session, held: held && wanted.get(session.key)?.held !== false })
    }
    engine.setSessions([...wanted.values()])
  }

  const pathState = (one: Watched): PathState | undefined => {
    const states = one.sessions.map(stateOf)
    if (states.includes('Up')) return 'Up'
    const state = states.find((each) => each !== undefined)
    const mayCome = (state === 'Down' || state === 'Init') && errorOf(one) === undefined
    return mayCome && turn.isStarting(one.peer) ? 'Starting' : state
  }

  /** Where there are two ways, one that can be tried is enough. */
  const errorOf = ({ sessions }: Watched): string | undefined => {
    const errors = sessions.map(({ key }) => engine.status(key)?.error)
    return errors.every((error) => error !== undefined) ? errors[0] : undefined
  }

  const onEvent = (event: BfdEvent): void => {
    // A session that takes its leave is of no interest.
    if (engine.status(event.key) === undefined) return
    for (const one of watched) if (one.sessions.some(({ key }) => key === event.key)) tell(one, event)
  }

  const tell = (one: Watched, event: BfdEvent): void => {
    const peer = peerNamed(one.peer)
    if (event.type === 'error') {
      peer?.pathChanged(pathState(one))
      peer?.pathUnwatched(errorOf(one))
      return
    }
    if (event.type === 'heard') {
      turn.heard(one.peer)
      peer?.routerHeard()
      return
    }
    emit({ type: 'log', level: 'info', fields: { ...logOf(event), peer: one.peer } })
    if (event.to === 'Down') turn.bfdDown(one.peer)
    if (event.from === 'Up' || event.to !== 'Init') apply()
    peer?.pathChanged(pathState(one), failureOf(event))
  }

  return {
    configure: (peers) => {
      const before = watched
      watched = shared(peers.map((peer) => ({ peer: peer.name, sessions: bfdSessionsOf(peer, isOnLink) })))
      turn.keep(new Set(peers.map(({ name }) => name)))
      for (const { peer, sessions } of watched)
        if (sessions.length > 0 && !before.some((one) => one.peer === peer && one.sessions.length > 0)) turn.begin(peer)
      apply()
      for (const one of watched) {
        const peer = peerNamed(one.peer)
        peer?.pathChanged(pathState(one))
        peer?.pathUnwatched(errorOf(one))
      }
    },
    bgpChanged: (peer, { established }) => {
      turn.bgpChanged(peer, { established, bfdUp: sessionsOf(peer).some((session) => stateOf(session) === 'Up') })
      apply()
      for (const one of watched) if (one.peer === peer) peerNamed(peer)?.pathChanged(pathState(one))
    },
    stop: () => {
      turn.stop()
      engine.stop()
    },
  }
}

/** A peer and the sessions that may be the one of its path, the likeliest first. */
interface Watched {
  readonly peer: string
  readonly sessions: readonly BfdSessionConfig[]
}

// Two hosts have one BFD session, however many BGP sessions they have (RFC 5881 section 3): with the timers of the first peer, and up
// as long as one of them is.
function shared(watched: readonly Watched[]): readonly Watched[] {
  const byKey = new Map<string, BfdSessionConfig>()
  for (const session of watched.flatMap(({ sessions }) => sessions)) {
    const known = byKey.get(session.key)
    byKey.set(
      session.key,
      known === undefined ? session : { ...known, adminDown: known.adminDown && session.adminDown },
    )
  }
  return watched.map(({ peer, sessions }) => ({ peer, sessions: sessions.map((own) => byKey.get(own.key) ?? own) }))
}

const ttlMax = 255

/**
 * The BFD sessions of which one is to watch the path to a peer; none: it wants none. A single hop or several follows what the BGP
 * session is: GTSM says how far the router may be, on eBGP the TTL does (1 is the same link), on iBGP whether the router is on a
 * connected network. Routers disagree on two cases: GTSM on one link is several hops to FRR 8.4, and iBGP on one link is several
 * hops to BIRD unless it says `direct`. There both are tried. A shut down peer keeps its session administratively down.
 */
export function bfdSessionsOf(peer: PeerConfig, isOnLink: OnLink): readonly BfdSessionConfig[] {
  const { address, zone, port, sourceAddress, bfd, shutdown } = peer
  if (bfd === undefined) return []
  const { authentication, ...timers } = bfd
  return waysTo(peer, isOnLink).map((ttlMin) => ({
    key: `${renderPlace(peer)} from ${sourceAddress ?? 'any'}, ${ttlMin === undefined ? 'single hop' : `TTL ${ttlMin}`}`,
    remoteAddress: address,
    ...(zone === undefined ? {} : { zone }),
    ...(sourceAddress === undefined ? {} : { localAddress: sourceAddress }),
    ...(ttlMin === undefined ? {} : { multihop: { ttlMin } }),
    ...timers,
    bgpPort: port,
    adminDown: shutdown !== undefined,
    ...(authentication === undefined ? {} : { authentication: authenticationOf(authentication) }),
  }))
}

// A router has one key, and is believed with no other, nor without.
function authenticationOf({
  type,
  keyId,
  password,
}: NonNullable<NonNullable<PeerConfig['bfd']>['authentication']>): BfdAuthentication {
  const key = { id: keyId, secret: new TextEncoder().encode(password) }
  return { type, send: key, accept: [key], plainForMs: 0 }
}

/** Least TTLs of packets over several hops; undefined: a single hop. */
function waysTo(peer: PeerConfig, isOnLink: OnLink): readonly (number | undefined)[] {
  const { address, ttlSecurityHops, localAsn, peerAsn, ttl } = peer
  // Over one hop the TTL is checked on the port for several as well: FRR sends 255 on both.
  if (ttlSecurityHops !== undefined) return ttlSecurityHops === 1 ? [undefined, ttlMax] : [ttlMax + 1 - ttlSecurityHops]
  if (localAsn === peerAsn) return isOnLink(address) ? [undefined, 1] : [1]
  return ttl === 1 ? [undefined] : [1]
}

// RFC 5882 section 3.2: AdminDown is an operator's doing, and no word about the path.
function failureOf(event: Extract<BfdEvent, { type: 'state' }>): string | undefined {
  const { from, to, diagnostic, remoteState } = event
  return from === 'Up' && to === 'Down' && remoteState !== 'AdminDown' ? describeDiagnostic(diagnostic) : undefined
}

const describeDiagnostic = (diagnostic: number): string => bfdDiagnostics[diagnostic] ?? `diagnostic ${diagnostic}`

const logOf = ({
  from,
  to,
  diagnostic,
  remoteState,
}: Extract<BfdEvent, { type: 'state' }>): { readonly event: string } & Readonly<Record<string, unknown>> => ({
  event: 'bfd-state',
  from,
  to,
  because: describeDiagnostic(diagnostic),
  remoteState,
})
