// The cluster around Bellhop, driven by a clock that moves only when told: what follows from a change, and when.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type ClusterControllers,
  startClusterControllers,
} from '../../../../src/lab/apiserver/cluster-controllers/cluster-controllers.ts'
import { type JsonObject, objectAt, objectsAt, stringAt } from '../../../../src/lab/apiserver/json.ts'
import { type ApiServerHandle, startApiServer } from '../../../../src/lab/apiserver/server.ts'
import { createVirtualClock, type VirtualClock } from '../../../../src/runtime/virtual-clock.ts'

let clock: VirtualClock
let server: ApiServerHandle
let controllers: ClusterControllers

beforeEach(async () => {
  clock = createVirtualClock(Date.UTC(2024, 0, 1))
  server = await startApiServer({ clock })
  controllers = startClusterControllers(server.cluster, { leaseGraceMs: 40_000 })
})
afterEach(async () => {
  controllers.stop()
  await server.stop()
})

/** Lets the controllers run until nothing is left to do at this moment. */
const settle = (): void => {
  while (clock.nextTimerInMs() === 0) clock.advance(0)
}

const put = (object: object): JsonObject => server.objects.put({ apiVersion: 'v1', ...object } as unknown as JsonObject)

const putNode = (name: string, labels: Record<string, string> = {}): JsonObject =>
  put({ kind: 'Node', metadata: { name, labels }, status: { conditions: [{ type: 'Ready', status: 'True' }] } })

const putPod = (
  name: string,
  facts: { ips?: string[]; ready?: boolean; nodeName?: string; labels?: object; spec?: object } = {},
): JsonObject =>
  put({
    kind: 'Pod',
    metadata: { name, labels: facts.labels ?? { app: 'web' } },
    spec: {
      nodeName: facts.nodeName ?? 'n1',
      containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 8080 }] }],
      ...facts.spec,
    },
    status: {
      phase: 'Running',
      podIPs: (facts.ips ?? []).map((ip) => ({ ip })),
      conditions: [{ type: 'Ready', status: facts.ready === false ? 'False' : 'True' }],
    },
  })

const putService = (spec: object = {}): JsonObject =>
  put({
    kind: 'Service',
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 'http' }], ...spec },
  })

const slices = (): readonly JsonObject[] => {
  settle()
  return server.objects.list('discovery.k8s.io/v1', 'EndpointSlice')
}
const endpoints = (): readonly JsonObject[] => slices().flatMap((slice) => objectsAt(slice, 'endpoints'))
const pods = (): readonly JsonObject[] => {
  settle()
  return server.objects.list('v1', 'Pod')
}
const node = (name: string): JsonObject | undefined => {
  settle()
  return server.objects.get({ apiVersion: 'v1', kind: 'Node', name })
}

