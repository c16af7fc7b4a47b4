// A network in memory for BFD: hosts by address, latency, loss, cuts, and processes that stall while their sockets fill. Two with one
// address are two programs of one host. The twin of the kernel's UDP for tests and simulations; time is the injected clock's.

import { familyOf, type Ip, type IpFamily } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'
import { err, ok } from '../runtime/result.ts'
import { placeKey } from './session-config.ts'
import {
  type BfdDatagram,
  type BfdHops,
  type BfdListener,
  type BfdListenHandlers,
  type BfdPath,
  type BfdPlace,
  type BfdSender,
  type BfdSource,
  type BfdTransport,
  bfdPorts,
  type TtlRule,
} from './transport.ts'

/** One process with its sockets and its own view of time. */
export interface BfdHost {
  readonly transport: BfdTransport
  /** Its timers do not fire while it is stalled. */
  readonly clock: Clock
  /** The process stops running; its sockets go on taking packets, as many as they hold. */
  readonly stall: () => void
  /** It runs again: first the timers that are due, then the packets, as an event loop has it. */
  readonly resume: () => void
  /** The process ends without a word; the host stays, and says of every packet that nobody listens. */
  readonly kill: () => void
  /** Another program holds the port. */
  readonly occupy: (hops: BfdHops) => void
  readonly vacate: (hops: BfdHops) => void
  readonly addAddress: (address: Ip) => void
  /** From now on it is the source of what is sent. */
  readonly moveTo: (address: Ip) => void
}

export interface BfdNetwork {
  readonly host: (...addresses: readonly Ip[]) => BfdHost
  /** Whether a packet arrives; asked for each. */
  readonly setLoss: (isLost: (from: Ip, to: Ip) => boolean) => void
  /** How many routers are between any two hosts. */
  readonly setRouters: (count: number) => void
  /** Sends a packet that no transport would. */
  readonly inject: (packet: Packet) => void
}

interface Packet {
  readonly from: Ip
  readonly to: Ip
  readonly hops: BfdHops
  readonly ttl: number
  readonly bytes: Uint8Array
}

interface MemoryListener {
  readonly place: BfdPlace
  /** Absent: at all addresses. */
  readonly at: Ip | undefined
  readonly handlers: BfdListenHandlers
  rules: readonly TtlRule[]
  waiting: BfdDatagram[]
}

interface Host {
  addresses: ReadonlySet<Ip>
  readonly listeners: Map<string, MemoryListener>
  readonly occupied: Set<BfdHops>
  stalled: boolean
  /** Timers that came due meanwhile. */
  late: (() => void)[]
}

const ttlSent = 255
/** As many as a socket of the usual size holds. */
const waitingMax = 256

/** Creates a network without hosts. `latencyMs` is the time from one host to another. */
export function createBfdNetwork(options: { readonly clock: Clock; readonly latencyMs: () => number }): BfdNetwork {
  const { clock, latencyMs } = options
  const hosts: Host[] = []
  const lastArrivalMs = new Map<string, number>()
  let isLost: (from: Ip, to: Ip) => boolean = () => false
  let routers = 0

  /** Whether somebody has the port. */
  const arrive = (hops: BfdHops, source: BfdSource, to: Ip, ttl: number, bytes: Uint8Array): boolean => {
    // Who came last has the address: a program that was started again.
    const programs = hosts.filter(({ addresses }) => addresses.has(to)).reverse()
    const found = listenerFor(programs, hops, source.address, to)
    if (found === undefined) return programs.some(({ occupied }) => occupied.has(hops))
    const [host, listener] = found
    if (!passes(listener, source.address, ttl)) return true
    const datagram: BfdDatagram = { bytes, source: () => source }
    if (!host.stalled) listener.handlers.received(datagram)
    else if (listener.waiting.length < waitingMax) listener.waiting.push(datagram)
    return true
  }

  const carry = ({ from, to, hops, ttl, bytes }: Packet, refused: () => void): void => {
    if (isLost(from, to)) return
    const copy = bytes.slice()
    // A link delays, but does not reorder.
    const now = clock.monotonicMs()
    const link = `${from} ${to}`
    const atMs = Math.max(now + latencyMs(), lastArrivalMs.get(link) ?? 0)
    lastArrivalMs.set(link, atMs)
    clock.setTimer(atMs - now, () => {
      const isThere = hosts.some(({ addresses }) => addresses.has(to))
      if (!isThere || arrive(hops, { address: from }, to, ttl, copy) || isLost(to, from)) return
      clock.setTimer(latencyMs(), refused)
    })
  }

  return {
    host: (...addresses) => {
      const host: Host = {
        addresses: new Set(addresses),
        listeners: new Map(),
        occupied: new Set(),
        stalled: false,
        late: [],
      }
      hosts.push(host)
      return {
        transport: {
          listen: (place, rules, handlers) => listen(host, hosts, place, rules, handlers),
          open: (path) =>
            open(host, path, (from, bytes, refused) => {
              const to = path.remoteAddress
              carry({ from, to, hops: path.hops, ttl: ttlSent - routers, bytes }, refused)
            }),
        },
        clock: clockOf(host, clock),
        stall: () => {
          host.stalled = true
        },
        resume: () => resume(host),
        kill: () => {
          host.listeners.clear()
          host.stalled = true
        },
        occupy: (hops) => void host.occupied.add(hops),
        vacate: (hops) => void host.occupied.delete(hops),
        addAddress: (address) => {
          host.addresses = new Set([...host.addresses, address])
        },
        moveTo: (address) => {
          host.addresses = new Set([address, ...host.addresses])
        },
      }
    },
    setLoss: (next) => {
      isLost = next
    },
    setRouters: (count) => {
      routers = count
    },
    inject: (packet) => carry(packet, () => {}),
  }
}

