import { existsSync, readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { createNetwork, type Network } from '../../../src/lab/netns/network.ts'
import { createRouter, programsOf } from '../../../src/lab/routers/create-router.ts'
import type { RouterKind } from '../../../src/lab/routers/router.ts'
import { parseIp } from '../../../src/net/ip.ts'
import { parsePrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'
import { describeWith } from '../../support/privileges.ts'

const kinds: readonly RouterKind[] = ['bird', 'frr', 'gobgp', 'openbgpd', 'exabgp']
const ip = (text: string) => must(parseIp(text))

for (const kind of kinds)
  describeWith({ netns: true, programs: programsOf(kind) }, `a lab router of kind ${kind}`, () => {
    let network: Network | undefined
    afterEach(async () => {
      await network?.destroy()
    })

    test('starts with every option of a neighbour, knows it, has no route, and stops without a trace', async () => {
      network = await createNetwork({ prefix: 'bhrtr' })
      const namespace = await network.addNamespace('tor', { forwarding: true })
      await network.connect(
        { at: namespace, addresses: ['10.9.0.1/24', 'fd09::1/64'] },
        { at: await network.addBridge('lan') },
      )
      const router = createRouter(kind, {
        name: 'tor',
        namespace,
        directory: network.directory,
        asn: 65001,
        routerId: ip('10.9.0.1'),
        neighbors: [
          { address: ip('10.9.0.10'), asn: 65010, addPath: true, password: 'not-a-secret' },
          { address: ip('10.9.0.11'), asn: 65001, addPath: true, passive: true },
          { address: ip('10.9.0.12'), asn: 65010, addPath: false, ttlSecurityHops: 1 },
          { address: ip('10.9.0.13'), asn: 65010, addPath: true, multihop: 4 },
          { address: ip('fd09::10'), asn: 65010, addPath: true, bfd: true },
        ],
      })
      await router.start()
      const sessions = await router.sessions()
      expect(sessions.map(({ peer, established }) => [peer, established]).sort()).toEqual([
        ['10.9.0.10', false],
        ['10.9.0.11', false],
        ['10.9.0.12', false],
        ['10.9.0.13', false],
        ['fd09::10', false],
      ])
      for (const prefix of ['203.0.113.10/32', '2001:db8::10/128']) {
        expect(await router.routes(must(parsePrefix(prefix)))).toEqual([])
        expect(await router.kernelNextHops(must(parsePrefix(prefix)))).toEqual([])
      }
      await router.shutdown(ip('10.9.0.10'), 'maintenance')
      await router.enable(ip('10.9.0.10'))
      await router.stop()
      await router.start()
      await router.stop('SIGKILL')
      expect(existsSync(router.logPath)).toBe(true)
      expect(readFileSync(router.logPath, 'utf8')).not.toMatch(/syntax error|unknown command|invalid/i)
    })
  })
