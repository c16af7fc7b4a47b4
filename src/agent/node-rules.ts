// The agent's first duty: the node lets traffic for exactly the VIPs through, and its Lease says up to which version of them that is
// true. Wiring of the Vips, what keeps the rules, and what is attested of them.

import { readFile } from 'node:fs/promises'
import { rulesOfVips, type VipRules } from '../datapath/desired.ts'
import {
  type KeeperDeps,
  type KeeperFacts,
  type KeeperNews,
  type KeeperOptions,
  keepForwardRules,
} from '../datapath/keeper.ts'
import type { KubeClient } from '../k8s/client.ts'
import { type ClusterStore, createClusterStore } from '../k8s/cluster-store.ts'
import type { Random } from '../runtime/clock.ts'
import { createAttestation } from './attestation.ts'
import type { Annotations } from './node-lease.ts'

export interface NodeRulesOptions extends Pick<KeeperDeps, 'exec' | 'clock' | 'log' | 'signal' | 'generation'> {
  readonly client: KubeClient
  readonly namespace: string
  readonly random: Random
  readonly rules: KeeperOptions
  readonly onNews: (news: KeeperNews) => void
  /** Renews the Lease: what `annotations` says has changed. */
  readonly renew: () => void
}

export interface NodeRules {
  /** The Vips, for whoever else needs them on this node. */
  readonly vips: ClusterStore
  readonly facts: () => KeeperFacts
  /** Vips are being watched now. */
  readonly apiConnected: () => boolean
  /** What is still waited for. The API server's absence later on is no reason: the rules stand. */
  readonly notReady: () => string | undefined
  readonly annotations: () => Annotations
  /** Up to which Vip the rules are in place, as the Lease says it. */
  readonly attested: () => Annotations
  /** Called when the rules for some set of VIPs are in place. */
  readonly onInPlace: (listener: () => void) => void
  /** Resolves after the signal fired and the round under way, if any, has ended. */
  readonly ended: Promise<void>
}

/** Begins to follow the Vips, and changes nothing on the node before all of them are known. */
export async function startNodeRules(options: NodeRulesOptions): Promise<NodeRules> {
  const { client, namespace, clock, random, log, signal, renew, onNews } = options
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  const attestation = createAttestation<readonly VipRules[]>({ bootId, clock, signal, renew })
  const listeners: (() => void)[] = []
  const keeper = keepForwardRules(options.rules, {
    ...options,
    onNews: (news) => {
      renew()
      onNews(news)
    },
    onInPlace: (rules) => {
      attestation.inPlace(rules)
      for (const listener of listeners) listener()
    },
  })
  const vips = createClusterStore({
    ...{ client, namespace, clock, random, log, signal },
    kinds: ['Vip'],
    // Where the traffic goes and who was told is of no interest here, and is most of a Vip and most of its changes.
    select: { Vip: { withoutStatus: true } },
    // Fleets of agents start at once: a list that a cache may answer is good enough for rules.
    consistency: 'cache',
  })
  vips.onChange(() => {
    if (!vips.synced()) return
    const rules = rulesOfVips(vips.view().vips.values())
    const addresses = rules.map(({ address }) => address)
    attestation.asked(rules, vips.facts().kinds.get('Vip')?.resourceVersion ?? '0', addresses)
    keeper.setVips(rules)
  })
  return {
    vips,
    facts: keeper.facts,
    apiConnected: () => vips.facts().kinds.get('Vip')?.phase === 'watching',
    notReady: () => {
      const { lastSyncMs, lastError } = keeper.facts()
      if (lastError !== undefined) return lastError.message
      if (lastSyncMs !== undefined) return undefined
      return vips.synced() ? 'the rules are being put in place' : 'the VIPs are not known yet'
    },
    annotations: () => ({ ...renderFacts(keeper.facts()), ...attestation.annotations() }),
    attested: attestation.annotations,
    onInPlace: (listener) => void listeners.push(listener),
    ended: keeper.ended,
  }
}

// What `kubectl describe lease` shows of a node: as text, because annotations are.
function renderFacts(facts: KeeperFacts): Annotations {
  const repairs = Object.values(facts.repairs).reduce((sum, count) => sum + count, 0)
  return {
    'bellhop.io/backend': facts.backend ?? 'unknown',
    'bellhop.io/vips': String(facts.vips.IPv4 + facts.vips.IPv6),
    'bellhop.io/rules': String(facts.rules.IPv4 + facts.rules.IPv6),
    'bellhop.io/repairs': String(repairs),
    ...(facts.lastError === undefined ? {} : { 'bellhop.io/problem': facts.lastError.message }),
  }
}
