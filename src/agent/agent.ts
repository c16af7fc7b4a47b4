// The agent of one node: wiring only. It follows the Vips, keeps the node's FORWARD rules for exactly them, and says that it
// lives. Without the API server the rules stay as they are; when the agent ends they stay too, so that an update of the agent
// is not an outage of every Service.
//
//   await runAgent({ ...agentDefaults, credentials, node, version }, { clock, random, exec, log, signal })
//   await runAgentCleanup({ clock, exec, log })         // `bellhop agent --cleanup`: nothing of ours is left on the node

import { readFile } from 'node:fs/promises'
import type { BackendChoice, DatapathError } from '../datapath/choose.ts'
import { type RemovedPlace, removeEverything } from '../datapath/cleanup.ts'
import { rulesOfVips, type VipRules } from '../datapath/desired.ts'
import { type ForwardKeeper, type KeeperFacts, keepForwardRules } from '../datapath/keeper.ts'
import { type StatusServer, type StatusSources, startStatusServer } from '../http/status-server.ts'
import { policyChains } from '../iptables/render.ts'
import { createKubeClient } from '../k8s/client.ts'
import { type ClusterStore, createClusterStore } from '../k8s/cluster-store.ts'
import type { CredentialsSource } from '../k8s/credentials.ts'
import { createEventRecorder } from '../k8s/events.ts'
import { startHeartbeat, watchHeartbeats } from '../k8s/heartbeat.ts'
import { type IpError, removeAllAddresses } from '../layer2/addresses.ts'
import { type NodeLinks, renderNodeLinks } from '../layer2/links.ts'
import { type BfdThread, createBfdThread } from '../liveness/bfd-thread.ts'
import { answerControllers, type ControllerAnswerOptions } from '../liveness/controller-answer.ts'
import { watchKeys } from '../liveness/key-watch.ts'
import { agentAnnotation, agentAnnotationValue, livenessPorts } from '../liveness/watched-sessions.ts'
import type { RefusalOptions } from '../nftables/table.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import type { Result } from '../runtime/result.ts'
import type { ServiceClassRule } from '../vip/types.ts'
import { createAgentMetrics } from './agent-metrics.ts'
import { createAttestation } from './attestation.ts'
import { watchClock } from './clock-watch.ts'
import { startLayer2 } from './layer2.ts'
import { type NodeNews, recordNodeNews } from './node-events.ts'
import { followNodePeers, type NodePeers, type NodePeersFacts } from './node-peers.ts'
import { type Claim, claimNode } from './only-agent.ts'

export interface AgentConfig {
  readonly credentials: CredentialsSource
  /** Bellhop's own namespace: where the agent's Lease is. */
  readonly namespace: string
  /** The Node this agent runs on. */
  readonly node: string
  /** 0 = no status server. */
  readonly httpPort: number
  /** What the node's rules are written with; `auto` finds out what is in use. */
  readonly backend: BackendChoice
  /** What to refuse on behalf of Services. */
  readonly refusals: RefusalOptions
  /** Pause between two looks at the node's rules. */
  readonly checkIntervalMs: number
  /** Chains that Bellhop's jump stays behind in FORWARD. */
  readonly stayBehind: readonly string[]
  /** Answer the controllers' BFD, by which they see within a second that the node is gone. */
  readonly bfd: boolean
  /** Speak BGP for this node where a BgpPeer with `speaker: node` selects it. */
  readonly nodeBgp: boolean
  /** Which Services are ours, as the controllers have it. */
  readonly serviceClass: ServiceClassRule
  readonly version: string
  /** Agents that share this mark in one network namespace wait for each other; absent: nobody is waited for. */
  readonly onlyAgentMark?: string
}

/** All but who and where. */
export const agentDefaults = {
  namespace: 'bellhop-system',
  httpPort: 7475,
  backend: 'auto',
  refusals: { sourceRanges: false, unusedPorts: false },
  checkIntervalMs: 10_000,
  stayBehind: policyChains,
  bfd: true,
  nodeBgp: true,
  serviceClass: { name: 'bellhop.io/bgp', handleDefault: true },
} as const satisfies Partial<AgentConfig>

export interface AgentDeps {
  readonly clock: Clock
  readonly random: Random
  readonly exec: Exec
  readonly log: Log
  /** The kernel's present nftables generation, by which changes of others are seen at once; without it they are looked for. */
  readonly generation?: () => number | undefined
  /** Ends the agent; it is gone within five seconds. */
  readonly signal: AbortSignal
}

/** How long the round under way may take at the end, and then the deletion of the Lease: together less than five seconds. */
const goodbyeMs = 2000

