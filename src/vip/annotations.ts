// The annotations that a Service may carry, and what is wrong with those that it does: a key that nobody reads, or a value that means
// nothing, would otherwise be found out by whoever wonders why nothing changed. Nothing is refused for it.

import type { Service } from '../k8s/objects.ts'

export const poolAnnotation = 'bellhop.io/pool'
export const ipsAnnotation = 'bellhop.io/ips'
export const shareAnnotation = 'bellhop.io/share'
export const endpointPolicyAnnotation = 'bellhop.io/endpoint-policy'
export const nextHopsAnnotation = 'bellhop.io/next-hops'
export const healthCheckAnnotation = 'bellhop.io/health-check'

/** What may be written; empty = any text, which is judged where it is used. */
const values: ReadonlyMap<string, readonly string[]> = new Map([
  [poolAnnotation, []],
  [ipsAnnotation, []],
  [shareAnnotation, []],
  [endpointPolicyAnnotation, ['Ready', 'Serving']],
  [nextHopsAnnotation, ['Endpoints', 'AllNodes']],
  [healthCheckAnnotation, ['NodePort']],
])

const known = [...values.keys()].join(', ')

/** Ours, or meant to be. */
const prefix = /^bellhop[^/]*\//

const noRemarks: readonly string[] = []

/** What to tell the author of a Service about its annotations, in a stable order; empty when all of them mean something. */
export function annotationRemarks({ meta, externalTrafficPolicy }: Service): readonly string[] {
  const ours = Object.keys(meta.annotations).filter((key) => prefix.test(key))
  if (ours.length === 0) return noRemarks
  return ours.sort().flatMap((key) => {
    const allowed = values.get(key)
    if (allowed === undefined) return [`annotation ${key} means nothing: there are ${known}`]
    const value = meta.annotations[key] ?? ''
    if (allowed.length > 0 && !allowed.includes(value))
      return [`annotation ${key} is ${JSON.stringify(value)}, which counts for nothing: write ${allowed.join(' or ')}`]
    const isLocal = externalTrafficPolicy === 'Local'
    if (key === healthCheckAnnotation && !isLocal)
      return [`annotation ${key} counts for nothing: it is for externalTrafficPolicy Local`]
    if (key === nextHopsAnnotation && value === 'AllNodes' && isLocal)
      return [`annotation ${key} counts for nothing: AllNodes is for externalTrafficPolicy Cluster`]
    return []
  })
}
