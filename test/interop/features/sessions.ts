// How sessions come to be, and which must not: who dials, over what, with which key and which TTL.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect } from 'vitest'
import { renderReplay } from '../../../src/cli/verbs/replay.ts'
import type { Namespace } from '../../../src/lab/netns/namespace.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { parseRouterId } from '../../../src/net/asn.ts'
import { must } from '../../../src/runtime/result.ts'
import { asn, type Bench, prefix, routerAddress, routerAsn, vips } from '../bench.ts'
import { rangeWith } from '../speaker.ts'
import { type Feature, nodes, vip4 } from './feature.ts'

/** Waits until the kernel of a namespace has counted one of these. */
const counted = (namespace: Namespace, counter: string): Promise<boolean> =>
  waitFor(async () => new RegExp(`${counter}\\s+[1-9]`).test(await namespace.run(['nstat', '-asz', counter])), {
    what: counter,
  })

async function expectNoSession({ router, speaker }: Bench): Promise<void> {
  expect(speaker().status('tor')?.state).not.toBe('Established')
  expect((await router.sessions()).filter(({ established }) => established)).toEqual([])
}

/** As `expectNoSession`, where one side may take what the other drops for a session until the hold time is over. */
const noSessionLasts = ({ router, speaker }: Bench): Promise<boolean> =>
  waitFor(
    async () => {
      const ours = speaker().status('tor')?.state === 'Established'
      const theirs = (await router.sessions()).some(({ established }) => established)
      return !(ours || theirs)
    },
    { what: 'no session', timeoutMs: 30_000 },
  )

// Connections are made, and nothing is said on them.
const mute = `table inet mute {
  chain in { type filter hook input priority 0; tcp sport 179 tcp flags & psh == psh drop; tcp dport 179 tcp flags & psh == psh drop; }
  chain out { type filter hook output priority 0; tcp sport 179 tcp flags & psh == psh drop; tcp dport 179 tcp flags & psh == psh drop; }
}`

const oneConnection = 'never has two connections with a neighbour'

