// Peers that share what is written for them must each end as if they had been alone, whatever their pace and whatever else
// they ask for; and what is shared must really be written once.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Family } from '../../../src/bgp/packet/message.ts'
import { exportPaths } from '../../../src/bgp/rib/export.ts'
import type { Route } from '../../../src/bgp/rib/route.ts'
import { createUpdateGroups, type UpdateGroups, type UpdateStream } from '../../../src/bgp/rib/update-groups.ts'
import type { Prefix } from '../../../src/net/prefix.ts'
import { createReceiver, type Receiver } from './receiver.ts'
import { bothFamilies, type ContextChanges, contextWith, ip, prefix, routeOver, withLeaving } from './support.ts'

/** Tables and those who are told what is in them. */
class World {
  readonly groups: UpdateGroups
  readonly tables = [new Map<Prefix, Route>(), new Map<Prefix, Route>()] as const

  constructor(backlogBytesMax?: number) {
    this.groups = createUpdateGroups(backlogBytesMax === undefined ? undefined : { backlogBytesMax })
  }

  set(table: 0 | 1, key: Prefix, route: Route | undefined): void {
    this.groups.update(this.tables[table], key, route)
    if (route === undefined) this.tables[table].delete(key)
    else this.tables[table].set(key, route)
  }

  put(...routes: readonly Route[]): void {
    for (const route of routes) this.set(0, route.prefix, route)
  }

  join(changes: ContextChanges = {}, remembered: readonly Route[] = []): Listener {
    const context = contextWith(changes)
    return new Listener(this, this.groups.join(context, this.tables[0], remembered), changes)
  }
}

class Listener {
  readonly stream: UpdateStream
  readonly receiver: Receiver
  readonly messages: Uint8Array[] = []
  readonly #world: World
  readonly #changes: ContextChanges
  readonly #nextHopOfId = new Map<string, string>()
  table: 0 | 1 = 0

  constructor(world: World, stream: UpdateStream, changes: ContextChanges) {
    this.#world = world
    this.stream = stream
    this.#changes = changes
    this.receiver = createReceiver(contextWith(changes).codec)
  }

  read(most = Number.POSITIVE_INFINITY): number {
    let read = 0
    for (; read < most; read++) {
      const message = this.stream.next()
      if (message === undefined) break
      this.messages.push(message)
      for (const { key } of this.receiver.receive(message)) this.#checkId(key)
    }
    return read
  }

  /** An id never goes from one next hop to another. */
  #checkId(key: string): void {
    const [vip = '', id] = key.split(' ')
    const held = this.receiver.table.get(key)
    if (id === undefined || held === undefined) return
    const idKey = `${vip.includes(':')} ${id}`
    expect(this.#nextHopOfId.get(idKey) ?? held.nextHop).toBe(held.nextHop)
    this.#nextHopOfId.set(idKey, held.nextHop)
  }

