// A leaf and its sessions: started again, reset, asked for everything anew, unplugged.

import { pause } from '../world.ts'
import { type Draw, lockOf, seconds, within } from './step.ts'

export const restartLeaf: Draw = (random, { lab }) => {
  const router = random.pick(lab.routers)
  const signal = random.pick(['SIGKILL', 'SIGTERM'] as const)
  const downMs = random.pick([0, 2000, 11_000])
  return {
    words: `${router.name} (${router.kind}) starts again, ${seconds(downMs)} after ${signal}`,
    locks: [router.name, 'password'],
    take: async ({ excuse, restartLeaf: restart }) => {
      const over = excuse(`${router.name} starts again`)
      await restart(router, signal, downMs)
      over()
    },
  }
}

export const resetSession: Draw = (random, { lab, homes }) => {
  const router = random.pick(lab.routers)
  const node = random.pick(homes)
  const downMs = random.pick([0, 1000, 5000])
  return {
    words: `${router.name} ends its session with ${node.name} for ${seconds(downMs)}`,
    locks: [router.name, lockOf('controller', node)],
    take: async ({ disturb }) => {
      const over = await disturb(node)
      await router.shutdown(node.address.ipv4, 'chaos')
      await pause(downMs)
      await router.enable(node.address.ipv4)
      over()
    },
  }
}

export const refreshSession: Draw = (random, { lab, homes }) => {
  const router = random.pick(lab.routers)
  const node = random.pick(homes)
  return {
    words: `${router.name} asks ${node.name} for everything again`,
    locks: [router.name, lockOf('controller', node)],
    take: async () => {
      // Refused while there is no session.
      await router.refresh(node.address.ipv4).catch(() => {})
    },
  }
}

export const unplugLeaf: Draw = (random, { lab }) => {
  const leaf = random.pick(lab.topology.leaves)
  const downMs = within(random, 500, 12_000)
  return {
    words: `the cable of ${leaf.name} is pulled for ${seconds(downMs)}`,
    locks: [leaf.name],
    take: async ({ excuse }) => {
      const over = excuse(`the cable of ${leaf.name} is pulled`)
      await leaf.setLan('down')
      await pause(downMs)
      await leaf.setLan('up')
      over()
    },
  }
}
