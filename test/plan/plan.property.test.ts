// The planner that remembers is the planner that does not, after any history of changes; and its steps, applied one after the
// other to nothing, are its tables. Clusters are small and dense, so that things meet: shared and aggregated VIPs, racks, policies
// by peer, nodes whose IPv6 addresses have the same hash.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Route } from '../../src/bgp/rib/route.ts'
import type { ClusterChanges, ClusterView, Kind } from '../../src/k8s/objects.ts'
import { namespacedName } from '../../src/k8s/objects.ts'
import type { Prefix } from '../../src/net/prefix.ts'
import type { Dataplane } from '../../src/plan/dataplane.ts'
import { type DrainPhase, drainAnnotation } from '../../src/plan/drain.ts'
import type { HealthChecks } from '../../src/plan/objections.ts'
import { createPlanner, planFromScratch } from '../../src/plan/plan.ts'
import type { Plan, PlanContext, PlanStep } from '../../src/plan/types.ts'
import { claim, conf, endpoint, ip, labels, node, peer, policy, pool, service, slice, vip } from '../vip/cluster.ts'
import { Dice } from '../vip/model.ts'

type Maps = { readonly [K in Exclude<keyof ClusterView, 'refusals'>]: Map<string, unknown> }
const kindOf = {
  services: 'Service',
  endpointSlices: 'EndpointSlice',
  nodes: 'Node',
  bgpConfs: 'BgpConf',
  bgpPeers: 'BgpPeer',
  vipPools: 'VipPool',
  vips: 'Vip',
  bgpPolicies: 'BgpPolicy',
} as const satisfies Partial<Record<keyof ClusterView, Kind>>

const serviceNames = ['s0', 's1', 's2', 's3'] as const
const nodeNames = ['n0', 'n1', 'n2', 'n3', 'n4'] as const
const addresses = ['203.0.113.0', '203.0.113.1', '203.0.113.2', '2001:db8::1'] as const
// Two IPv6 addresses with the same 32-bit hash: path ids hang on both.
const nodeV6 = ['2001:db8::1:a16d', '2001:db8::5:7ad0', '2001:db8::1'] as const

class Cluster {
  readonly maps: Maps = {
    services: new Map(),
    endpointSlices: new Map(),
    nodes: new Map(),
    namespaces: new Map(),
    secrets: new Map(),
    bgpConfs: new Map(),
    bgpPeers: new Map(),
    vipPools: new Map(),
    vips: new Map(),
    bgpPolicies: new Map(),
  }
  readonly liveness = new Map<string, 'up' | 'down'>()
  readonly drains = new Map<string, DrainPhase>()
  #changes = new Map<Kind, Set<string>>()

  get view(): ClusterView {
    return { ...this.maps, refusals: [] } as unknown as ClusterView
  }

  takeChanges(): ClusterChanges {
    const changes = this.#changes
    this.#changes = new Map()
    return changes
  }

  set(map: keyof typeof kindOf, key: string, value: unknown): void {
    if (value === undefined) this.maps[map].delete(key)
    else this.maps[map].set(key, value)
    const keys = this.#changes.get(kindOf[map]) ?? new Set()
    this.#changes.set(kindOf[map], keys.add(key))
  }
}

