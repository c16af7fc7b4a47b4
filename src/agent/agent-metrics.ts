// What an agent observes, as Prometheus metrics, read off the present facts when they are scraped.

import { Counter, Gauge, Registry } from 'prom-client'
import type { KeeperFacts } from '../iptables/keeper.ts'

export interface AgentFacts extends KeeperFacts {
  /** Vips are being watched now. */
  readonly apiConnected: boolean
}

type Labelled = readonly (readonly [Readonly<Record<string, string>>, number])[]

/** Creates the registry of one agent; the result renders it. */
export function createAgentMetrics(
  facts: () => AgentFacts,
): () => Promise<{ readonly contentType: string; readonly text: string }> {
  const registry = new Registry()
  const gauge = (name: string, help: string, labelNames: string[], values: (facts: AgentFacts) => Labelled): void => {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        for (const [labels, value] of values(facts())) this.set(labels, value)
      },
    })
  }
  const counter = (name: string, help: string, labelNames: string[], values: (facts: AgentFacts) => Labelled): void => {
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        for (const [labels, value] of values(facts())) this.inc(labels, value)
      },
    })
  }
  const byFamily = (counts: AgentFacts['vips']): Labelled =>
    Object.entries(counts).map(([family, count]) => [{ family }, count])

  gauge('bellhop_agent_vips', 'VIPs that the node lets through', ['family'], ({ vips }) => byFamily(vips))
  gauge('bellhop_agent_rules', 'iptables rules of ours on the node', ['family'], ({ rules }) => byFamily(rules))
  gauge('bellhop_agent_backend', '1 for the iptables back end in use', ['backend'], ({ backend }) =>
    backend === undefined ? [] : [[{ backend }, 1]],
  )
  gauge('bellhop_agent_in_sync', '1 while the rules are as they should be', [], ({ lastSyncMs, lastError }) => [
    [{}, lastSyncMs !== undefined && lastError === undefined ? 1 : 0],
  ])
  gauge('bellhop_agent_last_sync_timestamp_seconds', 'When the rules were last found or made right', [], (f) =>
    f.lastSyncMs === undefined ? [] : [[{}, f.lastSyncMs / 1000]],
  )
  gauge('bellhop_agent_api_connected', '1 while Vips are being watched', [], ({ apiConnected }) => [
    [{}, apiConnected ? 1 : 0],
  ])
  counter('bellhop_agent_applies_total', 'Times the rules were written', [], ({ applies }) => [[{}, applies]])
  counter('bellhop_agent_errors_total', 'Times the rules could not be read or written', [], ({ errors }) => [
    [{}, errors],
  ])
  counter('bellhop_agent_repairs_total', 'Interference by others that was undone', ['kind'], ({ repairs }) =>
    Object.entries(repairs).map(([kind, count]) => [{ kind }, count]),
  )
  return async () => ({ contentType: registry.contentType, text: await registry.metrics() })
}
