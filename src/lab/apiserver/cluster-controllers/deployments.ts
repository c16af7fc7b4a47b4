// Deployments as pods: as many as asked for, of the present template; a changed template replaces them step by step within
// maxSurge and maxUnavailable. There are no ReplicaSets in between: the Deployment owns its pods.

import { createHash } from 'node:crypto'
import { type Cluster, nowText } from '../cluster.ts'
import { type Json, type JsonObject, jsonEqual, numberAt, objectAt, objectsAt, stringAt, withValue } from '../json.ts'
import { Objects } from '../objects.ts'
import type { Stored } from '../storage/stored.ts'
import { hasEnded, isReady, isTerminating, withCondition } from './pods.ts'
import { runReconciler } from './reconciler.ts'

const hashLabel = 'pod-template-hash'

/** Returns the function that stops it. */
export function runDeploymentController(cluster: Cluster): () => void {
  const objects = new Objects(cluster)
  return runReconciler(cluster, {
    watches: { 'apps/deployments': (deployment) => [deployment.key], '/pods': ownerKey },
    reconcile: (key) => {
      const stored = cluster.store.bucket('apps/deployments').get(key)
      if (stored === undefined || isTerminating(stored.object)) return undefined
      const pods = objects
        .list('v1', 'Pod', stored.namespace)
        .filter((pod) => isOwnedBy(pod, stored.uid) && !hasEnded(pod))
      if (objectAt(stored.object, 'spec')['paused'] !== true) step(objects, stored.object, pods)
      const after = objects
        .list('v1', 'Pod', stored.namespace)
        .filter((pod) => isOwnedBy(pod, stored.uid) && !hasEnded(pod))
      writeStatus(objects, stored.object, after, nowText(cluster))
      return undefined
    },
  })
}

const controllerOf = (object: JsonObject): JsonObject | undefined =>
  objectsAt(object, 'metadata', 'ownerReferences').find((owner) => owner['controller'] === true)

function ownerKey(pod: Stored): readonly string[] {
  const owner = controllerOf(pod.object)
  return stringAt(owner, 'kind') === 'Deployment' ? [`${pod.namespace}/${stringAt(owner, 'name') ?? ''}`] : []
}

const isOwnedBy = (pod: JsonObject, uid: string): boolean => stringAt(controllerOf(pod), 'uid') === uid

const templateHash = (deployment: JsonObject): string =>
  createHash('sha256')
    .update(JSON.stringify(objectAt(deployment, 'spec', 'template')))
    .digest('hex')
    .slice(0, 10)

const hashOf = (pod: JsonObject): string | undefined => stringAt(pod, 'metadata', 'labels', hashLabel)

/** A count or a percentage of `total`; percentages of surge are rounded up, those of unavailability down. */
export function absolute(value: Json | undefined, total: number, round: (n: number) => number): number {
  if (typeof value === 'number') return value
  const percent = typeof value === 'string' ? Number(value.replace('%', '')) : 25
  return round((percent * total) / 100)
}

// One step of a rollout; the changes it makes to pods bring the next one.
function step(objects: Objects, deployment: JsonObject, pods: readonly JsonObject[]): void {
  const replicas = numberAt(deployment, 'spec', 'replicas') ?? 1
  const hash = templateHash(deployment)
  const live = pods.filter((pod) => !isTerminating(pod))
  const current = live.filter((pod) => hashOf(pod) === hash)
  const old = live.filter((pod) => hashOf(pod) !== hash)
  const recreate = stringAt(deployment, 'spec', 'strategy', 'type') === 'Recreate'
  const rolling = objectAt(deployment, 'spec', 'strategy', 'rollingUpdate')
  const surge = recreate ? 0 : absolute(rolling['maxSurge'], replicas, Math.ceil)
  const unavailable = recreate ? replicas : absolute(rolling['maxUnavailable'], replicas, Math.floor)
  const room = recreate && old.length + pods.length - live.length > 0 ? 0 : replicas + surge - live.length
  for (let i = 0; i < Math.min(replicas - current.length, room); i++) createPod(objects, deployment, hash)
  const surplus = chooseSurplus(current, current.length - replicas)
  for (const pod of surplus) deletePod(objects, pod)
  // Old pods that are not ready cost nothing; ready ones go while enough others are.
  let ready = live.filter((pod) => isReady(pod) && !surplus.includes(pod)).length
  for (const pod of old.toSorted(leastUsefulFirst)) {
    if (isReady(pod)) {
      if (ready - 1 < replicas - Math.max(unavailable, surge === 0 ? 1 : 0)) continue
      ready -= 1
    }
    deletePod(objects, pod)
  }
}

