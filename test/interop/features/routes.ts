// What a router has of what we announce: paths, attributes, and the forwarding table that they make.

import { expect } from 'vitest'
import type { Route } from '../../../src/bgp/rib/route.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { communityFromParts, largeCommunityFromParts } from '../../../src/net/community.ts'
import { ip, prefix, routeOver, speakerAddress, vips } from '../bench.ts'
import { capture, readCapture } from '../capture.ts'
import { bothOver, type Feature, nodes, vip4, vip6, withoutKernelTable } from './feature.ts'

const allNextHops = (session: 'ebgp' | 'ibgp'): Feature => ({
  name: `${session === 'ebgp' ? 'eBGP' : 'iBGP'}: all next hops of a VIP are paths (ADD-PATH), IPv4 and IPv6`,
  run: async ({ begin }) => {
    const { router, speakerAt, established, holds } = await begin({ session })
    await established()
    for (const vip of vips) {
      await holds(vip, nodes)
      const [first] = await router.routes(vip)
      expect(first?.asPath).toEqual(session === 'ebgp' ? [65010] : [])
      expect(first?.origin).toBe('IGP')
      if (session === 'ibgp') expect(first?.localPref).toBe(100)
    }
    const sessions = await router.sessions()
    expect(sessions).toEqual([expect.objectContaining({ peer: speakerAt, established: true, paths: 8 })])
  },
})

/** The routes over these nodes, of which some leave. */
const leavingOf = (over: readonly number[], leaving: readonly number[]): readonly Route[] =>
  bothOver(over).map(({ paths, ...route }) => ({
    ...route,
    paths: paths.map((path) => (leaving.includes(path.pathId) ? { ...path, leaving: true } : path)),
  }))

const aPathThatLeaves = (session: 'ebgp' | 'ibgp'): Feature => ({
  name: `${session === 'ebgp' ? 'eBGP' : 'iBGP'}: a next hop that leaves is out of the group once all replicas say so, serves where it is the only one, and comes back`,
  except: withoutKernelTable,
  run: async ({ begin }) => {
    const { router, speaker, replica, established } = await begin({ session, replica: true })
    await established()
    await replica().waitForStatus('tor', 'Established', ({ state }) => state === 'Established')
    const forwardsTo = async (over: readonly number[]): Promise<void> => {
      for (const vip of vips) {
        const expected = bothOver(over)
          .filter((route) => route.prefix === vip)
          .flatMap(({ paths }) => paths.map(({ nextHop }) => nextHop))
        let seen: readonly string[] = []
        await waitFor(
          async () => {
            seen = await router.kernelNextHops(vip)
            return seen.join() === [...expected].sort().join()
          },
          { what: `${vip} over ${expected.join(' ')} in the kernel`, evidence: () => seen.join(' ') },
        )
      }
    }
    await forwardsTo(nodes)
    const [first = 0, second = 0, ...others] = nodes
    // The second leg is the proof that the router has read what came with it.
    speaker().announce(...leavingOf(nodes, [first, second]))
    replica().announce(...leavingOf(nodes, [second]))
    await forwardsTo([first, ...others])
    replica().announce(...leavingOf(nodes, [first, second]))
    await forwardsTo(others)
    for (const each of [speaker(), replica()]) each.announce(...leavingOf([first], [first]))
    await forwardsTo([first])
    for (const each of [speaker(), replica()]) each.announce(...bothOver(nodes))
    await forwardsTo(nodes)
  },
})

