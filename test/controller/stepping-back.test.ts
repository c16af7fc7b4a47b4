// When a replica is quiet: cut off, and told by one that is not that it speaks to the same routers.

import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createSteppingBack, cutOffMs, type Standing } from '../../src/controller/stepping-back.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

const other = 'http://10.0.0.12:7474/standing'

function start() {
  const virtual = createVirtualClock(100_000)
  let nowOffsetMs = 0
  const clock = { ...virtual, monotonicMs: () => virtual.monotonicMs() + nowOffsetMs }
  const answers = new Map<string, Standing>()
  const asked: string[] = []
  let renewedMs: number | undefined = clock.monotonicMs()
  let changes = 0
  const sign = (identity: string, address: string) => ({
    ...{ name: `bellhop-replica-${identity}`, identity, alive: false },
    annotations: { 'bellhop.io/liveness-address': address },
  })
  const steppingBack = createSteppingBack({
    renewedMs: () => renewedMs,
    replicas: () => [sign('own', '10.0.0.11'), sign('other', '10.0.0.12'), sign('third', '10.0.0.13')],
    name: 'own',
    httpPort: 7474,
    ask: async (url) => {
      asked.push(url)
      return answers.get(url)
    },
    onChange: () => changes++,
    clock,
    log: silentLog,
    signal: new AbortController().signal,
  })
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 500) {
      virtual.advance(500)
      for (let turn = 0; turn < 5; turn++) await setImmediate()
    }
  }
  return {
    asked,
    pass,
    /** Time goes by, and nothing is done in it. */
    stop: async (ms: number): Promise<void> => {
      nowOffsetMs += ms
      await pass(1000)
    },
    answers,
    changes: () => changes,
    connected: () => steppingBack.isConnected(),
    quiet: () => [...steppingBack.quiet()].sort(),
    renew: () => {
      renewedMs = clock.monotonicMs()
    },
    neverRenewed: () => {
      renewedMs = undefined
    },
  }
}

const sees = (...established: readonly string[]): Standing => ({ connected: true, established })

test('who is connected asks nobody', async () => {
  const { pass, renew, asked, connected } = start()
  for (let i = 0; i < 5; i++) {
    renew()
    await pass(2000)
  }
  expect([asked, connected()]).toEqual([[], true])
})

test('who is cut off is quiet towards the peers of those who are not, and speaks again when it is back', async () => {
  const { pass, renew, answers, quiet, connected, changes } = start()
  answers.set(other, sees('leaf1'))
  await pass(cutOffMs - 1000)
  expect([quiet(), connected()]).toEqual([[], false])
  await pass(2500)
  expect([quiet(), changes()]).toEqual([['leaf1'], 1])
  renew()
  await pass(1500)
  expect([quiet(), changes(), connected()]).toEqual([[], 2, true])
})

test('towards a peer that only it reaches it announces on', async () => {
  const { pass, answers, quiet } = start()
  answers.set(other, sees('leaf1'))
  answers.set('http://10.0.0.13:7474/standing', sees('leaf3'))
  await pass(cutOffMs + 2000)
  expect(quiet()).toEqual(['leaf1', 'leaf3'])
})

test.each<[string, Standing | undefined]>([
  ['nobody answers', undefined],
  ['the others do not see the API server either', { connected: false, established: ['leaf1'] }],
])('it announces on where %s', async (_what, answer) => {
  const { pass, answers, quiet, changes, asked } = start()
  if (answer !== undefined) answers.set(other, answer)
  await pass(cutOffMs + 5000)
  expect([quiet(), changes()]).toEqual([[], 0])
  expect(asked.length).toBeGreaterThan(2)
})

test('one lost answer changes nothing; when the other one is gone, it speaks again', async () => {
  const { pass, answers, quiet, changes } = start()
  answers.set(other, sees('leaf1'))
  await pass(cutOffMs + 2000)
  answers.delete(other)
  await pass(1000)
  answers.set(other, sees('leaf1'))
  await pass(2000)
  expect([quiet(), changes()]).toEqual([['leaf1'], 1])
  answers.delete(other)
  await pass(6000)
  expect([quiet(), changes()]).toEqual([[], 2])
})

test('in an outage it is told at once that the other one does not see the server any more', async () => {
  const { pass, answers, quiet } = start()
  answers.set(other, sees('leaf1'))
  await pass(cutOffMs + 2000)
  answers.set(other, { connected: false, established: ['leaf1'] })
  await pass(1500)
  expect(quiet()).toEqual([])
})

test('who was stopped for a while asks the API server first', async () => {
  const { stop, pass, renew, answers, asked } = start()
  answers.set(other, sees('leaf1'))
  await stop(30_000)
  renew()
  await pass(3000)
  expect(asked).toEqual([])
})

test('before the first renewal nobody is asked', async () => {
  const { pass, neverRenewed, asked, connected } = start()
  neverRenewed()
  await pass(cutOffMs + 3000)
  expect([asked, connected()]).toEqual([[], false])
})
