// Nodes whose agents have ended: a reboot begins with that, and then nobody is there to fall silent. As long as the host runs its kernel
// answers for it, by accepting or refusing a TCP connection; a host that has answered so and does so no more is gone.

import { connect } from 'node:net'
import type { Ip } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'

/** `unknown`: our own kernel would not send. */
export type HostAnswer = 'answers' | 'silent' | 'unknown'

export interface HostWatchOptions {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Asks one host, for as long as `askMs`. Never rejects. */
  readonly ask: (address: Ip) => Promise<HostAnswer>
  readonly onEvent: (node: string, event: 'host-answers' | 'host-silent') => void
}

export interface HostWatch {
  /** From now on, for `watchedMs`, unless it is watched already. */
  readonly begin: (node: string, address: Ip) => void
  /** Its agent is heard, or the node is no more. */
  readonly end: (node: string) => void
  readonly watches: (node: string) => boolean
}

/** A shutdown takes no longer; an agent that was taken away for good leaves its node to its condition. */
export const watchedMs = 600_000
const everyMs = 1000
const askMs = 1000
/** So many silences in a row. */
const silencesMax = 3

interface Watched {
  readonly address: Ip
  readonly untilMs: number
  hasAnswered: boolean
  silences: number
}

export function createHostWatch({ clock, signal, ask, onEvent }: HostWatchOptions): HostWatch {
  const watched = new Map<string, Watched>()
  const timers = new Map<string, CancelTimer>()
  const end = (node: string): void => {
    watched.delete(node)
    timers.get(node)?.()
    timers.delete(node)
  }
  signal.addEventListener('abort', () => [...watched.keys()].forEach(end), { once: true })

  const look = async (node: string, host: Watched): Promise<void> => {
    if (clock.monotonicMs() >= host.untilMs) return end(node)
    const answer = await ask(host.address)
    if (watched.get(node) !== host || signal.aborted) return
    timers.set(
      node,
      clock.setTimer(everyMs, () => void look(node, host)),
    )
    if (answer === 'answers') {
      host.silences = 0
      if (!host.hasAnswered) {
        host.hasAnswered = true
        onEvent(node, 'host-answers')
      }
      return
    }
    host.silences = answer === 'silent' ? host.silences + 1 : 0
    if (!host.hasAnswered || host.silences < silencesMax) return
    host.hasAnswered = false
    onEvent(node, 'host-silent')
  }

  return {
    begin: (node, address) => {
      if (watched.get(node)?.address === address || signal.aborted) return
      end(node)
      const host = { address, untilMs: clock.monotonicMs() + watchedMs, hasAnswered: false, silences: 0 }
      watched.set(node, host)
      void look(node, host)
    },
    end,
    watches: (node) => watched.has(node),
  }
}

const refusals: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET'])
const silences: ReadonlySet<string> = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN'])

/** Asks the kernel of a host whether it takes a connection; any answer will do, also a no. */
export const askHost =
  (port: number) =>
  (address: Ip): Promise<HostAnswer> =>
    new Promise((resolve) => {
      const socket = connect({ host: address, port })
      const answer = (said: HostAnswer): void => {
        socket.destroy()
        resolve(said)
      }
      socket.setTimeout(askMs, () => answer('silent'))
      socket.once('connect', () => answer('answers'))
      socket.once('error', ({ code = '' }: NodeJS.ErrnoException) =>
        answer(refusals.has(code) ? 'answers' : silences.has(code) ? 'silent' : 'unknown'),
      )
    })
