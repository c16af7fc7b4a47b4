// The second opinion: who is asked, how often no has to be said, and what silence means.

import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createHealthChecker, type HealthAnswer } from '../../src/controller/health-checks.ts'
import { namespacedName } from '../../src/k8s/objects.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { healthCheckAnnotation } from '../../src/vip/annotations.ts'
import { endpoint, node, type ServiceOver, service, slice, view } from '../vip/cluster.ts'

const web = namespacedName('default', 'web')

function start(over: ServiceOver = {}) {
  const clock = createVirtualClock()
  const answers = new Map<string, HealthAnswer>()
  const asked: string[] = []
  let changes = 0
  const checker = createHealthChecker({
    ask: async (url) => {
      asked.push(url)
      return answers.get(new URL(url).hostname) ?? 'silence'
    },
    serviceClass: { name: 'bellhop.io/bgp', handleDefault: true },
    clock,
    onChange: () => changes++,
    signal: new AbortController().signal,
  })
  const cluster = view({
    services: [
      service('web', {
        annotations: { [healthCheckAnnotation]: 'NodePort' },
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 30_500,
        ...over,
      }),
    ],
    nodes: [node('n1', ['10.0.0.1']), node('n2', ['10.0.0.2']), node('n3', ['10.0.0.3'])],
    slices: [slice('web', [endpoint('n1'), endpoint('n2')])],
  })
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 5; turn++) await setImmediate()
  }
  return {
    asked,
    changes: () => changes,
    say: (address: string, answer: HealthAnswer) => answers.set(address, answer),
    begin: async (): Promise<void> => {
      checker.take(cluster, undefined)
      await settle()
    },
    round: async (): Promise<void> => {
      clock.advance(2000)
      await settle()
    },
    forget: () => checker.take(view({}), new Map([['Service', new Set([web])]])),
    against: () => Object.fromEntries(checker.opinions().get(web) ?? []),
  }
}

test('the nodes that host endpoints are asked, at the Service’s port', async () => {
  const { begin, asked } = start()
  await begin()
  expect(asked).toEqual(['http://10.0.0.1:30500/healthz', 'http://10.0.0.2:30500/healthz'])
})

test.each<[string, ServiceOver]>([
  ['does not ask for it', { annotations: {} }],
  ['asks for something unknown', { annotations: { [healthCheckAnnotation]: 'yes' } }],
  ['is not Local', { externalTrafficPolicy: 'Cluster' }],
  ['has no such port', { healthCheckNodePort: 0 }],
  ['is of another class', { loadBalancerClass: 'example.com/other' }],
])('nobody is asked for a Service that %s', async (_what, over) => {
  const { begin, asked } = start(over)
  await begin()
  expect(asked).toEqual([])
})

test('no has to be said twice, yes once', async () => {
  const { begin, round, say, against, changes } = start()
  say('10.0.0.1', { status: 200 })
  say('10.0.0.2', { status: 503 })
  await begin()
  expect([against(), changes()]).toEqual([{}, 0])
  await round()
  expect([against(), changes()]).toEqual([
    { n2: 'answers the Service’s health check at http://10.0.0.2:30500/healthz with 503' },
    1,
  ])
  await round()
  expect(changes()).toBe(1)
  say('10.0.0.2', { status: 200 })
  await round()
  expect([against(), changes()]).toEqual([{}, 2])
})

test('who is silent while others answer is spoken against', async () => {
  const { begin, round, say, against } = start()
  say('10.0.0.1', { status: 200 })
  await begin()
  await round()
  expect(against()).toEqual({ n2: 'does not answer the Service’s health check at http://10.0.0.2:30500/healthz' })
})

test('where nobody answers there is no opinion', async () => {
  const { begin, round, against } = start()
  await begin()
  await round()
  await round()
  expect(against()).toEqual({})
})

test('a Service that is gone has no opinion, and nobody is asked any more', async () => {
  const { begin, round, say, against, forget, asked } = start()
  say('10.0.0.1', { status: 200 })
  say('10.0.0.2', { status: 503 })
  await begin()
  await round()
  forget()
  expect(against()).toEqual({})
  const before = asked.length
  await round()
  expect(asked.length).toBe(before)
})