export const sessionFeatures: readonly Feature[] = [
  {
    name: 'a session over IPv6 carries both families',
    run: async ({ begin }) => {
      const { established, holds } = await begin({ transport: 'ipv6' })
      await established()
      for (const vip of vips) await holds(vip, nodes)
    },
  },
  {
    name: 'a session between link-local addresses, whoever dials',
    except: { exabgp: 'knows no interfaces' },
    run: async ({ begin }) => {
      const { speaker, speakerAt, established, holds } = await begin({ transport: 'link-local', listenPort: 179 })
      await established()
      for (const vip of vips) await holds(vip, nodes)
      expect(speaker().status('tor')?.localAddress).toBe(speakerAt)
    },
  },
  {
    name: 'multihop eBGP over a host that forwards',
    run: async ({ begin }) => {
      const { established, holds } = await begin({
        transport: 'routed',
        neighbor: { multihop: 2 },
        peer: { ttl: 2 },
      })
      await established()
      await holds(vip4, nodes)
    },
  },
  {
    name: 'a router that only connects finds us listening',
    run: async ({ begin }) => {
      const { established, holds } = await begin({ peer: { passive: true }, listenPort: 179 })
      await established()
      await holds(vip4, nodes)
    },
  },
  {
    name: 'a router that only listens is called',
    run: async ({ begin }) => {
      const { established, holds } = await begin({ neighbor: { passive: true }, listenPort: 179 })
      await established()
      await holds(vip4, nodes)
    },
  },
  {
    name: 'a router that connects from a range has a session while it is there, with the password of the range',
    run: async ({ begin }) => {
      const password = 'correct-horse'
      const { speaker, holds, router } = await begin({
        neighbor: { password },
        peer: { passive: true },
        listenPort: 179,
      })
      const tor = { name: 'leaves', address: routerAddress.ipv4, peerAsn: asn(routerAsn), localAsn: asn(65010) }
      const ranges = [rangeWith({ range: prefix('10.9.0.0/28'), password }, tor)]
      const routerId = must(parseRouterId('10.9.0.10'))
      speaker().send({
        type: 'configure',
        config: { routerId, listenPort: 179, listenAddresses: [], peers: [], ranges },
      })
      await speaker().waitForStatus('leaves@10.9.0.1', 'Established', ({ state }) => state === 'Established')
      await holds(vip4, nodes)
      await router.stop()
      await waitFor(() => speaker().status('leaves@10.9.0.1') === undefined, { what: 'the end of the session' })
      await waitFor(() => speaker().range('leaves')?.sessions === 0, { what: 'a range without sessions' })
      await router.start()
      await holds(vip4, nodes)
      expect(speaker().range('leaves')).toMatchObject({ refused: 0 })
    },
  },
  {
    name: 'both dial at once, and one of the two connections stays',
    except: { gobgp: oneConnection, openbgpd: oneConnection, exabgp: oneConnection },
    run: async ({ begin }) => {
      const bench = await begin({ listenPort: 179 })
      const { speaker, established, holds, router, speakerNamespace } = bench
      await established()
      for (let round = 1; round <= 3; round++) {
        speaker().send({ type: 'clear', peer: 'tor', soft: false })
        await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
        await speakerNamespace.run(['nft', '-f', '-'], { input: mute })
        // One that we opened and one that the router opened, and on neither has anybody said a word.
        await waitFor(
          async () => {
            const open = await speakerNamespace.run(['ss', '-Htn', 'state', 'established'])
            return /:179\s+\S+:(?!179)\d+/.test(open) && /:(?!179)\d+\s+\S+:179\b/.test(open)
          },
          { what: 'two connections' },
        )
        await speakerNamespace.run(['nft', 'delete', 'table', 'inet', 'mute'])
        await speaker().waitForStatus('tor', 'a new session', ({ establishedCount }) => establishedCount === round + 1)
        await holds(vip4, nodes)
      }
      // It stays: two more KEEPALIVEs and no new session.
      const before = speaker().status('tor')
      const after = await speaker().waitForStatus(
        'tor',
        'KEEPALIVEs',
        ({ messagesIn }) => messagesIn >= (before?.messagesIn ?? 0) + 2,
      )
      expect(after.establishedCount).toBe(before?.establishedCount)
      expect((await router.sessions()).map((session) => session.established)).toEqual([true])
    },
  },
  {
    name: 'another AS than the one expected is refused, in words',
    run: async ({ begin }) => {
      const bench = await begin({ peer: { peerAsn: asn(65002) } })
      const { lastError } = await bench
        .speaker()
        .waitForStatus('tor', 'an error about the AS', ({ lastError }) => lastError?.includes('bad peer AS') === true)
      expect(lastError).toContain('the router says its AS is 65001, BgpPeer tor expects 65002')
      await expectNoSession(bench)
    },
  },
  {
    name: 'a router that expects another AS of us says so',
    run: async ({ begin }) => {
      const bench = await begin({ neighbor: { asn: 65011 } })
      const { lastError } = await bench
        .speaker()
        .waitForStatus('tor', 'an error about the AS', ({ lastError }) => lastError?.includes('bad peer AS') === true)
      expect(lastError).toContain('the router closed the session')
      await expectNoSession(bench)
    },
  },
  {
    name: 'with equal passwords (TCP-MD5) there is a session',
    run: async ({ begin }) => {
      const password = 'correct-horse'
      const { established, holds } = await begin({ neighbor: { password }, peer: { password } })
      await established()
      for (const vip of vips) await holds(vip, nodes)
    },
  },
  {
    name: 'with different passwords there is none',
    run: async ({ begin }) => {
      const bench = await begin({ neighbor: { password: 'one' }, peer: { password: 'other' } })
      await counted(bench.routerNamespace, 'TcpExtTCPMD5Failure')
      await expectNoSession(bench)
    },
  },
  {
    name: 'with GTSM on both sides there is a session',
    run: async ({ begin }) => {
      const { established, holds } = await begin({
        neighbor: { ttlSecurityHops: 1 },
        peer: { ttlSecurityHops: 1 },
        listenPort: 179,
      })
      await established()
      await holds(vip4, nodes)
    },
  },
  {
    name: 'with GTSM on the router alone there is none',
    except: { exabgp: 'checks no TTL on connections that it accepts' },
    run: async ({ begin }) => {
      const bench = await begin({ neighbor: { ttlSecurityHops: 1 }, listenPort: 179 })
      await counted(bench.routerNamespace, 'TcpExtTCPMinTTLDrop')
      // GoBGP sets its least TTL on a connection that it has accepted: our OPEN may have come before that.
      await noSessionLasts(bench)
    },
  },
  {
    name: 'with GTSM on our side alone there is none',
    run: async ({ begin }) => {
      const bench = await begin({ peer: { ttlSecurityHops: 1 }, listenPort: 179 })
      await counted(bench.speakerNamespace, 'TcpExtTCPMinTTLDrop')
      await expectNoSession(bench)
    },
  },
  {
    name: 'a recorded session plays back to the octet',
    run: async ({ begin }) => {
      const { speaker, established, holds, recordDirectory, router, speakerAt } = await begin({ record: true })
      await established()
      await holds(vip4, nodes)
      await router.shutdown(speakerAt, 'for the record')
      await speaker().waitForStatus('tor', 'down', ({ state }) => state !== 'Established')
      await router.enable(speakerAt)
      await speaker().waitForStatus('tor', 'up again', ({ establishedCount }) => establishedCount >= 2)
      await speaker().stop('enough')
      const { lines, same } = renderReplay(readFileSync(path.join(recordDirectory, 'tor.jsonl'), 'utf8'))
      expect(same, lines.join('\n')).toBe(true)
      const changes = lines.flatMap((line) => /(\w+ -> \w+)/.exec(line)?.[1] ?? [])
      expect(changes).toEqual(speaker().changes.map(({ from, to }) => `${from} -> ${to}`))
      expect(lines.at(-1)).toMatch(/as recorded$/)
    },
  },
]
