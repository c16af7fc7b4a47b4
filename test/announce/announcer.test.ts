import { beforeEach, describe, expect, test } from 'vitest'
import { type Announcer, createAnnouncer } from '../../src/announce/announcer.ts'
import type { Route } from '../../src/bgp/rib/route.ts'
import type { Speaker, SpeakerCommand } from '../../src/bgp/speaker/protocol.ts'
import { parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { parseIp } from '../../src/net/ip.ts'
import { type Prefix, parsePrefix } from '../../src/net/prefix.ts'
import { type Planner, toItsEnd } from '../../src/plan/plan.ts'
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
      peerRanges: [],
      peerRefusals: [],
      nodes: new Map(),
      layer2: new Map(),
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
  let guarded: number
  let quiet: ReadonlySet<string>
  /** Of the planner, in each step. */
  let pauses: number
  const next = (planned: PlanStep): void => {
    steps.push(planned)
    toItsEnd(announcer.step({ bgpConfs: new Map() } as never, undefined, undefined as never))
  }
  const types = (): readonly string[] => sent.map(({ type }) => type)

  beforeEach(() => {
    sent = []
    steps = []
    pauses = 0
    const planner: Pick<Planner, 'planning'> = {
      *planning() {
        for (let i = 0; i < pauses; i++) yield
        return steps.shift() ?? step([])
      },
    }
    const speaker: Speaker = {
      send: (command) => void sent.push(command),
      onEvent: () => {},
      onFailure: () => {},
      stop: async () => {},
    }
    guarded = 0
    quiet = new Set()
    announcer = createAnnouncer({ planner, speaker, onGuarded: () => void guarded++, quiet: () => quiet })
  })

  test('tells the routes before the peers, and that the first plan is whole after both', () => {
    next(step([], { tableChanges: [change] }))
    expect(types()).toEqual(['routes', 'configure', 'ready'])
  })

  test('in the midst of a step the plan is the one before, nothing is told, and nothing counts as withdrawn', () => {
    next(step([vip('v', ['leaf'])]))
    next(step([vip('v', [])], { tableChanges: [change] }))
    announcer.observe({ type: 'flushed', revision: 1 })
    expect(announcer.isWithdrawn('v')).toBe(true)
    sent.length = 0
    pauses = 1
    steps.push(step([vip('v', ['leaf'])], { tableChanges: [change] }))
    const before = announcer.plan()
    const stepping = announcer.step({ bgpConfs: new Map() } as never, undefined, undefined as never)
    stepping.next()
    expect([announcer.isWithdrawn('v'), announcer.plan() === before, types()]).toEqual([false, true, []])
    toItsEnd(stepping)
    expect([announcer.isWithdrawn('v'), announcer.plan() === before, types()]).toEqual([false, false, ['routes']])
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

  test('is quiet towards the peers that another replica tells, and speaks again', () => {
    const peers = ['leaf1', 'leaf2'].map((name) => ({ name })) as unknown as Plan['peers']
    next(step([], { peers }))
    sent.length = 0
    quiet = new Set(['leaf2'])
    announcer.quietChanged()
    quiet = new Set()
    announcer.quietChanged()
    const told = sent.map((command) => (command.type === 'configure' ? command.config.peers : []))
    expect(told).toEqual([[{ name: 'leaf1' }, { name: 'leaf2', shutdown: expect.any(String) }], peers])
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

  describe('when a step would withdraw most of the table', () => {
    const names = Array.from({ length: 30 }, (_, i) => `v${i}`)
    const prefixOfVip = (name: string): Prefix => must(parsePrefix(`203.0.113.${name.slice(1)}/32`))
    const route = (name: string): Route => ({ prefix: prefixOfVip(name), attributes: {} as never, paths: [] })
    const tableOf = (of: readonly string[]): Plan['tables'] =>
      new Map([['t', new Map(of.map((n) => [prefixOfVip(n), route(n)]))]])
    const announce = (of: readonly string[]): void =>
      next(
        step(
          of.map((name) => vip(name, ['leaf1'])),
          { tables: tableOf(of), tableChanges: [{ ...change, upserts: of.map(route) }] },
        ),
      )
    const lose = (lost: readonly string[], rest: readonly string[]): void =>
      next(
        step([...rest.map((n) => vip(n, ['leaf1'])), ...lost.map((n) => vip(n, []))], {
          tables: tableOf(rest),
          tableChanges: [{ ...change, withdrawals: lost.map(prefixOfVip) }],
        }),
      )
    const withdrawn = (): readonly string[] =>
      sent.flatMap((command) => (command.type === 'routes' ? command.withdrawals : []))

    beforeEach(() => announce(names))

    test('half of it goes at once', () => {
      lose(names.slice(0, 15), names.slice(15))
      expect([guarded, withdrawn().length]).toEqual([0, 15])
    })

    test('more than half waits for a confirmation, and asks for it once', () => {
      lose(names.slice(0, 16), names.slice(16))
      lose(names.slice(0, 17), names.slice(17))
      expect([guarded, withdrawn().length, announcer.guarded.size]).toEqual([1, 0, 17])
      expect(announcer.isWithdrawn('v0')).toBe(false)
    })

    test('confirmed, it goes, and counts as withdrawn when it was written', () => {
      lose(names.slice(0, 16), names.slice(16))
      announcer.confirmed()
      expect(withdrawn()).toHaveLength(16)
      expect(announcer.guarded.size).toBe(0)
      announcer.observe({ type: 'flushed', revision: 2 })
      expect(announcer.isWithdrawn('v0')).toBe(true)
    })

    test('what the confirmation brings back was never withdrawn', () => {
      lose(names, [])
      announce(names)
      announcer.confirmed()
      expect(withdrawn()).toEqual([])
    })

    test('new routes do not wait with it', () => {
      lose(names, [])
      sent.length = 0
      announce(['v31'])
      expect(sent).toMatchObject([{ type: 'routes', upserts: [{ prefix: '203.0.113.31/32' }], withdrawals: [] }])
    })

    test('sessions stay while it waits, also when their configuration is gone', () => {
      sent.length = 0
      const { speaker: _, ...nobody } = step(names.map((n) => vip(n, []))).plan
      next({ ...step(names.map((n) => vip(n, []))), plan: { ...nobody, tables: new Map() }, droppedTables: ['t'] })
      expect(types()).toEqual([])
      announcer.confirmed()
      expect(types()).toEqual(['configure', 'drop-table'])
    })
  })

  test('remembers why the speaker cannot listen until it can', () => {
    announcer.observe({ type: 'listen-failed', port: 179, reason: 'EADDRINUSE' })
    expect(announcer.listenError()).toBe('cannot listen on port 179: EADDRINUSE')
    announcer.observe({ type: 'listening', port: 179 })
    expect(announcer.listenError()).toBeUndefined()
  })
})