export const routeFeatures: readonly Feature[] = [
  allNextHops('ebgp'),
  allNextHops('ibgp'),
  {
    name: 'path ids arrive as they were sent',
    except: { bird: 'does not show path ids', gobgp: 'does not show path ids' },
    run: async ({ begin }) => {
      const { router, established, holds } = await begin()
      await established()
      for (const vip of vips) {
        await holds(vip, nodes)
        expect((await router.routes(vip)).map(({ pathId }) => pathId)).toEqual(nodes)
      }
    },
  },
  {
    name: 'a next hop that goes leaves the others alone; the last takes the VIP with it; one that comes is added',
    run: async ({ begin }) => {
      const { speaker, established, holds } = await begin()
      await established()
      for (const vip of vips) await holds(vip, nodes)
      speaker().announce(...bothOver([101, 102, 104]))
      for (const vip of vips) await holds(vip, [101, 102, 104])
      speaker().announce(...bothOver([101, 102, 105]))
      for (const vip of vips) await holds(vip, [101, 102, 105])
      speaker().withdraw(...vips)
      for (const vip of vips) await holds(vip, [])
      speaker().announce(...bothOver([103]))
      for (const vip of vips) await holds(vip, [103])
    },
  },
  {
    name: 'prepends, MED, communities and large communities arrive as they were asked for',
    run: async ({ begin }) => {
      const attributes = {
        med: 50,
        prepend: 2,
        communities: [communityFromParts(65010, 7), communityFromParts(65010, 8)],
        largeCommunities: [largeCommunityFromParts(4_200_000_000, 1, 2)],
      }
      const { router, established, holds } = await begin({
        routes: vips.map((vip) => routeOver(vip, nodes, attributes)),
      })
      await established()
      for (const vip of vips) {
        await holds(vip, nodes)
        for (const path of await router.routes(vip))
          expect(path).toMatchObject({
            asPath: [65010, 65010, 65010],
            med: 50,
            communities: ['65010:7', '65010:8', '4200000000:1:2'],
          })
      }
    },
  },
  {
    name: 'next hop self: one path a VIP, to the speaker’s own address of that family',
    run: async ({ begin }) => {
      const { router, established } = await begin({ peer: { nextHop: 'self' } })
      await established()
      for (const [vip, own] of [
        [vip4, speakerAddress.ipv4],
        [vip6, speakerAddress.ipv6],
      ] as const)
        await waitFor(async () => (await router.routes(vip)).map(({ nextHop }) => nextHop).join() === own, {
          what: `${vip} over ${own} alone`,
        })
    },
  },
  {
    name: 'link bandwidth gives the kernel’s next hops their weights',
    except: { ...withoutKernelTable, bird: 'version 2 ignores the community' },
    run: async ({ begin }) => {
      const weights = [1, 3, 1, 5]
      const routes = vips.map((vip) => {
        const route = routeOver(vip, nodes)
        const paths = route.paths.map((path, i) => ({ ...path, linkBandwidth: 1e6 * (weights[i] ?? 1) }))
        return { ...route, paths }
      })
      const { routerNamespace, established, holds } = await begin({ routes })
      await established()
      for (const vip of vips) {
        await holds(vip, nodes)
        const legs = [...(await routerNamespace.nextHopsOf(vip))].sort((a, b) => (a.via < b.via ? -1 : 1))
        // The largest is what the others are measured by.
        expect(legs.map(({ weight = 0 }) => (5 * weight) / (legs[3]?.weight ?? 1))).toEqual(weights)
      }
    },
  },
  aPathThatLeaves('ebgp'),
  aPathThatLeaves('ibgp'),
  {
    name: 'IPv4 VIPs over IPv6 next hops (RFC 8950)',
    except: {
      openbgpd: 'this version does not know RFC 8950',
    },
    run: async ({ begin }) => {
      const overIpv6 = nodes.map((node) => ({ pathId: node, nextHop: ip(`fd09::${node}`) }))
      const { router, routerNamespace, established } = await begin({
        transport: 'ipv6',
        neighbor: { extendedNextHop: true },
        routes: [{ ...routeOver(vip4, nodes), paths: overIpv6 }],
      })
      await established()
      const expected = overIpv6.map(({ nextHop }) => nextHop).join()
      await waitFor(async () => (await router.routes(vip4)).map(({ nextHop }) => nextHop).join() === expected, {
        what: 'four paths over IPv6',
      })
      if (router.programsKernel)
        await waitFor(async () => (await router.kernelNextHops(vip4)).join() === expected, {
          what: 'four legs over IPv6',
          evidence: () => routerNamespace.name,
        })
    },
  },
  {
    name: 'a route refresh brings every path again and changes nothing',
    run: async ({ begin }) => {
      const { router, speaker, speakerAt, established, holds } = await begin()
      await established()
      for (const vip of vips) await holds(vip, nodes)
      const before = speaker().status('tor')?.updatesOut ?? 0
      await router.refresh(speakerAt)
      await speaker().waitForStatus('tor', 'everything sent again', ({ updatesOut }) => updatesOut >= before + 8)
      for (const vip of vips) await holds(vip, nodes)
    },
  },
  {
    name: 'a peer without ADD-PATH gets one path a VIP',
    run: async ({ begin }) => {
      const { router, speaker, established } = await begin({ neighbor: { addPath: false } })
      await established()
      const status = await speaker().waitForStatus('tor', 'two paths', ({ announcedPaths }) => announcedPaths === 2)
      expect(status.addPath ?? []).toEqual([])
      for (const vip of vips) {
        const paths = await waitFor(
          async () => {
            const seen = await router.routes(vip)
            return seen.length > 0 ? seen : undefined
          },
          { what: `a path for ${vip}` },
        )
        expect(paths).toHaveLength(1)
      }
    },
  },
  {
    name: 'a thousand VIPs over eight nodes arrive, and a node that goes takes its thousand paths',
    run: async ({ begin }) => {
      const eight = [101, 102, 103, 104, 105, 106, 107, 108]
      const many = Array.from({ length: 1000 }, (_, i) => prefix(`198.18.${i >> 8}.${i & 255}/32`))
      const { router, speaker, established, holds } = await begin({ routes: many.map((vip) => routeOver(vip, eight)) })
      await established()
      const paths = async (): Promise<number> =>
        (await router.sessions()).reduce((sum, session) => sum + session.paths, 0)
      await waitFor(async () => (await paths()) === 8000, { what: '8000 paths' })
      speaker().announce(...many.map((vip) => routeOver(vip, eight.slice(1))))
      await waitFor(async () => (await paths()) === 7000, { what: '7000 paths' })
      for (const vip of [...many.slice(0, 1), ...many.slice(-1)]) await holds(vip, eight.slice(1))
    },
  },
  {
    name: 'nothing we send is malformed to tshark',
    run: async ({ begin }) => {
      const begun = await begin({ routes: [] })
      const { routerNamespace, network, speaker, restartSpeaker, router, speakerAt, established, holds } = begun
      // The trace is to begin with our OPEN.
      await speaker().kill()
      const trace = await capture(routerNamespace, network.directory)
      restartSpeaker([])
      await established()
      speaker().announce(...bothOver(nodes))
      for (const vip of vips) await holds(vip, nodes)
      await router.refresh(speakerAt)
      speaker().announce(...bothOver([101, 105]))
      for (const vip of vips) await holds(vip, [101, 105])
      speaker().withdraw(...vips)
      for (const vip of vips) await holds(vip, [])
      await speaker().stop('the end')
      const { messageTypes, pathIds, complaints } = await readCapture(await trace.stop(), speakerAt)
      expect(complaints).toEqual([])
      // OPEN, UPDATE, NOTIFICATION, KEEPALIVE; no other type is ours to send here, but for the brackets of RFC 7313.
      expect([...messageTypes].sort()).toEqual(expect.arrayContaining([1, 2, 3, 4]))
      expect([...pathIds].sort()).toEqual([101, 102, 103, 104, 105])
    },
  },
]
