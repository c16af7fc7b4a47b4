// An agent's side of liveness: it has a session with every controller that a Lease names, and with every one that it has heard not
// long ago though no Lease names it, and draws no conclusions from any.

import { type OnLink, systemOnLink } from '../bfd/on-link.ts'
import type { HeartbeatWatch, SignOfLife } from '../k8s/heartbeat-watch.ts'
import { type Ip, parseIp } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { BfdThread } from './bfd-thread.ts'
import type { KeyWatch } from './key-watch.ts'
import { controllerAnnotation, sessionsWithControllers } from './watched-sessions.ts'

export interface ControllerAnswerOptions {
  readonly bfd: Pick<BfdThread, 'setSessions' | 'onTidings'>
  /** Of the controllers. */
  readonly heartbeats: Pick<HeartbeatWatch, 'signs' | 'onChange'>
  readonly keys: Pick<KeyWatch, 'authenticationWith' | 'onChange'>
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly isOnLink?: OnLink
  /** The session with a controller is lost. It may be deaf, and ask the API server whether we live. */
  readonly onLoss?: () => void
}

/**
 * For so long a controller that has fallen silent is called, though its Lease is gone: it may be cut off from the API server and
 * announce on, and a node that it does not hear for a second must not be dead to it from then on. A packet a second.
 */
export const calledMs = 3_600_000

/** Begins to answer; ends with the signal. `hears`: a controller is heard at this moment. */
export function answerControllers(options: ControllerAnswerOptions): { readonly hears: () => boolean } {
  const { bfd, heartbeats, keys, clock, signal, isOnLink = systemOnLink } = options
  /** Until when they count, by the monotonic clock; Infinity while they are heard. */
  const heard = new Map<Ip, number>()
  /** What the Leases of those said last. */
  const lastSaid = new Map<Ip, SignOfLife['annotations']>()
  let cancelForget: CancelTimer = () => {}
  const answer = (): void => {
    const nowMs = clock.monotonicMs()
    for (const [address, untilMs] of heard) if (untilMs <= nowMs) heard.delete(address)
    cancelForget()
    if (signal.aborted) return
    const nextMs = Math.min(...heard.values())
    if (Number.isFinite(nextMs)) cancelForget = clock.setTimer(nextMs - nowMs, answer)
    const signs = [...heartbeats.signs().values()]
    for (const { annotations } of signs) {
      const address = parseIp(annotations[controllerAnnotation] ?? '')
      if (address.ok) lastSaid.set(address.value, annotations)
    }
    const answered = sessionsWithControllers(
      signs,
      new Map([...heard.keys()].map((address) => [address, lastSaid.get(address) ?? {}])),
      isOnLink,
      keys.authenticationWith,
    )
    const addresses = new Set(answered.map(({ remoteAddress }) => remoteAddress))
    for (const address of lastSaid.keys()) if (!addresses.has(address)) lastSaid.delete(address)
    bfd.setSessions(answered)
  }
  signal.addEventListener('abort', () => cancelForget(), { once: true })
  heartbeats.onChange(answer)
  keys.onChange(answer)
  bfd.onTidings(({ changes }) => {
    // Also one that says that it does not hear us.
    if (changes.some(({ from, to, remoteState }) => from === 'Up' && to !== 'Up' && remoteState !== 'AdminDown'))
      options.onLoss?.()
    for (const { key, from, to, remoteState } of changes) {
      const address = parseIp(key)
      if (!address.ok) continue
      if (to === 'Up') heard.set(address.value, Number.POSITIVE_INFINITY)
      // It has taken its leave, and it has a Lease when it comes back.
      else if (remoteState === 'AdminDown') heard.delete(address.value)
      else if (from === 'Up') heard.set(address.value, clock.monotonicMs() + calledMs)
    }
    answer()
  })
  return { hears: () => [...heard.values()].includes(Number.POSITIVE_INFINITY) }
}
