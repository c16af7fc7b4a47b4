// One session of a running engine: its state machine, its sender, its deadlines and what it has counted. It does what session.ts
// decides, and says when it wants to be called again; which packets are its own, and whether a silence counts, the engine says.

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
import type { Due } from './due-queue.ts'
import { retryMs } from './listeners.ts'
import { type BfdControl, type BfdReceived, encodeBfd } from './packet.ts'
import {
  type BfdAction,
  type BfdSession,
  detectionTime,
  jittered,
  jitterLeast,
  type BfdEvent as SessionInput,
  startBfd,
  transitionBfd,
  transmitInterval,
} from './session.ts'
import {
  type BfdEvent,
  type BfdSessionConfig,
  type BfdStatus,
  downSilenceMs,
  microseconds,
  pathOf,
} from './session-config.ts'
import type { BfdSender, BfdTransport } from './transport.ts'

/** What a session needs of the engine it belongs to. */
export interface SessionHost {
  readonly clock: Clock
  readonly random: Random
  readonly transport: BfdTransport
  /** Why the peer's packets would not be heard if they came, in an operator's words. */
  readonly deafness: (config: BfdSessionConfig) => string | undefined
  /** The peer has not been heard for long. */
  readonly unheard: (config: BfdSessionConfig) => void
  readonly emit: (event: BfdEvent) => void
  /** Its deadlines changed. */
  readonly schedule: (session: RunningSession) => void
  /** A packet has left. */
  readonly sent: () => void
}

/** Longest time for which a session that is not configured any more says AdminDown. */
const farewellMsMax = 10_000
/** How often a session that hears nothing looks whether it still listens in the right place. */
const unheardMs = 10_000

const never = Number.POSITIVE_INFINITY

const isHeld = ({ held, adminDown }: BfdSessionConfig): boolean => held === true && !adminDown

export class RunningSession implements Due {
  readonly #host: SessionHost
  #config: BfdSessionConfig
  #session: BfdSession
  #authentication: AuthenticationState
  #authenticated = false
  #sender: BfdSender | undefined

  #transmitAtMs = never
  /** From when on the next packet may leave, where `#transmitAtMs` is when it is to. */
  #transmitFromMs = never
  #detectAtMs = never
  /** When to open the sender again. */
  #retryAtMs = never
  /** When the farewell is over; never while configured. */
  #leaveAtMs = never
  /** The silence after a stall was forgiven, and nothing was heard since. */
  #forgiven = false
  /** When the peer was last heard while the session was held. */
  #calledAtMs = Number.NEGATIVE_INFINITY
  /** When it was last made sure that it listens in the right place. */
  #placedAtMs: number

  #sinceMs: number
  #heardAtMs = Number.NEGATIVE_INFINITY
  #packetsIn = 0
  #packetsOut = 0
  #sendError: string | undefined
  /** While a silence is told that is not a dead host's. */
  #excused = false
  /** As it was last told. */
  #error: string | undefined

  dueMs = never
  place = -1

  /** `localDiscriminator` is non-zero and unique in the engine. */
  constructor(config: BfdSessionConfig, localDiscriminator: number, host: SessionHost) {
    const { clock } = host
    const [session, actions] = startBfd(localDiscriminator, microseconds(config))
    this.#host = host
    this.#config = config
    this.#session = session
    this.#sinceMs = clock.wallMs()
    this.#placedAtMs = clock.monotonicMs()
    const initial = initialAuthentication(localDiscriminator)
    this.#authentication = reconfigured(initial, undefined, config.authentication, clock.monotonicMs())
    this.#open()
    if (config.adminDown) this.#step({ type: 'admin-down' })
    // Even a held one says Down once: what the peer may have with an earlier process must not fail when BGP is up again.
    else this.#perform(isHeld(config) ? actions.filter(({ type }) => type === 'send') : actions)
  }

  get config(): BfdSessionConfig {
    return this.#config
  }

  get localDiscriminator(): number {
    return this.#session.localDiscriminator
  }

