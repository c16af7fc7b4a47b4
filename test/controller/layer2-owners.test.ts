// What the leader writes of owners, and when: at once, once, again after a conflict, and nothing without leadership.

import { beforeEach, expect, test } from 'vitest'
import { createLayer2Owners, type Layer2Owners } from '../../src/controller/layer2-owners.ts'
import type { KubeClient, KubeRequest } from '../../src/k8s/client.ts'
import type { ClusterStore } from '../../src/k8s/cluster-store.ts'
import type { EventNote } from '../../src/k8s/events.ts'
import type { Vip } from '../../src/k8s/objects.ts'
import type { Plan, VipReport } from '../../src/plan/types.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { err, ok } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'
import { ip, service, view, vip } from '../vip/cluster.ts'

const name = '203.0.113.10'
const web = service('web')
const answering = (layer2: VipReport['layer2']): VipReport => ({
  ...{ vip: name, address: ip(name), nextHops: [], excluded: [], peers: [] },
  ...(layer2 === undefined ? {} : { layer2 }),
})
const toN2 = answering({ owner: { node: 'n2', interface: 'eth0' }, settled: false })

let clock: VirtualClock
let owners: Layer2Owners
let present: Vip
let report: VipReport
let requests: KubeRequest[]
let notes: EventNote[]
let conflicts: number
let leads: boolean
/** The present owner says that it cannot. */
let refused: boolean

beforeEach(() => {
  clock = createVirtualClock()
  present = vip(name, [web])
  report = toN2
  requests = []
  notes = []
  conflicts = 0
  leads = true
  refused = false
  const client: Pick<KubeClient, 'request'> = {
    request: async (request: KubeRequest) => {
      requests.push(request)
      if (conflicts-- > 0) return err({ status: 409, reason: 'Conflict', message: 'another version' })
      return ok({ metadata: { resourceVersion: '2' } })
    },
  }
  const store: Pick<ClusterStore, 'view' | 'absorb' | 'absorbDeletion'> = {
    view: () => view({ services: [web], vips: [present] }),
    // What was written is what is planned from now on.
    absorb: () => {
      report = answering(report.layer2 && { ...report.layer2, settled: true })
    },
    absorbDeletion: () => {},
  }
  owners = createLayer2Owners({
    client: client as KubeClient,
    store: store as ClusterStore,
    ...{ clock, log: silentLog },
    plan: () =>
      ({
        vips: new Map([[name, report]]),
        layer2: new Map([['n1', { agent: { refusals: refused ? new Map([[ip(name), {}]]) : new Map() } }]]),
      }) as unknown as Plan,
    note: (note) => void notes.push(note),
  })
})

const begin = (): void => owners.begin({ signal: new AbortController().signal, holds: () => leads })
const passes = async (ms: number): Promise<void> => {
  for (let left = ms; left >= 0; left -= 10) {
    clock.advance(10)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
const written = (): readonly unknown[] =>
  requests.map(({ body }) => (body as { readonly spec: { readonly layer2: unknown } }).spec.layer2)

test('a new owner is written once, and said once', async () => {
  begin()
  owners.changed(new Set([name]))
  await passes(1_000)
  owners.changed(new Set([name]))
  await passes(1_000)
  expect(written()).toEqual([{ node: 'n2', interface: 'eth0', from: null }])
  expect(notes).toEqual([
    expect.objectContaining({
      severity: 'Normal',
      reason: 'AddressAnswered',
      message: `node n2 is to answer for ${name} on eth0`,
    }),
  ])
})

test('a move names who had it, and speaks of it', async () => {
  present = vip(name, [web], { layer2: { node: 'n1', interface: 'eth0' } })
  begin()
  await passes(100)
  expect(written()).toEqual([{ node: 'n2', interface: 'eth0', from: 'n1' }])
  expect(requests[0]?.body).toMatchObject({ metadata: { resourceVersion: present.meta.resourceVersion } })
  expect(notes.map(({ reason, message }) => `${reason} ${message}`)).toEqual([
    `AddressMoved node n2 is to answer for ${name} on eth0 (before: node n1)`,
  ])
})

test.each<[had: string | undefined, from: string | null]>([
  [undefined, null],
  ['n3', 'n3'],
])('who never had it is not named: after n1, which could not take it from %s, it comes from %s', async (had, from) => {
  present = vip(name, [web], { layer2: { node: 'n1', interface: 'eth0', ...(had === undefined ? {} : { from: had }) } })
  refused = true
  begin()
  await passes(100)
  expect(written()).toEqual([{ node: 'n2', interface: 'eth0', from }])
})

test('a conflict is tried again at once, with the newer version', async () => {
  conflicts = 2
  begin()
  await passes(200)
  expect(requests).toHaveLength(3)
  expect(notes).toHaveLength(1)
})

test('nobody answers any more: the owner is taken away, with a warning and its reason', async () => {
  present = vip(name, [web], { layer2: { node: 'n1', interface: 'eth0' } })
  report = {
    ...answering({ settled: false }),
    refusal: { reason: 'NoEligibleNode', message: 'node n1 is not Ready' },
  }
  begin()
  await passes(100)
  expect(written()).toEqual([null])
  expect(notes).toEqual([
    expect.objectContaining({
      severity: 'Warning',
      reason: 'AddressUnanswered',
      message: `no node answers for ${name}: node n1 is not Ready`,
    }),
  ])
})

test('a replica that does not lead writes nothing, and all that is due when it is elected', async () => {
  owners.changed(new Set([name]))
  await passes(1_000)
  expect(requests).toEqual([])
  begin()
  await passes(100)
  expect(requests).toHaveLength(1)
})

test('a leader that was deposed writes nothing', async () => {
  report = answering({ owner: { node: 'n2', interface: 'eth0' }, settled: true })
  begin()
  await passes(100)
  report = toN2
  leads = false
  owners.changed(new Set([name]))
  await passes(1_000)
  expect(requests).toEqual([])
})