function change(cluster: Cluster, dice: Dice): void {
  const name = dice.pick(serviceNames)
  const key = namespacedName('default', name)
  const gone = dice.below(6) === 0
  switch (dice.below(12)) {
    case 0:
    case 1:
      cluster.set(
        'services',
        key,
        gone
          ? undefined
          : service(name, {
              meta: {
                uid: dice.pick(['u0', 'u0', 'u1']),
                deleting: dice.below(8) === 0,
                labels: { tier: dice.pick(['a', 'b']) },
              },
              ingress: addresses.filter(() => dice.below(3) > 0),
              externalTrafficPolicy: dice.pick(['Cluster', 'Cluster', 'Local']),
              annotations: dice.pick<Record<string, string>>([
                {},
                {},
                { 'bellhop.io/next-hops': 'AllNodes' },
                { 'bellhop.io/endpoint-policy': 'Serving' },
              ]),
            }),
      )
      break
    case 2:
    case 3:
    case 4: {
      const some = (family: 'IPv4' | 'IPv6') =>
        slice(
          name,
          Array.from({ length: dice.below(4) }, (_, i) =>
            endpoint(dice.pick([...nodeNames, undefined]), {
              address: ip(`10.244.0.${i + 1}`),
              ready: dice.below(4) > 0,
              serving: dice.below(3) > 0,
              terminating: dice.below(2) > 0,
            }),
          ),
          family,
        )
      cluster.set('endpointSlices', key, gone ? undefined : [some('IPv4'), some('IPv6')])
      break
    }
    case 5:
    case 6: {
      const of = dice.pick(nodeNames)
      const at = nodeNames.indexOf(of)
      cluster.set(
        'nodes',
        of,
        gone
          ? undefined
          : node(of, [`10.0.0.${1 + (dice.below(5) === 0 ? 0 : at)}`, dice.pick(nodeV6)], {
              ready: dice.below(4) > 0,
              meta: {
                labels: { rack: dice.pick(['r1', 'r2']) },
                annotations: dice.pick<Record<string, string>>([
                  {},
                  { [drainAnnotation]: 'true' },
                  { 'bellhop.io/bgp-asn': dice.pick(['65011', 'none']) },
                ]),
                resourceVersion: `${dice.below(100)}`,
              },
            }),
      )
      break
    }
    case 7: {
      const of = dice.pick(nodeNames)
      const phase = dice.pick<DrainPhase | undefined>(['staying', 'leaving', 'leaving', 'left', undefined])
      if (phase === undefined) cluster.drains.delete(of)
      else cluster.drains.set(of, phase)
      const state = dice.pick<'up' | 'down' | undefined>(['up', 'down', undefined])
      if (state === undefined) cluster.liveness.delete(of)
      else cluster.liveness.set(of, state)
      break
    }
    case 8: {
      const address = dice.pick(addresses)
      const claims = serviceNames.filter(() => dice.below(3) === 0).map((of) => claim(service(of), { uid: 'u0' }))
      const object = vip(address, claims, { pool: dice.pick(['p', 'q']) })
      cluster.set('vips', object.meta.name, gone ? undefined : object)
      break
    }
    case 9: {
      const of = dice.pick(['p', 'q'])
      cluster.set(
        'vipPools',
        of,
        gone
          ? undefined
          : pool(of, ['203.0.113.0/24'], {
              mode: dice.pick(['bgp', 'bgp', 'layer2']),
              nextHops: dice.pick(['Endpoints', 'AllNodes']),
              endpointPolicy: dice.pick(['Ready', 'Serving']),
            }),
      )
      break
    }
    case 10: {
      const of = dice.pick(['leaf1', 'leaf2', 'leaf3'])
      cluster.set(
        'bgpPeers',
        of,
        gone
          ? undefined
          : peer(of, `10.1.0.${dice.pick([1, 2, 3])}`, {
              nodeSelector: dice.pick([labels({}), labels({}), labels({ rack: 'r1' })]),
              families: dice.pick([['ipv4-unicast'], ['ipv4-unicast', 'ipv6-unicast']]),
              port: dice.pick([179, 1790]),
              speaker: dice.pick(['controller', 'controller', 'node']),
            }),
      )
      break
    }
    default: {
      if (dice.below(2) === 0) {
        cluster.set(
          'bgpConfs',
          dice.pick(['default', 'default', 'mine']),
          dice.below(8) === 0
            ? undefined
            : conf({
                maxNextHops: dice.pick([0, 0, 1, 2]),
                origin: dice.pick(['IGP', 'INCOMPLETE']),
                listenPort: dice.pick([179, 0]),
              }),
        )
        break
      }
      const of = dice.pick(['x', 'y'])
      cluster.set(
        'bgpPolicies',
        of,
        gone
          ? undefined
          : policy(of, {
              peers: dice.pick([[], ['leaf1']]),
              pools: dice.pick([[], ['p']]),
              med: dice.below(3),
              announce: dice.below(5) > 0,
              priority: dice.below(2),
              aggregationLength: dice.pick([
                { ipv4: 32, ipv6: 128 },
                { ipv4: 31, ipv6: 64 },
              ]),
              linkBandwidth: dice.pick(['None', 'Endpoints']),
              ...(dice.below(2) === 0 ? { serviceSelector: labels({ tier: 'a' }) } : {}),
            }),
      )
    }
  }
}

