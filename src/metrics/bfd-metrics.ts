// The BFD sessions of one program as Prometheus metrics: numbers over all of them, for a thousand nodes would be a thousand series.

import { Counter, Gauge, type Registry } from 'prom-client'
import { bfdStates } from '../bfd/packet.ts'
import type { BfdObservation } from '../liveness/bfd-core.ts'

/** Adds them to a registry; nothing is shown while `observed` has nothing. */
export function createBfdMetrics(registry: Registry, observed: () => BfdObservation | undefined): void {
  type Values = Iterable<readonly [Readonly<Record<string, string>>, number]>
  const gauge = (name: string, help: string, labels: string[], values: (of: BfdObservation) => Values): void => {
    new Gauge({
      ...{ name, help, labelNames: labels, registers: [registry] },
      collect() {
        this.reset()
        const now = observed()
        if (now !== undefined) for (const [of, value] of values(now)) this.set(of, value)
      },
    })
  }
  const counter = (name: string, help: string, labels: string[], values: (of: BfdObservation) => Values): void => {
    new Counter({
      ...{ name, help, labelNames: labels, registers: [registry] },
      collect() {
        this.reset()
        const now = observed()
        if (now !== undefined) for (const [of, value] of values(now)) this.inc(of, value)
      },
    })
  }
  gauge('bellhop_liveness_sessions', 'BFD sessions, by their state', ['state'], ({ sessions }) =>
    bfdStates.map((state) => [{ state }, [...sessions.values()].filter((each) => each.state === state).length]),
  )
  gauge('bellhop_liveness_authenticated_sessions', 'BFD sessions whose last packet was signed', [], ({ sessions }) => [
    [{}, [...sessions.values()].filter(({ authenticated }) => authenticated).length],
  ])
  gauge('bellhop_liveness_silence_seconds', 'Longest silence now of a session that is up', [], ({ sessions }) => {
    const silences = [...sessions.values()].flatMap(({ state, silentMs }) => (state === 'Up' ? [silentMs / 1000] : []))
    return [[{}, Math.max(0, ...silences)]]
  })
  counter('bellhop_liveness_packets_total', 'BFD packets', ['direction'], ({ counters }) => [
    [{ direction: 'in' }, counters.received],
    [{ direction: 'out' }, counters.sent],
  ])
  counter('bellhop_liveness_packets_dropped_total', 'BFD packets that no session took', ['reason'], ({ counters }) =>
    [...counters.dropped].map(([reason, count]) => [{ reason: reason.replace('bfd/', '') }, count]),
  )
}
