// When a VIP that could not be taken is tried again, and how long the node says so.

import { beforeEach, describe, expect, test } from 'vitest'
import { createRefusals, type Refusals } from '../../src/layer2/refusals.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

const vip: Ip = must(parseIp('10.0.0.100'))
const ours = new Set([vip])
const nothing = new Set<Ip>()

let clock: VirtualClock
let refusals: Refusals
let warnings: string[]

beforeEach(() => {
  clock = createVirtualClock(1_000_000)
  warnings = []
  refusals = createRefusals({ clock, log: { ...silentLog, warn: ({ event }) => void warnings.push(event) } })
})

/** Milliseconds until it may be tried. */
function waited(): number {
  let ms = 0
  for (; !refusals.mayTry(vip) && ms < 100_000; ms += 100) clock.advance(100)
  return ms
}

describe('it is tried again', () => {
  test('at once where nothing stood against it, or the node had no place for it', () => {
    expect(waited()).toBe(0)
    refusals.noPlace(vip, { code: 'AddressNotSet', message: 'there is no interface eth0 that is up' })
    expect(waited()).toBe(0)
  })

  test('ten seconds after it failed', () => {
    refusals.failed(vip, 'Operation not permitted')
    expect(waited()).toBe(10_000)
  })

  test('ever more rarely where a host answers for it, and soon again when it was lifted', () => {
    const gaps = Array.from({ length: 6 }, () => {
      refusals.inUse(vip, '02:00:00:00:00:02 answers for it on eth0')
      return waited()
    })
    expect(gaps).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000])
    refusals.lift(vip)
    refusals.inUse(vip, '02:00:00:00:00:02 answers for it on eth0')
    expect(waited()).toBe(1_000)
  })

  test('at once after a conflict about what we had', () => {
    refusals.conflict(vip, '02:00:00:00:00:02 says on eth0 that it has it too')
    expect(waited()).toBe(0)
  })
})

describe('it is told', () => {
  test('as a trouble of the node, or of the link, which every node would find', () => {
    refusals.failed(vip, 'no')
    expect(refusals.told().get(vip)).toEqual({ reason: 'AddressNotSet', message: 'no', scope: 'node' })
    refusals.noPlace(vip, { code: 'AddressInUse', message: 'on br0' })
    expect(refusals.told().get(vip)).toEqual({ reason: 'AddressInUse', message: 'on br0', scope: 'node' })
    refusals.inUse(vip, 'he answers')
    expect(refusals.told().get(vip)).toEqual({ reason: 'AddressInUse', message: 'he answers', scope: 'link' })
    refusals.conflict(vip, 'he, too')
    expect(refusals.told().get(vip)).toEqual({ reason: 'AddressConflict', message: 'he, too', scope: 'link' })
  })

  test('while we have the address, until its time is over', () => {
    refusals.conflict(vip, 'he, too')
    clock.advance(59_000)
    refusals.have(vip)
    expect(refusals.told().size).toBe(1)
    clock.advance(1_000)
    refusals.have(vip)
    expect(refusals.told().size).toBe(0)
  })

  test('no longer than the VIP is ours, where it is of the link', () => {
    refusals.inUse(vip, 'he answers')
    refusals.own(ours)
    expect(refusals.told().size).toBe(1)
    refusals.own(nothing)
    expect(refusals.told().size).toBe(0)
  })

  test('for a minute after the last try, where it is of the node, whosever the VIP is by then', () => {
    refusals.failed(vip, 'no')
    clock.advance(30_000)
    refusals.failed(vip, 'no')
    clock.advance(59_000)
    refusals.own(nothing)
    expect(refusals.told().size).toBe(1)
    clock.advance(1_000)
    refusals.own(ours)
    expect(refusals.told().size).toBe(1)
    refusals.own(nothing)
    expect(refusals.told().size).toBe(0)
  })

  test('in the log once, as long as it is the same', () => {
    for (let i = 0; i < 3; i++) refusals.failed(vip, 'no')
    expect(warnings).toEqual(['layer2-refused'])
    refusals.failed(vip, 'another reason')
    expect(warnings).toHaveLength(2)
  })
})
