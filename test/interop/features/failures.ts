// What happens when one side stops, dies, freezes, says good-bye or says too much.

import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { type Bench, prefix, replicaAddress, routeOver, vips } from '../bench.ts'
import { bothOver, type Feature, nodes, vip4, withoutKernelTable } from './feature.ts'

const quick = { router: { holdTimeSeconds: 3 }, peer: { holdTimeSeconds: 3, keepaliveSeconds: 1 } } as const

const routerEnds = (signal: 'SIGTERM' | 'SIGKILL'): Feature => ({
  name: `a router that ends by ${signal} gets everything when it is back`,
  run: async ({ begin }) => {
    const { router, speaker, established, holds } = await begin()
    await established()
    await holds(vip4, nodes)
    await router.stop(signal)
    await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
    await router.start()
    await established()
    for (const vip of vips) await holds(vip, nodes)
  },
})

const lossOfReplica = (session: 'ebgp' | 'ibgp'): Feature => ({
  name: `${session === 'ebgp' ? 'eBGP' : 'iBGP'}: the loss of one of two replicas withdraws nothing from the kernel`,
  except: withoutKernelTable,
  run: async ({ begin }) => {
    const { router, routerNamespace, speaker, replica, speakerAt, established, holds } = await begin({
      session,
      replica: true,
    })
    await established()
    await replica().waitForStatus('tor', 'Established', ({ state }) => state === 'Established')
    for (const vip of vips) {
      await waitFor(async () => (await router.routes(vip)).length === 2 * nodes.length, { what: 'the paths of both' })
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
      async () => (await router.sessions()).some(({ peer, established: up }) => peer === speakerAt && !up),
      { what: 'the router to notice' },
    )
    for (const vip of vips) await holds(vip, nodes)
    const seen = monitor.output().split('\n')
    expect(seen.filter((line) => /Deleted .*(203\.0\.113\.10|2001:db8::10)/.test(line))).toEqual([])
    const sessions = await router.sessions()
    expect(sessions.filter(({ established: up }) => up).map(({ peer }) => peer)).toEqual([replicaAddress])
  },
})

// Both ends see a reset as soon as they say something; nothing gets through until it is mended.
const cutRules = 'tcp flags rst accept; tcp dport 179 reject with tcp reset; tcp sport 179 reject with tcp reset;'
const cut = `table inet cut {
  chain in { type filter hook input priority 0; ${cutRules} }
  chain out { type filter hook output priority 0; ${cutRules} }
}`

async function breakConnection({ speakerNamespace, router, speaker }: Bench): Promise<void> {
  await speakerNamespace.run(['nft', '-f', '-'], { input: cut })
  await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
  await waitFor(async () => (await router.sessions()).every(({ established }) => !established), { what: 'a break' })
}

const mend = ({ speakerNamespace }: Bench): Promise<string> =>
  speakerNamespace.run(['nft', 'delete', 'table', 'inet', 'cut'])

