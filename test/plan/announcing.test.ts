// Where the traffic of a VIP goes, from Kubernetes' objects as the API server writes them: slices of every shape, both traffic
// policies, Nodes in every state. Parsing and planning in one, because a rule that is kept by half is not kept.

import { describe, expect, test } from 'vitest'
import type { EndpointSlice, Kind } from '../../src/k8s/objects.ts'
import { type KindValues, parseObject } from '../../src/k8s/schemas/parse.ts'
import { planFromScratch } from '../../src/plan/plan.ts'
import type { PlanContext } from '../../src/plan/types.ts'
import { claim, conf, peer, pool, service, view, vip } from '../vip/cluster.ts'

const context: PlanContext = { serviceClass: { name: 'bellhop.io/bgp', handleDefault: true }, nodeLiveness: new Map() }
const [v4, v6] = ['203.0.113.10', '2001:db8:1::10'] as const

function parsed<K extends Kind>(kind: K, raw: unknown): readonly KindValues[K][] {
  const result = parseObject(kind, raw)
  return result.type === 'value' ? [result.value] : []
}

type Raw = Readonly<Record<string, unknown>>

const rawNode = (
  index: number,
  over: { readonly metadata?: Raw; readonly spec?: Raw; readonly status?: Raw } = {},
) => ({
  metadata: { name: `n${index}`, uid: `n${index}`, resourceVersion: '1', ...over.metadata },
  spec: over.spec ?? {},
  status: {
    addresses: [`10.0.0.${index}`, `fd00::${index}`].map((address) => ({ type: 'InternalIP', address })),
    conditions: [{ type: 'Ready', status: 'True' }],
    ...over.status,
  },
})

/** Endpoints in a few words: `n1`, `n1 leaving` (terminating, serving), `n1 late` (serving only), `n1 gone`, `- ` for no node. */
function rawEndpoint(words: string, address: string): Raw {
  const [node = '', state = 'ready'] = words.split(' ')
  const conditions = {
    ready: { ready: true, serving: true, terminating: false },
    silent: {},
    leaving: { ready: false, serving: true, terminating: true },
    late: { ready: false, serving: true, terminating: false },
    gone: { ready: false, serving: false, terminating: true },
    unready: { ready: false },
  }[state]
  if (conditions === undefined) throw new Error(`no endpoint is ${state}`)
  return { addresses: [address], conditions, ...(node === '-' ? {} : { nodeName: node }) }
}

let serial = 0
const rawSlice = (endpoints: readonly string[], addressType = 'IPv4', first = 1): Raw => ({
  metadata: {
    ...{ name: `web-${++serial}`, namespace: 'default', uid: `s${serial}`, resourceVersion: '1' },
    labels: { 'kubernetes.io/service-name': 'web' },
  },
  addressType,
  endpoints: endpoints.map((words, i) =>
    rawEndpoint(
      words,
      { IPv4: `10.244.0.${first + i}`, IPv6: `fd01::${first + i}`, FQDN: `pod-${first + i}.example` }[addressType] ??
        '',
    ),
  ),
})

interface Scene {
  readonly slices: readonly Raw[]
  readonly policy?: 'Cluster' | 'Local'
  readonly annotations?: Readonly<Record<string, string>>
  readonly nodes?: readonly Raw[]
}

/** The nodes that each VIP's traffic is sent to, IPv4 then IPv6. */
function nextHops({ slices, policy = 'Cluster', annotations = {}, nodes = [1, 2, 3].map((i) => rawNode(i)) }: Scene) {
  const web = service('web', { ingress: [v4, v6], externalTrafficPolicy: policy, annotations })
  const plan = planFromScratch(
    view({
      services: [web],
      vips: [vip(v4, [claim(web)]), vip(v6, [claim(web)])],
      slices: slices.flatMap((raw): readonly EndpointSlice[] => parsed('EndpointSlice', raw)),
      nodes: nodes.flatMap((raw) => parsed('Node', raw)),
      pools: [pool('default', ['203.0.113.0/24', '2001:db8:1::/64'])],
      confs: [conf()],
      peers: [peer('leaf', '10.1.0.1', { families: ['ipv4-unicast', 'ipv6-unicast'] })],
    }),
    context,
  )
  const of = (family: (prefix: string) => boolean): string => {
    const route = [...(plan.tables.get('all')?.values() ?? [])].find(({ prefix }) => family(prefix))
    return (route?.paths ?? [])
      .map(({ nextHop }) => nextHop.replace(/^.*[.:]/, 'n'))
      .sort()
      .join(' ')
  }
  return [of((prefix) => !prefix.includes(':')), of((prefix) => prefix.includes(':'))]
}

const serving = { 'bellhop.io/endpoint-policy': 'Serving' }
const allNodes = { 'bellhop.io/next-hops': 'AllNodes' }