/** Runs the agent until the signal fires. Rejects when there are no credentials or the status port is taken. */
export async function runAgent(config: AgentConfig, deps: AgentDeps): Promise<void> {
  const { clock, random, exec, log } = deps
  const { namespace, node } = config
  // Fires with the caller's signal, and also when a part fails to start, so that no part outlives the others.
  const ending = new AbortController()
  const signal = AbortSignal.any([deps.signal, ending.signal])
  const connected = await createKubeClient({
    credentials: config.credentials,
    clock,
    log,
    userAgent: `bellhop/${config.version} (agent)`,
  })
  if (!connected.ok) throw new Error(`no way to the API server: ${connected.error.message}`)
  const client = connected.value
  const recorder = createEventRecorder({
    ...{ client, clock, log, signal },
    component: 'bellhop-agent',
    instance: node,
  })
  const tell = (news: NodeNews): void => recordNodeNews(recorder, node, news)
  const claim = await claimed(config, { clock, log, signal }, tell)
  if (claim === 'none') return client.close()
  watchClock(clock, signal, (seconds) => {
    log.warn({ event: 'clock-jumped', seconds })
    tell({ type: 'clock-jumped', seconds })
  })
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  // Fleets of agents start at once: a list that a cache may answer is good enough for rules.
  const store = createClusterStore({
    ...{ client, namespace, clock, random, log, signal },
    kinds: ['Vip'],
    // Where the traffic goes and who was told is of no interest here, and is most of a Vip and most of its changes.
    select: { Vip: { withoutStatus: true } },
    consistency: 'cache',
  })
  const keeper = keepForwardRules(config, {
    ...{ exec, clock, log, signal },
    ...(deps.generation === undefined ? {} : { generation: deps.generation }),
    onNews: (news) => {
      heartbeat.renew()
      tell(news)
    },
    onInPlace: (rules) => {
      attestation.inPlace(rules)
      for (const toldOf of toldOfRules) toldOf()
    },
  })
  const toldOfRules = new Set<() => void>()
  const attestation = createAttestation<readonly VipRules[]>({ bootId, clock, signal, renew: () => heartbeat.renew() })
  store.onChange(() => {
    if (!store.synced()) return
    const rules = rulesOfVips(store.view().vips.values())
    const addresses = rules.map(({ address }) => address)
    attestation.asked(rules, store.facts().kinds.get('Vip')?.resourceVersion ?? '0', addresses)
    keeper.setVips(rules)
  })
  const layer2 = startLayer2({
    ...{ exec, clock, log, signal, node, store },
    heartbeat: { facts: () => heartbeat.facts(), renew: () => heartbeat.renew() },
    hearsController: () => bfd?.hears() ?? false,
  })
  const nodePeers = config.nodeBgp
    ? startNodePeers({
        ...{ client, namespace, node, clock, random, log, signal },
        serviceClass: config.serviceClass,
        rules: { annotations: attestation.annotations, onChange: (listener) => void toldOfRules.add(listener) },
        onChange: () => heartbeat.renew(),
      })
    : undefined
  const keys = config.bfd ? watchKeys({ client, namespace, clock, random, log, signal }) : undefined
  const heartbeat = startHeartbeat({
    ...{ client, namespace, clock, random, log, signal },
    name: `bellhop-agent-${node}`,
    identity: node,
    labels: { 'bellhop.io/role': 'agent', 'app.kubernetes.io/managed-by': 'bellhop' },
    annotations: () => ({
      ...annotationsOf(node, keeper.facts()),
      ...attestation.annotations(),
      ...linksOf(layer2.nodeLinks()),
      ...bgpAnnotations(nodePeers?.facts() ?? {}),
      ...(config.bfd ? { [agentAnnotation]: agentAnnotationValue } : {}),
      ...keys?.annotations(),
    }),
  })
  keys?.onChange(() => heartbeat.renew())
  const bfd =
    keys &&
    startAnswering({
      ...{ keys, clock, log, signal },
      heartbeats: watchHeartbeats({
        ...{ client, namespace, clock, random, log, signal },
        labelSelector: 'bellhop.io/role=controller',
      }),
    })
  const sources: StatusSources = {
    unhealthy: () => undefined,
    notReady: () => whyNotReady(store, keeper) ?? nodePeers?.notReady(),
    metrics: createAgentMetrics(
      () => ({
        ...keeper.facts(),
        apiConnected: isConnected(store),
        sessions: nodePeers?.sessions() ?? new Map(),
        layer2: layer2.facts(),
      }),
      async () => bfd?.thread.observe(),
    ),
  }
  let server: StatusServer | undefined
  try {
    if (config.httpPort !== 0) server = await startStatusServer(config.httpPort, sources, log)
    log.info({ event: 'agent-started', node, httpPort: server?.port ?? 0, version: config.version })
    const both = Promise.all([keeper.ended, layer2.ended]).then(() => {})
    const ended = boundedAfter(signal, goodbyeMs, both, clock)
    const parts = [bfd?.thread, nodePeers].flatMap((part) => (part === undefined ? [] : [part.died]))
    await Promise.race([ended, ...parts])
  } finally {
    ending.abort()
    await nodePeers?.stop()
    // Before anything else: whoever merely ends is not to be taken for dead.
    await bfd?.thread.stop()
    await boundedAfter(signal, goodbyeMs, heartbeat.stopped, clock)
    await server?.stop()
    client.close()
    claim?.release()
  }
  log.info({ event: 'agent-ended', node, rulesLeft: true })
}

