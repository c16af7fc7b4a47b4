// Many BFD sessions over a few sockets and one timer: which session a packet is for (RFC 5880 section 6.8.6, RFC 5881 section 3),
// when each of them sends and expires, how they come and go. What a session does is decided in session.ts.
//
// A stalled process must not take silence for a dead peer: the packets may be waiting in its own socket. So nothing expires before
// the sockets were read to the bottom, after everything that was due was sent. And because a socket holds only so much, and a
// machine that was paused has received nothing, the first silence found after a stall is forgiven for one packet interval, once
// until the peer is heard again.

import type { Clock, Random } from '../runtime/clock.ts'
import {
  type AuthenticationRefusal,
  type AuthenticationState,
  authenticate,
  believe,
  initialAuthentication,
  reconfigured,
  remembered,
} from './authentication.ts'
import { createDueQueue, type Due } from './due-queue.ts'
import { createListeners, type Listeners, retryMs } from './listeners.ts'
import { type BfdControl, type BfdPacketError, type BfdReceived, decodeBfd, encodeBfd } from './packet.ts'
import {
  type BfdAction,
  type BfdSession,
  detectionTime,
  jittered,
  type BfdEvent as SessionInput,
  startBfd,
  transitionBfd,
  transmitInterval,
} from './session.ts'
import {
  type BfdEvent,
  type BfdSessionConfig,
  type BfdStatus,
  microseconds,
  pathOf,
  samePath,
} from './session-config.ts'
import type { BfdDatagram, BfdHops, BfdPlace, BfdSender, BfdSource, BfdTransport } from './transport.ts'

export interface BfdEngineOptions {
  readonly clock: Clock
  /** For jitter and discriminators: whoever can predict it can forge packets for sessions over several hops. */
  readonly random: Random
  readonly transport: BfdTransport
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
/** Longest time for which a session that is not configured any more says AdminDown. */
const farewellMsMax = 10_000

interface Running extends Due {
  config: BfdSessionConfig
  session: BfdSession
  authentication: AuthenticationState
  authenticated: boolean
  sender: BfdSender | undefined
  transmitAtMs: number
  detectAtMs: number
  /** When to open the sender again. */
  retryAtMs: number
  /** When the farewell is over; Infinity while configured. */
  leaveAtMs: number
  /** The silence after a stall was forgiven, and nothing was heard since. */
  forgiven: boolean
  sinceMs: number
  heardAtMs: number
  packetsIn: number
  packetsOut: number
  sendError: string | undefined
  /** While a silence is told that is not a dead host's. */
  excused: boolean
  /** As it was last told. */
  error: string | undefined
}

const never = Number.POSITIVE_INFINITY

export function createBfdEngine(options: BfdEngineOptions): BfdEngine {
  return new Engine(options)
}

class Engine implements BfdEngine {
  readonly #options: BfdEngineOptions
  readonly #listeners: Listeners
  readonly #sessions = new Map<string, Running>()
  readonly #leaving = new Set<Running>()
  readonly #byDiscriminator = new Map<number, Running>()
  readonly #bySource = new Map<string, Running[]>()
  readonly #queue = createDueQueue<Running>()
  readonly #dropped = new Map<BfdDropReason, number>()
  #received = 0
  #sent = 0

  /** When the timer is to fire; undefined: there is none. */
  #wakeAtMs: number | undefined
  #cancelWake: (() => void) | undefined
  #depth = 0
  #events: BfdEvent[] = []

