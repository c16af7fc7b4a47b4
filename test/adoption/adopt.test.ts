// Foreign objects as if they were ours: names, ages, versions, and what happens when two products claim one name.

import { expect, test } from 'vitest'
import { adopt, isAdopted } from '../../src/adoption/adopt.ts'
import type { RawObject } from '../../src/k8s/json.ts'

const eip = (name: string, address: string, over: RawObject = {}): RawObject => ({
  apiVersion: 'network.kubesphere.io/v1alpha2',
  kind: 'Eip',
  metadata: { name, creationTimestamp: '2021-05-01T00:00:00Z', ...over },
  spec: { address },
})
const pool = (name: string, address: string): RawObject => ({
  apiVersion: 'metallb.io/v1beta1',
  kind: 'IPAddressPool',
  metadata: { name, namespace: 'metallb-system', creationTimestamp: '2022-01-01T00:00:00Z' },
  spec: { addresses: [address] },
})
const names = (objects: readonly RawObject[]): readonly string[] =>
  objects.map(({ kind, metadata }) => `${kind} ${(metadata as { readonly name: string }).name}`)

test('an Eip stands in as a VipPool of its name, its age and a word on where it is from', () => {
  const { objects } = adopt([eip('eip-1', '192.0.2.0/28')], ['openelb'])
  expect(objects).toMatchObject([
    {
      apiVersion: 'bellhop.io/v1alpha1',
      kind: 'VipPool',
      metadata: {
        name: 'eip-1',
        creationTimestamp: '2021-05-01T00:00:00Z',
        annotations: { 'bellhop.io/adopted-from': 'OpenELB Eip eip-1' },
      },
      spec: { addresses: ['192.0.2.0/28'] },
    },
  ])
  const [object] = objects
  expect(isAdopted(object?.['metadata'] as { readonly uid: string })).toBe(true)
})

test('what is being deleted is gone already', () => {
  const { objects } = adopt([eip('eip-1', '192.0.2.0/28', { deletionTimestamp: '2026-01-01T00:00:00Z' })], ['openelb'])
  expect(objects).toEqual([])
})

test('only the products that were named are read', () => {
  const both = [eip('eip-1', '192.0.2.0/28'), pool('pool-1', '198.51.100.0/28')]
  expect(names(adopt(both, ['openelb']).objects)).toEqual(['VipPool eip-1'])
  expect(names(adopt(both, ['metallb']).objects)).toContain('VipPool pool-1')
  expect(names(adopt(both, ['metallb']).objects)).not.toContain('VipPool eip-1')
})

test.each([
  [['openelb', 'metallb'], '192.0.2.0/28'],
  [['metallb', 'openelb'], '198.51.100.0/28'],
] as const)('of two that claim one name the first of %j wins', (products, address) => {
  const { objects } = adopt([eip('web', '192.0.2.0/28'), pool('web', '198.51.100.0/28')], products)
  const pools = objects.filter(({ kind }) => kind === 'VipPool')
  expect(pools).toMatchObject([{ metadata: { name: 'web' }, spec: { addresses: [address] } }])
})

test('of an object in both versions of OpenELB the newer counts, unless Porter wrote it', () => {
  const peer = (version: string, spec: RawObject): RawObject => ({
    apiVersion: `network.kubesphere.io/${version}`,
    kind: 'BgpPeer',
    metadata: { name: 'leaf1' },
    spec,
  })
  const conf = {
    apiVersion: 'network.kubesphere.io/v1alpha2',
    kind: 'BgpConf',
    metadata: { name: 'default' },
    spec: { as: 65000 },
  }
  const porters = { config: { neighborAddress: '10.0.0.1', peerAs: 65001 } }
  const openElbs = { conf: { neighborAddress: '10.0.0.2', peerAs: 65002 } }
  const addressOf = (older: RawObject, newer: RawObject): unknown =>
    adopt([conf, peer('v1alpha2', newer), peer('v1alpha1', older)], ['openelb'])
      .objects.filter(({ kind }) => kind === 'BgpPeer')
      .map(({ spec }) => (spec as RawObject)['address'])
  expect(addressOf({}, openElbs)).toEqual(['10.0.0.2'])
  expect(addressOf(porters, {})).toEqual(['10.0.0.1'])
})

test('what does not carry over is told with the object and the field', () => {
  const { notes } = adopt([eip('eip-1', 'nonsense')], ['openelb'])
  expect(notes).toMatchObject([{ title: 'OpenELB Eip eip-1', level: 'problem', path: 'spec.address' }])
})
