// Gives the lab's pods a node on a cluster that is not the lab's: those that name its scheduler, in its namespace, on its nodes. By
// the same choice as the scheduler of the embedded cluster.

import type { KubeClient } from '../../k8s/client.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { hasEnded, isReady, isTerminating } from '../apiserver/cluster-controllers/pods.ts'
import { chooseNode } from '../apiserver/cluster-controllers/scheduler.ts'
import { type JsonObject, stringAt } from '../apiserver/json.ts'
import { watchCollection } from '../kubelet/watched.ts'

export interface PodBinderOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  readonly namespace: string
  /** spec.schedulerName of the pods that are meant. */
  readonly scheduler: string
  readonly nodeNames: readonly string[]
}

export interface PodBinder {
  readonly stop: () => Promise<void>
}

const retryMs = 1000

/** Starts to bind. */
export function startPodBinder({ client, clock, log, namespace, scheduler, nodeNames }: PodBinderOptions): PodBinder {
  const ending = new AbortController()
  // Told to the API server and not yet seen in a watch event, by UID.
  const bound = new Map<string, string>()
  let turn = Promise.resolve()

  const bind = async (pod: JsonObject, node: string): Promise<void> => {
    const name = stringAt(pod, 'metadata', 'name') ?? ''
    const uid = stringAt(pod, 'metadata', 'uid') ?? ''
    bound.set(uid, node)
    const answer = await client.request({
      method: 'POST',
      path: `/api/v1/namespaces/${namespace}/pods/${name}/binding`,
      body: {
        ...{ apiVersion: 'v1', kind: 'Binding', metadata: { name, namespace, uid } },
        target: { apiVersion: 'v1', kind: 'Node', name: node },
      },
    })
    if (answer.ok) return
    bound.delete(uid)
    clock.setTimer(retryMs, onChange)
    log.warn({ event: 'lab-pod-not-bound', pod: name, node, message: answer.error.message })
  }
  const round = async (): Promise<void> => {
    const all = [...(pods.objects()?.values() ?? [])] as readonly JsonObject[]
    const candidates = ([...(nodes.objects()?.values() ?? [])] as readonly JsonObject[]).filter(
      (node) => isReady(node) && nodeNames.includes(stringAt(node, 'metadata', 'name') ?? ''),
    )
    const placed = all.flatMap((pod): readonly JsonObject[] => {
      const node = stringAt(pod, 'spec', 'nodeName') ?? bound.get(stringAt(pod, 'metadata', 'uid') ?? '')
      return node === undefined || hasEnded(pod) || isTerminating(pod) ? [] : [withNode(pod, node)]
    })
    for (const pod of all) {
      const waits =
        stringAt(pod, 'spec', 'nodeName') === undefined && !bound.has(stringAt(pod, 'metadata', 'uid') ?? '')
      if (!waits || isTerminating(pod) || hasEnded(pod)) continue
      const node = chooseNode(pod, candidates, placed)
      if (node === undefined) continue
      placed.push(withNode(pod, node))
      await bind(pod, node)
    }
  }
  const onChange = (): void => {
    turn = turn.then(() => (ending.signal.aborted ? undefined : round()))
  }
  const common = { client, clock, signal: ending.signal, onChange }
  const pods = watchCollection({
    ...common,
    path: `/api/v1/namespaces/${namespace}/pods`,
    query: { fieldSelector: `spec.schedulerName=${scheduler}` },
  })
  const nodes = watchCollection({ ...common, path: '/api/v1/nodes' })
  return {
    stop: async () => {
      ending.abort()
      await Promise.all([pods.ended, nodes.ended, turn])
    },
  }
}

const withNode = (pod: JsonObject, nodeName: string): JsonObject => ({
  ...pod,
  spec: { ...(pod['spec'] as JsonObject | undefined), nodeName },
})
