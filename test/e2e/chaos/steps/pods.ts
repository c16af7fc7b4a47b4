// Pods become unready and ready again, are deleted, and are more or fewer.

import { type JsonObject, stringAt, withValue } from '../../../../src/lab/apiserver/json.ts'
import { nameOf } from '../expected.ts'
import { deployment } from '../manifests.ts'
import { attempt, pause } from '../world.ts'
import { type Draw, seconds, within } from './step.ts'

export const editPod: Draw = (random) => {
  const app = random.pick(['web', 'web', 'single'])
  const which = random.below(4)
  const what = random.pick(['unready', 'delete'] as const)
  const lastsMs = within(random, 0, 8000)
  return {
    words: `pod ${which} of ${app}: ${what}${what === 'unready' ? ` for ${seconds(lastsMs)}` : ''}`,
    locks: [],
    take: async (world) => {
      const pods = world
        .objects()
        .list('v1', 'Pod', 'default')
        .filter((each) => stringAt(each, 'metadata', 'labels', 'app') === app)
      const pod = pods[which % Math.max(1, pods.length)]
      if (pod === undefined) return
      const ref = { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: nameOf(pod) }
      const ready = (to: string) => (object: JsonObject) =>
        withValue(object, ['metadata', 'annotations', 'lab.bellhop.io/ready'], to)
      if (what === 'delete') return attempt(world, 'delete', (objects) => objects.delete(ref))
      attempt(world, 'unready', (objects) => objects.update(ref, ready('false')))
      await pause(lastsMs)
      attempt(world, 'ready', (objects) => objects.update(ref, ready('true')))
    },
  }
}

export const scale: Draw = (random) => {
  const app = random.pick(['web', 'single'])
  const replicas = random.pick([0, 1, 2, 3, 4])
  return {
    words: `deployment ${app} is scaled to ${replicas}`,
    locks: [],
    take: async (world) => attempt(world, 'scale', (objects) => objects.put(deployment(app, replicas))),
  }
}