describe('EndpointSlices', () => {
  test('say where a Service’s pods are, as Kubernetes writes it', () => {
    putService()
    const pod = putPod('a', { ips: ['10.0.0.1'], nodeName: 'n2' })
    expect(slices()).toMatchObject([
      {
        addressType: 'IPv4',
        metadata: {
          labels: {
            'kubernetes.io/service-name': 'web',
            'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
          },
          ownerReferences: [{ kind: 'Service', name: 'web', controller: true }],
        },
        ports: [{ name: '', protocol: 'TCP', port: 8080 }],
        endpoints: [
          {
            addresses: ['10.0.0.1'],
            conditions: { ready: true, serving: true, terminating: false },
            nodeName: 'n2',
            targetRef: { kind: 'Pod', namespace: 'default', name: 'a', uid: stringAt(pod, 'metadata', 'uid') },
          },
        ],
      },
    ])
  })

  test.each<[string, object, object, object]>([
    ['a ready pod', {}, {}, { ready: true, serving: true, terminating: false }],
    ['a pod that is not ready', { ready: false }, {}, { ready: false, serving: false, terminating: false }],
    [
      'a pod that is not ready, published all the same',
      { ready: false },
      { publishNotReadyAddresses: true },
      { ready: true, serving: false, terminating: false },
    ],
  ])('%s', (_what, podFacts, spec, conditions) => {
    putService(spec)
    putPod('a', { ips: ['10.0.0.1'], ...podFacts })
    expect(endpoints()[0]?.['conditions']).toEqual(conditions)
  })

  test('a pod that is being deleted serves, terminating, until it is gone', () => {
    putService()
    putPod('a', { ips: ['10.0.0.1'] })
    const ref = { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'a' }
    putNode('n1')
    server.objects.delete(ref)
    expect(endpoints()[0]?.['conditions']).toEqual({ ready: false, serving: true, terminating: true })
    server.objects.delete(ref, { gracePeriodSeconds: 0 })
    expect([slices().length, endpoints()]).toEqual([1, []])
  })

  test('each family has slices of its own', () => {
    putService({ ipFamilyPolicy: 'RequireDualStack' })
    putPod('a', { ips: ['10.0.0.1', 'fd00::1'] })
    putPod('b', { ips: ['10.0.0.2'] })
    const byFamily = slices().map((slice) => [stringAt(slice, 'addressType'), objectsAt(slice, 'endpoints').length])
    expect(Object.fromEntries(byFamily)).toEqual({ IPv4: 2, IPv6: 1 })
  })

  test('hold a hundred endpoints at most, and are filled before new ones are made', () => {
    putService()
    for (let i = 0; i < 150; i++) putPod(`p${i}`, { ips: [`10.0.1.${i}`] })
    const sizes = (): readonly number[] =>
      slices()
        .map((slice) => objectsAt(slice, 'endpoints').length)
        .toSorted((a, b) => b - a)
    expect(sizes()).toEqual([100, 50])
    for (let i = 0; i < 20; i++) putPod(`q${i}`, { ips: [`10.0.2.${i}`] })
    expect(sizes()).toEqual([100, 70])
  })

  test('are changed in place when a pod becomes unready', () => {
    putService()
    putPod('a', { ips: ['10.0.0.1'] })
    const [before] = slices()
    putPod('a', { ips: ['10.0.0.1'], ready: false })
    const [after, ...more] = slices()
    expect([stringAt(after, 'metadata', 'name'), more]).toEqual([stringAt(before, 'metadata', 'name'), []])
  })

  test('group pods by what a named port means to them', () => {
    putService()
    putPod('a', { ips: ['10.0.0.1'] })
    putPod('b', {
      ips: ['10.0.0.2'],
      spec: { containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 9090 }] }] },
    })
    const ports = slices().map((slice) => objectsAt(slice, 'ports')[0]?.['port'])
    expect(ports.toSorted()).toEqual([8080, 9090])
  })

  test('leave out pods of other labels, and those that have ended', () => {
    putService()
    putPod('other', { ips: ['10.0.0.1'], labels: { app: 'db' } })
    put({ ...putPod('done', { ips: ['10.0.0.2'] }), status: { phase: 'Succeeded', podIPs: [{ ip: '10.0.0.2' }] } })
    expect(endpoints()).toEqual([])
  })

  test('follow the selector, and go with their Service', () => {
    putService()
    putPod('a', { ips: ['10.0.0.1'] })
    expect(endpoints().length).toBe(1)
    putService({ selector: { app: 'db' } })
    expect(endpoints().length).toBe(0)
    server.objects.delete({ apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web' })
    expect(slices()).toEqual([])
  })

  test('of a Service without a selector are left to others', () => {
    put({ kind: 'Service', metadata: { name: 'manual' }, spec: { ports: [{ port: 80 }] } })
    expect(slices()).toEqual([])
  })
})

