// The speaker without a thread around it: takes commands, keeps the tables, the listener and the peers, and emits events. The
// worker runs one of these over TCP and the system's clock, tests run several over a network in memory and a virtual one.

import type { RouterId } from '../../net/asn.ts'
import type { Ip } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'
import type { Clock, Random } from '../../runtime/clock.ts'
import { unreachable } from '../../runtime/result.ts'
import type { Route } from '../rib/route.ts'
import { createUpdateGroups } from '../rib/update-groups.ts'
import { acceptorOf } from './accept-rules.ts'
import { createDynamicPeers, type DynamicPeers } from './dynamic-peers.ts'
import { createLogLimit, type LogLimit, refusalLogLimit } from './log-limit.ts'
import { type BfdEnvironment, createPathWatch, type PathWatch } from './path-watch.ts'
import { Peer, type PeerEnvironment } from './peer.ts'
import type { PeerConfig, SpeakerCommand, SpeakerConfig, SpeakerEvent, TableName } from './protocol.ts'
import type { Recorder } from './recording.ts'
import { acceptOptionsOf, acceptRangeOf, equal, inAcceptOrder } from './session-config.ts'
import {
  type AcceptOptions,
  type Connection,
  isSamePlace,
  type Listener,
  type Place,
  renderPlace,
  type Transport,
} from './transport.ts'

export interface SpeakerCoreOptions {
  readonly clock: Clock
  readonly random: Random
  readonly transport: Transport
  readonly onEvent: (event: SpeakerEvent) => void
  /** For peers with `bfd`, of which nothing comes without it. */
  readonly bfd?: BfdEnvironment
  /** For the fqdn capability: what routers show beside the address. */
  readonly hostname?: string
  /** Sees every input of every state machine. */
  readonly record?: Recorder
}

/** How long to wait before a port that could not be listened on is tried again. */
const listenRetrySeconds = 5
/** How many strangers are remembered, so that each is reported once. */
const strangersMax = 100

interface Acceptor extends AcceptOptions {
  /** Of the peer. */
  readonly name: string
}

type RoutesCommand = Extract<SpeakerCommand, { readonly type: 'routes' }>

export class SpeakerCore {
  readonly #options: SpeakerCoreOptions
  readonly #peers = new Map<string, Peer>()
  readonly #dynamic: DynamicPeers
  /** Who may connect, in the order in which they are asked whose connection it is. */
  #acceptors: readonly Acceptor[] = []
  readonly #tables = new Map<TableName, Map<Prefix, Route>>()
  readonly #updateGroups = createUpdateGroups()
  readonly #remembered = new Map<TableName, readonly Route[]>()
  readonly #strangers = new Set<string>()
  readonly #refusals: LogLimit
  readonly #refusedAgain: LogLimit
  readonly #paths: PathWatch | undefined
  #config: SpeakerConfig | undefined
  #listener: Listener | undefined
  #cancelListenRetry: (() => void) | undefined
  #listenFailure: string | undefined
  #ready = false
  #stopped = false
  #revision = 0
  #flushedRevision = 0

