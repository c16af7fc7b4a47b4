// The agent of one node: wiring only. Its parts are the node's rules, its answer to the controllers' BFD, its VIPs on the link and its
// own BGP sessions; each says what the Lease is to say of it, and all end together. Without the API server the rules stay as they
// are; when the agent ends they stay too, so that an update of the agent is not an outage of every Service.
//
//   await runAgent({ ...agentDefaults, credentials, node, version }, { clock, random, exec, log, signal })

import type { BackendChoice } from '../datapath/choose.ts'
import { type StatusSources, takeStatusPort } from '../http/status-server.ts'
import { policyChains } from '../iptables/render.ts'
import { createKubeClient, type KubeClient } from '../k8s/client.ts'
import type { CredentialsSource } from '../k8s/credentials.ts'
import { createEventRecorder } from '../k8s/events.ts'
import type { Layer2Keeper } from '../layer2/keeper.ts'
import { holdSecondsAnnotation, renderNodeLinks } from '../layer2/links.ts'
import type { RefusalOptions } from '../nftables/table.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import type { ServiceClassRule } from '../vip/types.ts'
import { createAgentMetrics } from './agent-metrics.ts'
import { watchClock } from './clock-watch.ts'
import { defaultHoldSeconds, leaseRenewSeconds, startLayer2 } from './layer2.ts'
import { type NodeNews, recordNodeNews } from './node-events.ts'
import { type Annotations, createNodeLease, type NodeLease } from './node-lease.ts'
import { type NodeLiveness, startNodeLiveness } from './node-liveness.ts'
import { followNodePeers, type NodePeers } from './node-peers.ts'
import { type NodeRules, startNodeRules } from './node-rules.ts'
import { followNodeVips, type NodeVips } from './node-vips.ts'
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
  /** How long the node answers for VIPs of mode layer2 without any sign of the control plane. */
  readonly layer2HoldSeconds: number
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
  layer2HoldSeconds: defaultHoldSeconds,
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
  const { clock, log } = deps
  const { node } = config
  // Fires with the caller's signal, and also when a part fails to start, so that no part outlives the others.
  const ending = new AbortController()
  const signal = AbortSignal.any([deps.signal, ending.signal])
  const client = await connected(config, deps)
  const recorder = createEventRecorder({ client, clock, log, signal, component: 'bellhop-agent', instance: node })
  const tell = (news: NodeNews): void => recordNodeNews(recorder, node, news)
  const claim = await claimed(config, { clock, log, signal }, tell)
  if (claim === 'none') return client.close()
  const letGo = (): void => {
    ending.abort()
    client.close()
    claim?.release()
  }
  const statusPort = await takeStatusPort(config.httpPort, log)
  if (!statusPort.ok) {
    letGo()
    throw new Error(statusPort.error)
  }
  const parts = startParts(config, { ...deps, client, signal, ...(claim === undefined ? {} : { claim }) }, tell)
  try {
    statusPort.value?.serve(statusSources(parts))
    log.info({ event: 'agent-started', node, httpPort: statusPort.value?.port ?? 0, version: config.version })
    const ended = Promise.all([parts.rules.ended, parts.layer2.ended]).then(() => {})
    const died = parts.nodePeers === undefined ? [] : [parts.nodePeers.died]
    await Promise.race([boundedAfter(signal, goodbyeMs, ended, clock), ...died])
  } finally {
    ending.abort()
    await parts.nodePeers?.stop()
    // Before anything else: whoever merely ends is not to be taken for dead.
    await parts.liveness?.stop()
    await boundedAfter(signal, goodbyeMs, parts.lease.stopped(), clock)
    await statusPort.value?.stop()
    letGo()
  }
  log.info({ event: 'agent-ended', node, rulesLeft: true })
}

interface AgentParts {
  readonly lease: NodeLease
  readonly vips: NodeVips
  readonly rules: NodeRules
  readonly layer2: Layer2Keeper
  /** Absent where the configuration says no. */
  readonly liveness: NodeLiveness | undefined
  readonly nodePeers: NodePeers | undefined
}

type PartDeps = AgentDeps & { readonly client: KubeClient; readonly claim?: Claim }

function startParts(config: AgentConfig, deps: PartDeps, tell: (news: NodeNews) => void): AgentParts {
  const { namespace, node, layer2HoldSeconds: holdSeconds } = config
  const { clock, log } = deps
  const lease = createNodeLease({ ...deps, namespace, node, renewSeconds: leaseRenewSeconds(holdSeconds) })
  const vips = followNodeVips(deps)
  const rules = startNodeRules({ ...deps, vips, rules: config, onNews: tell, renew: lease.renew })
  const liveness = config.bfd ? startNodeLiveness({ ...deps, namespace, renew: lease.renew }) : undefined
  const layer2 = startLayer2({
    ...{ ...deps, node, holdSeconds, vips, heartbeat: lease },
    hearsController: () => liveness?.hears() ?? false,
  })
  const nodePeers = config.nodeBgp
    ? followNodePeers({
        ...{ ...deps, namespace, node, serviceClass: config.serviceClass },
        rules: { annotations: rules.attested, onChange: rules.onInPlace },
        onChange: lease.renew,
      })
    : undefined
  const links = (): Annotations => {
    const seen = layer2.nodeLinks()
    return seen === undefined ? {} : { ...renderNodeLinks(seen), [holdSecondsAnnotation]: String(holdSeconds) }
  }
  let jumped: Annotations = {}
  watchClock(clock, deps.signal, (seconds) => {
    log.warn({ event: 'clock-jumped', seconds })
    tell({ type: 'clock-jumped', seconds })
    jumped = { 'bellhop.io/clock-jumped': `${seconds} s, to ${new Date(clock.wallMs()).toISOString()}` }
    lease.renew()
  })
  deps.claim?.onChange(lease.renew)
  const second = (): Annotations => {
    const waiting = deps.claim?.waiting() ?? 0
    return waiting === 0
      ? {}
      : { 'bellhop.io/second-agent': `${waiting} more on this node, waiting for this one to end` }
  }
  const others = [liveness, nodePeers].flatMap((part) => (part === undefined ? [] : [part.annotations]))
  lease.begin([rules.annotations, links, second, () => jumped, ...others])
  return { lease, vips, rules, layer2, liveness, nodePeers }
}

const statusSources = ({ vips, rules, layer2, liveness, nodePeers }: AgentParts): StatusSources => ({
  unhealthy: () => undefined,
  notReady: () => rules.notReady() ?? nodePeers?.notReady(),
  metrics: createAgentMetrics(
    () => ({
      ...rules.facts(),
      apiConnected: vips.facts().phase === 'watching',
      sessions: nodePeers?.sessions() ?? new Map(),
      layer2: layer2.facts(),
    }),
    async () => liveness?.observe(),
  ),
})

async function connected({ credentials, version }: AgentConfig, { clock, log }: AgentDeps): Promise<KubeClient> {
  const client = await createKubeClient({ credentials, clock, log, userAgent: `bellhop/${version} (agent)` })
  if (!client.ok) throw new Error(`no way to the API server: ${client.error.message}`)
  return client.value
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
