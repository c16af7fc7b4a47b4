// Many BFD sessions over a few sockets and one timer: how they come and go, which of them a packet is for, and when each of them sends
// and expires. What a session does is decided in session.ts and done in running-session.ts.
//
// A stalled process must not take silence for a dead peer: the packets may be waiting in its own socket. So nothing expires before
// the sockets were read to the bottom, after everything that was due was sent. And because a socket holds only so much, and a
// machine that was paused has received nothing, the first silence found after a stall is forgiven for one packet interval, once
// until the peer is heard again.

import type { Clock, Random } from '../runtime/clock.ts'
import type { AuthenticationRefusal } from './authentication.ts'
import { createDueQueue } from './due-queue.ts'
import { createListeners, type Listeners } from './listeners.ts'
import { type BfdControl, type BfdPacketError, decodeBfd } from './packet.ts'
import { RunningSession, type SessionHost } from './running-session.ts'
import {
  type BfdEvent,
  type BfdListening,
  type BfdSessionConfig,
  type BfdStatus,
  pathOf,
  samePath,
} from './session-config.ts'
import { createSessionDirectory, type SessionDirectory } from './session-directory.ts'
import type { BfdDatagram, BfdPlace, BfdSource, BfdTransport } from './transport.ts'

export interface BfdEngineOptions {
  readonly clock: Clock
  /** For jitter and discriminators: whoever can predict it can forge packets for sessions over several hops. */
  readonly random: Random
  readonly transport: BfdTransport
  readonly listening: BfdListening
  /** Called when the engine has done what it was doing; may ask for anything. */
  readonly onEvent: (event: BfdEvent) => void
}

export type BfdDropReason = BfdPacketError['code'] | AuthenticationRefusal | 'bfd/unknown-session' | 'bfd/wrong-port'

export interface BfdCounters {
  readonly received: number
  readonly sent: number
  /** Packets that no session got. */
  readonly dropped: ReadonlyMap<BfdDropReason, number>
}

export interface BfdEngine {
  /** The complete list. Sessions that are not in it tell their peer AdminDown for a while and are gone; unchanged ones are not touched. */
  readonly setSessions: (configs: readonly BfdSessionConfig[]) => void
  readonly status: (key: string) => BfdStatus | undefined
  readonly counters: () => BfdCounters
  /** Tells every peer AdminDown, once, and closes everything. */
  readonly stop: () => void
}

/** A timer that fires so late means that the process did not run meanwhile. */
const stallMs = 50
/**
 * Up to so many sessions send together: whoever may send already does when one of them has to, or when a packet comes (within the
 * jitter of section 6.8.7). To wake up costs an idle agent more than to send; among thousands it would be a burst.
 */
const companyMax = 8

export function createBfdEngine(options: BfdEngineOptions): BfdEngine {
  return new Engine(options)
}

class Engine implements BfdEngine {
  readonly #options: BfdEngineOptions
  readonly #host: SessionHost
  readonly #listeners: Listeners
  readonly #sessions = new Map<string, RunningSession>()
  /** Not configured any more, saying so. */
  readonly #leaving = new Set<RunningSession>()
  readonly #directory: SessionDirectory
  readonly #queue = createDueQueue<RunningSession>()
  readonly #dropped = new Map<BfdDropReason, number>()
  #received = 0
  #sent = 0

  /** When the timer is to fire; undefined: there is none. */
  #wakeAtMs: number | undefined
  #cancelWake: (() => void) | undefined
  #depth = 0
  #events: BfdEvent[] = []

