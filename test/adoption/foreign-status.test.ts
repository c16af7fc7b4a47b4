// What users of the other product go on seeing.

import { expect, test } from 'vitest'
import { foreignStatus, type PoolFacts, shows } from '../../src/adoption/foreign-status.ts'
import { pool, service, vip } from '../vip/cluster.ts'

const facts = (over: Partial<PoolFacts> = {}): PoolFacts => ({
  pool: pool('eip-1', ['192.0.2.10-192.0.2.13']),
  usage: { pool: 'eip-1', total: 4n, used: 1, held: 0, available: 3n, overlaps: [], occupied: new Map() },
  vips: [vip('192.0.2.10', [service('web'), service('shop/api')])],
  ...over,
})

test('an Eip says which address is whose', () => {
  expect(foreignStatus({ kind: 'Eip', apiVersion: 'network.kubesphere.io/v1alpha2' }, facts())).toEqual({
    occupied: false,
    usage: 1,
    poolSize: 4,
    used: { '192.0.2.10': 'default/web;shop/api' },
    firstIP: '192.0.2.10',
    lastIP: '192.0.2.13',
    ready: true,
    v4: true,
  })
})

test('an EIP of Porter says whether it is full', () => {
  const full = facts({
    usage: { pool: 'eip-1', total: 4n, used: 4, held: 0, available: 0n, overlaps: [], occupied: new Map() },
  })
  expect(foreignStatus({ kind: 'Eip', apiVersion: 'network.kubesphere.io/v1alpha1' }, full)).toEqual({
    occupied: true,
    usage: 1,
    poolSize: 4,
  })
})

test('an IPAddressPool counts its families, and clamps what JSON can not hold', () => {
  const dual = facts({
    pool: pool('p', ['192.0.2.0/30', '2001:db8::/64']),
    vips: [vip('2001:db8::1', [service('web')])],
  })
  expect(foreignStatus({ kind: 'IPAddressPool', apiVersion: 'metallb.io/v1beta1' }, dual)).toEqual({
    assignedIPv4: 0,
    assignedIPv6: 1,
    availableIPv4: 4,
    availableIPv6: Number.MAX_SAFE_INTEGER,
  })
})

test('kinds without such a status get none', () => {
  expect(foreignStatus({ kind: 'BGPPeer', apiVersion: 'metallb.io/v1beta2' }, facts())).toBeUndefined()
})

test.each([
  [{ usage: 1, used: { b: '2', a: '1' }, other: true }, true],
  [{ usage: 1, used: { a: '1' } }, false],
  [{ usage: 2, used: { a: '1', b: '2' } }, false],
  [undefined, false],
] as const)('%j shows what is wanted: %s', (status, expected) => {
  expect(shows(status, { usage: 1, used: { a: '1', b: '2' } })).toBe(expected)
})
