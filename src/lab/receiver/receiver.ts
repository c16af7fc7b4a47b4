// A BGP neighbour that listens and remembers, and does nothing else: a router for loopback, where no routing daemon is installed
// and nobody is root. It shares the codec with the product and not one line of its state machine: a second opinion.

import { createServer, type Socket } from 'node:net'
import type { Family, SessionError } from '../../bgp/packet/message.ts'
import type { Asn, RouterId } from '../../net/asn.ts'
import { compareIp, type Ip, parseIp } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'
import type { Clock } from '../../runtime/clock.ts'
import { must } from '../../runtime/result.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import type { HeldPath } from './adj-rib-in.ts'
import { acceptSession, type ReceiverSession, type SessionFacts } from './session.ts'

export interface ReceiverOptions {
  /** Where to listen; default 127.0.0.1. */
  readonly address?: Ip
  /** Default 0: any free port. */
  readonly port?: number
  readonly asn: Asn
  readonly routerId: RouterId
  /** Receive several paths a prefix; default true. */
  readonly addPath?: boolean
  /** Default both. */
  readonly families?: readonly Family[]
  /** Default 9. */
  readonly holdTimeSeconds?: number
  readonly clock?: Clock
}

export interface ReceivedPath extends HeldPath {
  /** Who announced it. */
  readonly from: RouterId
}

export interface Followed {
  /** The next hops as they were at the start and after each change, one entry a change. */
  readonly seen: () => readonly (readonly Ip[])[]
  readonly stop: () => void
}

export interface Receiver extends AsyncDisposable {
  readonly address: Ip
  readonly port: number
  /** Sessions that have not ended, the oldest first. */
  readonly sessions: () => readonly SessionFacts[]
  /** Sessions that have ended, the oldest first; the last hundred. */
  readonly endedSessions: () => readonly SessionFacts[]
  /** All paths of all Established sessions for exactly this prefix. */
  readonly routes: (prefix: Prefix) => readonly ReceivedPath[]
  /** The different next hops of `routes`, sorted: the legs that a router's ECMP group would have. */
  readonly nextHops: (prefix: Prefix) => readonly Ip[]
  /** Remembers every different answer that `nextHops` would have given from now on: what a packet could have met. */
  readonly follow: (prefix: Prefix) => Followed
  /** Prefixes with a path in any session, sorted as text. */
  readonly prefixes: () => readonly Prefix[]
  /** What all sessions, the ended ones too, were found guilty of. */
  readonly complaints: () => readonly string[]
  /** UPDATEs of all sessions, the ended ones too. */
  readonly updates: () => number
  /** Sends ROUTE-REFRESH for the family on every Established session. */
  readonly refresh: (family: Family) => void
  /** Ends every session with this NOTIFICATION; peers may come back. */
  readonly notify: (error: SessionError) => void
  /** Ends every session (Cease/2) and stops listening. */
  readonly close: () => Promise<void>
}

const endedMax = 100
const holdTimeDefaultSeconds = 9
const loopback = must(parseIp('127.0.0.1'))
const bothFamilies: readonly Family[] = ['ipv4-unicast', 'ipv6-unicast']
const closing: SessionError = { code: 6, subcode: 2, data: new Uint8Array(0), reason: 'the receiver is closed' }

/** Starts a receiver. Rejects when the address or the port cannot be had. */
export async function startReceiver(options: ReceiverOptions): Promise<Receiver> {
  const { address = loopback, clock = systemClock } = options
  const sessions = new Map<Socket, ReceiverSession>()
  const ended: SessionFacts[] = []
  const listeners = new Set<() => void>()
  let endedUpdates = 0
  const server = createServer((socket) => {
    const session = acceptSession(socket, {
      ...{ asn: options.asn, routerId: options.routerId, clock },
      ...{ families: options.families ?? bothFamilies, addPath: options.addPath ?? true },
      holdTimeSeconds: options.holdTimeSeconds ?? holdTimeDefaultSeconds,
      onChange: () => {
        for (const listener of listeners) listener()
      },
    })
    sessions.set(socket, session)
    socket.on('close', () => {
      sessions.delete(socket)
      endedUpdates += session.facts().updates
      if (ended.push(session.facts()) > endedMax) ended.shift()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, address, () => resolve())
  })
  const bound = server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : (options.port ?? 0)

  const all = (): readonly ReceiverSession[] => [...sessions.values()]
  const established = (): readonly ReceiverSession[] => all().filter((s) => s.facts().state === 'Established')
  const routes = (prefix: Prefix): readonly ReceivedPath[] =>
    established().flatMap(({ facts, rib }) => {
      const { routerId: from } = facts()
      return from === undefined ? [] : rib.paths(prefix).map((path) => ({ ...path, from }))
    })
  const nextHops = (prefix: Prefix): readonly Ip[] =>
    [...new Set(routes(prefix).map(({ nextHop }) => nextHop))].sort(compareIp)
  const follow = (prefix: Prefix): Followed => {
    const seen = [nextHops(prefix)]
    const look = (): void => {
      const now = nextHops(prefix)
      if (now.join() !== seen.at(-1)?.join()) seen.push(now)
    }
    listeners.add(look)
    return { seen: () => [...seen], stop: () => void listeners.delete(look) }
  }
  const close = async (): Promise<void> => {
    if (!server.listening) return
    for (const session of sessions.values()) session.notify(closing)
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      // A peer that does not close its side is not waited for.
      for (const socket of sessions.keys()) socket.destroySoon()
    })
  }
  return {
    address,
    port,
    sessions: () =>
      all()
        .map(({ facts }) => facts())
        .filter(({ state }) => state !== 'Ended'),
    endedSessions: () => [
      ...ended,
      ...all()
        .map(({ facts }) => facts())
        .filter(({ state }) => state === 'Ended'),
    ],
    routes,
    nextHops,
    follow,
    prefixes: () => [...new Set(established().flatMap(({ rib }) => rib.prefixes()))].sort(),
    complaints: () => [...ended, ...all().map(({ facts }) => facts())].flatMap(({ complaints }) => complaints),
    updates: () => all().reduce((sum, { facts }) => sum + facts().updates, endedUpdates),
    refresh: (family) => {
      for (const session of sessions.values()) session.refresh(family)
    },
    notify: (error) => {
      for (const session of sessions.values()) session.notify(error)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