  constructor(options: BfdEngineOptions) {
    this.#options = options
    this.#listeners = createListeners({
      clock: options.clock,
      transport: options.transport,
      received: (datagram, place) => this.#do(() => this.#receive(datagram, place)),
      changed: () =>
        this.#do(() => {
          for (const running of this.#sessions.values()) this.#noteError(running)
        }),
    })
  }

  // ---------------------------------------------------------------------------------------------- what the owner asks

  setSessions(configs: readonly BfdSessionConfig[]): void {
    this.#do(() => {
      const wanted = new Map(configs.map((config) => [config.key, config]))
      if (wanted.size !== configs.length) throw new Error('two BFD sessions have one key')
      for (const running of [...this.#sessions.values()]) {
        const next = wanted.get(running.config.key)
        if (next === undefined || !samePath(next, running.config)) this.#leave(running)
      }
      // Before anything is sent, so that the answer finds somebody.
      this.#listen(configs)
      for (const config of configs) {
        const known = this.#sessions.get(config.key) ?? this.#return(config)
        if (known === undefined) this.#start(config)
        else this.#reconfigure(known, config)
      }
      for (const running of this.#sessions.values()) this.#noteError(running)
    })
  }

  status(key: string): BfdStatus | undefined {
    const running = this.#sessions.get(key)
    if (running === undefined) return undefined
    const { session, sinceMs, heardAtMs, packetsIn, packetsOut, error } = running
    return {
      state: session.state,
      sinceMs,
      diagnostic: session.diagnostic,
      remoteState: session.remote.state,
      localDiscriminator: session.localDiscriminator,
      remoteDiscriminator: session.remote.discriminator,
      transmitMs: transmitInterval(session) / 1000,
      detectionMs: detectionTime(session) / 1000,
      silentMs: this.#options.clock.monotonicMs() - heardAtMs,
      authenticated: running.authenticated,
      packetsIn,
      packetsOut,
      ...(error === undefined ? {} : { error }),
    }
  }

  counters(): BfdCounters {
    return { received: this.#received, sent: this.#sent, dropped: new Map(this.#dropped) }
  }

  stop(): void {
    this.#do(() => {
      for (const running of [...this.#sessions.values()]) this.#leave(running)
      for (const running of [...this.#leaving]) this.#remove(running)
      this.#listeners.close()
    })
  }

  // -------------------------------------------------------------------------------------------------- coming and going

  #start(config: BfdSessionConfig): void {
    const [session, actions] = startBfd(this.#discriminator(), microseconds(config))
    const running: Running = {
      config,
      session,
      authentication: reconfigured(
        initialAuthentication(session.localDiscriminator),
        undefined,
        config.authentication,
        this.#options.clock.monotonicMs(),
      ),
      authenticated: false,
      sender: undefined,
      transmitAtMs: never,
      detectAtMs: never,
      retryAtMs: never,
      leaveAtMs: never,
      forgiven: false,
      sinceMs: this.#options.clock.wallMs(),
      heardAtMs: Number.NEGATIVE_INFINITY,
      packetsIn: 0,
      packetsOut: 0,
      sendError: undefined,
      excused: false,
      error: undefined,
      dueMs: never,
      place: -1,
    }
    this.#sessions.set(config.key, running)
    this.#byDiscriminator.set(session.localDiscriminator, running)
    this.#addSource(running)
    this.#open(running)
    if (config.adminDown) this.#step(running, { type: 'admin-down' })
    else this.#perform(running, actions)
  }

  // Section 6.8.16: AdminDown is said for at least a detection time, so that the peer does not take our silence for a failure.
  #leave(running: Running): void {
    this.#step(running, { type: 'admin-down' })
    this.#sessions.delete(running.config.key)
    this.#leaving.add(running)
    this.#removeSource(running)
    const { session } = running
    const farewellMs = (session.config.detectMult * transmitInterval(session)) / 1000
    const now = this.#options.clock.monotonicMs()
    running.detectAtMs = never
    running.leaveAtMs = now + Math.min(farewellMs, farewellMsMax)
    // Nobody has ever listened.
    if (session.remote.discriminator === 0) this.#remove(running)
    else this.#schedule(running)
  }

  /** A session that was about to leave and is wanted again, with the discriminator that its peer knows. */
  #return(config: BfdSessionConfig): Running | undefined {
    for (const running of this.#leaving)
      if (running.config.key === config.key && samePath(running.config, config)) {
        this.#leaving.delete(running)
        running.leaveAtMs = never
        this.#sessions.set(config.key, running)
        this.#addSource(running)
        return running
      }
    return undefined
  }

  #remove(running: Running): void {
    this.#leaving.delete(running)
    this.#byDiscriminator.delete(running.session.localDiscriminator)
    this.#queue.set(running, never)
    running.sender?.close()
    running.sender = undefined
  }

  #reconfigure(running: Running, config: BfdSessionConfig): void {
    const before = running.config
    running.config = config
    running.authentication = reconfigured(
      running.authentication,
      before.authentication,
      config.authentication,
      this.#options.clock.monotonicMs(),
    )
    const changed =
      before.transmitMs !== config.transmitMs ||
      before.receiveMs !== config.receiveMs ||
      before.multiplier !== config.multiplier
    if (changed) this.#step(running, { type: 'configure', config: microseconds(config) })
    const isDown = running.session.state === 'AdminDown'
    if (config.adminDown !== isDown) this.#step(running, { type: config.adminDown ? 'admin-down' : 'admin-up' })
  }

  #listen(configs: readonly BfdSessionConfig[]): void {
    this.#listeners.set([...configs, ...[...this.#leaving].map(({ config }) => config)])
  }

  #discriminator(): number {
    for (;;) {
      const drawn = 1 + Math.floor(this.#options.random() * 0xffff_ffff)
      if (!this.#byDiscriminator.has(drawn)) return drawn
    }
  }

  #addSource(running: Running): void {
    const source = sourceOf(running.config)
    this.#bySource.set(source, [...(this.#bySource.get(source) ?? []), running])
  }

  #removeSource(running: Running): void {
    const source = sourceOf(running.config)
    const rest = (this.#bySource.get(source) ?? []).filter((other) => other !== running)
    if (rest.length === 0) this.#bySource.delete(source)
    else this.#bySource.set(source, rest)
  }

  // ----------------------------------------------------------------------------------------------------------- packets

  #receive({ bytes, source }: BfdDatagram, place: BfdPlace): void {
    this.#received++
    const decoded = decodeBfd(bytes)
    if (!decoded.ok) {
      this.#drop(decoded.error.code)
      return
    }
    const { packet } = decoded.value
    const running = this.#sessionOf(packet, source, place)
    const known = running !== undefined && pathOf(running.config).hops === place.hops
    if (!known) {
      this.#drop(running === undefined ? 'bfd/unknown-session' : 'bfd/wrong-port')
      return
    }
    const refused = this.#believe(running, decoded.value, bytes)
    if (refused !== undefined) {
      this.#drop(refused)
      return
    }
    running.packetsIn++
    running.heardAtMs = this.#options.clock.monotonicMs()
    running.forgiven = false
    running.sender?.forgetRefusal()
    this.#step(running, { type: 'packet', packet })
    const patienceMs = (2 * detectionTime(running.session)) / 1000
    running.authentication = remembered(running.authentication, running.heardAtMs + patienceMs)
  }

  #believe(running: Running, { section }: BfdReceived, bytes: Uint8Array): AuthenticationRefusal | undefined {
    const { config, session } = running
    // Nothing to believe or to remember: the usual case costs nothing.
    if (section === undefined && config.authentication === undefined) {
      running.authenticated = false
      return undefined
    }
    const incoming = {
      ...{ bytes, section },
      nowMs: this.#options.clock.monotonicMs(),
      detectMult: Math.max(session.config.detectMult, session.remote.detectMult),
    }
    const judged = believe(incoming, config.authentication, running.authentication)
    if (typeof judged === 'string') return judged
    running.authentication = judged
    running.authenticated = section !== undefined
    return undefined
  }

  #sessionOf({ yourDiscriminator }: BfdControl, source: () => BfdSource, place: BfdPlace): Running | undefined {
    if (yourDiscriminator !== 0) return this.#byDiscriminator.get(yourDiscriminator)
    const { address, zone } = source()
    const candidates = this.#bySource.get(sourceKey(place.hops, address, zone))
    return candidates?.find(
      ({ config: { localAddress } }) =>
        place.address === undefined || localAddress === undefined || localAddress === place.address,
    )
  }

  #drop(reason: BfdDropReason): void {
    this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1)
  }

  #step(running: Running, input: SessionInput): void {
    const [session, actions] = transitionBfd(running.session, input)
    running.session = session
    this.#perform(running, actions)
  }

  #perform(running: Running, actions: readonly BfdAction[]): void {
    const { clock, random } = this.#options
    const now = clock.monotonicMs()
    for (const action of actions)
      switch (action.type) {
        case 'send':
          this.#send(running, action.packet)
          break
        case 'set-transmit-timer': {
          const { detectMult } = running.session.config
          running.transmitAtMs =
            action.interval === 0 ? never : now + jittered(action.interval, detectMult, random()) / 1000
          break
        }
        case 'set-detection-timer':
          running.detectAtMs = action.time === 0 ? never : now + action.time / 1000
          break
        case 'state-changed':
          running.sinceMs = clock.wallMs()
          this.#events.push({
            type: 'state',
            key: running.config.key,
            from: action.from,
            to: action.to,
            diagnostic: action.diagnostic,
            remoteState: running.session.remote.state,
            ...(running.excused ? { excused: true } : {}),
          })
          break
      }
    this.#schedule(running)
  }

  #open(running: Running): void {
    const opened = this.#options.transport.open(pathOf(running.config))
    // An error of sending stands until something was sent.
    if (opened.ok) running.sender = opened.value
    else running.sendError = opened.error.reason
    running.retryAtMs = opened.ok ? never : this.#options.clock.monotonicMs() + retryMs
  }

  #send(running: Running, packet: BfdControl): void {
    if (running.sender === undefined) return
    let bytes = encodeBfd(packet)
    const { authentication } = running.config
    if (authentication !== undefined)
      [bytes, running.authentication] = authenticate(bytes, authentication, running.authentication)
    const refused = running.sender.send(bytes)
    if (refused === undefined) {
      this.#sent++
      running.packetsOut++
    }
    // An interface that was made anew has another number; a session that is up keeps its port to the end.
    if (refused !== undefined && running.session.state !== 'Up') {
      running.sender.close()
      running.sender = undefined
      running.retryAtMs = this.#options.clock.monotonicMs() + retryMs
    }
    if (refused?.reason === running.sendError) return
    running.sendError = refused?.reason
    this.#noteError(running)
  }

  #noteError(running: Running): void {
    const error = this.#listeners.errorOf(running.config) ?? running.sendError
    if (error === running.error || running.leaveAtMs !== never) return
    running.error = error
    const { key } = running.config
    this.#events.push(error === undefined ? { type: 'error', key } : { type: 'error', key, reason: error })
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

  #schedule(running: Running): void {
    const { transmitAtMs, detectAtMs, retryAtMs, leaveAtMs } = running
    this.#queue.set(running, Math.min(transmitAtMs, detectAtMs, retryAtMs, leaveAtMs))
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
    const silent: Running[] = []
    let left = false
    for (let next = this.#queue.first(); next !== undefined && next.dueMs <= now; next = this.#queue.first()) {
      if (next.leaveAtMs <= now) {
        this.#remove(next)
        left = true
        continue
      }
      if (next.retryAtMs <= now) {
        this.#open(next)
        this.#noteError(next)
      }
      if (next.transmitAtMs <= now) {
        next.transmitAtMs = never
        this.#step(next, { type: 'transmit-timer' })
      }
      if (next.detectAtMs > now) this.#schedule(next)
      else {
        silent.push(next)
        this.#queue.set(next, never)
      }
    }
    if (left) this.#listen([...this.#sessions.values()].map(({ config }) => config))
    if (silent.length === 0) return
    this.#listeners.drain()
    for (const running of silent) {
      if (running.detectAtMs <= now) this.#expire(running, now, { stalled })
      this.#schedule(running)
    }
  }

  #expire(running: Running, now: number, { stalled }: { readonly stalled: boolean }): void {
    const { session } = running
    if (stalled && !running.forgiven && session.state === 'Up') {
      running.forgiven = true
      running.detectAtMs = now + detectionTime(session) / session.remote.detectMult / 1000
      return
    }
    running.excused = running.sendError !== undefined || running.sender?.wasRefused() === true
    this.#step(running, { type: 'detection-timer' })
    running.excused = false
  }
}

const sourceKey = (hops: BfdHops, address: string, zone: string | undefined): string =>
  `${hops} ${address}%${zone ?? ''}`

const sourceOf = (config: BfdSessionConfig): string => sourceKey(pathOf(config).hops, config.remoteAddress, config.zone)
