// Which of two errors stands, and for how long, on a clock that people set.

import { beforeEach, expect, test } from 'vitest'
import { createPeerReport, type PeerReport } from '../../../src/bgp/speaker/peer-report.ts'
import type { SessionStatus } from '../../../src/bgp/speaker/protocol.ts'
import { createVirtualClock, type VirtualClock } from '../../../src/runtime/virtual-clock.ts'

const startMs = 1_000_000_000
const hourMs = 3_600_000

let clock: VirtualClock
let setMs: number
let report: PeerReport
let statuses: SessionStatus[]

beforeEach(() => {
  clock = createVirtualClock(startMs)
  setMs = 0
  statuses = []
  report = createPeerReport({
    peer: 'router',
    clock: { ...clock, wallMs: () => clock.wallMs() + setMs },
    emit: (event) => {
      if (event.type === 'session') statuses.push(event.status)
    },
    facts: () => ({ announcedPaths: 0, announcedPrefixes: 0, receivedPrefixes: 0 }),
  })
})

const said = (): string | undefined => {
  report.publish()
  return statuses.at(-1)?.lastError
}

test.each([-hourMs, 0, hourMs])(
  'what was said stands for a minute before "connection refused" takes its place, with the clock set by %i ms meanwhile',
  (byMs) => {
    report.fail('bad peer AS', { isTransport: false })
    setMs = byMs
    clock.advance(59_000)
    report.fail('connection refused', { isTransport: true })
    expect(said()).toBe('bad peer AS')
    clock.advance(1_000)
    report.fail('connection refused', { isTransport: true })
    expect(said()).toBe('connection refused')
    expect(statuses.at(-1)?.lastErrorAtMs).toBe(startMs + 60_000 + byMs)
  },
)

test('what is said takes the place of "connection refused" at once', () => {
  report.fail('connection refused', { isTransport: true })
  report.fail('bad peer AS', { isTransport: false })
  expect(said()).toBe('bad peer AS')
})
