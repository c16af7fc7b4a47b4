// A controller's watch over the agents: Leases and Nodes say with whom there are sessions, the sessions say which nodes live.

import { systemOnLink } from '../bfd/on-link.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat.ts'
import type { Node } from '../k8s/objects.ts'
import type { Ip } from '../net/ip.ts'
import type { LivenessFacts } from '../plan/liveness-report.ts'
import type { Log } from '../runtime/log.ts'
import type { BfdThread } from './bfd-thread.ts'
import type { KeyWatch } from './key-watch.ts'
import { type Liveness, noLiveness, opinions, transitionLiveness } from './liveness.ts'
import { livenessEventOf } from './session-change.ts'
import { livenessAddress, livenessDetectionMs, sessionsWithAgents } from './watched-sessions.ts'

export interface OpinionChange {
  readonly node: string
  readonly from: 'up' | 'down' | 'unknown'
  readonly to: 'up' | 'down' | 'unknown'
}

export interface AgentWatchOptions {
  readonly bfd: BfdThread
  /** Of the agents. */
  readonly heartbeats: HeartbeatWatch
  readonly keys: Pick<KeyWatch, 'authenticationWith' | 'onChange'>
  /** The Node this controller runs on. */
  readonly ownNode: string
  readonly log: Log
  /** The opinion of a node changed. */
  readonly onChange: (changed: readonly OpinionChange[]) => void
  /** Whence this controller watches changed: agents have to be told. */
  readonly onMoved: () => void
}

export interface AgentWatch {
  /** As the plan reads it; another map when it changed. */
  readonly nodeLiveness: () => ReadonlyMap<string, 'up' | 'down'>
  /** The cluster's Nodes, again when one of them changed. Whoever calls plans afterwards: `onChange` is not called. */
  readonly setNodes: (nodes: ReadonlyMap<string, Node>) => void
  /** For statuses and metrics; another value when it changed. */
  readonly facts: () => Omit<LivenessFacts, 'keys'>
  /** Where this controller's packets come from, for its Lease; undefined while its Node is not known. */
  readonly ownAddress: () => Ip | undefined
}

export function createAgentWatch(options: AgentWatchOptions): AgentWatch {
  const { bfd, heartbeats, keys, ownNode, log, onChange, onMoved } = options
  let nodes: ReadonlyMap<string, Node> = new Map()
  let address: Ip | undefined
  let liveness: Liveness = noLiveness
  let said = opinions(liveness)
  let watched: ReadonlySet<string> = new Set()
  let withoutKey: readonly string[] = []

  /** The opinions that changed. */
  const become = (next: Liveness): readonly OpinionChange[] => {
    const before = said
    const after = opinions(next)
    liveness = next
    const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
      (node) => before.get(node) !== after.get(node),
    )
    if (changed.length === 0) return []
    said = after
    const changes = changed.map((node) => ({
      node,
      from: before.get(node) ?? ('unknown' as const),
      to: after.get(node) ?? ('unknown' as const),
    }))
    for (const change of changes) log.info({ event: 'node-liveness', ...change })
    return changes
  }

  const watch = (): readonly OpinionChange[] => {
    const configs = sessionsWithAgents(
      heartbeats.signs().values(),
      nodes,
      ownNode,
      systemOnLink,
      keys.authenticationWith,
    )
    bfd.setSessions(configs)
    watched = new Set(configs.map(({ key }) => key))
    withoutKey = configs.flatMap(({ key, authentication }) => (authentication?.send === undefined ? [key] : []))
    if ([...liveness.keys()].every((node) => watched.has(node))) return []
    return become(transitionLiveness(liveness, { type: 'watched', nodes: watched }, livenessDetectionMs))
  }

  const watchAnew = (): void => {
    const changes = watch()
    if (changes.length > 0) onChange(changes)
  }
  heartbeats.onChange(watchAnew)
  keys.onChange(watchAnew)
  bfd.onTidings(({ changes, looks }) => {
    let next = liveness
    for (const change of changes) {
      // The last words of a session that is no more.
      if (!watched.has(change.key)) continue
      const event = livenessEventOf(change.key, change)
      if (event !== undefined) next = transitionLiveness(next, event, livenessDetectionMs)
    }
    for (const look of looks) next = transitionLiveness(next, look, livenessDetectionMs)
    const changed = become(next)
    if (changed.length > 0) onChange(changed)
  })

  return {
    nodeLiveness: () => said,
    ownAddress: () => address,
    facts: () => ({
      watched: [...watched],
      up: [...said.values()].filter((life) => life === 'up').length,
      silent: [...said].flatMap(([node, life]) => (life === 'down' ? [node] : [])).sort(),
      withoutKey,
    }),
    setNodes: (next) => {
      nodes = next
      const own = next.get(ownNode)
      const moved = own === undefined ? undefined : livenessAddress(own)
      if (moved !== address) {
        address = moved
        onMoved()
      }
      watch()
    },
  }
}
