// What a controller replica observes, as Prometheus metrics. Gauges are read off the present state when they are scraped, so no
// code elsewhere has to remember to update them; only durations are recorded as they happen.

import { Gauge, Histogram, Registry } from 'prom-client'
import type { BfdObservation } from '../liveness/bfd-core.ts'
import type { LivenessFacts } from '../plan/liveness-report.ts'
import type { Plan } from '../plan/types.ts'
import type { PoolUsage } from '../vip/types.ts'
import { createBfdMetrics } from './bfd-metrics.ts'
import { registerSessionMetrics, type SpeakerFacts } from './session-metrics.ts'

/** The state behind the gauges, as it is at the moment of a scrape. */
export interface ControllerFacts extends SpeakerFacts {
  readonly plan: Plan | undefined
  /** Only the leader allocates; others know nothing of pools. */
  readonly pools: ReadonlyMap<string, PoolUsage> | undefined
  /** VIPs whose withdrawal waits for confirmation. */
  readonly guardedVips: number
  readonly leader: boolean
  readonly synced: boolean
  /** What this replica sees of the nodes by BFD; absent where it does not look. */
  readonly liveness?: LivenessFacts
}

export interface ControllerMetrics {
  /** The sessions with the agents are asked for at each rendering. */
  readonly render: (liveness: BfdObservation | undefined) => Promise<string>
  readonly contentType: string
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
  registerSessionMetrics(registry, facts)
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
  let observed: BfdObservation | undefined
  livenessGauges(gauge)
  createBfdMetrics(registry, () => observed)
  return {
    contentType: registry.contentType,
    render: (liveness) => {
      observed = liveness
      return registry.metrics()
    },
    planned: (seconds) => planSeconds.observe(seconds),
  }
}

/** A gauge with its labels, read off the facts at a scrape. */
type AddGauge = <Label extends string>(
  name: string,
  help: string,
  labelNames: readonly Label[],
  values: (facts: ControllerFacts) => Iterable<readonly [Readonly<Partial<Record<Label, string>>>, number]>,
) => void

function livenessGauges(gauge: AddGauge): void {
  gauge('bellhop_liveness_nodes', 'Nodes watched by BFD, by what is thought of them', ['opinion'], ({ liveness }) => {
    if (liveness === undefined) return []
    const { watched, up, silent } = liveness
    return [
      [{ opinion: 'up' }, up],
      [{ opinion: 'silent' }, silent.length],
      [{ opinion: 'none' }, watched.length - up - silent.length],
    ]
  })
  gauge('bellhop_liveness_keys', 'Keys in the Secret with which liveness is authenticated', [], ({ liveness }) =>
    liveness === undefined ? [] : [[{}, liveness.keys.type === 'in-use' ? liveness.keys.ids.length : 0]],
  )
  gauge('bellhop_liveness_nodes_without_key', 'Watched nodes whose packets are not signed', [], ({ liveness }) =>
    liveness === undefined ? [] : [[{}, liveness.withoutKey.length]],
  )
}

function countVips({ plan }: ControllerFacts): readonly (readonly [{ announced: string; reason: string }, number])[] {
  const counts = new Map<string, number>()
  for (const { refusal } of plan?.vips.values() ?? []) {
    const reason = refusal?.reason ?? ''
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  return [...counts].map(([reason, count]) => [{ announced: String(reason === ''), reason }, count])
}
