// A node that speaks for itself: the controllers' planner and speaker, over a view of the cluster of its own, for the BgpPeers that
// select the node. It needs no controller and no leader to withdraw a route: what it announces follows from the objects alone.

import { type Announcer, createAnnouncer } from '../announce/announcer.ts'
import { createDataplaneGate } from '../announce/dataplane-gate.ts'
import { createDrainWatch } from '../announce/drain-watch.ts'
import type { SessionStatus, Speaker } from '../bgp/speaker/protocol.ts'
import { createWorkerSpeaker } from '../bgp/speaker/speaker.ts'
import type { KubeClient } from '../k8s/client.ts'
import { type ClusterStore, createClusterStore } from '../k8s/cluster-store.ts'
import { createEventRecorder, type EventNote } from '../k8s/events.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat-watch.ts'
import { type ClusterView, type Kind, matchesSelector } from '../k8s/objects.ts'
import { nodeAnnotation } from '../liveness/watched-sessions.ts'
import type { Dataplane } from '../plan/dataplane.ts'
import { createFailStaticPlanner } from '../plan/last-good.ts'
import { countingConf } from '../plan/peers.ts'
import type { PlanContext } from '../plan/types.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createTurns } from '../runtime/slices.ts'
import type { ServiceClassRule } from '../vip/types.ts'
import { nodePeerSelection } from './node-peers.ts'
import { type SecretWatch, watchSecrets } from './secret-watch.ts'
import { createSessionReport } from './session-report.ts'

export interface NodeSpeakerOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The Node this agent runs on. */
  readonly node: string
  /** As the controllers have it. */
  readonly serviceClass: ServiceClassRule
  /** What the agent attests of the node's rules on its Lease: routes wait for them here as at the controllers. */
  readonly rules: {
    readonly annotations: () => Readonly<Record<string, string>>
    readonly onChange: (listener: () => void) => void
  }
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Ends everything at once; `stop` ends it in good order. */
  readonly signal: AbortSignal
  /** What `sessions` or `problem` says has changed. */
  readonly onChange: () => void
}

export interface NodeSpeaker {
  readonly sessions: () => ReadonlyMap<string, SessionStatus>
  /** BgpPeers that select the node. */
  readonly peers: () => number
  /** What keeps it from speaking at all, in an operator's words. */
  readonly problem: () => string | undefined
  /** Sessions that are meant to be up, and are not, by BgpPeer. */
  readonly missing: () => readonly string[]
  /** Rejects when the thread of the speaker dies, which only a new process mends. */
  readonly died: Promise<never>
  /** `unwanted`: no BgpPeer selects the node any more. Routes and entries go. `ending`: routers may keep the routes for a restart. */
  readonly stop: (why: 'unwanted' | 'ending') => Promise<void>
}

/** All but Namespaces, which only allocation reads, and Secrets, which are watched by name. */
const kinds: readonly Kind[] = ['Service', 'EndpointSlice', 'Node', 'BgpConf', 'BgpPeer', 'VipPool', 'Vip', 'BgpPolicy']

/** Lists that take longer than this are a problem that somebody should hear of. */
const listsDueMs = 10_000

/** How long the last words may take. */
const goodbyeMs = 2000

