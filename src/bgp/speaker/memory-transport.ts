// A network in memory: hosts by address, connections with latency, partitions and peers that stop reading. The twin of the
// kernel's TCP for tests and simulations; time is the injected clock's, so a virtual clock owns everything that happens.

import { familyOf, type Ip } from '../../net/ip.ts'
import { type Prefix, prefixOf } from '../../net/prefix.ts'
import type { Clock } from '../../runtime/clock.ts'
import { acceptorOf, keysOf, rangeOf } from './accept-rules.ts'
import {
  type AcceptOptions,
  type AcceptRange,
  type Connection,
  type ConnectionHandlers,
  type DialHandlers,
  type DialOptions,
  type ListenHandlers,
  notConfigured,
  type Transport,
} from './transport.ts'

export interface MemoryNetwork {
  /** The transport of the host that owns these addresses; the first is the source of what it dials. */
  readonly host: (...addresses: readonly [Ip, ...Ip[]]) => Transport
  /** From now on nothing passes between the two, and neither is told. */
  readonly partition: (a: Ip, b: Ip) => void
  /** What was sent meanwhile arrives now, as TCP retransmits it; a reset that was lost stays lost. */
  readonly heal: (a: Ip, b: Ip) => void
  /** The host takes no data from any connection until `resume`: a receive window of zero. */
  readonly stall: (address: Ip) => void
  readonly resume: (address: Ip) => void
  /** Closes every connection of the host as its crash would: the others see a reset. */
  readonly reset: (address: Ip) => void
  /** Ends of connections that nobody has closed: two a connection. */
  readonly openEnds: () => number
  /** Another program holds the port at this address: listening there fails. */
  readonly occupy: (address: Ip, port: number) => void
  readonly vacate: (address: Ip, port: number) => void
}

interface Host {
  readonly addresses: readonly Ip[]
  readonly listeners: Map<number, MemoryListener>
  readonly occupied: Set<number>
}

interface MemoryListener {
  readonly handlers: ListenHandlers
  peers: readonly AcceptOptions[]
  ranges: readonly AcceptRange[]
}

const networkOf = (address: Ip): Prefix => prefixOf(address, familyOf(address) === 'IPv4' ? 24 : 64)

/** How long a connection waits for an answer of a host that is not there: as long as Linux does by default. */
const dialTimeoutMs = 127_000

/** Creates a network without hosts. `latencyMs` is the time from one host to another. */
export function createMemoryNetwork(options: { readonly clock: Clock; readonly latencyMs: number }): MemoryNetwork {
  const { clock, latencyMs } = options
  const hosts = new Map<Ip, Host>()
  const partitions = new Set<string>()
  const stalled = new Set<Ip>()
  const ends = new Set<MemoryConnection>()
  const closing = new Set<MemoryConnection>()
  const reachable = (a: Ip, b: Ip): boolean => !partitions.has(`${a} ${b}`)
  const link: Link = { clock, latencyMs, reachable, stalled, ends, closing }

  const dial = (from: Host, dialed: DialOptions, handlers: DialHandlers): (() => void) => {
    let timer = (): void => {}
    const finish = (delayMs: number, act: () => void): void => {
      timer = clock.setTimer(delayMs, act)
    }
    const source = dialed.sourceAddress ?? from.addresses.find((a) => familyOf(a) === familyOf(dialed.address))
    if (source === undefined || !from.addresses.includes(source)) {
      finish(0, () => handlers.failed(`source address ${source ?? '(none)'} is not on this host`))
      return () => timer()
    }
    finish(2 * latencyMs, () => {
      const listener = hosts.get(dialed.address)?.listeners.get(dialed.port)
      if (!reachable(source, dialed.address) || !hosts.has(dialed.address))
        return finish(dialTimeoutMs, () => handlers.failed('no answer to the TCP connection'))
      if (listener === undefined) return handlers.failed(`connection refused by ${dialed.address} port ${dialed.port}`)
      const peer = acceptorOf(listener.peers, { address: source }, dialed.address) ?? rangeOf(listener.ranges, source)
      // As the kernel does it: segments with another key, or with none, are dropped in silence.
      const { keys } = keysOf(listener.peers, listener.ranges)
      const keyed = rangeOf(
        [...keys].map(([range, password]) => ({ range, password })),
        source,
      )
      if (keyed?.password !== dialed.password)
        return finish(dialTimeoutMs, () => handlers.failed('no answer to the TCP connection'))
      const ours = createConnection(link, source, dialed.address)
      const theirs = createConnection(link, dialed.address, source)
      join(ours, theirs)
      if (peer === undefined) {
        theirs.connection.abort()
        listener.handlers.refused({ address: source }, notConfigured)
      } else listener.handlers.connection(theirs.connection)
      handlers.connected(ours.connection)
    })
    return () => timer()
  }

  const listen = (host: Host, port: number, handlers: ListenHandlers) => {
    const listener: MemoryListener = { handlers, peers: [], ranges: [] }
    const free = !host.occupied.has(port) && !host.listeners.has(port)
    if (free) host.listeners.set(port, listener)
    clock.setTimer(0, free ? handlers.listening : () => handlers.failed(`port ${port} is in use by another program`))
    return {
      setPeers: (peers: readonly AcceptOptions[], ranges: readonly AcceptRange[] = []) => {
        listener.peers = peers
        listener.ranges = ranges
        return keysOf(peers, ranges).refusals
      },
      close: () => {
        if (host.listeners.get(port) === listener) host.listeners.delete(port)
      },
    }
  }

  const hostAt = (address: Ip): Host => {
    const host = hosts.get(address)
    if (host === undefined) throw new Error(`no host at ${address}`)
    return host
  }

  return {
    host: (...addresses) => {
      const host: Host = { addresses, listeners: new Map(), occupied: new Set() }
      for (const address of addresses) hosts.set(address, host)
      return {
        dial: (dialed, handlers) => dial(host, dialed, handlers),
        listen: (port, _addresses, handlers) => listen(host, port, handlers),
        isNeighbor: (address) => addresses.some((own) => networkOf(own) === networkOf(address)),
      }
    },
    partition: (a, b) => {
      partitions.add(`${a} ${b}`).add(`${b} ${a}`)
    },
    heal: (a, b) => {
      partitions.delete(`${a} ${b}`)
      partitions.delete(`${b} ${a}`)
      for (const end of [...ends, ...closing]) end.retransmit()
    },
    stall: (address) => void stalled.add(address),
    resume: (address) => {
      stalled.delete(address)
      for (const end of ends) end.flush()
    },
    reset: (address) => {
      for (const end of [...ends]) if (end.connection.localAddress === address) end.connection.abort()
    },
    openEnds: () => ends.size,
    occupy: (address, port) => void hostAt(address).occupied.add(port),
    vacate: (address, port) => void hostAt(address).occupied.delete(port),
  }
}