// Undefined when nobody is to be waited for, 'none' when the end came before the other agent's.
async function claimed(
  { onlyAgentMark, node }: AgentConfig,
  deps: Pick<AgentDeps, 'clock' | 'log' | 'signal'>,
  tell: (news: NodeNews) => void,
): Promise<Claim | 'none' | undefined> {
  if (onlyAgentMark === undefined) return undefined
  const onTaken = (): void => {
    deps.log.error({
      event: 'second-agent',
      node,
      message: 'another agent runs on this node: waiting until it is gone',
    })
    tell({ type: 'second-agent' })
  }
  return (await claimNode(onlyAgentMark, { ...deps, onTaken })) ?? 'none'
}

// The Lease says how many sessions there are: it is renewed when that changes, not whenever something was planned.
function startNodePeers(options: Parameters<typeof followNodePeers>[0]): NodePeers {
  let said = ''
  const nodePeers = followNodePeers({
    ...options,
    onChange: () => {
      const says = JSON.stringify(nodePeers.facts())
      if (says !== said) options.onChange()
      said = says
    },
  })
  return nodePeers
}

const bgpAnnotations = ({ sessions, problem }: NodePeersFacts): Readonly<Record<string, string>> => ({
  ...(sessions === undefined ? {} : { 'bellhop.io/bgp-sessions': `${sessions.established}/${sessions.peers}` }),
  ...(problem === undefined ? {} : { 'bellhop.io/bgp-problem': problem }),
})

function startAnswering(options: Omit<ControllerAnswerOptions, 'bfd'> & Pick<AgentDeps, 'log'>): {
  readonly thread: BfdThread
  readonly hears: () => boolean
} {
  const ports = { local: livenessPorts.agent, remote: livenessPorts.controller }
  const thread = createBfdThread({ ports, log: options.log })
  const { hears } = answerControllers({ ...options, bfd: thread })
  return { thread, hears }
}

// An iptables that hangs, or an API server that does not answer, must not hold up the end: `work` is waited for, but not
// longer than `ms` after the signal.
async function boundedAfter(signal: AbortSignal, ms: number, work: Promise<void>, clock: Clock): Promise<void> {
  let cancel: CancelTimer = () => {}
  const bound = new Promise<void>((resolve) => {
    const begin = (): void => {
      cancel = clock.setTimer(ms, resolve)
    }
    if (signal.aborted) begin()
    else signal.addEventListener('abort', begin, { once: true })
  })
  try {
    await Promise.race([work, bound])
  } finally {
    cancel()
  }
}

const isConnected = (store: ClusterStore): boolean => store.facts().kinds.get('Vip')?.phase === 'watching'

/** What the agent still waits for. The API server's absence later on is no reason: the rules stand. */
function whyNotReady(store: ClusterStore, keeper: ForwardKeeper): string | undefined {
  const { lastSyncMs, lastError } = keeper.facts()
  if (lastError !== undefined) return lastError.message
  if (lastSyncMs !== undefined) return undefined
  return store.synced() ? 'the rules are being put in place' : 'the VIPs are not known yet'
}

// What `kubectl describe lease` shows of a node: as text, because annotations are.
function annotationsOf(node: string, facts: KeeperFacts): Readonly<Record<string, string>> {
  const repairs = Object.values(facts.repairs).reduce((sum, count) => sum + count, 0)
  return {
    'bellhop.io/node': node,
    'bellhop.io/backend': facts.backend ?? 'unknown',
    'bellhop.io/vips': String(facts.vips.IPv4 + facts.vips.IPv6),
    'bellhop.io/rules': String(facts.rules.IPv4 + facts.rules.IPv6),
    'bellhop.io/repairs': String(repairs),
    ...(facts.lastError === undefined ? {} : { 'bellhop.io/problem': facts.lastError.message }),
  }
}

const linksOf = (links: NodeLinks | undefined): Readonly<Record<string, string>> =>
  links === undefined ? {} : renderNodeLinks(links)

/** Removes every rule and every VIP of ours from this node, whichever back end the rules are in. Needs no API server. */
export async function runAgentCleanup(
  deps: Pick<AgentDeps, 'clock' | 'exec' | 'log'>,
): Promise<Result<readonly RemovedPlace[], DatapathError | IpError>> {
  const addresses = await removeAllAddresses(deps.exec)
  if (addresses.ok) deps.log.info({ event: 'layer2-addresses-removed', removed: addresses.value })
  else deps.log.error({ event: 'layer2-addresses-not-removed', ...addresses.error })
  const outcome = await removeEverything(deps)
  if (outcome.ok) deps.log.info({ event: 'forward-rules-removed', removed: outcome.value })
  else deps.log.error({ event: 'forward-rules-not-removed', ...outcome.error })
  return addresses.ok ? outcome : addresses
}
