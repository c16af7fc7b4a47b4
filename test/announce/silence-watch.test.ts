import { expect, test } from 'vitest'
import { createSilenceWatch } from '../../src/announce/silence-watch.ts'
import type { Node } from '../../src/k8s/objects.ts'
import { returnMs } from '../../src/plan/silence.ts'
import type { Log } from '../../src/runtime/log.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { node } from '../vip/cluster.ts'

const nodes = (silent: readonly string[], heard: readonly string[]): ReadonlyMap<string, Node> =>
  new Map([
    ...silent.map((name): [string, Node] => [name, node(name, [], { ready: false, silentSinceMs: 1 })]),
    ...heard.map((name): [string, Node] => [name, node(name, [])]),
  ])

test('a plan is due when the time of those who have not returned is over, and the operator hears of both ends', () => {
  const clock = createVirtualClock()
  const events: string[] = []
  const log: Log = { ...silentLog, warn: ({ event }) => void events.push(event) }
  const due: string[] = []
  const ending = new AbortController()
  const watch = createSilenceWatch({
    ...{ clock, log, signal: ending.signal },
    onDue: () => void due.push(`${clock.monotonicMs()}: ${[...watch.silence().together].join()}`),
  })
  const together = (): string => [...watch.silence().together].join()
  watch.setNodes(nodes(['a', 'b'], []))
  clock.advance(600_000)
  expect([together(), due, events]).toEqual(['a,b', [], ['all-nodes-silent']])
  watch.setNodes(nodes(['b'], ['a']))
  clock.advance(returnMs - 1)
  expect([together(), due]).toEqual(['a,b', []])
  clock.advance(1)
  expect([due, events]).toEqual([[`${600_000 + returnMs}: `], ['all-nodes-silent', 'nodes-heard-again']])
})

test('a watch that has ended has nothing due', () => {
  const clock = createVirtualClock()
  const ending = new AbortController()
  let due = 0
  const watch = createSilenceWatch({ clock, log: silentLog, signal: ending.signal, onDue: () => void due++ })
  watch.setNodes(nodes(['a', 'b'], []))
  watch.setNodes(nodes(['b'], ['a']))
  ending.abort()
  clock.advance(10 * returnMs)
  expect(due).toBe(0)
})
