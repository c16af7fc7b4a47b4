// What a node says and hears on its links about VIPs: announcements, repeated because a lost frame is a client's minute; probes; and
// the claims of others. One socket an interface, open while there is something to say or to hear there.

import type { Ip } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { ObservedLink } from './addresses.ts'
import { announcements, type Claim, decodeClaim, parseMac, probe } from './frames.ts'
import type { OpenPacketSocket, PacketError, PacketSocket } from './native-packets.ts'

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

export interface Wire {
  /** Says that we have the address: several times over the next seconds, and then now and then; once with `once`. */
  readonly announce: (link: ObservedLink, address: Ip, options?: { readonly once: true }) => void
  /** Goes on saying it now and then, for an address that we had already. */
  readonly remind: (link: ObservedLink, address: Ip) => void
  /** Says nothing more of any address but these. */
  readonly silenceOthers: (kept: ReadonlySet<Ip>) => void
  /** Asks whether somebody has the address: the first claim, or undefined when nobody answers in time. */
  readonly probe: (link: ObservedLink, address: Ip) => Promise<Result<Claim | undefined, PacketError>>
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

interface Port {
  readonly index: number
  readonly mac: Uint8Array
  readonly socket: PacketSocket
}

export function createWire(options: WireOptions): Wire {
  const { clock } = options
  const ports = new Map<string, Port>()
  const repeating = new Map<Ip, Set<CancelTimer>>()
  const probing = new Map<Ip, (claim: Claim) => void>()
  let announced = 0
  let cancelPoll: CancelTimer | undefined
  let pollDueMs = Number.POSITIVE_INFINITY

  const portOf = (link: ObservedLink): Result<Port, PacketError> => {
    const known = ports.get(link.name)
    const mac = parseMac(link.mac)
    if (mac === undefined)
      return err({ code: 'layer2/socket-refused', message: `${link.name} has no Ethernet address: "${link.mac}"` })
    if (known !== undefined && known.index === link.index && known.mac.every((byte, i) => byte === mac[i]))
      return ok(known)
    closePort(link.name)
    const socket = options.open(link.index)
    if (!socket.ok) return socket
    const port = { index: link.index, mac, socket: socket.value }
    ports.set(link.name, port)
    return ok(port)
  }
  const closePort = (name: string): void => {
    ports.get(name)?.socket.close()
    ports.delete(name)
  }

  const say = (link: ObservedLink, address: Ip): void => {
    const port = portOf(link)
    if (!port.ok) {
      options.onError(port.error, link.name)
      return
    }
    for (const frame of announcements(address, port.value.mac, { router: options.isRouter(link.name) })) {
      const failed = port.value.socket.send(frame)
      if (failed !== undefined) options.onError(failed, link.name)
      else announced++
    }
  }

  const silence = (address: Ip): void => {
    for (const cancel of repeating.get(address) ?? []) cancel()
    repeating.delete(address)
  }
  const repeat = (link: ObservedLink, address: Ip, delaysMs: readonly number[]): void => {
    silence(address)
    const timers = new Set<CancelTimer>()
    repeating.set(address, timers)
    for (const delayMs of delaysMs) {
      if (delayMs === 0) say(link, address)
      else timers.add(clock.setTimer(delayMs, () => say(link, address)))
    }
    const remind = (): void => {
      const cancel = clock.setTimer(remindEveryMs, () => {
        timers.delete(cancel)
        say(link, address)
        remind()
      })
      timers.add(cancel)
    }
    remind()
    poll()
  }

  const hear = (): void => {
    for (const [name, { socket }] of ports)
      for (let i = 0; i < framesMax; i++) {
        const frame = socket.receive()
        if (frame === undefined) break
        const claim = decodeClaim(frame)
        if (claim === undefined) continue
        probing.get(claim.address)?.(claim)
        options.onClaim(claim, name)
      }
  }
  const poll = (): void => {
    if (ports.size === 0) return
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

  return {
    silenceOthers: (kept) => {
      for (const address of [...repeating.keys()]) if (!kept.has(address)) silence(address)
    },
    announced: () => announced,
    announce: (link, address, said) => {
      if (said?.once) {
        say(link, address)
        return
      }
      repeat(link, address, announceAfterMs)
    },
    remind: (link, address) => {
      if (!repeating.has(address)) repeat(link, address, [])
    },
    probe: async (link, address) => {
      const port = portOf(link)
      if (!port.ok) return port
      const { mac, socket } = port.value
      const own = link.mac
      const timers: CancelTimer[] = []
      const outcome = await new Promise<Result<Claim | undefined, PacketError>>((resolve) => {
        probing.set(address, (claim) => {
          if (claim.mac !== own) resolve(ok(claim))
        })
        const ask = (): void => {
          const failed = socket.send(probe(address, mac))
          if (failed !== undefined) resolve(err(failed))
        }
        for (const delayMs of probeAfterMs) timers.push(clock.setTimer(delayMs, ask))
        timers.push(
          clock.setTimer(probeMs, () => {
            hear()
            resolve(ok(undefined))
          }),
        )
        poll()
      })
      for (const cancel of timers) cancel()
      probing.delete(address)
      return outcome
    },
    listenOn: (links) => {
      const names = new Set(links.map(({ name }) => name))
      for (const name of [...ports.keys()]) if (!names.has(name) && probing.size === 0) closePort(name)
      for (const link of links) {
        const port = portOf(link)
        if (!port.ok) options.onError(port.error, link.name)
      }
      poll()
    },
    close: () => {
      cancelPoll?.()
      for (const address of [...repeating.keys()]) silence(address)
      for (const name of [...ports.keys()]) closePort(name)
    },
  }
}
