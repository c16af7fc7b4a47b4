// The agent's first duty: the node lets traffic for exactly the VIPs through, and its Lease says up to which version of them that is
// true. Wiring of what keeps the rules and what is attested of them.

import { readFileSync } from 'node:fs'
import { sortRules, type VipRules } from '../datapath/desired.ts'
import {
  type KeeperDeps,
  type KeeperFacts,
  type KeeperNews,
  type KeeperOptions,
  keepForwardRules,
} from '../datapath/keeper.ts'
import { createAttestation } from './attestation.ts'
import type { Annotations } from './node-lease.ts'
import type { NodeVips } from './node-vips.ts'

export interface NodeRulesOptions extends Pick<KeeperDeps, 'exec' | 'clock' | 'log' | 'signal' | 'generation'> {
  readonly vips: NodeVips
  readonly rules: KeeperOptions
  readonly onNews: (news: KeeperNews) => void
  /** Renews the Lease: what `annotations` says has changed. */
  readonly renew: () => void
}

export interface NodeRules {
  readonly facts: () => KeeperFacts
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

/** Changes nothing on the node before all Vips are known. */
export function startNodeRules(options: NodeRulesOptions): NodeRules {
  const { vips, clock, signal, renew, onNews } = options
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
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
  let sorted: readonly VipRules[] = []
  vips.onChange(() => {
    sorted = sortRules(
      Array.from(vips.all(), ({ rules }) => rules),
      sorted,
    )
    const addresses = sorted.map(({ address }) => address)
    attestation.asked(sorted, vips.facts().resourceVersion, addresses)
    keeper.setVips(sorted)
  })
  return {
    facts: keeper.facts,
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
