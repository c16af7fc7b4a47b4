// Another host claims a VIP of ours: what is asked, what is said, and who gives way.

import { beforeEach, expect, test } from 'vitest'
import type { Held, ObservedLink, ObservedNode } from '../../src/layer2/addresses.ts'
import { type Contests, createContests } from '../../src/layer2/contests.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

const vip: Ip = must(parseIp('10.0.0.100'))
const link: ObservedLink = { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', subnets: [] }
const claim = { address: vip, mac: '02:00:00:00:00:02' }
const holding = (held: Held = { interface: 'eth0', validSeconds: 15 }): ObservedNode => ({
  ...{ links: [link], foreign: new Map(), ipvs: false },
  held: new Map([[vip, held]]),
})

let clock: VirtualClock
let contests: Contests
let ending: AbortController
let node: ObservedNode | undefined
let isOwned: boolean
let confirm: () => Promise<void>
let asked: number
let said: string[]

beforeEach(() => {
  clock = createVirtualClock()
  ending = new AbortController()
  node = holding()
  isOwned = true
  confirm = async () => {}
  asked = 0
  said = []
  contests = createContests({
    ...{ clock, log: silentLog, signal: ending.signal },
    confirm: () => {
      asked++
      return confirm()
    },
    isOwned: () => isOwned,
    view: {
      get node() {
        return node
      },
    },
    wire: { announce: (_link, address, options) => void said.push(`defend ${address} ${options?.once}`) },
    refusals: { conflict: (_address, message) => void said.push(message) },
    onSettled: () => void said.push('settled'),
  })
})

async function passes(ms: number): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= 100) {
    clock.advance(100)
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }
}
const defended = [
  '02:00:00:00:00:02 says on eth0 that it has 10.0.0.100 too',
  'defend 10.0.0.100 true',
  'settled',
] as const

test('the list says that it is ours: it is defended, once in ten seconds', async () => {
  for (let i = 0; i < 5; i++) contests.heard(claim, 'eth0')
  await passes(1_000)
  expect(said).toEqual(defended)
  contests.heard(claim, 'eth0')
  await passes(10_000)
  expect(said).toEqual(defended)
  contests.heard(claim, 'eth0')
  await passes(1_000)
  expect(said).toEqual([...defended, ...defended])
  expect(contests.yields()).toBe(0)
})

test('the list says that it is his: a round sees to it', async () => {
  confirm = async () => {
    isOwned = false
  }
  contests.heard(claim, 'eth0')
  await passes(1_000)
  expect(said).toEqual(['settled'])
})

test('what the watch took away before is not asked about', async () => {
  contests.heard(claim, 'eth0')
  isOwned = false
  await passes(1_000)
  expect([asked, said]).toEqual([0, []])
})

test('no list in three seconds: it is given up until one comes', async () => {
  let answer: () => void = () => {}
  confirm = () =>
    new Promise((resolve) => {
      answer = resolve
    })
  contests.heard(claim, 'eth0')
  await passes(3_000)
  expect([...contests.yielded]).toEqual([])
  await passes(400)
  expect([...contests.yielded]).toEqual([vip])
  expect([contests.yields(), asked, said]).toEqual([1, 2, ['settled']])
  answer()
  await passes(100)
  expect([...contests.yielded]).toEqual([])
  expect(said).toEqual(['settled', 'settled'])
})

test.each<[string, () => void]>([
  ['our own frame, that a switch sends back', () => contests.heard({ ...claim, mac: link.mac }, 'eth0')],
  ['a claim on another interface', () => contests.heard(claim, 'eth1')],
  [
    'a claim of an address that we do not have',
    () => {
      node = { ...holding(), held: new Map() }
      contests.heard(claim, 'eth0')
    },
  ],
  [
    'a claim before the first look',
    () => {
      node = undefined
      contests.heard(claim, 'eth0')
    },
  ],
])('%s is no contest', async (_name, hear) => {
  hear()
  await passes(5_000)
  expect([asked, said]).toEqual([0, []])
})

test('an address that is gone by the time of the answer is not defended', async () => {
  confirm = async () => {
    node = { ...holding(), held: new Map() }
  }
  contests.heard(claim, 'eth0')
  await passes(1_000)
  expect(said).toEqual(['settled'])
})

test('nobody is asked after the end', async () => {
  contests.heard(claim, 'eth0')
  ending.abort()
  await passes(1_000)
  expect([asked, said]).toEqual([0, []])
})
