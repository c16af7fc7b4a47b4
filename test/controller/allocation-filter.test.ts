import { describe, expect, test } from 'vitest'
import { createAllocationFilter } from '../../src/controller/allocation-filter.ts'
import type { ClusterChanges, ClusterView, Kind, Service, Vip, VipPool } from '../../src/k8s/objects.ts'
import { ip, node, peer, pool, service, view, vip } from '../vip/cluster.ts'

const address = ip('203.0.113.10')
const web = service('default/web', { ingress: [address] })
const recorded = vip(address, [web])

const changed = (kind: Kind, key: string): ClusterChanges => new Map([[kind, new Set([key])]])
const clusterOf = (services: readonly Service[], vips: readonly Vip[]): ClusterView =>
  view({ services, vips, pools: [pool('default', ['203.0.113.0/24'])] })

/** Whether the filter lets the step from one cluster to the next through. */
function concerns(before: ClusterView, after: ClusterView, changes: ClusterChanges): boolean {
  const filter = createAllocationFilter()
  filter.concerns(
    before,
    new Map([
      ['Service', new Set(before.services.keys())],
      ['Vip', new Set(before.vips.keys())],
    ]),
  )
  return filter.concerns(after, changes)
}

const cluster = clusterOf([web], [recorded])
const later = { resourceVersion: '2' }
const condition = (type: string): Service['conditions'][number] => ({
  type,
  status: 'True',
  reason: 'Because',
  message: '',
})

describe('a Service', () => {
  test.each<[string, Service, boolean]>([
    ['is written by us: its condition Announced', { ...web, conditions: [condition('bellhop.io/Announced')] }, false],
    ['is another version of the same', { ...web, meta: { ...web.meta, ...later } }, false],
    ['has another condition', { ...web, conditions: [condition('bellhop.io/Allocated')] }, true],
    ['asks for another address', { ...web, meta: { ...web.meta, annotations: { 'bellhop.io/ips': 'x' } } }, true],
    ['lost its address', { ...web, ingress: [] }, true],
    ['is being deleted', { ...web, meta: { ...web.meta, deleting: true } }, true],
  ])('%s', (_what, next, expected) => {
    expect(concerns(cluster, clusterOf([next], [recorded]), changed('Service', 'default/web'))).toBe(expected)
  })

  test('that is new or gone concerns allocation', () => {
    const empty = clusterOf([], [recorded])
    expect(concerns(empty, cluster, changed('Service', 'default/web'))).toBe(true)
    expect(concerns(cluster, empty, changed('Service', 'default/web'))).toBe(true)
  })
})

describe('a Vip', () => {
  test.each<[string, Vip, boolean]>([
    ['has another status', { ...recorded, status: { fingerprint: 'another', conditions: [] } }, false],
    ['is another version of the same', { ...recorded, meta: { ...recorded.meta, ...later } }, false],
    ['is claimed by nobody any more', { ...recorded, services: [] }, true],
    ['is being deleted', { ...recorded, meta: { ...recorded.meta, deleting: true } }, true],
  ])('%s', (_what, next, expected) => {
    expect(concerns(cluster, clusterOf([web], [next]), changed('Vip', address))).toBe(expected)
  })
})

describe('a VipPool', () => {
  const known = pool('default', ['203.0.113.0/24'])
  test.each<[string, VipPool, boolean]>([
    ['has another status', { ...known, status: { used: 1 } }, false],
    ['gives out nothing any more', { ...known, disabled: true }, true],
  ])('%s', (_what, next, expected) => {
    const filter = createAllocationFilter()
    filter.concerns(view({ pools: [known] }), changed('VipPool', 'default'))
    expect(filter.concerns(view({ pools: [next] }), changed('VipPool', 'default'))).toBe(expected)
  })
})

test.each<[Kind, boolean]>([
  ['Namespace', true],
  ['EndpointSlice', false],
])('any change of a %s: %s', (kind, expected) => {
  expect(concerns(cluster, cluster, changed(kind, 'x'))).toBe(expected)
})

test('what changed while nobody led is not forgotten: each change is compared with the one before it', () => {
  const filter = createAllocationFilter()
  const asked = { ...web, meta: { ...web.meta, annotations: { 'bellhop.io/pool': 'other' } } }
  filter.concerns(cluster, changed('Service', 'default/web'))
  filter.concerns(clusterOf([asked], [recorded]), changed('Service', 'default/web'))
  expect(filter.concerns(clusterOf([web], [recorded]), changed('Service', 'default/web'))).toBe(true)
})

test('a Node or a router that has another address concerns allocation, and not what else becomes of it', () => {
  const at = (address: string, ready: boolean): ClusterView => ({
    ...cluster,
    nodes: new Map([['node1', node('node1', [address], { ready })]]),
    bgpPeers: new Map([['leaf', peer('leaf', address)]]),
  })
  const filter = createAllocationFilter()
  const told = (view: ClusterView, kind: Kind, key: string): boolean => filter.concerns(view, changed(kind, key))
  expect(told(at('10.0.0.1', true), 'Node', 'node1')).toBe(true)
  expect(told(at('10.0.0.1', false), 'Node', 'node1')).toBe(false)
  expect(told(at('10.0.0.2', false), 'Node', 'node1')).toBe(true)
  expect(told(at('10.0.0.2', false), 'BgpPeer', 'leaf')).toBe(true)
  expect(told(at('10.0.0.2', true), 'BgpPeer', 'leaf')).toBe(false)
})