const byKey = <V>(map: ReadonlyMap<string, V>): Readonly<Record<string, V>> =>
  Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)))
const plain = (plan: Plan) => ({
  ...plan,
  vips: byKey(plan.vips),
  tables: byKey(new Map([...plan.tables].map(([name, table]) => [name, byKey(table)]))),
})

/** What a speaker has after a step: the border's own rules. */
function apply(tables: Map<string, Map<Prefix, Route>>, step: PlanStep): void {
  for (const name of step.droppedTables) tables.delete(name)
  for (const { table, replace, upserts, withdrawals } of step.tableChanges) {
    const routes = replace ? new Map<Prefix, Route>() : tables.get(table)
    if (routes === undefined) throw new Error(`table ${table} is changed before it exists`)
    for (const route of upserts) routes.set(route.prefix, route)
    for (const prefix of withdrawals)
      if (!routes.delete(prefix)) throw new Error(`${prefix} is withdrawn and was not there`)
    tables.set(table, routes)
  }
}

const someOf = <T>(items: Iterable<T>, dice: Dice): T[] => [...items].filter(() => dice.below(4) === 0)

function someHealthChecks({ view }: Cluster, dice: Dice): HealthChecks {
  const against = (): ReadonlyMap<string, string> =>
    new Map(someOf(view.nodes.keys(), dice).map((node) => [node, 'is ill']))
  return new Map(someOf(view.services.keys(), dice).map((service) => [service, against()]))
}

function someDataplane({ view }: Cluster, dice: Dice): Dataplane {
  return {
    young: new Map(someOf(view.vips.keys(), dice).map((vip) => [vip, BigInt(dice.below(4))])),
    inPlace: new Map(someOf(view.nodes.keys(), dice).map((node) => [node, BigInt(dice.below(4))])),
    unready: new Set(someOf(view.nodes.keys(), dice)),
  }
}

test.each([
  ['a controller', undefined],
  ['the agent of a node', 'n0'],
] as const)('planning by changes is planning from scratch, step by step, for %s', (_who, speakerNode) => {
  fc.assert(
    fc.property(fc.array(fc.nat(10_000), { minLength: 100, maxLength: 2500, size: 'max' }), (numbers) => {
      const dice = new Dice(numbers)
      const cluster = new Cluster()
      const planner = createPlanner()
      let context: PlanContext = {
        serviceClass: { name: 'bellhop.io/bgp', handleDefault: true },
        nodeLiveness: cluster.liveness,
        ...(speakerNode === undefined ? {} : { speakerNode }),
        drains: cluster.drains,
      }
      const tables = new Map<string, Map<Prefix, Route>>()
      let before: { readonly plan: Plan; readonly text: string } | undefined
      while (!dice.spent) {
        for (let i = dice.below(3); i >= 0; i--) change(cluster, dice)
        const changes = cluster.takeChanges()
        if (dice.below(3) === 0) context = { ...context, dataplane: someDataplane(cluster, dice) }
        if (dice.below(3) === 0) context = { ...context, healthChecks: someHealthChecks(cluster, dice) }
        const step = planner.plan(cluster.view, dice.below(30) === 0 ? undefined : changes, context)
        const scratch = plain(planFromScratch(cluster.view, context))
        expect(plain(step.plan)).toEqual(scratch)
        apply(tables, step)
        expect(byKey(new Map([...tables].map(([name, routes]) => [name, byKey(routes)])))).toEqual(scratch.tables)
        if (before !== undefined) {
          const { plan } = before
          const names = new Set([...plan.vips.keys(), ...step.plan.vips.keys()])
          const different = [...names].filter(
            (name) => JSON.stringify(plan.vips.get(name)) !== JSON.stringify(step.plan.vips.get(name)),
          )
          expect([...step.changedVips].sort()).toEqual(different.sort())
          expect(JSON.stringify(plain(plan))).toBe(before.text)
        }
        before = { plan: step.plan, text: JSON.stringify(plain(step.plan)) }
      }
    }),
    { numRuns: 60 },
  )
})
