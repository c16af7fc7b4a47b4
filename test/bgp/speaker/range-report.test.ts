// What is told of a range, and how often.

import { beforeEach, expect, test } from 'vitest'
import { peerLogLimit } from '../../../src/bgp/speaker/log-limit.ts'
import type { RangeStatus, SpeakerEvent } from '../../../src/bgp/speaker/protocol.ts'
import { createRangeReport, type RangeReport } from '../../../src/bgp/speaker/range-report.ts'
import { createVirtualClock, type VirtualClock } from '../../../src/runtime/virtual-clock.ts'

let clock: VirtualClock
let report: RangeReport
let events: SpeakerEvent[]
let sessions: number

beforeEach(() => {
  clock = createVirtualClock(1_000_000)
  events = []
  sessions = 0
  report = createRangeReport({ range: 'leaves', clock, emit: (event) => events.push(event), sessions: () => sessions })
})

const told = (): readonly RangeStatus[] => events.flatMap((event) => (event.type === 'range' ? [event.status] : []))
const none = { establishedCount: 0, messagesIn: 0, messagesOut: 0, updatesOut: 0 }

test('a flood is one status, of how it was at its end', () => {
  for (let i = 1; i <= 1000; i++) {
    sessions = i
    report.publishSoon()
    report.refuse(`10.0.0.9 was refused: ${i}`)
  }
  expect(told()).toEqual([])
  clock.advance(500)
  expect(told()).toEqual([
    {
      ...{ range: 'leaves', sessions: 1000, refused: 1000, past: none },
      ...{ lastError: '10.0.0.9 was refused: 1000', lastErrorAtMs: 1_000_000 },
    },
  ])
  clock.advance(60_000)
  expect(told()).toHaveLength(1)
})

test('what sessions had counted adds up, and one status is not changed by the next', () => {
  report.inherit({ establishedCount: 1, messagesIn: 20, messagesOut: 30, updatesOut: 4 })
  report.publishSoon()
  clock.advance(500)
  report.inherit({ establishedCount: 2, messagesIn: 1, messagesOut: 1, updatesOut: 1 })
  report.publishSoon()
  clock.advance(500)
  expect(told().map(({ past }) => past)).toEqual([
    { establishedCount: 1, messagesIn: 20, messagesOut: 30, updatesOut: 4 },
    { establishedCount: 3, messagesIn: 21, messagesOut: 31, updatesOut: 5 },
  ])
})

test('an error has the time that the session gave it', () => {
  report.fail('10.0.0.1: hold timer expired', 999_000)
  clock.advance(500)
  expect(told()[0]).toMatchObject({ lastError: '10.0.0.1: hold timer expired', lastErrorAtMs: 999_000, refused: 0 })
})

test('warnings of all its sessions together are bounded, and how many more there were is told', () => {
  for (let i = 0; i < peerLogLimit.most + 7; i++)
    report.log({ type: 'log', level: 'warn', fields: { event: 'session-error', peer: `leaves@10.0.0.${i}` } })
  report.log({ type: 'log', level: 'info', fields: { event: 'session-state' } })
  expect(events).toHaveLength(peerLogLimit.most + 1)
  clock.advance(peerLogLimit.windowMs)
  expect(events.at(-1)).toEqual({
    ...{ type: 'log', level: 'warn' },
    fields: { event: 'session-errors-suppressed', peer: 'leaves', count: 7 },
  })
})

test('after its end nothing is told', () => {
  report.fail('10.0.0.1: hold timer expired')
  report.end()
  clock.advance(60_000)
  expect(events).toEqual([])
  expect(clock.nextTimerInMs()).toBe(undefined)
})
