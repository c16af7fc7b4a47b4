// The agent on a node of its own, a network namespace, with a VIP for every Service of the cluster: how soon the rules stand and
// what it costs to keep them. Needs root; says so otherwise.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { ApiServerHandle } from '../src/lab/apiserver/server.ts'
import { createNetwork } from '../src/lab/netns/network.ts'
import { missingForLab } from '../src/lab/requirements.ts'
import { startRelay } from '../src/lab/topology/relay.ts'
import { parseIp } from '../src/net/ip.ts'
import { must } from '../src/runtime/result.ts'
import { bellhopNamespace, nodeName } from './cluster-objects.ts'
import { deployedEnvironment, renderMemory, start } from './cluster-process.ts'
import { nowMs } from './cluster-routers.ts'

export interface AgentBench {
  readonly directory: string
  readonly bundle: string
  readonly kubeconfig: string
  readonly server: ApiServerHandle
  readonly line: (what: string, figure: string, target?: string) => void
}

const loopback = must(parseIp('127.0.0.1'))
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function measureAgent({ directory, bundle, kubeconfig, server, line }: AgentBench): Promise<void> {
  const missing = await missingForLab([])
  if (missing.length > 0) {
    line('the agent', `not measured: ${missing.join(', ')}`)
    return
  }
  await using network = await createNetwork({ prefix: 'bench' })
  const node = await network.addNamespace('node', { forwarding: true })
  const vips = server.objects.list('bellhop.io/v1alpha1', 'Vip').length
  const relay = await startRelay({
    ...{ namespace: node, address: loopback, port: server.port },
    target: { host: loopback, port: server.port },
    socketPath: path.join(network.directory, 'api.sock'),
  })
  const flags = {
    '--kubeconfig': kubeconfig,
    '--namespace': bellhopNamespace,
    '--node': nodeName(1),
    '--http-port': '0',
    '--log-format': 'json',
    '--backend': 'nft',
  }
  const profiles = process.env['BENCH_CPU_PROFILE']
  const logPath = path.join(directory, 'agent.log')
  const agent = start({
    argv: [
      ...['ip', 'netns', 'exec', node.kernelName, process.execPath],
      ...(profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`]),
      ...[bundle, 'agent', ...Object.entries(flags).flat()],
    ],
    env: deployedEnvironment('agent'),
    logPath,
    httpPort: 0,
    nowMs,
  })
  try {
    await Promise.race([rulesStand(logPath, vips), agent.ended.then((status) => endedEarly(status))])
    line(
      `the agent: process start until ${vips} VIPs are open`,
      `${((nowMs() - agent.startedAtMs) / 1000).toFixed(2)} s`,
    )
    await pause(2_000)
    line('  memory then', renderMemory(agent.memory()))
    const before = agent.cpuSeconds()
    await pause(12_000)
    line('  memory after a look at its rules', renderMemory(agent.memory()), '80 MB')
    line('  processor time of twelve seconds', `${(agent.cpuSeconds() - before).toFixed(2)} s`)
  } finally {
    await agent.stop()
    await relay.close()
  }
}

// Addresses side by side are one rule, so that rules cannot be counted: the agent says itself how many VIPs they open.
async function rulesStand(logPath: string, vips: number): Promise<void> {
  const applied = new RegExp(`"event":"forward-rules-applied","vips":${vips},`)
  while (!applied.test(readFileSync(logPath, 'utf8'))) await pause(10)
}

function endedEarly(status: number | null): never {
  throw new Error(`the agent ended with status ${status}`)
}
