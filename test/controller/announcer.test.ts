import { beforeEach, describe, expect, test } from 'vitest'
import type { Speaker, SpeakerCommand } from '../../src/bgp/speaker/protocol.ts'
import { type Announcer, createAnnouncer } from '../../src/controller/announcer.ts'
import { parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { parseIp } from '../../src/net/ip.ts'
import type { Planner } from '../../src/plan/plan.ts'
import type { Plan, PlanStep, VipReport } from '../../src/plan/types.ts'
import { must } from '../../src/runtime/result.ts'

const speakerPlan = {
  asn: must(parseAsn(64512)),
  routerId: must(parseRouterId('10.0.0.1')),
  listenPort: 179,
  listenAddresses: [],
}
const vip = (name: string, peers: readonly string[]): VipReport => ({
  vip: name,
  address: must(parseIp('203.0.113.10')),
  nextHops: [],
  excluded: [],
  peers,
})
const step = (vips: readonly VipReport[], changes: Partial<PlanStep> & Partial<Plan> = {}): PlanStep => {
  const { tableChanges = [], droppedTables = [], ...plan } = changes
  return {
    plan: {
      speaker: speakerPlan,
      peers: [],
      peerRefusals: [],
      tables: new Map(),
      vips: new Map(vips.map((each) => [each.vip, each])),
      ...plan,
    },
    tableChanges,
    droppedTables,
    changedVips: new Set(vips.map((each) => each.vip)),
  }
}
const change = { table: 't', replace: false, upserts: [], withdrawals: [] }

describe('an announcer', () => {
  let sent: SpeakerCommand[]
  let steps: PlanStep[]
  let announcer: Announcer
  const next = (planned: PlanStep): void => {
    steps.push(planned)
    announcer.step(undefined as never, undefined, undefined as never)
  }
  const types = (): readonly string[] => sent.map(({ type }) => type)

  beforeEach(() => {
    sent = []
    steps = []
    const planner: Planner = { plan: () => steps.shift() ?? step([]) }
    const speaker: Speaker = {
      send: (command) => void sent.push(command),
      onEvent: () => {},
      onFailure: () => {},
      stop: async () => {},
    }
    announcer = createAnnouncer(planner, speaker)
  })

  test('tells the routes before the peers, and that the first plan is whole after both', () => {
    next(step([], { tableChanges: [change] }))
    expect(types()).toEqual(['routes', 'configure', 'ready'])
  })

  test('repeats nothing that did not change', () => {
    next(step([]))
    sent.length = 0
    next(step([]))
    expect(types()).toEqual([])
  })

  test('a table that nobody uses is dropped after the peers have left it', () => {
    next(step([]))
    sent.length = 0
    next(step([], { speaker: { ...speakerPlan, listenPort: 1179 }, droppedTables: ['old'] }))
    expect(types()).toEqual(['configure', 'drop-table'])
  })

  test('without a BgpConf there are no sessions, and nothing is said before there was one', () => {
    const { speaker: _, ...nobody } = step([]).plan
    next({ ...step([]), plan: nobody })
    expect(types()).toEqual(['ready'])
    next(step([]))
    sent.length = 0
    next({ ...step([]), plan: nobody })
    expect(sent).toMatchObject([{ type: 'configure', config: { peers: [], listenPort: 0 } }])
  })

  test('a VIP counts as withdrawn only when the last socket has taken its withdrawal', () => {
    expect(announcer.isWithdrawn('v')).toBe(false)
    next(step([vip('v', ['leaf1'])], { tableChanges: [change] }))
    expect(announcer.isWithdrawn('v')).toBe(false)
    next(step([vip('v', [])], { tableChanges: [change] }))
    expect(announcer.isWithdrawn('v')).toBe(false)
    announcer.observe({ type: 'flushed', revision: 1 })
    expect(announcer.isWithdrawn('v')).toBe(false)
    expect(announcer.observe({ type: 'flushed', revision: 2 })).toBe(true)
    expect(announcer.isWithdrawn('v')).toBe(true)
  })

  test('a VIP that comes back before its withdrawal was written is not withdrawn', () => {
    next(step([vip('v', ['leaf1'])], { tableChanges: [change] }))
    next(step([vip('v', [])], { tableChanges: [change] }))
    next(step([vip('v', ['leaf1'])], { tableChanges: [change] }))
    announcer.observe({ type: 'flushed', revision: 3 })
    expect(announcer.isWithdrawn('v')).toBe(false)
  })

  test('remembers why the speaker cannot listen until it can', () => {
    announcer.observe({ type: 'listen-failed', port: 179, reason: 'EADDRINUSE' })
    expect(announcer.listenError()).toBe('cannot listen on port 179: EADDRINUSE')
    announcer.observe({ type: 'listening', port: 179 })
    expect(announcer.listenError()).toBeUndefined()
  })
})
