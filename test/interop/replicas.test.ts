// Two replicas announce the same paths to a router, and one of them is gone from one moment to the next: the forwarding
// table does not so much as flicker.

import { expect, test } from 'vitest'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { RouterKind } from '../../src/lab/routers/router.ts'
import { describeWith } from '../support/privileges.ts'
import { createBench, replicaAddress, routeOver, vips } from './bench.ts'

const kinds: readonly RouterKind[] = ['bird', 'frr']
const nodes = [101, 102, 103]

for (const kind of kinds)
  describeWith({ netns: true, programs: programsOf(kind) }, `two replicas with ${kind}`, () => {
    test.each(['ebgp', 'ibgp'] as const)('%s: the loss of one withdraws nothing from the kernel', async (session) => {
      const routes = vips.map((vip) => routeOver(vip, nodes))
      await using bench = await createBench({ kind, session, routes, replica: true })
      const { router, routerNamespace, speaker, replica, speakerAt, established, holds } = bench
      await established()
      await replica().waitForStatus('tor', 'Established', ({ state }) => state === 'Established')
      const pathsOf = (vip: (typeof vips)[number]) => async () => (await router.routes(vip)).length
      for (const vip of vips) {
        await waitFor(async () => (await pathsOf(vip)()) === 2 * nodes.length, { what: 'the paths of both' })
        const kernel = await waitFor(
          async () => {
            const hops = await router.kernelNextHops(vip)
            return new Set(hops).size === nodes.length ? hops : undefined
          },
          { what: 'the kernel to have every node' },
        )
        expect(kernel).toHaveLength(nodes.length)
      }
      const monitor = routerNamespace.spawn(['ip', 'monitor', 'route'])
      // The monitor has begun once it has seen a change of ours.
      await monitor.waitUntil(
        async () => {
          await routerNamespace.ip(['route replace blackhole 192.0.2.1/32', 'route del blackhole 192.0.2.1/32'])
          return monitor.output().includes('192.0.2.1')
        },
        { what: 'the monitor' },
      )
      await speaker().kill()
      await waitFor(
        async () => {
          const sessions = await router.sessions()
          return sessions.some(({ peer, established: up }) => peer === speakerAt && !up)
        },
        { what: 'the router to notice' },
      )
      for (const vip of vips) {
        await waitFor(async () => (await pathsOf(vip)()) === nodes.length, { what: 'only the paths of the other' })
        await holds(vip, nodes)
      }
      const seen = monitor.output().split('\n')
      expect(seen.filter((line) => /Deleted .*(203\.0\.113\.10|2001:db8::10)/.test(line))).toEqual([])
      const sessions = await router.sessions()
      expect(sessions.filter(({ established: up }) => up).map(({ peer }) => peer)).toEqual([replicaAddress])
    })
  })
