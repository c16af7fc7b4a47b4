// Whose death makes a replica reach for the leader's lease, and what keeps it from doing so.

import { beforeEach, expect, test } from 'vitest'
import { followOpinions, type SuccessionOptions } from '../../src/controller/succession.ts'
import type { SignOfLife } from '../../src/k8s/heartbeat-watch.ts'
import type { Suspicion } from '../../src/k8s/leader.ts'
import type { OpinionChange } from '../../src/liveness/agent-watch.ts'

const replica = (name: string, node: string, address: string): SignOfLife => ({
  ...{ name: `bellhop-replica-${name}`, identity: name, alive: true },
  annotations: { 'bellhop.io/node': node, 'bellhop.io/liveness-address': address },
})

let asked: string[]
let suspicions: Suspicion[]
let renewals: number
let nodeLiveness: ReadonlyMap<string, 'up' | 'down'>
let connected: boolean | undefined
let options: SuccessionOptions

beforeEach(() => {
  asked = []
  suspicions = []
  renewals = 0
  nodeLiveness = new Map([['n1', 'down']])
  connected = undefined
  options = {
    election: {
      renew: () => void renewals++,
      succeed: (suspicion) => void suspicions.push(suspicion),
    },
    replicas: () => [replica('c1', 'n1', '10.0.0.1'), replica('c10', 'n2', 'fd00::2')],
    nodeLiveness: () => nodeLiveness,
    httpPort: 7474,
    ask: async (url) => {
      asked.push(url)
      return connected === undefined ? undefined : { connected, established: [] }
    },
    signal: new AbortController().signal,
  }
})
const changed = (node: string, to: OpinionChange['to']): void => followOpinions(options, [{ node, from: 'up', to }])

test('a node that falls silent with a replica on it is a reason to succeed that replica, and no other', () => {
  changed('n1', 'down')
  expect(suspicions.map(({ concerns }) => ['c1_ab12', 'c10_ab12'].map(concerns))).toEqual([[true, false]])
})

test.each<[why: string, node: string, to: OpinionChange['to']]>([
  ['without a replica', 'n3', 'down'],
  ['that is heard again', 'n1', 'up'],
  ['of which there is no opinion any more', 'n1', 'unknown'],
])('a node %s is none', (_, node, to) => {
  changed(node, to)
  expect(suspicions).toEqual([])
})

test('whatever is heard of no more makes a leader show that it lives', () => {
  changed('n3', 'unknown')
  changed('n3', 'down')
  changed('n3', 'up')
  expect(renewals).toBe(2)
})

test('the suspicion stands as long as the node is silent', () => {
  changed('n1', 'down')
  expect(suspicions[0]?.stands()).toBe(true)
  nodeLiveness = new Map()
  expect(suspicions[0]?.stands()).toBe(false)
})

test.each<[answer: boolean | undefined, lives: boolean]>([
  [undefined, false],
  [true, true],
  // It cannot lead, whatever it believes.
  [false, false],
])('the replica is asked, and when it says connected: %s it lives: %s', async (answer, lives) => {
  connected = answer
  changed('n1', 'down')
  expect(await suspicions[0]?.answers()).toBe(lives)
  expect(asked).toEqual(['http://10.0.0.1:7474/standing'])
})

test('without status servers nobody is asked', async () => {
  options = { ...options, httpPort: 0 }
  changed('n1', 'down')
  expect([await suspicions[0]?.answers(), asked]).toEqual([false, []])
})
