// The agent's Lease: its sign of life, and where `kubectl describe lease` shows how the node is. Each part of the agent says its
// own annotations; the parts are there before the Lease is, and ask it to be renewed when what they say has changed.

import { type Heartbeat, type HeartbeatFacts, type HeartbeatOptions, startHeartbeat } from '../k8s/heartbeat.ts'

export type Annotations = Readonly<Record<string, string>>

export interface NodeLeaseOptions
  extends Pick<HeartbeatOptions, 'client' | 'namespace' | 'clock' | 'random' | 'log' | 'signal' | 'renewSeconds'> {
  readonly node: string
}

export interface NodeLease {
  /** Writes the Lease from now on. What is said is read at each renewal, the later source winning. */
  readonly begin: (sources: readonly (() => Annotations)[]) => void
  /** Renews now, because what it says has changed; nothing before it began. */
  readonly renew: () => void
  readonly facts: () => HeartbeatFacts
  /** Resolves after the signal fired and the Lease was deleted, or could not be. */
  readonly stopped: () => Promise<void>
}

/** Writes nothing before `begin`. */
export function createNodeLease({ node, ...options }: NodeLeaseOptions): NodeLease {
  let heartbeat: Heartbeat | undefined
  return {
    begin: (sources) => {
      heartbeat = startHeartbeat({
        ...options,
        name: `bellhop-agent-${node}`,
        identity: node,
        labels: { 'bellhop.io/role': 'agent', 'app.kubernetes.io/managed-by': 'bellhop' },
        annotations: () => Object.assign({ 'bellhop.io/node': node }, ...sources.map((source) => source())),
      })
    },
    renew: () => heartbeat?.renew(),
    facts: () => heartbeat?.facts() ?? {},
    stopped: () => heartbeat?.stopped ?? Promise.resolve(),
  }
}
