// What operators do to Bellhop's own objects, mistakes among them.

import { type JsonObject, stringAt } from '../../../../src/lab/apiserver/json.ts'
import { nameOf } from '../expected.ts'
import { peer, pool } from '../manifests.ts'
import { attempt, pause } from '../world.ts'
import { restore } from './restore.ts'
import { type Draw, seconds, within } from './step.ts'

export const editPool: Draw = (random) => {
  const edited = random.pick<readonly [string, JsonObject | undefined]>([
    ['is shrunk', pool('default', ['203.0.113.12-203.0.113.15', '2001:db8:1::12-2001:db8:1::15'])],
    ['is tiny', pool('default', ['203.0.113.11', '2001:db8:1::11'])],
    ['moves', pool('default', ['203.0.113.61-203.0.113.80', '2001:db8:1::61-2001:db8:1::80'])],
    [
      'is disabled',
      pool('default', ['203.0.113.10-203.0.113.60', '2001:db8:1::10-2001:db8:1::60'], { disabled: true }),
    ],
    ['holds', pool('default', ['203.0.113.10-203.0.113.60', '2001:db8:1::10-2001:db8:1::60'], { hold: '4s' })],
    ['is nonsense', pool('default', ['203.0.113.20-203.0.113.10'])],
    ['is IPv4 alone', pool('default', ['203.0.113.10-203.0.113.60'])],
    ['is deleted', undefined],
  ])
  const [what, spec] = edited
  const lastsMs = within(random, 0, 6000)
  return {
    words: `VipPool default ${what} for ${seconds(lastsMs)}`,
    locks: ['pool default'],
    take: async (world) => {
      const ref = { apiVersion: 'bellhop.io/v1alpha1', kind: 'VipPool', name: 'default' }
      attempt(world, what, (objects) => (spec === undefined ? objects.delete(ref) : objects.put(spec)))
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => restore(objects, 'VipPool', 'default'))
    },
  }
}

export const secondPool: Draw = (random) => {
  const makes = random.oneIn(2)
  const ref = { apiVersion: 'bellhop.io/v1alpha1', kind: 'VipPool', name: 'second' }
  return {
    words: `VipPool second is ${makes ? 'made' : 'deleted'}`,
    locks: ['pool second'],
    take: async (world) =>
      attempt(world, 'second', (objects) =>
        makes
          ? objects.put(
              pool('second', ['203.0.113.90-203.0.113.99', '2001:db8:1::90-2001:db8:1::99'], { autoAssign: false }),
            )
          : objects.delete(ref),
      ),
  }
}

export const editPeer: Draw = (random) => {
  const name = random.pick(['leaf1', 'leaf2'] as const)
  const [what, spec] = random.pick<readonly [string, JsonObject | undefined]>([
    ['other timers', peer(name, { timers: { holdSeconds: 6, keepaliveSeconds: 2, connectRetrySeconds: 1 } })],
    ['a shutdown', peer(name, { shutdown: 'chaos' })],
    ['IPv4 alone', peer(name, { families: ['ipv4-unicast'] })],
    ['a Secret that is not there', peer(name, { passwordSecretRef: { name: 'nowhere', key: 'password' } })],
    ['no ADD-PATH', peer(name, { addPath: 'disabled' })],
    ['another description of the same', peer(name, { port: 179 })],
    ['deletion', undefined],
  ])
  const lastsMs = within(random, 0, 8000)
  return {
    words: `BgpPeer ${name} gets ${what} for ${seconds(lastsMs)}`,
    locks: [`peer ${name}`],
    take: async (world) => {
      const over = world.excuse(`BgpPeer ${name} is edited`)
      const ref = { apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPeer', name }
      attempt(world, what, (objects) => (spec === undefined ? objects.delete(ref) : objects.put(spec)))
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => restore(objects, 'BgpPeer', name))
      over()
    },
  }
}

export const rotatePassword: Draw = (random, { lab }) => {
  const password = `secret-${random.below(1_000_000)}`
  const apartMs = within(random, 0, 4000)
  const lastsMs = within(random, 1000, 6000)
  return {
    words: `all sessions get a password, at the leaves ${seconds(apartMs)} later; for ${seconds(lastsMs)}`,
    locks: ['password', 'peer leaf1', 'peer leaf2', ...lab.routers.map(({ name }) => name)],
    take: async (world) => {
      const over = world.excuse('all sessions get a password')
      const secret = (text: string): JsonObject => ({
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'md5', namespace: 'bellhop-system' } },
        data: { password: Buffer.from(text).toString('base64') },
      })
      attempt(world, 'password', (objects) => {
        objects.put(secret(password))
        for (const name of ['leaf1', 'leaf2'] as const)
          objects.put(peer(name, { passwordSecretRef: { name: 'md5', key: 'password' } }))
      })
      await pause(apartMs)
      await world.setPassword(password)
      await pause(lastsMs)
      attempt(world, 'rotation', (objects) => objects.put(secret(`${password}-next`)))
      await pause(apartMs)
      await world.setPassword(`${password}-next`)
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => {
        for (const name of ['leaf1', 'leaf2']) restore(objects, 'BgpPeer', name)
      })
      await world.setPassword(undefined)
      over()
    },
  }
}

export const editConf: Draw = (random) => {
  const [what, spec] = random.pick<readonly [string, JsonObject]>([
    ['guards at once', { asn: 64512, drainGraceSeconds: 2, withdrawGuard: { percent: 10, minimumVips: 1 } }],
    ['has a longer grace time', { asn: 64512, drainGraceSeconds: 30 }],
  ])
  const lastsMs = within(random, 0, 8000)
  return {
    words: `the BgpConf ${what} for ${seconds(lastsMs)}`,
    locks: ['conf'],
    take: async (world) => {
      const conf = { apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpConf', metadata: { name: 'default' } }
      attempt(world, what, (objects) => objects.put({ ...conf, spec }))
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => restore(objects, 'BgpConf', 'default'))
    },
  }
}

export const editPolicy: Draw = (random) => {
  const spec = random.pick<JsonObject>([
    { communities: ['64512:100'], med: 10 },
    { prepend: 2 },
    { linkBandwidth: 'Endpoints' },
    { announce: false, pools: ['default'] },
  ])
  const lastsMs = within(random, 0, 8000)
  return {
    words: `a BgpPolicy says ${JSON.stringify(spec)} for ${seconds(lastsMs)}`,
    locks: ['policy'],
    take: async (world) => {
      const metadata = { name: 'chaos' }
      attempt(world, 'policy', (objects) =>
        objects.put({ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPolicy', metadata, spec }),
      )
      await pause(lastsMs)
      attempt(world, 'policy', (objects) =>
        objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPolicy', name: 'chaos' }),
      )
    },
  }
}

export const deleteVip: Draw = (random) => {
  const which = random.below(8)
  return {
    words: `somebody deletes Vip ${which} by hand`,
    locks: [],
    take: async (world) => {
      const vips = world
        .objects()
        .list('bellhop.io/v1alpha1', 'Vip')
        .filter((vip) => stringAt(vip, 'spec', 'pool') !== 'calm')
      const vip = vips[which % Math.max(1, vips.length)]
      if (vip === undefined) return
      attempt(world, 'delete', (objects) =>
        objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name: nameOf(vip) }),
      )
    },
  }
}
