// One range from which routers may dial in: which of them has a session, how many may have one, and when one is gone again.
//
// A session is over when its peer waits for a connection again: after the pause that follows a failure, during which the router is
// refused, so that one that dials without end costs a session a second at most. With graceful restart it is kept for the restart
// time, since what the router still holds of us has to be known when it comes back.

import type { Clock } from '../../runtime/clock.ts'
import type { Cease } from '../fsm/cease.ts'
import type { Peer } from './peer.ts'
import type { PeerConfig, PeerRange, SessionStatus, SpeakerEvent } from './protocol.ts'
import { createRangeReport, type RangeReport } from './range-report.ts'
import { dynamicName, dynamicPeerOf } from './session-config.ts'
import { type Connection, type Place, renderPlace } from './transport.ts'

export interface DynamicRangeOptions {
  readonly clock: Clock
  readonly emit: (event: SpeakerEvent) => void
  /** Creates a peer, not yet started. `waiting` is called whenever it has no connection and waits for one. */
  readonly create: (
    config: PeerConfig,
    hooks: { readonly emit: (event: SpeakerEvent) => void; readonly waiting: () => void },
  ) => Peer
  /** A peer has come, or is gone by itself. */
  readonly changed: () => void
}

/** A router that has dialled in. */
interface DynamicSession {
  readonly place: Place
  readonly peer: Peer
  /** As last reported. */
  status: SessionStatus | undefined
  /** It has had its connection: when it waits again, it is over. */
  connected: boolean
  /** The end of the restart time; undefined: the router is not away. */
  cancelRestart: (() => void) | undefined
  gone: boolean
}

export class DynamicRange {
  readonly #options: DynamicRangeOptions
  readonly #report: RangeReport
  /** By the name of the peer. */
  readonly #sessions = new Map<string, DynamicSession>()
  #config: PeerRange
  #stopped = false

  constructor(config: PeerRange, options: DynamicRangeOptions) {
    const { clock, emit } = options
    this.#options = options
    this.#config = config
    this.#report = createRangeReport({ range: config.name, clock, emit, sessions: () => this.#sessions.size })
    this.#report.publishSoon()
  }

  get config(): PeerRange {
    return this.#config
  }

  *peers(): Generator<Peer> {
    for (const { peer } of this.#sessions.values()) yield peer
  }

  peerNamed(name: string): Peer | undefined {
    return this.#sessions.get(name)?.peer
  }

  /** Something keeps the range, or a router in it, from being let in. */
  noteError(reason: string): void {
    this.#report.fail(reason)
  }

  /** Settings for those who come from now on; `review` follows. */
  configure(config: PeerRange): void {
    this.#config = config
  }

  /** Ends the sessions of whoever has no place in the range any more; all others are handed their settings. */
  review(belongs: (place: Place) => boolean, reconfigure: (peer: Peer, config: PeerConfig) => void): void {
    const { except, shutdown } = this.#config
    for (const session of [...this.#sessions.values()]) {
      const { place, peer } = session
      if (!belongs(place) || except?.includes(place.address) === true) this.#end(session, { name: 'peer-deconfigured' })
      else if (shutdown !== undefined) this.#end(session, { name: 'administrative-shutdown', text: shutdown })
      else reconfigure(peer, dynamicPeerOf(this.#config, place))
    }
  }

  /** A connection from a router of the range; returns why it can not be taken. */
  incoming(connection: Connection): string | undefined {
    const place = connection.remote
    const { name, shutdown, maxSessions, except } = this.#config
    if (except?.includes(place.address) === true)
      return this.#refuse(place, 'it has a peer of its own, which can not be used as it is configured')
    if (shutdown !== undefined) return this.#refuse(place, `${name} is shut down`)
    const known = this.#sessions.get(dynamicName(name, place))
    if (known === undefined && !this.#hasRoom())
      return this.#refuse(place, `${name} has ${maxSessions} sessions, as many as it may have (maxSessions)`)
    const session = known ?? this.#begin(place)
    session.cancelRestart?.()
    session.cancelRestart = undefined
    session.connected = true
    session.peer.incoming(connection)
    return undefined
  }

  /** The range is not configured any more; its sessions have ended. */
  remove(): void {
    this.#report.end()
    this.#options.emit({ type: 'range-gone', range: this.#config.name })
  }

  /** From now on nothing is forgotten: the speaker closes its sessions. */
  stop(): void {
    this.#stopped = true
    this.#report.end()
    for (const { cancelRestart } of this.#sessions.values()) cancelRestart?.()
  }

  // -------------------------------------------------------------------------------------------------- coming and going

  #begin(place: Place): DynamicSession {
    const config = dynamicPeerOf(this.#config, place)
    const peer = this.#options.create(config, {
      emit: (event) => this.#tell(session, event),
      waiting: () => this.#waiting(session),
    })
    const session: DynamicSession = {
      ...{ place, peer, status: undefined },
      ...{ connected: false, cancelRestart: undefined, gone: false },
    }
    this.#sessions.set(config.name, session)
    peer.start()
    this.#options.changed()
    this.#report.publishSoon()
    return session
  }

  #end(session: DynamicSession, cease: Cease): void {
    this.#forget(session)
    session.peer.stop(cease, () => {}, { keepRoutes: false })
  }

  #forget(session: DynamicSession): void {
    if (session.gone) return
    const { name } = session.peer.config
    session.gone = true
    session.cancelRestart?.()
    this.#sessions.delete(name)
    if (session.status !== undefined) this.#report.inherit(session.status)
    this.#options.emit({ type: 'session-gone', peer: name })
    this.#report.publishSoon()
  }

  #waiting(session: DynamicSession): void {
    if (!session.connected || session.gone || this.#stopped) return
    const { gracefulRestart } = this.#config
    const over = (): void => {
      this.#end(session, { name: 'peer-deconfigured' })
      this.#options.changed()
    }
    if (gracefulRestart === undefined) over()
    else session.cancelRestart ??= this.#options.clock.setTimer(1000 * gracefulRestart.restartSeconds, over)
  }

  /** Room for one more, at the cost of a router that is away if need be. */
  #hasRoom(): boolean {
    if (this.#sessions.size < this.#config.maxSessions) return true
    const away = [...this.#sessions.values()].find(({ cancelRestart }) => cancelRestart !== undefined)
    if (away !== undefined) this.#end(away, { name: 'peer-deconfigured' })
    return away !== undefined
  }

  #refuse(place: Place, reason: string): string {
    this.#report.refuse(`${renderPlace(place)} was refused: ${reason}`)
    return reason
  }

  /** Passes on what a peer says, with the range it belongs to. */
  #tell(session: DynamicSession, event: SpeakerEvent): void {
    if (event.type === 'log') this.#report.log(event)
    else if (event.type !== 'session') this.#options.emit(event)
    if (event.type !== 'session' || session.gone) return
    const remote = renderPlace(session.place)
    const status: SessionStatus = { ...event.status, dynamic: { range: this.#config.name, remote } }
    const { lastError, lastErrorAtMs } = status
    if (lastError !== undefined && lastErrorAtMs !== session.status?.lastErrorAtMs)
      this.#report.fail(`${remote}: ${lastError}`, lastErrorAtMs)
    session.status = status
    this.#options.emit({ type: 'session', status })
  }
}
