// The keeper on a node in memory: what it takes and when, what it says about it, and what becomes of an address without proof.

import { beforeEach, describe, expect, test } from 'vitest'
import type { OwnedVip } from '../../src/layer2/address-plan.ts'
import { announcements as framesOf } from '../../src/layer2/frames.ts'
import { goodbyeSeconds, keepLayer2, type Layer2Keeper } from '../../src/layer2/keeper.ts'
import { announceAfterMs } from '../../src/layer2/wire.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'
import { createFakeLink, type FakeLink, type FakeNode, fakeLinkName } from './fake-link.ts'

const ip = (text: string): Ip => must(parseIp(text))
const vip4 = ip('10.0.0.100')
const vip6 = ip('fd00:10::100')
const owned = (address: Ip, from?: string): OwnedVip => ({
  address,
  interface: fakeLinkName,
  ...(from === undefined ? {} : { from }),
})
const holdMs = 15_000

let clock: VirtualClock
let link: FakeLink
let node: FakeNode
let other: FakeNode
let keeper: Layer2Keeper
let ending: AbortController
let proven: () => number | undefined
let confirm: () => Promise<void>
let changes: number

beforeEach(() => {
  clock = createVirtualClock(1_000_000)
  link = createFakeLink(clock)
  node = link.addNode('a')
  other = link.addNode('b')
  proven = () => clock.monotonicMs()
  confirm = async () => {}
  changes = 0
  start()
})