  constructor(options: BfdEngineOptions) {
    const { clock, random, transport, listening } = options
    this.#options = options
    this.#directory = createSessionDirectory(random)
    this.#listeners = createListeners({
      ...{ clock, transport, listening },
      received: (datagram, place) =>
        this.#do(() => {
          this.#receive(datagram, place)
          this.#sendAlong()
        }),
      changed: () => this.#do(() => this.#noteErrors()),
    })
    this.#host = {
      ...{ clock, random, transport },
      deafness: (config) => this.#listeners.errorOf(config),
      unheard: (config) => this.#listeners.checkAddress(config),
      emit: (event) => void this.#events.push(event),
      schedule: (session) => this.#queue.set(session, session.deadlineMs),
      sent: () => {
        this.#sent++
      },
    }
  }

  // ---------------------------------------------------------------------------------------------- what the owner asks

  setSessions(configs: readonly BfdSessionConfig[]): void {
    this.#do(() => {
      const wanted = new Map(configs.map((config) => [config.key, config]))
      if (wanted.size !== configs.length) throw new Error('two BFD sessions have one key')
      for (const session of [...this.#sessions.values()]) {
        const next = wanted.get(session.config.key)
        if (next === undefined || !samePath(next, session.config)) this.#leave(session)
      }
      // Before anything is sent, so that the answer finds somebody.
      this.#listen(configs)
      for (const config of configs) {
        const known = this.#sessions.get(config.key) ?? this.#comeBack(config)
        if (known === undefined) this.#start(config)
        else known.reconfigure(config)
      }
      this.#noteErrors()
    })
  }

  status(key: string): BfdStatus | undefined {
    return this.#sessions.get(key)?.status()
  }

  counters(): BfdCounters {
    return { received: this.#received, sent: this.#sent, dropped: new Map(this.#dropped) }
  }

  stop(): void {
    this.#do(() => {
      for (const session of [...this.#sessions.values()]) this.#leave(session)
      for (const session of [...this.#leaving]) this.#remove(session)
      this.#listeners.close()
    })
  }

  // -------------------------------------------------------------------------------------------------- coming and going

  #start(config: BfdSessionConfig): void {
    const session = new RunningSession(config, this.#directory.freeDiscriminator(), this.#host)
    this.#sessions.set(config.key, session)
    this.#directory.add(session)
  }

  #leave(session: RunningSession): void {
    const isHeard = session.leave()
    this.#sessions.delete(session.config.key)
    this.#leaving.add(session)
    this.#directory.dismiss(session)
    if (!isHeard) this.#remove(session)
  }

  /** A session that was about to leave and is wanted again, with the discriminator that its peer knows. */
  #comeBack(config: BfdSessionConfig): RunningSession | undefined {
    for (const session of this.#leaving)
      if (session.config.key === config.key && samePath(session.config, config)) {
        this.#leaving.delete(session)
        session.comeBack()
        this.#sessions.set(config.key, session)
        this.#directory.add(session)
        return session
      }
    return undefined
  }

  #remove(session: RunningSession): void {
    this.#leaving.delete(session)
    this.#directory.remove(session)
    this.#queue.set(session, Number.POSITIVE_INFINITY)
    session.close()
  }

  #listen(configs: readonly BfdSessionConfig[]): void {
    this.#listeners.set([...configs, ...[...this.#leaving].map(({ config }) => config)])
  }

  #noteErrors(): void {
    for (const session of this.#sessions.values()) session.noteError()
  }

  // ----------------------------------------------------------------------------------------------------------- packets

  #receive({ bytes, source }: BfdDatagram, place: BfdPlace): void {
    this.#received++
    const decoded = decodeBfd(bytes)
    if (!decoded.ok) {
      this.#drop(decoded.error.code)
      return
    }
    const session = this.#sessionOf(decoded.value.packet, source, place)
    if (session === undefined || pathOf(session.config).hops !== place.hops) {
      this.#drop(session === undefined ? 'bfd/unknown-session' : 'bfd/wrong-port')
      return
    }
    const refused = session.receive(decoded.value, bytes)
    if (refused !== undefined) this.#drop(refused)
  }

  #sessionOf({ yourDiscriminator }: BfdControl, source: () => BfdSource, place: BfdPlace): RunningSession | undefined {
    return yourDiscriminator === 0
      ? this.#directory.bySource(source(), place)
      : this.#directory.byDiscriminator(yourDiscriminator)
  }

  #drop(reason: BfdDropReason): void {
    this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1)
  }

  // -------------------------------------------------------------------------------------------------------------- time

  /** Runs a task, then does what follows from it once: the events, the timer. */
  #do(task: () => void): void {
    this.#depth++
    try {
      task()
    } finally {
      this.#depth--
    }
    if (this.#depth > 0) return
    this.#arm()
    const events = this.#events
    this.#events = []
    for (const event of events) this.#options.onEvent(event)
  }

  #arm(): void {
    const first = this.#queue.first()
    // One that fires too early finds nothing to do, which is cheaper than a new timer for each packet.
    if (first !== undefined && this.#wakeAtMs !== undefined && this.#wakeAtMs <= first.dueMs) return
    this.#cancelWake?.()
    this.#cancelWake = undefined
    this.#wakeAtMs = first?.dueMs
    if (first === undefined) return
    const { clock } = this.#options
    // Whole milliseconds are what a timer can do; rounded up, because one that fires before its time does it twice.
    const delayMs = Math.max(0, Math.ceil(first.dueMs - clock.monotonicMs()))
    const plannedMs = clock.monotonicMs() + delayMs
    this.#cancelWake = clock.setTimer(delayMs, () => {
      this.#cancelWake = undefined
      this.#wakeAtMs = undefined
      this.#do(() => this.#wake({ stalled: clock.monotonicMs() - plannedMs > stallMs }))
    })
  }

  #wake({ stalled }: { readonly stalled: boolean }): void {
    const now = this.#options.clock.monotonicMs()
    const silent: RunningSession[] = []
    let left = false
    for (let next = this.#queue.first(); next !== undefined && next.dueMs <= now; next = this.#queue.first()) {
      const due = next.wake(now)
      if (due === 'over') {
        this.#remove(next)
        left = true
      } else if (due === undefined) this.#queue.set(next, next.deadlineMs)
      else {
        silent.push(next)
        this.#queue.set(next, Number.POSITIVE_INFINITY)
      }
    }
    if (left) this.#listen([...this.#sessions.values()].map(({ config }) => config))
    this.#sendAlong()
    if (silent.length === 0) return
    this.#listeners.drain()
    for (const session of silent) {
      session.expire(now, { stalled })
      this.#queue.set(session, session.deadlineMs)
    }
  }

  #sendAlong(): void {
    if (this.#sessions.size > companyMax) return
    const now = this.#options.clock.monotonicMs()
    for (const session of this.#sessions.values()) session.accompany(now)
  }
}
