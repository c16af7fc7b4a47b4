// What the node's speaker says of its sessions in the cluster: its own entry in the status of each BgpPeer that it speaks with, under
// a field manager of its own. The leader makes the summary of all nodes.

import type { Announcer } from '../announce/announcer.ts'
import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import { createFencedRequests } from '../k8s/fenced-requests.ts'
import { agentManager } from '../k8s/field-managers.ts'
import { createStatusApplier } from '../k8s/status-applier.ts'
import type { ObservedStatus } from '../k8s/status-opinion.ts'
import { createStatusWriter, type DesiredStatus, type StatusKey, statusKey } from '../k8s/status-writer.ts'
import { keptMessage, ownSession, refusedSession } from '../plan/report-peers.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createTrigger } from '../runtime/trigger.ts'

export interface SessionReportOptions {
  readonly client: KubeClient
  readonly store: ClusterStore
  readonly announcer: Announcer
  readonly node: string
  readonly sinceMs: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
}

export interface SessionReport {
  /** Something that an entry says may have changed. */
  readonly pull: () => void
  /** Takes all entries away; resolves when the API server has heard of it. */
  readonly withdraw: () => Promise<void>
  readonly stop: () => Promise<void>
}

const intervalMs = 250

/**
 * Every entry is written into one object that all agents with such peers follow, so a large cluster pays for each write many times
 * over: what keeps changing, such as the number of prefixes, is written ever more rarely, up to once a minute.
 */
const settle = { minMs: 500, maxMs: 60_000 }
const rate = { perSecond: 2, burst: 10 }

export function createSessionReport(options: SessionReportOptions): SessionReport {
  const { announcer, clock, log, node, sinceMs, store } = options
  const applyStatus = createStatusApplier(createFencedRequests({ client: options.client, absorb: store.absorb }))
  const ending = new AbortController()
  const statuses = createStatusWriter({
    ...{ clock, log, settle, rate, random: options.random },
    signal: AbortSignal.any([options.signal, ending.signal]),
    write: applyStatus,
    observed: (_kind, name): ObservedStatus => {
      const peer = store.view().bgpPeers.get(name)
      return peer === undefined ? 'absent' : { resourceVersion: peer.meta.resourceVersion, status: peer.status }
    },
  })
  const replica = { name: node, node, sinceMs }
  const fieldManager = agentManager(node)
  const desired = (name: string, entry: Readonly<Record<string, unknown>>): readonly [StatusKey, DesiredStatus] => {
    const status: DesiredStatus = { kind: 'BgpPeer', name, fieldManager, status: { sessions: [entry] } }
    return [statusKey(status), status]
  }
  const trigger = createTrigger(
    () => {
      const plan = announcer.plan()
      if (plan === undefined) return
      const { sessions } = announcer
      statuses.submit(
        new Map([
          ...plan.peers.map((peer) => {
            const kept = plan.kept?.peers.find((each) => each.peer === peer.name)
            const entry = ownSession({ sessions, replica }, peer)
            return desired(peer.name, kept === undefined ? entry : { ...entry, lastError: keptMessage(kept) })
          }),
          ...plan.peerRefusals.map((refusal) => desired(refusal.peer, refusedSession(replica, refusal))),
        ]),
      )
    },
    { clock, intervalMs, onError: (error) => log.error({ event: 'report-failed', message: String(error) }) },
  )
  return {
    pull: trigger.pull,
    withdraw: async () => {
      await trigger.stop()
      // At once, and not when the pace allows the next write.
      ending.abort()
      const mine = [...store.view().bgpPeers.values()].filter(({ status }) => hasEntry(status['sessions'], node))
      await Promise.all(
        mine.map(({ meta: { name } }) => applyStatus({ kind: 'BgpPeer', name, fieldManager, status: {} })),
      )
    },
    stop: trigger.stop,
  }
}

const hasEntry = (sessions: unknown, node: string): boolean =>
  Array.isArray(sessions) &&
  sessions.some((entry: Readonly<Record<string, unknown>> | null) => entry?.['speaker'] === node)