function start(heldMs = holdMs): void {
  ending = new AbortController()
  keeper = keepLayer2(
    { holdMs: heldMs },
    {
      ...{ exec: node.exec, clock, log: silentLog, signal: ending.signal, openSocket: node.open },
      kernel: { isRouter: () => true, answersForOthers: () => false, hasCarrier: () => true },
      provenMs: () => proven(),
      confirm: () => confirm(),
      onChange: () => {
        changes++
      },
    },
  )
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
/** Lets time pass, timer by timer, and what follows from each. */
async function passes(ms: number): Promise<void> {
  await turn()
  const endMs = clock.monotonicMs() + ms
  for (;;) {
    const nextMs = clock.nextTimerInMs()
    const leftMs = endMs - clock.monotonicMs()
    clock.advance(Math.min(nextMs ?? leftMs, leftMs))
    await turn()
    await turn()
    if (clock.monotonicMs() >= endMs) return
  }
}
const refusal = (address: Ip) => keeper.nodeLinks()?.refusals.get(address)

describe('taking', () => {
  test('nothing is touched before the first complete list, and what is not ours goes with it', async () => {
    keeper.setVips([owned(vip4)])
    await passes(1_000)
    ending.abort()
    await passes(10)
    start()
    await passes(5_000)
    expect(node.held()).toEqual([vip4])
    keeper.setVips([])
    await passes(10)
    expect(node.held()).toEqual([])
  })

  test.each([vip4, vip6])('%s is asked for first, and then announced several times', async (vip) => {
    keeper.setVips([owned(vip)])
    await passes(400)
    expect(node.held()).toEqual([])
    await passes(30_000)
    expect(node.held()).toEqual([vip])
    const first = node.claimed[0]?.atMs ?? 0
    expect(new Set(node.claimed.map(({ atMs }) => atMs - first))).toEqual(new Set(announceAfterMs))
  })

  test('what another node had before is taken at once', async () => {
    keeper.setVips([owned(vip4, 'b')])
    await passes(1)
    expect(node.held()).toEqual([vip4])
    expect(node.claimed.length).toBeGreaterThan(0)
  })

  test.each([vip4, vip6])(
    '%s stays with the stranger who answers for it, and is taken when he is gone',
    async (vip) => {
      other.configure(vip, vip === vip4 ? 24 : 64)
      keeper.setVips([owned(vip)])
      await passes(60_000)
      expect(node.held()).toEqual([])
      expect(refusal(vip)).toEqual({
        reason: 'AddressInUse',
        message: `${other.mac} answers for it on eth0`,
        scope: 'link',
      })
      const told = changes
      other.unconfigure(vip)
      await passes(15_000)
      expect(node.held()).toEqual([vip])
      expect(refusal(vip)).toBe(undefined)
      expect(changes).toBeGreaterThan(told)
    },
  )

  test('an address that somebody configured on the node is left as it is', async () => {
    node.configure(vip4, 24)
    keeper.setVips([owned(vip4, 'b')])
    await passes(20_000)
    expect(node.commands).toEqual([])
    expect(refusal(vip4)).toMatchObject({ reason: 'AddressInUse', message: expect.stringContaining('on eth0') })
  })

  test('an interface that is gone is a refusal, and no error without end', async () => {
    node.setCarrier(false)
    keeper.setVips([owned(vip4)])
    await passes(20_000)
    expect(refusal(vip4)).toEqual({
      reason: 'AddressNotSet',
      message: 'there is no interface eth0 that is up',
      scope: 'node',
    })
    node.setCarrier(true)
    await passes(15_000)
    expect(node.held()).toEqual([vip4])
  })
})

describe('keeping', () => {
  beforeEach(async () => {
    keeper.setVips([owned(vip4, 'b'), owned(vip6, 'b')])
    await passes(100)
  })

  test('the lifetime is renewed, and never reaches further than the proof', async () => {
    for (let i = 0; i < 30; i++) {
      await passes(1_000)
      expect(node.lifetimeSeconds(vip4)).toBeGreaterThan(8)
      expect(node.lifetimeSeconds(vip4)).toBeLessThanOrEqual(holdMs / 1000)
    }
  })

  test('without proof it ends with the proof, in both families', async () => {
    const lastMs = clock.monotonicMs()
    proven = () => lastMs
    await passes(holdMs - 2_000)
    expect(node.held()).toEqual([vip4, vip6])
    await passes(2_000)
    expect(node.held()).toEqual([])
    proven = () => clock.monotonicMs()
    await passes(5_000)
    expect(new Set(node.held())).toEqual(new Set([vip4, vip6]))
  })

  test('somebody takes the address away: it is back within seconds', async () => {
    node.unconfigure(vip4)
    await passes(4_000)
    expect(node.held()).toContain(vip4)
  })

  test('an agent that ends leaves the addresses for its successor, for a while', async () => {
    ending.abort()
    await passes(10)
    expect(node.lifetimeSeconds(vip4)).toBeCloseTo(goodbyeSeconds, 0)
    await passes(10_000)
    start()
    keeper.setVips([owned(vip4, 'b')])
    await passes(100)
    expect(node.held()).toEqual([vip4])
    expect(node.lifetimeSeconds(vip4)).toBeGreaterThan(10)
  })

  test('one whose proof is old leaves them no longer than that after it', async () => {
    const lastMs = clock.monotonicMs()
    proven = () => lastMs
    await passes(10_000)
    ending.abort()
    await passes(goodbyeSeconds * 1000 - 10_000)
    expect(node.held()).toEqual([])
  })
})

describe('somebody else says that he has the address', () => {
  const contest = (): void => {
    const socket = must(other.open(2))
    const mac = Uint8Array.from(other.mac.split(':'), (part) => Number.parseInt(part, 16))
    for (const frame of framesOf(vip4, mac, { router: true })) socket.send(frame)
  }

  beforeEach(async () => {
    keeper.setVips([owned(vip4, 'b')])
    await passes(30_000)
  })

  test('and the list says that it is ours: we defend it once, and say so', async () => {
    const said = node.claimed.length
    contest()
    contest()
    await passes(2_000)
    expect(node.held()).toEqual([vip4])
    expect(node.claimed.length).toBe(said + 2)
    expect(refusal(vip4)).toEqual({
      reason: 'AddressConflict',
      message: `${other.mac} says on eth0 that it has ${vip4} too`,
      scope: 'link',
    })
    await passes(70_000)
    expect(refusal(vip4)).toBe(undefined)
  })

  test('and then it is lost all the same: it is taken again at once', async () => {
    keeper.setVips([owned(vip4)])
    contest()
    await passes(2_000)
    expect(refusal(vip4)?.reason).toBe('AddressConflict')
    node.unconfigure(vip4)
    await passes(5_000)
    expect(node.held()).toEqual([vip4])
  })

  test('and the list says that it is his: it goes', async () => {
    confirm = async () => keeper.setVips([])
    contest()
    await passes(2_000)
    expect(node.held()).toEqual([])
  })

  test('and no list can be had: we give way, and come back when one says so', async () => {
    let resolve: () => void = () => {}
    confirm = () => new Promise((done) => (resolve = done))
    contest()
    await passes(5_000)
    expect(node.held()).toEqual([])
    await passes(60_000)
    expect(node.held()).toEqual([])
    resolve()
    await passes(1_000)
    expect(node.held()).toEqual([vip4])
  })
})

test('the node tells where it could answer', async () => {
  await passes(10)
  expect(keeper.nodeLinks()).toMatchObject({
    answersForAll: false,
    links: [{ name: 'eth0', mac: node.mac, subnets: ['10.0.0.0/24', 'fd00:10::/64'] }],
  })
})

test('what the kernel dropped and another node has by now is not announced any more', async () => {
  keeper.setVips([owned(vip4, 'b'), owned(vip6, 'b')])
  await passes(500)
  node.fail((command) => (command.startsWith('address add') ? 'RTNETLINK answers: Permission denied' : undefined))
  node.unconfigure(vip6)
  await passes(3_000)
  keeper.setVips([owned(vip4, 'b')])
  const lostMs = clock.monotonicMs()
  await passes(130_000)
  const said = node.claimed.filter(({ atMs }) => atMs > lostMs).map(({ address }) => address)
  expect(new Set(said)).toEqual(new Set([vip4]))
})

test('one who answers is asked again soon, and then ever more rarely', async () => {
  other.configure(vip4, 24)
  keeper.setVips([owned(vip4)])
  await passes(2_000)
  other.unconfigure(vip4)
  // A former owner that lets go a moment later costs a moment.
  await passes(4_500)
  expect(node.held()).toEqual([vip4])
})

test.each([5_000, 7_000, 15_000])(
  'with a proof that lasts %i ms an address never comes near its end, nor outlives its proof',
  async (heldMs) => {
    ending.abort()
    await passes(10)
    start(heldMs)
    keeper.setVips([owned(vip4, 'b')])
    await passes(10)
    for (let i = 0; i < 100; i++) {
      await passes(300)
      expect(node.lifetimeSeconds(vip4)).toBeGreaterThan(heldMs / 1000 / 3)
    }
    const lastMs = clock.monotonicMs()
    proven = () => lastMs
    await passes(heldMs + 100)
    expect(node.held()).toEqual([])
  },
)

describe('what is told', () => {
  const told = () => keeper.nodeLinks()

  test('the VIPs that the kernel has, as soon as it has them and as long', async () => {
    keeper.setVips([owned(vip4, 'b'), owned(vip6, 'b')])
    const before = changes
    await passes(10)
    expect(told()?.holds).toEqual({ vips: new Set([vip4, vip6]), more: false })
    expect(changes).toBeGreaterThan(before)
    keeper.setVips([owned(vip4, 'b')])
    await passes(10)
    expect(told()?.holds?.vips).toEqual(new Set([vip4]))
    proven = () => undefined
    await passes(30_000)
    expect(told()?.holds?.vips).toEqual(new Set())
  })

  test('none on an interface without a cable, where nobody hears them', async () => {
    keeper.setVips([owned(vip4, 'b')])
    await passes(10)
    node.setCarrier(false)
    await passes(5_000)
    expect(told()).toMatchObject({ links: [], holds: { vips: new Set() } })
  })

  test('an address that the kernel does not take is a refusal of this node, for a minute after it went to another one', async () => {
    node.fail((command) =>
      command.startsWith('address add') ? 'RTNETLINK answers: Operation not permitted' : undefined,
    )
    keeper.setVips([owned(vip4, 'b')])
    await passes(10)
    expect(refusal(vip4)).toMatchObject({
      reason: 'AddressNotSet',
      scope: 'node',
      message: 'it could not be put on eth0: RTNETLINK answers: Operation not permitted',
    })
    keeper.setVips([])
    await passes(40_000)
    expect(refusal(vip4)).toMatchObject({ reason: 'AddressNotSet' })
    await passes(31_000)
    expect(refusal(vip4)).toBe(undefined)
  })

  test('one that it does not renew, before it is gone', async () => {
    keeper.setVips([owned(vip4, 'b')])
    await passes(5_000)
    node.fail((command) =>
      command.startsWith('address replace') ? 'RTNETLINK answers: Operation not permitted' : undefined,
    )
    await passes(9_000)
    expect(node.held()).toEqual([vip4])
    expect(refusal(vip4)).toMatchObject({
      reason: 'AddressNotSet',
      message: expect.stringContaining('renewed on eth0'),
    })
    node.fail(() => undefined)
    await passes(25_000)
    expect(refusal(vip4)).toBe(undefined)
  })

  test('a stranger on the link is forgotten with the VIP: another node would find the same', async () => {
    other.configure(vip4, 24)
    keeper.setVips([owned(vip4)])
    await passes(2_000)
    expect(refusal(vip4)).toMatchObject({ scope: 'link' })
    keeper.setVips([])
    await passes(10)
    expect(refusal(vip4)).toBe(undefined)
  })

  test('no link of a node on which nothing can be seen, until it can', async () => {
    keeper.setVips([owned(vip4, 'b')])
    await passes(10)
    node.fail((command) => (command.startsWith('show') ? 'Cannot open netlink socket' : undefined))
    await passes(7_000)
    expect(told()).toMatchObject({ links: [], holds: { vips: new Set() } })
    node.fail(() => undefined)
    await passes(4_000)
    expect(told()?.links.map(({ name }) => name)).toEqual(['eth0'])
  })
})
