// What an operator reads of a collection that cannot be followed: once when it begins, with what to do about it, and once when it is over.

import { expect, test } from 'vitest'
import { createFreshness, type Freshness } from '../../src/k8s/freshness.ts'
import type { KubeError } from '../../src/k8s/kube-error.ts'
import { resources } from '../../src/k8s/resources.ts'
import { type Log, silentLog } from '../../src/runtime/log.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

const noConnection: KubeError = { status: 0, reason: 'Unreachable', message: 'connect ECONNREFUSED' }
const forbidden: KubeError = { status: 403, reason: 'Forbidden', message: 'no' }
const unknown: KubeError = { status: 404, reason: 'NotFound', message: 'not here' }

function world(options: { readonly optional?: boolean } = {}) {
  const lines: string[] = []
  const note =
    (level: string): Log['info'] =>
    (fields) =>
      void lines.push([level, fields['event'], fields['reason'] ?? fields['after']].join(' '))
  const advice: unknown[] = []
  const log: Log = {
    ...silentLog,
    debug: note('debug'),
    info: note('info'),
    warn: (fields) => {
      note('warn')(fields)
      advice.push(fields['advice'])
    },
  }
  const clock = createVirtualClock()
  const freshness = createFreshness({
    resource: resources.BgpPeer,
    path: '/apis/bellhop.io/v1alpha1/bgppeers',
    optional: options.optional ?? false,
    clock,
    log,
  })
  return { freshness, lines, advice, clock }
}

test.each<[string, (freshness: Freshness) => void, readonly string[]]>([
  [
    'the same trouble at each retry',
    ({ failed }) => {
      failed('list', noConnection)
      failed('list', noConnection)
      failed('watch', noConnection)
    },
    ['warn kube-unavailable Unreachable', 'debug kube-unavailable Unreachable', 'debug kube-unavailable Unreachable'],
  ],
  [
    'trouble that becomes another one',
    ({ failed }) => {
      failed('list', noConnection)
      failed('list', forbidden)
    },
    ['warn kube-unavailable Unreachable', 'warn kube-unavailable Forbidden'],
  ],
  [
    'trouble that is over, and comes again',
    ({ failed, heard, recovered }) => {
      failed('watch', noConnection)
      recovered()
      heard()
      failed('watch', noConnection)
    },
    ['warn kube-unavailable Unreachable', 'info kube-recovered Unreachable', 'warn kube-unavailable Unreachable'],
  ],
  ['no trouble', ({ heard, recovered }) => [recovered(), heard()], []],
])('%s', (_what, happens, expected) => {
  const { freshness, lines } = world()
  happens(freshness)
  expect(lines).toEqual(expected)
})

test('a kind that need not be installed is nothing to warn of, any other trouble with it is', () => {
  const { freshness, lines } = world({ optional: true })
  freshness.failed('list', unknown)
  freshness.failed('list', forbidden)
  expect(lines).toEqual(['debug kube-unavailable NotFound', 'warn kube-unavailable Forbidden'])
})

test.each<[KubeError, string | undefined]>([
  [forbidden, 'the ClusterRole must allow list and watch on bgppeers'],
  [unknown, 'the server does not know bgppeers in bellhop.io/v1alpha1: are the CRDs installed?'],
  [{ status: 401, reason: 'Unauthorized', message: 'no' }, 'the server does not accept these credentials'],
  [noConnection, undefined],
])('%j comes with advice', (error, words) => {
  const { freshness, advice } = world()
  freshness.failed('list', error)
  expect(advice).toEqual([words])
})

test('an open watch on which nothing has come is no trouble, and no news', () => {
  const { freshness } = world()
  freshness.failed('watch', noConnection)
  expect(freshness.facts()).toEqual({ lastError: noConnection })
  freshness.recovered()
  expect(freshness.facts()).toEqual({})
  freshness.heard()
  expect(freshness.facts()).toEqual({ lastEventMonotonicMs: expect.any(Number) })
})
