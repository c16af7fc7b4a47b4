// Nodes, a leader, an API server and a link in memory, cut apart and joined again at random: whoever may not have an address loses it
// in time, and when all is whole again each address is at its owner alone. The number of a case brings it back.

import { expect, test } from 'vitest'
import { keepLayer2, type Layer2Keeper } from '../../src/layer2/keeper.ts'
import { remindEveryMs } from '../../src/layer2/wire.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { hash32 } from '../../src/plan/hash.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { createFakeLink, type FakeNode, fakeLinkName } from './fake-link.ts'

const holdMs = 15_000
const heartbeatMs = 10_000
/** What a kernel and an agent need to get round to it. */
const slackMs = 5_000
const vips = ['10.0.0.100', '10.0.0.101', 'fd00:10::100'].map((text): Ip => must(parseIp(text)))

interface Member {
  readonly node: FakeNode
  keeper: Layer2Keeper | undefined
  /** Stops what an earlier keeper still wants to do: it was killed. */
  kill: () => void
  api: boolean
  /** A controller hears it, and it a controller. */
  control: boolean
  /** Of the link. */
  half: 'left' | 'right'
  renewedMs: number
  /** Since when neither API server nor controller is in sight. */
  lostMs: number | undefined
}

async function live(seed: number, steps: number): Promise<void> {
  let draws = 0
  const dice = (sides: number): number => hash32(`${seed} ${draws++}`) % sides
  const clock = createVirtualClock(1_000_000)
  const link = createFakeLink(clock)
  const members: Member[] = ['a', 'b', 'c'].map((name) => ({
    ...{ node: link.addNode(name), keeper: undefined, kill: () => {}, api: true, control: true, half: 'left' },
    ...{ renewedMs: clock.monotonicMs(), lostMs: undefined },
  }))
  const halfOf = (name: string): string => members.find(({ node }) => node.name === name)?.half ?? ''
  link.setConnected((a, b) => halfOf(a) === halfOf(b))

  const truth = new Map<Ip, { readonly owner: Member; readonly from: string | undefined }>()
  const waiting: (() => boolean)[] = []
  const tell = (member: Member): void =>
    member.keeper?.setVips(
      vips.flatMap((address) => {
        const { owner, from } = truth.get(address) ?? {}
        return owner === member ? [{ address, interface: fakeLinkName, ...(from === undefined ? {} : { from }) }] : []
      }),
    )
  const later = (work: () => void): void => void clock.setTimer(5 + dice(50), work)
  const move = (address: Ip, owner: Member): void => {
    const before = truth.get(address)?.owner
    if (before === owner) return
    truth.set(address, { owner, from: before?.node.name })
    for (const member of members)
      later(() => {
        if (member.api) tell(member)
      })
  }
  const start = (member: Member): void => {
    let dead = false
    const never = new Promise<never>(() => {})
    member.kill = () => {
      dead = true
      member.keeper = undefined
    }
    const socket = member.node.open
    member.keeper = keepLayer2(
      { holdMs },
      {
        exec: async (...args) => (dead ? never : member.node.exec(...args)),
        openSocket: (index) => {
          const opened = must(socket(index))
          return {
            ok: true,
            value: {
              ...opened,
              send: (frame) => (dead ? undefined : opened.send(frame)),
              receive: () => (dead ? undefined : opened.receive()),
            },
          }
        },
        ...{ clock, log: silentLog, signal: new AbortController().signal },
        kernel: { isRouter: () => true, answersForOthers: () => false, hasCarrier: () => true },
        provenMs: () => (member.control ? clock.monotonicMs() : member.renewedMs),
        confirm: () =>
          new Promise((resolve) => {
            const answer = (): boolean => {
              if (dead || !member.api) return dead
              tell(member)
              resolve()
              return true
            }
            later(() => {
              if (!answer()) waiting.push(answer)
            })
          }),
        onChange: () => {},
      },
    )
    if (member.api) later(() => tell(member))
  }
  const beat = (member: Member): void => {
    if (member.api) member.renewedMs = clock.monotonicMs()
    clock.setTimer(heartbeatMs, () => beat(member))
  }
  const note = (member: Member): void => {
    member.lostMs = member.api || member.control ? undefined : (member.lostMs ?? clock.monotonicMs())
    if (!member.api) return
    member.renewedMs = clock.monotonicMs()
    later(() => tell(member))
    for (const answer of waiting.splice(0)) if (!answer()) waiting.push(answer)
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const passes = async (ms: number): Promise<void> => {
    const endMs = clock.monotonicMs() + ms
    while (clock.monotonicMs() < endMs) {
      clock.advance(Math.min(clock.nextTimerInMs() ?? Number.POSITIVE_INFINITY, endMs - clock.monotonicMs()))
      await turn()
      for (const { node, lostMs } of members)
        if (lostMs !== undefined && clock.monotonicMs() - lostMs > holdMs + slackMs)
          expect({ seed, node: node.name, held: node.held() }).toEqual({ seed, node: node.name, held: [] })
    }
  }
  const settled = (): unknown =>
    vips.map((address) => ({
      address,
      holders: members.flatMap(({ node }) => (node.held().includes(address) ? [node.name] : [])),
    }))

  for (const member of members) {
    start(member)
    beat(member)
  }
  for (const address of vips) move(address, members[dice(3)] as Member)
  await passes(5_000)
  for (let step = 0; step < steps; step++) {
    const member = members[dice(3)] as Member
    const what = dice(16)
    if (what < 2) {
      member.api = !member.api
      note(member)
    } else if (what === 2) {
      member.control = !member.control
      note(member)
    } else if (what < 5) member.half = member.half === 'left' ? 'right' : 'left'
    else if (what === 5) member.kill()
    else if (what < 9) {
      for (const each of members) if (each.keeper === undefined) start(each)
    }
    // A leader that is wrong about who lives is part of the game.
    else move(vips[dice(vips.length)] as Ip, member)
    await passes([20, 300, 3_000, 20_000][dice(4)] ?? 0)
  }

  // One half of the link again, nothing else: an owner that cannot ask anybody gives way to whoever says that he has the address.
  for (const member of members) member.half = 'left'
  await passes(remindEveryMs + holdMs + slackMs)
  for (const address of vips) {
    const owner = truth.get(address)?.owner
    const isActive = owner?.keeper !== undefined && owner.node.held().includes(address)
    const blind = members.filter(({ node, api }) => !api && node.held().includes(address))
    const others = blind.filter((member) => member !== owner && member.keeper !== undefined)
    if (isActive)
      expect({ seed, address, others: others.map(({ node }) => node.name) }).toEqual({ seed, address, others: [] })
  }

  for (const member of members) {
    Object.assign(member, { api: true, control: true })
    note(member)
    if (member.keeper === undefined) start(member)
  }
  await passes(remindEveryMs + 30_000)
  expect({ seed, settled: settled() }).toEqual({
    seed,
    settled: vips.map((address) => ({ address, holders: [truth.get(address)?.owner.node.name] })),
  })
}

test.each(Array.from({ length: 40 }, (_, seed) => seed))('history %d', (seed) => live(seed, 25))
