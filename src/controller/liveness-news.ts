// What a replica tells of the nodes it watches, beside the plan: an Event on a Node that fell silent or is back, from the leader, and
// the table of all sessions for whoever asks the replica itself.

import type { ClusterStore } from '../k8s/cluster-store.ts'
import type { OpinionChange } from '../liveness/agent-watch.ts'
import type { BfdObservation } from '../liveness/bfd-core.ts'
import { livenessDetectionMs } from '../liveness/watched-sessions.ts'
import type { PlanContext } from '../plan/types.ts'
import { rfc3339 } from '../vip/rfc3339.ts'
import type { Leadership } from './leadership.ts'

/** Records an Event for each Node whose fate changed; replicas that do not lead stay silent. */
export function noteLiveness(
  changes: readonly OpinionChange[],
  store: Pick<ClusterStore, 'view'>,
  leadership: Pick<Leadership, 'note'>,
): void {
  for (const { node, from, to } of changes) {
    const uid = store.view().nodes.get(node)?.meta.uid
    if (uid === undefined) continue
    const subject = { apiVersion: 'v1', kind: 'Node', namespace: '', name: node, uid }
    if (to === 'down')
      leadership.note({
        ...{ subject, severity: 'Warning', reason: 'NodeSilent' },
        message: `it does not answer: its agent for ${livenessDetectionMs} ms (BFD), or its kernel, where the agent had ended before. It is no next hop of any VIP until it does`,
      })
    else if (to === 'up' && from === 'down')
      leadership.note({ subject, severity: 'Normal', reason: 'NodeAnswers', message: 'its agent answers again (BFD)' })
  }
}

/** One line a node for people: `curl http://<replica>:7474/liveness`. */
export function livenessTable(
  opinions: PlanContext['nodeLiveness'],
  observation: BfdObservation | undefined,
): readonly Readonly<Record<string, unknown>>[] {
  return [...(observation?.sessions ?? [])].map(([node, status]) => ({
    node,
    opinion: opinions.get(node) ?? 'none',
    session: status.state,
    since: rfc3339(status.sinceMs),
    detectionMs: status.detectionMs,
    ...(Number.isFinite(status.silentMs) ? { silentMs: Math.round(status.silentMs) } : {}),
    authenticated: status.authenticated,
    ...(status.error === undefined ? {} : { error: status.error }),
  }))
}
