// What a node refuses for Services when it is asked to, on nodes that forward everything: clients that are not in
// `loadBalancerSourceRanges` although the proxy lets them through, and ports that no Service has, which a default route to the
// router would otherwise send round in circles.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { VipRules } from '../../src/datapath/desired.ts'
import { type ForwardKeeper, keepForwardRules } from '../../src/datapath/keeper.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import type { RefusalOptions } from '../../src/nftables/table.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import {
  createNodeNetwork,
  type NodeNetwork,
  outsideAddresses,
  ports,
  type RulesOfOthers,
  vip4,
  vip6,
} from '../iptables/node-network.ts'
import { describeWith } from '../support/privileges.ts'

const curlRefused = 7
const curlTimedOut = 28
/** A Service has it, and no proxy translates it. */
const untranslatedPort = 8443
const unusedPort = 81
const ranges = ['10.9.0.1/32', '192.0.2.0/24', 'fd09::1/128'].map((text) => must(parsePrefix(text)))
const rules: readonly VipRules[] = [vip4, vip6].map((address) => ({
  address,
  ports: [
    { protocol: 'TCP', port: ports.tcp[0], sourceRanges: ranges },
    { protocol: 'UDP', port: ports.udp[0], sourceRanges: ranges },
    { protocol: 'SCTP', port: ports.sctp[0], sourceRanges: [] },
    { protocol: 'TCP', port: untranslatedPort, sourceRanges: [] },
  ],
}))
const families = [
  [vip4, outsideAddresses.known[0], outsideAddresses.foreign[0]],
  [vip6, outsideAddresses.known[1], outsideAddresses.foreign[1]],
] as const

for (const name of ['nft', 'legacy', 'nftables'] as const)
  describeWith(
    { netns: true, programs: ['iptables-nft-restore', 'iptables-legacy-restore', 'nft', 'curl'] },
    `a node that refuses on behalf of Services, with rules of others in ${name}`,
    () => suite(name),
  )

function suite(name: RulesOfOthers): void {
  let network: NodeNetwork
  let keeping: { readonly keeper: ForwardKeeper; readonly stop: AbortController } | undefined

  const keep = async (refusals: RefusalOptions): Promise<void> => {
    await end()
    const stop = new AbortController()
    const keeper = keepForwardRules(
      { backend: 'auto', checkIntervalMs: 100, refusals },
      { exec: network.exec, clock: systemClock, log: silentLog, signal: stop.signal },
    )
    keeping = { keeper, stop }
    keeper.setVips(rules)
    await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: `rules: ${JSON.stringify(keeper.facts())}` })
  }
  const end = async (): Promise<void> => {
    keeping?.stop.abort()
    await keeping?.keeper.ended
  }
  /** Exit status of curl. */
  const dial = async (vip: string, port: number, source: string): Promise<number> => {
    const host = vip.includes(':') ? `[${vip}]` : vip
    const limits = ['--connect-timeout', '1', '--max-time', '5', '--interface', source]
    return (await network.client.exec(['curl', '-gs', '-o', '/dev/null', ...limits, `http://${host}:${port}/`])).status
  }
  const askUdp = async (vip: string, port: number, source: string): Promise<string> =>
    (
      await network.client.run(nodeProgram('test/datapath/echo-program.ts', ['ask', 'udp', vip, String(port), source]))
    ).trim()
  /** How often the router forwarded what one dial sent. */
  const roundTrips = async (vip: string, port: number, source: string): Promise<number> => {
    await network.router.run(['nft', '-f', '-'], {
      input: `add table inet loops
        delete table inet loops
        table inet loops { chain seen { type filter hook forward priority 0; tcp dport ${port} tcp flags syn / syn,ack counter; }; }`,
    })
    await dial(vip, port, source)
    const listed = await network.router.run(['nft', 'list', 'table', 'inet', 'loops'])
    return Number(/counter packets (\d+)/.exec(listed)?.[1])
  }

  beforeAll(async () => {
    network = await createNodeNetwork(name, { forward: 'open', behindRouter: true })
  })
  afterAll(async () => {
    await end()
    await network?.[Symbol.asyncDispose]()
  })

  test('without being asked to it refuses nobody, and what nobody translates goes round until its TTL is used up', async () => {
    await keep({ sourceRanges: false, unusedPorts: false })
    for (const [vip, known, foreign] of families) {
      expect([await dial(vip, ports.tcp[0], known), await dial(vip, ports.tcp[0], foreign)]).toEqual([0, 0])
      expect(await roundTrips(vip, unusedPort, known)).toBeGreaterThan(20)
    }
    expect(await network.node.run(['nft', 'list', 'ruleset'])).not.toContain('table inet bellhop')
  })

  test.each(families)(
    'a client of %s in the ranges arrives by TCP and UDP, one outside of them does not',
    async (vip, known, foreign) => {
      await keep({ sourceRanges: true, unusedPorts: false })
      const answers = await Promise.all([
        dial(vip, ports.tcp[0], known),
        dial(vip, ports.tcp[0], foreign),
        askUdp(vip, ports.udp[0], known),
        askUdp(vip, ports.udp[0], foreign),
      ])
      expect(answers).toEqual([0, curlTimedOut, known, 'nothing'])
      expect(await network.ask(network.client, 'sctp', vip, ports.sctp[0])).toBe('associated')
    },
  )

  test('an edit of the ranges holds at once, also for connections that stand', async () => {
    await keep({ sourceRanges: true, unusedPorts: false })
    const script =
      'exec 3<>/dev/tcp/203.0.113.10/80; echo connected; read line; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; timeout 2 head -c 4 <&3; echo " end"'
    const standing = network.client.spawn(['bash', '-c', script])
    await standing.waitUntil(() => standing.output().includes('connected'), { what: 'a connection' })
    keeping?.keeper.setVips(
      rules.map((vip) => ({ ...vip, ports: vip.ports.map((port) => ({ ...port, sourceRanges: ranges.slice(1) })) })),
    )
    await waitFor(async () => (await dial(vip4, ports.tcp[0], outsideAddresses.known[0])) === curlTimedOut, {
      what: 'the refusal',
    })
    standing.writeLine('go')
    await standing.end
    expect(standing.output()).toBe('connected\n end')
  })

  test.each(families)(
    'a port of %s that no Service has is refused by name, and nothing goes round',
    async (vip, known) => {
      await keep({ sourceRanges: false, unusedPorts: true })
      expect(await roundTrips(vip, unusedPort, known)).toBe(1)
      const answers = [
        await dial(vip, unusedPort, known),
        await askUdp(vip, unusedPort, known),
        await dial(vip, ports.tcp[0], known),
      ]
      expect(answers).toEqual([curlRefused, 'refused', 0])
      // What the proxy makes of a Service's port, such as nothing, is the proxy's business.
      expect(await roundTrips(vip, untranslatedPort, known)).toBeGreaterThan(1)
    },
  )

  test('the options taken back, nothing of ours is left', async () => {
    await keep({ sourceRanges: false, unusedPorts: false })
    expect(await network.node.run(['nft', 'list', 'ruleset'])).not.toContain('table inet bellhop')
  })
}
