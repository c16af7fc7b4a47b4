// The judge of the chaos, judged: each kind of thing that it must find, planted once beside a cluster with which nothing is wrong. The
// chaos itself is `make chaos`, and not one of the tests.

import { describe, expect, test } from 'vitest'
import { type JsonObject, withValue } from '../../../src/lab/apiserver/json.ts'
import {
  bookkeepingProblems,
  type ClusterObjects,
  expectedRoutes,
  sharedAddresses,
  statusProblems,
} from './expected.ts'

const cleanup = 'service.kubernetes.io/load-balancer-cleanup'

const service: JsonObject = {
  metadata: { name: 'web', namespace: 'default', uid: 'u1', finalizers: [cleanup], annotations: {} },
  spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ipFamilies: ['IPv4'] },
  status: {
    loadBalancer: { ingress: [{ ip: '203.0.113.10' }] },
    conditions: [
      { type: 'bellhop.io/Allocated', status: 'True', reason: 'Allocated', message: '' },
      { type: 'bellhop.io/Announced', status: 'True' },
    ],
  },
}

const vip: JsonObject = {
  metadata: { name: '203.0.113.10' },
  spec: { address: '203.0.113.10', services: [{ namespace: 'default', name: 'web', uid: 'u1' }] },
  status: {
    nextHops: [{ node: 'n1', address: '10.0.0.11' }],
    announcedTo: ['leaf1'],
    conditions: [{ type: 'Announced', status: 'True' }],
  },
}

const node = (number: number): JsonObject => ({
  metadata: { name: `n${number}`, labels: {}, annotations: {} },
  status: {
    addresses: [{ type: 'InternalIP', address: `10.0.0.1${number}` }],
    conditions: [{ type: 'Ready', status: 'True' }],
  },
})

const endpoint = (number: number, conditions: JsonObject): JsonObject => ({ nodeName: `n${number}`, conditions })

const slice = (...endpoints: readonly JsonObject[]): JsonObject => ({
  metadata: { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  endpoints,
})

const ready = { ready: true, serving: true, terminating: false }
const unready = { ready: false, serving: false, terminating: false }
const ending = { ready: false, serving: true, terminating: true }

const quiet: ClusterObjects = {
  services: [service],
  slices: [slice(endpoint(1, ready), endpoint(2, unready))],
  nodes: [node(1), node(2)],
  vips: [vip],
  pools: [],
}

const hopsOf = (cluster: Partial<ClusterObjects>): string =>
  [...expectedRoutes({ ...quiet, ...cluster })].map(([address, hops]) => `${address} via ${hops.join()}`).join('; ')

describe('The routes that must be', () => {
  test.each<[string, Partial<ClusterObjects>, string]>([
    ['the node with the ready endpoint', {}, '203.0.113.10 via 10.0.0.11'],
    ['both', { slices: [slice(endpoint(1, ready), endpoint(2, ready))] }, '203.0.113.10 via 10.0.0.11,10.0.0.12'],
    ['nobody is ready: no route', { slices: [slice(endpoint(1, unready))] }, ''],
    ['one that ends, as a last resort', { slices: [slice(endpoint(2, ending))] }, '203.0.113.10 via 10.0.0.12'],
    [
      'not beside one that is ready',
      { slices: [slice(endpoint(1, ready), endpoint(2, ending))] },
      '203.0.113.10 via 10.0.0.11',
    ],
    [
      'not through a node that is drained',
      { nodes: [withValue(node(1), ['metadata', 'annotations', 'bellhop.io/drain'], 'true')] },
      '',
    ],
    ['not through a node that is not Ready', { nodes: [withValue(node(1), ['status', 'conditions'], [])] }, ''],
    ['not through a node that is gone', { nodes: [node(2)] }, ''],
    [
      'all nodes where asked for',
      {
        services: [
          withValue(
            withValue(service, ['spec', 'externalTrafficPolicy'], 'Cluster'),
            ['metadata', 'annotations', 'bellhop.io/next-hops'],
            'AllNodes',
          ),
        ],
      },
      '203.0.113.10 via 10.0.0.11,10.0.0.12',
    ],
    ['not for another class', { services: [withValue(service, ['spec', 'loadBalancerClass'], 'example.com/x')] }, ''],
  ])('%s', (_, cluster, expected) => {
    expect(hopsOf(cluster)).toBe(expected)
  })
})

describe('What must be found', () => {
  const found = (cluster: Partial<ClusterObjects>): readonly string[] => {
    const all = { ...quiet, ...cluster }
    return [
      ...bookkeepingProblems(all),
      ...statusProblems(all, expectedRoutes(all), ['leaf1']),
      ...sharedAddresses(all.services),
    ]
  }
  const clusterIp = withValue(service, ['spec', 'type'], 'ClusterIP')
  const bare = withValue(clusterIp, ['status'], undefined)

  test('nothing in a cluster with which nothing is wrong', () => {
    expect(found({})).toEqual([])
  })

  test.each<[string, Partial<ClusterObjects>, string]>([
    ['a Vip that nobody has', { services: [] }, 'which is gone or not ours'],
    ['a Vip of one that left', { services: [bare] }, 'which is gone or not ours'],
    ['a finalizer of one that left', { services: [bare], vips: [] }, 'is not ours and has our finalizer'],
    ['an address of one that left', { services: [clusterIp], vips: [] }, 'is not ours and shows 203.0.113.10'],
    [
      'a Service that does not go',
      { services: [withValue(service, ['metadata', 'deletionTimestamp'], '2026-01-01T00:00:00Z')] },
      'is still being deleted',
    ],
    ['an address without a Vip', { vips: [] }, 'shows 203.0.113.10 and has nothing recorded'],
    ['a missing finalizer', { services: [withValue(service, ['metadata', 'finalizers'], [])] }, 'not our finalizer'],
    [
      'a family without an address',
      { services: [withValue(service, ['spec', 'ipFamilies'], ['IPv4', 'IPv6'])] },
      'wants IPv4,IPv6, has 203.0.113.10',
    ],
    [
      'an address twice',
      { services: [service, withValue(service, ['metadata', 'name'], 'api')] },
      '203.0.113.10 is shown by default/web and default/api',
    ],
    [
      'a next hop too many in a status',
      { slices: [slice(endpoint(2, ready))] },
      'names 10.0.0.11 instead of 10.0.0.12',
    ],
    ['a status that speaks of routes that are not there', { slices: [] }, 'has Announced True'],
  ])('%s', (_, cluster, problem) => {
    expect(found(cluster).join('\n')).toContain(problem)
  })
})
