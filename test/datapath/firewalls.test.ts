// Firewalls that people have on nodes, the real ones, each in a network namespace with a system bus and files of its own: what they do
// to clients of VIPs, and what their reloads do to our rules, while a keeper runs beside them and requests come in.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { addressesOnly } from '../../src/datapath/desired.ts'
import { type ForwardKeeper, keepForwardRules } from '../../src/datapath/keeper.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import {
  clientAddresses,
  createNodeNetwork,
  type NodeNetwork,
  ports,
  type RulesOfOthers,
  vip4,
  vip6,
} from '../iptables/node-network.ts'
import { describeWith } from '../support/privileges.ts'

/** Files of the machine that a firewall writes, as copies that end with the namespace of mounts. */
const ownFiles = (files: readonly string[]): string => `
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/dbus /run/copies
${files.map((file, i) => `cp -a ${file} /run/copies/${i}; mount --bind /run/copies/${i} ${file}`).join('\n')}`

interface Firewall {
  /** Runs a command of the firewall's, such as `firewall-cmd --reload`. */
  readonly run: (...argv: readonly string[]) => Promise<string>
  readonly stop: () => Promise<unknown>
}

// Its children end with it, and the bus takes along what it started.
const firewalldProgram = (settings: string): string => `set -e
${ownFiles(['/etc/firewalld'])}
${settings}
trap 'kill $(jobs -p); wait' EXIT TERM
dbus-daemon --system --nopidfile --nofork --nosyslog 2>/dev/null &
until [ -S /run/dbus/system_bus_socket ]; do sleep 0.05; done
firewalld --nofork --nopid &
wait $!`

const inside = (network: NodeNetwork, shell: LabProcess): Firewall => ({
  run: (...argv) => network.node.run(['nsenter', '-t', String(shell.pid), '-m', ...argv], { timeoutMs: 60_000 }),
  stop: () => shell.stop({ graceMs: 10_000 }),
})

async function startFirewalld(network: NodeNetwork, settings = ''): Promise<Firewall> {
  const shell = network.node.spawn(['bash', '-c', firewalldProgram(settings)])
  const firewall = inside(network, shell)
  await shell.waitUntil(
    async () => {
      const state = await network.node.exec(['nsenter', '-t', String(shell.pid), '-m', 'firewall-cmd', '--state'])
      return state.stdout.trim() === 'running'
    },
    { what: 'firewalld', timeoutMs: 60_000 },
  )
  return firewall
}

async function startUfw(network: NodeNetwork): Promise<Firewall> {
  const program = `set -e\n${ownFiles(['/etc/ufw', '/etc/default/ufw'])}\necho ready\nexec sleep 1000`
  const shell = network.node.spawn(['sh', '-c', program])
  await shell.waitUntil(() => shell.output().includes('ready'), { what: 'files of its own' })
  return inside(network, shell)
}

function suite(
  proxy: RulesOfOthers,
  start: (network: NodeNetwork) => Promise<Firewall>,
  tests: (node: {
    readonly network: () => NodeNetwork
    readonly firewall: () => Firewall
    readonly keeper: () => ForwardKeeper
    readonly arrives: () => Promise<boolean>
    /** How many requests fail while `work` goes on and for a while afterwards. */
    readonly lostDuring: (work: () => Promise<unknown>) => Promise<number>
  }) => void,
): void {
  let network: NodeNetwork
  let firewall: Firewall
  let keeper: ForwardKeeper
  let stop: AbortController

  const request = async (vip: string): Promise<boolean> =>
    clientAddresses.includes((await network.request(network.client, vip, ports.tcp[0])) ?? 'nobody')
  const arrives = async (): Promise<boolean> => (await request(vip4)) && (await request(vip6))
  // A first segment that is dropped comes again after a second: late, and not lost.
  const patiently = async (vip: string): Promise<boolean> => {
    const host = vip.includes(':') ? `[${vip}]` : vip
    const curl = ['curl', '-gs', '-o', '/dev/null', '--max-time', '10', `http://${host}:${ports.tcp[0]}/`]
    return (await network.client.exec(curl)).status === 0
  }
  const lostDuring = async (work: () => Promise<unknown>): Promise<number> => {
    let [asked, lost, over] = [0, 0, false]
    const asking = (async () => {
      for (let after = 0; after < 10; after += over ? 1 : 0) {
        asked++
        if (!(await patiently(asked % 2 === 0 ? vip4 : vip6))) lost++
      }
    })()
    await work()
    over = true
    await asking
    return lost
  }

  beforeAll(async () => {
    network = await createNodeNetwork(proxy, { forward: 'open' })
    firewall = await start(network)
  }, 90_000)
  afterAll(async () => {
    await firewall?.stop()
    await network?.[Symbol.asyncDispose]()
  })
  beforeEach(() => {
    stop = new AbortController()
    keeper = keepForwardRules(
      { backend: 'auto', checkIntervalMs: 200 },
      { exec: network.exec, clock: systemClock, log: silentLog, signal: stop.signal },
    )
  })
  afterEach(async () => {
    stop.abort()
    await keeper.ended
  })
  tests({
    network: () => network,
    firewall: () => firewall,
    keeper: () => keeper,
    arrives,
    lostDuring,
  })
}

