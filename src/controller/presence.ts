// Who else is there: this replica's own Lease, those of the other replicas, and the agents with the BFD sessions that say which
// nodes live. The plan takes the nodes from here, the reporter the replicas.

import type { KubeClient } from '../k8s/client.ts'
import { startHeartbeat } from '../k8s/heartbeat.ts'
import { type HeartbeatWatch, watchHeartbeats } from '../k8s/heartbeat-watch.ts'
import type { Node } from '../k8s/objects.ts'
import { type AgentWatch, createAgentWatch, type OpinionChange } from '../liveness/agent-watch.ts'
import type { BfdObservation } from '../liveness/bfd-core.ts'
import { createBfdThread } from '../liveness/bfd-thread.ts'
import { askHost } from '../liveness/host-watch.ts'
import { watchKeys } from '../liveness/key-watch.ts'
import { controllerAnnotation, livenessPorts, nodeAnnotation } from '../liveness/watched-sessions.ts'
import type { LivenessFacts } from '../plan/liveness-report.ts'
import type { PlanContext } from '../plan/types.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createLayer2Nodes } from './layer2-nodes.ts'

export interface PresenceOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
  /** Bellhop's own namespace, where the Leases are. */
  readonly namespace: string
  /** Unique among replicas. */
  readonly name: string
  /** The Node this replica runs on. */
  readonly node: string
  /** Watch the agents by BFD; otherwise there is no opinion of any node. */
  readonly bfd: boolean
  /** The opinion of a node changed, or what its agent says of its links. */
  readonly onNodes: () => void
  /** What was thought of nodes changed, for people; after `onNodes`. */
  readonly onOpinions: (changes: readonly OpinionChange[]) => void
  /** What stands between us and authenticated packets changed, or who has a key. */
  readonly onKeys: () => void
}

export interface Presence {
  /** The Leases of all replicas. */
  readonly replicas: HeartbeatWatch
  readonly agents: {
    /** Nodes whose agents run, by their Leases and by BFD; undefined before the Leases were listed. */
    readonly running: () => ReadonlySet<string> | undefined
    readonly onChange: (listener: () => void) => void
    /** What each says on its Lease. */
    readonly signs: HeartbeatWatch['signs']
  }
  /** As the plan reads it; another map when it changed. */
  readonly nodeLiveness: () => PlanContext['nodeLiveness']
  /** As the plan reads it: which nodes could answer for VIPs on their own link; undefined before the Leases were listed. */
  readonly layer2: () => PlanContext['layer2'] | undefined
  /** What is seen of the nodes, for statuses and metrics; undefined without BFD. */
  readonly liveness: () => LivenessFacts | undefined
  /** The sessions with the agents, for metrics; undefined without BFD, or when its thread does not say. */
  readonly observe: () => Promise<BfdObservation | undefined>
  /** The cluster's Nodes changed. Whoever calls plans afterwards: `onNodes` is not called. */
  readonly setNodes: (nodes: ReadonlyMap<string, Node>) => void
  /** Rejects when the thread of the BFD sessions dies, which only a new process mends. */
  readonly died: Promise<never>
  /** Ends the sessions; the Lease is given back when the signal has fired. */
  readonly stop: () => Promise<void>
  /** When the API server last took our word, monotonic; undefined = never yet. */
  readonly renewedMs: () => number | undefined
  /** The Lease is gone. */
  readonly left: Promise<void>
}

/** On the Leases of replicas and agents: what the holder is. */
const roleLabel = 'bellhop.io/role'

/**
 * A replica that is silent for as long as the leader's lease lasts is gone: by the time another one leads, it can say so. Routers
 * noticed within their hold time; a status that still counted the session of a dead replica would mislead. Renewed so often that a
 * replica soon knows that it is cut off (see stepping-back.ts).
 */
export const replicaBeat = { renewSeconds: 2, durationSeconds: 15 } as const

const noLiveness: PlanContext['nodeLiveness'] = new Map()

/** Says that this replica lives, and watches the others and the agents, until the signal fires. */
export function startPresence(options: PresenceOptions): Presence {
  const { client, clock, random, log, signal, namespace, name, node } = options
  const leases = { client, clock, random, log, signal, namespace }
  const bfd = options.bfd
    ? createBfdThread({ ports: { local: livenessPorts.controller, remote: livenessPorts.agent }, log })
    : undefined
  const agentLeases = watchHeartbeats({ ...leases, labelSelector: `${roleLabel}=agent` })
  const layer2 = createLayer2Nodes({ heartbeats: agentLeases, clock, onChange: options.onNodes })
  const keys = options.bfd ? watchKeys(leases) : undefined
  keys?.onChange(() => {
    heartbeat.renew()
    options.onKeys()
  })
  const agents: AgentWatch | undefined =
    bfd &&
    keys &&
    createAgentWatch({
      ...{ bfd, keys, clock, log, signal },
      askHost: askHost(livenessPorts.agent),
      heartbeats: agentLeases,
      ownNode: node,
      onChange: (changes) => {
        options.onNodes()
        options.onOpinions(changes)
      },
      onMoved: () => heartbeat.renew(),
    })
  const heartbeat = startHeartbeat({
    ...leases,
    name: `bellhop-replica-${name}`,
    identity: name,
    ...replicaBeat,
    labels: { [roleLabel]: 'controller', 'app.kubernetes.io/managed-by': 'bellhop' },
    annotations: () => {
      const address = agents?.ownAddress()
      return {
        'bellhop.io/node': node,
        ...(address === undefined ? {} : { [controllerAnnotation]: address }),
        ...keys?.annotations(),
      }
    },
  })
  return {
    replicas: watchHeartbeats({ ...leases, labelSelector: `${roleLabel}=controller` }),
    agents: {
      onChange: agentLeases.onChange,
      signs: agentLeases.signs,
      running: () =>
        agentLeases.facts().synced ? runningOf(agentLeases, agents?.nodeLiveness() ?? noLiveness) : undefined,
    },
    nodeLiveness: () => agents?.nodeLiveness() ?? noLiveness,
    layer2: () => (agentLeases.facts().synced ? layer2.nodes() : undefined),
    liveness: () => keys && agents && { keys: keys.state(), ...agents.facts() },
    observe: async () => bfd?.observe(),
    setNodes: (nodes) => agents?.setNodes(nodes),
    died: bfd?.died ?? new Promise(() => {}),
    stop: async () => {
      layer2.stop()
      await bfd?.stop()
    },
    renewedMs: () => heartbeat.facts().renewedMonotonicMs,
    left: heartbeat.stopped,
  }
}

function runningOf(leases: HeartbeatWatch, liveness: PlanContext['nodeLiveness']): ReadonlySet<string> {
  const nodes = [...leases.signs().values()].flatMap(({ alive, annotations }) =>
    alive ? [annotations[nodeAnnotation] ?? ''] : [],
  )
  return new Set(nodes.filter((node) => liveness.get(node) !== 'down'))
}
