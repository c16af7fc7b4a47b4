// How much may go at once: BgpConf's withdrawGuard as a table. What waiting means is in announcer.test.ts.

import { expect, test } from 'vitest'
import { createWithdrawGuard, type GuardLimits } from '../../src/announce/withdraw-guard.ts'
import { parseIp } from '../../src/net/ip.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import type { Plan, PlanStep, VipReport } from '../../src/plan/types.ts'
import { must } from '../../src/runtime/result.ts'

const names = (count: number): readonly string[] => Array.from({ length: count }, (_, i) => `203.0.113.${i}`)
const report = (name: string, peers: readonly string[]): VipReport => ({
  ...{ vip: name, address: must(parseIp(name)), nextHops: [], excluded: [] },
  peers,
})
const planOf = (announced: readonly string[], silent: readonly string[] = []): Plan => ({
  ...{ peers: [], peerRanges: [], peerRefusals: [], tables: new Map(), nodes: new Map(), layer2: new Map() },
  vips: new Map([
    ...announced.map((name) => [name, report(name, ['leaf'])] as const),
    ...silent.map((name) => [name, report(name, [])] as const),
  ]),
})

test.each<[string, number, number, GuardLimits, boolean]>([
  ['half of the VIPs', 40, 20, { percent: 50, minimumVips: 20 }, false],
  ['more than half of the VIPs', 40, 21, { percent: 50, minimumVips: 20 }, true],
  ['all of a few VIPs', 19, 19, { percent: 50, minimumVips: 20 }, false],
  ['most of just enough VIPs', 20, 11, { percent: 50, minimumVips: 20 }, true],
  ['everything, with the guard off', 40, 40, { percent: 100, minimumVips: 20 }, false],
  ['a few, with a strict guard', 100, 2, { percent: 1, minimumVips: 1 }, true],
  ['one of a hundred, with a strict guard', 100, 1, { percent: 1, minimumVips: 1 }, false],
  ['nothing', 40, 0, { percent: 1, minimumVips: 1 }, false],
])('a step that withdraws %s: of %i, %i', (_, count, lost, limits, held) => {
  const all = names(count)
  const [gone, rest] = [all.slice(0, lost), all.slice(lost)]
  const withdrawals = gone.map((name) => must(parsePrefix(`${name}/32`)))
  const step: PlanStep = {
    plan: planOf(rest, gone),
    tableChanges: lost === 0 ? [] : [{ table: 'all', replace: false, upserts: [], withdrawals }],
    droppedTables: [],
    changedVips: new Set(gone),
  }
  const guard = createWithdrawGuard()
  const { tableChanges, tripped } = guard.admit(step, planOf(all), limits)
  expect({
    tripped,
    held: guard.heldVips.size,
    withdrawn: tableChanges.flatMap((change) => change.withdrawals).length,
  }).toEqual(held ? { tripped: true, held: lost, withdrawn: 0 } : { tripped: false, held: 0, withdrawn: lost })
})

test('VIPs that were announced nowhere are not among those that are lost, nor among those of which they are', () => {
  const guard = createWithdrawGuard()
  const before = planOf(names(20), names(60).slice(20))
  const step: PlanStep = {
    plan: planOf(names(8)),
    tableChanges: [],
    droppedTables: [],
    changedVips: new Set(names(60).slice(8)),
  }
  expect(guard.admit(step, before, { percent: 50, minimumVips: 20 }).tripped).toBe(true)
  expect([...guard.heldVips]).toEqual(names(20).slice(8))
})
