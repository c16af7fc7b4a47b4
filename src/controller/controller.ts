// One controller replica: wiring only. Every replica follows the cluster, plans and speaks BGP; the leader also allocates and writes
// statuses. Data flows one way (store -> plan -> speaker), and comes back through the API server.

import { type Adoption, startAdoption } from '../adoption/adoption.ts'
import { type Announcer, createAnnouncer } from '../announce/announcer.ts'
import { createDataplaneGate, type DataplaneGate } from '../announce/dataplane-gate.ts'
import { createDrainWatch, type DrainWatch } from '../announce/drain-watch.ts'
import { createSilenceWatch, type SilenceWatch } from '../announce/silence-watch.ts'
import type { Speaker, SpeakerEvent } from '../bgp/speaker/protocol.ts'
import { createWorkerSpeaker } from '../bgp/speaker/speaker.ts'
import { type StatusSources, takeStatusPort } from '../http/status-server.ts'
import { createKubeClient, type KubeClient } from '../k8s/client.ts'
import { type ClusterStore, createClusterStore } from '../k8s/cluster-store.ts'
import type { CredentialsSource } from '../k8s/credentials.ts'
import { startLeaderElection } from '../k8s/leader.ts'
import type { Kind } from '../k8s/objects.ts'
import { createControllerMetrics } from '../metrics/controller-metrics.ts'
import type { Product } from '../migrate/migrate.ts'
import { keepPortRedirect } from '../nftables/port-redirect.ts'
import { createFailStaticPlanner } from '../plan/last-good.ts'
import type { LivenessFacts } from '../plan/liveness-report.ts'
import { addressRouterId, madeRouterId } from '../plan/node-speaker.ts'
import { countingConf } from '../plan/peers.ts'
import { drainsIn } from '../plan/report-drains.ts'
import type { PlanContext } from '../plan/types.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import type { ServiceClassRule } from '../vip/types.ts'
import { createGivenBack } from './given-back.ts'
import { askHealth, createHealthChecker, type HealthChecker } from './health-checks.ts'
import { createLayer2Owners } from './layer2-owners.ts'
import { createLeadership } from './leadership.ts'
import { livenessTable, noteLiveness } from './liveness-news.ts'
import { type Presence, startPresence } from './presence.ts'
import { createReporter } from './reporter.ts'
import { createRounds } from './rounds.ts'
import { askStanding, createSteppingBack, type Standing, type SteppingBack } from './stepping-back.ts'
import { followOpinions } from './succession.ts'

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
  /** Whose objects count beside ours, read in place; the first one wins where two claim a name. */
  readonly adopt: readonly Product[]
  /** Watch the agents by BFD; otherwise the Nodes' conditions alone say which nodes live. */
  readonly bfd: boolean
  readonly version: string
}

export interface ControllerDeps {
  readonly clock: Clock
  readonly exec: Exec
  readonly random: Random
  readonly log: Log
  /** Ends the replica. */
  readonly signal: AbortSignal
}

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

/**
 * Runs one replica until the signal fires. Rejects when there are no credentials or the status port is taken, and when one of its
 * threads dies, which only a new process mends.
 */
