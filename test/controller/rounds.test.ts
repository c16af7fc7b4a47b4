// A replica's round and the second look, with everything around it played: what is called, in which order, and with what.

import { beforeEach, describe, expect, test } from 'vitest'
import { createRounds, type Rounds, type RoundsOptions } from '../../src/controller/rounds.ts'
import type { ClusterStore } from '../../src/k8s/cluster-store.ts'
import type { ClusterChanges, Kind } from '../../src/k8s/objects.ts'
import type { Plan } from '../../src/plan/types.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { conf, view } from '../vip/cluster.ts'

let calls: string[]
let nowMs = 0
let synced: boolean
let changes: ClusterChanges
let plan: Plan | undefined
/** Answers the confirmation that was asked for. */
let confirm: { readonly give: () => void; readonly refuse: (error: Error) => void } | undefined
let rounds: Rounds
/** In the next step. */
let pauses: number
let end: AbortController

const kinds: readonly Kind[] = ['Service', 'Node']
const keys = (of: ClusterChanges | undefined): string => (of === undefined ? 'everything' : [...of.keys()].join())

beforeEach(() => {
  calls = []
  synced = true
  changes = new Map([['Service', new Set(['default/web'])]])
  plan = undefined
  confirm = undefined
  pauses = 0
  end = new AbortController()
  const store: Pick<ClusterStore, 'synced' | 'takeChanges' | 'view' | 'confirm'> = {
    synced: () => synced,
    takeChanges: () => changes,
    view: () => view({ confs: [conf()] }),
    confirm: (of) => {
      calls.push(`confirm ${of.join()}`)
      return new Promise((give, refuse) => {
        confirm = { give, refuse }
      })
    },
  }
  const announcer: Pick<RoundsOptions['announcer'], 'plan' | 'step' | 'confirmed' | 'guarded'> = {
    plan: () => plan,
    guarded: new Set(['203.0.113.1']),
    *step(_view, since) {
      for (; pauses > 0; pauses--) yield
      calls.push(`step ${keys(since)}`)
      plan = {
        peers: [],
        peerRanges: [],
        peerRefusals: [],
        tables: new Map(),
        nodes: new Map(),
        layer2: new Map(),
        vips: new Map(),
      }
      return new Set()
    },
    confirmed: () => void calls.push('confirmed'),
  }
  rounds = createRounds({
    store: store as ClusterStore,
    kinds,
    announcer: announcer as RoundsOptions['announcer'],
    presence: { setNodes: () => void calls.push('nodes to presence') },
    drains: { setNodes: () => void calls.push('nodes to drains') },
    silence: { setNodes: () => void calls.push('nodes to silence') },
    watches: [{ take: (_view, since) => void calls.push(`watch ${keys(since)}`) }],
    leadership: {
      changed: () => void calls.push('leadership'),
      pull: () => void calls.push('leadership, for it was long'),
      note: ({ reason, severity, subject, message }) =>
        void calls.push(`${severity} ${reason} on ${subject.kind} ${subject.name}: ${message}`),
    },
    owners: { changed: () => void calls.push('owners') },
    reporter: { changed: () => void calls.push('reporter'), pull: () => void calls.push('report') },
    metrics: { planned: () => {} },
    context: () => ({ serviceClass: { name: 'bellhop.io/bgp', handleDefault: true }, nodeLiveness: new Map() }),
    // Time passes by more than a slice with each look at it.
    clock: { ...createVirtualClock(), monotonicMs: () => (nowMs += 20) },
    log: silentLog,
    signal: end.signal,
  })
})

describe('a round', () => {
  test('waits for the first lists', () => {
    synced = false
    rounds.run()
    expect(calls).toEqual([])
  })

  test('is a whole one first, and then about what changed', () => {
    rounds.run()
    rounds.run()
    const after = ['owners', 'leadership', 'reporter']
    expect(calls).toEqual(['watch everything', 'step everything', ...after, 'watch Service', 'step Service', ...after])
  })

  test('hands Nodes that changed to whoever watches them, before it plans', () => {
    changes = new Map([['Node', new Set(['n1'])]])
    rounds.run()
    expect(calls.slice(0, 3)).toEqual(['nodes to presence', 'nodes to drains', 'nodes to silence'])
  })
})

describe('a round in which many VIPs are planned', () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const after = ['owners', 'leadership', 'reporter']

  test('goes on in slices, and what changed meanwhile is the next one', async () => {
    pauses = 3
    rounds.run()
    expect(calls).toEqual(['watch everything'])
    rounds.run()
    rounds.run()
    await expect.poll(() => calls.length).toBe(11)
    expect(calls).toEqual([
      ...['watch everything', 'step everything', 'owners', 'leadership', 'leadership, for it was long', 'reporter'],
      ...['watch Service', 'step Service', ...after],
    ])
  })

  test('ends with the replica', async () => {
    pauses = 1_000_000
    rounds.run()
    await turn()
    end.abort()
    await turn()
    await turn()
    expect(calls).toEqual(['watch everything'])
    expect(pauses).toBeGreaterThan(0)
  })

  test('is waited for by the second look, and so is the one after it, which is the first to see the fresh lists', async () => {
    rounds.run()
    calls = []
    pauses = 3
    rounds.run()
    const done = rounds.confirmWithdrawals(30)
    confirm?.give()
    await done
    expect(calls.filter((call) => call.startsWith('step') || call === 'confirmed')).toEqual([
      'step Service',
      'step Service',
      'confirmed',
    ])
  })
})

// Announcing 8.
describe('a second look', () => {
  const held =
    'Warning WithdrawalsHeld on BgpConf default: 30 VIPs at once are to be withdrawn: held until fresh lists from the API server confirm it'

  test('is said, lists everything anew, and withdraws what the plan of those lists does not have', async () => {
    rounds.run()
    calls = []
    const done = rounds.confirmWithdrawals(30)
    expect(calls).toEqual([held, 'confirm Service,Node'])
    confirm?.give()
    await done
    expect(calls.slice(2)).toEqual([
      'watch Service',
      'step Service',
      'owners',
      'leadership',
      'reporter',
      'confirmed',
      'report',
    ])
  })

  test('that is never given withdraws nothing', async () => {
    const done = rounds.confirmWithdrawals(30)
    confirm?.refuse(new Error('the replica ends'))
    await done
    expect(calls).toEqual([held, 'confirm Service,Node'])
  })
})