  status(): BfdStatus {
    const session = this.#session
    return {
      state: session.state,
      sinceMs: this.#sinceMs,
      diagnostic: session.diagnostic,
      remoteState: session.remote.state,
      localDiscriminator: session.localDiscriminator,
      remoteDiscriminator: session.remote.discriminator,
      transmitMs: transmitInterval(session) / 1000,
      detectionMs: detectionTime(session) / 1000,
      silentMs: this.#host.clock.monotonicMs() - this.#heardAtMs,
      authenticated: this.#authenticated,
      packetsIn: this.#packetsIn,
      packetsOut: this.#packetsOut,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    }
  }

  // -------------------------------------------------------------------------------------------------- coming and going

  /** Another configuration of the same path. */
  reconfigure(config: BfdSessionConfig): void {
    const before = this.#config
    this.#config = config
    this.#authentication = reconfigured(
      this.#authentication,
      before.authentication,
      config.authentication,
      this.#host.clock.monotonicMs(),
    )
    if (isHeld(config)) {
      if (!isHeld(before)) this.#calledAtMs = Number.NEGATIVE_INFINITY
      this.#hold()
      return
    }
    if (isHeld(before) && !config.adminDown) {
      this.#release()
      return
    }
    const changed =
      before.transmitMs !== config.transmitMs ||
      before.receiveMs !== config.receiveMs ||
      before.multiplier !== config.multiplier
    if (changed) this.#step({ type: 'configure', config: microseconds(config) })
    const isDown = this.#session.state === 'AdminDown'
    if (config.adminDown !== isDown) this.#step({ type: config.adminDown ? 'admin-down' : 'admin-up' })
  }

