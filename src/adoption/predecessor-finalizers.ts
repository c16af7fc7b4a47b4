// Finalizers that OpenELB and Porter leave behind when they go: nobody would ever remove them, and what carries them could not be
// deleted any more. Taken over only by who was asked to adopt, because a predecessor that still runs needs its own.

import { asList, asObject, type RawObject } from '../k8s/json.ts'
import type { Service } from '../k8s/objects.ts'
import { loadBalancerFinalizer, notServedBecause } from '../vip/service-class.ts'
import type { ServiceClassRule } from '../vip/types.ts'

const onServices: ReadonlySet<string> = new Set([
  'finalizer.lb.kubesphere.io/v1alpha1',
  'node-proxy.openelb.kubesphere.io/finalizer',
])

/** On Eips: of the allocator, and of the agent of each node. On BgpConfs and BgpPeers: of the controller. */
const isOnObjects = (finalizer: string): boolean =>
  finalizer === 'finalizer.ipam.kubesphere.io/v1alpha1' || finalizer.startsWith('finalizer.lb.kubesphere.io/')

/**
 * The finalizers that a Service keeps, or undefined when nothing is to be removed: those of others, and ours. One that is ours to
 * serve carries our own first, so that it never goes without any.
 */
export function keptFinalizers(service: Service, rule: ServiceClassRule): readonly string[] | undefined {
  const { finalizers, deleting } = service.meta
  if (!finalizers.some((finalizer) => onServices.has(finalizer))) return undefined
  const because = notServedBecause(service, rule)
  if (because === 'another load balancer class') return undefined
  if (because === undefined && service.ingress.length > 0 && !finalizers.includes(loadBalancerFinalizer))
    return undefined
  // Of type LoadBalancer no more: the predecessor let go of it long ago, or never will.
  if (because === 'not a LoadBalancer' && !deleting) return undefined
  return finalizers.filter((finalizer) => !onServices.has(finalizer))
}

/** The same for a foreign object: only when it is being deleted, for until then they hold up nothing. */
export function keptOnObject(raw: RawObject): readonly string[] | undefined {
  const metadata = asObject(raw['metadata'])
  const finalizers = (asList(metadata?.['finalizers']) ?? []).map(String)
  if (metadata?.['deletionTimestamp'] === undefined || !finalizers.some(isOnObjects)) return undefined
  return finalizers.filter((finalizer) => !isOnObjects(finalizer))
}
