// What a VIP's next hops are while the API server hears of no node: those it had, although the Nodes are not Ready any more and their
// endpoints are called unready; and what of that is not hearsay counts all the same.

import { expect, test } from 'vitest'
import type { ClusterChanges, ClusterView, Endpoint, Kind } from '../../src/k8s/objects.ts'
import { createFailStaticPlanner } from '../../src/plan/last-good.ts'
import type { PlanContext } from '../../src/plan/types.ts'
import { conf, endpoint, node, peer, pool, service, slice, view, vip } from '../vip/cluster.ts'

const address = '203.0.113.10'
const web = service('web', { ingress: [address] })
const names = ['n1', 'n2', 'n3']

/** Nodes and endpoints by their names; `!` marks what is called unready, `~` an endpoint that terminates. */
function viewOf(nodes: string, endpoints: string): ClusterView {
  const endpointOf = (word: string): Endpoint => {
    const name = word.slice(0, 2)
    if (word.endsWith('!')) return endpoint(name, { ready: false, serving: false })
    return word.endsWith('~') ? endpoint(name, { ready: false, serving: false, terminating: true }) : endpoint(name)
  }
  const silent = { ready: false, silentSinceMs: 1 }
  return view({
    services: [web],
    vips: [vip(address, [web])],
    slices: [slice('web', endpoints.split(' ').filter(Boolean).map(endpointOf))],
    nodes: nodes
      .split(' ')
      .map((word) => node(word.slice(0, 2), [`10.0.0.${word[1]}`], word.endsWith('!') ? silent : {})),
    pools: [pool('default', ['203.0.113.0/24'])],
    confs: [conf()],
    peers: [peer('leaf', '10.1.0.1')],
  })
}

const changesOf = (...kinds: readonly Kind[]): ClusterChanges =>
  new Map(kinds.map((kind) => [kind, new Set(kind === 'Node' ? names : ['default/web'])]))

type Step = readonly [nodes: string, endpoints: string, together: string, hops: string]
const all = 'n1 n2 n3'
const allSilent = 'n1! n2! n3!'

test.each<[string, readonly Step[]]>([
  [
    'all nodes fall silent, and return',
    [
      [all, all, '', 'n1 n2 n3'],
      [allSilent, all, all, 'n1 n2 n3'],
      [allSilent, 'n1! n2! n3!', all, 'n1 n2 n3'],
      ['n1 n2! n3!', 'n1! n2! n3!', all, 'n1 n2 n3'],
      [all, 'n1 n2 n3!', all, 'n1 n2 n3'],
      [all, all, '', 'n1 n2 n3'],
    ],
  ],
  [
    'they fall silent one after the other: the first lose their endpoints, and get them back',
    [
      [all, all, '', 'n1 n2 n3'],
      ['n1! n2! n3', all, '', 'n3'],
      ['n1! n2! n3', 'n1! n2! n3', '', 'n3'],
      [allSilent, 'n1! n2! n3', all, 'n1 n2 n3'],
      [allSilent, 'n1! n2! n3!', all, 'n1 n2 n3'],
    ],
  ],
  [
    'one that is not among them is out, and so are its endpoints',
    [
      [all, all, '', 'n1 n2 n3'],
      ['n1! n2 n3', 'n1! n2 n3', '', 'n2 n3'],
      [allSilent, allSilent, 'n2 n3', 'n2 n3'],
    ],
  ],
  [
    'an endpoint that was unready before stays so, one that terminates or is gone is no more, and one that comes counts',
    [
      [all, 'n1! n2 n3', '', 'n2 n3'],
      [allSilent, 'n1! n2! n3!', all, 'n2 n3'],
      [allSilent, 'n1! n2~ n3!', all, 'n3'],
      [allSilent, 'n1! n2~', all, ''],
      [allSilent, 'n1 n2~', all, 'n1'],
    ],
  ],
  [
    'the time is over, and one has not returned: it is out, and what the others say counts',
    [
      [all, all, '', 'n1 n2 n3'],
      [allSilent, allSilent, all, 'n1 n2 n3'],
      ['n1 n2 n3!', 'n1 n2! n3!', all, 'n1 n2 n3'],
      ['n1 n2 n3!', 'n1 n2! n3!', '', 'n1'],
    ],
  ],
])('%s', (_, steps) => {
  // What changes is told step by step, or each step is planned from everything: the same comes out.
  for (const told of ['changes', 'everything']) {
    const planner = createFailStaticPlanner()
    const hops = steps.map(([nodes, endpoints, together], at) => {
      const context: PlanContext = {
        ...{ serviceClass: { name: 'bellhop.io/bgp', handleDefault: true }, nodeLiveness: new Map() },
        silence: {
          silent: new Set(nodes.split(' ').flatMap((word) => (word.endsWith('!') ? [word.slice(0, 2)] : []))),
          together: new Set(together.split(' ').filter(Boolean)),
        },
      }
      const [before] = at === 0 ? [] : steps.slice(at - 1)
      const kinds: readonly Kind[] = [
        ...(before?.[0] === nodes ? [] : (['Node'] as const)),
        ...(before?.[1] === endpoints ? [] : (['EndpointSlice'] as const)),
      ]
      const changes = at === 0 || told === 'everything' ? undefined : changesOf(...kinds)
      const { plan } = planner.plan(viewOf(nodes, endpoints), changes, context)
      return (plan.vips.get(vip(address, [web]).meta.name)?.nextHops ?? []).map(({ node: name }) => name).join(' ')
    })
    expect([told, hops]).toEqual([told, steps.map(([, , , wanted]) => wanted)])
  }
})