// ------------------------------------------------------------------------------------------------------ connections

interface Link {
  readonly clock: Clock
  readonly latencyMs: number
  readonly reachable: (a: Ip, b: Ip) => boolean
  readonly stalled: ReadonlySet<Ip>
  readonly ends: Set<MemoryConnection>
  /** Closed, but the kernel still has something to deliver. */
  readonly closing: Set<MemoryConnection>
}

interface MemoryConnection {
  readonly connection: Connection
  /** Sends what the other end takes. */
  readonly flush: () => void
  /** Sends what a partition kept back. */
  readonly retransmit: () => void
  readonly receive: (chunk: Uint8Array) => void
  readonly hangUp: (reason: string) => void
  other: MemoryConnection | undefined
}

function join(a: MemoryConnection, b: MemoryConnection): void {
  a.other = b
  b.other = a
}

const wordsOfReset = 'the router reset the TCP connection'

function createConnection(link: Link, local: Ip, remote: Ip): MemoryConnection {
  const { clock, latencyMs } = link
  let handlers: ConnectionHandlers | undefined
  let closed = false
  let ending: { readonly done: (() => void) | undefined } | undefined
  let pending: Uint8Array[] = []
  let acceptedBytes = 0
  // Arrived before anybody listened.
  let early: Uint8Array[] = []
  let hungUp: string | undefined

  // Taken by the kernel, kept back by a partition.
  let blocked: (() => void)[] = []

  const deliver = (what: () => void): void => {
    if (link.reachable(local, remote)) clock.setTimer(latencyMs, what)
    else blocked.push(what)
  }

  const pendingBytes = (): number => pending.reduce((sum, { length }) => sum + length, 0)

  const flush = (): void => {
    if (closed || link.stalled.has(remote)) return
    const sent = pending
    pending = []
    for (const chunk of sent) {
      acceptedBytes += chunk.length
      deliver(() => end.other?.receive(chunk))
    }
    if (sent.length > 0) clock.setTimer(0, () => !closed && handlers?.drained())
    if (ending !== undefined) finish(ending.done)
  }

  // The kernel delivers what it has taken, and the end of it.
  const finish = (done: (() => void) | undefined): void => {
    if (!closed) {
      closed = true
      link.ends.delete(end)
      deliver(() => end.other?.hangUp('the router closed the TCP connection'))
      if (blocked.length > 0) link.closing.add(end)
    }
    if (done !== undefined) clock.setTimer(0, done)
  }

  const reset = (): void => {
    if (link.reachable(local, remote)) clock.setTimer(latencyMs, () => end.other?.hangUp(wordsOfReset))
  }

  const end: MemoryConnection = {
    other: undefined,
    flush,
    retransmit: () => {
      if (!link.reachable(local, remote)) return
      const kept = blocked
      blocked = []
      for (const what of kept) clock.setTimer(latencyMs, what)
      link.closing.delete(end)
    },
    receive: (chunk) => {
      // Data for a connection that is not there any more is answered with a reset.
      if (closed) reset()
      if (closed || ending !== undefined) return
      if (handlers === undefined) early.push(chunk)
      else handlers.data(chunk)
    },
    hangUp: (reason) => {
      if (closed) return
      if (handlers === undefined && ending === undefined) {
        hungUp = reason
        return
      }
      closed = true
      link.ends.delete(end)
      if (ending === undefined) handlers?.closed(reason)
      else ending.done?.()
    },
    connection: {
      localAddress: local,
      remote: { address: remote },
      localAddresses: familyOf(local) === 'IPv4' ? { ipv4: local } : { ipv6: local },
      localNetworks: [],
      open: (given) => {
        clock.setTimer(0, () => {
          if (closed) return
          handlers = given
          for (const chunk of early) given.data(chunk)
          early = []
          if (hungUp !== undefined) end.hangUp(hungUp)
        })
      },
      write: (bytes) => {
        if (closed || ending !== undefined) return
        // A copy, as the kernel takes one: the reader may do with it what it likes.
        pending.push(bytes.slice())
        flush()
      },
      get pendingBytes() {
        return pendingBytes()
      },
      get acceptedBytes() {
        return acceptedBytes
      },
      close: (done) => {
        if (closed || ending !== undefined) {
          done?.()
          return
        }
        ending = { done }
        flush()
        clock.setTimer(1000, () => !closed && finish(done))
      },
      abort: () => {
        if (closed) return
        closed = true
        blocked = []
        link.ends.delete(end)
        reset()
      },
    },
  }
  link.ends.add(end)
  return end
}
