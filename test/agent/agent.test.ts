// The agent against the lab's API server, with the rights that the manifests give it, on a node whose FORWARD chain is closed:
// what a user, a kubelet and a Prometheus see of it, and what it leaves behind.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { agentDefaults, runAgent } from '../../src/agent/agent.ts'
import { runAgentCleanup } from '../../src/agent/cleanup.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import type { Exec } from '../../src/runtime/exec.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { clientAddresses, createNodeNetwork, type NodeNetwork, vip4, vip6 } from '../iptables/node-network.ts'
import { startTestCluster, type TestCluster } from '../k8s/support/api-server.ts'
import { vip } from '../k8s/support/manifests.ts'
import { describeWith } from '../support/privileges.ts'

const root = path.resolve(import.meta.dirname, '../..')
const leasePath = '/apis/coordination.k8s.io/v1/namespaces/bellhop-system/leases/bellhop-agent-n1'

interface LeaseMetadata {
  readonly annotations: Readonly<Record<string, string>>
}

interface NodeEvent {
  readonly reason: string
  readonly involvedObject: { readonly kind: string; readonly name: string }
}

interface RunningAgent {
  readonly port: number
  readonly get: (path: string) => Promise<{ readonly status: number; readonly text: string }>
  /** How long the end took, in milliseconds. */
  readonly stop: () => Promise<number>
}

