// When a word about an address is said again, and when no more.

import { beforeEach, expect, test } from 'vitest'
import type { ObservedLink } from '../../src/layer2/addresses.ts'
import { createRepetition, type Repetition } from '../../src/layer2/repetition.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { must } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

const link: ObservedLink = { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', subnets: [] }
const [first, second] = ['10.0.0.100', '10.0.0.101'].map((text): Ip => must(parseIp(text))) as [Ip, Ip]

let clock: VirtualClock
let repetition: Repetition
let said: (readonly [Ip, number])[]

beforeEach(() => {
  clock = createVirtualClock()
  said = []
  repetition = createRepetition({
    ...{ clock, everyMs: 60_000 },
    say: (_link, address) => void said.push([address, clock.monotonicMs()]),
  })
})

test('after each delay, and then at every reminder', () => {
  repetition.begin(link, first, [0, 100, 3_000])
  clock.advance(180_000)
  expect(said).toEqual([0, 100, 3_000, 60_000, 120_000, 180_000].map((atMs) => [first, atMs]))
})

test('begun anew it is not said twice', () => {
  repetition.begin(link, first, [0, 1_000])
  clock.advance(500)
  repetition.begin(link, first, [0, 1_000])
  clock.advance(60_000)
  expect(said.map(([, atMs]) => atMs)).toEqual([0, 500, 1_500, 60_500])
})

test('until the address is not ours, and nothing is left of it', () => {
  repetition.begin(link, first, [1_000])
  repetition.begin(link, second, [1_000])
  repetition.endOthers(new Set([second]))
  expect([repetition.isGoingOn(first), repetition.isGoingOn(second)]).toEqual([false, true])
  clock.advance(60_000)
  expect(said.map(([address]) => address)).toEqual([second, second])
  repetition.endOthers(new Set())
  expect(clock.nextTimerInMs()).toBe(undefined)
})