// One after the other: a pod that is not ready, or else one from the node that has most of them.
function chooseSurplus(pods: readonly JsonObject[], count: number): readonly JsonObject[] {
  const chosen: JsonObject[] = []
  const nodeOf = (pod: JsonObject): string => stringAt(pod, 'spec', 'nodeName') ?? ''
  while (chosen.length < count) {
    const left = pods.filter((pod) => !chosen.includes(pod))
    const crowd = (pod: JsonObject): number => left.filter((each) => nodeOf(each) === nodeOf(pod)).length
    const [next] = left.toSorted((a, b) => leastUsefulFirst(a, b) || crowd(b) - crowd(a))
    if (next === undefined) break
    chosen.push(next)
  }
  return chosen
}

const leastUsefulFirst = (a: JsonObject, b: JsonObject): number => usefulness(a) - usefulness(b)
const usefulness = (pod: JsonObject): number =>
  isReady(pod) ? 2 : stringAt(pod, 'spec', 'nodeName') === undefined ? 0 : 1

function createPod(objects: Objects, deployment: JsonObject, hash: string): void {
  const template = objectAt(deployment, 'spec', 'template')
  const name = stringAt(deployment, 'metadata', 'name') ?? ''
  const labels = { ...objectAt(template, 'metadata', 'labels'), [hashLabel]: hash }
  objects.put({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${name}-${hash}-`,
      namespace: stringAt(deployment, 'metadata', 'namespace'),
      labels,
      annotations: objectAt(template, 'metadata', 'annotations'),
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          name,
          uid: stringAt(deployment, 'metadata', 'uid'),
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: template['spec'],
  })
}

function deletePod(objects: Objects, pod: JsonObject): void {
  objects.delete({
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: stringAt(pod, 'metadata', 'namespace') ?? '',
    name: stringAt(pod, 'metadata', 'name') ?? '',
  })
}

function writeStatus(objects: Objects, deployment: JsonObject, pods: readonly JsonObject[], now: string): void {
  const replicas = numberAt(deployment, 'spec', 'replicas') ?? 1
  const live = pods.filter((pod) => !isTerminating(pod))
  const ready = live.filter(isReady).length
  const updated = live.filter((pod) => hashOf(pod) === templateHash(deployment)).length
  const counts: Record<string, number> = {
    replicas: live.length,
    updatedReplicas: updated,
    readyReplicas: ready,
    availableReplicas: ready,
    unavailableReplicas: Math.max(0, Math.max(live.length, replicas) - ready),
  }
  const nonZero = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
  const unavailable = absolute(
    objectAt(deployment, 'spec', 'strategy', 'rollingUpdate')['maxUnavailable'],
    replicas,
    Math.floor,
  )
  const available = ready >= replicas - unavailable
  const complete = updated === replicas && live.length === replicas && ready === replicas
  const base: JsonObject = {
    ...deployment,
    status: {
      observedGeneration: objectAt(deployment, 'metadata')['generation'],
      ...nonZero,
      conditions: objectsAt(deployment, 'status', 'conditions'),
    },
  }
  const conditions: readonly JsonObject[] = [
    available
      ? {
          type: 'Available',
          status: 'True',
          reason: 'MinimumReplicasAvailable',
          message: 'Deployment has minimum availability.',
        }
      : {
          type: 'Available',
          status: 'False',
          reason: 'MinimumReplicasUnavailable',
          message: 'Deployment does not have minimum availability.',
        },
    complete
      ? {
          type: 'Progressing',
          status: 'True',
          reason: 'NewReplicaSetAvailable',
          message: 'All pods are of the present template.',
        }
      : { type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated', message: 'Pods are being replaced.' },
  ]
  const next = conditions.reduce((at, condition) => withCondition(at, condition, now), base)
  if (jsonEqual(next['status'], deployment['status'])) return
  objects.update(
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      namespace: stringAt(deployment, 'metadata', 'namespace') ?? '',
      name: stringAt(deployment, 'metadata', 'name') ?? '',
    },
    (at) => withValue(at, ['status'], next['status']),
    { subresource: 'status' },
  )
}