describeWith(
  { netns: true, programs: ['iptables-nft-restore', 'ip6tables-nft-restore', 'curl'] },
  'the agent on a closed node',
  () => {
    let node: NodeNetwork
    let cluster: TestCluster
    let untouched: string
    const running: (() => Promise<unknown>)[] = []

    const reached = async (): Promise<readonly (string | undefined)[]> => [
      await node.request(node.client, vip4, 80),
      await node.request(node.client, vip6, 80),
    ]
    const start = async (
      options: { readonly exec?: Exec; readonly mark?: string; readonly waits?: true; readonly clock?: Clock } = {},
    ): Promise<RunningAgent> => {
      const stop = new AbortController()
      const port = await freePort()
      const token = cluster.server.serviceAccountToken('bellhop-system', 'bellhop-agent')
      const config = {
        ...agentDefaults,
        credentials: { type: 'server', url: cluster.server.url, token } as const,
        node: 'n1',
        httpPort: port,
        checkIntervalMs: 100,
        version: 'test',
        ...(options.mark === undefined ? {} : { onlyAgentMark: options.mark }),
      }
      const clock = options.clock ?? systemClock
      const deps = { clock, random: () => 0.5, exec: options.exec ?? node.exec, log: silentLog }
      const ended = runAgent(config, { ...deps, signal: stop.signal })
      const agent: RunningAgent = {
        port,
        get: async (where) => {
          const response = await fetch(`http://127.0.0.1:${port}${where}`)
          return { status: response.status, text: await response.text() }
        },
        stop: async () => {
          const startMs = performance.now()
          stop.abort()
          await ended
          return performance.now() - startMs
        },
      }
      running.push(agent.stop)
      if (options.waits !== true)
        await waitFor(async () => (await agent.get('/healthz')).status === 200, { what: 'the agent to answer' })
      return agent
    }
    const ready = (agent: RunningAgent): Promise<unknown> =>
      waitFor(async () => (await agent.get('/readyz')).status === 200, { what: 'the agent to be ready' })
    const lease = () => cluster.client.request({ method: 'GET', path: leasePath })
    /** Reasons of the Events on the Node. */
    const nodeEvents = async (): Promise<readonly string[]> => {
      const answer = await cluster.client.request({ method: 'GET', path: '/api/v1/namespaces/default/events' })
      const { items } = (answer.ok ? answer.value : { items: [] }) as unknown as {
        readonly items: readonly NodeEvent[]
      }
      return items
        .filter(({ involvedObject: { kind, name } }) => kind === 'Node' && name === 'n1')
        .map(({ reason }) => reason)
    }
    const remove = (name: string): unknown =>
      cluster.server.objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name })
    /** Returns the object's resourceVersion. */
    const put = (address: string): bigint => {
      const { metadata } = cluster.server.objects.put({
        ...vip(address),
        metadata: { name: address.includes(':') ? '2001-0db8-0001-0000-0000-0000-0000-0010' : address },
      })
      return BigInt((metadata as { readonly resourceVersion: string }).resourceVersion)
    }

    beforeAll(async () => {
      node = await createNodeNetwork('nft')
      untouched = await node.save('nft')
    })
    afterAll(() => node?.[Symbol.asyncDispose]())
    beforeEach(async () => {
      cluster = await startTestCluster({ authorization: 'RBAC' })
      for (const file of ['namespace.yaml', 'agent-rbac.yaml'])
        for (const document of parseAllDocuments(readFileSync(path.join(root, 'deploy/base', file), 'utf8')))
          cluster.server.objects.put(document.toJS())
    })
    afterEach(async () => {
      for (const stop of running.splice(0)) await stop()
      must(await runAgentCleanup({ exec: node.exec, clock: systemClock, log: silentLog }))
      await cluster.stop()
    })

    test('a Vip that comes is let through, in both families; one that goes is closed', async () => {
      const agent = await start()
      await ready(agent)
      expect(await reached()).toEqual([undefined, undefined])
      put(vip4)
      put(vip6)
      await waitFor(async () => (await agent.get('/metrics')).text.includes('bellhop_agent_vips{family="IPv6"} 1'), {
        what: 'both VIPs in place',
      })
      expect(await reached()).toEqual(clientAddresses)
      remove(vip4)
      await waitFor(async () => (await agent.get('/metrics')).text.includes('bellhop_agent_vips{family="IPv4"} 0'), {
        what: 'one VIP in place',
      })
      expect(await reached()).toEqual([undefined, clientAddresses[1]])
    })

    test('the Lease says up to which Vip the rules are in place, as soon as they are', async () => {
      const attested = async (): Promise<bigint> => {
        const answer = await lease()
        const { metadata } = (answer.ok ? answer.value : {}) as { readonly metadata?: LeaseMetadata }
        return BigInt(metadata?.annotations['bellhop.io/in-place'] ?? '0')
      }
      const first = put(vip4)
      await ready(await start())
      await waitFor(async () => (await attested()) >= first, { what: 'the first VIP' })
      const second = put(vip6)
      await waitFor(async () => (await attested()) >= second, { what: 'the second VIP' })
      expect(await reached()).toEqual(clientAddresses)
    })

    test('at the end the rules stay and the Lease goes, at once', async () => {
      put(vip4)
      const agent = await start()
      await ready(agent)
      await waitFor(async () => (await lease()).ok, { what: 'the Lease' })
      expect(await agent.stop()).toBeLessThan(2000)
      expect((await lease()).ok).toBe(false)
      expect((await reached())[0]).toBe(clientAddresses[0])
    })

    test('without the API server the rules stay and are mended, the agent stays ready, and its end is bounded', async () => {
      put(vip4)
      const agent = await start()
      await ready(agent)
      await cluster.server.stop()
      const flush = '*filter\n-F BELLHOP-FORWARD\nCOMMIT\n'
      await node.node.run(['iptables-nft-restore', '--noflush'], { input: flush })
      await waitFor(async () => /repairs_total\{kind="chain-altered"\} 1/.test((await agent.get('/metrics')).text), {
        what: 'a repair',
      })
      expect((await agent.get('/readyz')).status).toBe(200)
      expect((await reached())[0]).toBe(clientAddresses[0])
      await waitFor(async () => (await agent.get('/metrics')).text.includes('bellhop_agent_api_connected 0'), {
        what: 'the agent to notice',
      })
      expect(await agent.stop()).toBeLessThan(5000)
    })

    test('an agent that starts without the API server touches nothing and says what it waits for', async () => {
      put(vip4)
      const first = await start()
      await ready(first)
      await first.stop()
      const before = await node.save('nft')
      await cluster.server.stop()
      const second = await start()
      const readiness = await second.get('/readyz')
      expect([readiness.status, readiness.text]).toEqual([503, 'the VIPs are not known yet\n'])
      expect(await node.save('nft')).toBe(before)
      await second.stop()
    })

    test('rules that an earlier agent left for a Vip that is gone are removed after the first list', async () => {
      put(vip4)
      put(vip6)
      const first = await start()
      await ready(first)
      await first.stop()
      remove(vip4)
      await ready(await start())
      expect(await reached()).toEqual([undefined, clientAddresses[1]])
    })

    test('a node where iptables can not be used is not ready, and the Lease and an Event on the Node say why', async () => {
      put(vip4)
      const forbidden = 'Could not fetch rule set generation id: Permission denied (you must be root)'
      const exec: Exec = async (_file, args) =>
        args[0] === '--version'
          ? { status: 0, stdout: 'iptables v1.8.9 (nf_tables)', stderr: '' }
          : { status: 4, stdout: '', stderr: forbidden }
      const agent = await start({ exec })
      await waitFor(async () => (await agent.get('/readyz')).text.includes('CAP_NET_ADMIN'), { what: 'the reason' })
      await waitFor(async () => JSON.stringify(await lease()).includes('CAP_NET_ADMIN'), {
        what: 'the Lease to say so',
      })
      await waitFor(async () => (await nodeEvents()).includes('VipRulesFailed'), { what: 'the Event' })
      expect((await agent.get('/metrics')).text).toContain('bellhop_agent_in_sync 0')
      expect((await agent.get('/healthz')).status).toBe(200)
    })

    test('a second agent on the node says so in an Event and in the Lease, touches nothing, and takes over when the first one ends', async () => {
      put(vip4)
      const mark = `bellhop-test-${process.pid}`
      const first = await start({ mark })
      await ready(first)
      const second = await start({ mark, waits: true })
      await waitFor(async () => (await nodeEvents()).includes('SecondAgent'), { what: 'the Event' })
      await expect(second.get('/healthz')).rejects.toThrow()
      await waitFor(async () => JSON.stringify(await lease()).includes('bellhop.io/second-agent'), {
        what: 'the Lease of the first one to say so',
      })
      await first.stop()
      await waitFor(async () => (await second.get('/readyz')).status === 200, { what: 'the second agent to be ready' })
      expect((await reached())[0]).toBe(clientAddresses[0])
    })

    test.each([
      ['forward', 3600],
      ['back', -3600],
    ])(
      'the clock is set %s by an hour: the Lease and an Event say so, and new VIPs are opened as before',
      async (_way, seconds) => {
        let shiftMs = 0
        const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + shiftMs }
        put(vip4)
        await ready(await start({ clock }))
        shiftMs = seconds * 1000
        await waitFor(
          async () => JSON.stringify(await lease()).includes(`"bellhop.io/clock-jumped":"${seconds} s, to `),
          {
            what: 'the Lease to say so',
          },
        )
        await waitFor(async () => (await nodeEvents()).includes('ClockJumped'), { what: 'the Event' })
        put(vip6)
        await waitFor(async () => (await reached())[1] === clientAddresses[1], { what: 'the new VIP' })
        expect((await reached())[0]).toBe(clientAddresses[0])
      },
    )

    test('cleanup leaves the node as it was before Bellhop', async () => {
      put(vip4)
      put(vip6)
      const agent = await start()
      await ready(agent)
      await agent.stop()
      expect(await node.save('nft')).not.toBe(untouched)
      const removed = must(await runAgentCleanup({ exec: node.exec, clock: systemClock, log: silentLog }))
      expect(removed).toEqual(['nft IPv4', 'nft IPv6'])
      expect(await node.save('nft')).toBe(untouched)
    })
  },
)

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
