// Nodes lose their link, are edited, deleted and registered again, and somebody else writes into their rules.

import { type JsonObject, withValue } from '../../../../src/lab/apiserver/json.ts'
import { attempt, nodeRef, pause } from '../world.ts'
import { type Draw, lockOf, seconds, within } from './step.ts'

export const unplugNode: Draw = (random, { restless, homes }) => {
  const node = random.pick(restless)
  const which = random.pick(['its cable to the routers', 'its cable to the API server', 'all its cables'] as const)
  const downMs = within(random, 500, 15_000)
  return {
    words: `${node.name} loses ${which} for ${seconds(downMs)}`,
    locks: [`cables ${node.name}`, ...(homes.includes(node) ? [lockOf('controller', node)] : [])],
    take: async ({ lab, disturb }) => {
      const over = homes.includes(node) ? await disturb(node) : (): void => {}
      if (which === 'all its cables') await lab.cutOff(node)
      else if (which === 'its cable to the routers') await node.setLan('down')
      else await node.setManagement('down')
      await pause(downMs)
      if (which === 'all its cables') await lab.reconnect(node)
      else if (which === 'its cable to the routers') await node.setLan('up')
      else await node.setManagement('up')
      over()
    },
  }
}

export const editNode: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  const lastsMs = within(random, 0, 6000)
  const [key, path, value] = random.pick([
    ['bellhop.io/drain', 'annotations', 'true'],
    ['bellhop.io/next-hop', 'annotations', '10.0.0.999'],
    ['node.kubernetes.io/exclude-from-external-load-balancers', 'labels', ''],
  ] as const)
  const set = (to: string | undefined) => (object: JsonObject) => withValue(object, ['metadata', path, key], to)
  return {
    words: `${node.name} carries ${key}=${value} for ${seconds(lastsMs)}`,
    locks: [`node ${node.name}`],
    take: async (world) => {
      attempt(world, key, (objects) => objects.update(nodeRef(node.name), set(value)))
      await pause(lastsMs)
      attempt(world, key, (objects) => objects.update(nodeRef(node.name), set(undefined)))
    },
  }
}

export const deleteNode: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  return {
    words: `Node ${node.name} is deleted, and registers anew`,
    locks: [`node ${node.name}`],
    take: async (world) => attempt(world, 'delete', (objects) => objects.delete(nodeRef(node.name))),
  }
}

export const spoilRules: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  const command = random.pick([
    '-F BELLHOP-FORWARD',
    '-D FORWARD -m comment --comment "bellhop: accept connections to VIPs" -j BELLHOP-FORWARD',
  ])
  return {
    words: `somebody runs iptables ${command} on ${node.name}`,
    locks: [],
    take: async () => void (await node.namespace.exec(['sh', '-c', `iptables -w ${command}`])),
  }
}