  moveTo(table: 0 | 1): void {
    this.table = table
    this.stream.moveTo(this.#world.tables[table])
  }

  /** Reads all, and holds what the table says and nothing else. */
  expectCurrent(): void {
    this.read()
    const context = contextWith(this.#changes)
    const wanted = [...this.#world.tables[this.table].values()].flatMap((route) => {
      const family: Family = route.prefix.includes(':') ? 'ipv6-unicast' : 'ipv4-unicast'
      return exportPaths(route, family, context).map(
        ({ nextHop, leaving }) => `${route.prefix} ${nextHop} ${leaving ? medMax : route.attributes.med}`,
      )
    })
    const held = [...this.receiver.table].map(([key, { nextHop, attributes }]) => {
      return `${key.split(' ')[0]} ${nextHop} ${Number.parseInt(attributes.get(4) ?? '', 16)}`
    })
    expect(held.sort()).toEqual(wanted.sort())
    expect(this.stream.pending).toBe(false)
    expect(this.stream.announcedPaths).toBe(held.length)
    expect(this.stream.announcedPrefixes).toBe(new Set(held.map((path) => path.split(' ')[0])).size)
    expect([...this.stream.sentRoutes()].map((route) => route.prefix).sort()).toEqual(
      [...this.#world.tables[this.table].keys()].sort(),
    )
  }
}

/** MED of a path that leaves. */
const medMax = 0xffff_ffff
const med = (value: number) => ({ med: value })
const vip = (index: number): string => `198.18.${index >> 8}.${index & 255}/32`
const many = (count: number, nodes: readonly number[]): readonly Route[] =>
  Array.from({ length: count }, (_, i) => routeOver(vip(i), nodes, med(0)))

describe('what is written once', () => {
  test('the full table, for all who come before it changes', () => {
    const world = new World()
    world.put(...many(2000, [1, 2]))
    const [a, b] = [world.join({ seed: 'a' }), world.join({ seed: 'b' })]
    a.read()
    b.read()
    expect(a.messages.length).toBe(10)
    expect(b.messages.every((message, i) => message === a.messages[i])).toBe(true)
    for (const each of [a, b]) each.expectCurrent()
  })

  test('messages of the full table lie beside each other, so that they are written to a socket from where they are', () => {
    const world = new World()
    world.put(...Array.from({ length: 2000 }, (_, i) => routeOver(`203.${i >> 8}.113.${i & 255}/32`, [1, 2])))
    const listener = world.join()
    const count = listener.read()
    const buffers = new Set(listener.messages.map(({ buffer }) => buffer))
    expect(count).toBeGreaterThan(2 * buffers.size)
    for (const [i, message] of listener.messages.entries()) {
      const next = listener.messages[i + 1]
      if (next?.buffer === message.buffer) expect(next.byteOffset).toBe(message.byteOffset + message.length)
    }
  })

  test('a change, for all who are in step', () => {
    const world = new World()
    world.put(...many(3, [1, 2]))
    const all = [world.join(), world.join(), world.join()]
    for (const each of all) each.expectCurrent()
    world.put(routeOver(vip(1), [1], med(0)))
    for (const each of all) each.expectCurrent()
    expect(new Set(all.map(({ messages }) => messages.at(-1))).size).toBe(1)
  })

  test.each<[string, ContextChanges, ContextChanges, boolean]>([
    ['of one AS and another', {}, { codec: { sessionType: 'ibgp' } }, false],
    ['with ADD-PATH and without', {}, { codec: { addPathSend: new Set() } }, false],
    [
      'that get one path each, chosen by their names',
      { codec: { addPathSend: new Set() }, seed: 'a' },
      { codec: { addPathSend: new Set() }, seed: 'b' },
      false,
    ],
    ['whose names decide nothing', { seed: 'a' }, { seed: 'b' }, true],
    [
      'with next hop self, but one address',
      { nextHopSelf: { ipv4: ip('10.0.0.1') } },
      { nextHopSelf: { ipv4: ip('10.0.0.1') }, seed: 'b' },
      true,
    ],
    [
      'with next hop self and two addresses',
      { nextHopSelf: { ipv4: ip('10.0.0.1') } },
      { nextHopSelf: { ipv4: ip('10.0.0.2') } },
      false,
    ],
    ['with a limit of paths and without', {}, { pathsLimit: new Map([['ipv4-unicast', 2]]) }, false],
  ])('for peers %s', (_name, one, other, shared) => {
    const world = new World()
    world.put(routeOver(vip(1), [1, 2, 3], med(0)))
    const [a, b] = [world.join(one), world.join(other)]
    a.read()
    b.read()
    expect(a.messages[0] === b.messages[0]).toBe(shared)
  })
})

describe('a member that does not read', () => {
  const behind = (): { readonly world: World; readonly fast: Listener; readonly slow: Listener } => {
    const world = new World(10_000)
    world.put(...many(100, [1, 2]))
    const [fast, slow] = [world.join(), world.join()]
    for (const each of [fast, slow]) each.expectCurrent()
    // About 40 octets each.
    for (let i = 0; i < 1000; i++) {
      world.put(routeOver(vip(i % 100), [1, 3 + (Math.floor(i / 100) % 2)], med(0)))
      fast.read()
    }
    return { world, fast, slow }
  }

  test('is sent a bounded number of messages late, and otherwise the newest state', () => {
    const { slow, fast } = behind()
    const before = slow.messages.length
    slow.read()
    const late = slow.messages.slice(before).reduce((sum, { length }) => sum + length, 0)
    expect(late).toBeLessThan(15_000)
    expect(fast.messages.length).toBeGreaterThan(slow.messages.length + 500)
    slow.expectCurrent()
  })

  test('shares again when it has read everything', () => {
    const { world, slow, fast } = behind()
    slow.expectCurrent()
    world.put(routeOver(vip(7), [9], med(0)))
    fast.expectCurrent()
    slow.expectCurrent()
    expect(slow.messages.at(-1)).toBe(fast.messages.at(-1))
  })
})

test('a peer that asks for everything again gets it alone, and shares again afterwards', () => {
  const world = new World()
  world.put(...many(10, [1, 2]))
  const [a, b] = [world.join(), world.join()]
  for (const each of [a, b]) each.expectCurrent()
  a.stream.resend('ipv4-unicast')
  expect(a.read()).toBe(2)
  expect(b.read()).toBe(0)
  world.put(routeOver(vip(1), [1], med(0)))
  for (const each of [a, b]) each.expectCurrent()
  expect(a.messages.at(-1)).toBe(b.messages.at(-1))
})

test('what a peer remembers of an earlier session is withdrawn when gone, and announced again when not', () => {
  const world = new World()
  world.put(...many(3, [1, 2]))
  const remembered = [routeOver(vip(1), [2, 3], med(0)), routeOver(vip(9), [1], med(0))]
  const peer = world.join({}, remembered)
  const changes = () => {
    const message = peer.stream.next()
    return message === undefined ? [] : peer.receiver.receive(message).map(({ kind, key }) => `${kind} ${key}`)
  }
  const seen = Array.from({ length: 5 }, changes).flat()
  expect(seen).toContain(`withdraw ${vip(1)} 3`)
  expect(seen).toContain(`withdraw ${vip(9)} 1`)
  expect(seen.filter((change) => change.startsWith('announce')).length).toBe(6)
  peer.expectCurrent()
})

// The planner promises ids that are a function of the next hop. Should it break the promise, nobody joins a group whose ids
// mean something else than on the session.
test('a session whose path ids mean something else stays by itself', () => {
  const world = new World()
  const claiming = (nextHop: string): Route => ({
    ...routeOver(vip(1), [1], med(0)),
    paths: [{ pathId: 1, nextHop: ip(nextHop) }],
  })
  world.put(claiming('10.0.0.1'))
  const first = world.join()
  first.expectCurrent()
  first.moveTo(1)
  world.put(claiming('10.0.0.2'))
  const second = world.join()
  second.expectCurrent()
  first.moveTo(0)
  for (const each of [first, second, first]) each.expectCurrent()
  world.put(claiming('10.0.0.1'))
  for (const each of [first, second]) each.expectCurrent()
})

type Step =
  | { readonly do: 'set'; readonly table: 0 | 1; readonly route: Route }
  | { readonly do: 'withdraw'; readonly table: 0 | 1; readonly prefix: Prefix }
  | { readonly do: 'read'; readonly who: number; readonly messages: number }
  | { readonly do: 'resend'; readonly who: number; readonly family: Family }
  | { readonly do: 'move'; readonly who: number; readonly table: 0 | 1 }
  | { readonly do: 'join'; readonly kind: number }
  | { readonly do: 'reconnect'; readonly who: number }

const kinds: readonly ContextChanges[] = [
  {},
  {},
  {},
  { codec: { sessionType: 'ibgp' } },
  { codec: { addPathSend: new Set() } },
  { pathsLimit: new Map([['ipv4-unicast', 2]]) },
  { nextHopSelf: { ipv4: ip('192.0.2.1'), ipv6: ip('fd00::ffff') } },
]
const table = fc.constantFrom(0 as const, 1 as const)
const who = fc.nat({ max: 7 })
const vips = ['203.0.113.1/32', '203.0.113.2/32', '203.0.113.3/32', '2001:db8::1/128', '2001:db8::2/128']
const nodes = fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .tuple(table, fc.constantFrom(...vips), nodes, fc.constantFrom(0, 10), fc.constantFrom([], [1], [1, 2]))
      .map(([of, text, over, value, leaving]): Step => {
        const route = routeOver(
          text,
          over.toSorted((a, b) => a - b),
          med(value),
        )
        return { do: 'set', table: of, route: withLeaving(route, leaving) }
      }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('withdraw' as const), table, prefix: fc.constantFrom(...vips).map(prefix) }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant('read' as const), who, messages: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('resend' as const), who, family: fc.constantFrom(...bothFamilies) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('move' as const), who, table }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('join' as const), kind: fc.nat({ max: kinds.length - 1 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const), who }) },
)