describe('a node', () => {
  const renew = (): void => {
    put({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'n1', namespace: 'kube-node-lease' },
      spec: { holderIdentity: 'n1', renewTime: new Date(clock.wallMs()).toISOString() },
    })
    settle()
  }
  const ready = (object: JsonObject | undefined): string | undefined =>
    stringAt(
      objectsAt(object, 'status', 'conditions').find((each) => stringAt(each, 'type') === 'Ready'),
      'status',
    )

  test('is Unknown 40 s after its last renewal, tainted, and its pods are not ready', () => {
    putNode('n1')
    putPod('a', { ips: ['10.0.0.1'] })
    renew()
    clock.advance(39_000)
    renew()
    clock.advance(39_000)
    expect(ready(node('n1'))).toBe('True')
    clock.advance(2000)
    expect(ready(node('n1'))).toBe('Unknown')
    expect(objectsAt(node('n1'), 'spec', 'taints').map((taint) => stringAt(taint, 'effect'))).toEqual([
      'NoSchedule',
      'NoExecute',
    ])
    expect(ready(pods()[0])).toBe('False')
  })

  test('loses the taint when its kubelet says it is Ready again', () => {
    putNode('n1')
    renew()
    clock.advance(41_000)
    expect(objectsAt(node('n1'), 'spec', 'taints').length).toBe(2)
    renew()
    putNode('n1')
    expect(objectsAt(node('n1'), 'spec', 'taints')).toEqual([])
    expect(ready(node('n1'))).toBe('True')
  })

  test('without a Lease is left alone', () => {
    putNode('n1')
    settle()
    clock.advance(3_600_000)
    expect(ready(node('n1'))).toBe('True')
  })

  test('that is removed takes the pods along that waited for its kubelet', () => {
    putNode('n1')
    putPod('a')
    server.objects.delete({ apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'a' })
    expect(pods().length).toBe(1)
    server.objects.delete({ apiVersion: 'v1', kind: 'Node', name: 'n1' })
    expect(pods()).toEqual([])
  })
})

