// Routers that dial in from a range: which of them has a session, how many may have one, and when one is gone again. Each is a peer
// like any other, passive, named after its range and its address; what is said of it stays with the range when it is gone.
//
// A session is over when its peer waits for a connection again: after the pause that follows a failure, during which the router is
// refused, so that one that dials without end costs a session a second at most. With graceful restart it is kept for the restart
// time, since what the router still holds of us has to be known when it comes back.

import type { Clock } from '../../runtime/clock.ts'
import type { Cease } from '../fsm/cease.ts'
import { rangeOf } from './accept-rules.ts'
import { createLogLimit, type LogLimit, peerLogLimit } from './log-limit.ts'
import type { Peer } from './peer.ts'
import type { PeerConfig, PeerRange, RangeStatus, SessionCounter, SessionStatus, SpeakerEvent } from './protocol.ts'
import { dynamicName, dynamicPeerOf } from './session-config.ts'
import { type Connection, isSamePlace, notConfigured, type Place, renderPlace } from './transport.ts'

export interface DynamicPeersOptions {
  readonly clock: Clock
  readonly emit: (event: SpeakerEvent) => void
  /** Creates a peer, not yet started. `waiting` is called whenever it has no connection and waits for one. */
  readonly create: (
    config: PeerConfig,
    hooks: { readonly emit: (event: SpeakerEvent) => void; readonly waiting: () => void },
  ) => Peer
  /** The peer is gone, or has come. */
  readonly changed: () => void
}

export interface DynamicPeers {
  /** The complete lists; sessions that are nobody's any more are closed. `reconfigure` hands a session its new settings. */
  readonly configure: (
    ranges: readonly PeerRange[],
    explicit: readonly Place[],
    reconfigure: (peer: Peer, config: PeerConfig) => void,
  ) => void
  /** A connection of nobody's with an address of its own; returns why it can not be taken. */
  readonly incoming: (connection: Connection) => string | undefined
  /** Something keeps a range, or a router in it, from being let in. */
  readonly noteError: (range: string, reason: string) => void
  /** By name. */
  readonly peers: ReadonlyMap<string, Peer>
  readonly peersOf: (range: string) => readonly Peer[]
  /** From now on nothing is forgotten: the speaker closes its sessions. */
  readonly stop: () => void
}

/** The status of a range follows what happens in it at this distance, so that a flood costs one event in it. */
const statusMs = 500

interface Entry {
  readonly name: string
  readonly place: Place
  readonly peer: Peer
  /** Its status as last reported. */
  status: SessionStatus | undefined
  /** It has had its connection: when it waits again, it is over. */
  connected: boolean
  /** The end of the restart time. */
  cancelRestart: (() => void) | undefined
  gone: boolean
}

interface Range {
  config: PeerRange
  readonly entries: Map<string, Entry>
  refused: number
  error: { readonly reason: string; readonly atMs: number } | undefined
  readonly past: Record<SessionCounter, number>
  cancelStatus: (() => void) | undefined
  /** Each new session of a router that fails again and again would have errors of its own to tell. */
  readonly warnings: LogLimit
}

const counters: readonly SessionCounter[] = ['establishedCount', 'messagesIn', 'messagesOut', 'updatesOut']

