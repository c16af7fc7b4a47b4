// What a kubelet reports about a pod: its addresses, its container, and the conditions from which endpoints are made. Pure.

import { asList, asObject, asText, identityOf, type RawObject } from '../../k8s/json.ts'
import type { DualStack, Families } from '../topology/addresses.ts'

/** What the lab kubelet needs to know of a pod's object. */
export interface PodFacts {
  readonly key: string
  readonly uid: string
  readonly deleting: boolean
  /** Bound on the time between SIGTERM and the end. */
  readonly gracePeriodSeconds: number
  readonly containerName: string
  readonly image: string
  readonly port: number
  /** What the annotation `lab.bellhop.io/ready` asks the pod's server to say; true without it. */
  readonly wantedReady: boolean
  /** What the object's condition Ready says: the cluster takes it away from pods of a silent node. */
  readonly saidReady: boolean
}

/** The annotation that makes a pod unready, as `kubectl annotate pod web-1 lab.bellhop.io/ready=false` does. */
const readyAnnotation = 'lab.bellhop.io/ready'
const defaultPort = 8080

/** Reads a pod. Pods without a port listen on 8080. */
export function podFacts(pod: RawObject): PodFacts {
  const { namespace, name, uid } = identityOf(pod)
  const metadata = asObject(pod['metadata'])
  const spec = asObject(pod['spec'])
  const container = asObject(asList(spec?.['containers'])?.[0])
  const port = asObject(asList(container?.['ports'])?.[0])?.['containerPort']
  const grace = metadata?.['deletionGracePeriodSeconds']
  return {
    key: `${namespace}/${name ?? ''}`,
    uid,
    deleting: metadata?.['deletionTimestamp'] !== undefined,
    gracePeriodSeconds: typeof grace === 'number' ? grace : 30,
    containerName: asText(container?.['name']) ?? 'main',
    image: asText(container?.['image']) ?? '',
    port: typeof port === 'number' ? port : defaultPort,
    wantedReady: asText(asObject(metadata?.['annotations'])?.[readyAnnotation]) !== 'false',
    saidReady: (asList(asObject(pod['status'])?.['conditions']) ?? []).some(
      (condition) => asObject(condition)?.['type'] === 'Ready' && asObject(condition)?.['status'] === 'True',
    ),
  }
}

export interface PodReport {
  readonly facts: PodFacts
  readonly address: DualStack
  readonly hostAddress: DualStack
  readonly families: Families
  readonly ready: boolean
  readonly restarts: number
  /** When the pod was started, and when its readiness changed last: `2026-01-01T00:00:00Z`. */
  readonly startedAt: string
  readonly readyChangedAt: string
}

/** The `status` of a running pod. */
export function podStatus({
  facts,
  address,
  hostAddress,
  families,
  ready,
  restarts,
  startedAt,
  readyChangedAt,
}: PodReport): RawObject {
  const condition = (type: string, holds: boolean, since: string): RawObject => ({
    type,
    status: holds ? 'True' : 'False',
    lastTransitionTime: since,
    ...(holds
      ? {}
      : { reason: 'ContainersNotReady', message: `containers with unready status: [${facts.containerName}]` }),
  })
  return {
    phase: 'Running',
    hostIP: hostAddress[families[0]],
    hostIPs: families.map((family) => ({ ip: hostAddress[family] })),
    podIP: address[families[0]],
    podIPs: families.map((family) => ({ ip: address[family] })),
    startTime: startedAt,
    conditions: [
      condition('PodScheduled', true, startedAt),
      condition('Initialized', true, startedAt),
      condition('ContainersReady', ready, readyChangedAt),
      condition('Ready', ready, readyChangedAt),
    ],
    containerStatuses: [
      {
        name: facts.containerName,
        image: facts.image,
        imageID: '',
        ready,
        started: true,
        restartCount: restarts,
        state: { running: { startedAt } },
      },
    ],
  }
}
