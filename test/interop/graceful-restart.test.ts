// Graceful restart (RFC 4724), where an operator turned it on: a connection that breaks costs no route, and what we withdraw
// meanwhile is gone afterwards. FRR before 9.0 would keep all but one of the dead paths of a prefix for ever, unless each is
// withdrawn in so many words before End-of-RIB.

import { expect, test } from 'vitest'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { RouterKind } from '../../src/lab/routers/router.ts'
import { describeWith } from '../support/privileges.ts'
import { type Bench, createBench, routeOver, vips } from './bench.ts'

const kinds: readonly RouterKind[] = ['bird', 'frr']
const nodes = [101, 102, 103, 104]

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

for (const kind of kinds)
  describeWith({ netns: true, programs: [...programsOf(kind), 'nft'] }, `graceful restart with ${kind}`, () => {
    test('a break costs no route, and what is withdrawn during it is gone after it', async () => {
      const routes = vips.map((vip) => routeOver(vip, nodes))
      const gracefulRestart = { restartSeconds: 60, longLivedSeconds: 0 }
      await using bench = await createBench({ kind, session: 'ebgp', routes, peer: { gracefulRestart } })
      const { router, speakerNamespace, speaker, established, holds } = bench
      await established()
      for (const vip of vips) await holds(vip, nodes)
      await breakConnection(bench)
      for (const vip of vips) expect(await router.kernelNextHops(vip)).toHaveLength(nodes.length)
      speaker().announce(...vips.map((vip) => routeOver(vip, [103])))
      await speakerNamespace.run(['nft', 'delete', 'table', 'inet', 'cut'])
      await established()
      for (const vip of vips) await holds(vip, [103])
    })

    test('without it a break takes the routes at once', async () => {
      const routes = vips.map((vip) => routeOver(vip, nodes))
      await using bench = await createBench({ kind, session: 'ebgp', routes })
      const { speakerNamespace, established, holds } = bench
      await established()
      for (const vip of vips) await holds(vip, nodes)
      await breakConnection(bench)
      for (const vip of vips) await holds(vip, [])
      await speakerNamespace.run(['nft', 'delete', 'table', 'inet', 'cut'])
      await established()
      for (const vip of vips) await holds(vip, nodes)
    })
  })
