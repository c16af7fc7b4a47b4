// The condition `bellhop.io/Announced` on Services. A Service's status belongs to many, so it is patched and not applied, and its
// pace is bounded like that of our own statuses: overall, and more and more rarely for a Service that keeps changing.

import type { ClusterView, NamespacedName } from '../k8s/objects.ts'
import type { ServiceWriter } from '../k8s/service-writer.ts'
import { dueAtMs, type Pace, paceAfter } from '../k8s/settling.ts'
import { createTokenBucket } from '../k8s/token-bucket.ts'
import type { ServiceCondition } from '../plan/report.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'

export interface ServiceConditionsOptions {
  readonly write: ServiceWriter['setServiceStatus']
  readonly view: () => ClusterView
  readonly clock: Clock
  readonly log: Log
}

export interface ServiceConditions {
  /** Writes those that are due. Returns the milliseconds until another one is, or undefined when none is left. */
  readonly write: (differing: readonly ServiceCondition[]) => Promise<number | undefined>
}

interface Written {
  readonly service: NamespacedName
  readonly pace: Pace
}

const rate = { perSecond: 50, burst: 100 }
const settle = { minMs: 1_000, maxMs: 30_000 }

export function createServiceConditions({ write, view, clock, log }: ServiceConditionsOptions): ServiceConditions {
  const bucket = createTokenBucket(rate, clock)
  /** By UID. */
  const written = new Map<string, Written>()

  return {
    write: async (differing) => {
      let nextMs: number | undefined
      const later = (ms: number): void => {
        nextMs = Math.min(nextMs ?? Number.POSITIVE_INFINITY, ms)
      }
      const { services } = view()
      for (const [uid, { service }] of written) if (services.get(service)?.meta.uid !== uid) written.delete(uid)
      for (const { service, uid, resourceVersion, condition } of differing) {
        const nowMs = clock.monotonicMs()
        const before = written.get(uid)?.pace
        const waitMs = before === undefined ? 0 : dueAtMs(before) - nowMs
        if (waitMs > 0) {
          later(waitMs)
          continue
        }
        if (!bucket.take()) {
          later(bucket.nextInMs())
          break
        }
        const ingress = services.get(service)?.ingress.map(({ ip }) => ip) ?? []
        const result = await write({ service, uid, resourceVersion, ingress, conditions: [condition] })
        written.set(uid, { service, pace: paceAfter(before, nowMs, settle) })
        if (!result.ok) {
          const { status, reason, message } = result.error
          log.debug({ event: 'service-condition-not-written', service, status, reason, message })
          later(settle.minMs)
        }
      }
      return nextMs
    },
  }
}
