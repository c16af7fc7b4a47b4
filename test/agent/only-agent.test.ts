// Two agents on one node: the second waits until the first is gone, whichever way it went.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { claimNode } from '../../src/agent/only-agent.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'

const mark = `bellhop-test-${process.pid}`
const claim = (name: string, signal: AbortSignal, onTaken: () => void) =>
  claimNode(name, { clock: systemClock, signal, onTaken })

test('the second agent is told once, and takes its turn when the first ends', async () => {
  const { signal } = new AbortController()
  const first = await claim(`${mark}-a`, signal, () => {})
  let told = 0
  const second = claim(`${mark}-a`, signal, () => {
    told++
    first?.release()
  })
  ;(await second)?.release()
  expect([first === undefined, told]).toEqual([false, 1])
})

test('one that waits ends when it is told to', async () => {
  const first = await claim(`${mark}-b`, new AbortController().signal, () => {})
  const stop = new AbortController()
  expect(await claim(`${mark}-b`, stop.signal, () => stop.abort())).toBeUndefined()
  first?.release()
})

test('an agent that was killed leaves no mark behind', async () => {
  const script = `require('node:net').createServer().listen({ path: '\\0${mark}-c' }, () => console.log('held'))`
  const holder = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  const second = await claim(`${mark}-c`, new AbortController().signal, () => void holder.kill('SIGKILL'))
  expect(second).toBeDefined()
  second?.release()
})
