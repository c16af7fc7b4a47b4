import { expect, test } from 'vitest'
import { notServedBecause } from '../../src/vip/service-class.ts'
import type { ServiceClassRule } from '../../src/vip/types.ts'
import { type ServiceOver, service } from './cluster.ts'

const defaultToo: ServiceClassRule = { name: 'bellhop.io/bgp', handleDefault: true }
const onlyNamed: ServiceClassRule = { name: 'bellhop.io/bgp', handleDefault: false }

// api.md, "On Services and Nodes": spec.loadBalancerClass; behaviour.md has no other rule for who is served.
test.each<[string, ServiceOver, ServiceClassRule, ReturnType<typeof notServedBecause>]>([
  ['no class', {}, defaultToo, undefined],
  ['no class, and classless Services are not ours', {}, onlyNamed, 'another load balancer class'],
  ['our class', { loadBalancerClass: 'bellhop.io/bgp' }, onlyNamed, undefined],
  ['another class', { loadBalancerClass: 'metallb.io/metallb' }, defaultToo, 'another load balancer class'],
  ['the annotation of OpenELB', { annotations: { 'lb.kubesphere.io/v1alpha1': 'openelb' } }, onlyNamed, undefined],
  ['the annotation of Porter', { annotations: { 'lb.kubesphere.io/v1alpha1': 'porter' } }, onlyNamed, undefined],
  [
    'that annotation with another value',
    { annotations: { 'lb.kubesphere.io/v1alpha1': 'f5' } },
    onlyNamed,
    'another load balancer class',
  ],
  [
    'that annotation and another class',
    { annotations: { 'lb.kubesphere.io/v1alpha1': 'porter' }, loadBalancerClass: 'f5' },
    onlyNamed,
    'another load balancer class',
  ],
  ['type ClusterIP', { type: 'ClusterIP' }, defaultToo, 'not a LoadBalancer'],
  ['being deleted', { meta: { deleting: true } }, defaultToo, 'deleting'],
])('a Service with %s', (_, over, rule, expected) => {
  expect(notServedBecause(service('web', over), rule)).toBe(expected)
})
