// One peer: feeds its state machine with what happens, does what the machine says, and tells the world about it. The decisions
// are in bgp/fsm; what it hears is receiver.ts, what it is told peer-export.ts, its connections peer-connections.ts. This file owns the
// order in which things happen.

import type { RouterId } from '../../net/asn.ts'
import type { Prefix } from '../../net/prefix.ts'
import type { Clock, Random } from '../../runtime/clock.ts'
import type { Cease } from '../fsm/cease.ts'
import { leadingSession, type PeerAction, type PeerCommand, type PeerInput, type SessionId } from '../fsm/collision.ts'
import type { Negotiated } from '../fsm/negotiate.ts'
import type { DownCause, SessionAction, SessionConfig, SessionContext } from '../fsm/session.ts'
import type { Route } from '../rib/route.ts'
import type { UpdateGroups } from '../rib/update-groups.ts'
import { createInTurn, type InTurn } from './in-turn.ts'
import { createIssueLog, type IssueLog } from './issue-log.ts'
import { createPeerConnections, type PeerConnections } from './peer-connections.ts'
import { createPeerExport, type PeerExport } from './peer-export.ts'
import {
  exportContextOf,
  hasPeer,
  negotiatedFacts,
  nextHopFacts,
  sessionOf,
  stopWith,
  tooManyPrefixes,
} from './peer-facts.ts'
import { createPeerReport, type PeerReport, type SessionFacts } from './peer-report.ts'
import type { PathState, PeerConfig, SpeakerEvent } from './protocol.ts'
import { createRecordedMachine, type RecordedMachine } from './recorded-machine.ts'
import type { Recorder } from './recording.ts'
import { dialOptionsOf, equal, resettingChanges, sessionConfigOf, socketOptionsOf } from './session-config.ts'
import { createSessionIo, type SessionIo } from './session-io.ts'
import type { Connection, Transport } from './transport.ts'

/** What a peer needs of the speaker it belongs to. */
export interface PeerEnvironment {
  readonly clock: Clock
  readonly random: Random
  readonly transport: Transport
  readonly hostname: string | undefined
  readonly record: Recorder | undefined
  readonly emit: (event: SpeakerEvent) => void
  readonly table: (name: string) => ReadonlyMap<Prefix, Route>
  readonly updateGroups: UpdateGroups
  readonly isReady: () => boolean
  /** The peer has been written everything that its table says. */
  readonly drained: () => void
  /** The session is established, or is not any more. */
  readonly established: (peer: string, established: boolean) => void
  /** The peer has no connection and waits for one. Called whenever that is so after an event. */
  readonly waiting?: () => void
}

/** After a reset of ours: a router that was just told Cease refuses connections for a moment. */
const pauseAfterResetMs = 1000

export class Peer {
  readonly #environment: PeerEnvironment
  #config: PeerConfig
  readonly #machine: RecordedMachine
  readonly #connections: PeerConnections
  readonly #export: PeerExport
  readonly #report: PeerReport
  readonly #issues: IssueLog
  /** What happens while something is being done waits its turn here. */
  readonly #do: InTurn = createInTurn()
  /** Of the path to the router; undefined: nobody watches it. */
  #bfd: PathState | undefined
  /** Why nobody can watch it. */
  #bfdError: string | undefined
  /** A start that is due a moment after a reset. */
  #cancelStart: (() => void) | undefined

