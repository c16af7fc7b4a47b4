// What the daemons printed, shortened, and what the lab reads from it.

import { expect, test } from 'vitest'
import { parseBirdProtocols, parseBirdRoutes } from '../../../src/lab/routers/bird.ts'
import { foldExabgpEvents } from '../../../src/lab/routers/exabgp.ts'
import { parseFrrPaths, parseFrrSummary } from '../../../src/lab/routers/frr.ts'
import { parseGobgpNeighbors, parseGobgpRib } from '../../../src/lab/routers/gobgp.ts'
import { parseOpenbgpdNeighbors, parseOpenbgpdRib } from '../../../src/lab/routers/openbgpd.ts'

const twoPaths = [
  { nextHop: '10.0.0.101', pathId: 1, asPath: [65010], origin: 'IGP', communities: ['65010:7', '65010:1:2'] },
  { nextHop: '10.0.0.102', pathId: 2, asPath: [65010], origin: 'IGP', communities: ['65010:7', '65010:1:2'] },
]
const withoutIds = twoPaths.map(({ pathId: _, ...path }) => path)

test('BIRD: sessions', () => {
  const text = `BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     12:15:26.008
n0         BGP        ---        up     12:15:27.200  Established
  BGP state:          Established
    Neighbor address: 10.0.0.10
  Channel ipv4
    Routes:         2 imported, 0 exported, 1 preferred
  Channel ipv6
    Routes:         3 imported, 0 exported, 1 preferred

n1         BGP        ---        start  12:15:27.200  Passive
  BGP state:          Passive
    Neighbor address: fd00::10
`
  expect(parseBirdProtocols(text)).toEqual([
    { peer: '10.0.0.10', established: true, state: 'Established', paths: 5 },
    { peer: 'fd00::10', established: false, state: 'Passive', paths: 0 },
  ])
})

test('BIRD: paths, without those of other protocols', () => {
  const text = `BIRD 2.0.12 ready.
Table master4:
203.0.113.10/32      unicast [n0 12:15:27.246 from 10.0.0.10] * (100) [AS65010i]
	via 10.0.0.102 on eth0
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path: 65010
	BGP.next_hop: 10.0.0.102
	BGP.med: 5
	BGP.local_pref: 100
	BGP.community: (65010,7) (65010,8)
	BGP.large_community: (4200000000, 1, 2)
                     unicast [n0 12:15:27.246 from 10.0.0.10] (100) [AS65010i]
	via 10.0.0.101 on eth0
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path:
	BGP.next_hop: 10.0.0.101
	BGP.local_pref: 200
                     unicast [direct1 12:15:27.246] (240)
	dev eth0
	Type: device univ
`
  expect(parseBirdRoutes(text)).toEqual([
    { nextHop: '10.0.0.101', asPath: [], origin: 'IGP', localPref: 200, communities: [] },
    {
      nextHop: '10.0.0.102',
      asPath: [65010],
      origin: 'IGP',
      med: 5,
      localPref: 100,
      communities: ['65010:7', '65010:8', '4200000000:1:2'],
    },
  ])
})

test('FRR: sessions, families added up', () => {
  const peers = (pfxRcd: number) => ({ peers: { '10.0.0.10': { pfxRcd, state: 'Established' } } })
  expect(parseFrrSummary({ ipv4Unicast: peers(2), ipv6Unicast: peers(3) })).toEqual([
    { peer: '10.0.0.10', established: true, state: 'Established', paths: 5 },
  ])
  expect(parseFrrSummary({})).toEqual([])
})

test('FRR: paths', () => {
  const path = (nextHop: string, addpathRxId: number) => ({
    aspath: { segments: [{ type: 'as-sequence', list: [65010] }] },
    origin: 'IGP',
    addpathRxId,
    community: { string: '65010:7', list: ['65010:7'] },
    largeCommunity: { string: '65010:1:2' },
    nexthops: [{ ip: nextHop, afi: 'ipv4' }],
  })
  expect(parseFrrPaths({ paths: [path('10.0.0.102', 2), path('10.0.0.101', 1)] })).toEqual(twoPaths)
})

