// What must hold between our speaker and any router, whoever wrote it. One file a router runs this suite, so that they can
// run side by side.

import { readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import type { Route } from '../../src/bgp/rib/route.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { RouterKind } from '../../src/lab/routers/router.ts'
import { communityFromParts } from '../../src/net/community.ts'
import { describeWith } from '../support/privileges.ts'
import { type Bench, type BenchOptions, createBench, prefix, routeOver, vips } from './bench.ts'
import { capture, readCapture } from './capture.ts'

/** What a daemon can not do, or not show; everything else is expected of it. */
export interface Traits {
  /** Path ids are not shown by every daemon. */
  readonly showsPathIds: boolean
  /** Its log has the words of a Cease that it received (RFC 9003). */
  readonly logsShutdownText: boolean
  /** An operator can end a session with words of his own, and it stays down. */
  readonly sendsShutdownText: boolean
}

const nodes = [101, 102, 103, 104]
const [vip4, vip6] = vips
const bothOver = (over: readonly number[]): readonly Route[] => vips.map((vip) => routeOver(vip, over))

export function describeInterop(kind: RouterKind, traits: Traits): void {
  describeWith({ netns: true, programs: [...programsOf(kind), 'tcpdump', 'tshark'] }, `with ${kind}`, () => {
    let bench: Bench | undefined
    afterEach(async () => {
      await bench?.network.destroy()
      bench = undefined
    })
    const begin = async (options: Omit<BenchOptions, 'kind'>): Promise<Bench> => {
      bench = await createBench({ kind, routes: bothOver(nodes), ...options })
      return bench
    }

    test.each(['ebgp', 'ibgp'] as const)('%s: all next hops of a VIP are paths, IPv4 and IPv6', async (session) => {
      const { router, speakerAt, established, holds } = await begin({ session })
      await established()
      for (const vip of vips) {
        await holds(vip, nodes)
        const paths = await router.routes(vip)
        const [first] = paths
        expect(first?.asPath).toEqual(session === 'ebgp' ? [65010] : [])
        expect(first?.origin).toBe('IGP')
        if (session === 'ibgp') expect(first?.localPref).toBe(100)
        if (traits.showsPathIds) expect(paths.map(({ pathId }) => pathId)).toEqual(nodes)
      }
      const sessions = await router.sessions()
      expect(sessions).toEqual([expect.objectContaining({ peer: speakerAt, established: true, paths: 8 })])
    })

    test('a next hop that goes leaves the others alone; the last takes the VIP with it; one that comes is added', async () => {
      const { speaker, established, holds } = await begin({ session: 'ebgp' })
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
    })

    test('attributes arrive as they were asked for', async () => {
      const attributes = { med: 50, prepend: 2, communities: [communityFromParts(65010, 7)] }
      const routes = vips.map((vip) => routeOver(vip, nodes, attributes))
      const { router, established, holds } = await begin({ session: 'ebgp', routes })
      await established()
      for (const vip of vips) {
        await holds(vip, nodes)
        const [path] = await router.routes(vip)
        expect(path).toMatchObject({ asPath: [65010, 65010, 65010], med: 50 })
      }
    })

    test('a route refresh brings every path again and changes nothing', async () => {
      const { router, speaker, speakerAt, established, holds } = await begin({ session: 'ebgp' })
      await established()
      for (const vip of vips) await holds(vip, nodes)
      const before = speaker().status('tor')?.updatesOut ?? 0
      await router.refresh(speakerAt)
      await speaker().waitForStatus('tor', 'everything sent again', ({ updatesOut }) => updatesOut >= before + 8)
      for (const vip of vips) await holds(vip, nodes)
    })

    test('a peer without ADD-PATH gets one path a VIP', async () => {
      const { router, speaker, established } = await begin({ session: 'ebgp', neighbor: { addPath: false } })
      await established()
      const status = await speaker().waitForStatus(
        'tor',
        'two paths sent',
        ({ announcedPaths }) => announcedPaths === 2,
      )
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
    })

    test('after our death and return the router has what we have then', async () => {
      const { router, speaker, restartSpeaker, established, holds } = await begin({ session: 'ebgp' })
      await established()
      for (const vip of vips) await holds(vip, nodes)
      await speaker().kill()
      for (const vip of vips) await holds(vip, [])
      restartSpeaker(bothOver([102, 103]))
      await established()
      for (const vip of vips) await holds(vip, [102, 103])
      expect((await router.sessions()).map((session) => session.established)).toEqual([true])
    })

    test.each(['SIGTERM', 'SIGKILL'] as const)(
      'a router that ends by %s gets everything when it is back',
      async (signal) => {
        const { router, speaker, established, holds } = await begin({ session: 'ebgp' })
        await established()
        await holds(vip4, nodes)
        await router.stop(signal)
        await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
        await router.start()
        await established()
        for (const vip of vips) await holds(vip, nodes)
      },
    )

    test('the words of our shutdown reach the router', async () => {
      const { router, speaker, established, holds } = await begin({ session: 'ebgp' })
      await established()
      await holds(vip4, nodes)
      await speaker().stop('rack 7 loses power at noon')
      for (const vip of vips) await holds(vip, [])
      if (traits.logsShutdownText)
        await waitFor(() => readFileSync(router.logPath, 'utf8').includes('rack 7 loses power at noon'), {
          what: 'the words in the log',
        })
    })

    test('the words of its shutdown reach us, and the session comes back when it is enabled', async () => {
      const { router, speaker, speakerAt, established, holds } = await begin({ session: 'ebgp' })
      await established()
      await router.shutdown(speakerAt, 'maintenance tonight')
      const status = await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
      if (traits.sendsShutdownText) expect(status.lastError).toContain('maintenance tonight')
      await router.enable(speakerAt)
      await established()
      for (const vip of vips) await holds(vip, nodes)
    })

    test('with equal passwords (TCP-MD5) there is a session', async () => {
      const password = 'correct horse'.replace(' ', '-')
      const { established, holds } = await begin({ session: 'ebgp', neighbor: { password }, peer: { password } })
      await established()
      for (const vip of vips) await holds(vip, nodes)
    })

    test('with different passwords there is none', async () => {
      const { router, routerNamespace, speaker } = await begin({
        session: 'ebgp',
        neighbor: { password: 'one' },
        peer: { password: 'other' },
      })
      await waitFor(
        async () => /TCPMD5Failure\s+[1-9]/.test(await routerNamespace.run(['nstat', '-asz', 'TcpExtTCPMD5Failure'])),
        { what: 'segments with a wrong signature' },
      )
      expect(speaker().status('tor')?.state).not.toBe('Established')
      expect((await router.sessions()).map(({ established }) => established)).toEqual([false])
    })

    test('with GTSM on both sides there is a session', async () => {
      const { established, holds } = await begin({
        session: 'ebgp',
        neighbor: { ttlSecurityHops: 1 },
        peer: { ttlSecurityHops: 1 },
        listenPort: 179,
      })
      await established()
      await holds(vip4, nodes)
    })

    test('a router that only connects finds us listening', async () => {
      const { established, holds } = await begin({ session: 'ebgp', peer: { passive: true }, listenPort: 179 })
      await established()
      await holds(vip4, nodes)
    })

    test('a router that only listens is called', async () => {
      const { established, holds } = await begin({ session: 'ebgp', neighbor: { passive: true }, listenPort: 179 })
      await established()
      await holds(vip4, nodes)
    })

    test('a session over IPv6 carries both families', async () => {
      const { established, holds } = await begin({ session: 'ebgp', transport: 'ipv6' })
      await established()
      await holds(vip6, nodes)
      await holds(vip4, nodes)
    })

    test('a thousand VIPs over eight nodes arrive, and a node that goes takes its thousand paths', async () => {
      const eight = [101, 102, 103, 104, 105, 106, 107, 108]
      const many = Array.from({ length: 1000 }, (_, i) => prefix(`198.18.${i >> 8}.${i & 255}/32`))
      const routes = many.map((vip) => routeOver(vip, eight))
      const { router, speaker, established, holds } = await begin({ session: 'ebgp', routes })
      await established()
      const paths = async (): Promise<number> =>
        (await router.sessions()).reduce((sum, session) => sum + session.paths, 0)
      await waitFor(async () => (await paths()) === 8000, { what: '8000 paths' })
      speaker().announce(...many.map((vip) => routeOver(vip, eight.slice(1))))
      await waitFor(async () => (await paths()) === 7000, { what: '7000 paths' })
      for (const vip of [...many.slice(0, 1), ...many.slice(-1)]) await holds(vip, eight.slice(1))
    })

    test('nothing we send is malformed to tshark', async () => {
      const begun = await begin({ session: 'ebgp', routes: [] })
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
    })
  })
}
