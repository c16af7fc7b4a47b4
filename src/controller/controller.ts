// One controller replica: wiring only. Every replica follows the cluster, plans and speaks BGP; the leader also allocates and writes
// statuses. Data flows one way (store -> plan -> speaker), and comes back through the API server.

import type { Speaker, SpeakerEvent } from '../bgp/speaker/protocol.ts'
import { createWorkerSpeaker } from '../bgp/speaker/speaker.ts'
import { type StatusServer, type StatusSources, startStatusServer } from '../http/status-server.ts'
import { createKubeClient } from '../k8s/client.ts'
import { type ClusterStore, createClusterStore } from '../k8s/cluster-store.ts'
import type { CredentialsSource } from '../k8s/credentials.ts'
import { startHeartbeat, watchHeartbeats } from '../k8s/heartbeat.ts'
import { startLeaderElection } from '../k8s/leader.ts'
import type { ClusterChanges, Kind } from '../k8s/objects.ts'
import { type AgentWatch, createAgentWatch } from '../liveness/agent-watch.ts'
import { createBfdThread } from '../liveness/bfd-thread.ts'
import { controllerAnnotation, livenessPorts } from '../liveness/watched-sessions.ts'
import { createControllerMetrics } from '../metrics/controller-metrics.ts'
import { parseRouterId, type RouterId } from '../net/asn.ts'
import { familyOf } from '../net/ip.ts'
import { createPlanner } from '../plan/plan.ts'
import type { PlanContext } from '../plan/types.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { ServiceClassRule } from '../vip/types.ts'
import { createAnnouncer } from './announcer.ts'
import { createLeadership } from './leadership.ts'
import { createReporter } from './reporter.ts'

export interface ControllerConfig {
  readonly credentials: CredentialsSource
  /** Bellhop's own namespace. */
  readonly namespace: string
  /** Unique among replicas. */
  readonly name: string
  /** The Node this replica runs on: its address is the default router id. */
  readonly node: string
  readonly serviceClass: ServiceClassRule
  /** 0 = no status server. */
  readonly httpPort: number
  /** Where the BGP sessions are recorded; absent = nowhere. */
  readonly recordDirectory?: string
  /** Watch the agents by BFD; otherwise the Nodes' conditions alone say which nodes live. */
  readonly bfd: boolean
  readonly version: string
}

export interface ControllerDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Ends the replica. */
  readonly signal: AbortSignal
}

/** On the Leases of replicas and agents: what the holder is. */
const roleLabel = 'bellhop.io/role'

/**
 * A replica that is silent for as long as the leader's lease lasts is gone: by the time another one leads, it can say so. Routers
 * noticed within their hold time; a status that still counted the session of a dead replica would mislead.
 */
const replicaBeat = { renewSeconds: 5, durationSeconds: 15 } as const

/** What a controller follows: everything. */
const kinds: readonly Kind[] = [
  'Service',
  'EndpointSlice',
  'Node',
  'Namespace',
  'Secret',
  'BgpConf',
  'BgpPeer',
  'VipPool',
  'Vip',
  'BgpPolicy',
]

