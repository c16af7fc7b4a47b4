import { describe, expect, test } from 'vitest'
import { type ExecuteStep, runAllocationPass } from '../../src/controller/allocator.ts'
import { namespacedName } from '../../src/k8s/objects.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { err, ok } from '../../src/runtime/result.ts'
import type { AllocationStep, AllocationWork } from '../../src/vip/types.ts'

const step = (name: string): AllocationStep => ({
  type: 'delete-vip',
  name,
  uid: 'u',
  resourceVersion: '1',
  fences: [],
})
const work = (service: string, ...vips: string[]): AllocationWork => ({
  service: namespacedName('default', service),
  steps: vips.map(step),
})

async function pass(
  works: readonly AllocationWork[],
  execute: ExecuteStep,
  signal = new AbortController().signal,
): Promise<boolean> {
  const allocation = { work: works, pools: new Map() }
  return (await runAllocationPass({ allocate: () => allocation, execute, log: silentLog, signal })).complete
}

const nameOf = (of: AllocationStep): string => (of.type === 'delete-vip' ? of.name : of.type)

describe('a pass of allocation', () => {
  test('carries out the steps of a Service in order', async () => {
    const done: string[] = []
    const complete = await pass([work('a', '1', '2', '3')], async (each) => {
      await Promise.resolve()
      done.push(nameOf(each))
      return ok(undefined)
    })
    expect([complete, done]).toEqual([true, ['1', '2', '3']])
  })

  test('stops a Service at its first failure, and only that one', async () => {
    const done: string[] = []
    const complete = await pass([work('a', '1', '2'), work('b', '3', '4')], async (each) => {
      done.push(nameOf(each))
      return nameOf(each) === '1' ? err({ status: 409, reason: 'AlreadyExists', message: 'taken' }) : ok(undefined)
    })
    expect([complete, done.sort()]).toEqual([false, ['1', '3', '4']])
  })

  test('works on many Services at once, but not on all of them', async () => {
    let underWay = 0
    let most = 0
    const works = Array.from({ length: 200 }, (_, i) => work(`s${i}`, String(i)))
    await pass(works, async () => {
      most = Math.max(most, ++underWay)
      await new Promise((resolve) => setImmediate(resolve))
      underWay--
      return ok(undefined)
    })
    expect([most, underWay]).toEqual([32, 0])
  })

  test('writes nothing more once leadership is lost', async () => {
    const ending = new AbortController()
    const done: string[] = []
    const complete = await pass(
      [work('a', '1', '2', '3')],
      async (each) => {
        done.push(nameOf(each))
        ending.abort()
        return ok(undefined)
      },
      ending.signal,
    )
    expect([complete, done]).toEqual([false, ['1']])
  })
})
