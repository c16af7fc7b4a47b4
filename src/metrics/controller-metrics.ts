// What a controller replica observes, as Prometheus metrics. Gauges are read off the present state when they are scraped, so no
// code elsewhere has to remember to update them; only durations are recorded as they happen.

import { Gauge, Histogram, Registry } from 'prom-client'
import type { Plan } from '../plan/types.ts'
import type { PoolUsage } from '../vip/types.ts'
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
  return { registry, planned: (seconds) => planSeconds.observe(seconds) }
}

function countVips({ plan }: ControllerFacts): readonly (readonly [{ announced: string; reason: string }, number])[] {
  const counts = new Map<string, number>()
  for (const { refusal } of plan?.vips.values() ?? []) {
    const reason = refusal?.reason ?? ''
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  return [...counts].map(([reason, count]) => [{ announced: String(reason === ''), reason }, count])
}
