// What speaks against a node as next hop of one VIP, though it hosts endpoints that count: its rules are not in place yet, or a
// Service's own health check says no. Both are seen on the nodes and come and go without any object changing.

import type { NamespacedName } from '../k8s/objects.ts'
import { type Dataplane, dataplaneChanges, openDataplane, waitingFor, waitsForRules } from './dataplane.ts'

/**
 * What the Services' health checks (spec.healthCheckNodePort) say against nodes: by Service, then by node, the words for operators,
 * continuing "node n1 ...". Services that ask for no such opinion are absent. Another inner map whenever it changed.
 */
export type HealthChecks = ReadonlyMap<NamespacedName, ReadonlyMap<string, string>>

/** What was seen on the nodes. */
export interface NodeReports {
  readonly dataplane: Dataplane
  readonly healthChecks: HealthChecks
}

export const noReports: NodeReports = { dataplane: openDataplane, healthChecks: new Map() }

/** What speaks against a node, as a question; undefined when nothing speaks against any. */
export function objectionsTo(
  vip: string,
  services: readonly NamespacedName[],
  { dataplane, healthChecks }: NodeReports,
): ((node: string) => string | undefined) | undefined {
  const isWaitedFor = waitingFor(vip, dataplane)
  const checks = services.flatMap((service) => healthChecks.get(service) ?? [])
  if (isWaitedFor === undefined && checks.length === 0) return undefined
  return (node) => {
    if (isWaitedFor?.(node) === true) return waitsForRules
    for (const against of checks) {
      const because = against.get(node)
      if (because !== undefined) return because
    }
    return undefined
  }
}

/** For whom two reports may answer differently. */
export interface ReportChanges {
  readonly vips: ReadonlySet<string>
  readonly nodes: ReadonlySet<string>
  readonly services: ReadonlySet<NamespacedName>
}

export function reportChanges(before: NodeReports, after: NodeReports): ReportChanges {
  const services = new Set<NamespacedName>()
  for (const service of [...before.healthChecks.keys(), ...after.healthChecks.keys()])
    if (before.healthChecks.get(service) !== after.healthChecks.get(service)) services.add(service)
  return { ...dataplaneChanges(before.dataplane, after.dataplane), services }
}
