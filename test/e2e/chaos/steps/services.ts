// What users do to Services: they come, change and go, and come again under the same name while their predecessor is still leaving.

import { type JsonObject, objectAt, stringAt, withValue } from '../../../../src/lab/apiserver/json.ts'
import type { Random } from '../../../fuzz/runner.ts'
import { nameOf } from '../expected.ts'
import { service } from '../manifests.ts'
import { attempt, pause, serviceRef } from '../world.ts'
import type { Draw } from './step.ts'

const names = ['s1', 's2', 's3', 's4', 's5', 's6', 's7', 's8'] as const

function drawService(random: Random, name: string): JsonObject {
  const annotations = random.pick<Readonly<Record<string, string>>>([
    {},
    {},
    {},
    { 'bellhop.io/next-hops': 'AllNodes' },
    { 'bellhop.io/endpoint-policy': 'Serving' },
    { 'bellhop.io/ips': `203.0.113.${10 + random.below(4)}` },
    { 'bellhop.io/pool': random.pick(['default', 'second', 'nowhere']) },
  ])
  return service(name, random.pick(['web', 'single']), annotations, {
    externalTrafficPolicy: random.pick(['Local', 'Cluster']),
    ...random.pick<JsonObject>([
      { ipFamilyPolicy: 'SingleStack' },
      { ipFamilyPolicy: 'RequireDualStack' },
      { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] },
      { ipFamilyPolicy: 'PreferDualStack' },
    ]),
    ...random.pick<JsonObject>([
      {},
      {},
      { loadBalancerClass: 'bellhop.io/bgp' },
      { loadBalancerClass: 'example.com/x' },
    ]),
  })
}

export const createService: Draw = (random) => {
  const count = random.pick([1, 1, 3])
  const made = Array.from({ length: count }, () => drawService(random, random.pick(names)))
  return {
    words: `created: ${made.map((each) => `${nameOf(each)} ${JSON.stringify(objectAt(each, 'metadata', 'annotations'))}`).join(', ')}`,
    locks: [],
    take: async (world) => {
      for (const each of made)
        if (world.objects().get(serviceRef(nameOf(each))) === undefined)
          attempt(world, 'create', (objects) => objects.put(each))
    },
  }
}

export const deleteService: Draw = (random) => {
  const name = random.pick(names)
  const again = random.oneIn(2) ? drawService(random, name) : undefined
  return {
    words: `Service ${name} is deleted${again === undefined ? '' : ', and made anew at once'}`,
    locks: [],
    take: async (world) => {
      const uid = stringAt(world.objects().get(serviceRef(name)), 'metadata', 'uid')
      attempt(world, 'delete', (objects) => objects.delete(serviceRef(name)))
      if (again === undefined) return
      // As soon as the name is free, which the finalizer decides.
      for (let tries = 0; tries < 3000; tries++) {
        const there = world.objects().get(serviceRef(name))
        if (there === undefined) return attempt(world, 'create', (objects) => objects.put(again))
        if (stringAt(there, 'metadata', 'uid') !== uid) return
        await pause(5)
      }
    },
  }
}

export const editService: Draw = (random) => {
  const name = random.pick(names)
  const edits: readonly (readonly [string, (object: JsonObject) => JsonObject])[] = [
    [
      'type ClusterIP',
      (at) =>
        withSpec(at, {
          type: 'ClusterIP',
          loadBalancerClass: undefined,
          externalTrafficPolicy: undefined,
          allocateLoadBalancerNodePorts: undefined,
        }),
    ],
    [
      'type LoadBalancer',
      (at) =>
        withSpec(at, {
          type: 'LoadBalancer',
          ...(stringAt(at, 'spec', 'type') === 'LoadBalancer' ? {} : { loadBalancerClass: undefined }),
        }),
    ],
    ['another class', (at) => withSpec(at, { type: 'LoadBalancer', loadBalancerClass: 'example.com/x' })],
    ['policy Local', (at) => withSpec(at, { externalTrafficPolicy: 'Local' })],
    ['policy Cluster', (at) => withSpec(at, { externalTrafficPolicy: 'Cluster' })],
    [
      'single stack',
      (at) => withSpec(at, { ipFamilyPolicy: 'SingleStack', ipFamilies: undefined, clusterIPs: undefined }),
    ],
    ['dual stack', (at) => withSpec(at, { ipFamilyPolicy: 'RequireDualStack' })],
    ['an address by name', (at) => annotated(at, 'bellhop.io/ips', `203.0.113.${10 + (Number(name.slice(1)) % 4)}`)],
    ['no address by name', (at) => annotated(at, 'bellhop.io/ips', undefined)],
    ['pool second', (at) => annotated(at, 'bellhop.io/pool', 'second')],
    ['pool nowhere', (at) => annotated(at, 'bellhop.io/pool', 'nowhere')],
    ['any pool', (at) => annotated(at, 'bellhop.io/pool', undefined)],
    ['all nodes', (at) => annotated(at, 'bellhop.io/next-hops', 'AllNodes')],
    ['selector web', (at) => withSpec(at, { selector: { app: 'web' } })],
    ['selector single', (at) => withSpec(at, { selector: { app: 'single' } })],
  ]
  const flips = random.oneIn(3)
  const chosen = [random.pick(edits), ...(flips ? [random.pick(edits)] : [])]
  const betweenMs = random.pick([0, 5, 50, 500])
  return {
    words: `Service ${name} gets ${chosen.map(([words]) => words).join(', then ')}`,
    locks: [],
    take: async (world) => {
      for (const [words, change] of chosen) {
        attempt(world, words, (objects) => objects.update(serviceRef(name), change))
        await pause(betweenMs)
      }
    },
  }
}

const withSpec = (at: JsonObject, spec: Readonly<Record<string, JsonObject[string] | undefined>>): JsonObject =>
  Object.entries(spec).reduce((object, [key, value]) => withValue(object, ['spec', key], value), at)
const annotated = (at: JsonObject, key: string, value: string | undefined): JsonObject =>
  withValue(at, ['metadata', 'annotations', key], value)
