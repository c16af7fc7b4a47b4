// Which nodes could answer on their link, as Leases come, change, fall silent and go.

import { beforeEach, expect, test } from 'vitest'
import { createLayer2Nodes, type Layer2Nodes } from '../../src/controller/layer2-nodes.ts'
import type { SignOfLife } from '../../src/k8s/heartbeat-watch.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

const lease = (node: string, over: Partial<SignOfLife> = {}): SignOfLife => ({
  name: `bellhop-agent-${node}`,
  identity: node,
  alive: true,
  annotations: { 'bellhop.io/links': 'eth0 02:00:00:00:00:01 10.0.0.0/24' },
  ...over,
})

let clock: VirtualClock
let signs: readonly SignOfLife[]
let changed: () => void
let changes: number
let layer2: Layer2Nodes
/** When each Lease was last renewed; 0 = at this moment, always. */
let renewedMs: Readonly<Record<string, number>>

beforeEach(() => {
  clock = createVirtualClock()
  signs = []
  changes = 0
  renewedMs = {}
  layer2 = createLayer2Nodes({
    clock,
    heartbeats: {
      signs: () => new Map(signs.map((sign) => [sign.name, sign])),
      silentMs: (name) => clock.monotonicMs() - (renewedMs[name] ?? clock.monotonicMs()),
      onChange: (listener) => {
        changed = listener
      },
    },
    onChange: () => {
      changes++
    },
  })
})

const leasesAre = (...present: readonly SignOfLife[]): void => {
  signs = present
  changed()
}
const names = (): readonly string[] => [...layer2.nodes().keys()]

test('a node is there as soon as its agent tells of its links', () => {
  leasesAre(lease('n1'), lease('old', { annotations: {} }))
  expect(names()).toEqual(['n1'])
  expect(layer2.nodes().get('n1')?.links[0]?.name).toBe('eth0')
})

test('a node of which nothing new is said is the same value, and no change', () => {
  leasesAre(lease('n1'), lease('n2'))
  const before = layer2.nodes()
  leasesAre(lease('n1', { annotations: { ...lease('n1').annotations, 'bellhop.io/repairs': '1' } }), lease('n2'))
  expect(layer2.nodes()).toBe(before)
  leasesAre(lease('n1'), lease('n2', { annotations: { 'bellhop.io/links': '' } }))
  expect(layer2.nodes().get('n1')).toBe(before.get('n1'))
  expect(layer2.nodes().get('n2')?.links).toEqual([])
  expect(changes).toBe(2)
})

test('an agent that said goodbye has twenty seconds to return', () => {
  leasesAre(lease('n1'), lease('n2'))
  leasesAre(lease('n1'))
  clock.advance(19_000)
  expect(names()).toEqual(['n1', 'n2'])
  leasesAre(lease('n1'), lease('n2'))
  clock.advance(60_000)
  expect(names()).toEqual(['n1', 'n2'])
  leasesAre(lease('n1'))
  clock.advance(20_000)
  expect(names()).toEqual(['n1'])
})

test('a silent agent is called so, unless all are silent: then it was the API server that was away', () => {
  leasesAre(lease('n1'), lease('n2', { alive: false }))
  expect([...layer2.nodes().values()].map(({ silent }) => silent)).toEqual([false, true])
  leasesAre(lease('n1', { alive: false }), lease('n2', { alive: false }))
  expect([...layer2.nodes().values()].map(({ silent }) => silent)).toEqual([false, false])
})

const holding = (node: string, holds = '', over: Readonly<Record<string, string>> = {}): SignOfLife =>
  lease(node, {
    annotations: {
      ...lease(node).annotations,
      'bellhop.io/layer2-hold-seconds': '15',
      'bellhop.io/layer2-holds': holds,
      ...over,
    },
  })
const silent = (): readonly string[] => [...layer2.nodes()].flatMap(([name, node]) => (node.silent ? [name] : []))

test('an agent that says nothing has lost its addresses when its time without a sign is over, and is back with the next sign', () => {
  renewedMs = { 'bellhop-agent-n2': clock.monotonicMs() }
  leasesAre(holding('n1'), holding('n2'))
  clock.advance(16_000)
  expect(silent()).toEqual([])
  clock.advance(1_100)
  expect(silent()).toEqual(['n2'])
  renewedMs = {}
  // A renewal that says nothing new is no news of the Lease's.
  clock.advance(1_100)
  expect(silent()).toEqual([])
})

test('after an outage of the API server the agents have time to return one by one', () => {
  const lastMs = clock.monotonicMs()
  renewedMs = { 'bellhop-agent-n1': lastMs, 'bellhop-agent-n2': lastMs }
  leasesAre(holding('n1'), holding('n2'))
  clock.advance(60_000)
  expect(silent()).toEqual([])
  renewedMs = { 'bellhop-agent-n2': lastMs }
  clock.advance(7_000)
  expect(silent()).toEqual([])
  clock.advance(3_000)
  expect(silent()).toEqual(['n2'])
})

test('what a node holds changes, and the rest of it stays the same value', () => {
  leasesAre(holding('n1', '10.0.0.100'))
  const before = layer2.nodes().get('n1')
  leasesAre(holding('n1', '10.0.0.100 10.0.0.101'))
  const after = layer2.nodes().get('n1')
  expect([...(after?.holds?.vips ?? [])]).toEqual(['10.0.0.100', '10.0.0.101'])
  expect(after?.links).toBe(before?.links)
  expect(after?.refusals).toBe(before?.refusals)
  expect(changes).toBe(2)
})
