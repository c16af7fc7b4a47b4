// What a controller replica observes, as Prometheus metrics. Gauges are read off the present state when they are scraped, so no
// code elsewhere has to remember to update them; only durations are recorded as they happen.

import { Gauge, Histogram, Registry } from 'prom-client'
import type { RangeStatus, SessionCounter, SessionStatus } from '../bgp/speaker/protocol.ts'
import type { Plan } from '../plan/types.ts'
import type { PoolUsage } from '../vip/types.ts'

/** The state behind the gauges, as it is at the moment of a scrape. */
export interface ControllerFacts {
  readonly sessions: ReadonlyMap<string, SessionStatus>
  readonly ranges: ReadonlyMap<string, RangeStatus>
  readonly plan: Plan | undefined
  /** Only the leader allocates; others know nothing of pools. */
  readonly pools: ReadonlyMap<string, PoolUsage> | undefined
  /** VIPs whose withdrawal waits for confirmation. */
  readonly guardedVips: number
  readonly leader: boolean
  readonly synced: boolean
}

export interface ControllerMetrics {
  readonly registry: Registry
  /** Seconds from a change of the cluster until the speaker was told. */
  readonly planned: (seconds: number) => void
}

/** Creates the registry of one controller process. */
export function createControllerMetrics(facts: () => ControllerFacts): ControllerMetrics {
  const registry = new Registry()
  const gauge = <Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    values: (facts: ControllerFacts) => Iterable<readonly [Readonly<Partial<Record<Label, string>>>, number]>,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      collect() {
        this.reset()
        for (const [labels, value] of values(facts())) this.set(labels, value)
      },
    })
  }
  const bySession = (name: string, help: string, value: (status: SessionStatus) => number): void =>
    gauge(name, help, ['peer'], ({ sessions, ranges }) => byPeer(sessions, ranges, value, () => 0))
  const byCounter = (name: string, help: string, counter: SessionCounter): void =>
    gauge(name, help, ['peer'], ({ sessions, ranges }) =>
      byPeer(
        sessions,
        ranges,
        (s) => s[counter],
        (range) => range.past[counter],
      ),
    )

  gauge('bellhop_bgp_session_up', '1 while a session with the peer is Established', ['peer'], ({ sessions, ranges }) =>
    byPeer(sessions, ranges, up, () => 0).map(([labels, count]) => [labels, Math.min(1, count)] as const),
  )
  gauge(
    'bellhop_bgp_range_sessions',
    'Established sessions with routers that connected from the range of the peer',
    ['peer'],
    ({ sessions, ranges }) => byPeer(sessions, ranges, up, () => 0).filter(([{ peer }]) => ranges.has(peer)),
  )
  gauge(
    'bellhop_bgp_range_refused',
    'Connections from the range of the peer that were refused',
    ['peer'],
    ({ ranges }) => [...ranges.values()].map(({ range, refused }) => [{ peer: range }, refused] as const),
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
  gauge('bellhop_leader', '1 on the replica that allocates and writes status', [], (f) => [[{}, f.leader ? 1 : 0]])
  gauge('bellhop_withdraw_guarded_vips', 'VIPs whose withdrawal waits for fresh lists', [], (f) => [
    [{}, f.guardedVips],
  ])
  gauge('bellhop_synced', '1 once every kind was listed', [], (f) => [[{}, f.synced ? 1 : 0]])
  gauge('bellhop_vips', 'VIPs, by whether they are announced and why not', ['announced', 'reason'], countVips)
  gauge('bellhop_pool_addresses', 'Addresses of a pool', ['pool', 'state'], ({ pools }) =>
    [...(pools?.values() ?? [])].flatMap((usage) => [
      [{ pool: usage.pool, state: 'total' }, Number(usage.total)] as const,
      [{ pool: usage.pool, state: 'used' }, usage.used] as const,
    ]),
  )
  const planSeconds = new Histogram({
    name: 'bellhop_plan_seconds',
    help: 'From a change of the cluster until the speaker was told',
    buckets: [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1],
    registers: [registry],
  })
  return { registry, planned: (seconds) => planSeconds.observe(seconds) }
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

function countVips({ plan }: ControllerFacts): readonly (readonly [{ announced: string; reason: string }, number])[] {
  const counts = new Map<string, number>()
  for (const { refusal } of plan?.vips.values() ?? []) {
    const reason = refusal?.reason ?? ''
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  return [...counts].map(([reason, count]) => [{ announced: String(reason === ''), reason }, count])
}
