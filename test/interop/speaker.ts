// The speaker under test as the tests hold it: commands in, the latest state of every session out.

import type { Route } from '../../src/bgp/rib/route.ts'
import type {
  PeerConfig,
  PeerRange,
  RangeStatus,
  SessionStatus,
  SpeakerCommand,
  SpeakerConfig,
  SpeakerEvent,
} from '../../src/bgp/speaker/protocol.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import type { Prefix } from '../../src/net/prefix.ts'

export const table = 'all'

/** As the speaker logs it. */
export interface StateChange {
  readonly from: string
  readonly to: string
  readonly because: string
}

export interface TestSpeaker {
  readonly send: (command: SpeakerCommand) => void
  /** Adds or replaces routes of the table that all peers share. */
  readonly announce: (...routes: readonly Route[]) => void
  readonly withdraw: (...prefixes: readonly Prefix[]) => void
  readonly status: (peer: string) => SessionStatus | undefined
  readonly range: (name: string) => RangeStatus | undefined
  /** All changes of state, in their order. */
  readonly changes: readonly StateChange[]
  /** Waits until the status of a peer satisfies `condition`, and returns it. */
  readonly waitForStatus: (
    peer: string,
    what: string,
    condition: (status: SessionStatus) => boolean,
    timeoutMs?: number,
  ) => Promise<SessionStatus>
  /** Ends the sessions with a reason, then the program. */
  readonly stop: (reason: string) => Promise<void>
  /** As a power cut would. */
  readonly kill: () => Promise<void>
}

/** Starts the program, configures it and lets it announce. */
export function startSpeaker(
  namespace: Namespace,
  config: Omit<SpeakerConfig, 'listenAddresses'>,
  routes: readonly Route[],
  { logPath, recordDirectory }: { readonly logPath: string; readonly recordDirectory?: string },
): TestSpeaker {
  const recording = recordDirectory === undefined ? [] : [recordDirectory]
  const child = namespace.spawn(nodeProgram('test/interop/speaker-process.ts', recording), { logPath })
  const changes: StateChange[] = []
  const sessions = new Map<string, SessionStatus>()
  const ranges = new Map<string, RangeStatus>()
  let revision = 0
  child.onLine((line) => {
    const event = JSON.parse(line) as SpeakerEvent
    if (event.type === 'session') sessions.set(event.status.peer, event.status)
    if (event.type === 'session-gone') sessions.delete(event.peer)
    if (event.type === 'range') ranges.set(event.status.range, event.status)
    if (event.type === 'log' && event.fields.event === 'session-state')
      changes.push(event.fields as unknown as StateChange)
  })
  const send = (command: SpeakerCommand): void => child.writeLine(JSON.stringify(command))
  const change = (upserts: readonly Route[], withdrawals: readonly Prefix[]): void =>
    send({ type: 'routes', table, replace: false, upserts, withdrawals, revision: ++revision })
  send({ type: 'configure', config: { ...config, listenAddresses: [] } })
  change(routes, [])
  send({ type: 'ready' })
  return {
    send,
    announce: (...upserts) => change(upserts, []),
    withdraw: (...withdrawals) => change([], withdrawals),
    status: (peer) => sessions.get(peer),
    range: (name) => ranges.get(name),
    changes,
    waitForStatus: (peer, what, condition, timeoutMs = 45_000) =>
      child.waitUntil(
        () => {
          const status = sessions.get(peer)
          return status !== undefined && condition(status) ? status : undefined
        },
        { what: `${peer}: ${what}`, timeoutMs },
      ),
    stop: async (reason) => {
      send({ type: 'stop', reason })
      const force = setTimeout(() => child.kill('SIGKILL'), 5000)
      await child.end
      clearTimeout(force)
    },
    kill: async () => void (await child.stop({ signal: 'SIGKILL' })),
  }
}

/** A peer with everything at its defaults, quick to retry. */
export const peerWith = (
  peer: Pick<PeerConfig, 'name' | 'address' | 'peerAsn' | 'localAsn'> & Partial<PeerConfig>,
): PeerConfig => ({
  port: 179,
  holdTimeSeconds: 9,
  keepaliveSeconds: 3,
  connectRetrySeconds: 1,
  ttl: 1,
  families: ['ipv4-unicast', 'ipv6-unicast'],
  addPath: 'auto',
  nextHop: 'node',
  passive: false,
  maxPrefixesIn: 100,
  table,
  ...peer,
})

/** A range whose sessions are as those of `peerWith`. */
export function rangeWith(
  range: Pick<PeerRange, 'range'> & Partial<PeerRange>,
  peer: Pick<PeerConfig, 'name' | 'address' | 'peerAsn' | 'localAsn'>,
): PeerRange {
  const { address: _, port: __, passive: ___, ...shared } = peerWith(peer)
  return { ...shared, maxSessions: 10, ...range }
}
