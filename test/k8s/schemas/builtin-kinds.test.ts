// Kubernetes' own kinds from raw objects: nothing is refused, what does not parse is skipped, what nobody reads is left behind.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Kind } from '../../../src/k8s/objects.ts'
import { type KindValues, parseObject } from '../../../src/k8s/schemas/parse.ts'

function value<K extends Kind>(kind: K, object: unknown): KindValues[K] {
  const parsed = parseObject(kind, object)
  if (parsed.type !== 'value') throw new Error(JSON.stringify(parsed))
  return parsed.value
}

const metadata = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: 'web',
  namespace: 'default',
  uid: 'u',
  resourceVersion: '7',
  creationTimestamp: '2026-01-01T00:00:00Z',
  ...more,
})

test('metadata: what matters is kept, what is large and of no use is not', () => {
  const { meta } = value('Service', {
    metadata: metadata({
      labels: { app: 'web' },
      annotations: { 'bellhop.io/pool': 'p', 'kubectl.kubernetes.io/last-applied-configuration': '{...}' },
      deletionTimestamp: '2026-01-02T00:00:00Z',
      finalizers: ['a/b'],
      managedFields: [{ manager: 'kubectl' }],
    }),
  })
  expect(meta).toEqual({
    namespace: 'default',
    name: 'web',
    uid: 'u',
    resourceVersion: '7',
    generation: 0,
    labels: { app: 'web' },
    annotations: { 'bellhop.io/pool': 'p' },
    creationTimestampMs: Date.UTC(2026, 0, 1),
    deleting: true,
    finalizers: ['a/b'],
  })
})

// As the API server writes it, for a set whose members have owners of their own.
const ownedFinalizers = (manager: string, ...finalizers: readonly string[]): Record<string, unknown> => ({
  ...{ manager, operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1' },
  fieldsV1: { 'f:metadata': { 'f:finalizers': Object.fromEntries(finalizers.map((name) => [`v:"${name}"`, {}])) } },
})
const cleanup = 'service.kubernetes.io/load-balancer-cleanup'

test.each<[string, readonly string[], unknown, true | undefined]>([
  ['ours', [cleanup], [ownedFinalizers('kubectl', 'a/b'), ownedFinalizers('bellhop-leader', cleanup)], true],
  ['of another', [cleanup], [ownedFinalizers('cloud-controller-manager', cleanup)], undefined],
  ['of another, who wrote beside us', [cleanup], [ownedFinalizers('bellhop-leader', 'a/b')], undefined],
  ['not there any more', ['a/b'], [ownedFinalizers('bellhop-leader', cleanup)], undefined],
  ['without an account', [cleanup], undefined, undefined],
  ['with an account of nonsense', [cleanup], [null, 7, { manager: 'bellhop-leader', fieldsV1: [] }], undefined],
])('the finalizer of load balancers: %s', (_, finalizers, managedFields, expected) => {
  const { finalizedByUs } = value('Service', { metadata: metadata({ finalizers, managedFields }) })
  expect(finalizedByUs).toBe(expected)
})

test('a dual-stack LoadBalancer Service in full', () => {
  const { meta: _meta, ...service } = value('Service', {
    metadata: metadata(),
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: 'bellhop.io/bgp',
      clusterIPs: ['10.96.0.10', 'fd00:0::10'],
      clusterIP: '10.96.0.10',
      ipFamilies: ['IPv4', 'IPv6'],
      ipFamilyPolicy: 'RequireDualStack',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 30500,
      ports: [
        { name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 },
        { port: 53, protocol: 'UDP' },
      ],
      selector: { app: 'web' },
      loadBalancerIP: '203.0.113.9',
      loadBalancerSourceRanges: ['10.1.2.3/8', ' 2001:db8::/32 ', 'nonsense'],
    },
    status: {
      loadBalancer: {
        ingress: [{ ip: '203.0.113.10', ipMode: 'VIP' }, { ip: '2001:DB8::1' }, { hostname: 'elb.example.com' }],
      },
      conditions: [
        { type: 'bellhop.io/Allocated', status: 'True', reason: 'R', message: 'm', lastTransitionTime: 't' },
      ],
    },
  })
  expect(service).toEqual({
    type: 'LoadBalancer',
    loadBalancerClass: 'bellhop.io/bgp',
    clusterIPs: ['10.96.0.10', 'fd00::10'],
    ipFamilies: ['IPv4', 'IPv6'],
    ipFamilyPolicy: 'RequireDualStack',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 30_500,
    ports: [
      { name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 },
      { name: '', protocol: 'UDP', port: 53, nodePort: 0 },
    ],
    selector: { app: 'web' },
    loadBalancerIP: '203.0.113.9',
    sourceRanges: ['10.0.0.0/8', '2001:db8::/32'],
    ingress: [{ ip: '203.0.113.10', ipMode: 'VIP' }, { ip: '2001:db8::1' }],
    conditions: [{ type: 'bellhop.io/Allocated', status: 'True', reason: 'R', message: 'm', lastTransitionTime: 't' }],
  })
})

