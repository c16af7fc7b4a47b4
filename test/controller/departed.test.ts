// What is left to be taken away when a speaker is gone: its entries, in its own name, and nothing else.

import { expect, test } from 'vitest'
import { departedEntries } from '../../src/controller/departed.ts'
import type { BgpConf } from '../../src/k8s/objects.ts'
import { labels, node, peer as peerOf, view } from '../vip/cluster.ts'

const peer = (name: string, speaker: 'controller' | 'node', sessions: unknown) =>
  peerOf(name, '10.1.0.1', { speaker, nodeSelector: labels({ rack: 'r1' }), status: { sessions } })
const conf = (speakers: unknown): Map<string, BgpConf> =>
  new Map([['default', { status: { speakers } } as unknown as BgpConf]])
const nodes = [
  node('n1', ['10.0.0.1'], { meta: { labels: { rack: 'r1' } } }),
  node('n2', ['10.0.0.2'], { meta: { labels: { rack: 'r2' } } }),
]
const nobody = { replicas: new Set<string>(), agents: new Set<string>() }

test('a replica that is gone has its entries taken away in its own name, on every object', () => {
  const sessions = [{ speaker: 'a' }, { speaker: 'b' }]
  const given = {
    ...view({ peers: [peer('leaf1', 'controller', sessions), peer('leaf2', 'controller', [{ speaker: 'a' }])] }),
    bgpConfs: conf([{ name: 'a' }, { name: 'b' }]),
  }
  expect(departedEntries(given, { ...nobody, replicas: new Set(['a']) })).toEqual([
    { kind: 'BgpConf', name: 'default', fieldManager: 'bellhop-b', status: {} },
    { kind: 'BgpPeer', name: 'leaf1', fieldManager: 'bellhop-b', status: {} },
  ])
  expect(departedEntries(given, { ...nobody, replicas: new Set(['a', 'b']) })).toEqual([])
})

test.each<[string, string, ReadonlySet<string> | undefined, boolean]>([
  ['a node whose agent runs', 'n1', new Set(['n1', 'n2']), false],
  ['a node whose agent is gone', 'n1', new Set(['n2']), true],
  ['a node that the peer does not select any more', 'n2', new Set(['n1', 'n2']), true],
  ['a node that is gone', 'n9', new Set(['n9']), true],
  ['a node while nothing is known of the agents', 'n1', undefined, false],
])('of %s: the entry in a BgpPeer of the nodes', (_what, speaker, agents, isTakenAway) => {
  const given = view({ peers: [peer('tor', 'node', [{ speaker }])], nodes })
  expect(departedEntries(given, { ...nobody, agents })).toEqual(
    isTakenAway ? [{ kind: 'BgpPeer', name: 'tor', fieldManager: `bellhop-agent-${speaker}`, status: {} }] : [],
  )
})

test.each([
  ['a status without sessions', 'controller', undefined],
  ['entries without a name', 'controller', [null, {}, 'x']],
] as const)('%s: nothing is done', (_what, speaker, sessions) => {
  expect(departedEntries(view({ peers: [peer('leaf1', speaker, sessions)] }), nobody)).toEqual([])
})