  constructor(options: SpeakerCoreOptions) {
    this.#options = options
    const { bfd, clock, random } = options
    const refusals = (level: 'warn' | 'info'): LogLimit =>
      createLogLimit({
        ...{ clock, ...refusalLogLimit },
        suppressed: (count) =>
          this.#emit({ type: 'log', level, fields: { event: 'connections-refused-suppressed', count } }),
      })
    this.#refusals = refusals('warn')
    this.#refusedAgain = refusals('info')
    this.#dynamic = createDynamicPeers({
      clock,
      emit: (event) => this.#emit(event),
      create: (config, hooks) => this.#createPeer(config, hooks),
      changed: () => {
        this.#watchPaths()
        this.#checkFlushed()
      },
    })
    const watch = { clock, random, peerNamed: (name: string) => this.#peerNamed(name) }
    if (bfd !== undefined) this.#paths = createPathWatch({ ...bfd, ...watch, emit: (event) => this.#emit(event) })
  }

  /** Carries out a command. Throws on nothing that a peer, a user or the kernel can cause. */
  handle(command: SpeakerCommand): void {
    if (this.#stopped) return
    switch (command.type) {
      case 'configure':
        this.#configure(command.config)
        break
      case 'routes':
        this.#routes(command)
        break
      case 'remember':
        this.#remembered.set(command.table, command.routes)
        for (const peer of this.#peersOf(command.table)) peer.remember(command.routes)
        break
      case 'drop-table':
        this.#dropTable(command.table)
        break
      case 'ready':
        this.#ready = true
        for (const peer of this.#allPeers()) peer.begin()
        this.#checkFlushed()
        break
      case 'clear':
        this.#clear(command.peer, command)
        break
      case 'stop':
        this.#stop(command.reason)
        break
      default:
        unreachable(command)
    }
  }

  // ------------------------------------------------------------------------------------------------------ configuration

  #configure(config: SpeakerConfig): void {
    const before = this.#config
    this.#config = config
    const wanted = new Map(config.peers.map((peer) => [peer.name, peer]))
    for (const [name, peer] of this.#peers)
      if (!wanted.has(name)) {
        this.#peers.delete(name)
        peer.stop({ name: 'peer-deconfigured' }, () => {}, { keepRoutes: false })
        this.#emit({ type: 'session-gone', peer: name })
      }
    // Before any peer is told, so that a peer that dials at once, and one that is dialled, meet the right keys.
    this.#listen(before)
    this.#dynamic.configure(config.ranges ?? [], config.peers, (peer, its) => peer.reconfigure(its, config.routerId))
    for (const peer of config.peers) this.#configurePeer(peer)
    this.#watchPaths()
    this.#checkFlushed()
  }

  #watchPaths(): void {
    if (this.#stopped) return
    const dynamic = [...this.#dynamic.peers()].map(({ config }) => config)
    this.#paths?.configure([...(this.#config?.peers ?? []), ...dynamic])
  }

  #configurePeer(config: PeerConfig): void {
    const known = this.#peers.get(config.name)
    if (known !== undefined) {
      known.reconfigure(config, this.#routerId())
      return
    }
    const peer = this.#createPeer(config, {})
    this.#peers.set(config.name, peer)
    peer.start()
  }

  #createPeer(config: PeerConfig, hooks: Partial<PeerEnvironment>): Peer {
    const peer = new Peer(config, this.#routerId(), { ...this.#environment(), ...hooks })
    peer.remember(this.#remembered.get(config.table) ?? [])
    return peer
  }

  #routerId(): RouterId {
    if (this.#config === undefined) throw new Error('a peer before any configuration')
    return this.#config.routerId
  }

  #peerNamed(name: string): Peer | undefined {
    return this.#peers.get(name) ?? this.#dynamic.peerNamed(name)
  }

  *#allPeers(): Generator<Peer> {
    yield* this.#peers.values()
    yield* this.#dynamic.peers()
  }

  #environment(): PeerEnvironment {
    const { clock, random, transport, hostname, record } = this.#options
    return {
      clock,
      random,
      transport,
      hostname,
      record,
      emit: (event) => this.#emit(event),
      table: (name) => this.#table(name),
      updateGroups: this.#updateGroups,
      isReady: () => this.#ready,
      drained: () => this.#checkFlushed(),
      established: (name, established) => this.#paths?.bgpChanged(name, { established }),
    }
  }

  #clear(name: string, { soft }: { readonly soft: boolean }): void {
    const peer = this.#peerNamed(name)
    for (const one of peer === undefined ? this.#dynamic.peersOf(name) : [peer])
      if (soft) one.resend()
      else one.reset()
  }

  #stop(reason: string): void {
    this.#stopped = true
    this.#cancelListenRetry?.()
    this.#listener?.close()
    this.#dynamic.stop()
    this.#refusals.end()
    this.#refusedAgain.end()
    const peers = [...this.#allPeers()]
    let waiting = peers.length
    const done = (): void => {
      waiting--
      if (waiting > 0) return
      // Last: FRR and BIRD end a session that is still there, and a graceful restart with it.
      this.#paths?.stop()
      this.#emit({ type: 'stopped' })
    }
    if (waiting === 0) done()
    for (const peer of peers) peer.stop({ name: 'administrative-shutdown', text: reason }, done, { keepRoutes: true })
  }

  // ----------------------------------------------------------------------------------------------------------- listening

  #listen(before: SpeakerConfig | undefined): void {
    const config = this.#config
    if (config === undefined) return
    const { listenPort, listenAddresses } = config
    const moved = before?.listenPort !== listenPort || !equal(before.listenAddresses, listenAddresses)
    if (moved) {
      this.#closeListener()
      if (listenPort !== 0) this.#openListener(listenPort, listenAddresses)
    }
    this.#setListenerPeers()
  }

  #closeListener(): void {
    this.#cancelListenRetry?.()
    this.#cancelListenRetry = undefined
    this.#listener?.close()
    this.#listener = undefined
    this.#listenFailure = undefined
  }

  #openListener(port: number, addresses: readonly Ip[]): void {
    const { clock, transport } = this.#options
    this.#listener = transport.listen(port, addresses, {
      listening: () => {
        this.#listenFailure = undefined
        this.#emit({ type: 'listening', port })
      },
      failed: (reason) => {
        this.#listener = undefined
        if (reason !== this.#listenFailure) this.#emit({ type: 'listen-failed', port, reason })
        this.#listenFailure = reason
        this.#cancelListenRetry = clock.setTimer(1000 * listenRetrySeconds, () => {
          this.#openListener(port, addresses)
          this.#setListenerPeers()
        })
      },
      connection: (connection) => this.#incoming(connection),
      refused: (remote, reason) => this.#refused(remote, reason),
    })
  }

  #setListenerPeers(): void {
    const { peers = [], ranges = [] } = this.#config ?? {}
    const acceptRanges = new Map(ranges.map((range) => [acceptRangeOf(range), range.name] as const))
    this.#acceptors = inAcceptOrder(peers).map((peer) => ({ ...acceptOptionsOf(peer), name: peer.name }))
    for (const { peer, reason, incomingOnly } of this.#listener?.setPeers(this.#acceptors, [...acceptRanges.keys()]) ??
      []) {
      const range = 'range' in peer ? acceptRanges.get(peer) : undefined
      if (range !== undefined) this.#dynamic.noteError(range, `connections are refused: ${reason}`)
      const own = this.#acceptors.find((acceptor) => acceptor === peer)
      const refused = own === undefined ? undefined : this.#peers.get(own.name)
      if (own !== undefined && (incomingOnly !== true || refused?.config.passive === true))
        refused?.noteError(`connections from ${renderPlace(own)} are refused: ${reason}`)
    }
  }

  #incoming(connection: Connection): void {
    const { remote, localAddress } = connection
    const acceptor = acceptorOf(this.#acceptors, remote, localAddress)
    const peer = acceptor === undefined ? undefined : this.#peers.get(acceptor.name)
    if (peer !== undefined) {
      peer.incoming(connection)
      return
    }
    const reason = this.#dynamic.incoming(connection)
    if (reason === undefined) return
    connection.abort()
    this.#refused(remote, reason)
  }

  #refused(place: Place, reason: string): void {
    const remote = renderPlace(place)
    const stranger = `${remote} ${reason}`
    const known = this.#strangers.has(stranger)
    // Strangers beyond those who are remembered are told of as often as any new one, and no oftener.
    if (!known && this.#strangers.size < strangersMax) this.#strangers.add(stranger)
    // Of those who come again, only how often.
    const admitted = (known ? this.#refusedAgain : this.#refusals).admits()
    if (admitted)
      this.#emit({
        type: 'log',
        level: known ? 'debug' : 'warn',
        fields: { event: 'connection-refused', remote, reason },
      })
    if (known || !admitted) return
    const acceptor = this.#acceptors.find((candidate) => isSamePlace(candidate, place))
    const peer = acceptor === undefined ? undefined : this.#peers.get(acceptor.name)
    peer?.noteError(`a connection from ${remote} was refused: ${reason}`)
  }

  // -------------------------------------------------------------------------------------------------------------- routes

  #table(name: TableName): Map<Prefix, Route> {
    const known = this.#tables.get(name)
    if (known !== undefined) return known
    const created = new Map<Prefix, Route>()
    this.#tables.set(name, created)
    return created
  }

  #peersOf(table: TableName): readonly Peer[] {
    return [...this.#allPeers()].filter((peer) => peer.config.table === table)
  }

  #routes({ table: name, replace, upserts, withdrawals, revision }: RoutesCommand): void {
    const table = this.#table(name)
    const peers = this.#peersOf(name)
    if (replace) {
      const kept = new Set(upserts.map(({ prefix }) => prefix))
      for (const prefix of table.keys()) if (!kept.has(prefix)) this.#set(table, peers, prefix, undefined)
    }
    for (const prefix of withdrawals) this.#set(table, peers, prefix, undefined)
    for (const route of upserts) this.#set(table, peers, route.prefix, route)
    this.#revision = Math.max(this.#revision, revision)
    for (const peer of peers) peer.pump()
    this.#checkFlushed()
  }

  #set(table: Map<Prefix, Route>, peers: readonly Peer[], prefix: Prefix, route: Route | undefined): void {
    const before = table.get(prefix)
    if (before === route) return
    this.#updateGroups.update(table, prefix, route)
    if (route === undefined) table.delete(prefix)
    else table.set(prefix, route)
    if (before !== undefined) for (const peer of peers) peer.routeReplaced(before)
  }

  #dropTable(name: TableName): void {
    const table = this.#table(name)
    const peers = this.#peersOf(name)
    for (const prefix of table.keys()) this.#set(table, peers, prefix, undefined)
    for (const peer of peers) peer.pump()
    if (peers.length === 0) this.#tables.delete(name)
    this.#remembered.delete(name)
  }

  #checkFlushed(): void {
    if (this.#flushedRevision === this.#revision || !this.#ready) return
    for (const peer of this.#allPeers()) if (!peer.isFlushed) return
    this.#flushedRevision = this.#revision
    this.#emit({ type: 'flushed', revision: this.#revision })
  }

  #emit(event: SpeakerEvent): void {
    this.#options.onEvent(event)
  }
}
