// What others do to the rules of VIPs in nftables, and what becomes of it: mended within seconds, counted by kind, and nothing of
// theirs touched. (The same for iptables: test/iptables/forward.test.ts.)

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { removeEverything } from '../../src/datapath/cleanup.ts'
import { addressesOnly, type VipRules } from '../../src/datapath/desired.ts'
import { type ForwardKeeper, type KeeperNews, keepForwardRules } from '../../src/datapath/keeper.ts'
import type { Drift } from '../../src/iptables/render.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import type { Exec } from '../../src/runtime/exec.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { clientAddresses, createNodeNetwork, ip, type NodeNetwork, vip4, vip6 } from '../iptables/node-network.ts'
import { describeWith } from '../support/privileges.ts'

const vips: readonly VipRules[] = addressesOnly([vip4, vip6]).map((vip) => ({
  ...vip,
  ports: [{ protocol: 'TCP', port: 80, sourceRanges: [] }],
}))
const refusals = { sourceRanges: true, unusedPorts: true }
const hour = 3_600_000
const curlCouldNotConnect = 7

describeWith({ netns: true, programs: ['nft', 'curl'] }, 'interference with rules in nftables', () => {
  let network: NodeNetwork
  let theirs: string
  let reporter: LabProcess
  let generation: number | undefined

  const nft = (commands: string): Promise<string> => network.node.run(['nft', '-f', '-'], { input: commands })
  /** The tables without what is ours. */
  const foreign = async (): Promise<string> => {
    const saved = await network.save('nftables')
    return saved
      .replace(/^table inet bellhop \{$[\s\S]*?^\}\n/m, '')
      .replace(/^\t(set|chain) bellhop-\S+ \{$[\s\S]*?^\t\}\n\n?/gm, '')
      .replace(/^.*jump bellhop-forward.*\n/gm, '')
      .replace(/\n+/g, '\n')
  }

  beforeAll(async () => {
    network = await createNodeNetwork('nftables')
    theirs = await foreign()
    // The kernel is asked inside the node's namespace; the keeper of this test lives outside of it.
    reporter = network.node.spawn(nodeProgram('test/nftables/generation-program.ts'))
    reporter.onLine((line) => {
      generation = Number(line)
    })
    await reporter.waitUntil(() => generation !== undefined, { what: 'the generation of the rules' })
  })
  afterAll(() => network?.[Symbol.asyncDispose]())

  const interference: readonly (readonly [what: string, commands: string, kind: Drift])[] = [
    ['deleting our table', 'delete table inet bellhop', 'table-missing'],
    ['emptying a set of ours', 'flush set inet bellhop vips4', 'table-altered'],
    ['emptying a chain of ours', 'flush chain inet bellhop unused', 'table-altered'],
    ['adding to our chain', 'insert rule inet bellhop unused4 accept', 'table-altered'],
    ['emptying the firewall’s chain', 'flush chain inet firewall forward', 'jump-missing'],
    ['pushing a rule in front', 'insert rule inet firewall forward counter drop', 'jump-misplaced'],
    ['emptying our chain in their table', 'flush chain inet firewall bellhop-forward', 'chain-altered'],
    ['emptying our set in their table', 'flush set inet firewall bellhop-vips4', 'chain-altered'],
    ['doubling our jump', 'add rule inet firewall forward jump bellhop-forward', 'jump-duplicated'],
    [
      'a firewall that is reloaded as firewalld does, table and all',
      'delete table inet firewall; table inet firewall { set friends { type ipv4_addr; elements = { 192.0.2.1 }; }; chain forward { type filter hook forward priority filter; policy drop; tcp dport 7777 reject; ip saddr @friends accept; }; }',
      'jump-missing',
    ],
  ]

  // Once by looking every tenth of a second, once because the kernel says that something changed.
  for (const [how, checkIntervalMs, cases] of [
    ['by looking again', 100, interference],
    ['at the kernel’s word', hour, interference.filter(([what]) => /deleting|reloaded/.test(what))],
  ] as const)
    test.each(cases)(`%s is mended and counted, ${how}`, async (_what, commands, kind) => {
      const stop = new AbortController()
      const news: KeeperNews[] = []
      const keeper = keepForwardRules(
        { backend: 'auto', checkIntervalMs, refusals },
        {
          ...{ exec: network.exec, clock: systemClock, log: silentLog, signal: stop.signal },
          onNews: (item) => news.push(item),
          ...(checkIntervalMs === hour ? { generation: () => generation } : {}),
        },
      )
      try {
        keeper.setVips(vips)
        await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: 'the first sync' })
        await nft(commands)
        await waitFor(() => keeper.facts().repairs[kind] > 0, { what: `a repair of ${kind}` })
        expect(await network.request(network.client, vip4, 80)).toBe(clientAddresses[0])
        // Refused by our table, not by the firewall's policy, which would say nothing.
        const refused = await network.client.exec(['curl', '-sS', '--max-time', '5', `http://${vip4}:81/`])
        expect(refused.status).toBe(curlCouldNotConnect)
        expect(news).toContainEqual(expect.objectContaining({ type: 'repaired' }))
      } finally {
        stop.abort()
        await keeper.ended
        await nft(`flush chain inet firewall forward
          add rule inet firewall forward tcp dport 7777 reject
          add rule inet firewall forward ip saddr @friends accept`)
      }
      expect(await foreign()).toBe(theirs)
    })

  test('a container engine that closes FORWARD by iptables later is seen, and one that goes again too', async () => {
    const stop = new AbortController()
    const keeper = keepForwardRules(
      { backend: 'auto', checkIntervalMs: 100 },
      { exec: network.exec, clock: systemClock, log: silentLog, signal: stop.signal },
    )
    try {
      keeper.setVips(vips)
      await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: 'the first sync' })
      expect(keeper.facts().backend).toBe('nftables')
      await network.node.run(['iptables-nft', '-P', 'FORWARD', 'DROP'])
      await waitFor(async () => (await network.request(network.client, vip4, 80)) === clientAddresses[0], {
        what: 'a way through both',
      })
      expect(keeper.facts()).toMatchObject({ backend: 'nft', errors: 0 })
    } finally {
      stop.abort()
      await keeper.ended
    }
    const removed = await removeEverything({ exec: network.exec, clock: systemClock })
    expect(removed).toEqual({ ok: true, value: ['nft IPv4', 'nft IPv6', 'table inet firewall'] })
    await nft('delete table ip filter; delete table ip6 filter')
    expect(await foreign()).toBe(theirs)
  })

  describe('one VIP more', () => {
    const more: readonly VipRules[] = [
      ...vips,
      {
        address: ip('203.0.113.11'),
        ports: [{ protocol: 'TCP', port: 80, sourceRanges: [must(parsePrefix('10.9.0.0/16'))] }],
      },
    ]
    let stop: AbortController
    let keeper: ForwardKeeper
    let runs: string[]
    /** As the kernel counts, and known at once, which what the reporter says is not. */
    let counted: number
    const others = async (commands: string): Promise<void> => {
      await nft(commands)
      counted++
    }

    beforeEach(async () => {
      stop = new AbortController()
      runs = []
      counted = 1
      keeper = keepForwardRules(
        { backend: 'nftables', checkIntervalMs: hour, refusals },
        {
          exec: async (file, args, options) => {
            runs.push(args.join(' '))
            const result = await network.exec(file, args, options)
            if (file === 'nft' && args[0] === '-f' && result.status === 0) counted++
            return result
          },
          ...{ clock: systemClock, log: silentLog, signal: stop.signal },
          generation: () => counted,
        },
      )
      keeper.setVips(vips)
      await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: 'the first sync' })
    })
    afterEach(async () => {
      stop.abort()
      await keeper.ended
    })
    const inPlace = async (): Promise<void> => {
      runs.length = 0
      keeper.setVips(more)
      await waitFor(() => keeper.facts().vips.IPv4 === 2, { what: 'the change' })
    }
    const holdsBoth = async (): Promise<boolean> => {
      const listed = await network.save('nftables')
      return ['bellhop-vips4', 'vips4', 'ports4', 'guarded4', 'sources4'].every((set) => {
        const body = new RegExp(`set ${set} \\{[^}]*\\{([^}]*)`).exec(listed)?.[1] ?? ''
        return body.includes('203.0.113.11')
      })
    }

    test('where nobody else changed anything it is written without reading back what is there', async () => {
      await inPlace()
      // Our table, and theirs.
      expect(runs).toEqual(['-f -', '-f -'])
      expect(await holdsBoth()).toBe(true)
    })

    test('where others changed something that is not ours, the elements of sets are not read for it', async () => {
      await others('add table ip somebody')
      await inPlace()
      const listings = [
        '-j list chains',
        '-t -j list table inet bellhop',
        '-f -',
        '-t -j list table inet firewall',
        '-f -',
      ]
      expect(runs).toEqual(listings)
      expect(await holdsBoth()).toBe(true)
      await nft('delete table ip somebody')
      expect(keeper.facts().repairs).toMatchObject({ 'table-altered': 0, 'chain-altered': 0 })
    })

    test.each([
      ['a set of ours', 'flush set inet bellhop vips4', 'table-altered'],
      ['our set in their table', 'flush set inet firewall bellhop-vips4', 'chain-altered'],
    ] as const)('%s emptied in the same moment is found and mended', async (_what, commands, kind) => {
      await others(commands)
      await inPlace()
      await waitFor(() => keeper.facts().repairs[kind] === 1, { what: 'the repair' })
      expect(await holdsBoth()).toBe(true)
      expect(await network.request(network.client, vip4, 80)).toBe(clientAddresses[0])
    })
  })

  test('an nft that spells elements otherwise is understood as it is', async () => {
    const stop = new AbortController()
    const exec: Exec = async (file, args, options) => {
      const result = await network.exec(file, args, options)
      return { ...result, stdout: result.stdout.replaceAll('"tcp", 80]', '"tcp", "http"]') }
    }
    const keeper = keepForwardRules(
      { backend: 'nftables', checkIntervalMs: 20, refusals },
      { exec, clock: systemClock, log: silentLog, signal: stop.signal },
    )
    try {
      keeper.setVips(vips)
      await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: 'the first sync' })
      const first = keeper.facts().lastSyncMs ?? 0
      await waitFor(() => (keeper.facts().lastSyncMs ?? 0) > first, { what: 'another look' })
      keeper.setVips(vips.slice(0, 1))
      await waitFor(() => keeper.facts().vips.IPv6 === 0, { what: 'a change' })
      await nft('flush set inet bellhop ports4')
      await waitFor(() => keeper.facts().repairs['table-altered'] === 1, { what: 'the repair' })
      expect(keeper.facts()).toMatchObject({ errors: 0, applies: 3 })
    } finally {
      stop.abort()
      await keeper.ended
    }
  })

  test('while nothing changes nobody looks', async () => {
    const stop = new AbortController()
    let runs = 0
    let asked = 0
    const keeper = keepForwardRules(
      { backend: 'nftables', checkIntervalMs: 50 },
      {
        exec: (...args) => {
          runs++
          return network.exec(...args)
        },
        ...{ clock: systemClock, log: silentLog, signal: stop.signal },
        generation: () => {
          asked++
          return generation
        },
      },
    )
    try {
      keeper.setVips(vips)
      const quiet = async (): Promise<boolean> => {
        const before = runs
        asked = 0
        await new Promise((resolve) => setTimeout(resolve, 1500))
        return keeper.facts().lastSyncMs !== undefined && runs === before
      }
      await waitFor(quiet, { what: 'a second and a half without a program run' })
      // Asking the kernel costs little, but not nothing: a few times a second.
      expect(asked).toBeLessThan(20)
      await nft('flush chain inet firewall forward')
      await waitFor(() => keeper.facts().repairs['jump-missing'] === 1, { what: 'the repair' })
    } finally {
      stop.abort()
      await keeper.ended
    }
  })
})
