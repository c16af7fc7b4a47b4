// A controller's watch over the agents: Leases and Nodes say with whom there are sessions, the sessions say which nodes live.

import { type OnLink, systemOnLink } from '../bfd/on-link.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat-watch.ts'
import type { Node } from '../k8s/objects.ts'
import type { Ip } from '../net/ip.ts'
import type { LivenessFacts } from '../plan/liveness-report.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { BfdThread } from './bfd-thread.ts'
import { createHostWatch, type HostWatchOptions } from './host-watch.ts'
import { createInquiry } from './inquiry.ts'
import type { KeyWatch } from './key-watch.ts'
import { distrusted, type Liveness, type LivenessEvent, noLiveness, opinions, transitionLiveness } from './liveness.ts'
import { livenessEventOf } from './session-change.ts'
import {
  livenessAddress,
  livenessDetectionMs,
  nodeAnnotation,
  sessionsWithAgents,
  speaksUpAnnotation,
} from './watched-sessions.ts'

export interface OpinionChange {
  readonly node: string
  readonly from: 'up' | 'down' | 'unknown'
  readonly to: 'up' | 'down' | 'unknown'
}

export interface AgentWatchOptions {
  readonly bfd: Pick<BfdThread, 'setSessions' | 'onTidings'>
  /** Of the agents. */
  readonly heartbeats: Pick<HeartbeatWatch, 'signs' | 'onChange' | 'renewals' | 'askRenewals'>
  readonly keys: Pick<KeyWatch, 'authenticationWith' | 'onChange'>
  /** The Node this controller runs on. */
  readonly ownNode: string
  /** Asks a host whose agent has ended whether it is there. */
  readonly askHost: HostWatchOptions['ask']
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  readonly isOnLink?: OnLink
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
  const { bfd, heartbeats, keys, ownNode, clock, log, signal, onChange, onMoved, isOnLink = systemOnLink } = options
  let nodes: ReadonlyMap<string, Node> = new Map()
  let address: Ip | undefined
  let liveness: Liveness = noLiveness
  let said = opinions(liveness)
  let watched: ReadonlySet<string> = new Set()
  let withoutKey: readonly string[] = []

  const follow = (event: LivenessEvent): readonly OpinionChange[] =>
    become(transitionLiveness(liveness, event, livenessDetectionMs))
  const tell = (changes: readonly OpinionChange[]): void => {
    if (changes.length > 0) onChange(changes)
  }
  const hosts = createHostWatch({
    ...{ clock, signal, ask: options.askHost },
    onEvent: (node, type) => tell(follow({ type, node, atMs: clock.monotonicMs() })),
  })
  const inquiry = createInquiry({
    ...{ clock, signal },
    renewals: () => byNode(heartbeats, heartbeats.renewals()),
    ask: async () => {
      const renewals = await heartbeats.askRenewals()
      return renewals && byNode(heartbeats, renewals)
    },
    onUnheardOf: (unheardOf) => {
      log.info({
        event: 'nodes-unheard-of',
        nodes: unheardOf,
        because: 'the API server answers, and has not heard of them',
      })
      let next = liveness
      for (const node of unheardOf) next = transitionLiveness(next, { type: 'unheard-of', node }, livenessDetectionMs)
      tell(become(next))
    },
  })
  /** Its agent is gone: from now on its kernel is asked. */
  const lookAtHost = (name: string): void => {
    const node = nodes.get(name)
    const at = node === undefined ? undefined : livenessAddress(node)
    if (at !== undefined) hosts.begin(name, at)
  }

  /** The opinions that changed. */
  const become = (next: Liveness): readonly OpinionChange[] => {
    const before = said
    const after = opinions(next)
    liveness = next
    inquiry.about(distrusted(next))
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
    const configs = sessionsWithAgents(heartbeats.signs().values(), nodes, ownNode, isOnLink, keys.authenticationWith)
    bfd.setSessions(configs)
    watched = new Set(configs.map(({ key }) => key))
    withoutKey = configs.flatMap(({ key, authentication }) => (authentication?.send === undefined ? [key] : []))
    for (const node of liveness.keys()) {
      if (!nodes.has(node)) hosts.end(node)
      else if (!watched.has(node) && !hosts.watches(node)) lookAtHost(node)
    }
    const seen = new Set([...watched, ...[...liveness.keys()].filter(hosts.watches)])
    if ([...liveness.keys()].every((node) => seen.has(node))) return []
    return follow({ type: 'watched', nodes: seen })
  }

  const watchAnew = (): void => tell(watch())
  heartbeats.onChange(watchAnew)
  keys.onChange(watchAnew)
  bfd.onTidings(({ changes, looks }) => {
    let next = liveness
    for (const change of changes) {
      // The last words of a session that is no more.
      if (!watched.has(change.key)) continue
      const event = livenessEventOf(change.key, change)
      if (event?.type === 'up') hosts.end(change.key)
      if (event?.type === 'ended') lookAtHost(change.key)
      if (event !== undefined) next = transitionLiveness(next, event, livenessDetectionMs)
    }
    for (const look of looks) next = transitionLiveness(next, look, livenessDetectionMs)
    tell(become(next))
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

/** What is known by Lease, by node, of those whose agents speak up when they lose a controller. */
function byNode(
  { signs }: Pick<HeartbeatWatch, 'signs'>,
  renewals: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const [lease, { annotations }] of signs()) {
    const node = annotations[nodeAnnotation]
    const renewal = renewals.get(lease)
    if (node !== undefined && renewal !== undefined && annotations[speaksUpAnnotation] === 'true')
      found.set(node, renewal)
  }
  return found
}
