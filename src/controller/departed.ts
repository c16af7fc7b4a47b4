// What speakers that are gone have left in the cluster: their entries in the lists that they share. Each owns its entry under a
// field manager of its own, so nobody's write takes it away but one in that manager's name: the leader's, who wants nothing.

import { agentManager, replicaManager } from '../k8s/field-managers.ts'
import { type BgpPeer, type ClusterView, matchesSelector } from '../k8s/objects.ts'
import type { DesiredStatus } from '../k8s/status-writer.ts'

const nothing: DesiredStatus['status'] = Object.freeze({})

/** Who runs. Absent = not known yet, and then nobody is gone. */
export interface Alive {
  readonly replicas: ReadonlySet<string> | undefined
  /** Nodes whose agents run. */
  readonly agents: ReadonlySet<string> | undefined
}

/**
 * Empty statuses in the names of those who still have an entry in the view and should not: replicas that do not run, and nodes that
 * a BgpPeer does not select any more, or whose agents do not run.
 */
export function departedEntries(
  view: Pick<ClusterView, 'bgpConfs' | 'bgpPeers' | 'nodes'>,
  { replicas, agents }: Alive,
): readonly DesiredStatus[] {
  const entries: DesiredStatus[] = []
  const clear = (object: Pick<DesiredStatus, 'kind' | 'name'>, fieldManager: string): void =>
    void entries.push({ ...object, fieldManager, status: nothing })
  const isReplica = (name: string): boolean => replicas === undefined || replicas.has(name)
  const speaks = (name: string, { nodeSelector }: BgpPeer): boolean => {
    const node = view.nodes.get(name)
    return node !== undefined && agents?.has(name) !== false && matchesSelector(nodeSelector, node.meta.labels)
  }
  const conf = view.bgpConfs.get('default')
  for (const name of namesIn(conf?.status['speakers'], 'name'))
    if (!isReplica(name)) clear({ kind: 'BgpConf', name: 'default' }, replicaManager(name))
  for (const peer of view.bgpPeers.values()) {
    const object = { kind: 'BgpPeer', name: peer.meta.name } as const
    // Speakers that run take back by themselves what they said of a peer that is not theirs any more.
    for (const name of namesIn(peer.status['sessions'], 'speaker'))
      if (isReplica(name) || (peer.speaker === 'node' && speaks(name, peer))) continue
      else clear(object, peer.speaker === 'node' ? agentManager(name) : replicaManager(name))
  }
  return entries
}

function namesIn(list: unknown, key: string): readonly string[] {
  if (!Array.isArray(list)) return []
  return list.flatMap((entry: Readonly<Record<string, unknown>> | null) => {
    const name = entry?.[key]
    return typeof name === 'string' ? [name] : []
  })
}