export async function runController(config: ControllerConfig, deps: ControllerDeps): Promise<void> {
  const { clock, random, log } = deps
  // Fires with the caller's signal, and also when a part fails, so that no part outlives the others.
  const ending = new AbortController()
  const signal = AbortSignal.any([deps.signal, ending.signal])
  const client = await connect(config, deps)
  // Nothing was sent yet: a second controller on a host ends here, before it is in the way of the first one's sessions.
  const statusPort = await takeStatusPort(config.httpPort, log)
  if (!statusPort.ok) throw new Error(statusPort.error)
  const base = { client, clock, random, log, signal, namespace: config.namespace }
  const store = createClusterStore({ ...base, kinds, awaitStandIns: config.adopt.length > 0 })
  const speaker = createWorkerSpeaker({
    log,
    hostname: config.node,
    ...(config.recordDirectory === undefined ? {} : { recordDirectory: config.recordDirectory }),
  })
  const redirect = keepPortRedirect({ exec: deps.exec, clock, log, onChange: () => reporter.pull() })
  const announcer = createAnnouncer({
    planner: createFailStaticPlanner(),
    speaker,
    redirect,
    quiet: () => steppingBack.quiet(),
    onGuarded: (vips) => void rounds.confirmWithdrawals(vips.size),
  })
  const { serviceClass, name, node, httpPort } = config
  const presence = startPresence({
    ...{ ...base, name, node, bfd: config.bfd },
    onNodes: () => rounds.run(),
    onOpinions: (changes) => {
      noteLiveness(changes, store, leadership)
      followOpinions(
        {
          ...{ election, ask: askStanding, httpPort, signal },
          ...{ replicas: () => presence.replicas.signs().values(), nodeLiveness: presence.nodeLiveness },
        },
        changes,
      )
    },
    onKeys: () => reporter.pull(),
  })
  const steppingBack = createSteppingBack({
    ...{ name, httpPort, ask: askStanding, clock, log, signal },
    renewedMs: presence.renewedMs,
    replicas: () => presence.replicas.signs().values(),
    onChange: announcer.quietChanged,
  })
  const gate = createDataplaneGate({ clock, signal, agents: presence.agents, onChange: () => rounds.run() })
  const health = createHealthChecker({ ask: askHealth, serviceClass, clock, signal, onChange: () => rounds.run() })
  const drains = createDrainWatch({
    ...{ clock, signal, onDue: () => rounds.run() },
    seenByOthers: () => drainsIn(store.view().bgpConfs.get('default')),
  })
  const silence = createSilenceWatch({ clock, log, signal, onDue: () => rounds.run() })
  const reporter = createReporter({
    ...{ ...base, store, announcer, serviceClass },
    replica: { name, node, sinceMs: clock.wallMs() },
    replicas: presence.replicas,
    agents: presence.agents,
    liveness: presence.liveness,
    drains: drains.begun,
  })
  const leadership = createLeadership({
    ...{ client, store, clock, log, serviceClass, name },
    isWithdrawn: announcer.isWithdrawn,
    givenBack: createGivenBack({ clock, replicas: presence.replicas }),
    onAllocated: reporter.pull,
  })
  const owners = createLayer2Owners({ client, store, clock, log, plan: announcer.plan, note: leadership.note })
  const adoption =
    config.adopt.length === 0 ? undefined : startAdoption({ ...base, store, serviceClass, products: config.adopt })
  const election = startLeaderElection({
    ...base,
    name: 'bellhop-controller',
    identity: `${name}_${Math.floor(random() * 0xffff_ffff).toString(16)}`,
    onElected: (fence) => {
      leadership.begin(fence)
      owners.begin(fence)
      reporter.lead(fence, leadership.allocation)
      adoption?.lead(fence, leadership.allocation)
    },
  })
  const metrics = createControllerMetrics(() => ({
    ...livenessOf(presence),
    sessions: announcer.sessions,
    ranges: announcer.ranges,
    plan: announcer.plan(),
    pools: leadership.allocation()?.pools,
    guardedVips: announcer.guarded.size,
    leader: election.facts().leading,
    synced: store.synced(),
  }))
  const rounds = createRounds({
    ...{
      store,
      kinds,
      announcer,
      presence,
      drains,
      silence,
      leadership,
      owners,
      reporter,
      metrics,
      clock,
      log,
      signal,
    },
    watches: [gate, health, ...(adoption === undefined ? [] : [{ take: adoption.pull }])],
    context: () => planContext(config, store, { presence, gate, drains, silence, health, plan: announcer.plan }),
  })
  store.onChange(rounds.run)
  const speakerDied = followSpeaker(speaker, (event) => {
    if (!announcer.observe(event)) return
    if (event.type === 'flushed') leadership.pull()
    reporter.pull()
  })
  const sources: StatusSources = {
    unhealthy: () => undefined,
    notReady: () => (announcer.plan() === undefined ? waitingFor(store, adoption) : undefined),
    metrics: async () => ({
      contentType: metrics.contentType,
      text: await metrics.render(await presence.observe()),
    }),
    standing: () => standingOf(announcer, steppingBack),
    liveness: async () => livenessTable(presence.nodeLiveness(), await presence.observe()),
  }
  try {
    statusPort.value?.serve(sources)
    log.info({ event: 'controller-started', version: config.version, name, server: client.server })
    await Promise.race([aborted(signal), speakerDied, presence.died])
  } finally {
    log.info({ event: 'controller-stopping' })
    ending.abort()
    await Promise.all([
      leadership.stop(),
      owners.stop(),
      reporter.stop(),
      adoption?.stop(),
      statusPort.value?.stop(),
      speaker.stop('controller stops'),
      redirect.stop(),
      presence.stop(),
    ])
    await Promise.all([election.stopped, presence.left])
    client.close()
  }
}

async function connect(config: ControllerConfig, { clock, log }: ControllerDeps): Promise<KubeClient> {
  const connected = await createKubeClient({
    credentials: config.credentials,
    clock,
    log,
    // With its name, so that an audit log tells the replicas apart.
    userAgent: `bellhop/${config.version} (controller ${config.name})`,
  })
  if (!connected.ok) throw new Error(`no way to the API server: ${connected.error.message}`)
  return connected.value
}

const standingOf = ({ sessions }: Announcer, steppingBack: SteppingBack): Standing => ({
  connected: steppingBack.isConnected(),
  established: [...sessions.values()]
    .filter(({ state, announcedPaths }) => state === 'Established' && announcedPaths > 0)
    .map(({ peer }) => peer),
})

/** Hands events on; rejects when the worker died without being asked. */
function followSpeaker(speaker: Speaker, onEvent: (event: SpeakerEvent) => void): Promise<never> {
  return new Promise((_resolve, reject) => {
    speaker.onEvent(onEvent)
    speaker.onFailure((error) => reject(error))
  })
}

function planContext(
  config: ControllerConfig,
  store: ClusterStore,
  facts: {
    readonly presence: Presence
    readonly gate: DataplaneGate
    readonly drains: DrainWatch
    readonly silence: SilenceWatch
    readonly health: HealthChecker
    readonly plan: Announcer['plan']
  },
): PlanContext {
  const node = store.view().nodes.get(config.node)
  const defaultRouterId = node && addressRouterId(node)
  const layer2 = facts.presence.layer2()
  return {
    serviceClass: config.serviceClass,
    nodeLiveness: facts.presence.nodeLiveness(),
    dataplane: facts.gate.dataplane(),
    healthChecks: facts.health.opinions(),
    silence: facts.silence.silence(),
    drains: facts.drains.phases(countingConf(store.view(), facts.plan())?.drainGraceSeconds),
    ...(layer2 === undefined ? {} : { layer2 }),
    ...(defaultRouterId === undefined ? {} : { defaultRouterId }),
    ...(node === undefined ? {} : { madeRouterId: madeRouterId(node) }),
  }
}

function livenessOf(presence: Presence): { readonly liveness?: LivenessFacts } {
  const liveness = presence.liveness()
  return liveness === undefined ? {} : { liveness }
}

function waitingFor(store: ClusterStore, adoption: Adoption | undefined): string {
  const own = [...store.facts().kinds].filter(([, facts]) => !facts.synced).map(([kind]) => kind)
  const missing = [...own, ...(adoption?.waitingFor() ?? [])]
  return `waiting for the first list of ${missing.join(', ')}`
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
