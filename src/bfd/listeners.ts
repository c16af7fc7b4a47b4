// The listening sockets of an engine: opened where sessions need them, closed where none does, tried again where the kernel said
// no. Who holds no socket hears nothing, so a failure here is an error of every session that would be heard there.

import type { Clock } from '../runtime/clock.ts'
import { arrivesAt, type BfdListening, type BfdSessionConfig, placesOf } from './session-config.ts'
import type { BfdDatagram, BfdListener, BfdPlace, BfdTransport, TtlRule } from './transport.ts'

export interface ListenersOptions {
  readonly clock: Clock
  readonly transport: BfdTransport
  readonly listening: BfdListening
  readonly received: (datagram: BfdDatagram, place: BfdPlace) => void
  /** `errorOf` may say something else now. */
  readonly changed: () => void
}

export interface Listeners {
  /** From now on for these sessions. */
  readonly set: (configs: readonly BfdSessionConfig[]) => void
  /** Delivers what has arrived at any of the sockets. */
  readonly drain: () => void
  /** Why the session can not be heard. Asked for every packet that is sent. */
  readonly errorOf: (config: BfdSessionConfig) => string | undefined
  /** The session has not been heard for long: listens anew where the host's own address has changed. */
  readonly checkAddress: (config: BfdSessionConfig) => void
  readonly close: () => void
}

/** How long before the kernel is asked again: another daemon may have ended, an address may have come. */
export const retryMs = 3000

interface Opened {
  readonly place: BfdPlace
  listener: BfdListener | undefined
  error: string | undefined
  /** The rules as they stand on the socket. */
  rules: string
}

export function createListeners(options: ListenersOptions): Listeners {
  const { clock, transport, received, changed } = options
  const opened = new Map<string, Opened>()
  const failing = new Set<Opened>()
  let configs: readonly BfdSessionConfig[] = []
  let cancelRetry: (() => void) | undefined

  const close = (listening: Opened): void => {
    listening.listener?.close()
    listening.listener = undefined
  }

  const fail = (listening: Opened, reason: string): void => {
    close(listening)
    listening.error = reason
    failing.add(listening)
    cancelRetry ??= clock.setTimer(retryMs, () => {
      cancelRetry = undefined
      for (const each of opened.values()) open(each)
      changed()
    })
  }

  const open = (listening: Opened): void => {
    const { place } = listening
    const rules = rulesAt(place, configs)
    const text = JSON.stringify(rules)
    if (listening.listener === undefined) {
      const listened = transport.listen(place, rules, {
        received: (datagram) => received(datagram, place),
        failed: ({ reason }) => {
          fail(listening, reason)
          changed()
        },
      })
      if (!listened.ok) {
        fail(listening, listened.error.reason)
        return
      }
      listening.listener = listened.value
    } else if (text !== listening.rules) {
      const refused = listening.listener.setTtlRules(rules)
      // A socket whose rules can not be set lets in what it must not: rather none.
      if (refused !== undefined) {
        fail(listening, refused.reason)
        return
      }
    }
    listening.rules = text
    listening.error = undefined
    failing.delete(listening)
  }

  return {
    set: (next) => {
      configs = next
      const places = placesOf(next, options.listening)
      for (const [key, listening] of opened)
        if (!places.has(key)) {
          close(listening)
          opened.delete(key)
          failing.delete(listening)
        }
      for (const [key, place] of places) {
        const listening = opened.get(key) ?? { place, listener: undefined, error: undefined, rules: '' }
        opened.set(key, listening)
        open(listening)
      }
    },
    drain: () => {
      for (const { listener } of opened.values()) listener?.drain()
    },
    errorOf: (config) => {
      for (const { place, error } of failing) if (arrivesAt(config, place)) return error
      return undefined
    },
    checkAddress: (config) => {
      for (const listening of opened.values()) {
        if (!arrivesAt(config, listening.place) || listening.listener?.moved() !== true) continue
        close(listening)
        open(listening)
      }
    },
    close: () => {
      cancelRetry?.()
      for (const listening of opened.values()) close(listening)
      opened.clear()
      failing.clear()
    },
  }
}

const rulesAt = (place: BfdPlace, configs: readonly BfdSessionConfig[]): readonly TtlRule[] =>
  configs
    .flatMap((config) =>
      config.multihop !== undefined && config.multihop.ttlMin > 1 && arrivesAt(config, place)
        ? [{ address: config.remoteAddress, ttlMin: config.multihop.ttlMin }]
        : [],
    )
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : a.ttlMin - b.ttlMin))