/** Starts to follow the cluster, and to speak when its lists are complete. */
export function startNodeSpeaker(options: NodeSpeakerOptions): NodeSpeaker {
  const { client, namespace, node, clock, random, log, onChange } = options
  const ending = new AbortController()
  const signal = AbortSignal.any([options.signal, ending.signal])
  const base = { client, namespace, clock, random, log, signal }
  const withoutStatus = { withoutStatus: true }
  const store = createClusterStore({
    ...base,
    kinds,
    select: {
      Node: { fieldSelector: `metadata.name=${node}` },
      BgpPeer: nodePeerSelection,
      ...{ BgpConf: withoutStatus, VipPool: withoutStatus, Vip: withoutStatus, BgpPolicy: withoutStatus },
    },
    // All nodes of a cluster may begin at once.
    consistency: 'cache',
  })
  const speaker = createWorkerSpeaker({ log, hostname: node })
  const announcer = createAnnouncer({
    planner: createFailStaticPlanner(),
    speaker,
    onGuarded: (vips) => void confirmWithdrawals(vips.size),
  })
  const report = createSessionReport({ ...base, store, announcer, node, sinceMs: clock.wallMs() })
  const events = createEventRecorder({ client, clock, log, signal, component: 'bellhop-agent', instance: node })
  const note = (reason: string, message: string, severity: EventNote['severity'] = 'Warning'): void =>
    events.record({ subject: nodeSubject(store, node), severity, reason, message })
  const refusals = createRefusalNotes(note)
  const secrets = watchSecrets({ ...base, onChange: () => turns.pull() })
  const drains = createDrainWatch({ clock, signal, onDue: () => turns.pull() })
  const gate = createDataplaneGate({ agents: ownSign(options), clock, signal, onChange: () => turns.pull() })
  const context = planContext(options, { drains: drains.phases, dataplane: gate.dataplane, plan: announcer.plan })

  // In turns, because the thread answers the controllers' BFD, too: ten thousand VIPs planned in one piece are half of their patience.
  function* plan(): Generator<undefined, void, undefined> {
    if (signal.aborted || !store.synced()) return
    secrets.follow(secretsOf(store.view(), node))
    if (announcer.plan() === undefined && !secrets.settled()) return
    const changes = new Map(store.takeChanges())
    const changedSecrets = secrets.takeChanges()
    if (changedSecrets.size > 0) changes.set('Secret', changedSecrets)
    if (changes.has('Node') || announcer.plan() === undefined) drains.setNodes(store.view().nodes)
    const view = viewWith(store.view(), secrets)
    // The first plan is a whole one, and what is there by then waits for nobody.
    const news = announcer.plan() === undefined ? undefined : changes
    gate.take(view, news)
    yield* announcer.step(view, news, context(view))
    refusals(announcer)
    report.pull()
    onChange()
  }
  const turns = createTurns(plan, { clock, signal })
  store.onChange(turns.pull)

  const confirmWithdrawals = async (vips: number): Promise<void> => {
    const message = `${vips} VIPs at once are to be withdrawn: held until fresh lists from the API server confirm it`
    log.warn({ event: 'withdrawals-held', vips, until: 'fresh lists have confirmed them' })
    note('WithdrawalsHeld', message)
    try {
      await store.confirm(kinds)
    } catch (error) {
      // Only the end of the speaker ends the waiting.
      log.debug({ event: 'withdrawals-not-confirmed', message: String(error) })
      return
    }
    turns.pull()
    await turns.settled()
    if (signal.aborted) return
    log.warn({ event: 'withdrawals-confirmed', vips: announcer.guarded.size })
    announcer.confirmed()
    report.pull()
  }

  const problem = (): string | undefined => (announcer.plan() === undefined ? waitingFor(store) : undefined)
  const cancelDue = clock.setTimer(listsDueMs, () => {
    const words = problem()
    if (words !== undefined) note('NodeSpeakerWaits', `BGP from this node is ${words}`)
    onChange()
  })
  const died = followSpeaker(speaker, announcer, () => {
    report.pull()
    onChange()
  })

  return {
    sessions: () => announcer.sessions,
    peers: () => (announcer.plan()?.peers.length ?? 0) + (announcer.plan()?.peerRefusals.length ?? 0),
    problem,
    missing: () => missingSessions(announcer),
    died,
    stop: async (why) => {
      cancelDue()
      if (why === 'unwanted') {
        closeSessions(speaker, announcer)
        await bounded(report.withdraw(), clock)
      }
      ending.abort()
      await Promise.all([report.stop(), speaker.stop(`the agent of ${node} ends`)])
    },
  }
}

/** What the plan is told beside the view. That the agent runs is proof enough that its node does. */
function planContext(
  { node, serviceClass }: NodeSpeakerOptions,
  facts: {
    readonly drains: (graceSeconds?: number) => NonNullable<PlanContext['drains']>
    readonly dataplane: () => Dataplane
    readonly plan: Announcer['plan']
  },
): (view: ClusterView) => PlanContext {
  const nodeLiveness = new Map([[node, 'up' as const]])
  return (view) => ({
    ...{ serviceClass, nodeLiveness, speakerNode: node },
    dataplane: facts.dataplane(),
    drains: facts.drains(countingConf(view, facts.plan())?.drainGraceSeconds),
  })
}

