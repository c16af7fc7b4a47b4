// What kernels and other programs do to an agent that only wants to write rules: each trouble is real, is named in words that tell
// what to mend, is tried again, and when it is over the newest set of VIPs is in place.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { addressesOnly } from '../../src/datapath/desired.ts'
import { type KeeperNews, keepForwardRules } from '../../src/datapath/keeper.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import type { Exec } from '../../src/runtime/exec.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import {
  clientAddresses,
  createNodeNetwork,
  type NodeNetwork,
  type RulesOfOthers,
  vip4,
  vip6,
} from '../iptables/node-network.ts'
import { describeWith } from '../support/privileges.ts'

const withoutPrograms = ['env', 'PATH=/nowhere']
const withoutRights = ['setpriv', '--bounding-set', '-net_admin,-net_raw']
// `ip netns exec` gives each program a mount namespace of its own, which ends with it.
const readOnly = ['sh', '-c', 'mount -t tmpfs -o ro none /mnt && XTABLES_LOCKFILE=/mnt/lock exec "$@"', 'sh']

type Trouble = readonly [what: string, others: RulesOfOthers, wrapper: readonly string[], code: string, words: string]

const troubles: readonly Trouble[] = [
  ['no iptables installed', 'nft', withoutPrograms, 'iptables/not-installed', 'install iptables'],
  ['no nft installed', 'nftables', withoutPrograms, 'nftables/not-installed', 'install nftables'],
  ['no right to write, iptables on nft', 'nft', withoutRights, 'iptables/not-permitted', 'CAP_NET_ADMIN'],
  ['no right to write, legacy iptables', 'legacy', withoutRights, 'iptables/not-permitted', 'CAP_NET_ADMIN'],
  ['no right to write, nftables', 'nftables', withoutRights, 'nftables/not-permitted', 'CAP_NET_ADMIN'],
  ['a lock file on a read-only file system', 'legacy', readOnly, 'iptables/read-only', '/run/xtables.lock'],
]

describeWith(
  { netns: true, programs: ['iptables-nft-restore', 'iptables-legacy-restore', 'nft', 'curl', 'setpriv', 'flock'] },
  'an agent in trouble',
  () => {
    const networks = new Map<RulesOfOthers, NodeNetwork>()
    const networkOf = (others: RulesOfOthers): NodeNetwork => {
      const network = networks.get(others)
      if (network === undefined) throw new Error(`no network for ${others}`)
      return network
    }

    beforeAll(async () => {
      for (const others of ['nft', 'legacy', 'nftables'] as const) networks.set(others, await createNodeNetwork(others))
    })
    afterAll(async () => {
      for (const network of networks.values()) await network[Symbol.asyncDispose]()
    })

    const through = async (
      others: RulesOfOthers,
      trouble: { readonly exec: Exec; readonly end: () => void; readonly code: string; readonly words: string },
    ): Promise<void> => {
      const network = networkOf(others)
      const stop = new AbortController()
      const news: KeeperNews[] = []
      const keeper = keepForwardRules(
        { backend: others, checkIntervalMs: 100 },
        {
          exec: trouble.exec,
          clock: systemClock,
          log: silentLog,
          signal: stop.signal,
          onNews: (item) => news.push(item),
        },
      )
      try {
        keeper.setVips(addressesOnly([vip4]))
        await waitFor(() => keeper.facts().errors >= 2, { what: 'a second try' })
        expect(keeper.facts().lastError).toMatchObject({ code: trouble.code })
        expect(keeper.facts().lastError?.message).toContain(trouble.words)
        keeper.setVips(addressesOnly([vip4, vip6]))
        trouble.end()
        await waitFor(() => keeper.facts().vips.IPv6 === 1 && keeper.facts().lastError === undefined, {
          what: 'the end of it',
        })
        expect(await network.request(network.client, vip6, 80)).toBe(clientAddresses[1])
        // Said once, however often it was tried.
        expect(news.map(({ type }) => type)).toEqual(['failed', 'recovered'])
      } finally {
        stop.abort()
        await keeper.ended
      }
    }

    test.each(troubles)('%s', async (_what, others, wrapper, code, words) => {
      const network = networkOf(others)
      let inTrouble = true
      // Those that only look or say their version work without rights.
      const exec: Exec = (file, args, options) =>
        inTrouble && args[0] !== '--version'
          ? network.node.exec([...wrapper, file, ...args], options)
          : network.exec(file, args, options)
      const end = (): void => {
        inTrouble = false
      }
      await through(others, { exec, end, code, words })
    })

    test('a lock that another program does not give back', async () => {
      const network = networkOf('legacy')
      const lock = `/tmp/bellhop-xtables-${process.pid}.lock`
      const holder = network.node.spawn(['flock', lock, 'sh', '-c', 'echo held; exec sleep 600'])
      await holder.waitUntil(() => holder.output().includes('held'), { what: 'the lock' })
      const exec: Exec = (file, args, options) =>
        network.node.exec(['env', `XTABLES_LOCKFILE=${lock}`, file, ...args], options)
      try {
        const held = { exec, end: () => holder.kill('SIGKILL'), code: 'iptables/busy', words: 'another program' }
        await through('legacy', held)
      } finally {
        holder.kill('SIGKILL')
        await network.node.run(['rm', '-f', lock])
      }
    })
  },
)
