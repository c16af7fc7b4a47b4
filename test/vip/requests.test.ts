import { expect, test } from 'vitest'
import type { Service } from '../../src/k8s/objects.ts'
import { parseAddressRequest, wantedFamilies } from '../../src/vip/requests.ts'
import { type ServiceOver, service } from './cluster.ts'

const dual: ServiceOver = { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' }

interface Asked {
  readonly pool?: string
  readonly ips?: readonly string[]
  readonly share?: string
}

function asked(over: ServiceOver): Asked | string {
  const request = parseAddressRequest(service('web', over))
  if (!request.ok) return request.error.message
  const { pool, addresses, shareKey } = request.value
  return {
    ...(pool === undefined ? {} : { pool }),
    ...(addresses.size === 0 ? {} : { ips: [...addresses.values()] }),
    ...(shareKey === '' ? {} : { share: shareKey }),
  }
}

// Allocation 3, and the aliases of api.md.
test.each<[string, ServiceOver, Asked]>([
  ['nothing', {}, {}],
  ['bellhop.io/pool', { annotations: { 'bellhop.io/pool': 'gold' } }, { pool: 'gold' }],
  ['bellhop.io/ips', { annotations: { 'bellhop.io/ips': '203.0.113.10' } }, { ips: ['203.0.113.10'] }],
  [
    'bellhop.io/ips of both families',
    { ...dual, annotations: { 'bellhop.io/ips': '203.0.113.10, 2001:DB8::1' } },
    { ips: ['203.0.113.10', '2001:db8::1'] },
  ],
  ['bellhop.io/share', { annotations: { 'bellhop.io/share': 'dns' } }, { share: 'dns' }],
  ['spec.loadBalancerIP', { loadBalancerIP: '203.0.113.10' }, { ips: ['203.0.113.10'] }],
  [
    'both, and the same',
    { loadBalancerIP: '203.0.113.10', annotations: { 'bellhop.io/ips': '203.0.113.10' } },
    { ips: ['203.0.113.10'] },
  ],
  [
    'one of two in spec.loadBalancerIP',
    { ...dual, loadBalancerIP: '2001:db8::1', annotations: { 'bellhop.io/ips': '203.0.113.10,2001:db8::1' } },
    { ips: ['203.0.113.10', '2001:db8::1'] },
  ],
  [
    'metallb.io',
    {
      annotations: {
        'metallb.io/address-pool': 'gold',
        'metallb.io/loadBalancerIPs': '203.0.113.10',
        'metallb.io/allow-shared-ip': 'k',
      },
    },
    { pool: 'gold', ips: ['203.0.113.10'], share: 'k' },
  ],
  [
    'metallb.universe.tf',
    {
      annotations: {
        'metallb.universe.tf/address-pool': 'gold',
        'metallb.universe.tf/loadBalancerIPs': '203.0.113.10',
        'metallb.universe.tf/allow-shared-ip': 'k',
      },
    },
    { pool: 'gold', ips: ['203.0.113.10'], share: 'k' },
  ],
  [
    'both spellings of MetalLB: the newer one wins',
    { annotations: { 'metallb.io/address-pool': 'new', 'metallb.universe.tf/address-pool': 'old' } },
    { pool: 'new' },
  ],
  [
    'OpenELB',
    {
      annotations: {
        'eip.openelb.kubesphere.io/v1alpha2': 'gold',
        'eip.openelb.kubesphere.io/v1alpha1': '203.0.113.10',
      },
    },
    { pool: 'gold', ips: ['203.0.113.10'] },
  ],
  [
    'Porter',
    {
      annotations: { 'eip.porter.kubesphere.io/v1alpha2': 'gold', 'eip.porter.kubesphere.io/v1alpha1': '203.0.113.10' },
    },
    { pool: 'gold', ips: ['203.0.113.10'] },
  ],
  [
    'our key beside an alias',
    { annotations: { 'bellhop.io/pool': 'ours', 'metallb.io/address-pool': 'theirs' } },
    { pool: 'ours' },
  ],
  [
    'our key, empty, beside an alias',
    { annotations: { 'bellhop.io/pool': '', 'metallb.io/address-pool': 'theirs' } },
    {},
  ],
  [
    'two vendors who agree',
    { annotations: { 'metallb.io/address-pool': 'gold', 'eip.openelb.kubesphere.io/v1alpha2': 'gold' } },
    { pool: 'gold' },
  ],
])('asks for %s', (_, over, expected) => {
  expect(asked(over)).toEqual(expected)
})

test.each<[string, ServiceOver, string]>([
  ['no address', { annotations: { 'bellhop.io/ips': 'web' } }, 'bellhop.io/ips: "web" is not an IP address'],
  ['a prefix', { loadBalancerIP: '203.0.113.0/24' }, 'spec.loadBalancerIP: "203.0.113.0/24" is not an IP address'],
  [
    'two of a family',
    { annotations: { 'bellhop.io/ips': '203.0.113.1,203.0.113.2' } },
    'bellhop.io/ips names two IPv4 addresses: a Service has one of each family',
  ],
  [
    'two that differ',
    { loadBalancerIP: '203.0.113.1', annotations: { 'bellhop.io/ips': '203.0.113.2' } },
    'spec.loadBalancerIP says 203.0.113.1 and bellhop.io/ips says 203.0.113.2: they must name the same address',
  ],
  [
    'a family it does not have',
    { annotations: { 'bellhop.io/ips': '2001:db8::1' } },
    '2001:db8::1 is asked for, but the Service has no IPv6 in its ipFamilies (IPv4)',
  ],
  [
    'two vendors who disagree',
    { annotations: { 'metallb.io/address-pool': 'a', 'eip.openelb.kubesphere.io/v1alpha2': 'b' } },
    'metallb.io/address-pool says "a" and eip.openelb.kubesphere.io/v1alpha2 says "b": write bellhop.io/pool to decide',
  ],
  [
    'a key that no Vip can record',
    { annotations: { 'bellhop.io/share': 'k'.repeat(254) } },
    'bellhop.io/share: a sharing key has at most 253 characters',
  ],
])('is refused in words: %s', (_, over, message) => {
  expect(asked(over)).toBe(message)
})

// Allocation 5: order follows ipFamilies.
test.each<[Service['ipFamilyPolicy'], Service['ipFamilies'], readonly string[]]>([
  ['SingleStack', ['IPv6'], ['IPv6']],
  ['SingleStack', ['IPv4', 'IPv6'], ['IPv4']],
  ['PreferDualStack', ['IPv6', 'IPv4'], ['IPv6', 'IPv4']],
  ['PreferDualStack', ['IPv4'], ['IPv4']],
  ['RequireDualStack', ['IPv6', 'IPv4'], ['IPv6', 'IPv4']],
  ['RequireDualStack', ['IPv6'], ['IPv6', 'IPv4']],
  ['SingleStack', [], ['IPv4']],
])('%s with ipFamilies %o wants %o', (ipFamilyPolicy, ipFamilies, expected) => {
  expect(wantedFamilies(service('web', { ipFamilyPolicy, ipFamilies }))).toEqual(expected)
})
