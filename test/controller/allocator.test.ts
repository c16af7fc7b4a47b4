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

  test.each<[string, number, string]>([
    ['that forbids it', 403, 'Forbidden'],
    ['that knows nobody', 401, 'Unauthorized'],
    ['that is overloaded', 429, 'TooManyRequests'],
    ['that fails', 500, 'InternalError'],
    ['that is away', 0, 'Unreachable'],
  ])('does not knock 5,000 times at the door of an API server %s, and says it once', async (_, status, reason) => {
    let knocks = 0
    const said: unknown[] = []
    const result = await runAllocationPass({
      allocate: () => ({ work: Array.from({ length: 5000 }, (_each, i) => work(`s${i}`, `${i}`)), pools: new Map() }),
      execute: async () => {
        knocks++
        await Promise.resolve()
        return err({ status, reason, message: 'no' })
      },
      log: { ...silentLog, warn: ({ event }) => void said.push(event) },
      signal: new AbortController().signal,
    })
    expect([result.complete, result.refused, said]).toEqual([
      false,
      true,
      ['allocation-step-failed', 'allocation-refused'],
    ])
    expect(knocks).toBeLessThan(200)
  })

  test('that was refused begins behind those who were, and comes round to them', async () => {
    const works = Array.from({ length: 200 }, (_, i) => work(`s${i}`, `${i}`))
    const done = new Set<string>()
    let startAt = 0
    // A webhook that fails in the namespace of the first hundred.
    for (let passes = 0; passes < 3; passes++)
      ({ startAt } = await runAllocationPass({
        allocate: () => ({ work: works, pools: new Map() }),
        execute: async (each) => {
          if (Number(nameOf(each)) < 100) return err({ status: 500, reason: 'InternalError', message: 'no' })
          done.add(nameOf(each))
          return ok(undefined)
        },
        log: silentLog,
        startAt,
        signal: new AbortController().signal,
      }))
    expect(done.size).toBe(100)
  })

  test('goes on where some are refused and others are not', async () => {
    let done = 0
    const works = Array.from({ length: 5000 }, (_, i) => work(`s${i}`, `${i}`))
    const complete = await pass(works, async (each) => {
      if (Number(nameOf(each)) % 2 === 0) return err({ status: 422, reason: 'Invalid', message: 'no' })
      done++
      return ok(undefined)
    })
    expect([complete, done]).toEqual([false, 2500])
  })

  test('of conflicts alone is no refusal: the next pass follows soon', async () => {
    const { refused } = await runAllocationPass({
      allocate: () => ({ work: [work('a', '1')], pools: new Map() }),
      execute: async () => err({ status: 409, reason: 'Conflict', message: 'changed' }),
      log: silentLog,
      signal: new AbortController().signal,
    })
    expect(refused).toBe(false)
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
