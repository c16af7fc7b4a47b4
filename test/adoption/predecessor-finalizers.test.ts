// Which finalizers of a predecessor go, and when.

import { expect, test } from 'vitest'
import { keptFinalizers, keptOnObject } from '../../src/adoption/predecessor-finalizers.ts'
import { meta, type ServiceOver, service } from '../vip/cluster.ts'

const ours = 'service.kubernetes.io/load-balancer-cleanup'
const theirs = 'finalizer.lb.kubesphere.io/v1alpha1'
const rule = { name: 'bellhop.io/bgp', handleDefault: true }

test.each<[string, readonly string[], ServiceOver & { readonly deleting?: true }, readonly string[] | undefined]>([
  ['one that we serve loses theirs', [ours, theirs], { ingress: ['192.0.2.1'] }, [ours]],
  ['others stay', ['example.com/x', ours, theirs], { ingress: ['192.0.2.1'] }, ['example.com/x', ours]],
  ['but not before it has ours', [theirs], { ingress: ['192.0.2.1'] }, undefined],
  ['one without an address needs none', [theirs], {}, []],
  ['one that is being deleted is let go', [theirs], { deleting: true }, []],
  ['one of another class is not touched', [theirs], { loadBalancerClass: 'example.com/other' }, undefined],
  ['one of another type keeps it until it is deleted', [theirs], { type: 'ClusterIP' }, undefined],
  ['one without it has nothing to lose', [ours], {}, undefined],
])('of a Service: %s', (_what, finalizers, { deleting, ...over }, kept) => {
  const of = service('web', { ...over, meta: { ...meta('web'), finalizers, deleting: deleting ?? false } })
  expect(keptFinalizers(of, rule)).toEqual(kept)
})

test.each([
  ['stays while nobody deletes it', ['finalizer.ipam.kubesphere.io/v1alpha1'], undefined, undefined],
  [
    'is let go by the allocator and the agents',
    ['finalizer.ipam.kubesphere.io/v1alpha1', 'finalizer.lb.kubesphere.io/node1'],
    'now',
    [],
  ],
  ['keeps what others wait for', ['example.com/x', 'finalizer.ipam.kubesphere.io/v1alpha1'], 'now', ['example.com/x']],
  ['without finalizers is none of our business', ['example.com/x'], 'now', undefined],
] as const)('an Eip %s', (_what, finalizers, deletionTimestamp, kept) => {
  const metadata = { name: 'eip-1', finalizers, ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }) }
  expect(keptOnObject({ kind: 'Eip', metadata })).toEqual(kept)
})
