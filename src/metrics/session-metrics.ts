// The sessions of a BGP speaker as Prometheus metrics: the same names at controllers and at agents, so that one dashboard shows both.

import { Gauge, type Registry } from 'prom-client'
import type { RangeStatus, SessionCounter, SessionStatus } from '../bgp/speaker/protocol.ts'

export interface SpeakerFacts {
  readonly sessions: ReadonlyMap<string, SessionStatus>
  readonly ranges: ReadonlyMap<string, RangeStatus>
}

/** Registers the gauges, which ask for `facts` when they are scraped. */
export function registerSessionMetrics(registry: Registry, facts: () => SpeakerFacts): void {
  const gauge = (
    name: string,
    help: string,
    values: (facts: SpeakerFacts) => Iterable<readonly [{ readonly peer: string }, number]>,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: ['peer'],
      registers: [registry],
      collect() {
        this.reset()
        for (const [labels, value] of values(facts())) this.set(labels, value)
      },
    })
  }
  const bySession = (name: string, help: string, value: (status: SessionStatus) => number): void =>
    gauge(name, help, ({ sessions, ranges }) => byPeer(sessions, ranges, value, () => 0))
  const byCounter = (name: string, help: string, counter: SessionCounter): void =>
    gauge(name, help, ({ sessions, ranges }) =>
      byPeer(
        sessions,
        ranges,
        (s) => s[counter],
        (range) => range.past[counter],
      ),
    )

  gauge('bellhop_bgp_session_up', '1 while a session with the peer is Established', ({ sessions, ranges }) =>
    byPeer(sessions, ranges, up, () => 0).map(([labels, count]) => [labels, Math.min(1, count)] as const),
  )
  gauge(
    'bellhop_bgp_range_sessions',
    'Established sessions with routers that connected from the range of the peer',
    ({ sessions, ranges }) => byPeer(sessions, ranges, up, () => 0).filter(([{ peer }]) => ranges.has(peer)),
  )
  gauge('bellhop_bgp_range_refused', 'Connections from the range of the peer that were refused', ({ ranges }) =>
    [...ranges.values()].map(({ range, refused }) => [{ peer: range }, refused] as const),
  )
  byCounter('bellhop_bgp_sessions_established', 'Times a session was Established', 'establishedCount')
  bySession('bellhop_bgp_announced_prefixes', 'Prefixes announced to the peer', (s) => s.announcedPrefixes)
  bySession('bellhop_bgp_announced_paths', 'Paths announced to the peer', (s) => s.announcedPaths)
  bySession(
    'bellhop_bgp_received_prefixes',
    'Prefixes the peer announced; they are discarded',
    (s) => s.receivedPrefixes,
  )
  byCounter('bellhop_bgp_messages_received', 'BGP messages received', 'messagesIn')
  byCounter('bellhop_bgp_messages_sent', 'BGP messages sent', 'messagesOut')
  byCounter('bellhop_bgp_updates_sent', 'UPDATE messages sent', 'updatesOut')
}

const up = ({ state }: SessionStatus): number => (state === 'Established' ? 1 : 0)

// Labels are names of BgpPeers, however many routers connect from a range: those count together, the ones that are gone included.
function byPeer(
  sessions: ReadonlyMap<string, SessionStatus>,
  ranges: ReadonlyMap<string, RangeStatus>,
  value: (status: SessionStatus) => number,
  past: (range: RangeStatus) => number,
): readonly (readonly [{ readonly peer: string }, number])[] {
  const sums = new Map([...ranges.values()].map((range) => [range.range, past(range)]))
  for (const session of sessions.values()) {
    const peer = session.dynamic?.range ?? session.peer
    sums.set(peer, (sums.get(peer) ?? 0) + value(session))
  }
  return [...sums].map(([peer, sum]) => [{ peer }, sum] as const)
}