test('every receiver ends with its table, at any pace and by whatever way', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 120, size: 'max' }),
      fc.constantFrom(0, 200, 100_000),
      (steps, backlogBytesMax) => {
        const world = new World(backlogBytesMax)
        const listeners: Listener[] = []
        for (const each of steps) {
          if (each.do === 'set') world.set(each.table, each.route.prefix, each.route)
          else if (each.do === 'withdraw') world.set(each.table, each.prefix, undefined)
          else if (each.do === 'join') {
            if (listeners.length < 8) listeners.push(world.join(kinds[each.kind]))
          } else {
            const listener = listeners[each.who]
            if (listener === undefined) continue
            if (each.do === 'read') listener.read(each.messages)
            else if (each.do === 'resend') listener.stream.resend(each.family)
            else if (each.do === 'move') listener.moveTo(each.table)
            else {
              // With graceful restart the router keeps what it has, and we know what we told it at most.
              const remembered = [...listener.stream.sentRoutes()]
              listener.stream.end()
              listeners.splice(each.who, 1)
              const again = world.join({}, remembered)
              listeners.push(again)
            }
          }
        }
        for (const listener of listeners) listener.expectCurrent()
        for (const listener of listeners) listener.expectCurrent()
        expect(listeners.every((listener) => listener.read() === 0)).toBe(true)
      },
    ),
    { numRuns: 150 },
  )
})