test('GoBGP: sessions', () => {
  const neighbor = {
    conf: { neighbor_address: '10.0.0.10' },
    state: { neighbor_address: '10.0.0.10', session_state: 6 },
    afi_safis: [{ state: { accepted: 2 } }, { state: { accepted: 3 } }, { state: {} }],
  }
  expect(parseGobgpNeighbors([neighbor])).toEqual([
    { peer: '10.0.0.10', established: true, state: 'Established', paths: 5 },
  ])
})

test.each([3, 14])('GoBGP: paths with the next hop in attribute %i', (type) => {
  const path = (nexthop: string) => ({
    attrs: [
      { type: 1, value: 0 },
      { type: 2, as_paths: [{ segment_type: 2, num: 1, asns: [65010] }] },
      { type, nexthop },
      { type: 8, communities: [65010 * 65536 + 7] },
      { type: 32, value: [{ ASN: 65010, LocalData1: 1, LocalData2: 2 }] },
    ],
  })
  expect(parseGobgpRib({ '203.0.113.10/32': [path('10.0.0.102'), path('10.0.0.101')] })).toEqual(withoutIds)
})

test('OpenBGPD: sessions', () => {
  const neighbor = { remote_addr: '10.0.0.10', state: 'Established', stats: { prefixes: { sent: 0, received: 4 } } }
  expect(parseOpenbgpdNeighbors({ neighbors: [neighbor] })).toEqual([
    { peer: '10.0.0.10', established: true, state: 'Established', paths: 4 },
  ])
})

test('OpenBGPD: paths', () => {
  const path = (exit_nexthop: string, path_id: number) => ({
    ...{ aspath: '65010', exit_nexthop, path_id, origin: 'IGP' },
    communities: ['65010:7'],
    large_communities: ['65010:1:2'],
  })
  expect(parseOpenbgpdRib({ rib: [path('10.0.0.102', 2), path('10.0.0.101', 1)] })).toEqual(twoPaths)
  expect(parseOpenbgpdRib({})).toEqual([])
})

test('ExaBGP: what it reported, folded into a table', () => {
  const of = (content: object) =>
    JSON.stringify({ neighbor: { address: { local: '10.0.0.1', peer: '10.0.0.10' }, ...content }, ...content })
  const state = (word: string) => of({ type: 'state', state: word })
  const announce = (nextHop: string, id: string) =>
    of({
      type: 'update',
      message: {
        update: {
          attribute: { origin: 'igp', 'as-path': [65010] },
          announce: { 'ipv4 unicast': { [nextHop]: [{ nlri: '203.0.113.10/32', 'path-information': id }] } },
        },
      },
    })
  const withdraw = (id: string) =>
    of({
      type: 'update',
      message: { update: { withdraw: { 'ipv4 unicast': [{ nlri: '203.0.113.10/32', 'path-information': id }] } } },
    })
  const all = [state('up'), announce('10.0.0.101', '0.0.0.1'), announce('10.0.0.102', '0.0.1.2'), '']
  const nextHops = (lines: readonly string[]) =>
    [...foldExabgpEvents(lines).paths.values()].map(({ path }) => [path.nextHop, path.pathId])
  expect(nextHops(all)).toEqual([
    ['10.0.0.101', 1],
    ['10.0.0.102', 258],
  ])
  expect(nextHops([...all, withdraw('0.0.0.1')])).toEqual([['10.0.0.102', 258]])
  expect(nextHops([...all, announce('10.0.0.103', '0.0.0.1')])).toEqual([
    ['10.0.0.103', 1],
    ['10.0.0.102', 258],
  ])
  expect(foldExabgpEvents([...all, state('down')])).toEqual({ up: new Set(), paths: new Map() })
})
