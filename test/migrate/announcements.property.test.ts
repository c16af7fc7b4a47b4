// Any set of pools, routers, advertisements and Services: what Bellhop announces by the converted policies is what MetalLB announced
// by the advertisements, Service by Service and router by router, with the same communities.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { RawObject } from '../../src/k8s/json.ts'
import type { BgpPolicy, Service } from '../../src/k8s/objects.ts'
import { parseObject } from '../../src/k8s/schemas/parse.ts'
import { migrate } from '../../src/migrate/migrate.ts'
import { byPriority, policyMatches, routeRules } from '../../src/plan/attributes.ts'

const pools = ['p0', 'p1', 'p2']
const peers = ['r0', 'r1', 'r2']
const labelKeys = ['a', 'b']

interface Advertisement {
  readonly pools: readonly string[]
  readonly peers: readonly string[]
  /** Labels that a Service must have, any of these; empty = all Services. */
  readonly services: readonly string[]
  readonly community: number
}

const advertisement: fc.Arbitrary<Advertisement> = fc.record({
  pools: fc.subarray(pools),
  peers: fc.subarray(peers),
  services: fc.subarray(labelKeys),
  community: fc.integer({ min: 0, max: 3 }),
})

const metadata = (name: string): RawObject => ({ name, namespace: 'metallb-system' })

function manifests(advertisements: readonly Advertisement[]): readonly RawObject[] {
  return [
    ...pools.map((name, i) => ({
      apiVersion: 'metallb.io/v1beta1',
      kind: 'IPAddressPool',
      metadata: metadata(name),
      spec: { addresses: [`10.${i}.0.0/24`] },
    })),
    ...peers.map((name, i) => ({
      apiVersion: 'metallb.io/v1beta2',
      kind: 'BGPPeer',
      metadata: metadata(name),
      spec: { myASN: 64512, peerASN: 64513, peerAddress: `192.0.2.${i + 1}` },
    })),
    ...advertisements.map(({ services, community, ...selected }, i) => ({
      apiVersion: 'metallb.io/v1beta1',
      kind: 'BGPAdvertisement',
      metadata: metadata(`adv${i}`),
      spec: {
        ipAddressPools: selected.pools,
        peers: selected.peers,
        communities: community === 0 ? [] : [`64512:${community}`],
        serviceSelectors: services.map((key) => ({ matchLabels: { [key]: 'yes' } })),
      },
    })),
  ]
}

const serviceWith = (labels: readonly string[]): Service => {
  const parsed = parseObject('Service', {
    metadata: { name: 'web', namespace: 'default', labels: Object.fromEntries(labels.map((key) => [key, 'yes'])) },
    spec: { type: 'LoadBalancer' },
  })
  if (parsed.type !== 'value') throw new Error('a Service that can not be read')
  return parsed.value
}

/** By MetalLB's rules: undefined = not announced, else the communities. */
function byMetalLb(
  advertisements: readonly Advertisement[],
  pool: string,
  peer: string,
  labels: readonly string[],
): readonly number[] | undefined {
  const any = (names: readonly string[], name: string): boolean => names.length === 0 || names.includes(name)
  const matching = advertisements.filter(
    (one) =>
      any(one.pools, pool) &&
      any(one.peers, peer) &&
      (one.services.length === 0 || one.services.some((key) => labels.includes(key))),
  )
  if (matching.length === 0) return undefined
  return [...new Set(matching.flatMap(({ community }) => (community === 0 ? [] : [64512 * 65536 + community])))].sort()
}

/** By the policies, as the plan reads them. */
function byBellhop(
  policies: readonly BgpPolicy[],
  pool: string,
  peer: string,
  labels: readonly string[],
): readonly number[] | undefined {
  const spoken = policies.filter((policy) => policy.peers.length === 0 || policy.peers.includes(peer))
  const rules = routeRules(
    { origin: 'IGP', communities: new Map() },
    spoken.filter((policy) => policyMatches(policy, pool, [serviceWith(labels)])),
  )
  return rules.announce ? [...(rules.attributes.communities ?? [])].sort() : undefined
}

test('the same is announced to the same routers', () => {
  fc.assert(
    fc.property(fc.array(advertisement, { maxLength: 4 }), (advertisements) => {
      const { objects } = migrate(manifests(advertisements), { from: 'metallb' })
      const policies = objects
        .flatMap(({ object }) => {
          const parsed = object.kind === 'BgpPolicy' ? parseObject('BgpPolicy', object) : undefined
          return parsed?.type === 'value' ? [parsed.value] : []
        })
        .sort(byPriority)
      for (const pool of pools)
        for (const peer of peers)
          for (const labels of [[], ['a'], ['b'], ['a', 'b']])
            expect([pool, peer, labels, byBellhop(policies, pool, peer, labels)]).toEqual([
              pool,
              peer,
              labels,
              byMetalLb(advertisements, pool, peer, labels),
            ])
    }),
    { numRuns: 300 },
  )
})