const settle = async (keeper: ForwardKeeper): Promise<void> => {
  keeper.setVips(addressesOnly([vip4, vip6]))
  await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: 'the first sync' })
}

const firewalldNeeds = { netns: true, programs: ['firewalld', 'firewall-cmd', 'dbus-daemon', 'nsenter', 'nft', 'curl'] }

describeWith(firewalldNeeds, 'firewalld on the node', () =>
  suite('nftables', startFirewalld, ({ network, firewall, keeper, arrives, lostDuring }) => {
    const theirs = async (): Promise<string> => {
      const listed = await network().node.run(['nft', '-s', 'list', 'table', 'inet', 'firewalld'])
      return listed
        .replace(/^\t(set|chain) bellhop-\S+ \{$[\s\S]*?^\t\}\n\n?/gm, '')
        .replace(/^.*bellhop-forward.*\n/gm, '')
        .replace(/\n+/g, '\n')
    }

    test('it lets through what was translated, so nothing of ours is put into its table, and a reload costs nothing', async () => {
      expect(await arrives()).toBe(true)
      await settle(keeper())
      expect(await lostDuring(() => firewall().run('firewall-cmd', '--reload'))).toBe(0)
      expect(await network().node.run(['nft', 'list', 'table', 'inet', 'firewalld'])).not.toContain('bellhop')
      expect(keeper().facts().errors).toBe(0)
    })

    test('where it does not, the agent opens its table, and does so again after a reload', async () => {
      // As with StrictForwardPorts of newer versions.
      const close = async (): Promise<void> => {
        const chain = await network().node.run(['nft', '-a', 'list', 'chain', 'inet', 'firewalld', 'filter_FORWARD'])
        const handle = /ct status dnat accept # handle (\d+)/.exec(chain)?.[1]
        await network().node.run(['nft', `delete rule inet firewalld filter_FORWARD handle ${handle}`])
      }
      await close()
      expect(await arrives()).toBe(false)
      const before = await theirs()
      await settle(keeper())
      expect(await arrives()).toBe(true)
      expect(await theirs()).toBe(before)
      await firewall().run('firewall-cmd', '--reload')
      await close()
      await waitFor(arrives, { what: 'a way through its new table' })
      expect(keeper().facts().errors).toBe(0)
      expect(await theirs()).toBe(before)
    })
  }),
)

describeWith(firewalldNeeds, 'firewalld on the node, writing by iptables', () =>
  suite(
    'nft',
    (network) =>
      startFirewalld(network, "sed -i 's/^FirewallBackend=.*/FirewallBackend=iptables/' /etc/firewalld/firewalld.conf"),
    ({ network, firewall, keeper }) => {
      // It empties everybody's tables, the proxy's translation among them, which a kube-proxy writes anew and this node's does not.
      test('each reload takes our jump away, and it is put in front of its rules again', async () => {
        const inFront = /-A FORWARD .*-j BELLHOP-FORWARD\n-A FORWARD .*DNAT -j ACCEPT/
        await settle(keeper())
        await firewall().run('firewall-cmd', '--reload')
        await waitFor(() => keeper().facts().repairs['jump-missing'] > 0, { what: 'a repair' })
        await waitFor(async () => inFront.test(await network().save('nft')), { what: 'the jump in its place' })
        expect(keeper().facts().errors).toBe(0)
      })
    },
  ),
)

for (const proxy of ['nft', 'nftables'] as const)
  describeWith(
    { netns: true, programs: ['ufw', 'nsenter', 'iptables', 'curl'] },
    `ufw on the node, beside a proxy that writes by ${proxy}`,
    () =>
      suite(proxy, startUfw, ({ network, firewall, keeper, arrives, lostDuring }) => {
        const forwardPolicy = async (): Promise<string | undefined> =>
          /:FORWARD (\S+)/.exec(await network().save('nft'))?.[1]

        test('it closes FORWARD, the agent opens it, and nothing that ufw does costs a request', async () => {
          await firewall().run('ufw', '--force', 'enable')
          expect([await forwardPolicy(), await arrives()]).toEqual(['DROP', false])
          await settle(keeper())
          expect(await arrives()).toBe(true)
          for (const command of [['reload'], ['disable'], ['--force', 'enable']])
            expect([command, await lostDuring(() => firewall().run('ufw', ...command))]).toEqual([command, 0])
          expect(await forwardPolicy()).toBe('DROP')
        })

        // The whole of iptables is emptied, and with it the translation of a proxy that uses it.
        if (proxy === 'nftables')
          test('everything flushed: mended and counted', async () => {
            await settle(keeper())
            await firewall().run('/lib/ufw/ufw-init', 'flush-all')
            await waitFor(() => keeper().facts().repairs['jump-missing'] > 0, { what: 'a repair' })
            expect([await arrives(), await forwardPolicy()]).toEqual([true, 'ACCEPT'])
            expect(keeper().facts().errors).toBe(0)
          })
      }),
  )
