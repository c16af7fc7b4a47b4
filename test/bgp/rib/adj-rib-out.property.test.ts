// The one property that matters: a router that reads what we send ends with exactly the table we want it to have, whatever
// happened in between and whenever it was read.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import type { Family, SessionCodec } from '../../../src/bgp/packet/message.ts'
import type { AdjRibOut, ExportContext } from '../../../src/bgp/rib/adj-rib-out.ts'
import { exportPaths, hasLinkBandwidth } from '../../../src/bgp/rib/export.ts'
import type { Route } from '../../../src/bgp/rib/route.ts'
import { communityFromParts } from '../../../src/net/community.ts'
import type { Prefix } from '../../../src/net/prefix.ts'
import { createReceiver, type Receiver } from './receiver.ts'
import {
  bothFamilies,
  type ContextChanges,
  contextWith,
  ip,
  prefix,
  ribWithTable,
  routeOver,
  withLeaving,
} from './support.ts'

type Step =
  | { readonly do: 'set'; readonly route: Route }
  | { readonly do: 'withdraw'; readonly prefix: Prefix }
  | { readonly do: 'read'; readonly messages: number }
  | { readonly do: 'resend'; readonly family: Family }

const vips = [
  '203.0.113.1/32',
  '203.0.113.2/32',
  '203.0.113.3/32',
  '198.51.100.0/24',
  '2001:db8::1/128',
  '2001:db8::2/128',
]
// 900 communities leave room for a few prefixes a message.
const attributes = fc
  .record({ med: fc.constantFrom(0, 10), prepend: fc.constantFrom(0, 2), communityCount: fc.constantFrom(0, 1, 900) })
  .map(({ communityCount, ...rest }) => ({
    ...rest,
    communities: Array.from({ length: communityCount }, (_, i) => communityFromParts(64512, i)),
  }))
const route = fc
  .tuple(
    fc.constantFrom(...vips),
    fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 6 }),
    attributes,
    fc.constantFrom(undefined, undefined, 1e6, 2e6),
    fc.oneof(fc.constant([]), fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 12 })),
  )
  .map(([vip, nodes, shared, bandwidth, leaving]) =>
    withLeaving(
      routeOver(
        vip,
        nodes.sort((a, b) => a - b),
        shared,
        bandwidth,
      ),
      leaving,
    ),
  )
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: route.map((wanted): Step => ({ do: 'set', route: wanted })) },
  { weight: 3, arbitrary: fc.constantFrom(...vips).map((vip): Step => ({ do: 'withdraw', prefix: prefix(vip) })) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 5 }).map((messages): Step => ({ do: 'read', messages })) },
  { weight: 1, arbitrary: fc.constantFrom(...bothFamilies).map((family): Step => ({ do: 'resend', family })) },
)

const sessions: readonly (readonly [string, ContextChanges])[] = [
  ['eBGP with ADD-PATH', {}],
  ['iBGP with ADD-PATH', { codec: { sessionType: 'ibgp' } }],
  ['without ADD-PATH', { codec: { addPathSend: new Set() } }],
  ['ADD-PATH in IPv6 alone', { codec: { addPathSend: new Set<Family>(['ipv6-unicast']) } }],
  ['at most two paths a prefix', { pathsLimit: new Map<Family, number>([['ipv4-unicast', 2]]) }],
  ['next hop self', { nextHopSelf: { ipv4: ip('192.0.2.1'), ipv6: ip('fd00::ffff') } }],
  ['IPv4 alone', { codec: { families: new Set<Family>(['ipv4-unicast']) } }],
  ['an OLD speaker', { codec: { fourOctetAs: false } }],
]

interface Read {
  readonly message: Uint8Array
  readonly changes: ReturnType<Receiver['receive']>
}

/** Our own decoder finds nothing to complain about, and our own encoder would have written the same octets. */
function expectTextbook(message: Uint8Array, codec: SessionCodec): void {
  const decoded = decodeMessage(message, { ...codec, addPathReceive: codec.addPathSend })
  expect(decoded).toMatchObject({ ok: true, issues: [] })
  if (!decoded.ok) return
  expect(decoded.endOfRib).toBeUndefined()
  // Towards an OLD speaker the decoder has already put AS_PATH together again.
  if (codec.fourOctetAs) expect(encodeMessage(decoded.message, codec)).toEqual(message)
}

function readMessages(rib: AdjRibOut, receiver: Receiver, codec: SessionCodec, most: number): readonly Read[] {
  const read: Read[] = []
  while (read.length < most) {
    const message = rib.next()
    if (message === undefined) break
    read.push({ message, changes: receiver.receive(message) })
    expectTextbook(message, codec)
  }
  return read
}

/** `key nextHop med bandwidth? leaving?` of every path the peer should hold. */
function desiredTable(desired: ReadonlyMap<Prefix, Route>, context: ExportContext): readonly string[] {
  return [...desired.values()]
    .flatMap((wanted) => {
      const family: Family = wanted.prefix.includes(':') ? 'ipv6-unicast' : 'ipv4-unicast'
      if (!context.codec.families.has(family)) return []
      const paths = exportPaths(wanted, family, context)
      const weighted = hasLinkBandwidth(paths)
      return paths.map(({ pathId, nextHop, leaving }) => {
        const key = context.codec.addPathSend.has(family) ? `${wanted.prefix} ${pathId}` : wanted.prefix
        const med = leaving ? 0xffff_ffff : wanted.attributes.med
        return `${key} via ${nextHop} med ${med} ${weighted ? 'weighted' : 'equal'} ${leaving ? 'leaving' : 'staying'}`
      })
    })
    .sort()
}