export function createDynamicPeers(options: DynamicPeersOptions): DynamicPeers {
  const { clock, emit, create, changed } = options
  const ranges = new Map<string, Range>()
  const peers = new Map<string, Peer>()
  let stopped = false

  const warningsOf = (name: string): LogLimit =>
    createLogLimit({
      ...{ clock, ...peerLogLimit },
      suppressed: (count) =>
        emit({ type: 'log', level: 'warn', fields: { event: 'session-errors-suppressed', peer: name, count } }),
    })

  const publish = (range: Range): void => {
    range.cancelStatus = undefined
    const { config, entries, refused, error, past } = range
    const status: RangeStatus = {
      range: config.name,
      sessions: entries.size,
      refused,
      ...(error === undefined ? {} : { lastError: error.reason, lastErrorAtMs: error.atMs }),
      past: { ...past },
    }
    emit({ type: 'range', status })
  }
  const publishSoon = (range: Range): void => {
    range.cancelStatus ??= clock.setTimer(statusMs, () => publish(range))
  }
  const fail = (range: Range, reason: string, atMs = clock.wallMs()): void => {
    range.error = { reason, atMs }
    publishSoon(range)
  }

  // -------------------------------------------------------------------------------------------------- coming and going

  const forget = (range: Range, entry: Entry): void => {
    if (entry.gone) return
    entry.gone = true
    entry.cancelRestart?.()
    range.entries.delete(entry.name)
    peers.delete(entry.name)
    if (entry.status !== undefined) for (const counter of counters) range.past[counter] += entry.status[counter]
    emit({ type: 'session-gone', peer: entry.name })
    publishSoon(range)
  }

  const end = (range: Range, entry: Entry, cease: Cease): void => {
    forget(range, entry)
    entry.peer.stop(cease, () => {}, { keepRoutes: false })
  }

  const waiting = (range: Range, entry: Entry): void => {
    if (!entry.connected || entry.gone || stopped) return
    const { gracefulRestart } = range.config
    const over = (): void => {
      end(range, entry, { name: 'peer-deconfigured' })
      changed()
    }
    if (gracefulRestart === undefined) over()
    else entry.cancelRestart ??= clock.setTimer(1000 * gracefulRestart.restartSeconds, over)
  }

  /** What a peer says, with the range it belongs to. */
  const tell = (range: Range, entry: () => Entry, event: SpeakerEvent): void => {
    if (event.type !== 'session') {
      if (event.type !== 'log' || event.level !== 'warn' || range.warnings.admits()) emit(event)
      return
    }
    const { name, place } = entry()
    if (entry().gone) return
    const remote = renderPlace(place)
    const status: SessionStatus = { ...event.status, dynamic: { range: range.config.name, remote } }
    const { lastError, lastErrorAtMs } = status
    if (lastError !== undefined && lastErrorAtMs !== entry().status?.lastErrorAtMs)
      fail(range, `${remote}: ${lastError}`, lastErrorAtMs)
    entry().status = { ...status, peer: name }
    emit({ type: 'session', status })
  }

  const begin = (range: Range, place: Place): Entry => {
    const config = dynamicPeerOf(range.config, place)
    const peer = create(config, {
      emit: (event) => tell(range, () => entry, event),
      waiting: () => waiting(range, entry),
    })
    const entry: Entry = {
      ...{ name: config.name, place, peer },
      ...{ status: undefined, connected: false, cancelRestart: undefined, gone: false },
    }
    range.entries.set(entry.name, entry)
    peers.set(entry.name, peer)
    peer.start()
    changed()
    publishSoon(range)
    return entry
  }

  /** Room for one more, at the cost of a router that is away if need be. */
  const hasRoom = (range: Range): boolean => {
    if (range.entries.size < range.config.maxSessions) return true
    const away = [...range.entries.values()].find(({ cancelRestart }) => cancelRestart !== undefined)
    if (away !== undefined) end(range, away, { name: 'peer-deconfigured' })
    return away !== undefined
  }

  const refuse = (range: Range, place: Place, reason: string): string => {
    range.refused++
    fail(range, `${renderPlace(place)} was refused: ${reason}`)
    return reason
  }

  const rangeAt = ({ address }: Place): Range | undefined => {
    const config = rangeOf(
      [...ranges.values()].map((range) => range.config),
      address,
    )
    return config === undefined ? undefined : ranges.get(config.name)
  }

  return {
    peers,
    peersOf: (name) => [...(ranges.get(name)?.entries.values() ?? [])].map(({ peer }) => peer),
    noteError: (name, reason) => {
      const range = ranges.get(name)
      if (range !== undefined) fail(range, reason)
    },
    stop: () => {
      stopped = true
      for (const range of ranges.values()) {
        range.cancelStatus?.()
        range.warnings.end()
        for (const { cancelRestart } of range.entries.values()) cancelRestart?.()
      }
    },

    configure: (configs, explicit, reconfigure) => {
      const wanted = new Map(configs.map((config) => [config.name, config]))
      const before = [...ranges.values()].flatMap((range) =>
        [...range.entries.values()].map((entry) => ({ range, entry })),
      )
      const removed = [...ranges.values()].filter(({ config }) => !wanted.has(config.name))
      for (const { config } of removed) ranges.delete(config.name)
      for (const config of configs) {
        const known = ranges.get(config.name)
        if (known !== undefined) known.config = config
        else {
          const range = createRange(config, warningsOf(config.name))
          ranges.set(config.name, range)
          publishSoon(range)
        }
      }
      for (const { range, entry } of before) {
        const { place, peer } = entry
        const hasOwn = explicit.some((other) => isSamePlace(other, place))
        const isExcepted = range.config.except?.includes(place.address) === true
        if (hasOwn || isExcepted || rangeAt(place) !== range) end(range, entry, { name: 'peer-deconfigured' })
        else if (range.config.shutdown !== undefined)
          end(range, entry, { name: 'administrative-shutdown', text: range.config.shutdown })
        else reconfigure(peer, dynamicPeerOf(range.config, place))
      }
      for (const range of removed) {
        range.cancelStatus?.()
        range.warnings.end()
        emit({ type: 'range-gone', range: range.config.name })
      }
    },

    incoming: (connection) => {
      const place = connection.remote
      const range = rangeAt(place)
      if (range === undefined) return notConfigured
      const { name, shutdown, maxSessions, except = [] } = range.config
      if (except.includes(place.address))
        return refuse(range, place, 'it has a peer of its own, which can not be used as it is configured')
      if (shutdown !== undefined) return refuse(range, place, `${name} is shut down`)
      const known = range.entries.get(dynamicName(name, place))
      if (known === undefined && !hasRoom(range))
        return refuse(range, place, `${name} has ${maxSessions} sessions, as many as it may have (maxSessions)`)
      const entry = known ?? begin(range, place)
      entry.cancelRestart?.()
      entry.cancelRestart = undefined
      entry.connected = true
      entry.peer.incoming(connection)
      return undefined
    },
  }
}

const createRange = (config: PeerRange, warnings: LogLimit): Range => ({
  config,
  warnings,
  entries: new Map(),
  refused: 0,
  error: undefined,
  past: { establishedCount: 0, messagesIn: 0, messagesOut: 0, updatesOut: 0 },
  cancelStatus: undefined,
})
