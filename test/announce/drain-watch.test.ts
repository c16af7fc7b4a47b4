import { expect, test } from 'vitest'
import { createDrainWatch } from '../../src/announce/drain-watch.ts'
import { drainAnnotation } from '../../src/plan/drain.ts'
import { drainStatus, drainsIn } from '../../src/plan/report-drains.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { node } from '../vip/cluster.ts'

const nodesWith = (value: string | undefined) =>
  new Map([['n1', node('n1', [], { meta: { annotations: value === undefined ? {} : { [drainAnnotation]: value } } })]])

/** A watch whose owner plans when it is due, and the phases of n1 that it planned with, by seconds. */
function watchOf() {
  const clock = createVirtualClock()
  const planned: string[] = []
  const ending = new AbortController()
  const watch = createDrainWatch({ clock, signal: ending.signal, onDue: () => plan() })
  const plan = (): void => {
    planned.push(`${clock.monotonicMs() / 1000} s: ${watch.phases().get('n1') ?? 'no drain'}`)
  }
  return { clock, planned, watch, plan, end: () => ending.abort() }
}

test('a plan is due when the grace time is over, and not before', () => {
  const { clock, planned, watch, plan } = watchOf()
  watch.setNodes(nodesWith(undefined))
  plan()
  watch.setNodes(nodesWith('true'))
  plan()
  clock.advance(10_000)
  plan()
  clock.advance(100_000)
  expect(planned).toEqual(['0 s: no drain', '0 s: leaving', '10 s: leaving', '30 s: left'])
})

test('a watch that starts in the middle of a drain goes on where the one before it was', () => {
  const first = watchOf()
  first.watch.setNodes(nodesWith(undefined))
  first.watch.setNodes(nodesWith('true'))
  first.plan()
  first.clock.advance(12_000)
  const status = { status: drainStatus(first.watch.begun()) }
  expect(status).toEqual({ status: { drains: [{ node: 'n1', since: '1970-01-01T00:00:00Z' }] } })
  const clock = createVirtualClock(12_000)
  const second = createDrainWatch({
    ...{ clock, signal: new AbortController().signal, onDue: () => {} },
    seenByOthers: () => drainsIn(status),
  })
  second.setNodes(nodesWith('true'))
  expect(second.phases().get('n1')).toBe('leaving')
  clock.advance(18_000)
  expect([second.phases().get('n1'), drainStatus(second.begun())]).toEqual(['left', {}])
  expect(drainsIn({ status: { drains: [null, { node: 'n1' }, { node: 7, since: 'x' }] } })).toEqual(new Map())
})

test('a drain that is taken back is due no more, and neither is one that nobody waits for', () => {
  const { clock, planned, watch, plan, end } = watchOf()
  watch.setNodes(nodesWith(undefined))
  watch.setNodes(nodesWith('true'))
  plan()
  watch.setNodes(nodesWith(undefined))
  plan()
  clock.advance(100_000)
  watch.setNodes(nodesWith('true'))
  plan()
  end()
  clock.advance(100_000)
  expect(planned).toEqual(['0 s: leaving', '0 s: no drain', '100 s: leaving'])
})

test('a drain that begins in months is looked at every minute, as the clock may be set', () => {
  const { clock, planned, watch, plan } = watchOf()
  watch.setNodes(nodesWith('2099-01-01T00:00:00Z'))
  plan()
  clock.advance(120_000)
  expect(planned).toEqual(['0 s: staying', '60 s: staying', '120 s: staying'])
})
