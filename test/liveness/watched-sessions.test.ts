// Who watches whom, from Leases and Nodes: a table for controllers and one for agents.

import { describe, expect, test } from 'vitest'
import type { SignOfLife } from '../../src/k8s/heartbeat-watch.ts'
import { sessionsWithAgents, sessionsWithControllers, strictSourcesMax } from '../../src/liveness/watched-sessions.ts'
import { ip } from '../bfd/bench.ts'
import { node } from '../vip/cluster.ts'

const sign = (name: string, annotations: Readonly<Record<string, string>>, alive = true): SignOfLife => ({
  ...{ name, identity: name, alive },
  annotations,
})
const agent = (name: string, alive = true): SignOfLife =>
  sign(`bellhop-agent-${name}`, { 'bellhop.io/node': name, 'bellhop.io/liveness': 'bfd' }, alive)
const controller = (name: string, address: string, alive = true): SignOfLife =>
  sign(`bellhop-replica-${name}`, { 'bellhop.io/liveness-address': address }, alive)

const nodes = new Map(
  [
    node('n1', ['10.0.0.11']),
    node('n2', ['fd00::12', '10.0.0.12']),
    node('n3', ['fd00::13']),
    node('n4', ['10.0.0.14'], { meta: { annotations: { 'bellhop.io/next-hop': '10.9.0.14' } } }),
    node('n5', []),
  ].map((each) => [each.meta.name, each]),
)
const onLink = (): boolean => true
const routed = (): boolean => false
const plain = (): undefined => undefined

describe('a controller on n1', () => {
  const watched = (...signs: readonly SignOfLife[]): readonly string[] =>
    sessionsWithAgents(signs, nodes, 'n1', routed, plain).map(({ key, remoteAddress }) => `${key} ${remoteAddress}`)

  test.each<[string, readonly SignOfLife[], readonly string[]]>([
    ['by its IPv4 address', [agent('n2')], ['n2 10.0.0.12']],
    ['by its IPv6 address where it has no other', [agent('n3')], ['n3 fd00::13']],
    ['by the next hop that its annotation names', [agent('n4')], ['n4 10.9.0.14']],
    ['though its Lease is old, as all are when the API server is gone', [agent('n2', false)], ['n2 10.0.0.12']],
    ['in the order of their names', [agent('n3'), agent('n2')], ['n2 10.0.0.12', 'n3 fd00::13']],
    ['not when it is its own', [agent('n1')], []],
    ['not when its Node is gone', [agent('n9')], []],
    ['not when its Node has no address', [agent('n5')], []],
    ['not when it does not answer', [sign('bellhop-agent-n2', { 'bellhop.io/node': 'n2' })], []],
    ['not when it does not say where it is', [sign('bellhop-agent-n2', { 'bellhop.io/liveness': 'bfd' })], []],
  ])('watches the agent of another node %s', (_, signs, sessions) => {
    expect(watched(...signs)).toEqual(sessions)
  })

  test('declares a node dead after 900 ms', () => {
    expect(sessionsWithAgents([agent('n2')], nodes, 'n1', routed, plain)).toEqual([
      {
        ...{ key: 'n2', remoteAddress: ip('10.0.0.12'), adminDown: false },
        ...{ transmitMs: 300, receiveMs: 300, multiplier: 3 },
        multihop: { ttlMin: 1 },
      },
    ])
  })
})

describe('an agent', () => {
  const answered = (signs: readonly SignOfLife[], heard: readonly string[] = []): readonly string[] =>
    sessionsWithControllers(signs, new Map(heard.map((text) => [ip(text), {}])), routed, plain).map(({ key }) => key)

  test.each<[string, readonly SignOfLife[], readonly string[], readonly string[]]>([
    ['whose Lease says where it is', [controller('a', '10.0.0.1'), controller('b', '::1')], [], ['10.0.0.1', '::1']],
    ['though its Lease is old', [controller('a', '10.0.0.1', false)], [], ['10.0.0.1']],
    [
      'once, when two Leases name its address',
      [controller('a', '10.0.0.1'), controller('b', '10.0.0.1')],
      [],
      ['10.0.0.1'],
    ],
    ['that is heard, though its Lease is gone', [], ['10.0.0.1'], ['10.0.0.1']],
    ['not when it does not say where it is', [sign('bellhop-replica-a', {})], [], []],
    ['not when what it says is no address', [controller('a', 'nowhere')], [], []],
  ])('answers a controller %s', (_, signs, heard, sessions) => {
    expect(answered(signs, heard)).toEqual(sessions)
  })
})

describe('packets', () => {
  const ttls = (count: number, isOnLink: () => boolean): ReadonlySet<number | undefined> => {
    const signs = Array.from({ length: count }, (_, i) => controller(`c${i}`, `10.1.${i >> 8}.${i & 255}`))
    return new Set(sessionsWithControllers(signs, new Map(), isOnLink, plain).map(({ multihop }) => multihop?.ttlMin))
  }
  test.each([
    ['that a router forwarded do not count from who is on our link', 2, onLink, 255],
    ['come from anywhere when there are routers between', 2, routed, 1],
    ['come from anywhere when there are more sources than the filter holds', strictSourcesMax + 1, onLink, 1],
  ])('%s', (_, count, isOnLink, ttlMin) => {
    expect(ttls(count, isOnLink)).toEqual(new Set([ttlMin]))
  })
})
