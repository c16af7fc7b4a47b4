// What an agent observes, as Prometheus metrics, read off the present facts when they are scraped.

import { Counter, Gauge, Registry } from 'prom-client'
import type { SessionStatus } from '../bgp/speaker/protocol.ts'
import type { KeeperFacts } from '../datapath/keeper.ts'
import type { Layer2Facts } from '../layer2/keeper.ts'
import type { BfdObservation } from '../liveness/bfd-core.ts'
import { createBfdMetrics } from '../metrics/bfd-metrics.ts'
import { registerSessionMetrics } from '../metrics/session-metrics.ts'

export interface AgentFacts extends KeeperFacts {
  /** Vips are being watched now. */
  readonly apiConnected: boolean
  readonly layer2: Layer2Facts
  /** Of the node's own BGP speaker, by BgpPeer; empty where there is none. */
  readonly sessions: ReadonlyMap<string, SessionStatus>
}

type Labelled = readonly (readonly [Readonly<Record<string, string>>, number])[]

/** Creates the registry of one agent; the result renders it. */
export function createAgentMetrics(
  facts: () => AgentFacts,
  observe: () => Promise<BfdObservation | undefined>,
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
  gauge(
    'bellhop_agent_backend',
    '1 for the back end in use: nft and legacy are iptables, nftables is nftables alone',
    ['backend'],
    ({ backend }) => (backend === undefined ? [] : [[{ backend }, 1]]),
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
  gauge('bellhop_agent_layer2_vips', 'VIPs that the node answers for on its own links', [], ({ layer2 }) => [
    [{}, layer2.held],
  ])
  gauge(
    'bellhop_agent_layer2_refused',
    'VIPs that the node should answer for and does not',
    ['reason'],
    ({ layer2 }) => {
      const counts = new Map<string, number>()
      for (const { reason } of layer2.refusals.values()) counts.set(reason, (counts.get(reason) ?? 0) + 1)
      return [...counts].map(([reason, count]) => [{ reason }, count])
    },
  )
  counter('bellhop_agent_layer2_takes_total', 'VIPs that were put on a link', [], ({ layer2 }) => [[{}, layer2.takes]])
  counter('bellhop_agent_layer2_losses_total', 'VIPs that were given up', ['because'], ({ layer2 }) =>
    Object.entries(layer2.losses).map(([because, count]) => [{ because }, count]),
  )
  counter('bellhop_agent_layer2_frames_total', 'Gratuitous ARP and unsolicited advertisements', [], ({ layer2 }) => [
    [{}, layer2.announced],
  ])
  registerSessionMetrics(registry, () => ({ sessions: facts().sessions, ranges: new Map() }))
  let observed: BfdObservation | undefined
  createBfdMetrics(registry, () => observed)
  return async () => {
    observed = await observe()
    return { contentType: registry.contentType, text: await registry.metrics() }
  }
}
