// Our own programs end, are killed, and stand still for a while.

import { pause } from '../world.ts'
import { type Draw, lockOf, seconds, within } from './step.ts'

export const endController: Draw = (random, { homes }) => {
  const node = random.pick(homes)
  const signal = random.pick(['SIGKILL', 'SIGTERM'] as const)
  const downMs = random.pick([0, 0, 1000, 4000, 12_000])
  return {
    words: `${signal} to the controller on ${node.name}, started again after ${seconds(downMs)}`,
    locks: [lockOf('controller', node)],
    take: async ({ programs, disturb }) => {
      const over = await disturb(node)
      await programs.end('controller', node, signal)
      await pause(downMs)
      programs.start('controller', node)
      over()
    },
  }
}

export const stopController: Draw = (random, { homes }) => {
  const node = random.pick(homes)
  const stoppedMs = within(random, 1000, 20_000)
  return {
    words: `the controller on ${node.name} is stopped for ${seconds(stoppedMs)}`,
    locks: [lockOf('controller', node)],
    take: async ({ programs, disturb }) => {
      const over = await disturb(node)
      programs.signal('controller', node, 'SIGSTOP')
      await pause(stoppedMs)
      programs.signal('controller', node, 'SIGCONT')
      over()
    },
  }
}

// The node of the untouched Service among them: rules outlive their agent.
export const endAgent: Draw = (random, { nodes }) => {
  const node = random.pick(nodes)
  const signal = random.pick(['SIGKILL', 'SIGTERM'] as const)
  const downMs = random.pick([0, 1000, 6000])
  return {
    words: `${signal} to the agent on ${node.name}, started again after ${seconds(downMs)}`,
    locks: [lockOf('agent', node)],
    take: async ({ programs }) => {
      await programs.end('agent', node, signal)
      await pause(downMs)
      programs.start('agent', node)
    },
  }
}

export const stopAgent: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  const stoppedMs = within(random, 500, 15_000)
  return {
    words: `the agent on ${node.name} is stopped for ${seconds(stoppedMs)}`,
    locks: [lockOf('agent', node)],
    take: async ({ programs }) => {
      programs.signal('agent', node, 'SIGSTOP')
      await pause(stoppedMs)
      programs.signal('agent', node, 'SIGCONT')
    },
  }
}
