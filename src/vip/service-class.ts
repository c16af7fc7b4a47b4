// Whether a Service is ours to serve. Allocation and the plan ask the same question, so that an address is never kept for a
// Service that is not announced, or announced for one that is not allocated.

import type { Service } from '../k8s/objects.ts'
import type { ServiceClassRule } from './types.ts'

/** The finalizer that Kubernetes reserves for load balancers: the Service stays until its routes are withdrawn. */
export const loadBalancerFinalizer = 'service.kubernetes.io/load-balancer-cleanup'

export type NotServed = 'deleting' | 'not a LoadBalancer' | 'another load balancer class'

/** The annotation by which Porter and OpenELB were asked for: an alias of the default class where that one is not handled. */
const porterAnnotation = 'lb.kubesphere.io/v1alpha1'

/** Why `service` gets no address from us, or undefined when it is ours. */
export function notServedBecause(service: Service, rule: ServiceClassRule): NotServed | undefined {
  if (service.type !== 'LoadBalancer') return 'not a LoadBalancer'
  if (!isOurClass(service, rule)) return 'another load balancer class'
  return service.meta.deleting ? 'deleting' : undefined
}

function isOurClass(service: Service, rule: ServiceClassRule): boolean {
  if (service.loadBalancerClass !== undefined) return service.loadBalancerClass === rule.name
  if (rule.handleDefault) return true
  const asked = service.meta.annotations[porterAnnotation]
  return asked === 'openelb' || asked === 'porter'
}