/** Of the programs the one that listens to the source alone, else one that listens to everybody. */
function listenerFor(
  programs: readonly Host[],
  hops: BfdHops,
  source: Ip,
  to: Ip,
): readonly [Host, MemoryListener] | undefined {
  const all = programs.flatMap((host) =>
    [...host.listeners.values()].flatMap((listener) => {
      const { place, at } = listener
      const fits = place.hops === hops && place.family === familyOf(to) && (at === undefined || at === to)
      return fits ? [[host, listener] as const] : []
    }),
  )
  return (
    all.find(([, { place }]) => place.peer?.address === source) ?? all.find(([, { place }]) => place.peer === undefined)
  )
}

const passes = ({ place, rules }: MemoryListener, source: Ip, ttl: number): boolean =>
  place.hops === 'single' ? ttl === ttlSent : rules.every(({ address, ttlMin }) => address !== source || ttl >= ttlMin)

const sourceOf = ({ addresses }: Host, family: IpFamily): Ip | undefined =>
  [...addresses].find((address) => familyOf(address) === family)

/** Whether another listener keeps this one from its place. */
function isRival(
  place: BfdPlace,
  at: Ip | undefined,
  other: MemoryListener,
  options: { readonly own: boolean },
): boolean {
  if (other.place.family !== place.family || (other.at !== undefined && at !== undefined && other.at !== at))
    return false
  if (place.peer === undefined || other.place.peer === undefined) return other.place.hops === place.hops
  return !options.own && place.peer.address === other.place.peer.address
}

function listen(
  host: Host,
  hosts: readonly Host[],
  place: BfdPlace,
  rules: readonly TtlRule[],
  handlers: BfdListenHandlers,
): ReturnType<BfdTransport['listen']> {
  const { hops, family, address, peer } = place
  const at = peer === undefined ? address : (address ?? sourceOf(host, family))
  const where = `${address ?? 'any address'} UDP port ${bfdPorts[hops]}`
  const programs = hosts.filter(
    (other) => other === host || [...other.addresses].some((each) => host.addresses.has(each)),
  )
  const rival = programs.some((program) =>
    [...program.listeners.values()].some((other) => isRival(place, at, other, { own: program === host })),
  )
  if (rival || host.occupied.has(hops)) return err({ code: 'bfd-socket/in-use', reason: `${where} is in use` })
  if (address !== undefined && !host.addresses.has(address))
    return err({ code: 'bfd-socket/refused', reason: `${address} is not on this host` })
  const listener: MemoryListener = { place, at, handlers, rules, waiting: [] }
  const key = placeKey(place)
  host.listeners.set(key, listener)
  return ok({
    drain: () => deliver(listener),
    moved: () => peer !== undefined && address === undefined && sourceOf(host, family) !== at,
    setTtlRules: (next) => {
      listener.rules = next
      return undefined
    },
    close: () => {
      listener.waiting = []
      if (host.listeners.get(key) === listener) host.listeners.delete(key)
    },
  } satisfies BfdListener)
}

function deliver(listener: MemoryListener): void {
  const arrived = listener.waiting
  listener.waiting = []
  for (const datagram of arrived) listener.handlers.received(datagram)
}

function open(
  host: Host,
  { remoteAddress, localAddress }: BfdPath,
  send: (from: Ip, bytes: Uint8Array, refused: () => void) => void,
): ReturnType<BfdTransport['open']> {
  const source = (): Ip | undefined => localAddress ?? sourceOf(host, familyOf(remoteAddress))
  const first = source()
  if (first === undefined || !host.addresses.has(first))
    return err({ code: 'bfd-socket/refused', reason: `${first ?? 'no address'} is not on this host` })
  let closed = false
  let refused = false
  return ok({
    send: (bytes) => {
      if (!closed)
        send(source() ?? first, bytes, () => {
          refused = true
        })
      return undefined
    },
    wasRefused: () => refused,
    forgetRefusal: () => {
      refused = false
    },
    close: () => {
      closed = true
    },
  } satisfies BfdSender)
}

const clockOf = (host: Host, clock: Clock): Clock => ({
  monotonicMs: clock.monotonicMs,
  wallMs: clock.wallMs,
  setTimer: (delayMs, fire) => {
    let cancelled = false
    const cancel = clock.setTimer(delayMs, () => {
      if (!host.stalled) fire()
      else
        host.late.push(() => {
          if (!cancelled) fire()
        })
    })
    return () => {
      cancelled = true
      cancel()
    }
  },
})

function resume(host: Host): void {
  host.stalled = false
  const late = host.late
  host.late = []
  for (const fire of late) fire()
  for (const listener of [...host.listeners.values()]) deliver(listener)
}
