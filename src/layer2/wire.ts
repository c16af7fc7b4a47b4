// What a node says and hears on its links about VIPs: announcements, probes, and the claims of others. Sockets are looked at every so
// often and not waited for, since Node knows no packet sockets; oftener while an answer to a probe may come.

import type { Ip } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { ObservedLink } from './addresses.ts'
import { announcements, type Claim, decodeClaim, probe } from './frames.ts'
import type { OpenPacketSocket, PacketError } from './native-packets.ts'
import { createPorts, type Port } from './ports.ts'
import { createRepetition } from './repetition.ts'

export interface WireOptions {
  readonly open: OpenPacketSocket
  readonly clock: Clock
  /** Somebody on that interface says to have an address; also our own frames, where a switch sends them back. */
  readonly onClaim: (claim: Claim, interfaceName: string) => void
  /** Something could not be said. */
  readonly onError: (error: PacketError, interfaceName: string) => void
  /** Whether the node forwards IPv6 on the interface: neighbours are told the same as the kernel tells them. */
  readonly isRouter: (interfaceName: string) => boolean
}

/** The first claim, or undefined when nobody answered in time. */
type ProbeAnswer = Result<Claim | undefined, PacketError>

export interface Wire {
  /** Says that we have the address: several times over the next seconds, and then now and then; once with `once`. */
  readonly announce: (link: ObservedLink, address: Ip, options?: { readonly once: true }) => void
  /** Goes on saying it now and then, for an address that we had already. */
  readonly remind: (link: ObservedLink, address: Ip) => void
  /** Says nothing more of any address but these. */
  readonly silenceOthers: (kept: ReadonlySet<Ip>) => void
  /** Asks whether somebody has the address. */
  readonly probe: (link: ObservedLink, address: Ip) => Promise<ProbeAnswer>
  /** Listens on these links, and closes what is open elsewhere. */
  readonly listenOn: (links: readonly ObservedLink[]) => void
  readonly announced: () => number
  readonly close: () => void
}

/**
 * After the first: quickly, for the clients that missed it; and once more when a former owner that nobody could reach has lost the
 * address at the latest (`holdMs` of the keeper), so that whoever believed that one last believes us.
 */
export const announceAfterMs: readonly number[] = [0, 100, 300, 1_000, 3_000, 10_000, 18_000]
/**
 * For whoever could not hear us before: two halves of a link that are one again, and a former owner on the other half who hears nothing
 * from the API server either.
 */
export const remindEveryMs = 60_000
/** RFC 5227 takes five seconds for its three probes, and RFC 4862 one for its one: too long for a Service, so they are quick. */
const probeAfterMs: readonly number[] = [0, 150, 300]
const probeMs = 500
const probePollMs = 20
const listenPollMs = 400
/** Frames that are looked at in one turn. */
const framesMax = 1_000

const none: ReadonlySet<never> = new Set()

export function createWire(options: WireOptions): Wire {
  const { clock, onClaim, onError, isRouter } = options
  const ports = createPorts(options.open)
  const probing = new Map<Ip, (claim: Claim) => void>()
  let announced = 0
  let cancelPoll: CancelTimer | undefined
  let pollDueMs = Number.POSITIVE_INFINITY

  const say = (link: ObservedLink, address: Ip): void => {
    const port = ports.at(link)
    if (!port.ok) {
      onError(port.error, link.name)
      return
    }
    for (const frame of announcements(address, port.value.mac, { router: isRouter(link.name) })) {
      const failed = port.value.socket.send(frame)
      if (failed !== undefined) onError(failed, link.name)
      else announced++
    }
  }
  const repetition = createRepetition({ clock, say, everyMs: remindEveryMs })
  const begin = (link: ObservedLink, address: Ip, delaysMs: readonly number[]): void => {
    repetition.begin(link, address, delaysMs)
    poll()
  }

  const hear = (): void => {
    for (const [name, { socket }] of ports.open)
      for (let i = 0; i < framesMax; i++) {
        const frame = socket.receive()
        if (frame === undefined) break
        const claim = decodeClaim(frame)
        if (claim === undefined) continue
        probing.get(claim.address)?.(claim)
        onClaim(claim, name)
      }
  }
  const poll = (): void => {
    if (ports.open.size === 0) return
    const delayMs = probing.size > 0 ? probePollMs : listenPollMs
    const dueMs = clock.monotonicMs() + delayMs
    if (cancelPoll !== undefined && pollDueMs <= dueMs) return
    cancelPoll?.()
    pollDueMs = dueMs
    cancelPoll = clock.setTimer(delayMs, () => {
      cancelPoll = undefined
      hear()
      poll()
    })
  }

  const answerTo = async ({ mac, socket }: Port, own: string, address: Ip): Promise<ProbeAnswer> => {
    const timers: CancelTimer[] = []
    const answer = await new Promise<ProbeAnswer>((resolve) => {
      probing.set(address, (claim) => {
        if (claim.mac !== own) resolve(ok(claim))
      })
      const ask = (): void => {
        const failed = socket.send(probe(address, mac))
        if (failed !== undefined) resolve(err(failed))
      }
      const giveUp = (): void => {
        hear()
        resolve(ok(undefined))
      }
      timers.push(...probeAfterMs.map((delayMs) => clock.setTimer(delayMs, ask)), clock.setTimer(probeMs, giveUp))
      poll()
    })
    for (const cancel of timers) cancel()
    probing.delete(address)
    return answer
  }

  return {
    announced: () => announced,
    announce: (link, address, said) => (said?.once ? say(link, address) : begin(link, address, announceAfterMs)),
    remind: (link, address) => {
      if (!repetition.isGoingOn(address)) begin(link, address, [])
    },
    silenceOthers: repetition.endOthers,
    probe: async (link, address) => {
      const port = ports.at(link)
      return port.ok ? answerTo(port.value, link.mac, address) : port
    },
    listenOn: (links) => {
      // Who is asking may be doing so on a link of which nothing is ours yet.
      if (probing.size === 0) ports.keepOnly(new Set(links.map(({ name }) => name)))
      for (const link of links) {
        const port = ports.at(link)
        if (!port.ok) onError(port.error, link.name)
      }
      poll()
    },
    close: () => {
      cancelPoll?.()
      repetition.endOthers(none)
      ports.keepOnly(none)
    },
  }
}
