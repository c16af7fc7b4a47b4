// What is left to be taken away when a replica is gone: its entries, in its own name, and nothing else.

import { expect, test } from 'vitest'
import { departedEntries } from '../../src/controller/departed.ts'
import type { BgpConf, BgpPeer } from '../../src/k8s/objects.ts'

const peer = (name: string, speaker: 'controller' | 'node', sessions: unknown): [string, BgpPeer] => [
  name,
  { meta: { name }, speaker, status: { sessions } } as unknown as BgpPeer,
]
const conf = (speakers: unknown): Map<string, BgpConf> =>
  new Map([['default', { status: { speakers } } as unknown as BgpConf]])
const managerOf = (replica: string): string => `bellhop-${replica}`

test('a replica that is gone has its entries taken away in its own name, on every object', () => {
  const sessions = [{ speaker: 'a' }, { speaker: 'b' }]
  const view = {
    bgpConfs: conf([{ name: 'a' }, { name: 'b' }]),
    bgpPeers: new Map([peer('leaf1', 'controller', sessions), peer('leaf2', 'controller', [{ speaker: 'a' }])]),
  }
  expect(departedEntries(view, new Set(['a']), managerOf)).toEqual([
    { kind: 'BgpConf', name: 'default', fieldManager: 'bellhop-b', status: {} },
    { kind: 'BgpPeer', name: 'leaf1', fieldManager: 'bellhop-b', status: {} },
  ])
  expect(departedEntries(view, new Set(['a', 'b']), managerOf)).toEqual([])
})

test.each([
  ['entries of nodes that speak for themselves', 'node', [{ speaker: 'node1' }]],
  ['a status without sessions', 'controller', undefined],
  ['entries without a name', 'controller', [null, {}, 'x']],
] as const)('%s stay', (_what, speaker, sessions) => {
  const view = { bgpConfs: new Map<string, BgpConf>(), bgpPeers: new Map([peer('leaf1', speaker, sessions)]) }
  expect(departedEntries(view, new Set(['a']), managerOf)).toEqual([])
})
