// What crosses the border between the threads comes out as it went in, and equal things are one thing on the other side.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Path, Route, RouteAttributes } from '../../../src/bgp/rib/route.ts'
import {
  packCommand,
  packedRoutesMin,
  packRoutes,
  unpackCommand,
  unpackRoutes,
} from '../../../src/bgp/speaker/packed-routes.ts'
import type { SpeakerCommand } from '../../../src/bgp/speaker/protocol.ts'
import { createRouteValues } from '../../../src/bgp/speaker/route-values.ts'
import { communityFromParts } from '../../../src/net/community.ts'
import { parseIp } from '../../../src/net/ip.ts'
import { parsePrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'

// Some ids stand for several next hops, and some next hops come with and without a bandwidth, staying and leaving.
const path: fc.Arbitrary<Path> = fc
  .tuple(
    fc.integer({ min: 1, max: 5 }),
    fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1'),
    fc.constantFrom(0, 1e6),
    fc.boolean(),
  )
  .map(([pathId, nextHop, linkBandwidth, leaving]) => ({
    pathId,
    nextHop: must(parseIp(nextHop)),
    ...(linkBandwidth === 0 ? {} : { linkBandwidth }),
    ...(leaving ? { leaving: true } : {}),
  }))
const attributes: fc.Arbitrary<RouteAttributes> = fc
  .tuple(fc.constantFrom(undefined, 0, 10), fc.constantFrom(undefined, 10), fc.nat({ max: 2 }))
  .map(([med, localPref, count]) => ({
    origin: 'IGP',
    prepend: count,
    communities: Array.from({ length: count }, (_, i) => communityFromParts(64512, i)),
    largeCommunities: [],
    ...(med === undefined ? {} : { med }),
    ...(localPref === undefined ? {} : { localPref }),
  }))
const route: fc.Arbitrary<Route> = fc
  .tuple(fc.constantFrom('203.0.113.1/32', '2001:db8::1/128'), attributes, fc.array(path, { maxLength: 4 }))
  .map(([text, shared, paths]) => ({ prefix: must(parsePrefix(text)), attributes: shared, paths }))

test('routes come out as they went in', () => {
  fc.assert(
    fc.property(fc.array(route), (routes) => {
      expect(unpackRoutes(structuredClone(packRoutes(routes)), createRouteValues())).toEqual(routes)
    }),
    { numRuns: 300 },
  )
})

test('what is equal is one object', () => {
  const shared: RouteAttributes = { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] }
  const routes = ['203.0.113.1/32', '203.0.113.2/32'].map(
    (text): Route => ({
      prefix: must(parsePrefix(text)),
      attributes: { ...shared },
      paths: [{ pathId: 1, nextHop: must(parseIp('10.0.0.1')) }],
    }),
  )
  const [a, b] = unpackRoutes(packRoutes(routes), createRouteValues())
  expect(a?.attributes).toBe(b?.attributes)
  expect(a?.paths).toBe(b?.paths)
})

test('a command keeps everything beside its routes', () => {
  const commands: readonly SpeakerCommand[] = [
    { type: 'ready' },
    {
      type: 'routes',
      table: 'main',
      replace: true,
      upserts: [],
      withdrawals: [must(parsePrefix('203.0.113.9/32'))],
      revision: 7,
    },
  ]
  for (const command of commands)
    expect(unpackCommand(structuredClone(packCommand(command)), createRouteValues())).toEqual(command)
})

const upserting = (upserts: readonly Route[]): SpeakerCommand => ({
  type: 'routes',
  table: 'main',
  replace: false,
  upserts,
  withdrawals: [],
  revision: 1,
})

test('commands with few routes and with many, one after the other, bring the same routes, whatever is remembered of them', () => {
  const commands = fc.array(fc.array(route, { maxLength: 2 * packedRoutesMin, size: 'max' }), { maxLength: 8 })
  fc.assert(
    fc.property(commands, fc.constantFrom(2, 16_384), (lists, valuesMax) => {
      const values = createRouteValues({ valuesMax })
      for (const routes of lists)
        expect(unpackCommand(structuredClone(packCommand(upserting(routes))), values)).toEqual(upserting(routes))
    }),
    { numRuns: 100 },
  )
})

test('what is equal is one object, whatever command it came with', () => {
  const values = createRouteValues()
  const routeTo = (text: string): Route => ({
    prefix: must(parsePrefix(text)),
    attributes: { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] },
    paths: ['10.0.0.1', '10.0.0.2'].map((nextHop, i) => ({ pathId: i + 1, nextHop: must(parseIp(nextHop)) })),
  })
  const many = Array.from({ length: packedRoutesMin }, (_, i) => routeTo(`203.0.113.${i}/32`))
  const arrived = [many, [routeTo('203.0.113.100/32')], [routeTo('203.0.113.101/32')]].flatMap((routes) => {
    const command = unpackCommand(structuredClone(packCommand(upserting(routes))), values)
    return command.type === 'routes' ? command.upserts : []
  })
  expect(arrived).toHaveLength(packedRoutesMin + 2)
  expect(new Set(arrived.map(({ attributes: of }) => of)).size).toBe(1)
  expect(new Set(arrived.map(({ paths }) => paths)).size).toBe(1)
})
