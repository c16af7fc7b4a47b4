// What operators read of a BgpPeer that asks for BFD.

import { expect, test } from 'vitest'
import { pathCondition, type WatchedPath } from '../../src/plan/path-condition.ts'

const bfd = { transmitMs: 300, receiveMs: 300, multiplier: 3 }
const path = (speaker: string, state: string, bfdError = ''): WatchedPath => ({ speaker, bfd: state, bfdError })

test('a BgpPeer that asks for no BFD has no such condition', () => {
  expect(pathCondition({}, [path('n1', '')])).toBeUndefined()
})

test.each<[string, readonly WatchedPath[], string, string, string]>([
  ['no session', [], 'Unknown', 'NotEstablished', ''],
  ['every session watched', [path('n1', 'Up'), path('n2', 'Up')], 'True', 'Up', ''],
  [
    'a session that has just begun',
    [path('n1', 'Up'), path('n2', 'Starting')],
    'Unknown',
    'Starting',
    'BFD begins a moment after BGP',
  ],
  [
    'a router that does not answer, beside one that need not have yet',
    [path('n1', 'Starting'), path('n2', 'Down')],
    'False',
    'BfdDown',
    'n2: BGP is up without BFD, which the router does not answer: does it have BFD on, too?',
  ],
  [
    'a router that does not answer',
    [path('n1', 'Up'), path('n2', 'Down')],
    'False',
    'BfdDown',
    'n2: BGP is up without BFD, which the router does not answer: does it have BFD on, too?',
  ],
  [
    'a port that another program has',
    [path('n1', 'Down'), path('n2', 'Down', 'UDP port 3784 belongs to another program')],
    'False',
    'NoBfd',
    'n2 goes on without BFD and notices a dead router by the hold time: UDP port 3784 belongs to another program',
  ],
])('%s', (_, sessions, status, reason, message) => {
  expect(pathCondition({ bfd }, sessions)).toEqual({ type: 'PathWatched', status, reason, message })
})