describe('which endpoints count', () => {
  test.each<[string, Scene, readonly [string, string]]>([
    ['those that are ready', { slices: [rawSlice(['n1', 'n2 unready'])] }, ['n1', '']],
    ['those that say nothing of it', { slices: [rawSlice(['n1 silent'])] }, ['n1', '']],
    ['those of all slices', { slices: [rawSlice(['n1']), rawSlice(['n2'], 'IPv4', 9)] }, ['n1 n2', '']],
    ['one that stands in two slices', { slices: [rawSlice(['n1']), rawSlice(['n1'])] }, ['n1', '']],
    ['those of the family of the VIP', { slices: [rawSlice(['n1']), rawSlice(['n2', 'n3'], 'IPv6')] }, ['n1', 'n2 n3']],
    ['none of a slice of names', { slices: [rawSlice(['n1']), rawSlice(['n2'], 'FQDN')] }, ['n1', '']],
    ['those that end, while there are no others', { slices: [rawSlice(['n1 leaving', 'n2 gone'])] }, ['n1', '']],
    ['not those that end, while there are others', { slices: [rawSlice(['n1 leaving', 'n2'])] }, ['n2', '']],
    [
      'not those that end, while there are others in another slice',
      { slices: [rawSlice(['n1 leaving']), rawSlice(['n2'], 'IPv4', 9)] },
      ['n2', ''],
    ],
    [
      'those that end, though there are others of the other family',
      { slices: [rawSlice(['n1 leaving']), rawSlice(['n2'], 'IPv6')] },
      ['n1', 'n2'],
    ],
    ['not those that only serve', { slices: [rawSlice(['n1 late'])] }, ['', '']],
    [
      'under Serving all that serve',
      { slices: [rawSlice(['n1 late', 'n2 leaving', 'n3'])], annotations: serving },
      ['n1 n2 n3', ''],
    ],
    [
      'and under Serving none that does not',
      { slices: [rawSlice(['n1 gone', 'n2 unready'])], annotations: serving },
      ['', ''],
    ],
    ['none at all', { slices: [] }, ['', '']],
  ])('%s', (_, scene, expected) => {
    for (const policy of ['Cluster', 'Local'] as const) expect(nextHops({ ...scene, policy })).toEqual(expected)
  })

  test.each<[string, Scene, string]>([
    ['without a node are reached over every node', { slices: [rawSlice(['-'])] }, 'n1 n2 n3'],
    ['without a node are nobody’s under Local', { slices: [rawSlice(['-', 'n2'])], policy: 'Local' }, 'n2'],
    [
      'of one node are reached over all where that is asked for',
      { slices: [rawSlice(['n2'])], annotations: allNodes },
      'n1 n2 n3',
    ],
    [
      'of one node are reached over that one under Local, whatever is asked for',
      { slices: [rawSlice(['n2'])], annotations: allNodes, policy: 'Local' },
      'n2',
    ],
    [
      'that do not count bring no node, though all were asked for',
      { slices: [rawSlice(['n2 unready'])], annotations: allNodes },
      '',
    ],
  ])('endpoints %s', (_, scene, expected) => {
    expect(nextHops(scene)[0]).toBe(expected)
  })
})

describe('which nodes may be next hops', () => {
  const condition = (type: string, status: string): Raw => ({ conditions: [{ type, status }] })
  test.each<[string, Raw | undefined, string]>([
    ['that does not exist', undefined, 'n2'],
    ['like any other', rawNode(1), 'n1 n2'],
    ['that is being deleted', rawNode(1, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }), 'n2'],
    [
      'with the exclude label',
      rawNode(1, { metadata: { labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } } }),
      'n2',
    ],
    ['without network', rawNode(1, { status: condition('NetworkUnavailable', 'True') }), 'n2'],
    ['with a network that was seen to', rawNode(1, { status: condition('NetworkUnavailable', 'False') }), 'n1 n2'],
    [
      'without an address of the family',
      rawNode(1, { status: { addresses: [{ type: 'InternalIP', address: 'fd00::1' }] } }),
      'n2',
    ],
    [
      'with an external address alone',
      rawNode(1, { status: { addresses: [{ type: 'ExternalIP', address: '10.0.0.1' }] } }),
      'n2',
    ],
    [
      'with another address by annotation',
      rawNode(1, { metadata: { annotations: { 'bellhop.io/next-hop': '192.0.2.9' } } }),
      'n2 n9',
    ],
    ['that is drained', rawNode(1, { metadata: { annotations: { 'bellhop.io/drain': 'true' } } }), 'n2'],
    ['that is not Ready', rawNode(1, { status: condition('Ready', 'False') }), 'n2'],
    ['of which nothing is known', rawNode(1, { status: condition('Ready', 'Unknown') }), 'n2'],
    ['that has never said whether it is Ready', rawNode(1, { status: { conditions: [] } }), 'n1 n2'],
    [
      'that is cordoned',
      rawNode(1, {
        spec: { unschedulable: true, taints: [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }] },
      }),
      'n1 n2',
    ],
  ])('a node %s', (_, first, expected) => {
    const nodes = [...(first === undefined ? [] : [first]), rawNode(2)]
    for (const policy of ['Cluster', 'Local'] as const)
      expect(nextHops({ slices: [rawSlice(['n1', 'n2'])], nodes, policy })[0]).toBe(expected)
  })
})