describe('a Deployment', () => {
  const deploy = (spec: object = {}, image = 'one'): void => {
    put({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web' },
      spec: {
        replicas: 4,
        selector: { matchLabels: { app: 'web' } },
        template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image }] } },
        ...spec,
      },
    })
    settle()
  }
  const nodesUsed = (): readonly (string | undefined)[] =>
    pods()
      .map((pod) => stringAt(pod, 'spec', 'nodeName'))
      .toSorted()
  const images = (): readonly unknown[] =>
    pods()
      .filter((pod) => stringAt(pod, 'metadata', 'deletionTimestamp') === undefined)
      .map((pod) => objectsAt(pod, 'spec', 'containers')[0]?.['image'])
  const makeReady = (): void => {
    for (const pod of pods())
      server.objects.update(
        { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: stringAt(pod, 'metadata', 'name') ?? '' },
        (at) => ({ ...at, status: { ...objectAt(at, 'status'), conditions: [{ type: 'Ready', status: 'True' }] } }),
        { subresource: 'status' },
      )
    settle()
  }
  const finishDeletions = (): void => {
    for (const pod of pods())
      if (stringAt(pod, 'metadata', 'deletionTimestamp') !== undefined)
        server.objects.delete(
          { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: stringAt(pod, 'metadata', 'name') ?? '' },
          { gracePeriodSeconds: 0 },
        )
    settle()
  }

  test('spreads its pods over the Ready nodes', () => {
    for (const name of ['n1', 'n2']) putNode(name)
    deploy()
    expect(nodesUsed()).toEqual(['n1', 'n1', 'n2', 'n2'])
  })

  test.each<[string, () => void]>([
    ['cordoned', () => put({ ...putNode('n2'), spec: { unschedulable: true } })],
    [
      'not Ready',
      () =>
        put({ kind: 'Node', metadata: { name: 'n2' }, status: { conditions: [{ type: 'Ready', status: 'False' }] } }),
    ],
    ['tainted', () => put({ ...putNode('n2'), spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } })],
  ])('avoids a node that is %s', (_what, make) => {
    putNode('n1')
    make()
    deploy()
    expect(new Set(nodesUsed())).toEqual(new Set(['n1']))
  })

  test('waits for a node, and takes the first that comes', () => {
    deploy({ replicas: 1 })
    expect(nodesUsed()).toEqual([undefined])
    putNode('late')
    expect(nodesUsed()).toEqual(['late'])
  })

  test('honours nodeSelector', () => {
    putNode('n1')
    putNode('n2', { disk: 'fast' })
    const template = {
      metadata: { labels: { app: 'web' } },
      spec: { nodeSelector: { disk: 'fast' }, containers: [{ name: 'c', image: 'one' }] },
    }
    deploy({ template })
    expect(new Set(nodesUsed())).toEqual(new Set(['n2']))
  })

  test('replaces its pods step by step, never with too few ready', () => {
    putNode('n1')
    deploy()
    makeReady()
    deploy({}, 'two')
    let rounds = 0
    while (images().some((image) => image === 'one')) {
      expect(images().length).toBeLessThanOrEqual(5)
      expect(
        pods().filter((pod) =>
          objectsAt(pod, 'status', 'conditions').some((each) => stringAt(each, 'type') === 'Ready'),
        ).length,
      ).toBeGreaterThanOrEqual(3)
      finishDeletions()
      makeReady()
      rounds += 1
      expect(rounds).toBeLessThan(10)
    }
    expect(images()).toEqual(['two', 'two', 'two', 'two'])
    const deployment = server.objects.get({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      namespace: 'default',
      name: 'web',
    })
    expect(deployment).toMatchObject({
      status: { observedGeneration: 2, replicas: 4, updatedReplicas: 4, readyReplicas: 4 },
    })
  })

  test('scaled down keeps its pods spread', () => {
    for (const name of ['n1', 'n2']) putNode(name)
    deploy()
    makeReady()
    deploy({ replicas: 2 })
    finishDeletions()
    expect(nodesUsed()).toEqual(['n1', 'n2'])
  })

  test('that is deleted takes its pods along', () => {
    deploy()
    server.objects.delete({ apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'default', name: 'web' })
    expect(pods()).toEqual([])
  })
})

describe('owners', () => {
  const owned = (owner: JsonObject): void => {
    const { name, uid } = objectAt(owner, 'metadata')
    put({
      kind: 'ConfigMap',
      metadata: { name: 'owned', ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name, uid }] },
    })
    settle()
  }
  const exists = (name: string): boolean => {
    settle()
    return server.objects.get({ apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name }) !== undefined
  }
  const remove = (propagation: 'Background' | 'Foreground' | 'Orphan'): void => {
    server.objects.delete({ apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'owner' }, { propagation })
  }

  test.each([
    ['Background', [false, false]],
    ['Foreground', [false, false]],
    ['Orphan', [false, true]],
  ] as const)('deleted with %s: owner and dependent exist %j', (propagation, expected) => {
    owned(put({ kind: 'ConfigMap', metadata: { name: 'owner' } }))
    remove(propagation)
    expect([exists('owner'), exists('owned')]).toEqual(expected)
  })

  test('in the foreground wait for a dependent that a finalizer holds', () => {
    owned(put({ kind: 'ConfigMap', metadata: { name: 'owner' } }))
    const ref = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'owned' }
    const setFinalizers = (finalizers: readonly string[]): void => {
      server.objects.update(ref, (at) => ({ ...at, metadata: { ...objectAt(at, 'metadata'), finalizers } }))
    }
    setFinalizers(['example.com/hold'])
    remove('Foreground')
    expect([exists('owner'), exists('owned')]).toEqual([true, true])
    setFinalizers([])
    expect([exists('owner'), exists('owned')]).toEqual([false, false])
  })

  test('that never existed leave nothing behind', () => {
    owned({ metadata: { name: 'imaginary', uid: '00000000-0000-0000-0000-000000000000' } })
    expect(exists('owned')).toBe(false)
  })
})
