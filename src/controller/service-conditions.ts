// The condition `bellhop.io/Announced` on Services. A Service's status belongs to many, so it is patched and not applied, and its
// pace is bounded like that of our own statuses: overall, and more and more rarely for a Service that keeps changing.

import type { ClusterView, NamespacedName } from '../k8s/objects.ts'
import type { ServiceWriter } from '../k8s/service-writer.ts'
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

interface Pace {
  readonly service: NamespacedName
  readonly lastMs: number
  readonly intervalMs: number
}

const rate = { perSecond: 50, burst: 100 }
const intervalMinMs = 1_000
const intervalMaxMs = 30_000

export function createServiceConditions({ write, view, clock, log }: ServiceConditionsOptions): ServiceConditions {
  const bucket = createTokenBucket(rate, clock)
  const paces = new Map<string, Pace>()

  const paceOf = (service: NamespacedName, uid: string, nowMs: number): Pace => {
    const before = paces.get(uid)
    // Quiet for twice its interval: the Service has settled.
    if (before === undefined || nowMs - before.lastMs > 2 * before.intervalMs + intervalMinMs)
      return { service, lastMs: nowMs, intervalMs: intervalMinMs }
    return { service, lastMs: nowMs, intervalMs: Math.min(intervalMaxMs, before.intervalMs * 2) }
  }

  return {
    write: async (differing) => {
      let nextMs: number | undefined
      const later = (ms: number): void => {
        nextMs = Math.min(nextMs ?? Number.POSITIVE_INFINITY, ms)
      }
      const { services } = view()
      for (const [uid, { service }] of paces) if (services.get(service)?.meta.uid !== uid) paces.delete(uid)
      for (const { service, uid, resourceVersion, condition } of differing) {
        const nowMs = clock.monotonicMs()
        const pace = paces.get(uid)
        const waitMs = pace === undefined ? 0 : pace.lastMs + pace.intervalMs - nowMs
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
        paces.set(uid, paceOf(service, uid, nowMs))
        if (!result.ok) {
          const { status, reason, message } = result.error
          log.debug({ event: 'service-condition-not-written', service, status, reason, message })
          later(intervalMinMs)
        }
      }
      return nextMs
    },
  }
}