  /** Down and silent, as if it had never sent anything. */
  #hold(): void {
    const from = this.#session.state
    this.#session = startBfd(this.localDiscriminator, microseconds(this.#config))[0]
    this.#transmitAtMs = never
    this.#transmitFromMs = never
    this.#detectAtMs = never
    if (from !== 'Down') this.#perform([{ type: 'state-changed', from, to: 'Down', diagnostic: 0 }])
    this.#host.schedule(this)
  }

  #release(): void {
    // Nobody has looked at the place while nothing was sent.
    this.#host.unheard(this.#config)
    const [session, actions] = startBfd(this.localDiscriminator, microseconds(this.#config))
    this.#session = session
    this.#perform(actions)
  }

  /**
   * Begins to say AdminDown, for at least a detection time, so that the peer does not take our silence for a failure (section
   * 6.8.16). False: nobody has ever listened, and there is nobody to say it to.
   */
  leave(): boolean {
    if (isHeld(this.#config)) return false
    this.#step({ type: 'admin-down' })
    const session = this.#session
    const farewellMs = (session.config.detectMult * transmitInterval(session)) / 1000
    this.#detectAtMs = never
    this.#leaveAtMs = this.#host.clock.monotonicMs() + Math.min(farewellMs, farewellMsMax)
    this.#host.schedule(this)
    return session.remote.discriminator !== 0
  }

  /** It is wanted again, before it was gone. `reconfigure` follows. */
  comeBack(): void {
    this.#leaveAtMs = never
    this.#host.schedule(this)
  }

  close(): void {
    this.#sender?.close()
    this.#sender = undefined
  }

  // ----------------------------------------------------------------------------------------------------------- packets

  /** A packet of its own; the reason when it is not believed. */
  receive(received: BfdReceived, bytes: Uint8Array): AuthenticationRefusal | undefined {
    const refused = this.#believe(received, bytes)
    if (refused !== undefined) return refused
    this.#packetsIn++
    this.#heardAtMs = this.#host.clock.monotonicMs()
    this.#forgiven = false
    this.#sender?.forgetRefusal()
    if (isHeld(this.#config)) {
      this.#noteCall(received.packet)
      return undefined
    }
    this.#step({ type: 'packet', packet: received.packet })
    const patienceMs = (2 * detectionTime(this.#session)) / 1000
    this.#authentication = remembered(this.#authentication, this.#heardAtMs + patienceMs)
    return undefined
  }

  // Who says AdminDown asks for nothing.
  #noteCall({ state }: BfdControl): void {
    if (state === 'AdminDown') return
    if (this.#heardAtMs - this.#calledAtMs > downSilenceMs) this.#host.emit({ type: 'heard', key: this.#config.key })
    this.#calledAtMs = this.#heardAtMs
  }

  #believe({ section }: BfdReceived, bytes: Uint8Array): AuthenticationRefusal | undefined {
    const { authentication } = this.#config
    // Nothing to believe or to remember: the usual case costs nothing.
    if (section === undefined && authentication === undefined) {
      this.#authenticated = false
      return undefined
    }
    const { config, remote } = this.#session
    const incoming = {
      ...{ bytes, section },
      nowMs: this.#host.clock.monotonicMs(),
      detectMult: Math.max(config.detectMult, remote.detectMult),
    }
    const judged = believe(incoming, authentication, this.#authentication)
    if (typeof judged === 'string') return judged
    this.#authentication = judged
    this.#authenticated = section !== undefined
    return undefined
  }

  #step(input: SessionInput): void {
    const [session, actions] = transitionBfd(this.#session, input)
    this.#session = session
    this.#perform(actions)
  }

  #perform(actions: readonly BfdAction[]): void {
    const { clock, random } = this.#host
    const now = clock.monotonicMs()
    for (const action of actions)
      switch (action.type) {
        case 'send':
          this.#send(action.packet)
          break
        case 'set-transmit-timer': {
          const { detectMult } = this.#session.config
          const sends = action.interval !== 0
          this.#transmitAtMs = sends ? now + jittered(action.interval, detectMult, random()) / 1000 : never
          this.#transmitFromMs = sends ? now + (action.interval * jitterLeast) / 1000 : never
          break
        }
        case 'set-detection-timer':
          this.#detectAtMs = action.time === 0 ? never : now + action.time / 1000
          break
        case 'state-changed':
          this.#sinceMs = clock.wallMs()
          this.#host.emit({
            type: 'state',
            key: this.#config.key,
            from: action.from,
            to: action.to,
            diagnostic: action.diagnostic,
            remoteState: this.#session.remote.state,
            ...(this.#excused ? { excused: true } : {}),
          })
          break
      }
    this.#host.schedule(this)
  }

  #open(): void {
    const { transport, clock } = this.#host
    const opened = transport.open(pathOf(this.#config))
    // An error of sending stands until something was sent.
    if (opened.ok) this.#sender = opened.value
    else this.#sendError = opened.error.reason
    this.#retryAtMs = opened.ok ? never : clock.monotonicMs() + retryMs
  }

  #send(packet: BfdControl): void {
    const sender = this.#sender
    // Who can not hear is silent: the peer may have a session with another program of this host, which our packets would end.
    if (sender === undefined || this.#host.deafness(this.#config) !== undefined) return
    let bytes = encodeBfd(packet)
    const { authentication } = this.#config
    if (authentication !== undefined)
      [bytes, this.#authentication] = authenticate(bytes, authentication, this.#authentication)
    const refused = sender.send(bytes)
    if (refused === undefined) {
      this.#host.sent()
      this.#packetsOut++
    }
    // An interface that was made anew has another number; a session that is up keeps its port to the end.
    if (refused !== undefined && this.#session.state !== 'Up') {
      this.close()
      this.#retryAtMs = this.#host.clock.monotonicMs() + retryMs
    }
    if (refused?.reason === this.#sendError) return
    this.#sendError = refused?.reason
    this.noteError()
  }

  /** Tells of what keeps it from sending or hearing, when that changed. */
  noteError(): void {
    const error = this.#host.deafness(this.#config) ?? this.#sendError
    if (error === this.#error || this.#leaveAtMs !== never) return
    this.#error = error
    const { key } = this.#config
    this.#host.emit(error === undefined ? { type: 'error', key } : { type: 'error', key, reason: error })
  }

  // -------------------------------------------------------------------------------------------------------------- time

  /** When it wants to be called again. */
  get deadlineMs(): number {
    return Math.min(this.#transmitAtMs, this.#detectAtMs, this.#retryAtMs, this.#leaveAtMs)
  }

  /** Does what is due, but for the end of a silence. `over`: the farewell is; `silent`: the peer has not been heard for too long. */
  wake(now: number): 'over' | 'silent' | undefined {
    if (this.#leaveAtMs <= now) return 'over'
    if (this.#retryAtMs <= now) {
      this.#open()
      this.noteError()
    }
    if (this.#transmitAtMs <= now) this.#transmit(now)
    return this.#detectAtMs <= now ? 'silent' : undefined
  }

  /** Sends the next packet now that the process is awake, if it may leave already. */
  accompany(now: number): void {
    if (this.#transmitFromMs <= now) this.#transmit(now)
  }

  #transmit(now: number): void {
    this.#transmitAtMs = never
    this.#transmitFromMs = never
    this.#checkPlace(now)
    this.#step({ type: 'transmit-timer' })
  }

  #checkPlace(now: number): void {
    if (now - Math.max(this.#placedAtMs, this.#heardAtMs) < unheardMs) return
    this.#placedAtMs = now
    this.#host.unheard(this.#config)
    this.noteError()
  }

  /** The silence counts, unless something was heard meanwhile; `stalled`: or unless it may be our own, once. */
  expire(now: number, { stalled }: { readonly stalled: boolean }): void {
    if (this.#detectAtMs > now) return
    const session = this.#session
    if (stalled && !this.#forgiven && session.state === 'Up') {
      this.#forgiven = true
      this.#detectAtMs = now + detectionTime(session) / session.remote.detectMult / 1000
      return
    }
    this.#excused = this.#sendError !== undefined || this.#sender?.wasRefused() === true
    this.#step({ type: 'detection-timer' })
    this.#excused = false
  }
}
