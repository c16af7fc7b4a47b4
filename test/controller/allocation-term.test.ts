// One term of the leader: when a pass is made, and that nothing is left of it at its end.

import { expect, test } from 'vitest'
import { type AllocationTerm, startAllocationTerm } from '../../src/controller/allocation-term.ts'
import type { KubeClient } from '../../src/k8s/client.ts'
import type { ClusterStore } from '../../src/k8s/cluster-store.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { view } from '../vip/cluster.ts'

function elected(options: { readonly onAllocated?: (term: AllocationTerm) => void } = {}) {
  const clock = createVirtualClock()
  const fence = new AbortController()
  const listed = Promise.withResolvers<void>()
  let confirmations = 0
  let passes = 0
  const store: Pick<ClusterStore, 'view' | 'whenSynced' | 'confirm'> = {
    view: () => view({}),
    whenSynced: async () => {},
    confirm: () => {
      confirmations++
      return listed.promise
    },
  }
  const term: AllocationTerm = startAllocationTerm(
    {
      client: {} as KubeClient,
      store: store as ClusterStore,
      ...{ clock, log: silentLog, name: 'replica-a', serviceClass: { name: 'bellhop.io/bgp', handleDefault: true } },
      isWithdrawn: () => true,
      givenBack: { avoided: () => new Set(), note: () => {} },
      onAllocated: () => {
        passes++
        options.onAllocated?.(term)
      },
    },
    { signal: fence.signal, holds: () => !fence.signal.aborted },
  )
  /** Lets so much time pass, and what was begun go on. */
  const goesOn = async (ms: number): Promise<void> => {
    for (let turns = 0; turns < 20; turns++) {
      clock.advance(turns === 0 ? ms : 0)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { clock, fence, term, listed, goesOn, passes: () => passes, confirmations: () => confirmations }
}

test('nothing is decided before lists that are younger than the election', async () => {
  const { term, listed, goesOn, passes, confirmations } = elected()
  term.pull()
  await goesOn(60_000)
  expect([passes(), confirmations(), term.allocation()]).toEqual([0, 1, undefined])
  listed.resolve()
  await goesOn(0)
  expect([passes(), term.allocation()]).toEqual([1, expect.objectContaining({ work: [] })])
})

test('a pass is due by itself after two minutes, and whenever it is asked for', async () => {
  const { term, listed, goesOn, passes } = elected()
  listed.resolve()
  await goesOn(0)
  await goesOn(119_000)
  expect(passes()).toBe(1)
  await goesOn(1_000)
  expect(passes()).toBe(2)
  term.pull()
  await goesOn(0)
  expect(passes()).toBe(3)
})

test('an end in the middle of a pass leaves no timer behind, for which the process would wait', async () => {
  let stopping: Promise<void> | undefined
  const { clock, fence, listed, goesOn, passes } = elected({
    onAllocated: (term) => {
      fence.abort()
      stopping = term.stop()
    },
  })
  listed.resolve()
  await goesOn(0)
  await stopping
  expect([passes(), clock.nextTimerInMs()]).toEqual([1, undefined])
})