test.each<[string, unknown, Partial<KindValues['Service']>]>([
  ['headless', { clusterIP: 'None', clusterIPs: ['None'] }, { clusterIPs: [], ipFamilies: [] }],
  ['from before dual stack', { clusterIP: 'fd00::10' }, { clusterIPs: ['fd00::10' as never], ipFamilies: ['IPv6'] }],
  [
    'without anything',
    undefined,
    { type: 'ClusterIP', externalTrafficPolicy: 'Cluster', ipFamilyPolicy: 'SingleStack', ports: [] },
  ],
])('a Service %s', (_what, spec, expected) => {
  expect(value('Service', { metadata: metadata(), spec })).toMatchObject(expected)
})

test('source ranges stood in an annotation before there was a field, which wins', () => {
  const annotations = { 'service.beta.kubernetes.io/load-balancer-source-ranges': '192.0.2.0/24, 2001:db8::/32' }
  const read = (spec: Record<string, unknown>) =>
    value('Service', { metadata: metadata({ annotations }), spec }).sourceRanges
  expect(read({})).toEqual(['192.0.2.0/24', '2001:db8::/32'])
  expect(read({ loadBalancerSourceRanges: ['10.0.0.0/8'] })).toEqual(['10.0.0.0/8'])
})

const slice = (more: Record<string, unknown>): Record<string, unknown> => ({
  metadata: metadata({
    name: 'web-abc',
    labels: { 'kubernetes.io/service-name': 'web' },
    annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': 't' },
  }),
  addressType: 'IPv4',
  ...more,
})

// conditions of the endpoint -> ready, serving, terminating
test.each<[unknown, boolean, boolean, boolean]>([
  [undefined, true, true, false],
  [{}, true, true, false],
  [{ ready: null, serving: null, terminating: null }, true, true, false],
  [{ ready: true }, true, true, false],
  [{ ready: false }, false, false, false],
  [{ ready: false, serving: true, terminating: true }, false, true, true],
  [{ ready: false, serving: false, terminating: true }, false, false, true],
  [{ ready: true, serving: false }, true, false, false],
])('endpoint conditions %j mean ready %s, serving %s, terminating %s', (conditions, ready, serving, terminating) => {
  const { endpoints } = value(
    'EndpointSlice',
    slice({ endpoints: [{ addresses: ['10.1.0.1'], conditions, nodeName: 'n1' }] }),
  )
  expect(endpoints).toEqual([{ address: '10.1.0.1', nodeName: 'n1', ready, serving, terminating }])
})

test('an endpoint has its first address, and one without any that parses is skipped', () => {
  const { endpoints, meta, service } = value(
    'EndpointSlice',
    slice({
      endpoints: [{ addresses: ['10.1.0.1', 'pod-1'] }, { addresses: ['010.1.0.1'] }, { addresses: null }, 'nonsense'],
    }),
  )
  expect(endpoints).toEqual([{ address: '10.1.0.1', ready: true, serving: true, terminating: false }])
  expect([meta.labels, meta.annotations, service]).toEqual([{}, {}, 'default/web'])
})

test.each<[string, Record<string, unknown>]>([
  ['of FQDN endpoints', { addressType: 'FQDN', endpoints: [{ addresses: ['example.com'] }] }],
  ['of no Service', { metadata: metadata({ labels: {} }) }],
])('a slice %s is neither a value nor a refusal', (_what, more) => {
  expect(parseObject('EndpointSlice', slice(more))).toEqual({ type: 'nothing' })
})

