import { describe, expect, test } from 'vitest'
import { createTrigger } from '../../src/runtime/trigger.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const rethrow = (error: unknown): never => {
  throw error
}

describe('a trigger', () => {
  test('runs once after many pulls', async () => {
    const clock = createVirtualClock()
    let runs = 0
    const trigger = createTrigger(() => void runs++, { clock, onError: rethrow })
    trigger.pull()
    trigger.pull()
    clock.advance(0)
    await settle()
    expect([runs, clock.nextTimerInMs()]).toEqual([1, undefined])
  })

  test('runs again after a pull that came during a run, never twice at once', async () => {
    const clock = createVirtualClock()
    const log: string[] = []
    let finish = (): void => {}
    const trigger = createTrigger(
      () => {
        log.push('start')
        return new Promise<void>((resolve) => {
          finish = () => {
            log.push('end')
            resolve()
          }
        })
      },
      { clock, onError: rethrow },
    )
    trigger.pull()
    clock.advance(0)
    trigger.pull()
    clock.advance(1000)
    expect(log).toEqual(['start'])
    finish()
    await settle()
    clock.advance(0)
    expect(log).toEqual(['start', 'end', 'start'])
  })

  test('keeps its interval between runs', async () => {
    const clock = createVirtualClock()
    const runsAt: number[] = []
    const trigger = createTrigger(() => void runsAt.push(clock.monotonicMs()), {
      clock,
      intervalMs: 200,
      onError: rethrow,
    })
    trigger.pull()
    clock.advance(0)
    await settle()
    trigger.pull()
    clock.advance(150)
    expect(runsAt).toEqual([0])
    clock.advance(50)
    expect(runsAt).toEqual([0, 200])
  })

  test('starts no sooner than after ten times as long as the last run kept the thread busy, if that is more than its interval', async () => {
    const clock = createVirtualClock()
    const runsAt: number[] = []
    const busyMs = [50, 1]
    const trigger = createTrigger(() => void runsAt.push(clock.monotonicMs()), {
      clock,
      intervalMs: 100,
      busyMs: () => busyMs[runsAt.length - 1] ?? 0,
      onError: rethrow,
    })
    for (const untilNextMs of [499, 1, 99, 1]) {
      trigger.pull()
      clock.advance(0)
      await settle()
      clock.advance(untilNextMs)
      await settle()
    }
    expect(runsAt).toEqual([0, 500, 600])
  })

  test('counts as rest what a run only waits for', async () => {
    const clock = createVirtualClock()
    const runsAt: number[] = []
    let finish = (): void => {}
    const trigger = createTrigger(
      () => {
        runsAt.push(clock.monotonicMs())
        return new Promise<void>((resolve) => {
          finish = resolve
        })
      },
      { clock, busyMs: () => 50, onError: rethrow },
    )
    trigger.pull()
    clock.advance(0)
    trigger.pull()
    clock.advance(2000)
    finish()
    await settle()
    clock.advance(0)
    expect(runsAt).toEqual([0, 2000])
  })

  test('hands errors to its owner and goes on', async () => {
    const clock = createVirtualClock()
    const errors: unknown[] = []
    let runs = 0
    const trigger = createTrigger(
      () => {
        runs++
        throw new Error('broken')
      },
      { clock, onError: (error) => errors.push(error) },
    )
    trigger.pull()
    clock.advance(0)
    await settle()
    trigger.pull()
    clock.advance(0)
    await settle()
    expect([runs, errors.length]).toEqual([2, 2])
  })

  test('stops: no run after it, and the present one is awaited', async () => {
    const clock = createVirtualClock()
    let runs = 0
    const trigger = createTrigger(() => void runs++, { clock, onError: rethrow })
    trigger.pull()
    await trigger.stop()
    clock.advance(10)
    trigger.pull()
    clock.advance(10)
    expect(runs).toBe(0)
  })
})
