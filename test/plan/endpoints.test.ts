import { expect, test } from 'vitest'
import { countEndpoints, type EndpointPolicy, endpointWeight } from '../../src/plan/endpoints.ts'
import { endpoint, ip, slice } from '../vip/cluster.ts'

// "Which endpoints count", row by row.
test.each<[boolean, boolean, boolean, EndpointPolicy, ReturnType<typeof endpointWeight>]>([
  [true, true, false, 'Ready', 'counts'],
  [true, true, false, 'Serving', 'counts'],
  [true, false, false, 'Ready', 'counts'],
  [true, false, false, 'Serving', 'counts'],
  [false, true, true, 'Ready', 'last-resort'],
  [false, true, true, 'Serving', 'counts'],
  [false, true, false, 'Ready', 'ignored'],
  [false, true, false, 'Serving', 'counts'],
  [false, false, false, 'Ready', 'ignored'],
  [false, false, false, 'Serving', 'ignored'],
  [false, false, true, 'Ready', 'ignored'],
  [false, false, true, 'Serving', 'ignored'],
  // publishNotReadyAddresses: ready though it terminates.
  [true, true, true, 'Ready', 'counts'],
])('ready %s, serving %s, terminating %s under %s: %s', (ready, serving, terminating, policy, expected) => {
  expect(endpointWeight({ ready, serving, terminating }, policy)).toBe(expected)
})

const terminating = { ready: false, serving: true, terminating: true }
const count = (...args: Parameters<typeof countEndpoints>) => {
  const { byNode, nodeless, total } = countEndpoints(...args)
  return { ...Object.fromEntries(byNode), nodeless, total }
}

test('all slices of the family are united', () => {
  const slices = [
    slice('web', [endpoint('n1', { address: ip('10.1.0.1') })], 'IPv4', 'a'),
    slice(
      'web',
      [endpoint('n1', { address: ip('10.1.0.2') }), endpoint('n2', { address: ip('10.1.0.3') })],
      'IPv4',
      'b',
    ),
    slice('web', [endpoint('n3', { address: ip('fd00::1') })], 'IPv6', 'c'),
  ]
  expect(count(slices, 'IPv4', 'Ready')).toEqual({ n1: 2, n2: 1, nodeless: 0, total: 3 })
  expect(count(slices, 'IPv6', 'Ready')).toEqual({ n3: 1, nodeless: 0, total: 1 })
})

test('an endpoint that stands in two slices while they are rearranged is one', () => {
  const twice = [slice('web', [endpoint('n1')], 'IPv4', 'a'), slice('web', [endpoint('n1')], 'IPv4', 'b')]
  expect(count(twice, 'IPv4', 'Ready')).toEqual({ n1: 1, nodeless: 0, total: 1 })
})

test('terminating endpoints that still serve count only while no other does', () => {
  const leaving = endpoint('n1', terminating)
  expect(count([slice('web', [leaving])], 'IPv4', 'Ready')).toEqual({ n1: 1, nodeless: 0, total: 1 })
  expect(count([slice('web', [leaving, endpoint('n2', { address: ip('10.1.0.9') })])], 'IPv4', 'Ready')).toEqual({
    n2: 1,
    nodeless: 0,
    total: 1,
  })
  expect(count([slice('web', [leaving, endpoint('n2', { address: ip('10.1.0.9') })])], 'IPv4', 'Serving')).toEqual({
    n1: 1,
    n2: 1,
    nodeless: 0,
    total: 2,
  })
})

test('endpoints without a node are counted apart', () => {
  expect(count([slice('web', [endpoint(undefined)])], 'IPv4', 'Ready')).toEqual({
    nodeless: 1,
    total: 1,
  })
})