  constructor(config: PeerConfig, routerId: RouterId, environment: PeerEnvironment) {
    const { clock, emit, updateGroups, drained, hostname, record } = environment
    this.#environment = environment
    this.#config = config
    this.#report = createPeerReport({ peer: config.name, clock, emit, facts: () => this.#facts() })
    this.#issues = createIssueLog(clock, this.#report)
    this.#connections = createPeerConnections((id) => this.#createIo(id))
    this.#export = createPeerExport({
      ...{ clock, updateGroups, drained, report: this.#report, inTurn: this.#do },
      // A dead connection is noticed after the hold time; twice that covers the announcement of a new one.
      lossMs: 2000 * Math.max(config.holdTimeSeconds, 90),
    })
    this.#machine = createRecordedMachine(sessionConfigOf(config, routerId, hostname), record)
  }

  get config(): PeerConfig {
    return this.#config
  }

  /** Whether the session is up and everything that its table says was written. */
  get isFlushed(): boolean {
    return this.#export.isFlushed
  }

  // ---------------------------------------------------------------------------------------------- what the owner asks

  start(): void {
    this.#do(() => {
      this.#report.publish()
      this.#startUnlessShutDown()
    })
  }

  /** A connection that the peer opened; it is adopted or closed. */
  incoming(connection: Connection): void {
    this.#do(() => this.#step({ type: 'incoming' }, connection))
  }

  /** Takes a new configuration; the session is reset only where it can not go on with it. */
  reconfigure(config: PeerConfig, routerId: RouterId): void {
    this.#do(() => {
      const before = this.#config
      const changed = [
        ...resettingChanges(before, config),
        ...(routerId === this.#machine.config.routerId ? [] : ['routerId']),
      ]
      const session = sessionConfigOf(config, routerId, this.#environment.hostname)
      if (changed.length > 0) {
        this.#report.log('info', { event: 'session-reset', because: changed })
        this.#restart({ name: 'configuration-change' }, config, session)
        return
      }
      if (config.shutdown !== undefined && before.shutdown === undefined) this.#command(stopWith(config.shutdown))
      // Nobody at the other end would notice a new beginning, and whoever changed something wants to see what it does.
      const redial = !hasPeer(this.#report.state) && !equal(before, config)
      if (redial) this.#command({ type: 'ManualStop' })
      this.#apply(config, session, { fresh: redial })
      if (redial || before.shutdown !== undefined) this.#startUnlessShutDown()
      if (config.table !== before.table) this.#changeTable(before.table)
    })
  }

  /** A route of the peer's table is replaced or withdrawn; `pump` follows. */
  routeReplaced(before: Route): void {
    if (this.#config.gracefulRestart !== undefined) this.#export.replaced(before)
  }

  /** Writes what is due. */
  pump(): void {
    this.#do(this.#export.pump)
  }

  /** The first full plan is there: announce. */
  begin(): void {
    this.#do(this.#export.begin)
  }

  /** What the peer may hold from an earlier process. */
  remember(routes: Iterable<Route>): void {
    if (this.#config.gracefulRestart !== undefined) this.#export.remember(routes)
  }

  /** Sends everything again. */
  resend(): void {
    this.#do(this.#export.resend)
  }

  /** Ends the session and begins a new one. */
  reset(): void {
    this.#do(() => this.#restart({ name: 'administrative-reset' }, this.#config, this.#machine.config))
  }

  /** Ends the session for good; `done` is called when its last message was delivered, or could not be. */
  stop(cease: Cease, done: () => void, options: { readonly keepRoutes: boolean }): void {
    this.#do(() => {
      const { state } = leadingSession(this.#machine.current)
      const silent =
        options.keepRoutes && state.name === 'Established' && state.negotiated.gracefulRestart !== undefined
      this.#cancelStart?.()
      this.#command(silent ? { type: 'ManualStop' } : { type: 'ManualStop', cease })
      this.#issues.end()
      this.#report.end()
      this.#connections.whenDelivered(done)
    })
  }

  /** BFD's word about the path. `failure`: it was up and is not any more, which ends the session (RFC 5882 section 4.2, RFC 9384). */
  pathChanged(state: PathState | undefined, failure?: string): void {
    if (state === this.#bfd && failure === undefined) return
    this.#do(() => {
      this.#bfd = state
      if (failure !== undefined && hasPeer(this.#report.state))
        this.#command({ type: 'AutomaticStop', cease: { name: 'bfd-down' }, reason: failure })
      this.#report.publish()
    })
  }

  /** Why BFD can not watch the path; undefined: it can, or is off. */
  pathUnwatched(reason: string | undefined): void {
    if (reason === this.#bfdError) return
    this.#do(() => {
      this.#bfdError = reason
      if (reason !== undefined) this.#report.log('warn', { event: 'bfd-failing', reason })
      this.#report.publish()
    })
  }

  /** The router is there: a retry that is due some time is due now. Where failures are damped (Idle) that stands. */
  routerHeard(): void {
    this.#do(() => {
      const { state } = this.#report
      if (this.#config.passive || (state !== 'Connect' && state !== 'Active')) return
      this.#command({ type: 'ManualStop' })
      this.#startUnlessShutDown()
    })
  }

  /** Something outside the session keeps it from coming up. */
  noteError(reason: string): void {
    this.#do(() => {
      this.#report.fail(reason, { isTransport: false })
      this.#report.publish()
    })
  }

  // ------------------------------------------------------------------------------------------------- starts and resets

  #command(event: PeerCommand): void {
    this.#step({ type: 'peer', event })
  }

  #restart(cease: Cease, config: PeerConfig, session: SessionConfig): void {
    const talked = hasPeer(this.#report.state)
    this.#command({ type: 'ManualStop', cease })
    this.#apply(config, session, { fresh: true })
    this.#cancelStart?.()
    if (!talked) this.#startUnlessShutDown()
    else
      this.#cancelStart = this.#environment.clock.setTimer(pauseAfterResetMs, () =>
        this.#do(() => this.#startUnlessShutDown()),
      )
  }

  #startUnlessShutDown(): void {
    this.#cancelStart?.()
    this.#cancelStart = undefined
    if (this.#config.shutdown !== undefined) return
    this.#command({
      type: this.#config.passive
        ? 'AutomaticStartWithDampPeerOscillationsAndPassiveTcpEstablishment'
        : 'AutomaticStartWithDampPeerOscillations',
    })
  }

  #apply(config: PeerConfig, session: SessionConfig, options: { readonly fresh: boolean }): void {
    this.#config = config
    this.#machine.configure(session, options)
  }

  // ------------------------------------------------------------------------------------------------ a step, and its actions

  #context(): SessionContext {
    const { clock } = this.#environment
    return { config: this.#machine.config, nowMs: clock.monotonicMs(), restarting: this.#export.isRestarting }
  }

  #step(input: PeerInput, connection?: Connection): void {
    for (const action of this.#machine.step(input, this.#context())) this.#perform(action, connection)
    const machine = this.#machine.current
    this.#connections.keepOnly(machine)
    const because = input.type === 'incoming' ? 'incoming connection' : input.event.type
    const wasUp = this.#report.state === 'Established'
    this.#report.enter(leadingSession(machine).state.name, because)
    const isUp = this.#report.state === 'Established'
    if (isUp !== wasUp) this.#environment.established(this.#config.name, isUp)
    const isWaiting = machine.primary.state.name === 'Active' && machine.secondary === undefined
    // With DelayOpen, Active may have a connection.
    if (isWaiting && !this.#connections.hasOne()) this.#environment.waiting?.()
  }

  #perform(action: PeerAction, connection: Connection | undefined): void {
    if (action.type === 'session') this.#performSession(action.session, action.action)
    else if (connection === undefined) throw new Error(`${action.type} without a connection`)
    else if (action.type === 'adopt') this.#connections.adopt(action.session, connection)
    else {
      connection.abort()
      this.#report.log('debug', { event: 'connection-refused', reason: action.reason })
    }
  }

  #performSession(id: SessionId, action: SessionAction): void {
    switch (action.type) {
      case 'session-up':
        this.#up(id, action.negotiated)
        break
      case 'session-down':
        this.#down(action.cause)
        break
      case 'attempt-failed':
        // Losing a collision is how two sides that dial at once are meant to meet.
        if (action.cause.event !== 'OpenCollisionDump') this.#attemptFailed(action.cause)
        break
      case 'receive-update':
        break
      case 'receive-route-refresh':
        this.#export.refreshAsked(action.message)
        break
      default:
        this.#connections.perform(id, action)
    }
  }

  #createIo(id: SessionId): SessionIo {
    const { clock, random, transport } = this.#environment
    return createSessionIo({
      ...{ clock, random, transport },
      dialOptions: () => dialOptionsOf(this.#config),
      report: (event) => this.#do(() => this.#step({ type: 'session', session: id, event })),
      arrived: () => this.#do(() => this.#read(id)),
      drained: () => this.#do(this.#export.pump),
      wrote: (messages) => this.#report.count('messagesOut', messages),
      closed: () => this.#do(this.#connections.delivered),
    })
  }

  #read(id: SessionId): void {
    for (;;) {
      const session = sessionOf(this.#machine.current, id)
      const connected = this.#connections.connected(id)
      if (session === undefined || connected === undefined) return
      const received = connected.receiver.next(session.state, this.#context(), this.#config.maxPrefixesIn)
      if (received === undefined) return
      this.#report.count('messagesIn', 1)
      this.#issues.note(received)
      if (received.tooMany !== undefined) this.#command(tooManyPrefixes(received.tooMany, this.#config.maxPrefixesIn))
      else this.#step({ type: 'session', session: id, event: received.event })
    }
  }

  // -------------------------------------------------------------------------------------------------- up and down

  #up(id: SessionId, negotiated: Negotiated): void {
    const connection = this.#connections.connected(id)?.connection
    if (connection === undefined) throw new Error('a session is up without a connection')
    const { table, isReady } = this.#environment
    this.#report.count('establishedCount', 1)
    if (connection.reduced !== undefined) this.#report.fail(connection.reduced, { isTransport: false })
    const context = exportContextOf(this.#config, negotiated, connection)
    this.#export.up({ connection, negotiated, context, table: table(this.#config.table) })
    // In its turn, after the state was reported: what follows may take a while.
    if (isReady()) this.#do(this.#export.begin)
  }

  #down(cause: DownCause): void {
    if (!cause.intended) this.#report.fail(cause.reason, { isTransport: false })
    this.#export.down()
  }

  #attemptFailed(cause: DownCause): void {
    if (cause.intended) return
    const isTransport = cause.event === 'TcpConnectionFails' || cause.event === 'ConnectRetryTimerExpires'
    this.#report.fail(`${cause.reason}${isTransport ? this.#hints(cause) : ''}`, { isTransport })
  }

  /** What else looks like a router that does not answer. */
  #hints({ event }: DownCause): string {
    const { address, password } = this.#config
    const isMuted = event === 'ConnectRetryTimerExpires' && password !== undefined
    const isTooFar = socketOptionsOf(this.#config).ttl === 1 && !this.#environment.transport.isNeighbor(address)
    return [
      isMuted ? '; a TCP-MD5 password that differs from the router looks like this, too' : '',
      isTooFar ? '; it is on no network of this host, and an eBGP session without ebgpMultihop goes no further' : '',
    ].join('')
  }

  #changeTable(before: string): void {
    const { table } = this.#environment
    const current = table(this.#config.table)
    for (const [prefix, route] of table(before)) if (current.get(prefix) !== route) this.routeReplaced(route)
    this.#export.moveTo(current)
  }

  #facts(): SessionFacts {
    const connected = this.#connections.connected(leadingSession(this.#machine.current).id)
    const { negotiated, announcedPaths, announcedPrefixes } = this.#export
    return {
      ...(connected === undefined ? {} : { localAddress: connected.connection.localAddress }),
      ...(negotiated === undefined ? {} : negotiatedFacts(negotiated)),
      ...(negotiated === undefined || connected === undefined
        ? {}
        : nextHopFacts(this.#config, negotiated, connected.connection)),
      ...(this.#bfd === undefined ? {} : { bfd: this.#bfd }),
      ...(this.#bfdError === undefined ? {} : { bfdError: this.#bfdError }),
      announcedPaths,
      announcedPrefixes,
      receivedPrefixes: negotiated === undefined ? 0 : (connected?.receiver.receivedPrefixes ?? 0),
    }
  }
}