/** Runs one replica until the signal fires; rejects when its BGP worker dies, which only a new process mends. */
export async function runController(config: ControllerConfig, deps: ControllerDeps): Promise<void> {
  const { clock, random, log } = deps
  const { namespace } = config
  // Fires with the caller's signal, and also when a part fails, so that no part outlives the others.
  const ending = new AbortController()
  const signal = AbortSignal.any([deps.signal, ending.signal])
  const connected = await createKubeClient({
    credentials: config.credentials,
    clock,
    log,
    // With its name, so that an audit log tells the replicas apart.
    userAgent: `bellhop/${config.version} (controller ${config.name})`,
  })
  if (!connected.ok) throw new Error(`no way to the API server: ${connected.error.message}`)
  const client = connected.value
  const store = createClusterStore({ client, kinds, namespace, clock, random, log, signal })
  const { recordDirectory } = config
  const speaker = createWorkerSpeaker({
    log,
    hostname: config.node,
    ...(recordDirectory === undefined ? {} : { recordDirectory }),
  })
  const announcer = createAnnouncer({
    planner: createPlanner(),
    speaker,
    onGuarded: (vips) => void confirmWithdrawals(vips.size),
  })
  const replica = { name: config.name, node: config.node, sinceMs: clock.wallMs() }

  const replicas = watchHeartbeats({
    client,
    clock,
    random,
    log,
    signal,
    namespace,
    labelSelector: `${roleLabel}=controller`,
  })
  const bfd = config.bfd
    ? createBfdThread({ ports: { local: livenessPorts.controller, remote: livenessPorts.agent }, log })
    : undefined
  const agents: AgentWatch | undefined =
    bfd &&
    createAgentWatch({
      ...{ bfd, log },
      heartbeats: watchHeartbeats({
        ...{ client, clock, random, log, signal, namespace },
        labelSelector: `${roleLabel}=agent`,
      }),
      ownNode: config.node,
      onChange: () => plan(),
      onMoved: () => heartbeat.renew(),
    })
  const heartbeat = startHeartbeat({
    ...{ client, clock, random, log, signal, namespace },
    name: `bellhop-replica-${config.name}`,
    identity: config.name,
    ...replicaBeat,
    labels: { [roleLabel]: 'controller', 'app.kubernetes.io/managed-by': 'bellhop' },
    annotations: () => {
      const address = agents?.ownAddress()
      return { 'bellhop.io/node': config.node, ...(address === undefined ? {} : { [controllerAnnotation]: address }) }
    },
  })
  const { serviceClass } = config
  const reporter = createReporter({
    ...{ client, store, announcer, replica, replicas, serviceClass, clock, random, log, signal },
  })
  const leadership = createLeadership({
    ...{ client, store, clock, log, serviceClass, name: config.name },
    isWithdrawn: announcer.isWithdrawn,
    onAllocated: reporter.pull,
  })
  const election = startLeaderElection({
    ...{ client, clock, random, log, signal, namespace },
    name: 'bellhop-controller',
    identity: `${config.name}_${Math.floor(random() * 0xffff_ffff).toString(16)}`,
    onElected: (fence) => {
      leadership.begin(fence)
      reporter.lead(fence, leadership.allocation)
    },
  })

  const metrics = createControllerMetrics(() => ({
    sessions: announcer.sessions,
    plan: announcer.plan(),
    pools: leadership.allocation()?.pools,
    guardedVips: announcer.guarded.size,
    leader: election.facts().leading,
    synced: store.synced(),
  }))

  const plan = (): void => {
    if (!store.synced()) return
    const startMs = clock.monotonicMs()
    const changes: ClusterChanges = store.takeChanges()
    if (changes.has('Node')) agents?.setNodes(store.view().nodes)
    const context = planContext(config, store, agents)
    // The first plan is a whole one: what changed before it is of no interest.
    announcer.step(store.view(), announcer.plan() === undefined ? undefined : changes, context)
    metrics.planned((clock.monotonicMs() - startMs) / 1000)
    leadership.changed(changes)
    reporter.pull()
  }
  store.onChange(plan)
  const confirmWithdrawals = async (vips: number): Promise<void> => {
    log.warn({ event: 'withdrawals-held', vips, until: 'fresh lists have confirmed them' })
    const uid = store.view().bgpConfs.get('default')?.meta.uid ?? ''
    leadership.note({
      subject: { apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpConf', namespace: '', name: 'default', uid },
      severity: 'Warning',
      reason: 'WithdrawalsHeld',
      message: `${vips} VIPs at once are to be withdrawn: held until fresh lists from the API server confirm it`,
    })
    try {
      await store.confirm(kinds)
    } catch (error) {
      // Only the end of the replica ends the waiting.
      log.debug({ event: 'withdrawals-not-confirmed', message: String(error) })
      return
    }
    plan()
    log.warn({ event: 'withdrawals-confirmed', vips: announcer.guarded.size })
    announcer.confirmed()
    reporter.pull()
  }

  const died = followSpeaker(speaker, (event) => {
    if (!announcer.observe(event)) return
    if (event.type === 'flushed') leadership.pull()
    reporter.pull()
  })
  const sources: StatusSources = {
    unhealthy: () => undefined,
    notReady: () => (announcer.plan() === undefined ? waitingFor(store) : undefined),
    metrics: async () => ({ contentType: metrics.registry.contentType, text: await metrics.registry.metrics() }),
  }
  let server: StatusServer | undefined
  try {
    if (config.httpPort !== 0) server = await startStatusServer(config.httpPort, sources, log)
    log.info({ event: 'controller-started', version: config.version, name: config.name, server: client.server })
    await Promise.race([aborted(signal), died, ...(bfd === undefined ? [] : [bfd.died])])
  } finally {
    log.info({ event: 'controller-stopping' })
    ending.abort()
    await Promise.all([
      leadership.stop(),
      reporter.stop(),
      server?.stop(),
      speaker.stop('controller stops'),
      bfd?.stop(),
    ])
    await Promise.all([election.stopped, heartbeat.stopped])
    client.close()
  }
}

/** Hands events on; rejects when the worker died without being asked. */
function followSpeaker(speaker: Speaker, onEvent: (event: SpeakerEvent) => void): Promise<never> {
  return new Promise((_resolve, reject) => {
    speaker.onEvent(onEvent)
    speaker.onFailure((error) => reject(error))
  })
}

function planContext(config: ControllerConfig, store: ClusterStore, agents: AgentWatch | undefined): PlanContext {
  const defaultRouterId = ownRouterId(config.node, store)
  return {
    serviceClass: config.serviceClass,
    nodeLiveness: agents?.nodeLiveness() ?? noLiveness,
    ...(defaultRouterId === undefined ? {} : { defaultRouterId }),
  }
}

const noLiveness: PlanContext['nodeLiveness'] = new Map()

function ownRouterId(node: string, store: ClusterStore): RouterId | undefined {
  const address = store
    .view()
    .nodes.get(node)
    ?.internalIPs.find((ip) => familyOf(ip) === 'IPv4')
  const parsed = address === undefined ? undefined : parseRouterId(address)
  return parsed?.ok ? parsed.value : undefined
}

function waitingFor(store: ClusterStore): string {
  const missing = [...store.facts().kinds].filter(([, facts]) => !facts.synced).map(([kind]) => kind)
  return `waiting for the first list of ${missing.join(', ')}`
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