// status.conditions of a Node -> ready, networkUnavailable
test.each<[readonly (readonly [string, string])[], boolean, boolean]>([
  [[], true, false],
  [[['Ready', 'True']], true, false],
  [[['Ready', 'False']], false, false],
  [[['Ready', 'Unknown']], false, false],
  [
    [
      ['Ready', 'True'],
      ['NetworkUnavailable', 'True'],
    ],
    true,
    true,
  ],
  [[['NetworkUnavailable', 'False']], true, false],
])('a Node with conditions %j', (conditions, ready, networkUnavailable) => {
  const node = value('Node', {
    metadata: metadata({
      name: 'n1',
      namespace: undefined,
      labels: { rack: 'r1' },
      annotations: { 'csi.volume': 'x', 'bellhop.io/drain': 'true' },
    }),
    status: {
      addresses: [
        { type: 'Hostname', address: 'n1' },
        { type: 'ExternalIP', address: '198.51.100.1' },
        { type: 'InternalIP', address: '10.0.0.11' },
        { type: 'InternalIP', address: 'fd00::11' },
        { type: 'InternalIP', address: 'fe80::11' },
      ],
      conditions: conditions.map(([type, status]) => ({ type, status })),
    },
  })
  expect(node).toMatchObject({ ready, networkUnavailable, internalIPs: ['10.0.0.11', 'fd00::11'] })
  expect(node.meta).toMatchObject({
    namespace: '',
    labels: { rack: 'r1' },
    annotations: { 'bellhop.io/drain': 'true' },
  })
  expect(Object.keys(node.meta.annotations)).toHaveLength(1)
})

// Who has not been heard of is called Unknown by the node controller; who is not ready says False by itself.
test.each<[Readonly<Record<string, unknown>>, number | undefined]>([
  [{ status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }, undefined],
  [{ status: 'False', lastTransitionTime: '2026-01-01T00:00:00Z' }, undefined],
  [{ status: 'Unknown', lastTransitionTime: '1970-01-01T00:01:00Z' }, 60_000],
  [{ status: 'Unknown' }, 0],
  [{ status: 'Unknown', lastTransitionTime: 'yesterday' }, 0],
])('a Node whose condition Ready is %j is silent since %s', (condition, silentSinceMs) => {
  const status = { conditions: [{ type: 'Ready', ...condition }] }
  const node = value('Node', { metadata: metadata({ name: 'n1', namespace: undefined }), status })
  expect(node.silentSinceMs).toBe(silentSinceMs)
})

test('a Secret is bytes', () => {
  const { data } = value('Secret', { metadata: metadata(), data: { password: 'aHVudGVyMg==', binary: '/w==' } })
  expect([...data].map(([key, bytes]) => [key, [...bytes]])).toEqual([
    ['password', [...Buffer.from('hunter2')]],
    ['binary', [255]],
  ])
})

test('no JSON at all makes a parser throw', () => {
  const kinds: readonly Kind[] = [
    'Service',
    'EndpointSlice',
    'Node',
    'Namespace',
    'Secret',
    'BgpConf',
    'BgpPeer',
    'VipPool',
    'Vip',
    'BgpPolicy',
  ]
  // Objects that use the real field names, with anything in them.
  const key = fc.constantFrom(
    'metadata',
    'spec',
    'status',
    'name',
    'labels',
    'annotations',
    'finalizers',
    'address',
    'asn',
    'timers',
    'addresses',
    'exclude',
    'endpoints',
    'conditions',
    'ports',
    'clusterIPs',
    'ingress',
    'loadBalancer',
    'communities',
    'services',
    'hold',
    'until',
    'data',
    'addressType',
    'bfd',
    'nodeSelector',
    'matchLabels',
    'matchExpressions',
    'kubernetes.io/service-name',
  )
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<unknown>(null, true, 0, -1, 1e300, '', '10.0.0.1', '203.0.113.0/24', 'IPv4', 'x'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 6 }),
    ),
  }))
  fc.assert(
    fc.property(fc.constantFrom(...kinds), tree, fc.boolean(), (kind, object, named) => {
      const raw = named && typeof object === 'object' ? { ...object, metadata: { name: 'x' } } : object
      expect(['value', 'refusal', 'nothing', 'garbage']).toContain(parseObject(kind, raw).type)
    }),
    { numRuns: 3_000 },
  )
})