export const failureFeatures: readonly Feature[] = [
  {
    name: 'after our death and return the router has what we have then',
    run: async ({ begin }) => {
      const { router, speaker, restartSpeaker, established, holds } = await begin()
      await established()
      for (const vip of vips) await holds(vip, nodes)
      await speaker().kill()
      for (const vip of vips) await holds(vip, [])
      restartSpeaker(bothOver([102, 103]))
      await established()
      for (const vip of vips) await holds(vip, [102, 103])
      expect((await router.sessions()).map((session) => session.established)).toEqual([true])
    },
  },
  routerEnds('SIGTERM'),
  routerEnds('SIGKILL'),
  {
    name: 'when we freeze, the router drops us after the hold time, and has everything when we wake',
    run: async ({ begin }) => {
      const { router, speakerNamespace, signal, speaker, established, holds } = await begin(quick)
      await established()
      await holds(vip4, nodes)
      await signal(speakerNamespace, 'SIGSTOP')
      await waitFor(async () => (await router.sessions()).every((session) => !session.established), { what: 'a drop' })
      await holds(vip4, [])
      await signal(speakerNamespace, 'SIGCONT')
      await speaker().waitForStatus('tor', 'a new session', ({ establishedCount }) => establishedCount === 2)
      for (const vip of vips) await holds(vip, nodes)
    },
  },
  {
    name: 'a router that freezes is dropped after the hold time, in words, and gets everything when it wakes',
    run: async ({ begin }) => {
      const { routerNamespace, signal, speaker, established, holds } = await begin(quick)
      await established()
      await holds(vip4, nodes)
      await signal(routerNamespace, 'SIGSTOP')
      const { lastError } = await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
      expect(lastError).toMatch(/hold timer expired.* 3 s/)
      await signal(routerNamespace, 'SIGCONT')
      await speaker().waitForStatus('tor', 'a new session', ({ establishedCount }) => establishedCount === 2)
      for (const vip of vips) await holds(vip, nodes)
    },
  },
  {
    name: 'what the router announces is counted, and no more',
    run: async ({ begin }) => {
      const originates = [prefix('192.0.2.0/25'), prefix('192.0.2.128/25'), prefix('2001:db8:1::/48')]
      const { speaker, established, holds } = await begin({ router: { originates } })
      await established()
      await speaker().waitForStatus('tor', 'three prefixes', ({ receivedPrefixes }) => receivedPrefixes === 3)
      await holds(vip4, nodes)
    },
  },
  {
    name: 'a router that announces more than maxPrefixesIn is sent away (Cease/1) and left alone',
    run: async ({ begin }) => {
      const originates = ['a', 'b', 'c', 'd', 'e', 'f'].map((digit) => prefix(`2001:db8:${digit}::/48`))
      const { router, speaker } = await begin({ router: { originates }, peer: { maxPrefixesIn: 5 } })
      const { lastError } = await speaker().waitForStatus(
        'tor',
        'too many',
        ({ lastError, state }) => state === 'Idle' && lastError?.includes('maximum number of prefixes') === true,
      )
      expect(lastError).toContain('more than 5 prefixes')
      await waitFor(async () => (await router.sessions()).every(({ established }) => !established), {
        what: 'no session',
      })
    },
  },
  {
    name: 'the words of our shutdown reach the router (RFC 9003)',
    except: { exabgp: 'does not log them' },
    run: async ({ begin }) => {
      const { router, speaker, established, holds } = await begin()
      await established()
      await holds(vip4, nodes)
      await speaker().stop('rack 7 loses power at noon')
      for (const vip of vips) await holds(vip, [])
      await waitFor(() => readFileSync(router.logPath, 'utf8').includes('rack 7 loses power at noon'), {
        what: 'the words in the log',
      })
    },
  },
  {
    name: 'the words of its shutdown reach us',
    except: { exabgp: 'its Cease carries a fixed text' },
    run: async ({ begin }) => {
      const { router, speaker, speakerAt, established } = await begin()
      await established()
      await router.shutdown(speakerAt, 'maintenance tonight')
      const { lastError } = await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
      expect(lastError).toContain('maintenance tonight')
    },
  },
  {
    name: 'a session that an operator shut down comes back when it is enabled',
    run: async ({ begin }) => {
      const { router, speaker, speakerAt, established, holds } = await begin()
      await established()
      await router.shutdown(speakerAt, 'maintenance tonight')
      await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
      await router.enable(speakerAt)
      await established()
      for (const vip of vips) await holds(vip, nodes)
    },
  },
  lossOfReplica('ebgp'),
  lossOfReplica('ibgp'),
  {
    // FRR before 9.0 would keep all but one of the dead paths of a prefix for ever, unless each is withdrawn in so many words before
    // End-of-RIB.
    name: 'graceful restart: a break costs no route, and what is withdrawn during it is gone after it',
    except: withoutKernelTable,
    run: async ({ begin }) => {
      const bench = await begin({ peer: { gracefulRestart: { restartSeconds: 60, longLivedSeconds: 0 } } })
      const { router, speaker, established, holds } = bench
      await established()
      for (const vip of vips) await holds(vip, nodes)
      await breakConnection(bench)
      for (const vip of vips) expect(await router.kernelNextHops(vip)).toHaveLength(nodes.length)
      speaker().announce(...vips.map((vip) => routeOver(vip, [103])))
      await mend(bench)
      await established()
      for (const vip of vips) await holds(vip, [103])
    },
  },
  {
    name: 'without graceful restart a break takes the routes at once',
    except: withoutKernelTable,
    run: async ({ begin }) => {
      const bench = await begin()
      const { established, holds } = bench
      await established()
      for (const vip of vips) await holds(vip, nodes)
      await breakConnection(bench)
      for (const vip of vips) await holds(vip, [])
      await mend(bench)
      await established()
      for (const vip of vips) await holds(vip, nodes)
    },
  },
]
