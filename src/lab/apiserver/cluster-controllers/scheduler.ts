// Gives pods without a node one: Ready, schedulable, matching the pod's nodeSelector and tolerated; among those the one with the
// fewest pods of the same owner, then the fewest pods.

import { type Cluster, nowText } from '../cluster.ts'
import { type JsonObject, objectAt, objectsAt, stringAt, withValue } from '../json.ts'
import { Objects } from '../objects.ts'
import { hasEnded, isReady, isTerminating, withCondition } from './pods.ts'
import { runReconciler } from './reconciler.ts'

/** The one key: pods are placed one after the other, each seeing the last one's place. */
const queue = 'pending pods'

/** Returns the function that stops it. */
export function runScheduler(cluster: Cluster): () => void {
  const objects = new Objects(cluster)
  return runReconciler(cluster, {
    watches: {
      '/pods': (pod) => (isPending(pod.object) ? [queue] : []),
      '/nodes': () => [queue],
    },
    reconcile: () => {
      const pods = objects.list('v1', 'Pod')
      const pending = pods.filter(isPending)
      if (pending.length === 0) return undefined
      const nodes = objects.list('v1', 'Node').filter(isSchedulable)
      const placed = pods.filter(
        (pod) => stringAt(pod, 'spec', 'nodeName') !== undefined && !hasEnded(pod) && !isTerminating(pod),
      )
      for (const pod of pending) {
        const node = chooseNode(pod, nodes, placed)
        const bound = bind(objects, pod, node, nowText(cluster))
        if (bound !== undefined && node !== undefined) placed.push(bound)
      }
      return undefined
    },
  })
}

const isPending = (pod: JsonObject): boolean =>
  (stringAt(pod, 'spec', 'nodeName') ?? '') === '' &&
  stringAt(pod, 'spec', 'schedulerName') === 'default-scheduler' &&
  !isTerminating(pod) &&
  !hasEnded(pod)

const isSchedulable = (node: JsonObject): boolean =>
  isReady(node) && !isTerminating(node) && objectAt(node, 'spec')['unschedulable'] !== true

/** The name of the node for a pod, or undefined when none fits. `placed` are the pods that have a node. */
export function chooseNode(
  pod: JsonObject,
  nodes: readonly JsonObject[],
  placed: readonly JsonObject[],
): string | undefined {
  const owner = stringAt(objectsAt(pod, 'metadata', 'ownerReferences')[0], 'uid')
  const load = (node: string): readonly [number, number] => {
    const there = placed.filter((each) => stringAt(each, 'spec', 'nodeName') === node)
    const siblings = there.filter(
      (each) => stringAt(objectsAt(each, 'metadata', 'ownerReferences')[0], 'uid') === owner,
    )
    return [owner === undefined ? 0 : siblings.length, there.length]
  }
  const fitting = nodes
    .filter((node) => fits(pod, node))
    .map((node) => stringAt(node, 'metadata', 'name') ?? '')
    .map((name) => ({ name, load: load(name) }))
  fitting.sort((a, b) => a.load[0] - b.load[0] || a.load[1] - b.load[1] || (a.name < b.name ? -1 : 1))
  return fitting[0]?.name
}

function fits(pod: JsonObject, node: JsonObject): boolean {
  const labels = objectAt(node, 'metadata', 'labels')
  const wanted = Object.entries(objectAt(pod, 'spec', 'nodeSelector'))
  if (!wanted.every(([key, value]) => labels[key] === value)) return false
  const tolerations = objectsAt(pod, 'spec', 'tolerations')
  return objectsAt(node, 'spec', 'taints')
    .filter((taint) => stringAt(taint, 'effect') !== 'PreferNoSchedule')
    .every((taint) => tolerations.some((toleration) => tolerates(toleration, taint)))
}

function tolerates(toleration: JsonObject, taint: JsonObject): boolean {
  const effect = stringAt(toleration, 'effect') ?? ''
  if (effect !== '' && effect !== stringAt(taint, 'effect')) return false
  const key = stringAt(toleration, 'key') ?? ''
  if (key === '') return stringAt(toleration, 'operator') === 'Exists'
  if (key !== stringAt(taint, 'key')) return false
  const exists = stringAt(toleration, 'operator') === 'Exists'
  return exists || (stringAt(toleration, 'value') ?? '') === (stringAt(taint, 'value') ?? '')
}

function bind(objects: Objects, pod: JsonObject, node: string | undefined, now: string): JsonObject | undefined {
  const ref = {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: stringAt(pod, 'metadata', 'namespace') ?? '',
    name: stringAt(pod, 'metadata', 'name') ?? '',
  }
  if (node !== undefined) objects.update(ref, (at) => withValue(at, ['spec', 'nodeName'], node))
  const condition =
    node === undefined
      ? { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'no node is available for this pod' }
      : { type: 'PodScheduled', status: 'True' }
  return objects.update(ref, (at) => withCondition(at, condition, now), { subresource: 'status' })
}
