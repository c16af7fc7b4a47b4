// A node whose kubelet no longer renews its Lease is not Ready but Unknown, and neither are its pods. Nodes without a Lease are
// left alone: somebody else says how they are. Also removes pods that wait for a kubelet that will never come.

import { type Cluster, nowText } from '../cluster.ts'
import { type JsonObject, objectsAt, stringAt, withValue } from '../json.ts'
import { Objects } from '../objects.ts'
import { conditionOf, isReady, isTerminating, withCondition } from './pods.ts'
import { runReconciler } from './reconciler.ts'

export interface NodeLifecycleOptions {
  /** How long a Lease may stay as it is; a real cluster waits 40 s. */
  readonly leaseGraceMs: number
}

interface Renewal {
  readonly renewTime: string
  /** When this controller saw it, by its own monotonic clock: kubelets' clocks do not matter. */
  readonly seenMs: number
}

const unreachable = 'node.kubernetes.io/unreachable'

/** Returns the function that stops it. */
export function runNodeLifecycle(cluster: Cluster, { leaseGraceMs }: NodeLifecycleOptions): () => void {
  const objects = new Objects(cluster)
  const renewals = new Map<string, Renewal>()
  return runReconciler(cluster, {
    watches: {
      '/nodes': (node) => [node.name],
      'coordination.k8s.io/leases': (lease) => (lease.namespace === 'kube-node-lease' ? [lease.name] : []),
      '/pods': (pod) => (isTerminating(pod.object) ? [stringAt(pod.object, 'spec', 'nodeName') ?? ''] : []),
    },
    reconcile: (name) => {
      const node = objects.get({ apiVersion: 'v1', kind: 'Node', name })
      if (node === undefined) {
        renewals.delete(name)
        removeAbandonedPods(objects, name)
        return undefined
      }
      if (isReady(node)) untaint(objects, name, node)
      const lease = objects.get({
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        namespace: 'kube-node-lease',
        name,
      })
      const renewTime = stringAt(lease, 'spec', 'renewTime')
      if (renewTime === undefined) return undefined
      const known = renewals.get(name)
      const renewal = known?.renewTime === renewTime ? known : { renewTime, seenMs: cluster.clock.monotonicMs() }
      renewals.set(name, renewal)
      const left = renewal.seenMs + leaseGraceMs - cluster.clock.monotonicMs()
      if (left > 0) return left
      markLost(objects, name, node, nowText(cluster))
      return undefined
    },
  })
}

function markLost(objects: Objects, name: string, node: JsonObject, now: string): void {
  if (stringAt(conditionOf(node, 'Ready'), 'status') !== 'Unknown') {
    const types = new Set([
      'Ready',
      ...objectsAt(node, 'status', 'conditions').map((condition) => stringAt(condition, 'type') ?? ''),
    ])
    const lost = [...types].reduce(
      (at, type) =>
        withCondition(
          at,
          { type, status: 'Unknown', reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.' },
          now,
        ),
      node,
    )
    objects.update({ apiVersion: 'v1', kind: 'Node', name }, () => lost, { subresource: 'status' })
    taint(objects, name, now)
  }
  for (const pod of podsOn(objects, name))
    if (isReady(pod))
      objects.update(
        refOf(pod),
        (at) =>
          withCondition(
            at,
            { type: 'Ready', status: 'False', reason: 'NodeNotReady', message: 'Node is not ready' },
            now,
          ),
        { subresource: 'status' },
      )
}

const taintsOf = (node: JsonObject): readonly JsonObject[] => objectsAt(node, 'spec', 'taints')

function taint(objects: Objects, name: string, now: string): void {
  objects.update({ apiVersion: 'v1', kind: 'Node', name }, (node) => {
    const others = taintsOf(node).filter((each) => stringAt(each, 'key') !== unreachable)
    const added = ['NoSchedule', 'NoExecute'].map((effect) => ({ key: unreachable, effect, timeAdded: now }))
    return withValue(node, ['spec', 'taints'], [...others, ...added])
  })
}

function untaint(objects: Objects, name: string, node: JsonObject): void {
  if (!taintsOf(node).some((each) => stringAt(each, 'key') === unreachable)) return
  objects.update({ apiVersion: 'v1', kind: 'Node', name }, (at) => {
    const others = taintsOf(at).filter((each) => stringAt(each, 'key') !== unreachable)
    return withValue(at, ['spec', 'taints'], others.length === 0 ? undefined : others)
  })
}

const podsOn = (objects: Objects, node: string): readonly JsonObject[] =>
  objects.list('v1', 'Pod').filter((pod) => stringAt(pod, 'spec', 'nodeName') === node)

const refOf = (pod: JsonObject): { apiVersion: string; kind: string; namespace: string; name: string } => ({
  apiVersion: 'v1',
  kind: 'Pod',
  namespace: stringAt(pod, 'metadata', 'namespace') ?? '',
  name: stringAt(pod, 'metadata', 'name') ?? '',
})

function removeAbandonedPods(objects: Objects, node: string): void {
  if (node === '') return
  for (const pod of podsOn(objects, node)) objects.delete(refOf(pod), { gracePeriodSeconds: 0 })
}
