// The agent's answer to the controllers' BFD, by which they see within a second that the node is gone. Wiring of the keys, the
// controllers' Leases and the sessions.

import type { KubeClient } from '../k8s/client.ts'
import { watchHeartbeats } from '../k8s/heartbeat-watch.ts'
import type { BfdObservation } from '../liveness/bfd-core.ts'
import { createBfdHere } from '../liveness/bfd-here.ts'
import { answerControllers } from '../liveness/controller-answer.ts'
import { watchKeys } from '../liveness/key-watch.ts'
import { createSpeakUp } from '../liveness/speak-up.ts'
import {
  agentAnnotation,
  agentAnnotationValue,
  livenessPorts,
  speaksUpAnnotation,
} from '../liveness/watched-sessions.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Annotations } from './node-lease.ts'

export interface NodeLivenessOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
  /** Renews the Lease: what `annotations` says has changed. */
  readonly renew: () => void
}

export interface NodeLiveness {
  /** A controller is heard at this moment. */
  readonly hears: () => boolean
  readonly observe: () => Promise<BfdObservation | undefined>
  readonly annotations: () => Annotations
  /** Tells the controllers that the end is intended. */
  readonly stop: () => Promise<void>
}

/** Begins to answer. */
export function startNodeLiveness({ renew, ...base }: NodeLivenessOptions): NodeLiveness {
  const keys = watchKeys(base)
  keys.onChange(renew)
  const ports = { local: livenessPorts.agent, remote: livenessPorts.controller }
  const bfd = createBfdHere({ ...base, ports })
  const heartbeats = watchHeartbeats({ ...base, labelSelector: 'bellhop.io/role=controller' })
  const { hears } = answerControllers({ ...base, keys, heartbeats, bfd, onLoss: createSpeakUp({ ...base, renew }) })
  return {
    hears,
    observe: bfd.observe,
    annotations: () => ({
      [agentAnnotation]: agentAnnotationValue,
      [speaksUpAnnotation]: 'true',
      ...keys.annotations(),
    }),
    stop: bfd.stop,
  }
}