// The node's own word is the only one that counts here, and it is heard without the way over the API server.
function ownSign({ node, rules }: NodeSpeakerOptions): Pick<HeartbeatWatch, 'signs' | 'onChange'> {
  return {
    onChange: rules.onChange,
    signs: () => {
      const annotations = { ...rules.annotations(), [nodeAnnotation]: node }
      return new Map([[node, { name: node, identity: node, annotations, alive: true }]])
    },
  }
}

const viewWith = (view: ClusterView, secrets: SecretWatch): ClusterView => ({ ...view, secrets: secrets.secrets() })

/** The Secrets of the BgpPeers that select the node. */
function secretsOf(view: ClusterView, node: string): ReadonlySet<string> {
  const labels = view.nodes.get(node)?.meta.labels
  return new Set(
    [...view.bgpPeers.values()].flatMap(({ nodeSelector, passwordSecretRef }) =>
      labels !== undefined && passwordSecretRef !== undefined && matchesSelector(nodeSelector, labels)
        ? [passwordSecretRef.name]
        : [],
    ),
  )
}

// With graceful restart a speaker that stops says nothing, and routers keep the routes. A node that is not to speak any more must not.
function closeSessions(speaker: Speaker, announcer: Announcer): void {
  const identity = announcer.plan()?.speaker
  if (identity === undefined) return
  const config = { routerId: identity.routerId, listenPort: 0, listenAddresses: [], peers: [] }
  speaker.send({ type: 'configure', config })
}

/** Hands events on; rejects when the thread died without being asked. */
function followSpeaker(speaker: Speaker, announcer: Announcer, onNews: () => void): Promise<never> {
  const died = new Promise<never>((_resolve, reject) => {
    speaker.onEvent((event) => {
      if (announcer.observe(event)) onNews()
    })
    speaker.onFailure(reject)
  })
  // Who does not wait for it is told by its end.
  died.catch(() => {})
  return died
}

function missingSessions(announcer: Announcer): readonly string[] {
  return (announcer.plan()?.peers ?? []).flatMap(({ name, shutdown }) =>
    shutdown === undefined && announcer.sessions.get(name)?.state !== 'Established' ? [name] : [],
  )
}

/** What stands in the way of the first lists. */
function waitingFor(store: ClusterStore): string {
  const missing = [...store.facts().kinds].filter(([, facts]) => !facts.synced)
  const error = missing.map(([, { lastError }]) => lastError).find((each) => each !== undefined)
  const rights = error?.status === 403 ? ' (deploy/node-speakers gives the agents the rights)' : ''
  const because = error === undefined ? '' : `: ${error.message}${rights}`
  return `waiting for the first list of ${missing.map(([kind]) => kind).join(', ')}${because}`
}

function nodeSubject(store: ClusterStore, node: string): EventNote['subject'] {
  const uid = store.view().nodes.get(node)?.meta.uid ?? ''
  return { apiVersion: 'v1', kind: 'Node', namespace: '', name: node, uid }
}

/** What only this node has against a peer; the rest the leader says for all. */
const ownRefusals: ReadonlySet<string> = new Set(['NodeAnnotation', 'AddressConflict'])

// An Event for each refusal that was not there before: annotations of a Node are answered where they were written.
function createRefusalNotes(note: (reason: string, message: string) => void): (announcer: Announcer) => void {
  let said: ReadonlySet<string> = new Set()
  return (announcer) => {
    const plan = announcer.plan()
    const own = [...(plan?.peerRefusals ?? []), ...(plan?.kept?.peers ?? [])].filter(({ reason }) =>
      ownRefusals.has(reason),
    )
    const refused = new Map(own.map(({ reason, message }) => [message, reason]))
    for (const [message, reason] of refused) if (!said.has(message)) note(reason, message)
    said = new Set(refused.keys())
  }
}

async function bounded(work: Promise<void>, clock: Clock): Promise<void> {
  let cancel: CancelTimer = () => {}
  const bound = new Promise<void>((resolve) => {
    cancel = clock.setTimer(goodbyeMs, resolve)
  })
  await Promise.race([work, bound])
  cancel()
}