const heldTable = (receiver: Receiver): readonly string[] =>
  [...receiver.table]
    .map(([key, { nextHop, attributes: held }]) => {
      const med = Number.parseInt(held.get(4) ?? '', 16)
      const leaving = held.get(8)?.endsWith('ffff0000') ? 'leaving' : 'staying'
      return `${key} via ${nextHop} med ${med} ${held.has(16) ? 'weighted' : 'equal'} ${leaving}`
    })
    .sort()

test.each(sessions)('the receiver ends with the desired table: %s', (_name, changes) => {
  const context = contextWith(changes)
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const rib = ribWithTable(context)
      const receiver = createReceiver(context.codec)
      const desired = new Map<Prefix, Route>()
      const nextHopOfId = new Map<string, string>()
      const check = (read: readonly Read[]): void => {
        for (const { changes: seen } of read) {
          // Never an empty UPDATE: that would be an End-of-RIB.
          expect(seen.length).toBeGreaterThan(0)
          for (const { key } of seen) {
            const [vip = '', id] = key.split(' ')
            const held = receiver.table.get(key)
            if (id === undefined || held === undefined) continue
            const idKey = `${vip.includes(':')} ${id}`
            expect(nextHopOfId.get(idKey) ?? held.nextHop).toBe(held.nextHop)
            nextHopOfId.set(idKey, held.nextHop)
          }
        }
      }
      for (const each of steps) {
        if (each.do === 'read') check(readMessages(rib, receiver, context.codec, each.messages))
        else if (each.do === 'resend') rib.resend(each.family)
        else if (each.do === 'set') {
          desired.set(each.route.prefix, each.route)
          rib.update(each.route.prefix, each.route)
        } else {
          desired.delete(each.prefix)
          rib.update(each.prefix, undefined)
        }
      }
      check(readMessages(rib, receiver, context.codec, Number.POSITIVE_INFINITY))
      expect(heldTable(receiver)).toEqual(desiredTable(desired, context))
      expect(rib.announcedPaths).toBe(receiver.table.size)
      expect(rib.announcedPrefixes).toBe(new Set([...receiver.table.keys()].map((key) => key.split(' ')[0])).size)
      expect(rib.pending).toBe(false)
      for (const wanted of desired.values()) rib.update(wanted.prefix, structuredClone(wanted))
      expect(rib.next()).toBeUndefined()
    }),
    { numRuns: 150 },
  )
})

test('a prefix that keeps at least one next hop is never without one on the way', () => {
  const context = contextWith()
  fc.assert(
    fc.property(fc.array(route, { minLength: 2, maxLength: 30 }), (routes) => {
      const rib = ribWithTable(context)
      const receiver = createReceiver(context.codec)
      const known = new Set<string>()
      const has = (vip: string): boolean => [...receiver.table.keys()].some((key) => key.startsWith(`${vip} `))
      for (const wanted of routes) {
        rib.update(wanted.prefix, wanted)
        for (let message = rib.next(); message !== undefined; message = rib.next()) {
          receiver.receive(message)
          for (const vip of known) expect(has(vip)).toBe(true)
        }
        known.add(wanted.prefix)
      }
    }),
    { numRuns: 100 },
  )
})

// The planner promises ids that are a function of the next hop. Should it ever break that promise, ids still never move.
test('whatever path ids the planner claims, the next hops are right and no id moves to another next hop', () => {
  const context = contextWith()
  const claimed = fc
    .tuple(
      fc.constantFrom('203.0.113.1/32', '203.0.113.2/32'),
      fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
      fc.nat(),
    )
    .map(([vip, nodes, turn]): Route => {
      const { paths, ...rest } = routeOver(vip, nodes)
      return { ...rest, paths: paths.map(({ nextHop }, i) => ({ pathId: 1 + i + (turn % 3), nextHop })) }
    })
  fc.assert(
    fc.property(fc.array(claimed, { maxLength: 30 }), (routes) => {
      const rib = ribWithTable(context)
      const receiver = createReceiver(context.codec)
      const nextHopOfId = new Map<string, string>()
      const desired = new Map<Prefix, Route>()
      for (const wanted of routes) {
        desired.set(wanted.prefix, wanted)
        rib.update(wanted.prefix, wanted)
        readMessages(rib, receiver, context.codec, Number.POSITIVE_INFINITY)
        for (const [key, { nextHop }] of receiver.table) {
          const id = key.split(' ')[1] ?? ''
          expect(nextHopOfId.get(id) ?? nextHop).toBe(nextHop)
          nextHopOfId.set(id, nextHop)
        }
      }
      const held = [...receiver.table].map(([key, { nextHop }]) => `${key.split(' ')[0]} ${nextHop}`)
      const wanted = [...desired.values()].flatMap((each) =>
        each.paths.map(({ nextHop }) => `${each.prefix} ${nextHop}`),
      )
      expect(held.sort()).toEqual(wanted.sort())
    }),
    { numRuns: 200 },
  )
})
