// What replicas that are gone have left in the cluster: their entries in the lists that replicas share. Each replica owns its entry
// under a field manager of its own, so nobody's write takes it away but one in that manager's name: the leader's, who wants nothing.

import type { ClusterView } from '../k8s/objects.ts'
import type { DesiredStatus } from '../k8s/status-writer.ts'

const nothing: DesiredStatus['status'] = Object.freeze({})

/** Empty statuses in the names of replicas that are not among the `alive` and still have an entry in the view. */
export function departedEntries(
  view: Pick<ClusterView, 'bgpConfs' | 'bgpPeers'>,
  alive: ReadonlySet<string>,
  fieldManagerOf: (replica: string) => string,
): readonly DesiredStatus[] {
  const conf = view.bgpConfs.get('default')
  const lists: (readonly [Pick<DesiredStatus, 'kind' | 'name'>, readonly string[]])[] =
    conf === undefined ? [] : [[{ kind: 'BgpConf', name: 'default' }, namesIn(conf.status['speakers'], 'name')]]
  // The speakers of the others are nodes, which is not for us to judge.
  for (const { meta, speaker, status } of view.bgpPeers.values())
    if (speaker === 'controller')
      lists.push([{ kind: 'BgpPeer', name: meta.name }, namesIn(status['sessions'], 'speaker')])
  return lists.flatMap(([object, names]) =>
    names
      .filter((name) => !alive.has(name))
      .map((name) => ({ ...object, fieldManager: fieldManagerOf(name), status: nothing })),
  )
}

function namesIn(list: unknown, key: string): readonly string[] {
  if (!Array.isArray(list)) return []
  return list.flatMap((entry: Readonly<Record<string, unknown>> | null) => {
    const name = entry?.[key]
    return typeof name === 'string' ? [name] : []
  })
}
