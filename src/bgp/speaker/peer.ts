// One peer: feeds its state machine with what happens, does what the machine says, and tells the world about it. The decisions
// are in bgp/fsm, the bytes in receiver.ts and announcer.ts; this file owns the order in which things happen.

import type { RouterId } from '../../net/asn.ts'
import type { Prefix } from '../../net/prefix.ts'
import type { Clock, Random } from '../../runtime/clock.ts'
import type { Cease } from '../fsm/cease.ts'
import {
  initialMachine,
  leadingSession,
  type PeerAction,
  type PeerCommand,
  type PeerInput,
  type PeerMachine,
  peerTransition,
  type SessionId,
} from '../fsm/collision.ts'
import type { Negotiated } from '../fsm/negotiate.ts'
import type { DownCause, SessionAction, SessionConfig, SessionContext } from '../fsm/session.ts'
import { type AfiSafi, type Family, familyOfAfiSafi } from '../packet/message.ts'
import type { Route } from '../rib/route.ts'
import type { UpdateGroups } from '../rib/update-groups.ts'
import { type Announcer, createAnnouncer } from './announcer.ts'
import { createLogLimit, type LogLimit, peerLogLimit } from './log-limit.ts'
import {
  exportContextOf,
  hasPeer,
  hexOf,
  negotiatedFacts,
  nextHopFacts,
  sessionOf,
  stopWith,
  tooManyPrefixes,
} from './peer-facts.ts'
import { createPeerReport, type PeerReport, type SessionFacts } from './peer-report.ts'
import type { PathState, PeerConfig, SpeakerEvent } from './protocol.ts'
import type { Received } from './receiver.ts'
import { freshMachine, outcomeOf, type Recorder } from './recording.ts'
import { createRefreshPace, type RefreshPace } from './refresh-pace.ts'
import { createRemembered, type Remembered } from './remembered.ts'
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
  #session: SessionConfig
  #machine: PeerMachine = initialMachine
  readonly #ios = new Map<SessionId, SessionIo>()
  #announcer: Announcer | undefined
  readonly #remembered: Remembered
  /** The R bit: until the first End-of-RIB that this process sent to the peer. */
  #restarting = true

  // What happens while something is being done waits its turn here.
  readonly #tasks: (() => void)[] = []
  #busy = false
  #closing = 0
  #whenClosed: (() => void) | undefined

  readonly #report: PeerReport
  readonly #issues: LogLimit
  readonly #refreshes: RefreshPace
  /** Of the path to the router; undefined: nobody watches it. */
  #bfd: PathState | undefined
  /** Why nobody can watch it. */
  #bfdError: string | undefined
  /** A start that is due a moment after a reset. */
  #cancelStart: (() => void) | undefined

  constructor(config: PeerConfig, routerId: RouterId, environment: PeerEnvironment) {
    this.#environment = environment
    this.#config = config
    this.#session = sessionConfigOf(config, routerId, environment.hostname)
    // A dead connection is noticed after the hold time; twice that covers the announcement of a new one.
    this.#remembered = createRemembered(2000 * Math.max(config.holdTimeSeconds, 90))
    this.#report = createPeerReport({
      peer: config.name,
      clock: environment.clock,
      emit: environment.emit,
      facts: () => this.#facts(),
    })
    const { clock } = environment
    this.#issues = createLogLimit({
      ...{ clock, ...peerLogLimit },
      suppressed: (count) => this.#report.log('warn', { event: 'update-issues-suppressed', count }),
    })
    this.#refreshes = createRefreshPace(clock, (family, requests) =>
      this.#do(() => this.#answerRefresh(family, requests)),
    )
    this.#recordConfig({ fresh: true })
  }

  get config(): PeerConfig {
    return this.#config
  }

  /** Whether the session is up and everything that its table says was written. */
  get isFlushed(): boolean {
    return this.#announcer === undefined || this.#announcer.idle
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
        ...(routerId === this.#session.routerId ? [] : ['routerId']),
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
    if (this.#config.gracefulRestart !== undefined && this.#announcer !== undefined)
      this.#remembered.replaced(before, this.#environment.clock.monotonicMs())
  }

  /** Writes what is due. */
  pump(): void {
    this.#do(() => this.#announcer?.pump())
  }

  /** The first full plan is there: announce. */
  begin(): void {
    this.#do(() => this.#announcer?.begin())
  }

  /** What the peer may hold from an earlier process. */
  remember(routes: Iterable<Route>): void {
    if (this.#config.gracefulRestart !== undefined) this.#remembered.keep(routes, this.#environment.clock.monotonicMs())
  }

  /** Sends everything again. */
  resend(): void {
    this.#do(() => {
      for (const family of this.#announcer?.negotiated.families ?? []) this.#announcer?.refresh(family)
    })
  }

  /** Ends the session and begins a new one. */
  reset(): void {
    this.#do(() => this.#restart({ name: 'administrative-reset' }, this.#config, this.#session))
  }

  /** Ends the session for good; `done` is called when its last message was delivered, or could not be. */
  stop(cease: Cease, done: () => void, options: { readonly keepRoutes: boolean }): void {
    this.#do(() => {
      const { state } = leadingSession(this.#machine)
      const silent =
        options.keepRoutes && state.name === 'Established' && state.negotiated.gracefulRestart !== undefined
      this.#whenClosed = done
      this.#cancelStart?.()
      this.#command(silent ? { type: 'ManualStop' } : { type: 'ManualStop', cease })
      this.#issues.end()
      this.#report.end()
      this.#checkClosed()
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

  // ---------------------------------------------------------------------------------------------------- one at a time

  #do(task: () => void): void {
    this.#tasks.push(task)
    if (this.#busy) return
    this.#busy = true
    try {
      for (let next = this.#tasks.shift(); next !== undefined; next = this.#tasks.shift()) next()
    } finally {
      this.#busy = false
    }
  }

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
    const same = equal(session, this.#session)
    this.#config = config
    this.#session = session
    if (options.fresh) this.#machine = freshMachine(this.#machine)
    if (options.fresh || !same) this.#recordConfig(options)
  }

  #recordConfig({ fresh }: { readonly fresh: boolean }): void {
    const machine = this.#machine
    const entry = { type: 'configured', peer: this.#config.name, config: this.#session } as const
    this.#environment.record?.(fresh ? { ...entry, machine } : entry, machine)
  }

  #context(): SessionContext {
    return { config: this.#session, nowMs: this.#environment.clock.monotonicMs(), restarting: this.#restarting }
  }

  #step(input: PeerInput, connection?: Connection): void {
    const context = this.#context()
    const { nowMs, restarting } = context
    const { record } = this.#environment
    const peer = this.#config.name
    record?.({ type: 'input', peer, atMs: nowMs, restarting, input }, this.#machine)
    const [machine, actions] = peerTransition(this.#machine, input, context)
    this.#machine = machine
    record?.({ type: 'outcome', peer, ...outcomeOf(machine, actions) }, machine)
    for (const action of actions) this.#perform(action, connection)
    for (const id of this.#ios.keys()) if (sessionOf(machine, id) === undefined) this.#ios.delete(id)
    const because = input.type === 'incoming' ? 'incoming connection' : input.event.type
    const wasUp = this.#report.state === 'Established'
    this.#report.enter(leadingSession(machine).state.name, because)
    const isUp = this.#report.state === 'Established'
    if (isUp !== wasUp) this.#environment.established(peer, isUp)
    if (machine.primary.state.name === 'Active' && machine.secondary === undefined) this.#checkWaiting()
  }

  // With DelayOpen, Active may have a connection.
  #checkWaiting(): void {
    for (const { connected } of this.#ios.values()) if (connected !== undefined) return
    this.#environment.waiting?.()
  }

  #perform(action: PeerAction, connection: Connection | undefined): void {
    if (action.type === 'session') this.#performSession(action.session, action.action)
    else if (connection === undefined) throw new Error(`${action.type} without a connection`)
    else if (action.type === 'adopt') this.#io(action.session).adopt(connection)
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
        this.#refresh(action.message)
        break
      case 'disconnect':
        if (this.#io(id).connected !== undefined) this.#closing++
        this.#io(id).perform(action)
        break
      default:
        this.#io(id).perform(action)
    }
  }

  #io(id: SessionId): SessionIo {
    const known = this.#ios.get(id)
    if (known !== undefined) return known
    const { clock, random, transport } = this.#environment
    const io = createSessionIo({
      clock,
      random,
      transport,
      dialOptions: () => dialOptionsOf(this.#config),
      report: (event) => this.#do(() => this.#step({ type: 'session', session: id, event })),
      arrived: () => this.#do(() => this.#read(id, io)),
      drained: () => this.#do(() => this.#announcer?.pump()),
      wrote: (messages) => this.#report.count('messagesOut', messages),
      closed: () =>
        this.#do(() => {
          this.#closing--
          this.#checkClosed()
        }),
    })
    this.#ios.set(id, io)
    return io
  }

  #checkClosed(): void {
    if (this.#closing > 0) return
    const done = this.#whenClosed
    this.#whenClosed = undefined
    done?.()
  }

  // ----------------------------------------------------------------------------------------------------- what arrives

  #read(id: SessionId, io: SessionIo): void {
    for (;;) {
      const session = sessionOf(this.#machine, id)
      const { connected } = io
      if (session === undefined || connected === undefined) return
      const received = connected.receiver.next(session.state, this.#context(), this.#config.maxPrefixesIn)
      if (received === undefined) return
      this.#report.count('messagesIn', 1)
      if (received.offending !== undefined) this.#logOffending(received, received.offending)
      if (received.tooMany !== undefined) this.#command(tooManyPrefixes(received.tooMany, this.#config.maxPrefixesIn))
      else this.#step({ type: 'session', session: id, event: received.event })
    }
  }

  #logOffending({ event, issues }: Received, offending: Uint8Array): void {
    const message = hexOf(offending)
    for (const issue of issues)
      if (this.#issues.admits()) this.#report.log('warn', { event: 'update-issue', ...issue, message })
    if (!('error' in event) || !this.#issues.admits()) return
    const { code, subcode, reason } = event.error
    this.#report.log('warn', { event: 'message-error', code, subcode, reason, message })
  }

  #refresh({ afi, safi, subtype }: AfiSafi & { readonly subtype: number }): void {
    const family = familyOfAfiSafi({ afi, safi })
    // BoRR and EoRR of the peer's own table, and subtypes nobody knows, are of no interest (RFC 7313 section 4).
    if (subtype !== 0 || family === undefined || !this.#announcer?.negotiated.codec.families.has(family)) return
    this.#refreshes.asked(family)
  }

  #answerRefresh(family: Family, requests: number): void {
    this.#report.log('info', { event: 'route-refresh', family, requests })
    this.#announcer?.refresh(family)
  }

  // -------------------------------------------------------------------------------------------------- up and down

  #up(id: SessionId, negotiated: Negotiated): void {
    const connection = this.#io(id).connected?.connection
    if (connection === undefined) throw new Error('a session is up without a connection')
    const { clock, table, updateGroups, isReady, drained } = this.#environment
    const remembered = this.#remembered.take()
    // Should one be withdrawn now, and this connection be lost with the withdrawal.
    for (const route of remembered) this.#remembered.replaced(route, clock.monotonicMs())
    const context = exportContextOf(this.#config, negotiated, connection)
    this.#report.count('establishedCount', 1)
    if (connection.reduced !== undefined) this.#report.fail(connection.reduced, { isTransport: false })
    this.#announcer = createAnnouncer({
      stream: updateGroups.join(context, table(this.#config.table), remembered),
      connection,
      negotiated,
      clock,
      wrote: (messages) => {
        this.#report.count('messagesOut', messages)
        this.#report.count('updatesOut', messages)
      },
      drained: () => {
        this.#restarting = false
        drained()
      },
    })
    // Not before the state was reported: what follows may take a while.
    if (isReady()) this.#tasks.push(() => this.#announcer?.begin())
  }

  #down(cause: DownCause): void {
    const announcer = this.#announcer
    this.#announcer = undefined
    this.#refreshes.end()
    if (announcer?.negotiated.gracefulRestart !== undefined)
      this.#remembered.keep(announcer.stream.sentRoutes(), this.#environment.clock.monotonicMs())
    announcer?.end()
    if (!cause.intended) this.#report.fail(cause.reason, { isTransport: false })
    this.#environment.drained()
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
    this.#announcer?.stream.moveTo(current)
    this.#announcer?.pump()
  }

  #facts(): SessionFacts {
    const connected = this.#ios.get(leadingSession(this.#machine).id)?.connected
    const announcer = this.#announcer
    return {
      ...(connected === undefined ? {} : { localAddress: connected.connection.localAddress }),
      ...(announcer === undefined ? {} : negotiatedFacts(announcer.negotiated)),
      ...(announcer === undefined || connected === undefined
        ? {}
        : nextHopFacts(this.#config, announcer.negotiated, connected.connection)),
      ...(this.#bfd === undefined ? {} : { bfd: this.#bfd }),
      ...(this.#bfdError === undefined ? {} : { bfdError: this.#bfdError }),
      announcedPaths: announcer?.stream.announcedPaths ?? 0,
      announcedPrefixes: announcer?.stream.announcedPrefixes ?? 0,
      receivedPrefixes: announcer === undefined ? 0 : (connected?.receiver.receivedPrefixes ?? 0),
    }
  }
}
