// A whole cluster in one process and a handful of network namespaces: API server, nodes with kubelet and kube-proxy stand-ins, two
// leaf routers, a client. The demo and the end-to-end tests are told on top of it; Bellhop's own programs are started in the
// nodes' namespaces as they would be on real nodes.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createKubeClient, type KubeClient } from '../k8s/client.ts'
import type { Clock } from '../runtime/clock.ts'
import { type Exec, type ExecResult, systemExec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import { must } from '../runtime/result.ts'
import { startClusterControllers } from './apiserver/cluster-controllers/cluster-controllers.ts'
import { type ApiServerHandle, startApiServer } from './apiserver/server.ts'
import { startKubeProxy } from './kube-proxy/kube-proxy.ts'
import { type ProxyChoice, proxyChoiceOf, startRealKubeProxy } from './kube-proxy/real-kube-proxy.ts'
import { startKubelet } from './kubelet/kubelet.ts'
import { nodeProgram, repositoryRoot } from './netns/node-program.ts'
import type { LabProcess } from './netns/process.ts'
import { kubectlProgram } from './requirements.ts'
import { createRouter } from './routers/create-router.ts'
import type { NeighborOptions, Router, RouterKind } from './routers/router.ts'
import { clusterPodPrefixes } from './topology/addresses.ts'
import { createTopology, type LabNode, type Topology } from './topology/topology.ts'
import { type Unpluggable, unpluggable } from './unpluggable.ts'

export interface LabOptions {
  /** Lower-case letters and digits, at most 8: part of every namespace's name. */
  readonly prefix: string
  /** What runs on leaf1 and leaf2. */
  readonly leaves: readonly [RouterKind, RouterKind]
  readonly nodes?: number
  /** What else the leaves are told about each of their neighbours, which are all nodes. */
  readonly neighbor?: Partial<Omit<NeighborOptions, 'address' | 'asn'>>
  /** Which kube-proxy the nodes have; default what the environment says, and a stand-in in iptables mode. */
  readonly kubeProxy?: ProxyChoice
  readonly clock: Clock
  readonly log: Log
}

export interface Lab extends AsyncDisposable {
  readonly topology: Topology
  readonly api: ApiServerHandle
  /** leaf1 and leaf2, in this order, running. */
  readonly routers: readonly [Router, Router]
  /** The real kubectl, as the cluster's administrator. Never rejects. */
  readonly kubectl: (args: readonly string[], options?: { readonly input?: string }) => Promise<ExecResult>
  /** As `kubectl`; throws with kubectl's own words when it fails. */
  readonly mustKubectl: (args: readonly string[], options?: { readonly input?: string }) => Promise<string>
  /** Pulls all cables of a node; its kubelet and kube-proxy go on without the API server. */
  readonly cutOff: (node: LabNode) => Promise<void>
  /** Plugs them in again. */
  readonly reconnect: (node: LabNode) => Promise<void>
  /** Starts a controller replica on a node; its log is `<directory>/<name>.log`. */
  readonly startController: (node: LabNode, options?: ProgramOptions) => LabProcess
  readonly startAgent: (node: LabNode, options?: ProgramOptions) => LabProcess
  /** Runs a bellhop command to its end on a node. */
  readonly bellhop: (node: LabNode, args: readonly string[]) => Promise<ExecResult>
  readonly destroy: () => Promise<void>
}

export interface ProgramOptions {
  /** Further arguments. */
  readonly args?: readonly string[]
}

/** AS numbers of the lab: the cluster and the two leaves. */
export const clusterAsn = 64512
export const leafAsns = [64513, 64514] as const

/** Port of a controller's and an agent's status server, on each node. */
export const controllerPort = 7474
export const agentPort = 7475

const nodeLeaseSeconds = 4

/** Builds the lab. Needs root, network namespaces, and the programs of the chosen routers. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const cleanups: (() => Promise<unknown>)[] = []
  const destroy = async (): Promise<void> => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  }
  try {
    return await build(options, cleanups, destroy)
  } catch (error) {
    await destroy()
    throw error
  }
}

async function build(
  { prefix, leaves, nodes, neighbor, clock, log, kubeProxy = proxyChoiceOf(process.env) }: LabOptions,
  cleanups: (() => Promise<unknown>)[],
  destroy: () => Promise<void>,
): Promise<Lab> {
  const topology = await createTopology({ prefix, ...(nodes === undefined ? {} : { nodes }) })
  cleanups.push(topology.destroy)
  const api = await startApiServer({ podDeletion: 'graceful' })
  cleanups.push(() => api.stop())
  const controllers = startClusterControllers(api.cluster, { leaseGraceMs: nodeLeaseSeconds * 1000 })
  cleanups.push(async () => controllers.stop())

  const directory = topology.network.directory
  const hostConfig = path.join(directory, 'kubeconfig')
  const nodeConfig = path.join(directory, 'kubeconfig-nodes')
  const nodeUrl = await topology.publishApi(Number(new URL(api.url).port))
  writeFileSync(hostConfig, api.kubeconfig(), { mode: 0o600 })
  writeFileSync(nodeConfig, readFileSync(hostConfig, 'utf8').replaceAll(api.url, nodeUrl), { mode: 0o600 })

  const client = must(
    await createKubeClient({
      credentials: { type: 'server', url: api.url, token: api.adminToken },
      clock,
      log,
      userAgent: 'bellhop-lab',
    }),
  )
  cleanups.push(async () => client.close())

  const routers = await startRouters(topology, { leaves, neighbor }, cleanups)
  const cables = await startNodes(topology, { client, clock, log, kubeProxy, kubeconfig: nodeConfig }, cleanups)
  const kubectl = runKubectl(systemExec, kubectlProgram(), hostConfig)

  const startProgram = (node: LabNode, name: string, args: readonly string[]): LabProcess =>
    node.namespace.spawn(
      nodeProgram('src/cli/main.ts', [
        ...args,
        '--kubeconfig',
        nodeConfig,
        '--node',
        node.name,
        '--log-format',
        'json',
      ]),
      { logPath: path.join(directory, `${name}.log`), env: { BELLHOP_LOG_LEVEL: 'debug' } },
    )

  return {
    topology,
    api,
    routers,
    kubectl,
    mustKubectl: async (args, kubectlOptions) => {
      const result = await kubectl(args, kubectlOptions)
      if (result.status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr.trim()}`)
      return result.stdout
    },
    cutOff: async (node) => {
      cables.get(node.name)?.unplug()
      await Promise.all([node.setLan('down'), node.setManagement('down')])
    },
    reconnect: async (node) => {
      await Promise.all([node.setLan('up'), node.setManagement('up')])
      cables.get(node.name)?.plug()
    },
    startController: (node, { args = [] } = {}) =>
      startProgram(node, `controller-${node.name}`, [
        'controller',
        '--name',
        `bellhop-controller-${node.name}`,
        ...args,
      ]),
    startAgent: (node, { args = [] } = {}) => startProgram(node, `agent-${node.name}`, ['agent', ...args]),
    bellhop: (node, args) => node.namespace.exec(nodeProgram('src/cli/main.ts', args)),
    destroy,
    [Symbol.asyncDispose]: destroy,
  }
}

async function startRouters(
  topology: Topology,
  { leaves: kinds, neighbor }: Pick<LabOptions, 'leaves'> & { readonly neighbor: LabOptions['neighbor'] },
  cleanups: (() => Promise<unknown>)[],
): Promise<readonly [Router, Router]> {
  const start = async (index: 0 | 1): Promise<Router> => {
    const leaf = topology.leaves[index]
    const router = createRouter(kinds[index], {
      name: leaf.name,
      namespace: leaf.namespace,
      directory: topology.network.directory,
      asn: leafAsns[index],
      routerId: leaf.address.ipv4,
      neighbors: topology.nodes.map(({ address }) => ({
        ...{ address: address.ipv4, asn: clusterAsn, addPath: true },
        ...neighbor,
      })),
    })
    cleanups.push(() => router.stop('SIGTERM'))
    await router.start()
    return router
  }
  const [first, second] = await Promise.all([start(0), start(1)])
  return [first, second]
}

async function startNodes(
  topology: Topology,
  {
    kubeProxy,
    kubeconfig,
    ...deps
  }: {
    readonly client: KubeClient
    readonly clock: Clock
    readonly log: Log
    readonly kubeProxy: ProxyChoice
    readonly kubeconfig: string
  },
  cleanups: (() => Promise<unknown>)[],
): Promise<ReadonlyMap<string, Unpluggable>> {
  const cables = new Map<string, Unpluggable>()
  const started: Promise<void>[] = []
  for (const node of topology.nodes) {
    const cable = unpluggable(deps.client)
    cables.set(node.name, cable)
    const own = { ...deps, client: cable.client, node }
    const kubelet = startKubelet({ ...own, network: topology.network, leaseSeconds: nodeLeaseSeconds })
    const { program, mode } = kubeProxy
    const podPrefixes = clusterPodPrefixes
    const proxy =
      program === undefined
        ? startKubeProxy({ ...own, podPrefixes })
        : startRealKubeProxy({
            ...{ node, program, mode, kubeconfig, podPrefixes },
            directory: topology.network.directory,
          })
    started.push(kubelet.registered, proxy.synced)
    cleanups.push(async () => {
      await Promise.all([kubelet.stop(), proxy.stop()])
    })
  }
  await Promise.all(started)
  return cables
}

function runKubectl(exec: Exec, program: string, kubeconfig: string): Lab['kubectl'] {
  return (args, options = {}) =>
    exec(program, args, {
      ...options,
      env: { KUBECONFIG: kubeconfig, HOME: path.dirname(kubeconfig), NO_COLOR: '1' },
      timeoutMs: 60_000,
    })
}

/** What a person types first in another terminal. */
export const shellLines = ({ topology }: Pick<Lab, 'topology'>): readonly string[] => [
  `export KUBECONFIG=${path.join(topology.network.directory, 'kubeconfig')} PATH=${repositoryFile('.cache/bin')}:$PATH`,
]

/** A file below the repository's root, for `kubectl apply -f`. */
export const repositoryFile = (file: string): string => path.join(repositoryRoot, file)
